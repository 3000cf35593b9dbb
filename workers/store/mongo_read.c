/* mongo_read.c - questions.  Each names the index that answers it. */
#include "mongo_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_LEN = 4096 };

/* ---- one document by its _id ---- */

/* A search for documents of one collection. */
struct search {
    struct mongo_call call;
    mongoc_collection_t *collection;
    mongoc_cursor_t *cursor;
};

static enum dw_result search_begin(struct search *s, struct mongo *m, const char *collection)
{
    *s = (struct search){0};
    if (!mongo_begin(m, &s->call))
        return DW_RETRY;
    s->collection = mongo_collection(&s->call, collection);
    return DW_OK;
}

/* One search may run several queries, one after the other. */
static void search_for(struct search *s, const bson_t *filter, const bson_t *opts)
{
    if (s->cursor)
        mongoc_cursor_destroy(s->cursor);
    s->cursor = mongoc_collection_find_with_opts(s->collection, filter, opts, NULL);
}

static bool search_next(struct search *s, const bson_t **doc)
{
    return mongoc_cursor_next(s->cursor, doc);
}

static enum dw_result search_error(struct search *s)
{
    bson_error_t error;
    return mongoc_cursor_error(s->cursor, &error) ? mongo_read_failed(&error) : DW_OK;
}

static enum dw_result search_end(struct search *s, enum dw_result result)
{
    if (s->cursor) {
        enum dw_result seen = search_error(s);
        if (seen != DW_OK)
            result = seen;
        mongoc_cursor_destroy(s->cursor);
    }
    mongoc_collection_destroy(s->collection);
    mongo_end(&s->call);
    return result;
}

static bool take_id(const bson_t *doc, const char *name, uint8_t id[16])
{
    bson_iter_t at;
    bson_subtype_t subtype;
    uint32_t len;
    const uint8_t *bytes;
    if (!bson_iter_init_find(&at, doc, name) || !BSON_ITER_HOLDS_BINARY(&at))
        return false;
    bson_iter_binary(&at, &subtype, &len, &bytes);
    if (len != 16)
        return false;
    memcpy(id, bytes, 16);
    return true;
}

static bool take_bytes(const bson_t *doc, const char *name, struct dw_slice *ret)
{
    bson_iter_t at;
    bson_subtype_t subtype;
    uint32_t len;
    const uint8_t *bytes;
    if (!bson_iter_init_find(&at, doc, name))
        return false;
    if (BSON_ITER_HOLDS_BINARY(&at))
        bson_iter_binary(&at, &subtype, &len, &bytes);
    else if (BSON_ITER_HOLDS_DOCUMENT(&at))
        bson_iter_document(&at, &len, &bytes);
    else
        return false;
    *ret = DW_SLICE(bytes, len);
    return true;
}

static int64_t take_version(const bson_t *doc)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, doc, "v") ? bson_iter_as_int64(&at) : 0;
}

/* The document of this filter; its field goes into the buffer, its version to `version`. */
static enum dw_result get(struct mongo *m, const char *collection, const bson_t *filter,
                          const char *field, struct dw_buf *buf, int64_t *version)
{
    struct search s;
    const bson_t *doc;
    struct dw_slice bytes;
    enum dw_result result = search_begin(&s, m, collection);
    if (result != DW_OK)
        return result;
    search_for(&s, filter, NULL);
    result = DW_NOT_FOUND;
    if (search_next(&s, &doc)) {
        result = DW_INVALID;
        if (take_bytes(doc, field, &bytes)) {
            dw_buf_put(buf, bytes.data, bytes.len);
            result = buf->overflow ? DW_INVALID : DW_OK;
        }
        if (version)
            *version = take_version(doc);
    }
    return search_end(&s, result);
}

enum dw_result mongo_get_case(void *self, const uint8_t id[16], struct dw_buf *buf,
                              int64_t *version)
{
    bson_t filter = BSON_INITIALIZER;
    mongo_append_id(&filter, "_id", id);
    enum dw_result result = get(self, "cases", &filter, "doc", buf, version);
    bson_destroy(&filter);
    return result;
}

