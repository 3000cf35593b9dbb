/* mongo_write.c - steps, phase by phase: what must be there before a case is, then the case.
 *
 * Each phase is one message for all steps.  A step that fails in one takes no part in the next.
 * Before its case is written nothing of it can be seen, so whatever goes wrong until then is RETRY. */
#include "mongo_private.h"

#include "dw/testing.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum {
    WRITE_ID = 16,
    DOCUMENT_MAX = 16 * 1024 * 1024, /* a server takes no larger one */
    MESSAGE_MAX = 32 * 1024 * 1024,  /* beyond it the library makes several messages of one bulk */
};

/* ---- many writes in one message ---- */

struct slot {
    size_t step, item;
    enum dw_result result;
    bool duplicate; /* its _id is there already */
};

struct bulk {
    const struct mongo_call *call;
    mongoc_collection_t *collection;
    mongoc_bulk_operation_t *op;
    struct slot *slots;
    size_t count, bytes;
    int64_t matched; /* replacements that found their document */
};

static void bulk_begin(struct bulk *b, const struct mongo_call *call, const char *name, size_t room)
{
    bson_t opts = BSON_INITIALIZER;
    BSON_APPEND_BOOL(&opts, "ordered", false);
    *b = (struct bulk){.call = call,
                       .collection = mongo_collection(call, name),
                       .slots = dw_alloc((room + 1) * sizeof *b->slots)};
    b->op = mongoc_collection_create_bulk_operation_with_opts(b->collection, &opts);
    bson_destroy(&opts);
}

static void bulk_end(struct bulk *b)
{
    mongoc_bulk_operation_destroy(b->op);
    mongoc_collection_destroy(b->collection);
    dw_free(b->slots);
}

/* False when the document can never be stored.  The library would refuse the others with it. */
static bool bulk_insert(struct bulk *b, size_t step, size_t item, const bson_t *doc)
{
    bson_error_t error;
    b->slots[b->count] = (struct slot){.step = step, .item = item};
    if (doc->len > DOCUMENT_MAX || !mongoc_bulk_operation_insert_with_opts(b->op, doc, NULL, &error))
        return false;
    b->count++;
    b->bytes += doc->len;
    return true;
}

static bool bulk_replace(struct bulk *b, size_t step, const bson_t *filter, const bson_t *doc)
{
    bson_error_t error;
    b->slots[b->count] = (struct slot){.step = step};
    if (doc->len > DOCUMENT_MAX ||
        !mongoc_bulk_operation_replace_one_with_opts(b->op, filter, doc, NULL, &error))
        return false;
    b->count++;
    b->bytes += doc->len;
    return true;
}

static bool has_entries(const bson_t *reply, const char *name, bson_iter_t *ret)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, reply, name) && BSON_ITER_HOLDS_ARRAY(&at) &&
           bson_iter_recurse(&at, ret) && bson_iter_next(ret);
}

static void read_write_error(struct bulk *b, const bson_iter_t *entry)
{
    bson_iter_t at;
    bson_error_t error = {.domain = MONGOC_ERROR_SERVER};
    if (!bson_iter_recurse(entry, &at) || !bson_iter_find(&at, "index"))
        return;
    int64_t index = bson_iter_as_int64(&at);
    if (bson_iter_recurse(entry, &at) && bson_iter_find(&at, "code"))
        error.code = (uint32_t)bson_iter_as_int64(&at);
    if (index < 0 || (size_t)index >= b->count)
        return;
    struct slot *s = &b->slots[index];
    s->duplicate = error.code == MONGOC_ERROR_DUPLICATE_KEY;
    s->result = s->duplicate ? DW_CONFLICT : mongo_outcome(&error);
    if (!s->duplicate)
        mongo_tell("writing", &error);
}

