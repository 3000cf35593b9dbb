#include "dw/queue.h"

#include "dw/log.h"
#include "dw/process.h"
#include "dw/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    APPLICATION_ID = 0x44774d51, /* "DwMQ" */
    SCHEMA_VERSION = 1,
    EXIT_IO = 70,
    CHECKPOINT_MS = 200,
    IDLE_TRUNCATE_MS = 1000,
    FREE_CHECK_MS = 500,
    LIST_MAX = 1000,
    FULL_RETRY_SECONDS = 30,
    PAGE_BYTES = 4096,
    LOG_PAGES_MIN = 16,
    KEEP_PAGES = 4096, /* free ones in the file, for the next items */
};

enum state { READY = 0, LEASED = 1, DELAYED = 2, DEAD = 3 };
static const char *const state_names[] = {"ready", "leased", "delayed", "dead"};

static const char schema[] =
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
    "CREATE INDEX seen_until ON seen(until);";

enum statement {
    Q_BEGIN, Q_COMMIT, Q_ROLLBACK,
    Q_PART, Q_OPEN, Q_PARTS_OF, Q_FORGET_PARTS, Q_FORGET_OPEN,
    Q_SEEN, Q_SEE, Q_ITEM, Q_INSERT, Q_PENDING,
    Q_WAKE, Q_NEXT, Q_LEASE, Q_NEXT_AT, Q_READ,
    Q_HELD, Q_DELETE, Q_LATER, Q_OLD_OPEN, Q_OLD_SEEN, Q_OLDEST_SEEN,
    Q_STATES, Q_OLDEST, Q_LIST, Q_SHOW, Q_RETRY, Q_FREE_PAGES, Q_SHRINK, Q_COUNT
};
static const char *const sql[Q_COUNT] = {
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
    [Q_INSERT] = "INSERT INTO items(id, service, class, handle, attempt, parts, bytes, day, created,"
                 " state, fence, attempts, delays, next_at, reason, body)"
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0, 0, 0, 0, '', ?10)",
    [Q_PENDING] = "SELECT day FROM items WHERE handle = ?1",
    [Q_WAKE] = "UPDATE items SET state = 0 WHERE state = 2 AND next_at <= ?1",
    [Q_NEXT] = "SELECT seq, id, fence, attempts, delays, body FROM items"
               " WHERE state = 0 AND service = ?1 ORDER BY class, seq LIMIT ?2",
    [Q_LEASE] = "UPDATE items SET state = 1, fence = fence + 1, attempts = attempts + 1"
                " WHERE seq = ?1",
    [Q_NEXT_AT] = "SELECT min(next_at) FROM items WHERE state = 2",
    [Q_READ] = "SELECT p.bytes FROM items i JOIN parts p ON p.attempt = i.attempt"
               " WHERE i.id = ?1 AND i.fence = ?2 AND i.state = 1 AND p.n = ?3",
    [Q_HELD] = "SELECT attempt, bytes, attempts FROM items WHERE id = ?1 AND fence = ?2 AND state = 1",
    [Q_DELETE] = "DELETE FROM items WHERE id = ?1",
    [Q_LATER] = "UPDATE items SET state = ?2, attempts = attempts - ?3, delays = delays + 1,"
                " next_at = ?4, reason = ?5 WHERE id = ?1",
    [Q_OLD_OPEN] = "SELECT attempt FROM open WHERE at < ?1 LIMIT 100",
    [Q_OLD_SEEN] = "DELETE FROM seen WHERE tok IN (SELECT tok FROM seen WHERE until < ?1 LIMIT 1000)",
    [Q_OLDEST_SEEN] = "DELETE FROM seen WHERE tok IN (SELECT tok FROM seen ORDER BY until LIMIT ?1)",
    [Q_STATES] = "SELECT state, count(*), sum(bytes) FROM items GROUP BY state",
    [Q_OLDEST] = "SELECT created FROM items WHERE state <> 3 ORDER BY seq LIMIT 1",
    [Q_LIST] = "SELECT id, service, state, attempts, parts, bytes, day, reason FROM items"
               " WHERE ?1 < 0 OR state = ?1 ORDER BY seq LIMIT ?2",
    [Q_SHOW] = "SELECT id, service, state, attempts, parts, bytes, day, reason FROM items"
               " WHERE id = ?1",
    [Q_RETRY] = "UPDATE items SET state = 0, attempts = 0, delays = 0, next_at = 0"
                " WHERE id = ?1 AND state IN (2, 3)",
    [Q_FREE_PAGES] = "PRAGMA freelist_count",
    [Q_SHRINK] = "PRAGMA incremental_vacuum(2000)",
};

struct totals {
    int64_t items, bytes, open_bytes, seen, dead;
};

