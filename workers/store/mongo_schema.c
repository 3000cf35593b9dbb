/* mongo_schema.c - collections, their validators and indexes, and whether a server is one to trust.
 *
 * A case is one document:
 *
 *   {_id: id, v: version, w: id of the write,
 *    body, open, assignee, due,      worklist of the responsible body; due is INT_MAX for none
 *    others: [body...],              who else may see it
 *    timer, notice,                  when something is due; absent for never
 *    fold,                           there when events wait to be counted
 *    ix: {...}, doc: {...}}          the row of a worklist, the case
 *
 * Its version guards every replacement.  The rest is written once and never changed, but for
 * `records`.  All of them are found by _id, which is also their shard key, so no other unique index is
 * needed anywhere. */
#include "mongo_private.h"

#include <stdio.h>
#include <string.h>

const char mongo_cases_all[] = "all", mongo_cases_open[] = "open", mongo_cases_mine[] = "mine",
           mongo_cases_others[] = "others", mongo_cases_others_open[] = "others_open",
           mongo_cases_timer[] = "timer", mongo_cases_notice[] = "notice",
           mongo_cases_fold[] = "fold", mongo_by_id[] = "_id_";

/* Extended JSON, as one would type it into the shell. */
static const struct {
    const char *name, *validator, *indexes;
} collections[] = {
    {"cases",
     "{\"$jsonSchema\": {\"required\": [\"_id\", \"v\", \"w\", \"body\", \"open\", \"assignee\", \"due\","
     " \"others\", \"ix\", \"doc\"], \"properties\": {"
     "\"_id\": {\"bsonType\": \"binData\"}, \"v\": {\"bsonType\": \"long\"},"
     "\"w\": {\"bsonType\": \"binData\"}, \"body\": {\"bsonType\": \"string\"},"
     "\"open\": {\"bsonType\": \"bool\"}, \"assignee\": {\"bsonType\": \"string\"},"
     "\"due\": {\"bsonType\": \"int\"}, \"others\": {\"bsonType\": \"array\"},"
     "\"timer\": {\"bsonType\": \"long\"}, \"notice\": {\"bsonType\": \"long\"},"
     "\"fold\": {\"bsonType\": \"long\"},"
     "\"ix\": {\"bsonType\": \"object\"}, \"doc\": {\"bsonType\": \"object\"}}}}",
     "[{\"name\": \"all\", \"key\": {\"body\": 1, \"due\": 1, \"_id\": 1}},"
     " {\"name\": \"open\", \"key\": {\"body\": 1, \"open\": 1, \"due\": 1, \"_id\": 1}},"
     " {\"name\": \"mine\", \"key\": {\"body\": 1, \"open\": 1, \"assignee\": 1, \"due\": 1, \"_id\": 1}},"
     " {\"name\": \"others\", \"key\": {\"others\": 1, \"_id\": 1}},"
     " {\"name\": \"others_open\", \"key\": {\"others\": 1, \"open\": 1, \"_id\": 1}},"
     " {\"name\": \"timer\", \"key\": {\"timer\": 1}, \"sparse\": true},"
     " {\"name\": \"notice\", \"key\": {\"notice\": 1}, \"sparse\": true},"
     " {\"name\": \"fold\", \"key\": {\"fold\": 1}, \"sparse\": true}]"},
    {"objects",
     "{\"$jsonSchema\": {\"required\": [\"_id\", \"bytes\"], \"properties\": {"
     "\"_id\": {\"bsonType\": \"binData\"}, \"bytes\": {\"bsonType\": \"binData\"}}}}",
     NULL},
    {"receipts",
     "{\"$jsonSchema\": {\"required\": [\"_id\", \"case\"], \"properties\": {"
     "\"_id\": {\"bsonType\": \"binData\"}, \"case\": {\"bsonType\": \"binData\"}}}}",
     NULL},
    {"refs",
     "{\"$jsonSchema\": {\"required\": [\"_id\", \"case\"], \"properties\": {"
     "\"_id\": {\"bsonType\": \"string\"}, \"case\": {\"bsonType\": \"binData\"}}}}",
     NULL},
    {"records",
     "{\"$jsonSchema\": {\"required\": [\"_id\", \"v\", \"doc\"], \"properties\": {"
     "\"_id\": {\"bsonType\": \"string\"}, \"v\": {\"bsonType\": \"long\"},"
     "\"doc\": {\"bsonType\": \"object\"}}}}",
     NULL},
    {"audit",
     "{\"$jsonSchema\": {\"required\": [\"_id\", \"doc\"], \"properties\": {"
     "\"_id\": {\"bsonType\": \"string\"}, \"doc\": {\"bsonType\": \"object\"}}}}",
     NULL},
    {"schema", NULL, NULL},
};

