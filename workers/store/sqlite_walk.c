/* sqlite_walk.c - all rows of a table, by its key, a page at a time; cases and objects by their places:
 * in which order they came is not for a copy to tell. */
#include "sqlite_private.h"

#include <string.h>

static struct dw_slice bytes_at(sqlite3_stmt *st, int column)
{
    const void *data = sqlite3_column_blob(st, column);
    return DW_SLICE(data, (size_t)sqlite3_column_bytes(st, column));
}

static void id_at(sqlite3_stmt *st, int column, uint8_t id[16])
{
    struct dw_slice bytes = bytes_at(st, column);
    if (bytes.len == 16)
        memcpy(id, bytes.data, 16);
}

static const char *text_at(sqlite3_stmt *st, int column)
{
    const unsigned char *text = sqlite3_column_text(st, column);
    return text ? (const char *)text : "";
}

/* ---- where a page begins: parameters 1 and 2 ---- */

static bool behind_slot(struct sqlite *s, enum dw_store_table table, sqlite3_stmt *st,
                        const struct dw_store_entry *after)
{
    struct sqlite_found found = {.slot = -1};
    if (after) {
        if (!sqlite_find(s, table == DW_TABLE_OBJECTS ? Q_OBJECT : Q_ROW, after->id,
                         (int32_t)after->number, &found))
            return false;
        sqlite3_reset(found.row);
    }
    sqlite3_bind_int64(st, 1, found.slot);
    return true;
}

static bool behind_handle(struct sqlite *s, enum dw_store_table table, sqlite3_stmt *st,
                          const struct dw_store_entry *after)
{
    (void)s, (void)table;
    sqlite3_bind_blob(st, 1, after ? after->id : (const void *)"", after ? 16 : 0, SQLITE_STATIC);
    return true;
}

static bool behind_names(struct sqlite *s, enum dw_store_table table, sqlite3_stmt *st,
                         const struct dw_store_entry *after)
{
    (void)s;
    sqlite3_bind_text(st, 1, after ? after->name : "", -1, SQLITE_STATIC);
    if (table == DW_TABLE_RECORDS)
        sqlite3_bind_text(st, 2, after ? after->key : "", -1, SQLITE_STATIC);
    if (table == DW_TABLE_AUDIT)
        sqlite3_bind_int64(st, 2, after ? after->number : -1);
    return true;
}

/* ---- a row ---- */

static void take_case(sqlite3_stmt *st, struct dw_store_entry *e)
{
    id_at(st, 0, e->id);
    e->version = sqlite3_column_int64(st, 1);
    e->ix = bytes_at(st, 2);
    e->doc = bytes_at(st, 3);
}

static void take_receipt(sqlite3_stmt *st, struct dw_store_entry *e)
{
    id_at(st, 0, e->id);
    id_at(st, 1, e->case_id);
}

static void take_reference(sqlite3_stmt *st, struct dw_store_entry *e)
{
    e->name = text_at(st, 0);
    id_at(st, 1, e->case_id);
}

static void take_object(sqlite3_stmt *st, struct dw_store_entry *e)
{
    id_at(st, 0, e->id);
    e->number = sqlite3_column_int(st, 1);
    e->doc = bytes_at(st, 2);
}

static void take_record(sqlite3_stmt *st, struct dw_store_entry *e)
{
    e->name = text_at(st, 0);
    e->key = text_at(st, 1);
    e->version = sqlite3_column_int64(st, 2);
    e->doc = bytes_at(st, 3);
}

static void take_audit(sqlite3_stmt *st, struct dw_store_entry *e)
{
    e->name = text_at(st, 0);
    e->number = sqlite3_column_int64(st, 1);
    e->doc = bytes_at(st, 2);
}

static const struct {
    const char *sql;
    bool (*behind)(struct sqlite *s, enum dw_store_table table, sqlite3_stmt *st,
                   const struct dw_store_entry *after);
    void (*take)(sqlite3_stmt *st, struct dw_store_entry *entry);
} walks[DW_TABLES] = {
    [DW_TABLE_CASES] = {"SELECT id, version, row, doc FROM places CROSS JOIN cases USING(n)"
                        " WHERE slot > ?1 AND slot % 2 = 0 ORDER BY slot LIMIT ?3",
                        behind_slot, take_case},
    [DW_TABLE_RECEIPTS] = {"SELECT handle, id FROM receipts WHERE handle > ?1"
                           " ORDER BY handle LIMIT ?3", behind_handle, take_receipt},
    [DW_TABLE_REFERENCES] = {"SELECT reference, id FROM refs WHERE reference > ?1"
                             " ORDER BY reference LIMIT ?3", behind_names, take_reference},
    [DW_TABLE_OBJECTS] = {"SELECT id, part, bytes FROM places CROSS JOIN objects USING(n)"
                          " WHERE slot > ?1 AND slot % 2 = 1 ORDER BY slot LIMIT ?3",
                          behind_slot, take_object},
    [DW_TABLE_RECORDS] = {"SELECT collection, key, version, doc FROM records"
                          " WHERE (collection, key) > (?1, ?2)"
                          " ORDER BY collection, key LIMIT ?3", behind_names, take_record},
    [DW_TABLE_AUDIT] = {"SELECT chain, seq, doc FROM audit WHERE (chain, seq) > (?1, ?2)"
                        " ORDER BY chain, seq LIMIT ?3", behind_names, take_audit},
};

enum dw_result sqlite_walk(void *self, enum dw_store_table table,
                           const struct dw_store_entry *after, size_t limit,
                           dw_store_walker *walker, void *arg)
{
    struct sqlite *s = self;
    sqlite3_stmt *st = NULL;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK &&
        sqlite3_prepare_v2(s->db, walks[table].sql, -1, &st, NULL) != SQLITE_OK)
        result = DW_RETRY;
    if (result == DW_OK && !walks[table].behind(s, table, st, after))
        result = DW_NOT_FOUND;
    if (result == DW_OK) {
        bool more = true;
        sqlite3_bind_int64(st, 3, (int64_t)limit);
        while (more && sqlite_step_row(s, st)) {
            struct dw_store_entry entry = {.name = "", .key = ""};
            walks[table].take(st, &entry);
            more = walker(arg, &entry);
        }
    }
    sqlite3_finalize(st);
    return sqlite_end_read(s, result);
}