struct dw_queue {
    const struct dw_config *config;
    char *path;
    sqlite3 *db;
    sqlite3_stmt *statements[Q_COUNT];
    struct totals totals;
    int64_t free_checked_at;
    bool disk_low;
    int reserve_fd; /* -1 without one */
    bool reserve_held;
    bool failed; /* an error inside the running transaction: nothing of it counts */
    bool full;   /* that error was a full disk */

    bool threads;
    pthread_t writer, checkpointer;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct dw_queue_op *submitted, **submitted_end;
    struct dw_queue_op *finished, **finished_end;
    bool stopping;
    int fd;
};

struct dw_queue_op *dw_queue_op_new(enum dw_queue_kind kind, dw_time now)
{
    struct dw_queue_op *op = dw_alloc(sizeof *op);
    op->kind = kind;
    op->now = now;
    return op;
}

void dw_queue_op_free(struct dw_queue_op *op)
{
    if (!op)
        return;
    dw_frames_free(&op->frames);
    for (size_t i = 0; i < op->items_count; i++)
        dw_frames_free(&op->items[i].frames);
    dw_free(op->items);
    dw_free(op->text);
    dw_free(op);
}

/* ---- SQLite, one step at a time ---- */

static void io_failed(struct dw_queue *q, const char *what)
{
    /* After a failed fsync nobody knows what is on disk but the next reader of the file. */
    dw_log(DW_ERROR, "queue.io", "%s: %s; ending, the next start recovers", what,
           sqlite3_errmsg(q->db));
    _exit(EXIT_IO);
}

static int step(struct dw_queue *q, sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return rc;
    if ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
        io_failed(q, sqlite3_sql(s));
    q->failed = true;
    q->full |= rc == SQLITE_FULL;
    if (rc != SQLITE_FULL)
        dw_log(DW_ERROR, "queue.sql", "%s", sqlite3_errmsg(q->db));
    return SQLITE_DONE;
}

static sqlite3_stmt *use(struct dw_queue *q, enum statement which)
{
    sqlite3_stmt *s = q->statements[which];
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return s;
}

static void blob(sqlite3_stmt *s, int at, const void *data, size_t len)
{
    sqlite3_bind_blob64(s, at, data ? data : "", len, SQLITE_STATIC);
}

static void number(sqlite3_stmt *s, int at, int64_t v)
{
    sqlite3_bind_int64(s, at, v);
}

static void run(struct dw_queue *q, sqlite3_stmt *s)
{
    while (step(q, s) == SQLITE_ROW)
        ;
    sqlite3_reset(s);
}

/* ---- frames in a row ---- */

static void pack(const struct dw_frames *frames, struct dw_buf *out)
{
    dw_buf_u32(out, (uint32_t)frames->count);
    for (size_t i = 0; i < frames->count; i++) {
        dw_buf_u32(out, (uint32_t)frames->items[i].len);
        dw_buf_put(out, frames->items[i].data, frames->items[i].len);
    }
}

static bool unpack(const void *data, size_t len, struct dw_frames *ret)
{
    struct dw_reader r = {.rest = DW_SLICE(data, len)};
    struct dw_slice items[1024];
    uint32_t count = dw_read_u32(&r);
    if (count > DW_COUNT(items))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = dw_read_u32(&r);
        items[i] = DW_SLICE(dw_read_bytes(&r, n), n);
    }
    if (r.failed || r.rest.len)
        return false;
    *ret = dw_frames_copy(items, count);
    return true;
}

/* ---- limits ---- */

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

static bool give_up_reserve(struct dw_queue *q)
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

static bool disk_is_low(struct dw_queue *q)
{
    int64_t now = dw_monotonic_ms();
    if (!q->free_checked_at || now - q->free_checked_at >= FREE_CHECK_MS) {
        q->free_checked_at = now;
        look_at_disk(q);
    }
    return q->disk_low;
}

static bool refuse_full(struct dw_queue_op *op)
{
    op->status = 503;
    op->retry_seconds = FULL_RETRY_SECONDS;
    return true;
}

/* ---- operations ---- */

static void forget_attempt(struct dw_queue *q, const uint8_t attempt[DW_ID_LEN])
{
    sqlite3_stmt *s = use(q, Q_FORGET_OPEN);
    blob(s, 1, attempt, DW_ID_LEN);
    if (step(q, s) == SQLITE_ROW)
        q->totals.open_bytes -= sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    s = use(q, Q_FORGET_PARTS);
    blob(s, 1, attempt, DW_ID_LEN);
    run(q, s);
}

static void do_part(struct dw_queue *q, struct dw_queue_op *op)
{
    const struct dw_slice *bytes = &op->frames.items[0];
    int64_t share = q->config->queue.max_bytes / 100 * q->config->queue.open_share_percent;
    if (disk_is_low(q) || q->totals.open_bytes + (int64_t)bytes->len > share ||
        q->totals.bytes + q->totals.open_bytes + (int64_t)bytes->len > q->config->queue.max_bytes) {
        refuse_full(op);
        return;
    }
    sqlite3_stmt *s = use(q, Q_PART);
    blob(s, 1, op->id, DW_ID_LEN);
    number(s, 2, op->n);
    blob(s, 3, bytes->data, bytes->len);
    run(q, s);
    s = use(q, Q_OPEN);
    blob(s, 1, op->id, DW_ID_LEN);
    number(s, 2, (int64_t)bytes->len);
    number(s, 3, op->now);
    run(q, s);
    q->totals.open_bytes += (int64_t)bytes->len;
    op->status = 200;
}

