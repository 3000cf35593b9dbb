/* queue_file.c - the queue's file: opening, recovery, single statements, room on its disk. */
#include "queue_private.h"

#include "dw/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    APPLICATION_ID = 0x44774d51, /* "DwMQ" */
    EXIT_IO = 70,
    FREE_CHECK_MS = 500,
    PAGE_BYTES = 4096,
    LOG_PAGES_MIN = 16,
    LOG_WAKES = 8,
};

/* The words of the partial indexes, as a statement must say them to use one. */
#define KEYED "handle <> x'00000000000000000000000000000000'"
#define ROW   "SELECT id, service, state, attempts, parts, bytes, day, reason FROM items"

/* Version n of the file is what the first n steps have made. */
static const char *const schema_steps[] = {
    "CREATE TABLE items(seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,"
    " service TEXT NOT NULL, class INTEGER NOT NULL, handle BLOB NOT NULL, attempt BLOB NOT NULL,"
    " parts INTEGER NOT NULL, bytes INTEGER NOT NULL, day INTEGER NOT NULL, created INTEGER NOT NULL,"
    " state INTEGER NOT NULL, fence INTEGER NOT NULL, attempts INTEGER NOT NULL,"
    " delays INTEGER NOT NULL, next_at INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL);"
    "CREATE INDEX items_ready ON items(service, class, seq) WHERE state = 0;"
    "CREATE INDEX items_leased ON items(seq) WHERE state = 1;"
    "CREATE INDEX items_delayed ON items(next_at) WHERE state = 2;"
    "CREATE INDEX items_dead ON items(seq) WHERE state = 3;"
    "CREATE INDEX items_handle ON items(handle);"
    "CREATE TABLE parts(attempt BLOB NOT NULL, n INTEGER NOT NULL, bytes BLOB NOT NULL,"
    " PRIMARY KEY(attempt, n)) WITHOUT ROWID;"
    "CREATE TABLE open(attempt BLOB PRIMARY KEY, bytes INTEGER NOT NULL, at INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX open_at ON open(at);"
    "CREATE TABLE seen(tok BLOB PRIMARY KEY, fp BLOB NOT NULL, until INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX seen_until ON seen(until);",
    /* 2: requests whose reply is kept, and what expires */
    "ALTER TABLE items ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE items ADD COLUMN expires INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX items_expires ON items(expires) WHERE expires > 0;"
    "CREATE TABLE replies(id BLOB PRIMARY KEY, bytes INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " body BLOB NOT NULL);"
    "CREATE INDEX replies_expires ON replies(expires);",
    /* 3: order per key; state 4 is BEHIND */
    "DROP INDEX items_handle;"
    "CREATE INDEX items_key ON items(handle, service) WHERE state <> 3 AND " KEYED ";"
    "CREATE INDEX items_dead_key ON items(handle) WHERE state = 3 AND " KEYED ";"
    "CREATE INDEX items_behind ON items(seq) WHERE state = 4;"
    "UPDATE items SET state = 4 WHERE state <> 3 AND " KEYED " AND EXISTS(SELECT 1 FROM items e"
    " WHERE e.handle = items.handle AND e.service = items.service AND e.seq < items.seq"
    " AND e.state <> 3 AND e." KEYED ");",
};
enum { SCHEMA_VERSION = DW_COUNT(schema_steps) };

