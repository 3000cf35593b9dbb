/* sqlite_read.c - questions to a store in a file. */
#include "sqlite_private.h"

#include <string.h>

static struct dw_slice doc_at(sqlite3_stmt *st, int column)
{
    return DW_SLICE(sqlite3_column_blob(st, column), (size_t)sqlite3_column_bytes(st, column));
}

enum dw_result sqlite_get_case(void *self, const uint8_t id[16], struct dw_buf *buf,
                               int64_t *version)
{
    struct sqlite *s = self;
    struct sqlite_found found;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        result = DW_NOT_FOUND;
        if (sqlite_find(s, Q_CASE, id, 0, &found)) {
            *version = sqlite3_column_int64(found.row, 1);
            dw_buf_put(buf, sqlite3_column_blob(found.row, 2), (size_t)sqlite3_column_bytes(found.row, 2));
            sqlite3_reset(found.row);
            result = buf->overflow ? DW_INVALID : DW_OK;
        }
    }
    return sqlite_end_read(s, result);
}

static enum dw_result id_of(struct sqlite *s, enum sqlite_statement which, const void *key, size_t len,
                            uint8_t id[16])
{
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = sqlite_use(s, which);
        if (which == Q_REF)
            sqlite3_bind_text(st, 1, key, (int)len, SQLITE_STATIC);
        else
            sqlite_blob(st, 1, key, len);
        result = DW_NOT_FOUND;
        if (sqlite_step_row(s, st)) {
            memcpy(id, sqlite3_column_blob(st, 0), 16);
            sqlite3_reset(st);
            result = DW_OK;
        }
    }
    return sqlite_end_read(s, result);
}

enum dw_result sqlite_id_of_handle(void *self, const uint8_t handle[16], uint8_t id[16])
{
    return id_of(self, Q_RECEIPT, handle, 16, id);
}

enum dw_result sqlite_id_of_reference(void *self, const char *reference, uint8_t id[16])
{
    return id_of(self, Q_REF, reference, strlen(reference), id);
}

enum dw_result sqlite_get_object(void *self, const uint8_t id[16], int32_t part,
                                 struct dw_buf *buf)
{
    struct sqlite *s = self;
    struct sqlite_found found;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        result = DW_NOT_FOUND;
        if (sqlite_find(s, Q_OBJECT, id, part, &found)) {
            dw_buf_put(buf, sqlite3_column_blob(found.row, 2), (size_t)sqlite3_column_bytes(found.row, 2));
            sqlite3_reset(found.row);
            result = buf->overflow ? DW_INVALID : DW_OK;
        }
    }
    return sqlite_end_read(s, result);
}

static size_t collect_ids(struct sqlite *s, sqlite3_stmt *st, uint8_t (*ids)[16], size_t limit)
{
    size_t count = 0;
    while (count < limit && sqlite_step_row(s, st))
        memcpy(ids[count++], sqlite3_column_blob(st, 0), 16);
    sqlite3_reset(st);
    return count;
}

static sqlite3_stmt *query_of(struct sqlite *s, const struct dw_store_query *q)
{
    static const enum sqlite_statement lists[] = {[DW_LIST_MINE] = Q_MINE,
                                                  [DW_LIST_UNASSIGNED] = Q_MINE,
                                                  [DW_LIST_DUE] = Q_OPEN,
                                                  [DW_LIST_OVERDUE] = Q_OPEN,
                                                  [DW_LIST_ALL] = Q_ALL};
    static const uint8_t highest[17] = {255, 255, 255, 255, 255, 255, 255, 255, 255,
                                        255, 255, 255, 255, 255, 255, 255, 255};
    sqlite3_stmt *st = sqlite_use(s, lists[q->list]);
    sqlite_text(st, 1, q->body);
    if (q->list == DW_LIST_MINE || q->list == DW_LIST_UNASSIGNED)
        sqlite_text(st, 2, q->list == DW_LIST_MINE ? q->user : "");
    else if (q->list != DW_LIST_ALL)
        sqlite3_bind_int(st, 2, q->list == DW_LIST_DUE ? q->soon : q->today - 1);
    if (q->after) {
        sqlite3_bind_int(st, 3, q->after_due ? q->after_due : SQLITE_NO_DUE);
        sqlite_blob(st, 4, q->after_id, 16);
    } else { /* behind the last row of the day before the first that counts */
        sqlite3_bind_int(st, 3, q->list == DW_LIST_DUE ? q->today - 1 : -1);
        sqlite_blob(st, 4, highest, sizeof highest);
    }
    sqlite3_bind_int64(st, 5, (int64_t)q->limit);
    return st;
}

