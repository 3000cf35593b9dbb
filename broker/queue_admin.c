/* queue_admin.c - the queue's operations for people: facts of the envelope, never contents. */
#include "queue_private.h"

#include <stdio.h>
#include <string.h>

enum { LIST_MAX = 1000 };

static const char *const state_names[] = {
    [READY] = "ready", [LEASED] = "leased", [DELAYED] = "delayed", [DEAD] = "dead",
    [BEHIND] = "behind"};

/* ---- administration: envelope facts only ---- */

static int64_t oldest_seconds(struct dw_queue *q, dw_time now)
{
    int64_t oldest = 0;
    if (q->totals.items == q->totals.states[DEAD])
        return 0;
    sqlite3_stmt *s = q_use(q, Q_OLDEST);
    q_number(s, 1, q->totals.oldest);
    if (q_step(q, s) == SQLITE_ROW) {
        q->totals.oldest = sqlite3_column_int64(s, 0);
        oldest = (now - sqlite3_column_int64(s, 1)) / 1000;
    }
    sqlite3_reset(s);
    return oldest > 0 ? oldest : 0;
}

void q_count_from_zero(struct dw_queue *q)
{
    static const int64_t microseconds[] = {100,   200,   500,    1000,   2000,   5000,
                                           10000, 20000, 50000, 100000, 1000000};
    static const int64_t sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
    dw_histogram_init(&q->commit_time, "dengwen_queue_commit_microseconds", microseconds,
                      DW_COUNT(microseconds));
    dw_histogram_init(&q->batch_size, "dengwen_queue_batch_operations", sizes, DW_COUNT(sizes));
}

void q_tell(struct dw_queue *q, dw_time now)
{
    enum { EVERY_MS = 1000 };
    int64_t mono = dw_monotonic_ms();
    if (mono - q->told_at < EVERY_MS)
        return;
    q->told_at = mono;
    *dw_metric_named("dengwen_queue_items") = q->totals.items;
    *dw_metric_named("dengwen_queue_bytes") = q->totals.bytes;
    *dw_metric_named("dengwen_queue_open_bytes") = q->totals.open_bytes;
    *dw_metric_named("dengwen_queue_guest_items") = q->totals.guest_items;
    *dw_metric_named("dengwen_queue_guest_bytes") = q->totals.guest_bytes;
    *dw_metric_named("dengwen_queue_done_total") = q->totals.done;
    *dw_metric_named("dengwen_queue_dead") = q->totals.states[DEAD];
    *dw_metric_named("dengwen_queue_oldest_seconds") = oldest_seconds(q, now);
}

/* The bound of the bucket in which the commit in the middle is; the last one has none. */
static int64_t commit_p50(const struct dw_queue *q)
{
    const struct dw_histogram *h = &q->commit_time;
    for (size_t i = 0; i < h->count; i++)
        if (*h->buckets[i] * 2 >= *h->all)
            return *h->all ? h->bounds[i] : 0;
    return h->bounds[h->count - 1];
}

static void admin_stats(struct dw_queue *q, struct dw_queue_op *op, struct dw_buf *out)
{
    dw_buf_str(out, "{");
    for (int i = 0; i < STATES; i++)
        dw_buf_printf(out, "\"%s\":%lld,", state_names[i], (long long)q->totals.states[i]);
    dw_buf_printf(out,
                  "\"items\":%lld,\"bytes\":%lld,\"open_bytes\":%lld,\"max_bytes\":%lld,"
                  "\"max_items\":%lld,\"guest_items\":%lld,\"guest_bytes\":%lld,"
                  "\"oldest_seconds\":%lld,\"accepted\":%lld,\"done\":%lld,\"commits\":%lld,"
                  "\"commit_p50_microseconds\":%lld}",
                  (long long)q->totals.items, (long long)q->totals.bytes,
                  (long long)q->totals.open_bytes, (long long)q->config->queue.max_bytes,
                  (long long)q->config->queue.max_items,
                  (long long)q->totals.guest_items, (long long)q->totals.guest_bytes,
                  (long long)oldest_seconds(q, op->now),
                  (long long)*dw_metric_named("dengwen_queue_accepted_total"),
                  (long long)q->totals.done,
                  (long long)*dw_metric_named("dengwen_queue_commits_total"),
                  (long long)commit_p50(q));
}

static void write_row(struct dw_queue *q, sqlite3_stmt *s, struct dw_buf *out)
{
    char text[2 * DW_ID_LEN + 1], day[DW_DAY_TEXT];
    uint8_t id[DW_ID_LEN];
    q_take(q, s, 0, id, sizeof id);
    dw_buf_printf(out,
                  "{\"id\":\"%s\",\"service\":\"%s\",\"state\":\"%s\",\"attempts\":%d,\"parts\":%d,"
                  "\"bytes\":%lld,\"day\":\"%s\",\"reason\":\"%s\"}",
                  dw_hex(text, id, sizeof id), q_text(s, 1),
                  state_names[sqlite3_column_int(s, 2) % STATES], sqlite3_column_int(s, 3),
                  sqlite3_column_int(s, 4), (long long)sqlite3_column_int64(s, 5),
                  dw_day_format(sqlite3_column_int(s, 6), day), q_text(s, 7));
}