/* Gives each slot its result. */
static void bulk_execute(struct bulk *b)
{
    bson_t reply;
    bson_error_t error;
    bson_iter_t entry, at;
    if (!b->count)
        return;
    bool good = mongoc_bulk_operation_execute(b->op, &reply, &error) != 0;
    if (bson_iter_init_find(&at, &reply, "nMatched"))
        b->matched = bson_iter_as_int64(&at);
    int64_t answered = b->matched;
    if (bson_iter_init_find(&at, &reply, "nInserted"))
        answered += bson_iter_as_int64(&at);
    bool told = false;
    if (!good && has_entries(&reply, "writeErrors", &entry)) {
        do {
            read_write_error(b, &entry);
            answered++;
        } while (bson_iter_next(&entry));
        told = error.domain != MONGOC_ERROR_STREAM;
    }
    /* Of several messages the error is of one, and not always the last. */
    bool of_all = b->bytes <= MESSAGE_MAX || answered == (int64_t)b->count;
    /* Done, but perhaps not for good; or nobody knows how much was done. */
    enum dw_result others = DW_OK;
    if (!good && has_entries(&reply, "writeConcernErrors", &entry))
        others = DW_UNCERTAIN;
    else if (!good && !of_all)
        others = DW_UNCERTAIN;
    else if (!good && !told)
        others = mongo_outcome(&error);
    if (others != DW_OK)
        mongo_tell("writing", &error);
    for (size_t i = 0; i < b->count; i++)
        if (b->slots[i].result == DW_OK)
            b->slots[i].result = others;
    bson_destroy(&reply);
}

/* ---- keys and documents ---- */

void mongo_append_id(bson_t *doc, const char *name, const uint8_t id[16])
{
    BSON_APPEND_BINARY(doc, name, BSON_SUBTYPE_BINARY, id, 16);
}

void mongo_object_key(uint8_t key[MONGO_OBJECT_KEY], const uint8_t id[16], int32_t part)
{
    memcpy(key, id, 16);
    for (int i = 0; i < 4; i++)
        key[16 + i] = (uint8_t)((uint32_t)part >> (24 - 8 * i));
}

void mongo_record_key(struct dw_buf *out, const char *collection, const char *key)
{
    dw_buf_printf(out, "%s/%s", collection, key);
}

void mongo_audit_key(char out[128], const char *chain, int64_t seq)
{
    snprintf(out, 128, "%s/%020lld", chain, (long long)seq);
}

static bool append_doc(bson_t *doc, const char *name, struct dw_slice bytes)
{
    bson_t inner;
    return bson_init_static(&inner, bytes.data, bytes.len) &&
           BSON_APPEND_DOCUMENT(doc, name, &inner);
}

static void append_others(bson_t *doc, const struct dw_case_index *ix)
{
    bson_t array;
    char key[16];
    uint32_t n = 0;
    BSON_APPEND_ARRAY_BEGIN(doc, "others", &array);
    for (size_t i = 0; i < ix->bodies_count; i++) {
        if (strcmp(ix->bodies[i], ix->body) == 0)
            continue;
        snprintf(key, sizeof key, "%u", n++);
        BSON_APPEND_UTF8(&array, key, ix->bodies[i]);
    }
    bson_append_array_end(doc, &array);
}

static bool case_document(const struct dw_store_step *step, const uint8_t write[WRITE_ID],
                          bson_t *doc)
{
    const struct dw_case_index *ix = step->ix;
    DW_AUTO_BUF row = {0};
    dw_buf_init(&row, DW_DOC_MAX);
    dw_encode(&dw_case_index_layout, ix, &row);
    mongo_append_id(doc, "_id", step->case_id);
    BSON_APPEND_INT64(doc, "v", step->version);
    BSON_APPEND_BINARY(doc, "w", BSON_SUBTYPE_BINARY, write, WRITE_ID);
    BSON_APPEND_UTF8(doc, "body", ix->body);
    BSON_APPEND_BOOL(doc, "open", ix->open);
    BSON_APPEND_UTF8(doc, "assignee", ix->assignee ? ix->assignee : "");
    BSON_APPEND_INT32(doc, "due", ix->due ? ix->due : MONGO_NO_DUE);
    append_others(doc, ix);
    if (ix->timer > 0)
        BSON_APPEND_INT64(doc, "timer", ix->timer);
    if (ix->notice > 0)
        BSON_APPEND_INT64(doc, "notice", ix->notice);
    if (ix->fold > 0)
        BSON_APPEND_INT64(doc, "fold", ix->fold);
    return append_doc(doc, "ix", dw_buf_slice(&row)) && append_doc(doc, "doc", step->doc);
}

