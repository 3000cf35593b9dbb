/* queue_room.c - how much may wait, and when somebody who is refused may come again.
 *
 * Three marks, by rows and by bytes alike: the limit of all; the share of other people's programs;
 * and of each of the two the part from which bulk work is told to wait, so that statutory work never
 * finds the queue full of it.  Whoever is refused is told a time: how long it takes, at the rate of
 * the last seconds, until there is room again and a tenth of the mark more, between two settings. */
#include "queue_private.h"

#include "dw/testing.h"

enum {
    WINDOW_MS = 10000,     /* the rate is that of this window and the one before it */
    FORGOTTEN_MS = 60000,  /* what left earlier says nothing any more */
    DISK_RETRY_SECONDS = 30,
};

static void next_window(struct drain *d, dw_time now)
{
    int64_t age = now - d->began;
    if (age >= 0 && age < WINDOW_MS)
        return;
    bool fresh = age >= 0 && age < FORGOTTEN_MS; /* neither long ago nor a clock set back */
    *d = (struct drain){.began = now,
                        .before_items = fresh ? d->items : 0,
                        .before_bytes = fresh ? d->bytes : 0,
                        .before_ms = fresh ? age : 0};
}

void q_drained(struct dw_queue *q, dw_time now, int64_t items, int64_t bytes)
{
    next_window(&q->drain, now);
    q->drain.items += items;
    q->drain.bytes += bytes;
}

/* Seconds until so much has left; `most` when nothing leaves. */
static int64_t seconds_for(int64_t much, int64_t left, int64_t in_ms, int64_t most)
{
    if (much <= 0)
        return 0;
    if (left <= 0)
        return most;
    double seconds = (double)much * (double)in_ms / 1000 / (double)left;
    return seconds < (double)most ? (int64_t)seconds + 1 : most;
}

static int32_t time_until(struct dw_queue *q, dw_time now, int64_t items, int64_t bytes)
{
    const int64_t least = q->config->queue.retry_min_seconds;
    const int64_t most = q->config->queue.retry_max_seconds;
    struct drain *d = &q->drain;
    next_window(d, now);
    int64_t in_ms = d->before_ms + (now - d->began);
    int64_t a = seconds_for(items, d->before_items + d->items, in_ms, most);
    int64_t b = seconds_for(bytes, d->before_bytes + d->bytes, in_ms, most);
    int64_t seconds = a > b ? a : b;
    return (int32_t)(seconds < least ? least : seconds);
}

/* Refuses what would pass the mark. */
static bool below(struct dw_queue *q, struct dw_queue_op *op, const int64_t have[2],
                  const int64_t mark[2], int64_t bytes)
{
    int64_t over_items = have[0] + 1 - mark[0], over_bytes = have[1] + bytes - mark[1];
    if (over_items <= 0 && over_bytes <= 0)
        return true;
    op->status = 503;
    op->retry_seconds =
        time_until(q, op->now, over_items > 0 ? over_items + mark[0] / 10 : 0,
                   over_bytes > 0 ? over_bytes + mark[1] / 10 : 0);
    return false;
}

static int64_t part_of(int64_t whole, int64_t percent)
{
    return percent == 100 ? whole : whole / 100 * percent + whole % 100 * percent / 100;
}

bool q_has_room(struct dw_queue *q, struct dw_queue_op *op, int64_t bytes, bool guest, bool bulk)
{
    const int64_t max_items = q->config->queue.max_items, max_bytes = q->config->queue.max_bytes;
    const int64_t share = q->config->queue.guest_share_percent;
    const int64_t slow = bulk && !DW_BUG("bulk-not-slowed") ? q->config->queue.slow_percent : 100;
    const int64_t all[2] = {part_of(max_items, slow), part_of(max_bytes, slow)};
    const int64_t guests[2] = {part_of(part_of(max_items, share), slow),
                               part_of(part_of(max_bytes, share), slow)};
    const int64_t have[2] = {q->totals.items, q->totals.bytes};
    const int64_t guests_have[2] = {q->totals.guest_items, q->totals.guest_bytes};
    bool room = !q_disk_is_low(q);
    if (!room) {
        op->status = 503;
        op->retry_seconds = DISK_RETRY_SECONDS;
    }
    room = room && below(q, op, have, all, bytes) &&
           (!guest || below(q, op, guests_have, guests, bytes));
    if (!room)
        (*dw_metric_named(have[0] < max_items && have[1] + bytes <= max_bytes && bulk
                              ? "dengwen_queue_slowed_total"
                              : "dengwen_queue_full_total"))++;
    return room;
}