const char *const q_sql[Q_COUNT] = {
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_PART] = "INSERT OR REPLACE INTO parts(attempt, n, bytes) VALUES(?1, ?2, ?3)",
    [Q_OPEN] = "INSERT INTO open(attempt, bytes, at) VALUES(?1, ?2, ?3)"
               " ON CONFLICT(attempt) DO UPDATE SET bytes = bytes + ?2, at = ?3",
    [Q_PARTS_OF] = "SELECT count(*), coalesce(max(n), -1), coalesce(sum(length(bytes)), 0)"
                   " FROM parts WHERE attempt = ?1",
    [Q_FORGET_PARTS] = "DELETE FROM parts WHERE attempt = ?1",
    [Q_FORGET_OPEN] = "DELETE FROM open WHERE attempt = ?1 RETURNING bytes",
    [Q_SEEN] = "SELECT fp FROM seen WHERE tok = ?1",
    [Q_SEE] = "INSERT OR REPLACE INTO seen(tok, fp, until) VALUES(?1, ?2, ?3)",
    [Q_ITEM] = "SELECT day, attempt, bytes FROM items WHERE id = ?1",
    [Q_STATE] = "SELECT state, handle, service FROM items WHERE id = ?1",
    [Q_IN_FRONT] = "SELECT 1 FROM items WHERE handle = ?1 AND service = ?2 AND state <> 3 AND " KEYED
                   " LIMIT 1",
    /* The fences of an item that is put again after it was done are higher than before. */
    [Q_INSERT] = "INSERT INTO items(id, service, class, handle, attempt, parts, bytes, day, created,"
                 " state, fence, attempts, delays, next_at, reason, body, origin, expires)"
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?13,"
                 " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'items'), 0) << 20,"
                 " 0, 0, 0, '', ?10, ?11, ?12)",
    [Q_NEXT_OF_KEY] = "UPDATE items SET state = CASE WHEN next_at > ?3 THEN 2 ELSE 0 END"
                      " WHERE seq = (SELECT seq FROM items WHERE handle = ?1 AND service = ?2"
                      " AND state <> 3 AND " KEYED " ORDER BY seq LIMIT 1) AND state = 4"
                      " RETURNING state",
    [Q_PENDING] = "SELECT day FROM items WHERE handle = ?1 AND state <> 3 AND " KEYED
                  " UNION ALL"
                  " SELECT day FROM items WHERE handle = ?1 AND state = 3 AND " KEYED " LIMIT 1",
    [Q_WAKE] = "UPDATE items SET state = 0 WHERE seq IN (SELECT seq FROM items"
               " WHERE state = 2 AND next_at <= ?1 ORDER BY next_at LIMIT ?2)",
    [Q_WAKE_FAR] = "UPDATE items SET state = 0 WHERE seq IN (SELECT seq FROM items"
                   " WHERE state = 2 AND next_at > ?1 ORDER BY next_at LIMIT ?2)",
    [Q_NEXT] = "SELECT seq, id, fence, attempts, delays, body, origin FROM items"
               " WHERE state = 0 AND service = ?1 AND (expires = 0 OR expires > ?3)"
               " ORDER BY class, seq LIMIT ?2",
    [Q_LEASE] = "UPDATE items SET state = 1, fence = fence + 1, attempts = attempts + 1"
                " WHERE seq = ?1",
    [Q_NEXT_AT] = "SELECT min(next_at) FROM items WHERE state = 2",
    [Q_READ] = "SELECT p.bytes FROM items i JOIN parts p ON p.attempt = i.attempt"
               " WHERE i.id = ?1 AND i.fence = ?2 AND i.state = 1 AND p.n = ?3",
    [Q_HELD] = "SELECT attempt, bytes, attempts FROM items WHERE id = ?1 AND fence = ?2 AND state = 1",
    [Q_DELETE] = "DELETE FROM items WHERE id = ?1 RETURNING origin, state, handle, service",
    [Q_ASKED] = "SELECT state, reason, bytes FROM items"
                " WHERE id = ?1 AND origin = 1 AND expires > ?2",
    [Q_ANSWER] = "INSERT INTO replies(id, bytes, expires, body) VALUES(?1, ?2, ?3, ?4)",
    [Q_ANSWERED] = "SELECT body FROM replies WHERE id = ?1 AND expires > ?2",
    [Q_FORGET_ANSWER] = "DELETE FROM replies WHERE id = ?1 RETURNING bytes",
    [Q_OLD_ITEMS] = "SELECT id, attempt, bytes FROM items"
                    " WHERE expires > 0 AND expires <= ?1 AND origin = 1 LIMIT ?2",
    [Q_OLD_PUT] = "SELECT id FROM items WHERE expires > 0 AND expires <= ?1"
                  " AND origin = 2 AND state <> 1 LIMIT ?2",
    [Q_EXPIRE] = "UPDATE items SET state = 3, expires = 0, reason = 'nobody did it in time'"
                 " WHERE id = ?1 RETURNING handle, service",
    [Q_OLD_ANSWERS] = "SELECT id FROM replies WHERE expires <= ?1 LIMIT ?2",
    [Q_LATER] = "UPDATE items SET state = ?2, attempts = attempts - ?3, delays = delays + 1,"
                " next_at = ?4, reason = ?5 WHERE id = ?1 RETURNING handle, service",
    [Q_ADOPTED] = "UPDATE items SET attempts = ?2, day = ?3, created = ?4, state = ?5, reason = ?6"
                  " WHERE id = ?1",
    [Q_OLD_OPEN] = "SELECT attempt FROM open WHERE at < ?1 LIMIT 100",
    [Q_OLD_SEEN] = "DELETE FROM seen WHERE tok IN (SELECT tok FROM seen WHERE until < ?1 LIMIT 1000)",
    [Q_OLDEST_SEEN] = "DELETE FROM seen WHERE tok IN (SELECT tok FROM seen ORDER BY until LIMIT ?1)",
    [Q_OLDEST] = "SELECT seq, created FROM items WHERE seq >= ?1 AND state <> 3 ORDER BY seq LIMIT 1",
    [Q_LIST] = ROW " ORDER BY seq LIMIT ?1",
    [Q_LIST_STATE + READY] = ROW " WHERE state = 0 ORDER BY service, class, seq LIMIT ?1",
    [Q_LIST_STATE + LEASED] = ROW " WHERE state = 1 ORDER BY seq LIMIT ?1",
    [Q_LIST_STATE + DELAYED] = ROW " WHERE state = 2 ORDER BY next_at LIMIT ?1",
    [Q_LIST_STATE + DEAD] = ROW " WHERE state = 3 ORDER BY seq LIMIT ?1",
    [Q_LIST_STATE + BEHIND] = ROW " WHERE state = 4 ORDER BY seq LIMIT ?1",
    [Q_SHOW] = ROW " WHERE id = ?1",
    [Q_RETRY] = "UPDATE items SET state = ?2, attempts = 0, delays = 0, next_at = 0 WHERE id = ?1"
                " RETURNING seq",
    [Q_FREE_PAGES] = "PRAGMA freelist_count",
    [Q_SHRINK] = "PRAGMA incremental_vacuum(2000)",
};