/* ---- looking at what is there ---- */

/* What a majority has.  ABSENT: no such document; UNKNOWN: it cannot be read just now. */
enum there { SAME, OTHER, ABSENT, UNKNOWN };

/* `version`, unless NULL, gets that of the document. */
static enum there compare(const struct bulk *b, const bson_t *filter, const char *field,
                          struct dw_slice expected, int64_t *version)
{
    const bson_t *doc;
    bson_error_t error;
    bson_iter_t at;
    bson_subtype_t subtype;
    uint32_t len = 0;
    const uint8_t *bytes = NULL;
    enum there there = ABSENT;
    if (!mongo_reaches(b->call)) /* who looks for one step looks for many */
        return UNKNOWN;
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(b->collection, filter, NULL, NULL);
    if (mongoc_cursor_next(cursor, &doc)) {
        if (bson_iter_init_find(&at, doc, field) && BSON_ITER_HOLDS_BINARY(&at))
            bson_iter_binary(&at, &subtype, &len, &bytes);
        bool same = len == expected.len && (!len || memcmp(bytes, expected.data, len) == 0);
        there = same ? SAME : OTHER;
        if (version && bson_iter_init_find(&at, doc, "v"))
            *version = bson_iter_as_int64(&at);
    } else if (mongoc_cursor_error(cursor, &error)) {
        there = UNKNOWN;
    }
    mongoc_cursor_destroy(cursor);
    return there;
}

static enum there compare_id(const struct bulk *b, const uint8_t *key, size_t key_len,
                             const char *field, struct dw_slice expected, int64_t *version)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_BINARY(&filter, "_id", BSON_SUBTYPE_BINARY, key, (uint32_t)key_len);
    enum there there = compare(b, &filter, field, expected, version);
    bson_destroy(&filter);
    return there;
}

/* ---- phases ---- */

struct applying {
    struct mongo_call call;
    struct dw_store_step *const *steps;
    size_t count;
    bool *out; /* steps that have their outcome */
};

static void give(struct applying *a, size_t step, enum dw_result outcome)
{
    if (a->out[step])
        return;
    a->out[step] = true;
    a->steps[step]->outcome = outcome;
}

/* Of a side document: nothing of the case is there yet. */
static void give_early(struct applying *a, size_t step, enum dw_result result)
{
    if (result != DW_OK)
        give(a, step, result == DW_UNCERTAIN ? DW_RETRY : result);
}

static void put_audit(struct applying *a)
{
    struct bulk b;
    size_t room = 0;
    char key[128];
    for (size_t i = 0; i < a->count; i++)
        room += a->steps[i]->audit_count;
    bulk_begin(&b, &a->call, "audit", room);
    for (size_t i = 0; i < a->count; i++) {
        for (size_t k = 0; k < a->steps[i]->audit_count; k++) {
            const struct dw_store_audit *entry = &a->steps[i]->audit[k];
            bson_t doc = BSON_INITIALIZER;
            mongo_audit_key(key, entry->chain, entry->seq);
            BSON_APPEND_UTF8(&doc, "_id", key);
            if (!append_doc(&doc, "doc", entry->doc) || !bulk_insert(&b, i, k, &doc))
                give(a, i, DW_INVALID);
            bson_destroy(&doc);
        }
    }
    bulk_execute(&b);
    for (size_t i = 0; i < b.count; i++) /* a duplicate: somebody else wrote this chain */
        give_early(a, b.slots[i].step, b.slots[i].result);
    bulk_end(&b);
}

/* Those that need the first step, when it has failed. */
static void leave_out_what_needs_the_first(struct applying *a)
{
    for (size_t i = 1; i < a->count && a->out[0]; i++)
        if (a->steps[i]->needs_first)
            give(a, i, DW_RETRY);
}

