/* queue_open.c - the queue's file: what it looks like, opening, recovery. */
#include "queue_private.h"

#include "dw/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    APPLICATION_ID = 0x44774d51, /* "DwMQ" */
    PAGE_BYTES = 4096,
    LOG_PAGES_MIN = 16,
    LOG_WAKES = 8,
    LOG_REST = 128,
};

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
    /* 4: rows lie in the order they came, and are found by their random names in memory.  The body is
     * last: what is read of all rows lies in front of it.  No item has had a number above `last`. */
    "CREATE TABLE items4(seq INTEGER PRIMARY KEY, id BLOB NOT NULL,"
    " service TEXT NOT NULL, class INTEGER NOT NULL, handle BLOB NOT NULL, attempt BLOB NOT NULL,"
    " parts INTEGER NOT NULL, bytes INTEGER NOT NULL, day INTEGER NOT NULL, created INTEGER NOT NULL,"
    " state INTEGER NOT NULL, fence INTEGER NOT NULL, attempts INTEGER NOT NULL,"
    " delays INTEGER NOT NULL, next_at INTEGER NOT NULL, reason TEXT NOT NULL,"
    " origin INTEGER NOT NULL, expires INTEGER NOT NULL, body BLOB NOT NULL);"
    "INSERT INTO items4 SELECT seq, id, service, class, handle, attempt, parts, bytes, day, created,"
    " state, fence, attempts, delays, next_at, reason, origin, expires, body FROM items ORDER BY seq;"
    "CREATE TABLE numbers(one INTEGER PRIMARY KEY, last INTEGER NOT NULL);"
    "INSERT INTO numbers SELECT 1, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'items'), 0);"
    "DROP TABLE items;"
    "ALTER TABLE items4 RENAME TO items;"
    "CREATE INDEX items_ready ON items(service, class, seq) WHERE state = 0;"
    "CREATE INDEX items_leased ON items(seq) WHERE state = 1;"
    "CREATE INDEX items_delayed ON items(next_at) WHERE state = 2;"
    "CREATE INDEX items_dead ON items(seq) WHERE state = 3;"
    "CREATE INDEX items_dead_key ON items(handle) WHERE state = 3 AND " KEYED ";"
    "CREATE INDEX items_behind ON items(seq) WHERE state = 4;"
    "CREATE INDEX items_behind_key ON items(handle, service, seq) WHERE state = 4;"
    "CREATE INDEX items_expires ON items(expires) WHERE expires > 0;"
    "CREATE TABLE seen4(n INTEGER PRIMARY KEY, tok BLOB NOT NULL, fp BLOB NOT NULL,"
    " until INTEGER NOT NULL);"
    "INSERT INTO seen4(tok, fp, until) SELECT tok, fp, until FROM seen ORDER BY until;"
    "DROP TABLE seen;"
    "ALTER TABLE seen4 RENAME TO seen;"
    "CREATE INDEX seen_until ON seen(until);",
};
enum { SCHEMA_VERSION = DW_COUNT(schema_steps) };

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
    " + (SELECT count(*) FROM seen WHERE typeof(tok) <> 'blob' OR length(tok) NOT BETWEEN 16 AND 17"
    " OR typeof(fp) <> 'blob' OR length(fp) <> 32)"
    " + (SELECT count(*) FROM open WHERE typeof(attempt) <> 'blob' OR length(attempt) <> 16"
    " OR typeof(bytes) <> 'integer' OR bytes NOT BETWEEN 0 AND 1 << 48)"
    " + (SELECT count(*) FROM replies WHERE typeof(id) <> 'blob' OR length(id) <> 16"
    " OR typeof(body) <> 'blob' OR typeof(bytes) <> 'integer' OR bytes NOT BETWEEN 0 AND 1 << 48)";

/* What lies beside the items. */
static bool count_all(struct dw_queue *q)
{
    static const char count[] =
        "SELECT (SELECT coalesce(sum(bytes), 0) FROM open), (SELECT count(*) FROM replies),"
        " (SELECT coalesce(sum(bytes), 0) FROM replies), (SELECT coalesce(max(last), 0) FROM numbers),"
        " (SELECT coalesce(max(seq), 0) FROM items)";
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(q->db, count, -1, &s, NULL) != SQLITE_OK)
        return false;
    bool read = sqlite3_step(s) == SQLITE_ROW;
    int64_t last = sqlite3_column_int64(s, 3), highest = sqlite3_column_int64(s, 4);
    q->totals = (struct totals){
        .open_bytes = sqlite3_column_int64(s, 0),
        .guest_items = sqlite3_column_int64(s, 1),
        .guest_bytes = sqlite3_column_int64(s, 2),
        .bytes = sqlite3_column_int64(s, 2),
        .last_row = last > highest ? last : highest,
    };
    q->totals.numbered = q->totals.last_row;
    sqlite3_finalize(s);
    return read;
}