enum dw_result mongo_get_object(void *self, const uint8_t id[16], int32_t part, struct dw_buf *buf)
{
    bson_t filter = BSON_INITIALIZER;
    uint8_t key[MONGO_OBJECT_KEY];
    mongo_object_key(key, id, part);
    BSON_APPEND_BINARY(&filter, "_id", BSON_SUBTYPE_BINARY, key, sizeof key);
    enum dw_result result = get(self, "objects", &filter, "bytes", buf, NULL);
    bson_destroy(&filter);
    return result;
}

static enum dw_result case_of(struct mongo *m, const char *collection, const bson_t *filter,
                              uint8_t id[16])
{
    DW_AUTO_BUF found = {0};
    dw_buf_init(&found, 16);
    enum dw_result result = get(m, collection, filter, "case", &found, NULL);
    if (result == DW_OK && found.len != 16)
        result = DW_INVALID;
    if (result == DW_OK)
        memcpy(id, found.data, 16);
    return result;
}

enum dw_result mongo_id_of_handle(void *self, const uint8_t handle[16], uint8_t id[16])
{
    bson_t filter = BSON_INITIALIZER;
    mongo_append_id(&filter, "_id", handle);
    enum dw_result result = case_of(self, "receipts", &filter, id);
    bson_destroy(&filter);
    return result;
}

enum dw_result mongo_id_of_reference(void *self, const char *reference, uint8_t id[16])
{
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(reference));
    enum dw_result result = case_of(self, "refs", filter, id);
    bson_destroy(filter);
    return result;
}

enum dw_result mongo_get_record(void *self, const char *collection, const char *key,
                                struct dw_buf *buf, int64_t *version)
{
    DW_AUTO_BUF name = {0};
    dw_buf_init(&name, NAME_LEN);
    mongo_record_key(&name, collection, key);
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(dw_buf_text(&name)));
    enum dw_result result = get(self, "records", filter, "doc", buf, version);
    bson_destroy(filter);
    return result;
}

/* ---- options of queries ---- */

static bson_t *options(const char *index, const char *sort, int direction, size_t limit)
{
    bson_t *opts = bson_new(), order;
    BSON_APPEND_UTF8(opts, "hint", index);
    BSON_APPEND_DOCUMENT_BEGIN(opts, "sort", &order);
    if (strcmp(sort, "_id") != 0)
        BSON_APPEND_INT32(&order, sort, direction);
    if (strcmp(sort, "timer") != 0 && strcmp(sort, "notice") != 0 && strcmp(sort, "fold") != 0)
        BSON_APPEND_INT32(&order, "_id", direction);
    bson_append_document_end(opts, &order);
    if (limit)
        BSON_APPEND_INT64(opts, "limit", (int64_t)limit);
    return opts;
}

/* Only what a row of a worklist shows. */
static void only_row(bson_t *opts)
{
    bson_t fields;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "v", 1);
    BSON_APPEND_INT32(&fields, "due", 1);
    BSON_APPEND_INT32(&fields, "ix", 1);
    bson_append_document_end(opts, &fields);
}

/* ---- worklists ---- */

/* A page is read from up to three ranges of indexes, each in order of (due, _id):
 *
 *   rest    own cases of the day at which the page before ended, behind its last id
 *   later   own cases of later days
 *   others  cases of other bodies that this one may see; they have no due day here, so they stand
 *           behind all own ones, among those without a day
 *
 * The last two meet in the day "none": there they are merged by id. */
struct page {
    struct search search;
    const struct dw_store_query *query;
    struct dw_arena *arena;
    struct dw_store_row *rows;
    size_t count;
    enum dw_result result;
};

static int32_t due_of(const struct dw_case_index *ix, const char *body)
{
    return strcmp(ix->body, body) == 0 && ix->due ? ix->due : MONGO_NO_DUE;
}

static bool stands_before(const struct page *p, const struct dw_store_row *a,
                          const struct dw_store_row *b)
{
    int32_t due_a = due_of(&a->ix, p->query->body), due_b = due_of(&b->ix, p->query->body);
    return due_a != due_b ? due_a < due_b : memcmp(a->id, b->id, 16) < 0;
}

