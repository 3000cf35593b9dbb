/* queue_steps.c - what each operation does, inside a transaction that others share. */
#include "queue_private.h"

#include "dw/log.h"
#include "dw/testing.h"

#include <stdio.h>
#include <string.h>

enum {
    FULL_RETRY_SECONDS = 30,
    KEEP_PAGES = 4096, /* free ones in the file, for the next items */
    SWEEP_MAX = 1000,  /* expired ones taken out at once */
};

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

bool q_refuse_full(struct dw_queue_op *op)
{
    op->status = 503;
    op->retry_seconds = FULL_RETRY_SECONDS;
    return true;
}

/* ---- operations ---- */

static void forget_attempt(struct dw_queue *q, const uint8_t attempt[DW_ID_LEN])
{
    sqlite3_stmt *s = q_use(q, Q_FORGET_OPEN);
    q_blob(s, 1, attempt, DW_ID_LEN);
    if (q_step(q, s) == SQLITE_ROW)
        q->totals.open_bytes -= sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    s = q_use(q, Q_FORGET_PARTS);
    q_blob(s, 1, attempt, DW_ID_LEN);
    q_run(q, s);
}

static void do_part(struct dw_queue *q, struct dw_queue_op *op)
{
    const struct dw_slice *bytes = &op->frames.items[0];
    int64_t share = q->config->queue.max_bytes / 100 * q->config->queue.open_share_percent;
    if (q_disk_is_low(q) || q->totals.open_bytes + (int64_t)bytes->len > share ||
        q->totals.bytes + q->totals.open_bytes + (int64_t)bytes->len > q->config->queue.max_bytes) {
        q_refuse_full(op);
        return;
    }
    sqlite3_stmt *s = q_use(q, Q_PART);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, op->n);
    q_blob(s, 3, bytes->data, bytes->len);
    q_run(q, s);
    s = q_use(q, Q_OPEN);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, (int64_t)bytes->len);
    q_number(s, 3, op->now);
    q_run(q, s);
    q->totals.open_bytes += (int64_t)bytes->len;
    op->status = 200;
}

/* An Idempotency-Key, as far as we remember. */
enum seen { NEVER, SAME_PAYLOAD, OTHER_PAYLOAD };

static enum seen seen(struct dw_queue *q, const struct dw_item_header *h)
{
    enum seen found = NEVER;
    if (dw_all_zero(h->tok, sizeof h->tok))
        return NEVER;
    sqlite3_stmt *s = q_use(q, Q_SEEN);
    q_blob(s, 1, h->tok, sizeof h->tok);
    if (q_step(q, s) == SQLITE_ROW)
        found = sqlite3_column_bytes(s, 0) == DW_FP_LEN &&
                        memcmp(sqlite3_column_blob(s, 0), h->fp, DW_FP_LEN) == 0
                    ? SAME_PAYLOAD
                    : OTHER_PAYLOAD;
    sqlite3_reset(s);
    return found;
}

static void remember_seen(struct dw_queue *q, const struct dw_item_header *h, dw_time now)
{
    if (dw_all_zero(h->tok, sizeof h->tok))
        return;
    sqlite3_stmt *s = q_use(q, Q_SEE);
    q_blob(s, 1, h->tok, sizeof h->tok);
    q_blob(s, 2, h->fp, sizeof h->fp);
    q_number(s, 3, now + q->config->queue.seen_hours * 3600000);
    q_run(q, s);
    q->totals.seen++; /* an upper bound: a repeated key counts again until the next sweep */
}

/* Is the item here already?  Then the attempt that brought it again is forgotten. */
static bool is_here(struct dw_queue *q, struct dw_queue_op *op)
{
    const struct dw_item_header *h = &op->header;
    sqlite3_stmt *s = q_use(q, Q_ITEM);
    q_blob(s, 1, h->id, DW_ID_LEN);
    bool here = q_step(q, s) == SQLITE_ROW;
    bool same_attempt = false;
    uint8_t attempt[DW_ID_LEN];
    if (here) {
        op->day = sqlite3_column_int(s, 0);
        q_take(q, s, 1, attempt, sizeof attempt);
        same_attempt = memcmp(attempt, h->attempt, DW_ID_LEN) == 0;
        op->status = 200;
    }
    sqlite3_reset(s);
    if (here && h->parts && !same_attempt)
        forget_attempt(q, h->attempt);
    return here;
}