/* The same Idempotency-Key with another payload, as far as we remember. */
static bool contradicts_seen(struct dw_queue *q, const struct dw_item_header *h)
{
    bool other = false;
    if (dw_all_zero(h->tok, sizeof h->tok))
        return false;
    sqlite3_stmt *s = use(q, Q_SEEN);
    blob(s, 1, h->tok, sizeof h->tok);
    if (step(q, s) == SQLITE_ROW)
        other = sqlite3_column_bytes(s, 0) != DW_FP_LEN ||
                memcmp(sqlite3_column_blob(s, 0), h->fp, DW_FP_LEN) != 0;
    sqlite3_reset(s);
    return other;
}

static void remember_seen(struct dw_queue *q, const struct dw_item_header *h, dw_time now)
{
    if (dw_all_zero(h->tok, sizeof h->tok))
        return;
    sqlite3_stmt *s = use(q, Q_SEE);
    blob(s, 1, h->tok, sizeof h->tok);
    blob(s, 2, h->fp, sizeof h->fp);
    number(s, 3, now + q->config->queue.seen_hours * 3600000);
    run(q, s);
    q->totals.seen++; /* an upper bound: a repeated key counts again until the next sweep */
}

/* Is the item here already?  Then the attempt that brought it again is forgotten. */
static bool is_here(struct dw_queue *q, struct dw_queue_op *op)
{
    const struct dw_item_header *h = &op->header;
    sqlite3_stmt *s = use(q, Q_ITEM);
    blob(s, 1, h->id, DW_ID_LEN);
    bool here = step(q, s) == SQLITE_ROW;
    bool same_attempt = false;
    if (here) {
        op->day = sqlite3_column_int(s, 0);
        same_attempt = memcmp(sqlite3_column_blob(s, 1), h->attempt, DW_ID_LEN) == 0;
        op->status = 200;
    }
    sqlite3_reset(s);
    if (here && h->parts && !same_attempt)
        forget_attempt(q, h->attempt);
    return here;
}

static bool parts_complete(struct dw_queue *q, const struct dw_item_header *h, int64_t *bytes)
{
    if (!h->parts)
        return true;
    sqlite3_stmt *s = use(q, Q_PARTS_OF);
    blob(s, 1, h->attempt, DW_ID_LEN);
    bool complete = step(q, s) == SQLITE_ROW && sqlite3_column_int64(s, 0) == h->parts &&
                    sqlite3_column_int64(s, 1) == (int64_t)h->parts - 1;
    *bytes += sqlite3_column_int64(s, 2);
    sqlite3_reset(s);
    return complete;
}

static void do_close(struct dw_queue *q, struct dw_queue_op *op)
{
    const struct dw_item_header *h = &op->header;
    int64_t bytes = (int64_t)op->frames.bytes;
    if (contradicts_seen(q, h)) {
        op->status = 422;
        if (h->parts)
            forget_attempt(q, h->attempt);
        return;
    }
    if (is_here(q, op))
        return;
    if (disk_is_low(q) || q->totals.items >= q->config->queue.max_items ||
        q->totals.bytes + bytes > q->config->queue.max_bytes) {
        refuse_full(op);
        return;
    }
    if (!parts_complete(q, h, &bytes)) {
        op->status = 409;
        forget_attempt(q, h->attempt);
        return;
    }
    DW_AUTO_BUF body = {0};
    dw_buf_init(&body, SIZE_MAX / 2);
    pack(&op->frames, &body);
    op->day = dw_day_of(op->now);
    sqlite3_stmt *s = use(q, Q_INSERT);
    blob(s, 1, h->id, DW_ID_LEN);
    sqlite3_bind_text(s, 2, h->service, -1, SQLITE_STATIC);
    number(s, 3, h->klass);
    blob(s, 4, h->handle, DW_ID_LEN);
    blob(s, 5, h->attempt, DW_ID_LEN);
    number(s, 6, h->parts);
    number(s, 7, bytes);
    number(s, 8, op->day);
    number(s, 9, op->now);
    blob(s, 10, body.data, body.len);
    run(q, s);
    if (h->parts) { /* the parts stay; they are no longer an unfinished upload */
        s = use(q, Q_FORGET_OPEN);
        blob(s, 1, h->attempt, DW_ID_LEN);
        if (step(q, s) == SQLITE_ROW)
            q->totals.open_bytes -= sqlite3_column_int64(s, 0);
        sqlite3_reset(s);
    }
    remember_seen(q, h, op->now);
    q->totals.items++;
    q->totals.bytes += bytes;
    op->status = 200;
}

