/* sqlite.c - the embedded driver: one file, WAL, synchronous=FULL, secure_delete.
 *
 * Steps given together share a transaction: one fsync for all of them.  Nothing is written but pages,
 * so the pages that a step touches are what it costs; sqlite_place.c says how they are kept few. */
#include "sqlite_private.h"

#include "dw/checkpoint.h"

#include "dw/log.h"
#include "dw/process.h"
#include "dw/testing.h"

#include <errno.h>
#include <string.h>

enum {
    NAP_MS = 20,
    LOG_PAGES = 16384, /* a commit moves the log itself when the thread cannot keep up */
};

static const char *const sql[Q_COUNT] = {
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_STEP] = "SAVEPOINT step",
    [Q_STEP_UNDO] = "ROLLBACK TO step",
    [Q_STEP_DONE] = "RELEASE step",
    [Q_PLACE_INSERT] = "INSERT INTO places(slot, n) VALUES(?1, ?2)",
    [Q_PLACES] = "SELECT slot, n FROM places WHERE slot > ?1 ORDER BY slot",
    [Q_PLACE_UPDATE] = "UPDATE places SET n = ?2 WHERE slot = ?1",
    [Q_CASE_MOVE] = "UPDATE OR IGNORE cases SET n = ?2 WHERE n = ?1",
    [Q_OBJECT_MOVE] = "UPDATE OR IGNORE objects SET n = ?2 WHERE n = ?1",
    [Q_LAST_CASE] = "SELECT n FROM cases WHERE n < ?1 ORDER BY n DESC LIMIT 1",
    [Q_LAST_OBJECT] = "SELECT n FROM objects WHERE n < ?1 ORDER BY n DESC LIMIT 1",
    /* place and row at one moment: another worker may be tidying */
    [Q_CASE] = "SELECT id, version, doc, n FROM places CROSS JOIN cases USING(n) WHERE slot = ?1",
    [Q_CASE_INSERT] = "INSERT INTO cases(n, id, version, timer, notice, row, doc, fold)"
                      " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [Q_CASE_UPDATE] = "UPDATE cases SET version = ?3, timer = ?4, notice = ?5, row = ?6, doc = ?7,"
                      " fold = ?8 WHERE n = ?1 AND id = ?2 AND version = ?9",
    [Q_ROW] = "SELECT id, version, row, n FROM places CROSS JOIN cases USING(n) WHERE slot = ?1",
    [Q_OBJECT] = "SELECT id, part, bytes, n FROM places CROSS JOIN objects USING(n) WHERE slot = ?1",
    [Q_OBJECT_INSERT] = "INSERT INTO objects(n, id, part, bytes) VALUES(?1, ?2, ?3, ?4)",
    [Q_RECEIPT] = "SELECT id FROM receipts WHERE handle = ?1",
    [Q_RECEIPT_INSERT] = "INSERT INTO receipts(handle, id) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
    [Q_REF] = "SELECT id FROM refs WHERE reference = ?1",
    [Q_REF_INSERT] = "INSERT INTO refs(reference, id) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
    [Q_WORK_INSERT] = "INSERT INTO work(body, open, due, id) VALUES(?1, ?2, ?3, ?4)",
    [Q_WORK_DELETE] = "DELETE FROM work WHERE body = ?1 AND open = ?2 AND due = ?3 AND id = ?4",
    [Q_MINE_INSERT] = "INSERT INTO mine(body, assignee, due, id) VALUES(?1, ?2, ?3, ?4)",
    [Q_MINE_DELETE] = "DELETE FROM mine WHERE body = ?1 AND assignee = ?2 AND due = ?3 AND id = ?4",
    [Q_MINE] = "SELECT id FROM mine WHERE body = ?1 AND assignee = ?2 AND (due, id) > (?3, ?4)"
               " ORDER BY due, id LIMIT ?5",
    [Q_OPEN] = "SELECT id FROM work WHERE body = ?1 AND open = 1 AND due <= ?2"
               " AND (due, id) > (?3, ?4) ORDER BY due, id LIMIT ?5",
    /* two runs in order, merged */
    [Q_ALL] = "SELECT id, due FROM work WHERE body = ?1 AND open = 0 AND (due, id) > (?3, ?4)"
              " UNION ALL"
              " SELECT id, due FROM work WHERE body = ?1 AND open = 1 AND (due, id) > (?3, ?4)"
              " ORDER BY due, id LIMIT ?5",
    [Q_TIMER] = "SELECT id FROM cases INDEXED BY cases_timer WHERE timer > 0 AND timer <= ?1"
                " ORDER BY timer LIMIT ?2",
    [Q_NOTICE] = "SELECT id FROM cases INDEXED BY cases_notice WHERE notice > 0 AND notice <= ?1"
                 " ORDER BY notice LIMIT ?2",
    [Q_FOLD] = "SELECT id FROM cases INDEXED BY cases_fold WHERE fold > 0 AND fold <= ?1"
               " ORDER BY fold LIMIT ?2",
    [Q_RECORD] = "SELECT version, doc FROM records WHERE collection = ?1 AND key = ?2",
    [Q_RECORD_PUT] = "INSERT OR REPLACE INTO records(collection, key, version, doc)"
                     " VALUES(?1, ?2, ?3, ?4)",
    [Q_RECORD_DELETE] = "DELETE FROM records WHERE collection = ?1 AND key = ?2",
    [Q_RECORDS] = "SELECT key, version, doc FROM records WHERE collection = ?1 AND key >= ?2"
                  " AND substr(key, 1, length(?2)) = ?2 ORDER BY key",
    [Q_AUDIT_INSERT] = "INSERT INTO audit(chain, seq, doc) VALUES(?1, ?2, ?3)",
    [Q_AUDIT_LAST] = "SELECT seq, doc FROM audit WHERE chain = ?1 ORDER BY seq DESC LIMIT 1",
    [Q_AUDIT_READ] = "SELECT chain, seq, doc FROM audit WHERE chain = ?1 AND seq >= ?2"
                     " ORDER BY seq LIMIT ?3",
    [Q_COUNTS] = "SELECT (SELECT count(*) FROM cases), (SELECT count(*) FROM objects),"
                 " (SELECT count(*) FROM receipts), (SELECT count(*) FROM refs),"
                 " (SELECT count(*) FROM audit), (SELECT count(*) FROM records)",
    [Q_EACH] = "SELECT id, version, doc FROM places CROSS JOIN cases USING(n)"
               " WHERE slot % 2 = 0 ORDER BY slot",
};