static bool parts_complete(struct dw_queue *q, const struct dw_item_header *h, int64_t *bytes)
{
    if (!h->parts || DW_BUG("parts-unchecked"))
        return true;
    sqlite3_stmt *s = q_use(q, Q_PARTS_OF);
    q_blob(s, 1, h->attempt, DW_ID_LEN);
    bool complete = q_step(q, s) == SQLITE_ROW && sqlite3_column_int64(s, 0) == h->parts &&
                    sqlite3_column_int64(s, 1) == (int64_t)h->parts - 1;
    *bytes += sqlite3_column_int64(s, 2);
    sqlite3_reset(s);
    return complete;
}

/* Other people's programs have a share of the room, so that none of them can keep a filing out. */
static bool has_room(struct dw_queue *q, int64_t bytes, bool guest)
{
    const int64_t max_items = q->config->queue.max_items, max_bytes = q->config->queue.max_bytes;
    const int64_t share = q->config->queue.guest_share_percent;
    if (q_disk_is_low(q) || q->totals.items >= max_items || q->totals.bytes + bytes > max_bytes)
        return false;
    return !guest || (q->totals.guest_items < max_items * share / 100 &&
                      q->totals.guest_bytes + bytes <= max_bytes / 100 * share);
}

static dw_time guest_end(const struct dw_queue *q, dw_time now)
{
    return now + q->config->queue.guest_hours * 3600000;
}

static void insert(struct dw_queue *q, struct dw_queue_op *op, const struct dw_item_header *h,
                   int64_t bytes, enum origin origin, dw_time expires)
{
    DW_AUTO_BUF body = {0};
    dw_buf_init(&body, SIZE_MAX / 2);
    pack(&op->frames, &body);
    op->day = dw_day_of(op->now);
    sqlite3_stmt *s = q_use(q, Q_INSERT);
    q_blob(s, 1, h->id, DW_ID_LEN);
    sqlite3_bind_text(s, 2, h->service, -1, SQLITE_STATIC);
    q_number(s, 3, h->klass);
    q_blob(s, 4, h->handle, DW_ID_LEN);
    q_blob(s, 5, h->attempt, DW_ID_LEN);
    q_number(s, 6, h->parts);
    q_number(s, 7, bytes);
    q_number(s, 8, op->day);
    q_number(s, 9, op->now);
    q_blob(s, 10, body.data, body.len);
    q_number(s, 11, origin);
    q_number(s, 12, expires);
    q_run(q, s);
    q->totals.items++;
    q->totals.bytes += bytes;
    if (origin != OWN) {
        q->totals.guest_items++;
        q->totals.guest_bytes += bytes;
    }
    op->status = 200;
}

static void do_close(struct dw_queue *q, struct dw_queue_op *op)
{
    const struct dw_item_header *h = &op->header;
    int64_t bytes = (int64_t)op->frames.bytes;
    enum seen before = seen(q, h);
    if (before == OTHER_PAYLOAD) {
        op->status = 422;
        if (h->parts)
            forget_attempt(q, h->attempt);
        return;
    }
    if (is_here(q, op))
        return;
    /* It was here and is done.  A filing comes again: only the store knows whether it has it. */
    if (op->guest && before == SAME_PAYLOAD) {
        op->day = dw_day_of(op->now);
        op->status = 200;
        return;
    }
    if (!has_room(q, bytes, op->guest)) {
        q_refuse_full(op);
        return;
    }
    if (!parts_complete(q, h, &bytes)) {
        op->status = 409;
        forget_attempt(q, h->attempt);
        return;
    }
    insert(q, op, h, bytes, op->guest ? PUT_BY_GUEST : OWN, op->guest ? guest_end(q, op->now) : 0);
    if (h->parts) { /* the parts stay; they are no longer an unfinished upload */
        sqlite3_stmt *s = q_use(q, Q_FORGET_OPEN);
        q_blob(s, 1, h->attempt, DW_ID_LEN);
        if (q_step(q, s) == SQLITE_ROW)
            q->totals.open_bytes -= sqlite3_column_int64(s, 0);
        sqlite3_reset(s);
    }
    remember_seen(q, h, op->now);
}