static void count_item(struct dw_queue *q, sqlite3_stmt *s)
{
    struct totals *t = &q->totals;
    const void *id = sqlite3_column_blob(s, 1), *handle = sqlite3_column_blob(s, 2);
    int64_t row = sqlite3_column_int64(s, 0), bytes = sqlite3_column_int64(s, 4);
    enum state state = (enum state)sqlite3_column_int(s, 3);
    bool guest = sqlite3_column_int(s, 5) != OWN;
    t->items++;
    t->bytes += bytes;
    t->states[state]++;
    t->guest_items += guest;
    t->guest_bytes += guest ? bytes : 0;
    if (!t->oldest && state != DEAD)
        t->oldest = row;
    q_index_load(q, BY_ID, id, DW_ID_LEN, row);
    if (state != DEAD && state != BEHIND && !dw_all_zero(handle, DW_ID_LEN))
        q_index_load(q, BY_HANDLE, handle, DW_ID_LEN, row);
}

/* One look at each row: nothing is counted, and nothing looked for, while work goes on. */
static bool find_all(struct dw_queue *q)
{
    sqlite3_stmt *s;
    int rc;
    if (sqlite3_prepare_v2(q->db, "SELECT seq, id, handle, state, bytes, origin FROM items ORDER BY seq",
                           -1, &s, NULL) != SQLITE_OK)
        return false;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW)
        count_item(q, s);
    sqlite3_finalize(s);
    if (rc != SQLITE_DONE ||
        sqlite3_prepare_v2(q->db, "SELECT n, tok FROM seen", -1, &s, NULL) != SQLITE_OK)
        return false;
    for (; (rc = sqlite3_step(s)) == SQLITE_ROW; q->totals.seen++)
        q_index_load(q, BY_TOK, sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1),
                     sqlite3_column_int64(s, 0));
    sqlite3_finalize(s);
    return rc == SQLITE_DONE;
}

/* After a crash: leases are void, totals are counted anew. */
static enum dw_result recover(struct dw_queue *q, struct dw_error *err)
{
    char *why = NULL;
    if (sqlite3_exec(q->db, "UPDATE items SET state = 0 WHERE state = 1", NULL, NULL, &why) !=
        SQLITE_OK) {
        sqlite3_free(why);
        return refuse(q, err, "cannot recover; restore the file from a backup or set it aside");
    }
    return count_all(q) && find_all(q) ? DW_OK
                                       : refuse(q, err, "cannot be read; set it aside and start with "
                                                        "an empty queue");
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

/* The log begins anew only when all of it is in the file, and while somebody writes the checkpointer
 * never has quite all.  So a commit moves what is left when that is little; or, where the
 * checkpointer cannot keep up, when the log is too long.  It does as sqlite3_wal_autocheckpoint(),
 * which says nothing when a sync fails. */
static int move_long_log(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct dw_queue *q = arg;
    if (pages < q->log_woken) /* it began anew */
        q->log_woken = 0;
    if (q->checkpointer && pages - q->log_woken >= q->log_pages / LOG_WAKES) {
        q->log_woken = pages;
        dw_checkpointer_wake(q->checkpointer);
    }
    int64_t left = q->checkpointer ? pages - dw_checkpointer_moved(q->checkpointer) : pages;
    bool little = left >= 0 && left <= LOG_REST && pages >= 2 * q->log_pages / LOG_WAKES;
    if ((little || pages >= q->log_pages) &&
        (sqlite3_wal_checkpoint(db, name) & 0xff) == SQLITE_IOERR)
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
    q_index_close(q); /* it was of this connection */
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
    q_index_open(q);
    open_reserve(q);
    enum dw_result result = open_database(q, err);
    if (result != DW_OK && sqlite3_errcode(q->db) == SQLITE_FULL && q_give_up_reserve(q)) {
        forget_connection(q);
        result = open_database(q, err);
    } else if (result == DW_OK) {
        q_hold_reserve(q);
    }
    if (result != DW_OK) {
        q_close_file(q);
        return result;
    }
    *ret = q;
    return DW_OK;
}
