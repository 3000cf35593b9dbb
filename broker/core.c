/* core.c - the broker's step function: its state, what it wants done, messages, finished operations
 * of the queue, and time. */
#include "core_private.h"

#include "dw/testing.h"

#include <stdio.h>
#include <string.h>

struct dw_broker *dw_broker_new(const struct dw_config *config, uint64_t seed)
{
    struct dw_broker *b = dw_alloc(sizeof *b);
    b->config = config;
    b->random = seed;
    b->acts_end = &b->acts;
    b->m_requests = dw_metric_named("dengwen_broker_requests_total");
    b->m_replies = dw_metric_named("dengwen_broker_replies_total");
    b->m_cut = dw_metric_named("dengwen_broker_cut_total");
    b->m_workers = dw_metric_named("dengwen_broker_workers");
    b->m_leases = dw_metric_named("dengwen_broker_leases");
    b->m_waiting = dw_metric_named("dengwen_broker_waiting");
    b->m_expired = dw_metric_named("dengwen_broker_expired_total");
    b->m_accepted = dw_metric_named("dengwen_queue_accepted_total");
    b->m_services = dw_metric_named("dengwen_broker_services");
    return b;
}

void dw_broker_randomness(struct dw_broker *b, dw_broker_fill *fill)
{
    b->fill = fill;
}

void b_free_request(struct dw_broker *b, struct request *r)
{
    b_forget_joined(b, &r->parts);
    dw_frames_free(&r->body);
    dw_free(r);
}

void dw_act_free(struct dw_act *act)
{
    dw_frames_free(&act->frames);
    dw_queue_op_free(act->op);
    dw_free(act);
}

static void free_op(struct dw_queue_op *op)
{
    dw_free(op->context);
    op->context = NULL;
    dw_queue_op_free(op);
}

void b_free_lease(struct dw_broker *b, struct lease *l)
{
    if (l)
        b_forget_joined(b, &l->parts);
    dw_free(l);
}

void b_free_worker(struct dw_broker *b, struct worker *w)
{
    while (w->requests) {
        struct request *r = w->requests;
        w->requests = r->next;
        b_free_request(b, r);
    }
    while (w->leases) {
        struct lease *l = w->leases;
        w->leases = l->next;
        b_free_lease(b, l);
    }
    dw_free(w);
}

void dw_broker_free(struct dw_broker *b)
{
    while (b->workers) {
        struct worker *w = b->workers;
        b->workers = w->next;
        b_free_worker(b, w);
    }
    while (b->services) {
        struct service *s = b->services;
        b->services = s->next;
        while (s->waiting) {
            struct request *r = s->waiting;
            s->waiting = r->next;
            b_free_request(b, r);
        }
        dw_free(s);
    }
    while (b->refused) {
        struct dw_queue_op *op = b->refused;
        b->refused = op->next;
        free_op(op);
    }
    while (b->acts) {
        struct dw_act *act = b->acts;
        b->acts = act->next;
        dw_act_free(act);
    }
    dw_free(b);
}

struct dw_act *dw_broker_acts(struct dw_broker *b)
{
    struct dw_act *acts = b->acts;
    b->acts = NULL;
    b->acts_end = &b->acts;
    return acts;
}

/* ---- acting ---- */

static struct dw_act *act(struct dw_broker *b, enum dw_act_kind kind, const struct dw_peer *to)
{
    struct dw_act *a = dw_alloc(sizeof *a);
    a->kind = kind;
    if (to)
        a->to = *to;
    *b->acts_end = a;
    b->acts_end = &a->next;
    return a;
}

void b_send_frames(struct dw_broker *b, const struct dw_peer *to, const struct dw_slice *frames,
                   size_t count)
{
    act(b, DW_ACT_SEND, to)->frames = dw_frames_copy(frames, count);
}

void b_queue(struct dw_broker *b, struct dw_queue_op *op)
{
    op->next = NULL;
    op->bytes = op->frames.bytes + sizeof *op + sizeof(struct context);
    b->submitted_bytes += op->bytes;
    act(b, DW_ACT_QUEUE, NULL)->op = op;
}

bool b_disk_is_behind(const struct dw_broker *b)
{
    return b->submitted_bytes >= (size_t)b->config->broker.max_waiting_bytes &&
           !DW_BUG("unbounded-waiting");
}

void b_cut(struct dw_broker *b, const struct dw_peer *peer, const char *why)
{
    act(b, DW_ACT_CUT, peer)->why = why;
    (*b->m_cut)++;
}

void b_refuse(struct dw_broker *b, const struct dw_peer *peer, struct dw_slice service,
              const char *why)
{
    const struct dw_label labels[] = {{"role", dw_role_word(peer->role)},
                                      {"service", dw_service_word(service)}};
    (*dw_metric_with("dengwen_broker_refused_total", labels, DW_COUNT(labels)))++;
    b_cut(b, peer, why);
}

/* ---- messages ---- */