static void do_pending(struct dw_queue *q, struct dw_queue_op *op)
{
    sqlite3_stmt *s = q_use(q, Q_PENDING);
    q_blob(s, 1, op->id, DW_ID_LEN);
    op->status = 404;
    if (q_step(q, s) == SQLITE_ROW) {
        op->status = 200;
        op->day = sqlite3_column_int(s, 0);
    }
    sqlite3_reset(s);
}

static void do_claim(struct dw_queue *q, struct dw_queue_op *op)
{
    sqlite3_stmt *s = q_use(q, Q_WAKE);
    q_number(s, 1, op->now);
    q_run(q, s);
    op->items = dw_alloc(op->n * sizeof *op->items);
    int64_t *rows = dw_alloc(op->n * sizeof *rows);
    s = q_use(q, Q_NEXT);
    sqlite3_bind_text(s, 1, op->service, -1, SQLITE_STATIC);
    q_number(s, 2, op->n);
    q_number(s, 3, op->now);
    while (op->items_count < op->n && q_step(q, s) == SQLITE_ROW) {
        struct dw_queue_item *item = &op->items[op->items_count];
        if (!unpack(sqlite3_column_blob(s, 5), (size_t)sqlite3_column_bytes(s, 5), &item->frames))
            q_io_failed(q, "an item that cannot be unpacked");
        rows[op->items_count] = sqlite3_column_int64(s, 0);
        q_take(q, s, 1, item->id, DW_ID_LEN);
        item->fence = (uint64_t)sqlite3_column_int64(s, 2) + !DW_BUG("same-fence");
        item->attempts = sqlite3_column_int(s, 3) + 1;
        item->delays = sqlite3_column_int(s, 4);
        item->asked = sqlite3_column_int(s, 6) == ASKED;
        op->items_count++;
    }
    sqlite3_reset(s);
    for (size_t i = 0; i < op->items_count; i++) {
        s = q_use(q, Q_LEASE);
        q_number(s, 1, rows[i]);
        q_run(q, s);
    }
    dw_free(rows);
    s = q_use(q, Q_NEXT_AT);
    if (q_step(q, s) == SQLITE_ROW)
        op->next_at = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    op->status = 200;
}

static void do_read(struct dw_queue *q, struct dw_queue_op *op)
{
    sqlite3_stmt *s = q_use(q, Q_READ);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, (int64_t)op->fence);
    q_number(s, 3, op->n);
    op->status = 404;
    if (q_step(q, s) == SQLITE_ROW) {
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
    sqlite3_stmt *s = q_use(q, Q_HELD);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, (int64_t)op->fence);
    bool holds = q_step(q, s) == SQLITE_ROW;
    if (holds) {
        q_take(q, s, 0, attempt, DW_ID_LEN);
        *bytes = sqlite3_column_int64(s, 1);
        *attempts = sqlite3_column_int64(s, 2);
    }
    sqlite3_reset(s);
    op->status = holds ? 200 : 409;
    return holds;
}

void q_delete_item(struct dw_queue *q, const uint8_t id[DW_ID_LEN],
                   const uint8_t attempt[DW_ID_LEN], int64_t bytes)
{
    enum origin origin = OWN;
    sqlite3_stmt *s = q_use(q, Q_DELETE);
    q_blob(s, 1, id, DW_ID_LEN);
    if (q_step(q, s) == SQLITE_ROW) {
        origin = (enum origin)sqlite3_column_int(s, 0);
        q->totals.dead -= sqlite3_column_int(s, 1) == DEAD;
    }
    sqlite3_reset(s);
    if (!dw_all_zero(attempt, DW_ID_LEN))
        forget_attempt(q, attempt);
    q->totals.items--;
    q->totals.bytes -= bytes;
    if (origin != OWN) {
        q->totals.guest_items--;
        q->totals.guest_bytes -= bytes;
    }
}

static void do_done(struct dw_queue *q, struct dw_queue_op *op)
{
    uint8_t attempt[DW_ID_LEN];
    int64_t bytes, attempts;
    if (held(q, op, attempt, &bytes, &attempts))
        q_delete_item(q, op->id, attempt, bytes);
}