/* Puts a row in its place; the last one falls off a full page. */
static void insert_row(struct page *p, const struct dw_store_row *row)
{
    size_t at = p->count;
    while (at > 0 && stands_before(p, row, &p->rows[at - 1]))
        at--;
    if (at == p->query->limit)
        return;
    size_t last = p->count < p->query->limit ? p->count++ : p->count - 1;
    memmove(&p->rows[at + 1], &p->rows[at], (last - at) * sizeof *p->rows);
    p->rows[at] = *row;
}

static void read_rows(struct page *p, const bson_t *filter, const char *index, const char *sort)
{
    const bson_t *doc;
    struct dw_error err;
    if (p->result != DW_OK)
        return;
    bson_t *opts = options(index, sort, 1, p->query->limit);
    only_row(opts);
    search_for(&p->search, filter, opts);
    while (p->result == DW_OK && search_next(&p->search, &doc)) {
        struct dw_store_row row = {.version = take_version(doc)};
        struct dw_slice ix;
        if (!take_id(doc, "_id", row.id) || !take_bytes(doc, "ix", &ix) ||
            dw_decode(&dw_case_index_layout, ix, p->arena, &row.ix, &err) != DW_OK)
            p->result = DW_INVALID;
        else
            insert_row(p, &row);
    }
    if (p->result == DW_OK)
        p->result = search_error(&p->search);
    bson_destroy(opts);
}

static const char *own_filter(const struct dw_store_query *q, bson_t *filter)
{
    const char *index = mongo_cases_all;
    BSON_APPEND_UTF8(filter, "body", q->body);
    if (q->list != DW_LIST_ALL) {
        BSON_APPEND_BOOL(filter, "open", true);
        index = mongo_cases_open;
    }
    if (q->list == DW_LIST_MINE || q->list == DW_LIST_UNASSIGNED) {
        BSON_APPEND_UTF8(filter, "assignee", q->list == DW_LIST_MINE ? q->user : "");
        index = mongo_cases_mine;
    }
    return index;
}

static void after_id(bson_t *filter, const struct dw_store_query *q)
{
    bson_t range;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
    mongo_append_id(&range, "$gt", q->after_id);
    bson_append_document_end(filter, &range);
}

static void read_rest(struct page *p, int32_t due)
{
    bson_t filter = BSON_INITIALIZER;
    const char *index = own_filter(p->query, &filter);
    BSON_APPEND_INT32(&filter, "due", due);
    after_id(&filter, p->query);
    read_rows(p, &filter, index, "due");
    bson_destroy(&filter);
}

static void read_later(struct page *p, int32_t behind, int32_t to)
{
    bson_t filter = BSON_INITIALIZER, range;
    const char *index = own_filter(p->query, &filter);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "due", &range);
    BSON_APPEND_INT32(&range, "$gt", behind);
    BSON_APPEND_INT32(&range, "$lte", to);
    bson_append_document_end(&filter, &range);
    read_rows(p, &filter, index, "due");
    bson_destroy(&filter);
}

static void read_others(struct page *p, bool behind_id)
{
    const struct dw_store_query *q = p->query;
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "others", q->body);
    if (q->list != DW_LIST_ALL)
        BSON_APPEND_BOOL(&filter, "open", true);
    if (behind_id)
        after_id(&filter, q);
    read_rows(p, &filter, q->list == DW_LIST_ALL ? mongo_cases_others : mongo_cases_others_open,
              "_id");
    bson_destroy(&filter);
}

enum dw_result mongo_worklist(void *self, const struct dw_store_query *q, struct dw_arena *arena,
                              struct dw_store_row *rows, size_t *count)
{
    struct page p = {.query = q, .arena = arena, .rows = rows};
    int32_t from = q->list == DW_LIST_DUE ? q->today - 1 : -1;
    int32_t to = q->list == DW_LIST_DUE       ? q->soon
                 : q->list == DW_LIST_OVERDUE ? q->today - 1
                                              : MONGO_NO_DUE;
    int32_t after_due = q->after_due ? q->after_due : MONGO_NO_DUE;
    p.result = search_begin(&p.search, self, "cases");
    if (p.result != DW_OK)
        return p.result;
    if (q->after) {
        read_rest(&p, after_due);
        from = after_due;
    }
    if (from < to && p.count < q->limit)
        read_later(&p, from, to);
    if (q->list == DW_LIST_ALL || q->list == DW_LIST_UNASSIGNED)
        read_others(&p, q->after && after_due == MONGO_NO_DUE);
    *count = p.count;
    return search_end(&p.search, p.result);
}

