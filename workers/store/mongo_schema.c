/* mongo_schema.c - collections, their validators and indexes, and whether a server is one to trust.
 *
 * A case is one document:
 *
 *   {_id: id, v: version, w: id of the write,
 *    body, open, assignee, due,      worklist of the responsible body; due is INT_MAX for none
 *    others: [body...],              who else may see it
 *    timer, notice,                  when something is due; absent for never
 *    ix: {...}, doc: {...}}          the row of a worklist, the case
 *
 * Its version guards every replacement.  The rest is written once and never changed, but for
 * `records`.  All of them are found by _id, which is also their shard key, so no other unique index is
 * needed anywhere. */
#include "mongo_private.h"

#include <string.h>

const char mongo_cases_all[] = "all", mongo_cases_open[] = "open", mongo_cases_mine[] = "mine",
           mongo_cases_others[] = "others", mongo_cases_others_open[] = "others_open",
           mongo_cases_timer[] = "timer", mongo_cases_notice[] = "notice", mongo_by_id[] = "_id_";

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
     "\"ix\": {\"bsonType\": \"object\"}, \"doc\": {\"bsonType\": \"object\"}}}}",
     "[{\"name\": \"all\", \"key\": {\"body\": 1, \"due\": 1, \"_id\": 1}},"
     " {\"name\": \"open\", \"key\": {\"body\": 1, \"open\": 1, \"due\": 1, \"_id\": 1}},"
     " {\"name\": \"mine\", \"key\": {\"body\": 1, \"open\": 1, \"assignee\": 1, \"due\": 1, \"_id\": 1}},"
     " {\"name\": \"others\", \"key\": {\"others\": 1, \"_id\": 1}},"
     " {\"name\": \"others_open\", \"key\": {\"others\": 1, \"open\": 1, \"_id\": 1}},"
     " {\"name\": \"timer\", \"key\": {\"timer\": 1}, \"sparse\": true},"
     " {\"name\": \"notice\", \"key\": {\"notice\": 1}, \"sparse\": true}]"},
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

enum { NAMESPACE_EXISTS = 48 };

/* It will not be better by itself. */
static bool was_refused(const bson_error_t *e)
{
    return e->domain == MONGOC_ERROR_SERVER && (e->code == 13 || e->code == 18);
}

static enum dw_result failed(const bson_error_t *error, const char *what, struct dw_error *err)
{
    dw_error_set(err, "store.uri", "%s: %s", what, error->message);
    return was_refused(error) ? DW_INVALID : DW_RETRY;
}

/* ---- is it a server to trust? ---- */

static enum dw_result check_topology(struct mongo_call *call, struct dw_error *err)
{
    bson_error_t error;
    bson_t reply;
    bson_iter_t at;
    bson_t *hello = BCON_NEW("hello", BCON_INT32(1));
    bool good = mongoc_client_command_simple(call->client, "admin", hello, NULL, &reply, &error);
    bool replicated = good && (bson_iter_init_find(&at, &reply, "setName") ||
                               bson_iter_init_find(&at, &reply, "msg")); /* of a mongos */
    bson_destroy(&reply);
    bson_destroy(hello);
    if (!good)
        return failed(&error, "the server does not answer", err);
    if (!replicated && !call->mongo->config->store.allow_standalone)
        return dw_invalid(err, "store.uri",
                          "the server is no member of a replica set, so its disk would be the only "
                          "copy: make it one (one member is enough), or set store.allow_standalone");
    return DW_OK;
}

/* ---- making ---- */

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
    bool good = c || error->code == NAMESPACE_EXISTS;
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

static bool write_version(struct mongo_call *call, bson_error_t *error)
{
    mongoc_collection_t *c = mongo_collection(call, "schema");
    bson_t *doc = BCON_NEW("_id", BCON_UTF8("dengwen"), "version", BCON_INT32(MONGO_SCHEMA_VERSION));
    bool good = mongoc_collection_insert_one(c, doc, NULL, NULL, error) ||
                error->code == MONGOC_ERROR_DUPLICATE_KEY;
    bson_destroy(doc);
    mongoc_collection_destroy(c);
    return good;
}

/* The version of what is there; 0: nothing is, -1: it cannot be read just now. */
static int read_version(struct mongo_call *call, bson_error_t *error)
{
    const bson_t *doc;
    bson_iter_t at;
    int version = 0;
    mongoc_collection_t *c = mongo_collection(call, "schema");
    bson_t *filter = BCON_NEW("_id", BCON_UTF8("dengwen"));
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(c, filter, NULL, NULL);
    if (mongoc_cursor_next(cursor, &doc) && bson_iter_init_find(&at, doc, "version"))
        version = bson_iter_int32(&at);
    if (mongoc_cursor_error(cursor, error))
        version = -1;
    mongoc_cursor_destroy(cursor);
    bson_destroy(filter);
    mongoc_collection_destroy(c);
    return version;
}

enum dw_result mongo_make_schema(struct mongo_call *call, struct dw_error *err)
{
    bson_error_t error;
    enum dw_result result = check_topology(call, err);
    if (result != DW_OK)
        return result;
    mongoc_database_t *db = mongoc_client_get_database(call->client, call->mongo->database);
    bool good = true;
    int version = read_version(call, &error);
    good = version >= 0;
    for (size_t i = 0; version == 0 && good && i < DW_COUNT(collections); i++)
        good = make_collection(db, i, &error) && make_indexes(db, i, &error);
    if (version == 0 && good)
        good = write_version(call, &error);
    mongoc_database_destroy(db);
    return good ? DW_OK : failed(&error, "its collections cannot be made", err);
}

enum dw_result mongo_check_schema(struct mongo_call *call, struct dw_error *err)
{
    bson_error_t error;
    enum dw_result result = check_topology(call, err);
    if (result != DW_OK)
        return result;
    int version = read_version(call, &error);
    if (version < 0)
        return failed(&error, "it cannot be read", err);
    if (version == 0)
        return dw_invalid(err, "store.uri",
                          "there is no store of Dengwen there: run dengwen init-db, or set store.init");
    if (version > MONGO_SCHEMA_VERSION)
        return dw_invalid(err, "store.uri", "it was written by a newer Dengwen; install that one");
    return DW_OK;
}