static void do_pending(struct dw_queue *q, struct dw_queue_op *op)
{
    sqlite3_stmt *s = use(q, Q_PENDING);
    blob(s, 1, op->id, DW_ID_LEN);
    op->status = 404;
    if (step(q, s) == SQLITE_ROW) {
        op->status = 200;
        op->day = sqlite3_column_int(s, 0);
    }
    sqlite3_reset(s);
}

static void do_claim(struct dw_queue *q, struct dw_queue_op *op)
{
    sqlite3_stmt *s = use(q, Q_WAKE);
    number(s, 1, op->now);
    run(q, s);
    op->items = dw_alloc(op->n * sizeof *op->items);
    int64_t *rows = dw_alloc(op->n * sizeof *rows);
    s = use(q, Q_NEXT);
    sqlite3_bind_text(s, 1, op->service, -1, SQLITE_STATIC);
    number(s, 2, op->n);
    while (op->items_count < op->n && step(q, s) == SQLITE_ROW) {
        struct dw_queue_item *item = &op->items[op->items_count];
        if (!unpack(sqlite3_column_blob(s, 5), (size_t)sqlite3_column_bytes(s, 5), &item->frames))
            io_failed(q, "an item that cannot be unpacked");
        rows[op->items_count] = sqlite3_column_int64(s, 0);
        memcpy(item->id, sqlite3_column_blob(s, 1), DW_ID_LEN);
        item->fence = (uint64_t)sqlite3_column_int64(s, 2) + 1;
        item->attempts = sqlite3_column_int(s, 3) + 1;
        item->delays = sqlite3_column_int(s, 4);
        op->items_count++;
    }
    sqlite3_reset(s);
    for (size_t i = 0; i < op->items_count; i++) {
        s = use(q, Q_LEASE);
        number(s, 1, rows[i]);
        run(q, s);
    }
    dw_free(rows);
    s = use(q, Q_NEXT_AT);
    if (step(q, s) == SQLITE_ROW)
        op->next_at = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    op->status = 200;
}