/* ---- what is due ---- */

enum dw_result mongo_due(void *self, enum dw_store_due which, dw_time now, size_t limit,
                         uint8_t (*ids)[16], size_t *count)
{
    static const struct {
        const char *field, *index;
    } dues[] = {[DW_DUE_TIMER] = {"timer", mongo_cases_timer},
                [DW_DUE_NOTICE] = {"notice", mongo_cases_notice},
                [DW_DUE_FOLD] = {"fold", mongo_cases_fold}};
    struct search s;
    const bson_t *doc;
    bson_t filter = BSON_INITIALIZER, range, fields;
    const char *field = dues[which].field;
    enum dw_result result = search_begin(&s, self, "cases");
    if (result != DW_OK)
        return result;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, field, &range);
    BSON_APPEND_INT64(&range, "$lte", now);
    bson_append_document_end(&filter, &range);
    bson_t *opts = options(dues[which].index, field, 1, limit);
    BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &fields);
    BSON_APPEND_INT32(&fields, "_id", 1);
    bson_append_document_end(opts, &fields);
    search_for(&s, &filter, opts);
    while (*count < limit && search_next(&s, &doc))
        *count += take_id(doc, "_id", ids[*count]);
    bson_destroy(opts);
    bson_destroy(&filter);
    return search_end(&s, DW_OK);
}

/* ---- records and chains ---- */

/* The last of all characters: behind every text that begins with what stands before it. */
#define BEHIND_ALL "\xf4\x8f\xbf\xbf"

/* Documents whose _id begins with the prefix, from `from` on; those of a chain by their number.  Both
 * ends are told, so that in a sharded collection only the shards between them are asked. */
static enum dw_result each_named(struct mongo *m, const char *collection, const char *prefix,
                                 const char *from, const char *chain, size_t limit,
                                 dw_store_each *each, void *arg)
{
    struct search s;
    const bson_t *doc;
    bson_iter_t at;
    struct dw_slice bytes;
    uint32_t len;
    bson_t filter = BSON_INITIALIZER, range;
    DW_AUTO_BUF end = {0};
    enum dw_result result = search_begin(&s, m, collection);
    if (result != DW_OK)
        return result;
    dw_buf_init(&end, NAME_LEN + sizeof BEHIND_ALL);
    dw_buf_printf(&end, "%s" BEHIND_ALL, prefix);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &range);
    BSON_APPEND_UTF8(&range, "$gte", from);
    BSON_APPEND_UTF8(&range, "$lt", dw_buf_text(&end));
    bson_append_document_end(&filter, &range);
    bson_t *opts = options(mongo_by_id, "_id", 1, limit);
    search_for(&s, &filter, opts);
    while (search_next(&s, &doc) && bson_iter_init_find(&at, doc, "_id")) {
        const char *key = bson_iter_utf8(&at, &len);
        if (!key || strncmp(key, prefix, strlen(prefix)) != 0)
            break;
        const char *name = strchr(key, '/') + 1;
        if (!take_bytes(doc, "doc", &bytes)) {
            result = DW_INVALID;
            break;
        }
        if (chain)
            each(arg, chain, strtoll(name, NULL, 10), bytes);
        else
            each(arg, name, take_version(doc), bytes);
    }
    bson_destroy(opts);
    bson_destroy(&filter);
    return search_end(&s, result);
}

enum dw_result mongo_records(void *self, const char *collection, const char *prefix,
                             dw_store_each *each, void *arg)
{
    DW_AUTO_BUF key = {0};
    dw_buf_init(&key, NAME_LEN);
    mongo_record_key(&key, collection, prefix);
    return each_named(self, "records", dw_buf_text(&key), dw_buf_text(&key), NULL, 0, each, arg);
}

enum dw_result mongo_audit_read(void *self, const char *chain, int64_t from, size_t limit,
                                dw_store_each *each, void *arg)
{
    char key[128], prefix[100];
    mongo_audit_key(key, chain, from);
    snprintf(prefix, sizeof prefix, "%s/", chain);
    return each_named(self, "audit", prefix, key, chain, limit, each, arg);
}