static void admin_rows(struct dw_queue *q, sqlite3_stmt *s, struct dw_buf *out, bool list)
{
    bool first = true;
    if (list)
        dw_buf_str(out, "[");
    while (q_step(q, s) == SQLITE_ROW) {
        dw_buf_str(out, first ? "" : ",\n");
        write_row(q, s, out);
        first = false;
    }
    sqlite3_reset(s);
    if (list)
        dw_buf_str(out, "]");
}

static void admin_list(struct dw_queue *q, struct dw_queue_op *op, struct dw_buf *out)
{
    int state = -1;
    for (int i = 0; i < STATES; i++)
        if (strcmp(op->words[1], state_names[i]) == 0)
            state = i;
    if (state < 0 && *op->words[1]) {
        op->status = 422;
        dw_buf_str(out, "expected ready, leased, delayed, dead or behind");
        return;
    }
    sqlite3_stmt *s =
        q_use(q, state < 0 ? Q_LIST : (enum statement)((int)Q_LIST_STATE + state));
    q_number(s, 1, LIST_MAX);
    admin_rows(q, s, out, true);
}

/* The row as it is, for the answer; false when there is none. */
static bool show(struct dw_queue *q, struct dw_queue_op *op, const uint8_t id[DW_ID_LEN],
                 struct dw_buf *out)
{
    int64_t row = q_row_of(q, id);
    sqlite3_stmt *s = q_use(q, Q_SHOW);
    q_number(s, 1, row);
    admin_rows(q, s, out, false);
    if (out->len)
        return true;
    op->status = 404;
    dw_buf_str(out, "no such item");
    return false;
}

static void refuse(struct dw_queue_op *op, struct dw_buf *out, const char *why)
{
    op->status = 409;
    dw_buf_clear(out);
    dw_buf_str(out, why);
}

/* A delayed one is in front of its key; a dead one has lost its place. */
static void revive(struct dw_queue *q, struct dw_queue_op *op, const uint8_t id[DW_ID_LEN],
                   struct dw_buf *out)
{
    struct dw_item_header key = {.service = ""};
    enum state before = READY;
    int64_t row = q_row_of(q, id);
    sqlite3_stmt *s = q_use(q, Q_STATE);
    q_number(s, 1, row);
    if (q_step(q, s) == SQLITE_ROW) {
        before = (enum state)sqlite3_column_int(s, 0);
        q_take(q, s, 1, key.handle, DW_ID_LEN);
        snprintf(key.service, sizeof key.service, "%s", q_text(s, 2));
    }
    sqlite3_reset(s);
    if (before != DEAD && before != DELAYED) {
        refuse(op, out, "the item is not dead or delayed");
        return;
    }
    enum state after = before == DEAD && q_is_behind(q, &key) ? BEHIND : READY;
    s = q_use(q, Q_RETRY);
    q_number(s, 1, row);
    q_number(s, 2, after);
    q_run(q, s);
    if (row < q->totals.oldest)
        q->totals.oldest = row;
    if (before == DEAD && after == READY && !dw_all_zero(key.handle, DW_ID_LEN))
        q_index_add(q, BY_HANDLE, key.handle, DW_ID_LEN, row);
    q_moved(q, before, after, 1);
}

/* Only what is dead: a live item somebody may be about to finish. */
static void drop(struct dw_queue *q, struct dw_queue_op *op, const uint8_t id[DW_ID_LEN],
                 struct dw_buf *out)
{
    uint8_t attempt[DW_ID_LEN] = {0};
    int64_t bytes = 0;
    if (!strstr(dw_buf_text(out), "\"state\":\"dead\"")) {
        refuse(op, out, "only dead letters can be dropped");
        return;
    }
    int64_t row = q_row_of(q, id);
    sqlite3_stmt *s = q_use(q, Q_ITEM);
    q_number(s, 1, row);
    if (q_step(q, s) == SQLITE_ROW) {
        q_take(q, s, 1, attempt, sizeof attempt);
        bytes = sqlite3_column_int64(s, 2);
    }
    sqlite3_reset(s);
    q_delete_item(q, op, id, attempt, bytes);
}

static void admin_item(struct dw_queue *q, struct dw_queue_op *op, struct dw_buf *out)
{
    uint8_t id[DW_ID_LEN];
    if (!dw_unhex(id, sizeof id, op->words[1])) {
        op->status = 422;
        dw_buf_str(out, "expected an item id of 32 hex digits");
        return;
    }
    if (!show(q, op, id, out))
        return;
    if (strcmp(op->words[0], "retry") == 0)
        revive(q, op, id, out);
    else if (strcmp(op->words[0], "drop") == 0)
        drop(q, op, id, out);
}

void q_admin(struct dw_queue *q, struct dw_queue_op *op)
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