enum { NAMESPACE_EXISTS = 48, MARK_PAGE = 1000 };

/* It will not be better by itself. */
static bool was_refused(const bson_error_t *e)
{
    return (e->domain == MONGOC_ERROR_SERVER && (e->code == 13 || e->code == 18)) ||
           (e->domain == MONGOC_ERROR_CLIENT && e->code == MONGOC_ERROR_CLIENT_AUTHENTICATE);
}

static enum dw_result failed(const bson_error_t *error, const char *what, struct dw_error *err)
{
    if (was_refused(error))
        return dw_invalid(err, "store.uri",
                          "the server refuses this user, or the password: see store.password_file, and "
                          "whether the user may read and write the database (%s)",
                          error->message);
    dw_error_set(err, "store.uri", "%s: %s", what, error->message);
    return DW_RETRY;
}

/* ---- is it a server to trust? ---- */

static enum dw_result check_topology(struct mongo_call *call, struct dw_error *err)
{
    bson_error_t error;
    bson_t reply;
    bson_iter_t at;
    bson_t *ask = BCON_NEW("isMaster", BCON_INT32(1));
    bool good = mongoc_client_command_simple(call->client, "admin", ask, NULL, &reply, &error);
    bool replicated = good && (bson_iter_init_find(&at, &reply, "setName") ||
                               bson_iter_init_find(&at, &reply, "msg")); /* of a mongos */
    bson_destroy(&reply);
    bson_destroy(ask);
    if (!good)
        return failed(&error, mongo_why_away(call->mongo, &error), err);
    if (!replicated && !call->mongo->config->store.allow_standalone)
        return dw_invalid(err, "store.uri",
                          "the server is no member of a replica set, so its disk would be the only "
                          "copy: make it one (one member is enough), or set store.allow_standalone");
    return DW_OK;
}

/* ---- making ---- */

/* To change a validator wants the role dbAdmin, which a case worker need not have. */
static bool has_validator(mongoc_database_t *db, size_t i, const bson_t *validator)
{
    const bson_t *found;
    bson_iter_t at, inner;
    bson_t theirs;
    uint32_t len;
    const uint8_t *bytes;
    bool same = false;
    bson_t *opts = BCON_NEW("filter", "{", "name", BCON_UTF8(collections[i].name), "}");
    mongoc_cursor_t *cursor = mongoc_database_find_collections_with_opts(db, opts);
    if (mongoc_cursor_next(cursor, &found) && bson_iter_init(&at, found) &&
        bson_iter_find_descendant(&at, "options.validator", &inner) &&
        BSON_ITER_HOLDS_DOCUMENT(&inner)) {
        bson_iter_document(&inner, &len, &bytes);
        same = bson_init_static(&theirs, bytes, len) && bson_equal(&theirs, validator);
    }
    mongoc_cursor_destroy(cursor);
    bson_destroy(opts);
    return same;
}

/* A collection that is there already gets the validator of today. */
static bool set_validator(mongoc_database_t *db, size_t i, const bson_t *validator,
                          bson_error_t *error)
{
    bson_t command = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&command, "collMod", collections[i].name);
    BSON_APPEND_DOCUMENT(&command, "validator", validator);
    bool good = mongoc_database_write_command_with_opts(db, &command, NULL, NULL, error);
    bson_destroy(&command);
    return good;
}

static bool make_collection(mongoc_database_t *db, size_t i, bson_error_t *error)
{
    bson_t opts = BSON_INITIALIZER, *validator = NULL;
    if (collections[i].validator) {
        validator = bson_new_from_json((const uint8_t *)collections[i].validator, -1, error);
        if (!validator)
            return false;
        BSON_APPEND_DOCUMENT(&opts, "validator", validator);
    }
    mongoc_collection_t *c =
        mongoc_database_create_collection(db, collections[i].name, &opts, error);
    bool good = c != NULL;
    if (!good && error->code == NAMESPACE_EXISTS)
        good = !validator || has_validator(db, i, validator) ||
               set_validator(db, i, validator, error);
    if (c)
        mongoc_collection_destroy(c);
    if (validator)
        bson_destroy(validator);
    bson_destroy(&opts);
    return good;
}