enum dw_result mongo_audit_last(void *self, const char *chain, int64_t *seq, struct dw_buf *buf)
{
    struct search s;
    const bson_t *doc;
    bson_iter_t at;
    struct dw_slice bytes;
    char first[128], last[128];
    bson_t filter = BSON_INITIALIZER, range;
    enum dw_result result = search_begin(&s, self, "audit");
    if (result != DW_OK)
        return result;
    mongo_audit_key(first, chain, 0);
    mongo_audit_key(last, chain, INT64_MAX);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &range);
    BSON_APPEND_UTF8(&range, "$gte", first);
    BSON_APPEND_UTF8(&range, "$lte", last);
    bson_append_document_end(&filter, &range);
    bson_t *opts = options(mongo_by_id, "_id", -1, 1);
    search_for(&s, &filter, opts);
    if (search_next(&s, &doc) && bson_iter_init_find(&at, doc, "_id") &&
        take_bytes(doc, "doc", &bytes)) {
        *seq = strtoll(bson_iter_utf8(&at, NULL) + strlen(chain) + 1, NULL, 10);
        dw_buf_put(buf, bytes.data, bytes.len);
    }
    bson_destroy(opts);
    bson_destroy(&filter);
    return search_end(&s, DW_OK);
}

/* ---- for checks ---- */

/* What the server knows without counting, which takes longer than store.socket_ms where there is much. */
enum dw_result mongo_counts(void *self, struct dw_store_counts *ret)
{
    struct mongo_call call;
    const struct {
        const char *name;
        int64_t *count;
    } all[] = {{"cases", &ret->cases},     {"objects", &ret->objects}, {"receipts", &ret->receipts},
               {"refs", &ret->references}, {"audit", &ret->audit}, {"records", &ret->records}};
    enum dw_result result = DW_OK;
    if (!mongo_begin(self, &call))
        return DW_RETRY;
    for (size_t i = 0; i < DW_COUNT(all) && result == DW_OK; i++) {
        bson_error_t error;
        mongoc_collection_t *c = mongo_collection(&call, all[i].name);
        *all[i].count = mongoc_collection_estimated_document_count(c, NULL, NULL, NULL, &error);
        if (*all[i].count < 0)
            result = mongo_read_failed(&error);
        mongoc_collection_destroy(c);
    }
    mongo_end(&call);
    return result;
}

enum dw_result mongo_each_case(void *self, dw_store_each *each, void *arg)
{
    struct search s;
    const bson_t *doc;
    struct dw_slice bytes;
    uint8_t id[16];
    char key[33];
    bson_t everything = BSON_INITIALIZER;
    enum dw_result result = search_begin(&s, self, "cases");
    if (result != DW_OK)
        return result;
    bson_t *opts = options(mongo_by_id, "_id", 1, 0);
    search_for(&s, &everything, opts);
    while (search_next(&s, &doc))
        if (take_id(doc, "_id", id) && take_bytes(doc, "doc", &bytes))
            each(arg, dw_hex(key, id, 16), take_version(doc), bytes);
    bson_destroy(opts);
    bson_destroy(&everything);
    return search_end(&s, DW_OK);
}

/* ---- everything there is ---- */

static bool take_case(const bson_t *doc, struct dw_store_entry *e, char *name)
{
    (void)name;
    e->version = take_version(doc);
    return take_id(doc, "_id", e->id) && take_bytes(doc, "ix", &e->ix) &&
           take_bytes(doc, "doc", &e->doc);
}

static bool take_receipt(const bson_t *doc, struct dw_store_entry *e, char *name)
{
    (void)name;
    return take_id(doc, "_id", e->id) && take_id(doc, "case", e->case_id);
}

static bool take_object(const bson_t *doc, struct dw_store_entry *e, char *name)
{
    struct dw_slice key;
    (void)name;
    if (!take_bytes(doc, "_id", &key) || key.len != MONGO_OBJECT_KEY ||
        !take_bytes(doc, "bytes", &e->doc))
        return false;
    struct dw_reader r = {.rest = key};
    memcpy(e->id, dw_read_bytes(&r, 16), 16);
    e->number = (int32_t)dw_read_u32(&r);
    return true;
}

