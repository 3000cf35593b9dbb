/* queue_steps.c - what each operation does, inside a transaction that others share. */
#include "queue_private.h"

#include "dw/log.h"
#include "dw/testing.h"

#include <stdio.h>
#include <string.h>

enum {
    FULL_RETRY_SECONDS = 30,
    NUMBERS_AHEAD = 1000,
    CLAIM_BYTES = 16 << 20, /* of items: a claim that has so many is content */
    WAKE_MAX = 1000, /* delayed ones made ready by one claim; the next takes the next */
};

/* ---- frames in a row ---- */

void q_pack(const struct dw_frames *frames, struct dw_buf *out)
{
    dw_buf_u32(out, (uint32_t)frames->count);
    for (size_t i = 0; i < frames->count; i++) {
        dw_buf_u32(out, (uint32_t)frames->items[i].len);
        dw_buf_put(out, frames->items[i].data, frames->items[i].len);
    }
}

bool q_unpack(const void *data, size_t len, struct dw_frames *ret)
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

void q_close_attempt(struct dw_queue *q, const uint8_t attempt[DW_ID_LEN])
{
    sqlite3_stmt *s = q_use(q, Q_FORGET_OPEN);
    q_blob(s, 1, attempt, DW_ID_LEN);
    if (q_step(q, s) == SQLITE_ROW)
        q->totals.open_bytes -= sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
}