static enum dw_result take_row(struct sqlite *s, const uint8_t id[16], struct dw_arena *arena,
                               struct dw_store_row *rows, size_t *count)
{
    struct sqlite_found found;
    struct dw_error err;
    if (!sqlite_find(s, Q_ROW, id, 0, &found))
        return DW_OK;
    struct dw_store_row *row = &rows[*count];
    struct dw_slice doc = doc_at(found.row, 2);
    memcpy(row->id, id, 16);
    row->version = sqlite3_column_int64(found.row, 1);
    enum dw_result result = dw_decode(&dw_case_index_layout, doc, arena, &row->ix, &err);
    sqlite3_reset(found.row);
    *count += result == DW_OK;
    return result;
}

enum dw_result sqlite_worklist(void *self, const struct dw_store_query *query,
                               struct dw_arena *arena, struct dw_store_row *rows, size_t *count)
{
    struct sqlite *s = self;
    uint8_t (*ids)[16] = dw_arena_alloc(arena, query->limit * sizeof *ids);
    enum dw_result result = sqlite_begin_read(s);
    size_t there = result == DW_OK && ids ? collect_ids(s, query_of(s, query), ids, query->limit) : 0;
    for (size_t i = 0; i < there && result == DW_OK; i++)
        result = take_row(s, ids[i], arena, rows, count);
    return sqlite_end_read(s, result);
}

enum dw_result sqlite_due(void *self, enum dw_store_due which, dw_time now, size_t limit,
                          uint8_t (*ids)[16], size_t *count)
{
    static const enum sqlite_statement which_query[] = {
        [DW_DUE_TIMER] = Q_TIMER, [DW_DUE_NOTICE] = Q_NOTICE, [DW_DUE_FOLD] = Q_FOLD};
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = sqlite_use(s, which_query[which]);
        sqlite3_bind_int64(st, 1, now);
        sqlite3_bind_int64(st, 2, (int64_t)limit);
        *count = collect_ids(s, st, ids, limit);
    }
    return sqlite_end_read(s, result);
}

enum dw_result sqlite_get_record(void *self, const char *collection, const char *key,
                                 struct dw_buf *buf, int64_t *version)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = sqlite_use(s, Q_RECORD);
        sqlite_text(st, 1, collection);
        sqlite_text(st, 2, key);
        result = DW_NOT_FOUND;
        if (sqlite_step_row(s, st)) {
            *version = sqlite3_column_int64(st, 0);
            dw_buf_put(buf, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
            sqlite3_reset(st);
            result = buf->overflow ? DW_INVALID : DW_OK;
        }
    }
    return sqlite_end_read(s, result);
}

enum dw_result sqlite_records(void *self, const char *collection, const char *prefix,
                              dw_store_each *each, void *arg)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = sqlite_use(s, Q_RECORDS);
        sqlite_text(st, 1, collection);
        sqlite_text(st, 2, prefix);
        while (sqlite_step_row(s, st))
            each(arg, (const char *)sqlite3_column_text(st, 0), sqlite3_column_int64(st, 1),
                 doc_at(st, 2));
    }
    return sqlite_end_read(s, result);
}

enum dw_result sqlite_audit_last(void *self, const char *chain, int64_t *seq, struct dw_buf *buf)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = sqlite_use(s, Q_AUDIT_LAST);
        sqlite_text(st, 1, chain);
        if (sqlite_step_row(s, st)) {
            *seq = sqlite3_column_int64(st, 0);
            dw_buf_put(buf, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
            sqlite3_reset(st);
        }
    }
    return sqlite_end_read(s, result);
}

enum dw_result sqlite_audit_read(void *self, const char *chain, int64_t from, size_t limit,
                                 dw_store_each *each, void *arg)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = sqlite_use(s, Q_AUDIT_READ);
        sqlite_text(st, 1, chain);
        sqlite3_bind_int64(st, 2, from);
        sqlite3_bind_int64(st, 3, (int64_t)limit);
        while (sqlite_step_row(s, st))
            each(arg, (const char *)sqlite3_column_text(st, 0), sqlite3_column_int64(st, 1),
                 doc_at(st, 2));
    }
    return sqlite_end_read(s, result);
}

enum dw_result sqlite_counts(void *self, struct dw_store_counts *ret)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = sqlite_use(s, Q_COUNTS);
        if (sqlite_step_row(s, st))
            *ret = (struct dw_store_counts){
                sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1),
                sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3),
                sqlite3_column_int64(st, 4), sqlite3_column_int64(st, 5)};
        sqlite3_reset(st);
    }
    return sqlite_end_read(s, result);
}

enum dw_result sqlite_each_case(void *self, dw_store_each *each, void *arg)
{
    struct sqlite *s = self;
    char key[33];
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = sqlite_use(s, Q_EACH);
        while (sqlite_step_row(s, st))
            each(arg, dw_hex(key, sqlite3_column_blob(st, 0), 16), sqlite3_column_int64(st, 1),
                 doc_at(st, 2));
    }
    return sqlite_end_read(s, result);
}
