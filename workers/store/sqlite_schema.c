/* sqlite_schema.c - the tables of a store in a file.  Each step and its number are one transaction. */
#include "sqlite_private.h"

#include <stdio.h>

enum { APPLICATION_ID = 0x44774353 };

bool sqlite_exec(sqlite3 *db, const char *statements)
{
    return sqlite3_exec(db, statements, NULL, NULL, NULL) == SQLITE_OK;
}

/* Its first number; -1 where there is none. */
static int64_t ask(sqlite3 *db, const char *statement)
{
    sqlite3_stmt *st;
    int64_t v = -1;
    if (sqlite3_prepare_v2(db, statement, -1, &st, NULL) == SQLITE_OK) {
        if (sqlite3_step(st) == SQLITE_ROW)
            v = sqlite3_column_int64(st, 0);
        sqlite3_finalize(st);
    }
    return v;
}

/* ---- version 1 ---- */

static const char first_tables[] =
    "CREATE TABLE cases(slot INTEGER PRIMARY KEY, id BLOB NOT NULL, version INTEGER NOT NULL,"
    " timer INTEGER NOT NULL, notice INTEGER NOT NULL, row BLOB NOT NULL, doc BLOB NOT NULL);"
    "CREATE INDEX cases_timer ON cases(timer) WHERE timer > 0;"
    "CREATE INDEX cases_notice ON cases(notice) WHERE notice > 0;"
    "CREATE TABLE objects(slot INTEGER PRIMARY KEY, id BLOB NOT NULL, part INTEGER NOT NULL,"
    " bytes BLOB NOT NULL);"
    "CREATE TABLE receipts(handle BLOB PRIMARY KEY, id BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE refs(reference TEXT PRIMARY KEY, id BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE worklist(id BLOB NOT NULL, body TEXT NOT NULL, due INTEGER NOT NULL,"
    " open INTEGER NOT NULL, assignee TEXT NOT NULL, PRIMARY KEY(id, body)) WITHOUT ROWID;"
    "CREATE INDEX worklist_all ON worklist(body, due, id);"
    "CREATE INDEX worklist_open ON worklist(body, due, id) WHERE open = 1;"
    "CREATE INDEX worklist_mine ON worklist(body, assignee, due, id) WHERE open = 1;"
    "CREATE TABLE records(collection TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL,"
    " doc BLOB NOT NULL, PRIMARY KEY(collection, key)) WITHOUT ROWID;"
    "CREATE TABLE audit(chain TEXT NOT NULL, seq INTEGER NOT NULL, doc BLOB NOT NULL,"
    " PRIMARY KEY(chain, seq)) WITHOUT ROWID;";

static enum dw_result make_first_tables(void *db, const struct dw_progress *progress,
                                        struct dw_error *err)
{
    (void)progress;
    return sqlite_exec(db, first_tables) ? DW_OK
                                         : dw_invalid(err, "store.uri", "cannot be created");
}

/* ---- version 2: cases that were there before anybody counted ---- */

static const char cases_to_count[] = "cases to be counted";

/* Their index says so too, by a field at its end.  By hand: what a layout of a later version makes of it
 * is no business of this one. */
static void append_fold(struct dw_buf *out, const uint8_t *ix, size_t len)
{
    static const char field[] = "\x12" "fold\0\1\0\0\0\0\0\0"; /* its own zero ends the number */
    size_t longer = len - 1 + sizeof field + 1;
    dw_buf_clear(out);
    for (int i = 0; i < 4; i++)
        dw_buf_u8(out, (uint8_t)(longer >> 8 * i));
    dw_buf_put(out, ix + 4, len - 5);
    dw_buf_put(out, field, sizeof field);
    dw_buf_u8(out, 0);
}

static bool mark_case(sqlite3_stmt *update, int64_t slot, const struct dw_buf *ix)
{
    sqlite3_bind_int64(update, 1, slot);
    sqlite3_bind_blob64(update, 2, ix->data, ix->len, SQLITE_STATIC);
    bool good = sqlite3_step(update) == SQLITE_DONE;
    return sqlite3_reset(update) == SQLITE_OK && good;
}