void q_forget_attempt(struct dw_queue *q, const uint8_t attempt[DW_ID_LEN])
{
    q_close_attempt(q, attempt);
    sqlite3_stmt *s = q_use(q, Q_FORGET_PARTS);
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

/* Is the item here already?  Then the attempt that brought it again is forgotten. */
bool q_is_here(struct dw_queue *q, struct dw_queue_op *op)
{
    const struct dw_item_header *h = &op->header;
    int64_t row = q_row_of(q, h->id);
    if (!row)
        return false;
    sqlite3_stmt *s = q_use(q, Q_ITEM);
    q_number(s, 1, row);
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
        q_forget_attempt(q, h->attempt);
    else if (here && h->parts) /* the item's own parts, sent again: no unfinished upload */
        q_close_attempt(q, h->attempt);
    return here;
}

bool q_parts_complete(struct dw_queue *q, const struct dw_item_header *h, int64_t *bytes)
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

dw_time q_guest_end(const struct dw_queue *q, dw_time now)
{
    return now + q->config->queue.guest_hours * 3600000;
}

void q_moved(struct dw_queue *q, enum state from, enum state to, int64_t count)
{
    q->totals.states[from] -= count;
    q->totals.states[to] += count;
}

/* Is one that is not dead in front of whatever comes now with that key? */
bool q_is_behind(struct dw_queue *q, const struct dw_item_header *h)
{
    if (dw_all_zero(h->handle, DW_ID_LEN) || DW_BUG("key-without-order"))
        return false;
    return q_front_of(q, h->handle, h->service, NULL) != 0;
}

/* One that was dead already was not in front, and another may be. */
void q_left_front(struct dw_queue *q, struct dw_queue_op *op, const void *handle,
                  const char *service, int64_t row)
{
    if (dw_all_zero(handle, DW_ID_LEN))
        return;
    q_index_take(q, BY_HANDLE, handle, DW_ID_LEN, row);
    if (DW_BUG("next-of-key-forgotten") || q_front_of(q, handle, service, NULL))
        return;
    int64_t next = 0;
    sqlite3_stmt *s = q_use(q, Q_NEXT_OF_KEY);
    q_blob(s, 1, handle, DW_ID_LEN);
    sqlite3_bind_text(s, 2, service, -1, SQLITE_STATIC);
    q_number(s, 3, op->now);
    while (q_step(q, s) == SQLITE_ROW) {
        q_moved(q, BEHIND, (enum state)sqlite3_column_int(s, 0), 1);
        next = sqlite3_column_int64(s, 1);
    }
    sqlite3_reset(s);
    if (next)
        q_index_add(q, BY_HANDLE, handle, DW_ID_LEN, next);
    op->released |= next != 0;
}

/* Numbers are never given twice, also not after a crash: the file says how far they may have gone. */
static int64_t next_row(struct dw_queue *q)
{
    if (q->totals.last_row == q->totals.numbered) {
        q->totals.numbered += NUMBERS_AHEAD;
        sqlite3_stmt *s = q_use(q, Q_NUMBERED);
        q_number(s, 1, q->totals.numbered);
        q_run(q, s);
    }
    return ++q->totals.last_row;
}

enum state q_insert(struct dw_queue *q, struct dw_queue_op *op, const struct dw_item_header *h,
                    int64_t bytes, enum origin origin, dw_time expires)
{
    enum state state = q_is_behind(q, h) ? BEHIND : READY;
    int64_t row = next_row(q);
    DW_AUTO_BUF body = {0};
    dw_buf_init(&body, SIZE_MAX / 2);
    q_pack(&op->frames, &body);
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
    q_number(s, 13, state);
    q_number(s, 14, row);
    q_run(q, s);
    q_index_add(q, BY_ID, h->id, DW_ID_LEN, row);
    if (state == READY && !dw_all_zero(h->handle, DW_ID_LEN))
        q_index_add(q, BY_HANDLE, h->handle, DW_ID_LEN, row);
    q->totals.items++;
    q->totals.states[state]++;
    q->totals.bytes += bytes;
    if (origin != OWN) {
        q->totals.guest_items++;
        q->totals.guest_bytes += bytes;
    }
    op->status = 200;
    return state;
}

static void do_close(struct dw_queue *q, struct dw_queue_op *op)
{
    const struct dw_item_header *h = &op->header;
    int64_t bytes = (int64_t)op->frames.bytes;
    enum seen before = q_seen(q, h);
    if (before == OTHER_PAYLOAD) {
        op->status = 422;
        if (h->parts)
            q_forget_attempt(q, h->attempt);
        return;
    }
    if (q_is_here(q, op))
        return;
    /* It was here and is done.  A filing comes again: only the store knows whether it has it. */
    if (op->guest && before == SAME_PAYLOAD) {
        op->day = dw_day_of(op->now);
        op->status = 200;
        return;
    }
    if (!q_has_room(q, op, bytes, op->guest, h->klass != 0))
        return;
    if (!q_parts_complete(q, h, &bytes)) {
        op->status = 409;
        q_forget_attempt(q, h->attempt);
        return;
    }
    q_insert(q, op, h, bytes, op->guest ? PUT_BY_GUEST : OWN, op->guest ? q_guest_end(q, op->now) : 0);
    if (h->parts)
        q_close_attempt(q, h->attempt);
    q_remember_seen(q, h, op->now);
}

static void do_pending(struct dw_queue *q, struct dw_queue_op *op)
{
    op->status = 200;
    if (q_front_of(q, op->id, NULL, &op->day))
        return;
    sqlite3_stmt *s = q_use(q, Q_PENDING);
    q_blob(s, 1, op->id, DW_ID_LEN);
    op->status = 404;
    if (q_step(q, s) == SQLITE_ROW) {
        op->status = 200;
        op->day = sqlite3_column_int(s, 0);
    }
    sqlite3_reset(s);
}

static void wake(struct dw_queue *q, enum statement which, dw_time mark)
{
    if (DW_BUG("later-is-never"))
        return;
    sqlite3_stmt *s = q_use(q, which);
    q_number(s, 1, mark);
    q_number(s, 2, WAKE_MAX);
    q_run(q, s);
    q_moved(q, DELAYED, READY, sqlite3_changes(q->db));
}

/* Handle and service of a row that is read: they outlive its statement. */
struct key {
    uint8_t handle[DW_ID_LEN];
    char service[DW_SERVICE_MAX + 1];
};

static struct key key_at(struct dw_queue *q, sqlite3_stmt *s, int column)
{
    struct key key;
    q_take(q, s, column, key.handle, sizeof key.handle);
    snprintf(key.service, sizeof key.service, "%s", q_text(s, column + 1));
    return key;
}

static void log_dead(const char *why)
{
    dw_log(DW_ERROR, "queue.dead",
           "an item became a dead letter: %s; see `dengwen queue list dead`", why);
}

static bool read_item(struct dw_queue *q, sqlite3_stmt *s, struct dw_queue_item *item)
{
    struct dw_slice body = q_bytes(s, 5);
    if (!q_unpack(body.data, body.len, &item->frames))
        return false;
    q_take(q, s, 1, item->id, DW_ID_LEN);
    item->fence = (uint64_t)sqlite3_column_int64(s, 2) + !DW_BUG("same-fence");
    item->attempts = sqlite3_column_int(s, 3) + 1;
    item->delays = sqlite3_column_int(s, 4);
    item->asked = sqlite3_column_int(s, 6) == ASKED;
    return true;
}

/* No worker can do it.  Others need not wait for it, and somebody is to look at it. */
static void set_apart(struct dw_queue *q, struct dw_queue_op *op, int64_t row)
{
    static const char why[] = "its body is damaged";
    struct key key = {.service = ""};
    sqlite3_stmt *s = q_use(q, Q_LATER);
    q_number(s, 1, row);
    q_number(s, 2, DEAD);
    q_number(s, 3, 0);
    q_number(s, 4, 0);
    sqlite3_bind_text(s, 5, why, -1, SQLITE_STATIC);
    while (q_step(q, s) == SQLITE_ROW)
        key = key_at(q, s, 0);
    sqlite3_reset(s);
    q_moved(q, READY, DEAD, 1);
    q_left_front(q, op, key.handle, key.service, row);
    log_dead(why);
}

/* Adds to the items; true when some that are ready had to be set apart, and others may be ready. */
static bool take_ready(struct dw_queue *q, struct dw_queue_op *op)
{
    size_t before = op->items_count, room = op->n - before, damaged = 0, bytes = 0;
    int64_t *rows = dw_alloc(op->n * sizeof *rows), *apart = dw_alloc(room * sizeof *apart);
    sqlite3_stmt *s = q_use(q, Q_NEXT);
    sqlite3_bind_text(s, 1, op->service, -1, SQLITE_STATIC);
    q_number(s, 2, (int64_t)room);
    q_number(s, 3, op->now);
    while (op->items_count - before + damaged < room && bytes < CLAIM_BYTES &&
           q_step(q, s) == SQLITE_ROW) {
        struct dw_queue_item *item = &op->items[op->items_count];
        int64_t row = sqlite3_column_int64(s, 0);
        if (!read_item(q, s, item)) {
            apart[damaged++] = row;
            continue;
        }
        rows[op->items_count++] = row;
        bytes += item->frames.bytes;
    }
    sqlite3_reset(s);
    if (bytes >= CLAIM_BYTES)
        op->n = (uint32_t)op->items_count;
    for (size_t i = before; i < op->items_count; i++) {
        s = q_use(q, Q_LEASE);
        q_number(s, 1, rows[i]);
        q_run(q, s);
    }
    if (!DW_BUG("leases-uncounted"))
        q_moved(q, READY, LEASED, (int64_t)(op->items_count - before));
    for (size_t i = 0; i < damaged; i++)
        set_apart(q, op, apart[i]);
    dw_free(rows);
    dw_free(apart);
    return damaged > 0;
}

static void do_claim(struct dw_queue *q, struct dw_queue_op *op)
{
    wake(q, Q_WAKE, op->now);
    /* Nothing is delayed for longer: since then the clock was set back. */
    wake(q, Q_WAKE_FAR, op->now + q->config->queue.backoff_max_ms);
    op->items = dw_alloc(op->n * sizeof *op->items);
    while (take_ready(q, op) && op->items_count < op->n && !q->failed)
        ;
    sqlite3_stmt *s = q_use(q, Q_NEXT_AT);
    if (q_step(q, s) == SQLITE_ROW)
        op->next_at = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    op->status = 200;
}

static void do_read(struct dw_queue *q, struct dw_queue_op *op)
{
    int64_t row = q_row_of(q, op->id);
    sqlite3_stmt *s = q_use(q, Q_READ);
    q_number(s, 1, row);
    q_number(s, 2, (int64_t)op->fence);
    q_number(s, 3, op->n);
    op->status = 404;
    if (q_step(q, s) == SQLITE_ROW) {
        struct dw_slice bytes = q_bytes(s, 0);
        op->frames = dw_frames_copy(&bytes, 1);
        op->status = 200;
    }
    sqlite3_reset(s);
}

/* The lease the operation speaks of, if it still holds. */
bool q_held(struct dw_queue *q, struct dw_queue_op *op, uint8_t attempt[DW_ID_LEN], int64_t *bytes,
            int64_t *attempts)
{
    int64_t row = q_row_of(q, op->id);
    sqlite3_stmt *s = q_use(q, Q_HELD);
    q_number(s, 1, row);
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

void q_delete_item(struct dw_queue *q, struct dw_queue_op *op, const uint8_t id[DW_ID_LEN],
                   const uint8_t attempt[DW_ID_LEN], int64_t bytes)
{
    enum origin origin = OWN;
    enum state state = DEAD;
    struct key key;
    int64_t row = q_row_of(q, id);
    sqlite3_stmt *s = q_use(q, Q_DELETE);
    q_number(s, 1, row);
    if (q_step(q, s) == SQLITE_ROW) {
        origin = (enum origin)sqlite3_column_int(s, 0);
        state = (enum state)sqlite3_column_int(s, 1);
        key = key_at(q, s, 2);
        q->totals.states[state]--;
    }
    sqlite3_reset(s);
    q_index_take(q, BY_ID, id, DW_ID_LEN, row);
    if (state != DEAD && state != BEHIND)
        q_left_front(q, op, key.handle, key.service, row);
    if (!dw_all_zero(attempt, DW_ID_LEN))
        q_forget_attempt(q, attempt);
    q_drained(q, op->now, 1, bytes);
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
    if (q_held(q, op, attempt, &bytes, &attempts)) {
        q_delete_item(q, op, op->id, attempt, bytes);
        q->totals.done++;
    }
}

void q_later(struct dw_queue *q, struct dw_queue_op *op, bool never)
{
    uint8_t attempt[DW_ID_LEN];
    int64_t bytes, attempts;
    if (!q_held(q, op, attempt, &bytes, &attempts))
        return;
    bool dead = never || (op->counted && attempts >= q->config->queue.max_attempts);
    int64_t row = q_row_of(q, op->id);
    sqlite3_stmt *s = q_use(q, Q_LATER);
    q_number(s, 1, row);
    q_number(s, 2, dead ? DEAD : DELAYED);
    q_number(s, 3, !dead && !op->counted);
    q_number(s, 4, op->at);
    sqlite3_bind_text(s, 5, op->reason, -1, SQLITE_STATIC);
    struct key key = {.service = ""};
    while (q_step(q, s) == SQLITE_ROW)
        key = key_at(q, s, 0);
    sqlite3_reset(s);
    q_moved(q, LEASED, dead ? DEAD : DELAYED, 1);
    if (dead) {
        q_left_front(q, op, key.handle, key.service, row);
        log_dead(op->reason);
    }
}

void q_do(struct dw_queue *q, struct dw_queue_op *op)
{
    op->released = false;
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
        q_later(q, op, false);
        break;
    case DW_QUEUE_DEAD:
        q_later(q, op, true);
        break;
    case DW_QUEUE_SWEEP:
        q_sweep(q, op);
        break;
    case DW_QUEUE_ASK:
        q_ask(q, op);
        break;
    case DW_QUEUE_REPLY:
        q_reply(q, op);
        break;
    case DW_QUEUE_FETCH:
        q_fetch(q, op);
        break;
    case DW_QUEUE_FORGET:
        q_forget(q, op);
        break;
    case DW_QUEUE_ADOPT:
        q_adopt(q, op);
        break;
    case DW_QUEUE_ADMIN:
        q_admin(q, op);
        break;
    }
}