static void do_later(struct dw_queue *q, struct dw_queue_op *op, bool never)
{
    uint8_t attempt[DW_ID_LEN];
    int64_t bytes, attempts;
    if (!held(q, op, attempt, &bytes, &attempts))
        return;
    bool dead = never || (op->counted && attempts >= q->config->queue.max_attempts);
    sqlite3_stmt *s = q_use(q, Q_LATER);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, dead ? DEAD : DELAYED);
    q_number(s, 3, !dead && !op->counted);
    q_number(s, 4, DW_BUG("later-is-never") ? INT64_MAX : op->at);
    sqlite3_bind_text(s, 5, op->reason, -1, SQLITE_STATIC);
    q_run(q, s);
    if (dead) {
        q->totals.dead++;
        dw_log(DW_ERROR, "queue.dead",
               "an item became a dead letter: %s; see `dengwen queue list "
               "dead`",
               op->reason);
    }
}

/* ---- requests whose reply is kept ---- */

static void do_ask(struct dw_queue *q, struct dw_queue_op *op)
{
    struct dw_item_header h = {.klass = 1};
    if (!has_room(q, (int64_t)op->frames.bytes, true)) {
        q_refuse_full(op);
        return;
    }
    memcpy(h.id, op->id, DW_ID_LEN);
    memcpy(h.handle, op->id, DW_ID_LEN);
    memcpy(h.service, op->service, sizeof h.service);
    insert(q, op, &h, (int64_t)op->frames.bytes, ASKED, guest_end(q, op->now));
}

/* The request gives its room to the reply. */
static void do_reply(struct dw_queue *q, struct dw_queue_op *op)
{
    static const uint8_t no_attempt[DW_ID_LEN];
    uint8_t attempt[DW_ID_LEN];
    int64_t request_bytes, attempts, bytes = (int64_t)op->frames.bytes;
    if (!held(q, op, attempt, &request_bytes, &attempts))
        return;
    const struct totals *t = &q->totals;
    int64_t max_bytes = q->config->queue.max_bytes;
    if (t->bytes - request_bytes + bytes > max_bytes ||
        t->guest_bytes - request_bytes + bytes >
            max_bytes / 100 * q->config->queue.guest_share_percent) {
        snprintf(op->reason, sizeof op->reason, "no room for the reply");
        do_later(q, op, true);
        return;
    }
    q_delete_item(q, op->id, no_attempt, request_bytes);
    DW_AUTO_BUF body = {0};
    dw_buf_init(&body, SIZE_MAX / 2);
    pack(&op->frames, &body);
    sqlite3_stmt *s = q_use(q, Q_ANSWER);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, bytes);
    q_number(s, 3, guest_end(q, op->now));
    q_blob(s, 4, body.data, body.len);
    q_run(q, s);
    q->totals.bytes += bytes;
    q->totals.guest_bytes += bytes;
    q->totals.guest_items++;
}

static void do_fetch(struct dw_queue *q, struct dw_queue_op *op)
{
    sqlite3_stmt *s = q_use(q, Q_ANSWERED);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, op->now);
    op->status = 400;
    if (q_step(q, s) == SQLITE_ROW) {
        if (!unpack(sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0), &op->frames))
            q_io_failed(q, "a reply that cannot be unpacked");
        op->status = 200;
    }
    sqlite3_reset(s);
    if (op->status == 200)
        return;
    s = q_use(q, Q_ASKED);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, op->now);
    if (q_step(q, s) == SQLITE_ROW) {
        op->status = sqlite3_column_int(s, 0) == DEAD ? 500 : 300;
        if (op->status == 500)
            op->text = dw_strdup(q_text(s, 1));
    }
    sqlite3_reset(s);
}

static void forget_answer(struct dw_queue *q, const uint8_t id[DW_ID_LEN])
{
    sqlite3_stmt *s = q_use(q, Q_FORGET_ANSWER);
    q_blob(s, 1, id, DW_ID_LEN);
    if (q_step(q, s) == SQLITE_ROW) {
        int64_t bytes = sqlite3_column_int64(s, 0);
        q->totals.bytes -= bytes;
        q->totals.guest_bytes -= bytes;
        q->totals.guest_items--;
    }
    sqlite3_reset(s);
}