/* ---- SQLite, one step at a time ---- */

_Noreturn void q_io_failed(struct dw_queue *q, const char *what)
{
    /* After a failed fsync nobody knows what is on disk but the next reader of the file. */
    dw_log(DW_ERROR, "queue.io", "%s: %s; ending, the next start recovers", what,
           sqlite3_errmsg(q->db));
    _exit(EXIT_IO);
}

int q_step(struct dw_queue *q, sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    if (q->log_failed)
        q_io_failed(q, "checkpoint");
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return rc;
    if ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
        q_io_failed(q, sqlite3_sql(s));
    q->failed = true;
    q->full |= rc == SQLITE_FULL;
    if (rc != SQLITE_FULL)
        dw_log(DW_ERROR, "queue.sql", "%s", sqlite3_errmsg(q->db));
    return SQLITE_DONE;
}

sqlite3_stmt *q_use(struct dw_queue *q, enum statement which)
{
    sqlite3_stmt *s = q->statements[which];
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return s;
}

void q_blob(sqlite3_stmt *s, int at, const void *data, size_t len)
{
    sqlite3_bind_blob64(s, at, data ? data : "", len, SQLITE_STATIC);
}

void q_number(sqlite3_stmt *s, int at, int64_t v)
{
    sqlite3_bind_int64(s, at, v);
}

void q_take(struct dw_queue *q, sqlite3_stmt *s, int column, void *out, size_t len)
{
    const void *bytes = sqlite3_column_blob(s, column);
    if (!bytes || (size_t)sqlite3_column_bytes(s, column) != len)
        q_io_failed(q, "a field of the wrong length");
    memcpy(out, bytes, len);
}

const char *q_text(sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    return text ? text : "";
}

void q_run(struct dw_queue *q, sqlite3_stmt *s)
{
    while (q_step(q, s) == SQLITE_ROW)
        ;
    sqlite3_reset(s);
}

/* ---- room on the disk ---- */

/* Taking an item out wants room too, for the log of the database.  So some room is kept in a file of
 * its own and given up when the disk is full: nothing more is accepted then, but what was accepted
 * can be delivered. */