void dw_broker_message(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
                       const struct dw_slice *frames, size_t count)
{
    struct dw_mdp_message m;
    const char *why = "";
    struct worker *w = b_worker_of(b, from);
    if (w && w->peer.connection != from->connection) { /* a routing id is not who one is */
        b_lose_worker(b, w, now, "another has its routing id");
        w = NULL;
    }
    bool valid = dw_mdp_parse(frames, count, &m, &why) == DW_OK;
    if (valid && m.unexpected && !m.worker) { /* nothing to disconnect a client with */
        valid = false;
        why = "a client sent what only a broker sends";
    }
    if (!valid) {
        if (w)
            b_lose_worker(b, w, now, "the worker broke the protocol");
        b_cut(b, from, why);
        return;
    }
    if (m.worker)
        b_on_worker(b, mono, now, from, &m);
    else
        b_on_call(b, mono, now, from, &m);
}

/* ---- finished queue operations ---- */

/* Finished, or wanted again: does this have to happen, whatever the disk says now? */
static bool must_happen(const struct dw_queue_op *op)
{
    return op->kind == DW_QUEUE_DONE || op->kind == DW_QUEUE_LATER || op->kind == DW_QUEUE_DEAD ||
           op->kind == DW_QUEUE_REPLY;
}

static void keep_for_later(struct dw_broker *b, int64_t mono, dw_time now, struct dw_queue_op *op)
{
    if (op->kind == DW_QUEUE_REPLY) { /* not kept in memory: the request is worked on again */
        dw_frames_free(&op->frames);
        op->kind = DW_QUEUE_LATER;
        op->at = now + b_backoff_ms(b, 0);
        snprintf(op->reason, sizeof op->reason, "the disk was full");
    }
    op->next = b->refused;
    b->refused = op;
    b->refused_again_at = mono + RETRY_FULL_MS;
}

/* A finished operation may have made an item ready. */
static void look_again(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_queue_op *op)
{
    const char *service = op->kind == DW_QUEUE_CLOSE ? op->header.service : op->service;
    bool everywhere = (op->kind == DW_QUEUE_ADMIN && strcmp(op->words[0], "retry") == 0) ||
                      (op->kind == DW_QUEUE_ADOPT && op->n) || (op->released && !*service);
    if (!everywhere && !op->released && op->kind != DW_QUEUE_CLAIM && op->kind != DW_QUEUE_CLOSE &&
        op->kind != DW_QUEUE_ASK && op->kind != DW_QUEUE_LATER)
        return;
    for (struct service *s = b->services; s; s = s->next) {
        if (!everywhere && strcmp(s->name, service) != 0)
            continue;
        s->maybe_ready |= op->kind != DW_QUEUE_CLAIM; /* of a delayed one the claim tells when */
        b_hand_out(b, s, mono, now);
    }
}

void dw_broker_finished(struct dw_broker *b, int64_t mono, dw_time now, struct dw_queue_op *op)
{
    b->submitted_bytes -= op->bytes;
    op->bytes = 0;
    if (op->context)
        b_answer(b, op, op->context);
    if (must_happen(op) && op->status == 503 && !DW_BUG("refused-is-forgotten")) {
        keep_for_later(b, mono, now, op);
        return;
    }
    if (op->kind == DW_QUEUE_CLAIM)
        b_deliver(b, b_service_named(b, dw_slice_of(op->service)), mono, now, op);
    if ((op->kind == DW_QUEUE_CLOSE || op->kind == DW_QUEUE_ASK) && op->status == 200)
        (*b->m_accepted)++;
    if (op->kind == DW_QUEUE_SWEEP && op->n)
        b->swept_at = mono - SWEEP_MS; /* the next tick goes on */
    look_again(b, mono, now, op);
    free_op(op);
}

/* ---- time ---- */

void dw_broker_tick(struct dw_broker *b, int64_t mono, dw_time now)
{
    int64_t interval = b->config->broker.heartbeat_ms;
    for (struct worker *w = b->workers, *next; w; w = next) {
        next = w->next;
        if (w->unreachable || mono - w->heard_at > interval * b->config->broker.liveness)
            b_lose_worker(b, w, now,
                          w->unreachable ? "the worker is gone" : "the worker fell silent");
        else if (mono - w->said_at >= interval)
            b_tell_worker(b, w, mono, DW_MDP_HEARTBEAT);
    }
    for (struct service *s = b->services; s; s = s->next) {
        b_expire_waiting(b, s, mono);
        b_hand_out(b, s, mono, now);
    }
    b_forget_services(b);
    if (b->refused && mono >= b->refused_again_at) {
        struct dw_queue_op *op = b->refused;
        b->refused = NULL;
        while (op) {
            struct dw_queue_op *next = op->next;
            b_queue(b, op);
            op = next;
        }
    }
    if (mono - b->swept_at >= SWEEP_MS) {
        b->swept_at = mono;
        b_queue(b, dw_queue_op_new(DW_QUEUE_SWEEP, now));
    }
}

void dw_broker_drain(struct dw_broker *b, int64_t mono)
{
    b->draining = true;
    for (struct worker *w = b->workers; w; w = w->next)
        b_tell_worker(b, w, mono, DW_MDP_DISCONNECT);
}