static void put_objects(struct applying *a)
{
    struct bulk b;
    size_t room = 0;
    uint8_t key[MONGO_OBJECT_KEY];
    for (size_t i = 0; i < a->count; i++)
        room += a->steps[i]->objects_count;
    bulk_begin(&b, &a->call, "objects", room);
    for (size_t i = 0; i < a->count; i++) {
        for (size_t k = 0; k < a->steps[i]->objects_count && !a->out[i]; k++) {
            const struct dw_store_object *o = &a->steps[i]->objects[k];
            bson_t doc = BSON_INITIALIZER;
            mongo_object_key(key, o->id, o->part);
            BSON_APPEND_BINARY(&doc, "_id", BSON_SUBTYPE_BINARY, key, sizeof key);
            BSON_APPEND_BINARY(&doc, "bytes", BSON_SUBTYPE_BINARY, o->bytes.data,
                               (uint32_t)o->bytes.len);
            if (!bulk_insert(&b, i, k, &doc))
                give(a, i, DW_INVALID);
            bson_destroy(&doc);
        }
    }
    bulk_execute(&b);
    for (size_t i = 0; i < b.count; i++) {
        struct slot *s = &b.slots[i];
        const struct dw_store_object *o = &a->steps[s->step]->objects[s->item];
        if (s->duplicate) {
            mongo_object_key(key, o->id, o->part);
            enum there there = compare_id(&b, key, sizeof key, "bytes", o->bytes, NULL);
            s->result = there == SAME ? DW_OK : there == OTHER ? DW_INVALID : DW_RETRY;
        }
        give_early(a, s->step, s->result);
    }
    bulk_end(&b);
}

static void put_receipts(struct applying *a)
{
    struct bulk b;
    bulk_begin(&b, &a->call, "receipts", a->count);
    for (size_t i = 0; i < a->count; i++) {
        if (a->out[i] || !a->steps[i]->with_receipt)
            continue;
        bson_t doc = BSON_INITIALIZER;
        mongo_append_id(&doc, "_id", a->steps[i]->handle);
        mongo_append_id(&doc, "case", a->steps[i]->case_id);
        bulk_insert(&b, i, 0, &doc);
        bson_destroy(&doc);
    }
    bulk_execute(&b);
    for (size_t i = 0; i < b.count; i++) {
        struct slot *s = &b.slots[i];
        const struct dw_store_step *step = a->steps[s->step];
        if (s->duplicate) {
            enum there there =
                compare_id(&b, step->handle, 16, "case", DW_SLICE(step->case_id, 16), NULL);
            s->result = there == SAME ? DW_OK : there == OTHER ? DW_INVALID : DW_RETRY;
        }
        give_early(a, s->step, s->result);
    }
    bulk_end(&b);
}

static void put_references(struct applying *a)
{
    struct bulk b;
    bulk_begin(&b, &a->call, "refs", a->count);
    for (size_t i = 0; i < a->count; i++) {
        if (a->out[i] || !a->steps[i]->reference)
            continue;
        bson_t doc = BSON_INITIALIZER;
        BSON_APPEND_UTF8(&doc, "_id", a->steps[i]->reference);
        mongo_append_id(&doc, "case", a->steps[i]->case_id);
        bulk_insert(&b, i, 0, &doc);
        bson_destroy(&doc);
    }
    bulk_execute(&b);
    for (size_t i = 0; i < b.count; i++) {
        struct slot *s = &b.slots[i];
        struct dw_store_step *step = a->steps[s->step];
        if (s->duplicate) {
            bson_t *filter = BCON_NEW("_id", BCON_UTF8(step->reference));
            enum there there = compare(&b, filter, "case", DW_SLICE(step->case_id, 16), NULL);
            bson_destroy(filter);
            step->taken = there == OTHER;
            s->result = there == SAME ? DW_OK : there == OTHER ? DW_CONFLICT : DW_RETRY;
        }
        give_early(a, s->step, s->result);
    }
    bulk_end(&b);
}

