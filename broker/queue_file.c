/* queue_file.c - the queue's file: its statements, one step at a time, and room on its disk. */
#include "queue_private.h"

#include "dw/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    EXIT_IO = 70,
    FREE_CHECK_MS = 500,
};

#define ROW   "SELECT id, service, state, attempts, parts, bytes, day, reason FROM items"

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
    [Q_IS] = "SELECT 1 FROM items WHERE seq = ?1 AND id = ?2",
    [Q_KEY] = "SELECT day FROM items WHERE seq = ?1 AND handle = ?2 AND (?3 IS NULL OR service = ?3)",
    [Q_SEEN] = "SELECT fp FROM seen WHERE n = ?1 AND tok = ?2",
    [Q_SEE] = "INSERT INTO seen(tok, fp, until) VALUES(?1, ?2, ?3)",
    [Q_SEE_AGAIN] = "UPDATE seen SET fp = ?2, until = ?3 WHERE n = ?1",
    [Q_NUMBERED] = "UPDATE numbers SET last = ?1 WHERE one = 1",
    [Q_ITEM] = "SELECT day, attempt, bytes FROM items WHERE seq = ?1",
    [Q_STATE] = "SELECT state, handle, service FROM items WHERE seq = ?1",
    /* The fences of an item that is put again after it was done are higher than before. */
    [Q_INSERT] = "INSERT INTO items(id, service, class, handle, attempt, parts, bytes, day, created,"
                 " state, fence, attempts, delays, next_at, reason, body, origin, expires, seq)"
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?13, (?14 - 1) << 20,"
                 " 0, 0, 0, '', ?10, ?11, ?12, ?14)",
    [Q_NEXT_OF_KEY] = "UPDATE items SET state = CASE WHEN next_at > ?3 THEN 2 ELSE 0 END"
                      " WHERE seq = (SELECT seq FROM items WHERE handle = ?1 AND service = ?2"
                      " AND state = 4 ORDER BY seq LIMIT 1) RETURNING state, seq",
    [Q_PENDING] = "SELECT day FROM items WHERE handle = ?1 AND state = 3 AND " KEYED " LIMIT 1",
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
               " WHERE i.seq = ?1 AND i.fence = ?2 AND i.state = 1 AND p.n = ?3",
    [Q_HELD] = "SELECT attempt, bytes, attempts FROM items WHERE seq = ?1 AND fence = ?2 AND state = 1",
    [Q_DELETE] = "DELETE FROM items WHERE seq = ?1 RETURNING origin, state, handle, service",
    [Q_ASKED] = "SELECT state, reason, bytes FROM items"
                " WHERE seq = ?1 AND origin = 1 AND expires > ?2",
    [Q_ANSWER] = "INSERT INTO replies(id, bytes, expires, body) VALUES(?1, ?2, ?3, ?4)",
    [Q_ANSWERED] = "SELECT body FROM replies WHERE id = ?1 AND expires > ?2",
    [Q_FORGET_ANSWER] = "DELETE FROM replies WHERE id = ?1 RETURNING bytes",
    [Q_OLD_ITEMS] = "SELECT id, attempt, bytes FROM items"
                    " WHERE expires > 0 AND expires <= ?1 AND origin = 1 LIMIT ?2",
    [Q_OLD_PUT] = "SELECT id FROM items WHERE expires > 0 AND expires <= ?1"
                  " AND origin = 2 AND state <> 1 LIMIT ?2",
    [Q_EXPIRE] = "UPDATE items SET state = 3, expires = 0, reason = 'nobody did it in time'"
                 " WHERE seq = ?1 RETURNING handle, service",
    [Q_OLD_ANSWERS] = "SELECT id FROM replies WHERE expires <= ?1 LIMIT ?2",
    [Q_LATER] = "UPDATE items SET state = ?2, attempts = attempts - ?3, delays = delays + 1,"
                " next_at = ?4, reason = ?5 WHERE seq = ?1 RETURNING handle, service",
    [Q_ADOPTED] = "UPDATE items SET attempts = ?2, day = ?3, created = ?4, state = ?5, reason = ?6"
                  " WHERE seq = ?1",
    [Q_OLD_OPEN] = "SELECT attempt FROM open WHERE at < ?1 LIMIT 100",
    [Q_OLD_SEEN] = "DELETE FROM seen WHERE n IN (SELECT n FROM seen WHERE until < ?1 LIMIT 1000)"
                   " RETURNING n, tok",
    [Q_OLDEST_SEEN] = "DELETE FROM seen WHERE n IN (SELECT n FROM seen ORDER BY until LIMIT ?1)"
                      " RETURNING n, tok",
    [Q_OLDEST] = "SELECT seq, created FROM items WHERE seq >= ?1 AND state <> 3 ORDER BY seq LIMIT 1",
    [Q_LIST] = ROW " ORDER BY seq LIMIT ?1",
    [Q_LIST_STATE + READY] = ROW " WHERE state = 0 ORDER BY service, class, seq LIMIT ?1",
    [Q_LIST_STATE + LEASED] = ROW " WHERE state = 1 ORDER BY seq LIMIT ?1",
    [Q_LIST_STATE + DELAYED] = ROW " WHERE state = 2 ORDER BY next_at LIMIT ?1",
    [Q_LIST_STATE + DEAD] = ROW " WHERE state = 3 ORDER BY seq LIMIT ?1",
    [Q_LIST_STATE + BEHIND] = ROW " WHERE state = 4 ORDER BY seq LIMIT ?1",
    [Q_SHOW] = ROW " WHERE seq = ?1",
    [Q_RETRY] = "UPDATE items SET state = ?2, attempts = 0, delays = 0, next_at = 0 WHERE seq = ?1",
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
    if (rc == SQLITE_NOMEM || (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CORRUPT ||
        rc == SQLITE_NOTADB)
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

/* A field that is not there for want of memory is none that is empty: nobody may take it for damaged. */
static void there_was_memory(sqlite3_stmt *s)
{
    if (sqlite3_errcode(sqlite3_db_handle(s)) != SQLITE_NOMEM)
        return;
    dw_log(DW_ERROR, "queue.memory", "no memory to read a row; ending, the next start recovers");
    _exit(EXIT_IO);
}

struct dw_slice q_bytes(sqlite3_stmt *s, int column)
{
    const void *bytes = sqlite3_column_blob(s, column);
    if (!bytes)
        there_was_memory(s);
    return DW_SLICE(bytes, (size_t)sqlite3_column_bytes(s, column));
}

void q_take(struct dw_queue *q, sqlite3_stmt *s, int column, void *out, size_t len)
{
    struct dw_slice bytes = q_bytes(s, column);
    if (!bytes.data || bytes.len != len)
        q_io_failed(q, "a field of the wrong length");
    memcpy(out, bytes.data, len);
}

const char *q_text(sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    if (!text)
        there_was_memory(s);
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
void q_hold_reserve(struct dw_queue *q)
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
        q_hold_reserve(q);
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