/* The update moves no row, so the walk along the slots goes on undisturbed. */
static bool mark_cases(sqlite3 *db, const struct dw_progress *progress)
{
    sqlite3_stmt *read = NULL, *update = NULL;
    int64_t done = 0, total = ask(db, "SELECT count(*) FROM cases");
    int rc = SQLITE_ERROR;
    DW_AUTO_BUF ix = {0};
    dw_buf_init(&ix, DW_DOC_MAX);
    bool good =
        sqlite3_prepare_v2(db, "SELECT slot, row FROM cases ORDER BY slot", -1, &read, NULL) ==
            SQLITE_OK &&
        sqlite3_prepare_v2(db, "UPDATE cases SET fold = 1, row = ?2 WHERE slot = ?1", -1, &update,
                           NULL) == SQLITE_OK;
    while (good && (rc = sqlite3_step(read)) == SQLITE_ROW) {
        dw_tell(progress, cases_to_count, done++, total);
        append_fold(&ix, sqlite3_column_blob(read, 1), (size_t)sqlite3_column_bytes(read, 1));
        good = mark_case(update, sqlite3_column_int64(read, 0), &ix);
    }
    sqlite3_finalize(read);
    sqlite3_finalize(update);
    return good && rc == SQLITE_DONE;
}

static enum dw_result make_fold(void *db, const struct dw_progress *progress, struct dw_error *err)
{
    return sqlite_exec(db, "ALTER TABLE cases ADD COLUMN fold INTEGER NOT NULL DEFAULT 0;") &&
                   mark_cases(db, progress) &&
                   sqlite_exec(db, "CREATE INDEX cases_fold ON cases(fold) WHERE fold > 0;")
               ? DW_OK
               : dw_invalid(err, "store.uri", "cannot be brought up to date");
}

/* ---- version 3: rows are appended, and found by their places ---- */

static const char rows_to_find[] = "rows to be found";

/* Numbers below the limit are for rows to come.  Of those that were drawn hardly any is so low; counted
 * from 0 in their order they never meet. */
static bool move_low(sqlite3 *db, const char *read_low, const char *renumber)
{
    sqlite3_stmt *read = NULL, *write = NULL;
    int64_t n = 0, slot = -1;
    bool good = sqlite3_prepare_v2(db, read_low, -1, &read, NULL) == SQLITE_OK &&
                sqlite3_prepare_v2(db, renumber, -1, &write, NULL) == SQLITE_OK;
    while (good) {
        sqlite3_bind_int64(read, 1, slot);
        sqlite3_bind_int64(read, 2, (int64_t)1 << SQLITE_NUMBERS);
        int rc = sqlite3_step(read);
        slot = sqlite3_column_int64(read, 0);
        sqlite3_reset(read);
        if (rc != SQLITE_ROW) {
            good = rc == SQLITE_DONE;
            break;
        }
        sqlite3_bind_int64(write, 1, n++);
        sqlite3_bind_int64(write, 2, slot);
        good = sqlite3_step(write) == SQLITE_DONE;
        good &= sqlite3_reset(write) == SQLITE_OK;
    }
    sqlite3_finalize(read);
    sqlite3_finalize(write);
    return good;
}

static bool place_row(sqlite3_stmt *place, int64_t slot, int64_t n)
{
    int rc;
    do {
        sqlite3_bind_int64(place, 1, slot);
        sqlite3_bind_int64(place, 2, n);
        rc = sqlite3_step(place);
        sqlite3_reset(place);
        slot = sqlite_place_next(slot);
    } while ((rc & 0xff) == SQLITE_CONSTRAINT);
    return rc == SQLITE_DONE;
}

static bool place_rows(sqlite3 *db, bool object, const struct dw_progress *progress, int64_t *done,
                       int64_t total)
{
    sqlite3_stmt *read = NULL, *place = NULL;
    int rc = SQLITE_ERROR;
    bool good = sqlite3_prepare_v2(db, object ? "SELECT n, id, part FROM objects ORDER BY n"
                                              : "SELECT n, id, 0 FROM cases ORDER BY n",
                                   -1, &read, NULL) == SQLITE_OK &&
                sqlite3_prepare_v2(db, "INSERT INTO places(slot, n) VALUES(?1, ?2)", -1, &place,
                                   NULL) == SQLITE_OK;
    while (good && (rc = sqlite3_step(read)) == SQLITE_ROW) {
        dw_tell(progress, rows_to_find, (*done)++, total);
        const uint8_t *id = sqlite3_column_blob(read, 1);
        good = sqlite3_column_bytes(read, 1) == 16 &&
               place_row(place, sqlite_place_first(object, id, sqlite3_column_int(read, 2)),
                         sqlite3_column_int64(read, 0));
    }
    sqlite3_finalize(read);
    sqlite3_finalize(place);
    return good && rc == SQLITE_DONE;
}