static bool make_indexes(mongoc_database_t *db, size_t i, bson_error_t *error)
{
    bson_t command = BSON_INITIALIZER;
    if (!collections[i].indexes)
        return true;
    bson_t *list = bson_new_from_json((const uint8_t *)collections[i].indexes, -1, error);
    if (!list)
        return false;
    BSON_APPEND_UTF8(&command, "createIndexes", collections[i].name);
    BSON_APPEND_ARRAY(&command, "indexes", list);
    bool good = mongoc_database_write_command_with_opts(db, &command, NULL, NULL, error);
    bson_destroy(&command);
    bson_destroy(list);
    return good;
}

/* ---- version 1 ---- */

/* What is there stays as it is: also run on a store of today, in case an index was lost. */
static enum dw_result make_collections(void *place, const struct dw_progress *progress,
                                       struct dw_error *err)
{
    struct mongo_call *call = place;
    bson_error_t error;
    bool good = true;
    mongoc_database_t *db = mongoc_client_get_database(call->client, call->mongo->database);
    for (size_t i = 0; good && i < DW_COUNT(collections); i++) {
        dw_tell(progress, "collections and indexes", (int64_t)i, DW_COUNT(collections));
        good = make_collection(db, i, &error) && make_indexes(db, i, &error);
    }
    mongoc_database_destroy(db);
    return good ? DW_OK : failed(&error, "its collections cannot be made", err);
}

/* ---- version 2: cases that were there before anybody counted ---- */

static const char cases_to_count[] = "cases to be counted";

/* The next cases behind `id`, which becomes the last of them.  Returns how many, or -1. */
static int64_t mark_page(mongoc_collection_t *c, bool begun, uint8_t id[16], bson_error_t *error)
{
    const bson_t *doc;
    bson_iter_t at;
    char name[16];
    uint32_t count = 0;
    bson_t filter = BSON_INITIALIZER, range, ids = BSON_INITIALIZER;
    bson_t *opts = BCON_NEW("hint", BCON_UTF8(mongo_by_id), "sort", "{", "_id", BCON_INT32(1), "}",
                            "projection", "{", "_id", BCON_INT32(1), "}",
                            "limit", BCON_INT64(MARK_PAGE));
    if (begun) {
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &range);
        mongo_append_id(&range, "$gt", id);
        bson_append_document_end(&filter, &range);
    }
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, &filter, opts, NULL);
    while (mongoc_cursor_next(cursor, &doc) && bson_iter_init_find(&at, doc, "_id")) {
        const bson_value_t *value = bson_iter_value(&at);
        snprintf(name, sizeof name, "%u", count++);
        BSON_APPEND_VALUE(&ids, name, value);
        memcpy(id, value->value.v_binary.data, 16);
    }
    bool good = !mongoc_cursor_error(cursor, error);
    mongoc_cursor_destroy(cursor);
    bson_destroy(opts);
    bson_destroy(&filter);
    if (good && count) {
        bson_t *these = BCON_NEW("_id", "{", "$in", BCON_ARRAY(&ids), "}");
        bson_t *change = BCON_NEW("$set", "{", "fold", BCON_INT64(1), "ix.fold", BCON_INT64(1), "}");
        good = mongoc_collection_update_many(c, these, change, NULL, NULL, error);
        bson_destroy(change);
        bson_destroy(these);
    }
    bson_destroy(&ids);
    return good ? (int64_t)count : -1;
}

/* Page by page, so that no answer takes longer than store.socket_ms. */
static enum dw_result mark_cases(void *place, const struct dw_progress *progress,
                                 struct dw_error *err)
{
    struct mongo_call *call = place;
    bson_error_t error;
    uint8_t id[16];
    int64_t done = 0, count = 0;
    enum dw_result result = make_collections(place, progress, err);
    if (result != DW_OK)
        return result;
    mongoc_collection_t *c = mongo_collection(call, "cases");
    int64_t total = mongoc_collection_estimated_document_count(c, NULL, NULL, NULL, &error);
    do {
        dw_tell(progress, cases_to_count, done, total > done ? total : 0);
        count = mark_page(c, done > 0, id, &error);
        done += count;
    } while (count > 0);
    mongoc_collection_destroy(c);
    return count == 0 ? DW_OK : failed(&error, "its cases cannot be written", err);
}