static bool take_name(const bson_t *doc, char *name)
{
    bson_iter_t at;
    uint32_t len;
    if (!bson_iter_init_find(&at, doc, "_id") || !BSON_ITER_HOLDS_UTF8(&at))
        return false;
    const char *text = bson_iter_utf8(&at, &len);
    return snprintf(name, NAME_LEN, "%s", text) < NAME_LEN;
}

static bool take_reference(const bson_t *doc, struct dw_store_entry *e, char *name)
{
    e->name = name;
    return take_name(doc, name) && take_id(doc, "case", e->case_id);
}

/* "staff/li" */
static bool take_record(const bson_t *doc, struct dw_store_entry *e, char *name)
{
    char *slash;
    if (!take_name(doc, name) || !(slash = strchr(name, '/')))
        return false;
    *slash = 0;
    e->name = name;
    e->key = slash + 1;
    e->version = take_version(doc);
    return take_bytes(doc, "doc", &e->doc);
}

/* "staff/00000000000000000012" */
static bool take_audit(const bson_t *doc, struct dw_store_entry *e, char *name)
{
    char *slash;
    if (!take_name(doc, name) || !(slash = strrchr(name, '/')))
        return false;
    *slash = 0;
    e->name = name;
    e->number = strtoll(slash + 1, NULL, 10);
    return take_bytes(doc, "doc", &e->doc);
}

static void behind(bson_t *range, enum dw_store_table table, const struct dw_store_entry *after)
{
    uint8_t object[MONGO_OBJECT_KEY];
    char audit[128];
    DW_AUTO_BUF record = {0};
    switch (table) {
    case DW_TABLE_CASES:
    case DW_TABLE_RECEIPTS:
        mongo_append_id(range, "$gt", after->id);
        break;
    case DW_TABLE_OBJECTS:
        mongo_object_key(object, after->id, (int32_t)after->number);
        BSON_APPEND_BINARY(range, "$gt", BSON_SUBTYPE_BINARY, object, sizeof object);
        break;
    case DW_TABLE_REFERENCES:
        BSON_APPEND_UTF8(range, "$gt", after->name);
        break;
    case DW_TABLE_RECORDS:
        dw_buf_init(&record, NAME_LEN);
        mongo_record_key(&record, after->name, after->key);
        BSON_APPEND_UTF8(range, "$gt", dw_buf_text(&record));
        break;
    default:
        mongo_audit_key(audit, after->name, after->number);
        BSON_APPEND_UTF8(range, "$gt", audit);
    }
}

static const struct {
    const char *collection;
    bool (*take)(const bson_t *doc, struct dw_store_entry *entry, char *name);
} walks[DW_TABLES] = {
    [DW_TABLE_CASES] = {"cases", take_case},
    [DW_TABLE_RECEIPTS] = {"receipts", take_receipt},
    [DW_TABLE_REFERENCES] = {"refs", take_reference},
    [DW_TABLE_OBJECTS] = {"objects", take_object},
    [DW_TABLE_RECORDS] = {"records", take_record},
    [DW_TABLE_AUDIT] = {"audit", take_audit},
};

enum dw_result mongo_walk(void *self, enum dw_store_table table, const struct dw_store_entry *after,
                          size_t limit, dw_store_walker *walker, void *arg)
{
    struct search s;
    const bson_t *doc;
    char name[NAME_LEN];
    bson_t filter = BSON_INITIALIZER, range;
    bool more = true;
    enum dw_result result = search_begin(&s, self, walks[table].collection);
    if (result != DW_OK)
        return result;
    if (after) {
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &range);
        behind(&range, table, after);
        bson_append_document_end(&filter, &range);
    }
    bson_t *opts = options(mongo_by_id, "_id", 1, limit);
    search_for(&s, &filter, opts);
    while (more && search_next(&s, &doc)) {
        struct dw_store_entry entry = {.name = "", .key = ""};
        if (!walks[table].take(doc, &entry, name)) {
            result = DW_INVALID;
            break;
        }
        more = walker(arg, &entry);
    }
    bson_destroy(opts);
    bson_destroy(&filter);
    return search_end(&s, result);
}