static void do_read(struct dw_queue *q, struct dw_queue_op *op)
{
    sqlite3_stmt *s = use(q, Q_READ);
    blob(s, 1, op->id, DW_ID_LEN);
    number(s, 2, (int64_t)op->fence);
    number(s, 3, op->n);
    op->status = 404;
    if (step(q, s) == SQLITE_ROW) {
        struct dw_slice bytes =
            DW_SLICE(sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
        op->frames = dw_frames_copy(&bytes, 1);
        op->status = 200;
    }
    sqlite3_reset(s);
}

/* The lease the operation speaks of, if it still holds. */
static bool held(struct dw_queue *q, struct dw_queue_op *op, uint8_t attempt[DW_ID_LEN],
                 int64_t *bytes, int64_t *attempts)
{
    sqlite3_stmt *s = use(q, Q_HELD);
    blob(s, 1, op->id, DW_ID_LEN);
    number(s, 2, (int64_t)op->fence);
    bool holds = step(q, s) == SQLITE_ROW;
    if (holds) {
        memcpy(attempt, sqlite3_column_blob(s, 0), DW_ID_LEN);
        *bytes = sqlite3_column_int64(s, 1);
        *attempts = sqlite3_column_int64(s, 2);
    }
    sqlite3_reset(s);
    op->status = holds ? 200 : 409;
    return holds;
}

static void delete_item(struct dw_queue *q, const uint8_t id[DW_ID_LEN],
                        const uint8_t attempt[DW_ID_LEN], int64_t bytes)
{
    sqlite3_stmt *s = use(q, Q_DELETE);
    blob(s, 1, id, DW_ID_LEN);
    run(q, s);
    if (!dw_all_zero(attempt, DW_ID_LEN))
        forget_attempt(q, attempt);
    q->totals.items--;
    q->totals.bytes -= bytes;
}

static void do_done(struct dw_queue *q, struct dw_queue_op *op)
{
    uint8_t attempt[DW_ID_LEN];
    int64_t bytes, attempts;
    if (held(q, op, attempt, &bytes, &attempts))
        delete_item(q, op->id, attempt, bytes);
}

static void do_later(struct dw_queue *q, struct dw_queue_op *op, bool never)
{
    uint8_t attempt[DW_ID_LEN];
    int64_t bytes, attempts;
    if (!held(q, op, attempt, &bytes, &attempts))
        return;
    bool dead = never || (op->counted && attempts >= q->config->queue.max_attempts);
    sqlite3_stmt *s = use(q, Q_LATER);
    blob(s, 1, op->id, DW_ID_LEN);
    number(s, 2, dead ? DEAD : DELAYED);
    number(s, 3, !dead && !op->counted);
    number(s, 4, op->at);
    sqlite3_bind_text(s, 5, op->reason, -1, SQLITE_STATIC);
    run(q, s);
    if (dead) {
        q->totals.dead++;
        dw_log(DW_ERROR, "queue.dead", "a filing became a dead letter: %s; see `dengwen queue list "
                                       "dead`", op->reason);
    }
}

/* Gives room that items no longer need back to the disk, a little at a time. */
static void shrink(struct dw_queue *q)
{
    sqlite3_stmt *s = use(q, Q_FREE_PAGES);
    int64_t free_pages = step(q, s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    if (free_pages > (q->reserve_held ? KEEP_PAGES : 0))
        run(q, use(q, Q_SHRINK));
}

static void do_sweep(struct dw_queue *q, struct dw_queue_op *op)
{
    uint8_t old[100][DW_ID_LEN];
    size_t count = 0;
    sqlite3_stmt *s = use(q, Q_OLD_OPEN);
    number(s, 1, op->now - q->config->queue.open_ttl_seconds * 1000);
    while (count < DW_COUNT(old) && step(q, s) == SQLITE_ROW)
        memcpy(old[count++], sqlite3_column_blob(s, 0), DW_ID_LEN);
    sqlite3_reset(s);
    for (size_t i = 0; i < count; i++)
        forget_attempt(q, old[i]);
    s = use(q, Q_OLD_SEEN);
    number(s, 1, op->now);
    run(q, s);
    q->totals.seen -= sqlite3_changes(q->db);
    if (q->totals.seen > q->config->queue.seen_max) {
        s = use(q, Q_OLDEST_SEEN);
        number(s, 1, q->totals.seen - q->config->queue.seen_max);
        run(q, s);
        q->totals.seen -= sqlite3_changes(q->db);
    }
    shrink(q);
    op->status = 200;
}

/* ---- administration: envelope facts only ---- */

static void admin_stats(struct dw_queue *q, struct dw_queue_op *op, struct dw_buf *out)
{
    int64_t counts[4] = {0}, oldest = 0;
    sqlite3_stmt *s = use(q, Q_STATES);
    while (step(q, s) == SQLITE_ROW)
        counts[sqlite3_column_int(s, 0) & 3] = sqlite3_column_int64(s, 1);
    sqlite3_reset(s);
    s = use(q, Q_OLDEST);
    if (step(q, s) == SQLITE_ROW)
        oldest = (op->now - sqlite3_column_int64(s, 0)) / 1000;
    sqlite3_reset(s);
    dw_buf_str(out, "{");
    for (int i = 0; i < 4; i++)
        dw_buf_printf(out, "\"%s\":%lld,", state_names[i], (long long)counts[i]);
    dw_buf_printf(out,
                  "\"items\":%lld,\"bytes\":%lld,\"open_bytes\":%lld,\"max_bytes\":%lld,"
                  "\"oldest_seconds\":%lld}",
                  (long long)q->totals.items, (long long)q->totals.bytes,
                  (long long)q->totals.open_bytes, (long long)q->config->queue.max_bytes,
                  (long long)oldest);
}

static void write_row(sqlite3_stmt *s, struct dw_buf *out)
{
    char id[2 * DW_ID_LEN + 1], day[DW_DAY_TEXT];
    dw_buf_printf(out,
                  "{\"id\":\"%s\",\"service\":\"%s\",\"state\":\"%s\",\"attempts\":%d,\"parts\":%d,"
                  "\"bytes\":%lld,\"day\":\"%s\",\"reason\":\"%s\"}",
                  dw_hex(id, sqlite3_column_blob(s, 0), DW_ID_LEN), sqlite3_column_text(s, 1),
                  state_names[sqlite3_column_int(s, 2) & 3], sqlite3_column_int(s, 3),
                  sqlite3_column_int(s, 4), (long long)sqlite3_column_int64(s, 5),
                  dw_day_format(sqlite3_column_int(s, 6), day), sqlite3_column_text(s, 7));
}

static void admin_rows(struct dw_queue *q, sqlite3_stmt *s, struct dw_buf *out, bool list)
{
    bool first = true;
    if (list)
        dw_buf_str(out, "[");
    while (step(q, s) == SQLITE_ROW) {
        dw_buf_str(out, first ? "" : ",\n");
        write_row(s, out);
        first = false;
    }
    sqlite3_reset(s);
    if (list)
        dw_buf_str(out, "]");
}

static void admin_list(struct dw_queue *q, struct dw_queue_op *op, struct dw_buf *out)
{
    int state = -1;
    for (int i = 0; i < 4; i++)
        if (strcmp(op->words[1], state_names[i]) == 0)
            state = i;
    if (state < 0 && *op->words[1]) {
        op->status = 422;
        dw_buf_str(out, "expected ready, leased, delayed or dead");
        return;
    }
    sqlite3_stmt *s = use(q, Q_LIST);
    number(s, 1, state);
    number(s, 2, LIST_MAX);
    admin_rows(q, s, out, true);
}

static void admin_item(struct dw_queue *q, struct dw_queue_op *op, struct dw_buf *out)
{
    uint8_t id[DW_ID_LEN], attempt[DW_ID_LEN] = {0};
    if (!dw_unhex(id, sizeof id, op->words[1])) {
        op->status = 422;
        dw_buf_str(out, "expected an item id of 32 hex digits");
        return;
    }
    sqlite3_stmt *s = use(q, Q_SHOW);
    blob(s, 1, id, sizeof id);
    admin_rows(q, s, out, false);
    if (!out->len) {
        op->status = 404;
        dw_buf_str(out, "no such item");
        return;
    }
    if (strcmp(op->words[0], "retry") == 0) {
        s = use(q, Q_RETRY);
        blob(s, 1, id, sizeof id);
        run(q, s);
        if (!sqlite3_changes(q->db)) {
            op->status = 409;
            dw_buf_clear(out);
            dw_buf_str(out, "the item is not dead or delayed");
        }
    } else if (strcmp(op->words[0], "drop") == 0) {
        /* Only what is dead: a live item somebody may be about to finish. */
        if (!strstr(dw_buf_text(out), "\"state\":\"dead\"")) {
            op->status = 409;
            dw_buf_clear(out);
            dw_buf_str(out, "only dead letters can be dropped");
            return;
        }
        s = use(q, Q_ITEM);
        blob(s, 1, id, sizeof id);
        int64_t bytes = 0;
        if (step(q, s) == SQLITE_ROW) {
            memcpy(attempt, sqlite3_column_blob(s, 1), DW_ID_LEN);
            bytes = sqlite3_column_int64(s, 2);
        }
        sqlite3_reset(s);
        delete_item(q, id, attempt, bytes);
    }
}

static void do_admin(struct dw_queue *q, struct dw_queue_op *op)
{
    static const struct {
        const char *word;
        void (*answer)(struct dw_queue *, struct dw_queue_op *, struct dw_buf *);
    } words[] = {{"stats", admin_stats},
                 {"list", admin_list},
                 {"show", admin_item},
                 {"retry", admin_item},
                 {"drop", admin_item}};
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 1024 * 1024);
    op->status = 404;
    for (size_t i = 0; i < DW_COUNT(words); i++) {
        if (strcmp(words[i].word, op->words[0]) == 0) {
            op->status = 200;
            words[i].answer(q, op, &out);
        }
    }
    op->text = dw_strdup(op->status == 404 && !out.len ? "expected stats, list, show, retry or drop"
                                                       : dw_buf_text(&out));
}

static void do_op(struct dw_queue *q, struct dw_queue_op *op)
{
    switch (op->kind) {
    case DW_QUEUE_PART:
        do_part(q, op);
        break;
    case DW_QUEUE_CLOSE:
        do_close(q, op);
        break;
    case DW_QUEUE_PENDING:
        do_pending(q, op);
        break;
    case DW_QUEUE_CLAIM:
        do_claim(q, op);
        break;
    case DW_QUEUE_READ:
        do_read(q, op);
        break;
    case DW_QUEUE_DONE:
        do_done(q, op);
        break;
    case DW_QUEUE_LATER:
        do_later(q, op, false);
        break;
    case DW_QUEUE_DEAD:
        do_later(q, op, true);
        break;
    case DW_QUEUE_SWEEP:
        do_sweep(q, op);
        break;
    case DW_QUEUE_ADMIN:
        do_admin(q, op);
        break;
    }
}

static bool only_reads(const struct dw_queue_op *list)
{
    for (; list; list = list->next)
        if (list->kind != DW_QUEUE_PENDING && list->kind != DW_QUEUE_READ)
            return false;
    return true;
}

/* Nothing of the transaction happened, and nothing is left of what the operations found. */
static void undo(struct dw_queue *q, struct dw_queue_op *list, const struct totals *before)
{
    if (!sqlite3_get_autocommit(q->db))
        run(q, use(q, Q_ROLLBACK));
    q->totals = *before;
    for (struct dw_queue_op *op = list; op; op = op->next) {
        if (op->kind == DW_QUEUE_READ)
            dw_frames_free(&op->frames);
        for (size_t i = 0; i < op->items_count; i++)
            dw_frames_free(&op->items[i].frames);
        dw_free(op->items);
        dw_free(op->text);
        op->items = NULL;
        op->items_count = 0;
        op->text = NULL;
    }
}

static void refuse_all(struct dw_queue *q, struct dw_queue_op *list)
{
    for (struct dw_queue_op *op = list; op; op = op->next)
        refuse_full(op);
    dw_log(DW_ERROR, "queue.refused", "%s; nothing was accepted",
           q->full ? "the disk is full" : "the transaction failed");
}

/* True when the whole list is durable. */
static bool commit_all(struct dw_queue *q, struct dw_queue_op *list)
{
    bool reads = only_reads(list);
    q->failed = q->full = false;
    if (!reads)
        run(q, use(q, Q_BEGIN));
    for (struct dw_queue_op *op = list; op && !q->failed; op = op->next) {
        do_op(q, op);
        if (op->kind == DW_QUEUE_CLOSE)
            DW_POINT("queue.inserted");
    }
    if (!reads && !q->failed) {
        DW_POINT("queue.before-commit");
        run(q, use(q, Q_COMMIT));
        DW_POINT("queue.committed");
        (*dw_metric_named("dengwen_queue_commits_total"))++;
    }
    return !q->failed;
}

void dw_queue_run(struct dw_queue *q, struct dw_queue_op *list)
{
    struct totals before = q->totals;
    int64_t count = 0;
    for (struct dw_queue_op *op = list; op; op = op->next)
        count++;
    *dw_metric_named("dengwen_queue_operations_total") += count;
    if (commit_all(q, list))
        return;
    undo(q, list, &before);
    /* Once more with the reserve given up: now new filings are refused, and the rest has room. */
    bool again = q->full && give_up_reserve(q);
    if (again && commit_all(q, list))
        return;
    if (again)
        undo(q, list, &before);
    refuse_all(q, list);
}

/* ---- threads ---- */

static struct dw_queue_op *take_batch(struct dw_queue *q)
{
    struct dw_queue_op *batch = q->submitted, *last = NULL;
    int64_t count = 0;
    for (struct dw_queue_op *op = batch; op && count < q->config->queue.batch_max; op = op->next) {
        last = op;
        count++;
    }
    q->submitted = last->next;
    last->next = NULL;
    if (!q->submitted)
        q->submitted_end = &q->submitted;
    return batch;
}

static void report(struct dw_queue *q, struct dw_queue_op *batch)
{
    uint64_t one = 1;
    struct dw_queue_op *last = batch;
    while (last->next)
        last = last->next;
    pthread_mutex_lock(&q->lock);
    *q->finished_end = batch;
    q->finished_end = &last->next;
    pthread_mutex_unlock(&q->lock);
    (void)!write(q->fd, &one, sizeof one);
}

#ifdef DW_TEST_POINTS
/* The deliberate bug: reports a filing accepted, and only then makes it durable. */
static void report_before_commit(struct dw_queue *q, struct dw_queue_op *batch)
{
    for (struct dw_queue_op *op = batch; op; op = op->next) {
        if (op->kind != DW_QUEUE_CLOSE)
            continue;
        struct dw_queue_op *lie = dw_queue_op_new(op->kind, op->now);
        lie->context = op->context;
        lie->status = 200;
        lie->day = dw_day_of(op->now);
        op->context = NULL;
        report(q, lie);
    }
    usleep(20000);
}
#endif

static void *write_forever(void *arg)
{
    struct dw_queue *q = arg;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (!q->submitted && !q->stopping)
            pthread_cond_wait(&q->more, &q->lock);
        if (!q->submitted)
            break;
        struct dw_queue_op *batch = take_batch(q);
        pthread_mutex_unlock(&q->lock);
#ifdef DW_TEST_POINTS
        if (DW_BUG("ack-before-commit"))
            report_before_commit(q, batch);
#endif
        dw_queue_run(q, batch);
        report(q, batch);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* Moves the log into the file beside the commits instead of inside one of them.  When nothing is
 * going on the log is cut to nothing, so that deleted items do not linger in it. */
static void *checkpoint_forever(void *arg)
{
    struct dw_queue *q = arg;
    sqlite3 *db;
    int64_t busy_at = dw_monotonic_ms(), changes = -1;
    bool truncated = false;
    if (sqlite3_open_v2(q->path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        io_failed(q, "opening for checkpoints");
    dw_metric *operations = dw_metric_named("dengwen_queue_operations_total");
    for (;;) {
        pthread_mutex_lock(&q->lock);
        bool stopping = q->stopping;
        pthread_mutex_unlock(&q->lock);
        if (stopping)
            break;
        usleep(CHECKPOINT_MS * 1000);
        int64_t now = dw_monotonic_ms(), seen = atomic_load(operations);
        if (seen != changes) {
            changes = seen;
            busy_at = now;
            truncated = false;
        }
        bool idle = now - busy_at >= IDLE_TRUNCATE_MS;
        if (idle && truncated)
            continue;
        int rc = sqlite3_wal_checkpoint_v2(
            db, NULL, idle ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        if ((rc & 0xff) == SQLITE_IOERR)
            io_failed(q, "checkpoint");
        truncated = idle && rc == SQLITE_OK;
    }
    sqlite3_close(db);
    return NULL;
}

/* ---- opening ---- */

static enum dw_result refuse(struct dw_queue *q, struct dw_error *err, const char *what)
{
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

static enum dw_result make_schema(struct dw_queue *q, struct dw_error *err)
{
    char text[160];
    snprintf(text, sizeof text, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID,
             SCHEMA_VERSION);
    if (sqlite3_exec(q->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(q->db, schema, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(q->db, text, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(q->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return refuse(q, err, "cannot create the queue");
    return DW_OK;
}

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
    if (sqlite3_prepare_v2(q->db,
                           "SELECT (SELECT count(*) FROM items),"
                           " (SELECT coalesce(sum(bytes), 0) FROM items),"
                           " (SELECT coalesce(sum(bytes), 0) FROM open),"
                           " (SELECT count(*) FROM seen),"
                           " (SELECT count(*) FROM items WHERE state = 3)",
                           -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW)
        return refuse(q, err, "cannot be read; set it aside and start with an empty queue");
    q->totals = (struct totals){sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1),
                                sqlite3_column_int64(s, 2), sqlite3_column_int64(s, 3),
                                sqlite3_column_int64(s, 4)};
    sqlite3_finalize(s);
    return DW_OK;
}

static enum dw_result open_file(struct dw_queue *q, struct dw_error *err)
{
    if (sqlite3_open_v2(q->path, &q->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                        NULL) != SQLITE_OK)
        return refuse(q, err, "cannot be opened");
    sqlite3_extended_result_codes(q->db, 1);
    sqlite3_busy_timeout(q->db, 5000);
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
    sqlite3_wal_autocheckpoint(q->db, (int)(log_pages < LOG_PAGES_MIN ? LOG_PAGES_MIN : log_pages));
    int64_t application = pragma(q, "PRAGMA application_id");
    int64_t version = pragma(q, "PRAGMA user_version");
    enum dw_result result = DW_OK;
    if (application == 0 && version == 0 && pragma(q, "SELECT count(*) FROM sqlite_schema") == 0)
        result = make_schema(q, err);
    else if (application != APPLICATION_ID)
        return refuse(q, err, "is some other SQLite file; expected a queue of Dengwen");
    else if (version > SCHEMA_VERSION)
        return refuse(q, err, "was written by a newer Dengwen; install that one");
    if (result == DW_OK)
        result = recover(q, err);
    for (int i = 0; result == DW_OK && i < Q_COUNT; i++)
        if (sqlite3_prepare_v3(q->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &q->statements[i],
                               NULL) != SQLITE_OK)
            result = refuse(q, err, sql[i]);
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

static void close_file(struct dw_queue *q)
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
    open_reserve(q);
    enum dw_result result = open_file(q, err);
    if (result != DW_OK && sqlite3_errcode(q->db) == SQLITE_FULL && give_up_reserve(q)) {
        forget_connection(q);
        result = open_file(q, err);
    } else if (result == DW_OK) {
        hold_reserve(q);
    }
    if (result != DW_OK) {
        close_file(q);
        return result;
    }
    *ret = q;
    return DW_OK;
}

enum dw_result dw_queue_open(const char *path, const struct dw_config *config,
                             struct dw_queue **ret, struct dw_error *err)
{
    struct dw_queue *q;
    enum dw_result result = dw_queue_open_still(path, config, &q, err);
    if (result != DW_OK)
        return result;
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->submitted_end = &q->submitted;
    q->finished_end = &q->finished;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    if (q->fd < 0 || pthread_create(&q->writer, NULL, write_forever, q) != 0 ||
        pthread_create(&q->checkpointer, NULL, checkpoint_forever, q) != 0)
        abort(); /* no descriptor, no thread: nothing a broker could go on with */
    q->threads = true;
    *ret = q;
    return DW_OK;
}

void dw_queue_close(struct dw_queue *q)
{
    if (!q)
        return;
    if (q->threads) {
        pthread_mutex_lock(&q->lock);
        q->stopping = true;
        pthread_cond_signal(&q->more);
        pthread_mutex_unlock(&q->lock);
        pthread_join(q->writer, NULL);
        pthread_join(q->checkpointer, NULL);
        for (struct dw_queue_op *op = q->finished; op;) {
            struct dw_queue_op *next = op->next;
            dw_queue_op_free(op);
            op = next;
        }
        close(q->fd);
        pthread_mutex_destroy(&q->lock);
        pthread_cond_destroy(&q->more);
        sqlite3_wal_checkpoint_v2(q->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    close_file(q);
}

void dw_queue_submit(struct dw_queue *q, struct dw_queue_op *op)
{
    op->next = NULL;
    pthread_mutex_lock(&q->lock);
    *q->submitted_end = op;
    q->submitted_end = &op->next;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

struct dw_queue_op *dw_queue_collect(struct dw_queue *q)
{
    uint64_t count;
    (void)!read(q->fd, &count, sizeof count);
    pthread_mutex_lock(&q->lock);
    struct dw_queue_op *list = q->finished;
    q->finished = NULL;
    q->finished_end = &q->finished;
    pthread_mutex_unlock(&q->lock);
    return list;
}

int dw_queue_fd(const struct dw_queue *q)
{
    return q->fd;
}