/* ---- one statement at a time ---- */

sqlite3_stmt *sqlite_use(struct sqlite *s, enum sqlite_statement which)
{
    sqlite3_stmt *st = s->statements[which];
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return st;
}

void sqlite_blob(sqlite3_stmt *st, int at, const void *data, size_t len)
{
    sqlite3_bind_blob64(st, at, data ? data : "", len, SQLITE_STATIC);
}

void sqlite_text(sqlite3_stmt *st, int at, const char *value)
{
    sqlite3_bind_text(st, at, value ? value : "", -1, SQLITE_STATIC);
}

bool sqlite_step_row(struct sqlite *s, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE) {
        s->failed = true;
        s->broken |= (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CORRUPT ||
                     (rc & 0xff) == SQLITE_NOTADB;
        dw_log(DW_ERROR, "store.sqlite", "%s", sqlite3_errmsg(s->db));
    }
    sqlite3_reset(st);
    return false;
}

void sqlite_run(struct sqlite *s, sqlite3_stmt *st)
{
    while (sqlite_step_row(s, st))
        ;
}

enum dw_result sqlite_begin_read(struct sqlite *s)
{
    pthread_mutex_lock(&s->lock);
    s->failed = false;
    return s->broken ? DW_RETRY : DW_OK;
}

enum dw_result sqlite_end_read(struct sqlite *s, enum dw_result result)
{
    if (s->failed)
        result = DW_RETRY;
    pthread_mutex_unlock(&s->lock);
    return result;
}