static bool place_all(sqlite3 *db, const struct dw_progress *progress)
{
    int64_t done = 0, total = ask(db, "SELECT (SELECT count(*) FROM cases) +"
                                      " (SELECT count(*) FROM objects)");
    return move_low(db, "SELECT n FROM cases WHERE n > ?1 AND n < ?2 ORDER BY n LIMIT 1",
                    "UPDATE cases SET n = ?1 WHERE n = ?2") &&
           move_low(db, "SELECT n FROM objects WHERE n > ?1 AND n < ?2 ORDER BY n LIMIT 1",
                    "UPDATE objects SET n = ?1 WHERE n = ?2") &&
           place_rows(db, false, progress, &done, total) &&
           place_rows(db, true, progress, &done, total);
}

/* A case stands in `work` once for each body that may see it, and in `mine` while it is open. */
static const char make_lists[] =
    "CREATE TABLE work(body TEXT NOT NULL, open INTEGER NOT NULL, due INTEGER NOT NULL,"
    " id BLOB NOT NULL, PRIMARY KEY(body, open, due, id)) WITHOUT ROWID;"
    "CREATE TABLE mine(body TEXT NOT NULL, assignee TEXT NOT NULL, due INTEGER NOT NULL,"
    " id BLOB NOT NULL, PRIMARY KEY(body, assignee, due, id)) WITHOUT ROWID;"
    "INSERT INTO work SELECT body, open, due, id FROM worklist ORDER BY 1, 2, 3, 4;"
    "INSERT INTO mine SELECT body, assignee, due, id FROM worklist WHERE open = 1"
    " ORDER BY 1, 2, 3, 4;"
    "DROP TABLE worklist;";

static enum dw_result make_places(void *db, const struct dw_progress *progress,
                                  struct dw_error *err)
{
    return sqlite_exec(db, "ALTER TABLE cases RENAME COLUMN slot TO n;"
                           "ALTER TABLE objects RENAME COLUMN slot TO n;"
                           "CREATE TABLE places(slot INTEGER PRIMARY KEY, n INTEGER NOT NULL);") &&
                   place_all(db, progress) && sqlite_exec(db, make_lists)
               ? DW_OK
               : dw_invalid(err, "store.uri", "cannot be brought up to date");
}

static const struct dw_schema_step steps[] = {
    {"tables and indexes", make_first_tables},
    {cases_to_count, make_fold},
    {rows_to_find, make_places},
};

/* ---- versions ---- */

bool sqlite_is_unfinished(sqlite3 *db)
{
    return ask(db, "SELECT 1 FROM records WHERE collection = '" DW_STORE_COPY "' AND key = '"
                   DW_STORE_PROGRESS "'") == 1;
}

static enum dw_result read_version(void *db, int *version, struct dw_error *err)
{
    int64_t application = ask(db, "PRAGMA application_id");
    *version = (int)ask(db, "PRAGMA user_version");
    if (application == APPLICATION_ID && *version > 0)
        return DW_OK;
    if (application == 0 && *version == 0 && ask(db, "SELECT count(*) FROM sqlite_schema") == 0)
        return DW_OK;
    return dw_invalid(err, "store.uri", "is some other SQLite file; expected a store of Dengwen");
}

static enum dw_result run_step(sqlite3 *db, const struct dw_schema_step *step, int version,
                               const struct dw_progress *progress, struct dw_error *err)
{
    char numbers[80];
    int now;
    enum dw_result result = read_version(db, &now, err);
    if (result != DW_OK || now >= version) /* somebody else has done it since we looked */
        return result;
    snprintf(numbers, sizeof numbers, "PRAGMA application_id=%d; PRAGMA user_version=%d;",
             APPLICATION_ID, version);
    result = step->run(db, progress, err);
    if (result == DW_OK && !sqlite_exec(db, numbers))
        result = dw_invalid(err, "store.uri", "cannot be written");
    return result;
}

static enum dw_result take(void *db, const struct dw_schema_step *step, int version,
                           const struct dw_progress *progress, struct dw_error *err)
{
    if (!sqlite_exec(db, "BEGIN IMMEDIATE"))
        return dw_invalid(err, "store.uri", "cannot be written");
    enum dw_result result = run_step(db, step, version, progress, err);
    if (result == DW_OK && !sqlite_exec(db, "COMMIT"))
        result = dw_invalid(err, "store.uri", "cannot be written");
    if (result != DW_OK && !sqlite3_get_autocommit(db))
        sqlite_exec(db, "ROLLBACK");
    return result;
}

const struct dw_schema dw_sqlite_schema = {
    .steps = steps, .count = DW_COUNT(steps), .read = read_version, .take = take};
