/* adopt.c - reads a queue file that is left behind, and empties it. */
#include "dw/adopt.h"

#include "queue_private.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEFT_VERSION = 1 };

/* ---- a row on the wire ---- */

static void put_text(struct dw_buf *out, const char *text)
{
    dw_buf_u8(out, (uint8_t)strlen(text));
    dw_buf_put(out, text, strlen(text));
}

static bool read_text(struct dw_reader *r, char *out, size_t size)
{
    size_t len = dw_read_u8(r);
    const uint8_t *text = dw_read_bytes(r, len);
    if (!text || len >= size || memchr(text, 0, len))
        return false;
    memcpy(out, text, len);
    out[len] = 0;
    return true;
}

void dw_left_encode(const struct dw_left *left, struct dw_buf *out)
{
    dw_buf_u8(out, LEFT_VERSION);
    dw_buf_u8(out, (uint8_t)left->kind);
    dw_buf_put(out, left->id, DW_ID_LEN);
    dw_buf_put(out, left->attempt, DW_ID_LEN);
    dw_buf_put(out, left->handle, DW_ID_LEN);
    dw_buf_put(out, left->fp, DW_FP_LEN);
    dw_buf_u8(out, left->klass);
    dw_buf_u8(out, left->origin);
    dw_buf_u8(out, left->dead);
    dw_buf_u32(out, left->parts);
    dw_buf_u32(out, left->attempts);
    dw_buf_u32(out, (uint32_t)left->day);
    dw_buf_u64(out, (uint64_t)left->created);
    dw_buf_u64(out, (uint64_t)left->until);
    put_text(out, left->service);
    put_text(out, left->reason);
    dw_buf_u32(out, left->body_frames);
}

static void read_fixed(struct dw_reader *r, uint8_t *out, size_t len)
{
    const uint8_t *bytes = dw_read_bytes(r, len);
    if (bytes)
        memcpy(out, bytes, len);
}

bool dw_left_decode(struct dw_slice bytes, struct dw_left *ret)
{
    struct dw_reader r = {.rest = bytes};
    *ret = (struct dw_left){.kind = DW_LEFT_ITEM};
    if (dw_read_u8(&r) != LEFT_VERSION)
        return false;
    uint8_t kind = dw_read_u8(&r);
    read_fixed(&r, ret->id, DW_ID_LEN);
    read_fixed(&r, ret->attempt, DW_ID_LEN);
    read_fixed(&r, ret->handle, DW_ID_LEN);
    read_fixed(&r, ret->fp, DW_FP_LEN);
    ret->klass = dw_read_u8(&r);
    ret->origin = dw_read_u8(&r);
    uint8_t dead = dw_read_u8(&r);
    ret->parts = dw_read_u32(&r);
    ret->attempts = dw_read_u32(&r);
    ret->day = (dw_day)dw_read_u32(&r);
    ret->created = (dw_time)dw_read_u64(&r);
    ret->until = (dw_time)dw_read_u64(&r);
    bool texts = read_text(&r, ret->service, sizeof ret->service) &&
                 read_text(&r, ret->reason, sizeof ret->reason);
    ret->body_frames = dw_read_u32(&r);
    ret->kind = (enum dw_left_kind)kind;
    ret->dead = dead != 0;
    return texts && !r.failed && !r.rest.len && kind < DW_LEFT_KINDS && dead <= 1 &&
           ret->klass <= 1 && ret->origin <= PUT_BY_GUEST && ret->until >= 0 &&
           ret->attempts <= INT32_MAX && !dw_all_zero(ret->id, DW_ID_LEN) &&
           (kind != DW_LEFT_ITEM || dw_mdp_service_name(dw_slice_of(ret->service))) &&
           (ret->parts == 0 || !dw_all_zero(ret->attempt, DW_ID_LEN));
}

/* ---- the file ---- */

enum { NEXT_ITEM, NEXT_REPLY, NEXT_SEEN, ONE_PART, DELETE_SEEN, SOURCE_STATEMENTS };

static const char *const source_sql[SOURCE_STATEMENTS] = {
    [NEXT_ITEM] = "SELECT seq, id, body, attempt, handle, class, origin, state, parts, attempts, day,"
                  " created, expires, service, reason FROM items WHERE seq > ?1 ORDER BY seq LIMIT 1",
    [NEXT_REPLY] = "SELECT rowid, id, body, expires FROM replies WHERE rowid > ?1 ORDER BY rowid LIMIT 1",
    /* Ids that this file itself has adopted are longer, and mean nothing elsewhere. */
    [NEXT_SEEN] = "SELECT n, tok, x'', fp, until FROM seen WHERE n > ?1 AND length(tok) = 16"
                  " ORDER BY n LIMIT 1",
    [ONE_PART] = "SELECT bytes FROM parts WHERE attempt = ?1 AND n = ?2",
    [DELETE_SEEN] = "DELETE FROM seen WHERE n = ?1",
};