static enum dw_result ping(void *self)
{
    struct sqlite *s = self;
    pthread_mutex_lock(&s->lock);
    s->failed = false;
    enum dw_result result = s->broken ? DW_UNCERTAIN : DW_OK;
    /* A write lock proves that the file can be written now. */
    if (result == DW_OK && s->use != DW_STORE_LOOK) {
        sqlite_run(s, sqlite_use(s, Q_BEGIN));
        if (!sqlite3_get_autocommit(s->db))
            sqlite_run(s, sqlite_use(s, Q_ROLLBACK));
        result = s->broken ? DW_UNCERTAIN : s->failed ? DW_RETRY : DW_OK;
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

/* ---- opening ---- */

static const char in_memory[] = ":memory:";

static void disk_failed(void *arg, const char *what)
{
    struct sqlite *s = arg;
    dw_log(DW_ERROR, "store.sqlite", "%s: the disk failed", what);
    s->broken = true;
}

static void close_store(void *self)
{
    struct sqlite *s = self;
    dw_checkpointer_stop(s->checkpointer);
    for (int i = 0; s->statements && i < Q_COUNT; i++)
        sqlite3_finalize(s->statements[i]);
    dw_free(s->statements);
    if (s->use == DW_STORE_FILL) /* one file, that can be carried away and read where nobody may write */
        sqlite_exec(s->db, "PRAGMA journal_mode=DELETE");
    sqlite3_close(s->db);
    pthread_mutex_destroy(&s->lock);
    dw_free(s->path);
    dw_free(s);
}

static enum dw_result prepare_statements(struct sqlite *s, struct dw_error *err)
{
    s->statements = dw_alloc(Q_COUNT * sizeof *s->statements);
    for (int i = 0; i < Q_COUNT; i++)
        if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i],
                               NULL) != SQLITE_OK)
            return dw_invalid(err, "store.uri", "is damaged");
    return DW_OK;
}

static bool set_cache(struct sqlite *s, int64_t mib)
{
    char text[60];
    snprintf(text, sizeof text, "PRAGMA cache_size=-%lld;", (long long)mib * 1024);
    return sqlite_exec(s->db, text);
}

/* What a process wrote that was killed before its sync can be read, and need not be on the disk.  Whoever
 * finds a case here answers for it, so it is made durable first: a log that is moved into the file is.
 * A disk that is full has synced the log. */
static bool make_durable(struct sqlite *s, int64_t busy_ms)
{
    int rc;
    int64_t waited = 0;
    while ((rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) &
                 0xff) == SQLITE_BUSY && waited < busy_ms) {
        sqlite3_sleep(NAP_MS); /* another process is at it */
        waited += NAP_MS;
    }
    return rc == SQLITE_OK || rc == SQLITE_FULL;
}

/* Nothing but the connection, with what each needs.  A path of the settings is relative to them. */
static enum dw_result connect(const char *rest, enum dw_store_use use,
                              const struct dw_config *config, struct sqlite **ret,
                              struct dw_error *err)
{
    struct sqlite *s = dw_alloc(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->path = strcmp(rest, in_memory) == 0 ? dw_strdup(rest) : dw_config_resolve(config, rest);
    s->use = use;
    *ret = s;
    int how = use == DW_STORE_LOOK ? SQLITE_OPEN_READONLY
                                   : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(s->path, &s->db, how | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK)
        return dw_invalid(err, "store.uri", "cannot be opened");
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, (int)config->store.busy_ms);
    sqlite3_wal_autocheckpoint(s->db, LOG_PAGES);
    if (!set_cache(s, config->store.cache_mib))
        return dw_invalid(err, "store.uri", "has no memory for it");
    /* A transaction that only reads sees one moment, until it ends with the connection. */
    const char *first = use == DW_STORE_LOOK
                            ? "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; BEGIN;"
                              "SELECT count(*) FROM sqlite_schema;"
                            : "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                              "PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;"
                              "PRAGMA trusted_schema=OFF;";
    if (!sqlite_exec(s->db, first))
        return dw_invalid(err, "store.uri", "is not a database of cases, or is damaged");
    if (use != DW_STORE_LOOK && !make_durable(s, config->store.busy_ms))
        return dw_invalid(err, "store.uri", "cannot be written; look at its disk");
    return DW_OK;
}