static void hold_reserve(struct dw_queue *q)
{
    int64_t bytes = q->config->queue.reserve_bytes;
    q->reserve_held = bytes == 0 || (q->reserve_fd >= 0 && ftruncate(q->reserve_fd, bytes) == 0 &&
                                     posix_fallocate(q->reserve_fd, 0, bytes) == 0);
    if (!q->reserve_held && q->reserve_fd >= 0) /* a part of it would only be in the way */
        (void)!ftruncate(q->reserve_fd, 0);
}

bool q_give_up_reserve(struct dw_queue *q)
{
    if (q->reserve_fd < 0 || !q->reserve_held || ftruncate(q->reserve_fd, 0) != 0)
        return false;
    q->reserve_held = false;
    q->disk_low = true;
    q->free_checked_at = dw_monotonic_ms();
    dw_log(DW_ERROR, "queue.disk-full", "the reserve is given up: nothing more is accepted until "
                                        "there is room, what was accepted goes on");
    return true;
}

static void look_at_disk(struct dw_queue *q)
{
    struct statvfs fs;
    if (statvfs(q->path, &fs) != 0)
        return;
    int64_t room = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    if (!q->reserve_held && room >= 2 * q->config->queue.reserve_bytes) {
        hold_reserve(q);
        room -= q->config->queue.reserve_bytes;
    }
    q->disk_low = !q->reserve_held || room < q->config->queue.min_free_bytes;
}

bool q_disk_is_low(struct dw_queue *q)
{
    int64_t now = dw_monotonic_ms();
    if (!q->free_checked_at || now - q->free_checked_at >= FREE_CHECK_MS) {
        q->free_checked_at = now;
        look_at_disk(q);
    }
    return q->disk_low;
}

/* ---- opening ---- */

static enum dw_result refuse(struct dw_queue *q, struct dw_error *err, const char *what)
{
    int rc = sqlite3_errcode(q->db) & 0xff;
    if (rc == SQLITE_FULL || rc == SQLITE_IOERR) /* that says nothing about what the file holds */
        what = rc == SQLITE_FULL ? "has no room on its disk; make room"
                                 : "cannot be read or written; look at its disk";
    dw_error_set(err, "queue", "%s: %s (%s)", q->path, what, sqlite3_errmsg(q->db));
    return DW_INVALID;
}

static int64_t pragma(struct dw_queue *q, const char *text)
{
    sqlite3_stmt *s;
    int64_t v = -1;
    if (sqlite3_prepare_v2(q->db, text, -1, &s, NULL) == SQLITE_OK) {
        if (sqlite3_step(s) == SQLITE_ROW)
            v = sqlite3_column_int64(s, 0);
        sqlite3_finalize(s);
    }
    return v;
}