struct dw_source {
    struct dw_config config; /* a copy of its numbers */
    struct dw_queue *queue;
    int lock_fd;
    sqlite3_stmt *statements[SOURCE_STATEMENTS];
    enum dw_left_kind kind;
    int64_t after;
};

/* Of the folder it lies in, as its broker would. */
static enum dw_result lock_folder(struct dw_source *source, const char *file, struct dw_error *err)
{
    char *copy = dw_strdup(file);
    source->lock_fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dw_free(copy);
    if (source->lock_fd >= 0 && flock(source->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return DW_OK;
    if (errno == EWOULDBLOCK)
        return dw_invalid(err, "adopt", "%.200s: a broker that lives has it, or another adopt; "
                                        "expected the file of one that never comes back", file);
    return dw_invalid(err, "adopt", "%.200s: %s", file, strerror(errno));
}

static enum dw_result open_source(const char *file, bool lock, const struct dw_config *config,
                                  struct dw_source **ret, struct dw_error *err)
{
    struct dw_source *source = dw_alloc(sizeof *source);
    source->config = *config;
    source->config.queue.reserve_bytes = 0;
    source->lock_fd = -1;
    enum dw_result result = lock ? lock_folder(source, file, err) : DW_OK;
    if (result == DW_OK)
        result = dw_queue_open_still(file, &source->config, &source->queue, err);
    for (int i = 0; result == DW_OK && i < SOURCE_STATEMENTS; i++)
        if (sqlite3_prepare_v2(source->queue->db, source_sql[i], -1, &source->statements[i], NULL) !=
            SQLITE_OK)
            result = dw_invalid(err, "adopt", "%.200s: %s", file, sqlite3_errmsg(source->queue->db));
    if (result != DW_OK) {
        dw_source_close(source);
        return result;
    }
    *ret = source;
    return DW_OK;
}

enum dw_result dw_source_open(const char *file, const struct dw_config *config,
                              struct dw_source **ret, struct dw_error *err)
{
    struct stat st;
    if (stat(file, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return dw_invalid(err, "adopt", "%.200s: expected the queue file of a broker", file);
    return open_source(file, true, config, ret, err);
}

enum dw_result dw_source_open_still(const char *file, const struct dw_config *config,
                                    struct dw_source **ret, struct dw_error *err)
{
    return open_source(file, false, config, ret, err);
}

void dw_source_close(struct dw_source *source)
{
    for (int i = 0; i < SOURCE_STATEMENTS; i++)
        sqlite3_finalize(source->statements[i]);
    dw_queue_close(source->queue);
    if (source->lock_fd >= 0)
        close(source->lock_fd);
    dw_free(source);
}

static int64_t count(struct dw_source *source, const char *text)
{
    sqlite3_stmt *s;
    int64_t n = 0;
    if (sqlite3_prepare_v2(source->queue->db, text, -1, &s, NULL) != SQLITE_OK)
        return 0;
    if (sqlite3_step(s) == SQLITE_ROW)
        n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return n;
}

int64_t dw_source_count(struct dw_source *source, enum dw_left_kind kind)
{
    static const char *const texts[DW_LEFT_KINDS] = {
        [DW_LEFT_ITEM] = "SELECT count(*) FROM items",
        [DW_LEFT_REPLY] = "SELECT count(*) FROM replies",
        [DW_LEFT_SEEN] = "SELECT count(*) FROM seen WHERE length(tok) = 16"};
    return count(source, texts[kind]);
}

int64_t dw_source_unfinished(struct dw_source *source)
{
    return count(source, "SELECT count(*) FROM open");
}

static void copy_text(sqlite3_stmt *s, int column, char *out, size_t size)
{
    snprintf(out, size, "%s", (const char *)sqlite3_column_text(s, column));
}

static void copy_fixed(sqlite3_stmt *s, int column, uint8_t *out, size_t len)
{
    if ((size_t)sqlite3_column_bytes(s, column) == len)
        memcpy(out, sqlite3_column_blob(s, column), len);
}

static void read_row(sqlite3_stmt *s, enum dw_left_kind kind, struct dw_left *ret)
{
    *ret = (struct dw_left){.kind = kind};
    copy_fixed(s, 1, ret->id, DW_ID_LEN);
    if (kind == DW_LEFT_REPLY) {
        ret->until = sqlite3_column_int64(s, 3);
    } else if (kind == DW_LEFT_SEEN) {
        copy_fixed(s, 3, ret->fp, DW_FP_LEN);
        ret->until = sqlite3_column_int64(s, 4);
    } else {
        copy_fixed(s, 3, ret->attempt, DW_ID_LEN);
        copy_fixed(s, 4, ret->handle, DW_ID_LEN);
        ret->klass = (uint8_t)sqlite3_column_int(s, 5);
        ret->origin = (uint8_t)sqlite3_column_int(s, 6);
        ret->dead = sqlite3_column_int(s, 7) == DEAD;
        ret->parts = (uint32_t)sqlite3_column_int64(s, 8);
        ret->attempts = (uint32_t)sqlite3_column_int(s, 9);
        ret->day = sqlite3_column_int(s, 10);
        ret->created = sqlite3_column_int64(s, 11);
        ret->until = sqlite3_column_int64(s, 12);
        copy_text(s, 13, ret->service, sizeof ret->service);
        copy_text(s, 14, ret->reason, sizeof ret->reason);
    }
}

bool dw_source_next(struct dw_source *source, struct dw_left *ret, struct dw_buf *body)
{
    for (; source->kind < DW_LEFT_KINDS; source->kind++, source->after = 0) {
        sqlite3_stmt *s = source->statements[source->kind];
        sqlite3_reset(s);
        q_number(s, 1, source->after);
        if (q_step(source->queue, s) != SQLITE_ROW) {
            sqlite3_reset(s);
            continue;
        }
        source->after = sqlite3_column_int64(s, 0);
        read_row(s, source->kind, ret);
        dw_buf_clear(body);
        dw_buf_put(body, sqlite3_column_blob(s, 2), (size_t)sqlite3_column_bytes(s, 2));
        sqlite3_reset(s);
        return true;
    }
    return false;
}

void dw_source_again(struct dw_source *source)
{
    source->kind = DW_LEFT_ITEM;
    source->after = 0;
}

bool dw_source_part(struct dw_source *source, const uint8_t attempt[DW_ID_LEN], uint32_t n,
                    struct dw_buf *ret)
{
    sqlite3_stmt *s = source->statements[ONE_PART];
    sqlite3_reset(s);
    q_blob(s, 1, attempt, DW_ID_LEN);
    q_number(s, 2, n);
    bool found = q_step(source->queue, s) == SQLITE_ROW;
    dw_buf_clear(ret);
    if (found)
        dw_buf_put(ret, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    sqlite3_reset(s);
    return found;
}

static void delete_row(struct dw_source *source, struct dw_queue_op *op, const struct dw_left *row)
{
    static const uint8_t no_attempt[DW_ID_LEN];
    struct dw_queue *q = source->queue;
    if (row->kind == DW_LEFT_ITEM) {
        q_delete_item(q, op, row->id, row->parts ? row->attempt : no_attempt, 0);
    } else if (row->kind == DW_LEFT_REPLY) {
        q_forget_answer(q, op->now, row->id);
    } else {
        uint8_t fp[DW_FP_LEN];
        int64_t n = q_seen_row(q, row->id, DW_ID_LEN, fp);
        sqlite3_stmt *s = source->statements[DELETE_SEEN];
        sqlite3_reset(s);
        q_number(s, 1, n);
        q_run(q, s);
        q_index_take(q, BY_TOK, row->id, DW_ID_LEN, n);
    }
}

enum dw_result dw_source_taken(struct dw_source *source, const struct dw_left *rows, size_t count,
                               struct dw_error *err)
{
    struct dw_queue *q = source->queue;
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_SWEEP, dw_now());
    q->failed = q->full = false;
    q_run(q, q_use(q, Q_BEGIN));
    for (size_t i = 0; i < count; i++)
        delete_row(source, op, &rows[i]);
    if (!q->failed)
        q_run(q, q_use(q, Q_COMMIT));
    if (!sqlite3_get_autocommit(q->db))
        q_run(q, q_use(q, Q_ROLLBACK));
    if (q->failed)
        q_index_rollback(q);
    q_index_commit(q);
    dw_queue_op_free(op);
    if (q->failed)
        return dw_invalid(err, "adopt", "%.200s: %s; what was adopted cannot be taken out of it",
                          q->path, q->full ? "its disk is full" : "it cannot be written");
    return DW_OK;
}