/* ---- the case ---- */

#ifdef DW_TEST_POINTS
/* The deliberate bug: a second case where there must be one. */
static void insert_twice(struct applying *a, size_t i, mongoc_collection_t *c,
                         const uint8_t write[WRITE_ID])
{
    struct dw_store_step again = *a->steps[i];
    bson_t doc = BSON_INITIALIZER;
    randombytes_buf(again.case_id, sizeof again.case_id);
    if (case_document(&again, write, &doc))
        mongoc_collection_insert_one(c, &doc, NULL, NULL, NULL);
    bson_destroy(&doc);
}
#endif

/* Whose write does the document have?  `version` is what it has come to. */
static enum there whose_write(const struct bulk *b, const struct dw_store_step *step,
                              const uint8_t write[WRITE_ID], int64_t *version)
{
    return compare_id(b, step->case_id, 16, "w", DW_SLICE(write, WRITE_ID), version);
}

static void put_new_cases(struct applying *a, uint8_t (*writes)[WRITE_ID])
{
    struct bulk b;
    bulk_begin(&b, &a->call, "cases", a->count);
    for (size_t i = 0; i < a->count; i++) {
        if (a->out[i] || !a->steps[i]->with_case || a->steps[i]->old_version)
            continue;
        bson_t doc = BSON_INITIALIZER;
        if (!case_document(a->steps[i], writes[i], &doc) || !bulk_insert(&b, i, 0, &doc))
            give(a, i, DW_INVALID);
        bson_destroy(&doc);
    }
    bulk_execute(&b);
    for (size_t i = 0; i < b.count; i++) {
        struct slot *s = &b.slots[i];
        struct dw_store_step *step = a->steps[s->step];
        if (s->duplicate || s->result == DW_UNCERTAIN) {
            enum there there = whose_write(&b, step, writes[s->step], NULL);
            step->existed = there == OTHER;
            if (there == SAME || there == OTHER)
                s->result = DW_OK;
            else if (s->duplicate) /* a majority does not have it yet */
                s->result = DW_RETRY;
        }
#ifdef DW_TEST_POINTS
        if (step->existed && DW_BUG("no-uniqueness"))
            insert_twice(a, s->step, b.collection, writes[s->step]);
#endif
        if (s->result != DW_OK)
            give(a, s->step, s->result);
    }
    bulk_end(&b);
}

/* `answered`: OK when it was carried out, or found another version; UNCERTAIN when no answer came. */
static enum dw_result was_replaced(const struct bulk *b, const struct dw_store_step *step,
                                   const uint8_t write[WRITE_ID], enum dw_result answered)
{
    int64_t version = 0;
    enum there there = whose_write(b, step, write, &version);
    if (there == SAME)
        return DW_OK;
    if (there == UNKNOWN || version > step->version) /* ours, and then changed?  The case itself tells */
        return DW_UNCERTAIN;
    if (version == step->version) /* somebody else's, in our place */
        return DW_CONFLICT;
    return answered == DW_OK ? DW_CONFLICT : DW_UNCERTAIN;
}

static void put_changed_cases(struct applying *a, uint8_t (*writes)[WRITE_ID])
{
    struct bulk b;
    bulk_begin(&b, &a->call, "cases", a->count);
    for (size_t i = 0; i < a->count; i++) {
        if (a->out[i] || !a->steps[i]->with_case || !a->steps[i]->old_version)
            continue;
        bson_t doc = BSON_INITIALIZER, filter = BSON_INITIALIZER;
        mongo_append_id(&filter, "_id", a->steps[i]->case_id);
        BSON_APPEND_INT64(&filter, "v", a->steps[i]->old_version);
        if (!case_document(a->steps[i], writes[i], &doc) || !bulk_replace(&b, i, &filter, &doc))
            give(a, i, DW_INVALID);
        bson_destroy(&filter);
        bson_destroy(&doc);
    }
    bulk_execute(&b);
    /* The answer only says how many found their version: unless it was all or none, the documents tell
     * which. */
    bool all = b.matched == (int64_t)b.count;
    for (size_t i = 0; i < b.count; i++) {
        struct slot *s = &b.slots[i];
        if (s->result == DW_OK && !b.matched)
            s->result = DW_CONFLICT;
        else if (s->result == DW_UNCERTAIN || (s->result == DW_OK && !all))
            s->result = was_replaced(&b, a->steps[s->step], writes[s->step], s->result);
        if (s->result != DW_OK)
            give(a, s->step, s->result);
    }
    bulk_end(&b);
}