static void do_forget(struct dw_queue *q, struct dw_queue_op *op)
{
    static const uint8_t no_attempt[DW_ID_LEN];
    int64_t bytes = -1;
    sqlite3_stmt *s = q_use(q, Q_ASKED);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, 0);
    if (q_step(q, s) == SQLITE_ROW)
        bytes = sqlite3_column_int64(s, 2);
    sqlite3_reset(s);
    if (bytes >= 0) /* whoever has it in hand finds the lease gone */
        q_delete_item(q, op->id, no_attempt, bytes);
    forget_answer(q, op->id);
    op->status = 200;
}

/* ---- sweeping ---- */

struct old {
    uint8_t id[DW_ID_LEN], attempt[DW_ID_LEN];
    int64_t bytes;
};

static size_t read_old(struct dw_queue *q, enum statement which, dw_time now, struct old *old)
{
    size_t count = 0;
    sqlite3_stmt *s = q_use(q, which);
    q_number(s, 1, now);
    q_number(s, 2, SWEEP_MAX);
    while (count < SWEEP_MAX && q_step(q, s) == SQLITE_ROW) {
        struct old *o = &old[count++];
        q_take(q, s, 0, o->id, DW_ID_LEN);
        if (which != Q_OLD_ITEMS)
            continue;
        q_take(q, s, 1, o->attempt, DW_ID_LEN);
        o->bytes = sqlite3_column_int64(s, 2);
    }
    sqlite3_reset(s);
    return count;
}

/* A request and its reply go, as whoever asked knew; an item that was put becomes a dead letter, as
 * nobody else would tell. */
static void forget_expired(struct dw_queue *q, dw_time now)
{
    struct old *old = dw_alloc(SWEEP_MAX * sizeof *old);
    size_t count = read_old(q, Q_OLD_ITEMS, now, old);
    for (size_t i = 0; i < count; i++)
        q_delete_item(q, old[i].id, old[i].attempt, old[i].bytes);
    *dw_metric_named("dengwen_queue_expired_total") += (long)count;
    count = read_old(q, Q_OLD_ANSWERS, now, old);
    for (size_t i = 0; i < count; i++)
        forget_answer(q, old[i].id);
    dw_free(old);
    sqlite3_stmt *s = q_use(q, Q_EXPIRE);
    q_number(s, 1, now);
    q_number(s, 2, SWEEP_MAX);
    q_run(q, s);
    q->totals.dead += sqlite3_changes(q->db);
}

/* Gives room that items no longer need back to the disk, a little at a time. */
static void shrink(struct dw_queue *q)
{
    sqlite3_stmt *s = q_use(q, Q_FREE_PAGES);
    int64_t free_pages = q_step(q, s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    if (free_pages > (q->reserve_held ? KEEP_PAGES : 0))
        q_run(q, q_use(q, Q_SHRINK));
}

static void do_sweep(struct dw_queue *q, struct dw_queue_op *op)
{
    uint8_t old[100][DW_ID_LEN];
    size_t count = 0;
    sqlite3_stmt *s = q_use(q, Q_OLD_OPEN);
    q_number(s, 1, op->now - q->config->queue.open_ttl_seconds * 1000);
    while (count < DW_COUNT(old) && q_step(q, s) == SQLITE_ROW)
        q_take(q, s, 0, old[count++], DW_ID_LEN);
    sqlite3_reset(s);
    for (size_t i = 0; i < count; i++)
        forget_attempt(q, old[i]);
    s = q_use(q, Q_OLD_SEEN);
    q_number(s, 1, op->now);
    q_run(q, s);
    q->totals.seen -= sqlite3_changes(q->db);
    if (q->totals.seen > q->config->queue.seen_max) {
        s = q_use(q, Q_OLDEST_SEEN);
        q_number(s, 1, q->totals.seen - q->config->queue.seen_max);
        q_run(q, s);
        q->totals.seen -= sqlite3_changes(q->db);
    }
    forget_expired(q, op->now);
    shrink(q);
    op->status = 200;
}

void q_do(struct dw_queue *q, struct dw_queue_op *op)
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
    case DW_QUEUE_ASK:
        do_ask(q, op);
        break;
    case DW_QUEUE_REPLY:
        do_reply(q, op);
        break;
    case DW_QUEUE_FETCH:
        do_fetch(q, op);
        break;
    case DW_QUEUE_FORGET:
        do_forget(q, op);
        break;
    case DW_QUEUE_ADMIN:
        q_admin(q, op);
        break;
    }
}
