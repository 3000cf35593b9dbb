/* core_items.c - items of the durable queue in the hands of workers: claims, leases, their end. */
#include "core_private.h"

#include "dw/log.h"
#include "dw/testing.h"

#include <stdio.h>
#include <string.h>

/* A delayed item whose time is farther away than any delay: the clock was set back. */
static bool is_due(const struct dw_broker *b, const struct service *s, dw_time now)
{
    return s->next_at &&
           (s->next_at <= now || s->next_at - now > b->config->queue.backoff_max_ms);
}

void b_claim(struct dw_broker *b, struct service *s, int64_t mono, dw_time now)
{
    if (b->draining || s->claiming || mono < s->claim_after)
        return;
    if (!s->maybe_ready && !is_due(b, s, now))
        return;
    uint32_t credit = b_free_credit(b, s);
    if (!credit)
        return;
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_CLAIM, now);
    op->n = credit < CLAIM_MAX ? credit : CLAIM_MAX;
    memcpy(op->service, s->name, sizeof op->service);
    s->claiming = true;
    b_queue(b, op);
}

static uint64_t next_random(struct dw_broker *b)
{
    uint64_t z = b->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void b_new_id(struct dw_broker *b, uint8_t id[DW_ID_LEN])
{
    if (b->fill) {
        b->fill(id, DW_ID_LEN);
        return;
    }
    for (int i = 0; i < DW_ID_LEN; i++)
        id[i] = (uint8_t)next_random(b);
}

/* Doubling from backoff_ms up to the longest, a quarter of it random. */
int64_t b_backoff_ms(struct dw_broker *b, int32_t delays)
{
    int64_t wait = b->config->queue.backoff_ms;
    for (int32_t i = 0; i < delays && wait < b->config->queue.backoff_max_ms; i++)
        wait *= 2;
    if (wait > b->config->queue.backoff_max_ms)
        wait = b->config->queue.backoff_max_ms;
    return wait - (int64_t)(next_random(b) % (uint64_t)(wait / 4 + 1));
}

void b_give_back(struct dw_broker *b, const struct service *s, const struct lease *l, dw_time now,
                 bool counted, const char *reason)
{
    if (DW_BUG("lost-worker-keeps-items"))
        return;
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_LATER, now);
    memcpy(op->id, l->id, DW_ID_LEN);
    op->fence = l->fence;
    op->counted = counted;
    memcpy(op->service, s->name, sizeof op->service);
    op->at = now + b_backoff_ms(b, l->delays);
    snprintf(op->reason, sizeof op->reason, "%s", reason);
    b_queue(b, op);
}

/* The worker's lease of that address; NULL when it is not its own (any more). */
struct lease **b_lease_at(struct worker *w, struct dw_slice address)
{
    uint8_t id[DW_ID_LEN];
    uint64_t fence;
    struct lease **at = &w->leases;
    if (!dw_lease_decode(address, id, &fence))
        return NULL;
    while (*at && ((*at)->fence != fence || memcmp((*at)->id, id, DW_ID_LEN) != 0))
        at = &(*at)->next;
    return *at ? at : NULL;
}

struct lease *b_take_lease(struct dw_broker *b, struct worker *w, struct dw_slice address)
{
    struct lease **at = b_lease_at(w, address);
    struct lease *l = at ? *at : NULL;
    if (l) {
        *at = l->next;
        w->in_hand--;
        w->bytes -= l->bytes;
        (*b->m_leases)--;
    }
    return l;
}

static void end_lease(struct dw_broker *b, enum dw_queue_kind how, const struct service *s,
                      const struct lease *l, const char *reason, dw_time now)
{
    if (how == DW_QUEUE_DONE && DW_BUG("done-is-not-written"))
        return;
    struct dw_queue_op *op = dw_queue_op_new(how, now);
    memcpy(op->id, l->id, DW_ID_LEN);
    op->fence = l->fence;
    memcpy(op->service, s->name, sizeof op->service);
    snprintf(op->reason, sizeof op->reason, "%s", reason);
    b_queue(b, op);
}

/* The status a worker gave an item, and why. */
static void finish_put(struct dw_broker *b, const struct service *s, struct lease *l, dw_time now,
                       const struct dw_mdp_message *m)
{
    int status = dw_status_parse(m->body[0]);
    char reason[64] = "";
    if (m->body_count > 1)
        dw_printable(reason, sizeof reason, m->body[1].data, m->body[1].len);
    for (char *c = reason; *c; c++) /* it will stand in JSON */
        if (*c == '"' || *c == '\\')
            *c = '\'';
    if (status >= 400 && status < 500)
        end_lease(b, DW_QUEUE_DEAD, s, l, reason, now);
    else if (status == 300 || status >= 500)
        b_give_back(b, s, l, now, status != 300, reason);
    else /* 200, or a worker that knows nothing of statuses */
        end_lease(b, DW_QUEUE_DONE, s, l, "", now);
}

/* The whole reply to a request whose client may be gone. */
static void finish_asked(struct dw_broker *b, const struct service *s, struct lease *l, dw_time now,
                         const struct dw_mdp_message *m)
{
    b_join(b, &l->parts, m->body, m->body_count);
    if (l->parts.too_long) {
        end_lease(b, DW_QUEUE_DEAD, s, l, "the reply is too long to be kept", now);
        return;
    }
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_REPLY, now);
    memcpy(op->id, l->id, DW_ID_LEN);
    op->fence = l->fence;
    memcpy(op->service, s->name, sizeof op->service);
    op->frames = dw_frames_copy(l->parts.frames.items, l->parts.frames.count);
    b_queue(b, op);
}

void b_finish_lease(struct dw_broker *b, struct worker *w, dw_time now,
                    const struct dw_mdp_message *m)
{
    struct lease *l = b_take_lease(b, w, m->address);
    if (!l)
        return; /* the answer counts for nothing */
    (l->asked ? finish_asked : finish_put)(b, w->service, l, now, m);
    b_free_lease(b, l);
}

void b_deliver(struct dw_broker *b, struct service *s, int64_t mono, dw_time now,
               struct dw_queue_op *op)
{
    s->claiming = false;
    s->maybe_ready = op->status == 200 && op->items_count == op->n;
    s->next_at = op->next_at;
    if (op->status != 200) {
        s->maybe_ready = true;
        s->claim_after = mono + CLAIM_AGAIN_MS;
    }
    for (size_t i = 0; i < op->items_count; i++) {
        struct dw_queue_item *item = &op->items[i];
        struct lease *l = dw_alloc(sizeof *l);
        memcpy(l->id, item->id, DW_ID_LEN);
        l->fence = item->fence;
        l->delays = item->delays;
        l->asked = item->asked;
        l->bytes = item->frames.bytes;
        struct worker *w = b_free_worker_of(b, s);
        if (!w) { /* it left meanwhile; the item has not been tried */
            b_give_back(b, s, l, now, false, "");
            s->maybe_ready = true;
            b_free_lease(b, l);
            continue;
        }
        uint8_t address[DW_LEASE_LEN];
        dw_lease_encode(address, item->id, item->fence);
        b_hand_to_worker(b, w, mono, DW_SLICE(address, sizeof address), &item->frames);
        l->next = w->leases;
        w->leases = l;
        w->in_hand++;
        (*b->m_leases)++;
        b_to_the_end(b, w);
    }
}