/* What is wrong, of which file, and what SQLite says of it. */
static enum dw_result give_up(struct sqlite *s, enum dw_result result, struct dw_error *err)
{
    struct dw_error why = *err;
    int code = sqlite3_errcode(s->db);
    bool says = code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE;
    dw_error_set(err, "store.uri", "%.100s: %.160s%s%.40s%s", s->path, why.text, says ? " (" : "",
                 says ? sqlite3_errmsg(s->db) : "", says ? ")" : "");
    s->use = DW_STORE_LOOK;
    close_store(s);
    return result;
}

static enum dw_result open_store(const char *rest, enum dw_store_use use,
                                 const struct dw_config *config, void **ret, struct dw_error *err)
{
    struct sqlite *s;
    int version = 0;
    enum dw_result result = connect(rest, use, config, &s, err);
    if (result == DW_OK)
        result = dw_sqlite_schema.read(s->db, &version, err);
    if (result == DW_OK && version == 0 && use != DW_STORE_LOOK) {
        result = dw_schema_migrate(&dw_sqlite_schema, s->db, NULL, &version, err);
        version = dw_sqlite_schema.count;
    }
    if (result == DW_OK)
        result = dw_schema_check(&dw_sqlite_schema, version, err);
    if (result == DW_OK)
        result = prepare_statements(s, err);
    if (result == DW_OK && use != DW_STORE_FILL && sqlite_is_unfinished(s->db))
        result = dw_store_unfinished(err);
    if (result == DW_OK && use != DW_STORE_LOOK && strcmp(s->path, in_memory) != 0 &&
        !(s->checkpointer = dw_checkpointer_start(s->path, disk_failed, s)))
        result = dw_invalid(err, "store.uri", "cannot be opened twice");
    if (result != DW_OK)
        return give_up(s, result, err);
    *ret = s;
    return DW_OK;
}

static enum dw_result make(const char *rest, const struct dw_config *config,
                           const struct dw_progress *progress, int *from, int *to,
                           struct dw_error *err)
{
    struct sqlite *s;
    *to = dw_sqlite_schema.count;
    enum dw_result result = connect(rest, DW_STORE_SERVE, config, &s, err);
    if (result == DW_OK)
        result = dw_schema_migrate(&dw_sqlite_schema, s->db, progress, from, err);
    if (result != DW_OK)
        return give_up(s, result, err);
    close_store(s);
    return DW_OK;
}

const struct dw_store_driver dw_store_sqlite = {
    .scheme = "sqlite:",
    .open = open_store,
    .make = make,
    .close = close_store,
    .ping = ping,
    .apply = sqlite_apply,
    .get_case = sqlite_get_case,
    .id_of_handle = sqlite_id_of_handle,
    .id_of_reference = sqlite_id_of_reference,
    .get_object = sqlite_get_object,
    .worklist = sqlite_worklist,
    .due = sqlite_due,
    .get_record = sqlite_get_record,
    .records = sqlite_records,
    .audit_last = sqlite_audit_last,
    .audit_read = sqlite_audit_read,
    .counts = sqlite_counts,
    .each_case = sqlite_each_case,
    .tidy = sqlite_tidy,
    .walk = sqlite_walk,
};