/* All steps that are missing, or none. */
static enum dw_result take_steps(struct dw_queue *q, int64_t version, struct dw_error *err)
{
    char text[160];
    snprintf(text, sizeof text, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID,
             SCHEMA_VERSION);
    bool ok = sqlite3_exec(q->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
    for (int64_t i = version; ok && i < SCHEMA_VERSION; i++)
        ok = sqlite3_exec(q->db, schema_steps[i], NULL, NULL, NULL) == SQLITE_OK;
    if (!ok || sqlite3_exec(q->db, text, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(q->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return refuse(q, err,
                      "cannot be made a queue of this version; look at its disk, or set it "
                      "aside and start with an empty queue");
    if (version)
        dw_log(DW_INFO, "queue.migrated", "the file of version %lld is of version %d now",
               (long long)version, SCHEMA_VERSION);
    return DW_OK;
}

/* Rows that we did not write so.  SQLite vouches for its pages, not for what a flipped bit makes of a
 * field. */
static const char bad_rows[] =
    "SELECT (SELECT count(*) FROM items WHERE typeof(id) <> 'blob' OR length(id) <> 16"
    " OR typeof(attempt) <> 'blob' OR length(attempt) <> 16 OR typeof(handle) <> 'blob'"
    " OR length(handle) <> 16 OR typeof(service) <> 'text' OR length(service) > 63"
    " OR typeof(reason) <> 'text' OR typeof(body) <> 'blob' OR typeof(bytes) <> 'integer'"
    " OR bytes NOT BETWEEN 0 AND 1 << 48 OR state NOT BETWEEN 0 AND 4"
    " OR attempts NOT BETWEEN 0 AND 1 << 30)"
    " + (SELECT count(*) FROM open WHERE typeof(attempt) <> 'blob' OR length(attempt) <> 16"
    " OR typeof(bytes) <> 'integer' OR bytes NOT BETWEEN 0 AND 1 << 48)"
    " + (SELECT count(*) FROM replies WHERE typeof(id) <> 'blob' OR length(id) <> 16"
    " OR typeof(body) <> 'blob' OR typeof(bytes) <> 'integer' OR bytes NOT BETWEEN 0 AND 1 << 48)";

/* After a crash: leases are void, totals are counted anew. */
static enum dw_result recover(struct dw_queue *q, struct dw_error *err)
{
    char *why = NULL;
    sqlite3_stmt *s;
    if (sqlite3_exec(q->db, "UPDATE items SET state = 0 WHERE state = 1", NULL, NULL, &why) !=
        SQLITE_OK) {
        sqlite3_free(why);
        return refuse(q, err, "cannot recover; restore the file from a backup or set it aside");
    }
    /* One look at each row: nothing is counted while work goes on. */
    static const char count[] =
        "SELECT (SELECT coalesce(sum(bytes), 0) FROM open), (SELECT count(*) FROM seen),"
        " (SELECT count(*) FROM replies), (SELECT coalesce(sum(bytes), 0) FROM replies),"
        " count(*), coalesce(sum(bytes), 0), coalesce(sum(origin > 0), 0),"
        " coalesce(sum(bytes * (origin > 0)), 0), coalesce(min(CASE WHEN state <> 3 THEN seq END), 0),"
        " coalesce(sum(state = 0), 0), coalesce(sum(state = 1), 0), coalesce(sum(state = 2), 0),"
        " coalesce(sum(state = 3), 0), coalesce(sum(state = 4), 0) FROM items";
    if (sqlite3_prepare_v2(q->db, count, -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW)
        return refuse(q, err, "cannot be read; set it aside and start with an empty queue");
    int64_t kept = sqlite3_column_int64(s, 2), kept_bytes = sqlite3_column_int64(s, 3);
    q->totals = (struct totals){
        .open_bytes = sqlite3_column_int64(s, 0),
        .seen = sqlite3_column_int64(s, 1),
        .items = sqlite3_column_int64(s, 4),
        .bytes = sqlite3_column_int64(s, 5) + kept_bytes,
        .guest_items = sqlite3_column_int64(s, 6) + kept,
        .guest_bytes = sqlite3_column_int64(s, 7) + kept_bytes,
        .oldest = sqlite3_column_int64(s, 8),
    };
    for (int i = 0; i < STATES; i++)
        q->totals.states[i] = sqlite3_column_int64(s, 9 + i);
    sqlite3_finalize(s);
    return DW_OK;
}

/* SQLite reads what is missing of the last page as zeros.  Only while the log still has that page
 * may the file end inside it: the power went while it was moved. */
static bool is_cut_short(struct dw_queue *q)
{
    sqlite3_file *file = NULL;
    sqlite3_int64 size = 0;
    int64_t application = pragma(q, "PRAGMA application_id"); /* reads, so that the log is found */
    int64_t page = pragma(q, "PRAGMA page_size");
    int logged = -1;
    /* What was written before a kill, and never synced, can be read too.  Moved, it is durable. */
    int rc = sqlite3_wal_checkpoint_v2(q->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &logged, NULL);
    q->log_failed = (rc & 0xff) == SQLITE_IOERR;
    return sqlite3_file_control(q->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK &&
           file->pMethods && file->pMethods->xFileSize(file, &size) == SQLITE_OK && page > 0 &&
           size % page != 0 && logged <= 0 && application == APPLICATION_ID;
}

/* The checkpointer is woken early, so that little is left for the commit that finds the log too long.
 * That one does as sqlite3_wal_autocheckpoint(), which says nothing when a sync fails. */
static int move_long_log(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct dw_queue *q = arg;
    if (pages < q->log_woken) /* it began anew */
        q->log_woken = 0;
    if (q->checkpointer && pages - q->log_woken >= q->log_pages / LOG_WAKES) {
        q->log_woken = pages;
        dw_checkpointer_wake(q->checkpointer);
    }
    if (pages >= q->log_pages && (sqlite3_wal_checkpoint(db, name) & 0xff) == SQLITE_IOERR)
        q->log_failed = true;
    return SQLITE_OK;
}

static enum dw_result open_database(struct dw_queue *q, struct dw_error *err)
{
    if (sqlite3_open_v2(q->path, &q->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                        NULL) != SQLITE_OK)
        return refuse(q, err, "cannot be opened");
    sqlite3_extended_result_codes(q->db, 1);
    sqlite3_busy_timeout(q->db, 5000);
    if (is_cut_short(q)) /* before anything is written to it */
        return refuse(q, err, "is cut short; restore it from a backup or set it aside");
    if (q->log_failed) /* nobody may be told of what it holds */
        return refuse(q, err, "cannot be read or written; look at its disk");
    /* secure_delete=FAST: what is deleted is sealed; zeroing each page would double the writing. */
    static const char settings[] = "PRAGMA auto_vacuum=INCREMENTAL;"
                                   "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                   "PRAGMA secure_delete=FAST; PRAGMA temp_store=MEMORY;"
                                   "PRAGMA trusted_schema=OFF;";
    if (sqlite3_exec(q->db, settings, NULL, NULL, NULL) != SQLITE_OK)
        return refuse(q, err, "is not a queue file, or is damaged; set it aside");
    /* A thread moves the log into the file; this is the limit where it cannot keep up.  Moving a log
     * may take as much room as the log has, and that room must be in the reserve. */
    int64_t log_pages = q->config->queue.reserve_bytes / 2 / PAGE_BYTES;
    q->log_pages = log_pages < LOG_PAGES_MIN ? LOG_PAGES_MIN : log_pages;
    sqlite3_wal_hook(q->db, move_long_log, q);
    int64_t application = pragma(q, "PRAGMA application_id");
    int64_t version = pragma(q, "PRAGMA user_version");
    enum dw_result result = DW_OK;
    bool empty = application == 0 && version == 0 &&
                 pragma(q, "SELECT count(*) FROM sqlite_schema") == 0;
    if (!empty && (application != APPLICATION_ID || version < 1))
        return refuse(q, err, "is some other SQLite file; expected a queue of Dengwen");
    if (version > SCHEMA_VERSION)
        return refuse(q, err, "was written by a newer Dengwen; install that one");
    if (version < SCHEMA_VERSION)
        result = take_steps(q, version, err);
    if (result == DW_OK && pragma(q, bad_rows) != 0)
        return refuse(q, err, "is damaged; restore it from a backup or set it aside");
    if (result == DW_OK)
        result = recover(q, err);
    for (int i = 0; result == DW_OK && i < Q_COUNT; i++)
        if (sqlite3_prepare_v3(q->db, q_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &q->statements[i],
                               NULL) != SQLITE_OK)
            result = refuse(q, err, "is damaged; set it aside and start with an empty queue");
    return result;
}

static void open_reserve(struct dw_queue *q)
{
    DW_AUTO_BUF path = {0};
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s-reserve", q->path);
    q->reserve_fd = open(dw_buf_text(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    q->reserve_held = q->reserve_fd >= 0;
}

static void forget_connection(struct dw_queue *q)
{
    for (int i = 0; i < Q_COUNT; i++) {
        sqlite3_finalize(q->statements[i]);
        q->statements[i] = NULL;
    }
    sqlite3_close(q->db);
    q->db = NULL;
}

void q_close_file(struct dw_queue *q)
{
    if (q->reserve_fd >= 0)
        close(q->reserve_fd);
    forget_connection(q);
    dw_free(q->path);
    dw_free(q);
}

enum dw_result dw_queue_open_still(const char *path, const struct dw_config *config,
                                   struct dw_queue **ret, struct dw_error *err)
{
    struct dw_queue *q = dw_alloc(sizeof *q);
    q->config = config;
    q->path = dw_strdup(path);
    q->fd = q->reserve_fd = -1;
    q_count_from_zero(q);
    open_reserve(q);
    enum dw_result result = open_database(q, err);
    if (result != DW_OK && sqlite3_errcode(q->db) == SQLITE_FULL && q_give_up_reserve(q)) {
        forget_connection(q);
        result = open_database(q, err);
    } else if (result == DW_OK) {
        hold_reserve(q);
    }
    if (result != DW_OK) {
        q_close_file(q);
        return result;
    }
    *ret = q;
    return DW_OK;
}