/* ---- records ---- */

static enum dw_result record_failed(const bson_error_t *error)
{
    if (error->code == MONGOC_ERROR_DUPLICATE_KEY)
        return DW_CONFLICT;
    mongo_tell("writing", error);
    return mongo_outcome(error);
}

static enum dw_result put_record(mongoc_collection_t *c, const struct dw_store_record *r)
{
    bson_error_t error = {0};
    bson_t filter = BSON_INITIALIZER, doc = BSON_INITIALIZER, reply = BSON_INITIALIZER;
    DW_AUTO_BUF key = {0};
    dw_buf_init(&key, 4096);
    mongo_record_key(&key, r->collection, r->key);
    BSON_APPEND_UTF8(&filter, "_id", dw_buf_text(&key));
    BSON_APPEND_INT64(&filter, "v", r->old_version);
    BSON_APPEND_UTF8(&doc, "_id", dw_buf_text(&key));
    BSON_APPEND_INT64(&doc, "v", r->version);
    const char *counter = NULL;
    enum dw_result result = DW_OK;
    bson_iter_t at;
    bool good = true;
    if (r->doc.len && !append_doc(&doc, "doc", r->doc)) {
        result = DW_INVALID;
    } else if (!r->old_version) {
        good = mongoc_collection_insert_one(c, &doc, NULL, &reply, &error);
    } else if (r->doc.len) {
        counter = "matchedCount";
        good = mongoc_collection_replace_one(c, &filter, &doc, NULL, &reply, &error);
    } else {
        counter = "deletedCount";
        good = mongoc_collection_delete_one(c, &filter, NULL, &reply, &error);
    }
    if (!good)
        result = record_failed(&error);
    else if (counter && bson_iter_init_find(&at, &reply, counter) && !bson_iter_as_int64(&at))
        result = DW_CONFLICT;
    bson_destroy(&reply);
    bson_destroy(&filter);
    bson_destroy(&doc);
    return result;
}

/* One by one and in order: the first is the one that decides. */
static void put_records(struct applying *a)
{
    mongoc_collection_t *c = mongo_collection(&a->call, "records");
    for (size_t i = 0; i < a->count; i++) {
        for (size_t k = 0; k < a->steps[i]->records_count && !a->out[i]; k++) {
            enum dw_result result = DW_RETRY;
            if (mongo_reaches(&a->call))
                result = put_record(c, &a->steps[i]->records[k]);
            if (result != DW_OK)
                give(a, i, result);
        }
    }
    mongoc_collection_destroy(c);
}

/* ---- all of it ---- */

void mongo_apply(void *self, struct dw_store_step *const *steps, size_t count)
{
    struct applying a = {.steps = steps, .count = count};
    if (!mongo_begin(self, &a.call))
        return; /* store.c has set every outcome to RETRY */
    uint8_t (*writes)[WRITE_ID] = dw_alloc(count * sizeof *writes);
    a.out = dw_alloc(count * sizeof *a.out);
    randombytes_buf(writes, count * sizeof *writes);
    put_audit(&a);
    leave_out_what_needs_the_first(&a);
    put_objects(&a);
    put_receipts(&a);
    put_references(&a);
    DW_POINT("store.before-case");
    DW_POINT("store.before-commit");
    put_new_cases(&a, writes);
    put_changed_cases(&a, writes);
    put_records(&a);
    DW_POINT("store.committed");
    for (size_t i = 0; i < count; i++)
        give(&a, i, DW_OK);
    dw_free(a.out);
    dw_free(writes);
    mongo_end(&a.call);
}