static const struct dw_schema_step steps[] = {
    {"collections and indexes", make_collections},
    {cases_to_count, mark_cases},
};

/* ---- versions ---- */

/* One field of one document.  False: it cannot be read just now. */
static bool read_field(struct mongo_call *call, const char *collection, const char *id,
                       const char *field, int32_t *ret, bson_error_t *error)
{
    const bson_t *doc;
    bson_iter_t at;
    *ret = 0;
    mongoc_collection_t *c = mongo_collection(call, collection);
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(id));
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, filter, NULL, NULL);
    if (mongoc_cursor_next(cursor, &doc) && bson_iter_init_find(&at, doc, field))
        *ret = (int32_t)bson_iter_as_int64(&at);
    bool good = !mongoc_cursor_error(cursor, error);
    mongoc_cursor_destroy(cursor);
    bson_destroy(filter);
    mongoc_collection_destroy(c);
    return good;
}

bool mongo_can_read(struct mongo_call *call, bson_error_t *error)
{
    int32_t version;
    bool good = read_field(call, "schema", "dengwen", "version", &version, error);
    if (!good)
        mongo_tell("reading", error);
    return good;
}

static enum dw_result read_version(void *place, int *version, struct dw_error *err)
{
    bson_error_t error;
    int32_t found;
    if (!read_field(place, "schema", "dengwen", "version", &found, &error))
        return failed(&error, "it cannot be read", err);
    *version = found;
    return DW_OK;
}

static enum dw_result write_version(struct mongo_call *call, int version, struct dw_error *err)
{
    bson_error_t error;
    mongoc_collection_t *c = mongo_collection(call, "schema");
    bson_t *filter = BCON_NEW("_id", BCON_UTF8("dengwen"));
    bson_t *doc = BCON_NEW("_id", BCON_UTF8("dengwen"), "version", BCON_INT32(version));
    bson_t *opts = BCON_NEW("upsert", BCON_BOOL(true));
    bool good = mongoc_collection_replace_one(c, filter, doc, opts, NULL, &error) ||
                error.code == MONGOC_ERROR_DUPLICATE_KEY; /* another worker, at the same time */
    bson_destroy(opts);
    bson_destroy(doc);
    bson_destroy(filter);
    mongoc_collection_destroy(c);
    return good ? DW_OK : failed(&error, "its version cannot be written", err);
}

static enum dw_result take(void *place, const struct dw_schema_step *step, int version,
                           const struct dw_progress *progress, struct dw_error *err)
{
    enum dw_result result = step->run(place, progress, err);
    return result == DW_OK ? write_version(place, version, err) : result;
}

const struct dw_schema dw_mongo_schema = {
    .steps = steps, .count = DW_COUNT(steps), .read = read_version, .take = take};

enum dw_result mongo_make_schema(struct mongo_call *call, const struct dw_progress *progress,
                                 int *from, struct dw_error *err)
{
    enum dw_result result = check_topology(call, err);
    if (result == DW_OK)
        result = dw_schema_migrate(&dw_mongo_schema, call, progress, from, err);
    if (result == DW_OK && *from == dw_mongo_schema.count)
        result = make_collections(call, progress, err);
    return result;
}

static enum dw_result refuse_unfinished(struct mongo_call *call, struct dw_error *err)
{
    bson_error_t error;
    int32_t version;
    if (!read_field(call, "records", DW_STORE_COPY "/" DW_STORE_PROGRESS, "v", &version, &error))
        return failed(&error, "it cannot be read", err);
    return version ? dw_store_unfinished(err) : DW_OK;
}

enum dw_result mongo_prepare_schema(struct mongo_call *call, struct dw_error *err)
{
    const struct mongo *m = call->mongo;
    int version = 0;
    enum dw_result result = check_topology(call, err);
    if (result == DW_OK)
        result = read_version(call, &version, err);
    if (result == DW_OK && version == 0 && m->use != DW_STORE_LOOK && m->config->store.init) {
        result = dw_schema_migrate(&dw_mongo_schema, call, NULL, &version, err);
        version = dw_mongo_schema.count;
    }
    if (result == DW_OK)
        result = dw_schema_check(&dw_mongo_schema, version, err);
    if (result == DW_OK && m->use != DW_STORE_FILL)
        result = refuse_unfinished(call, err);
    return result;
}
