/* core.c - the broker's step function.
 *
 * State: services with requests that wait; workers with their credit; calls and leases in a worker's
 * hands.  All lists are short by construction: waiting requests and credit are bounded. */
#include "dw/broker.h"

#include "dw/log.h"
#include "dw/process.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HANDLE_LEN = 8,       /* client address that a worker echoes */
    CALL_ECHO_MAX = 32,   /* a first body frame longer than this is no call number */
    CLAIM_MAX = 32,       /* items taken by one claim */
    RETRY_FULL_MS = 1000, /* a queue operation that the disk refused is tried again */
    SWEEP_MS = 10000,
    CLAIM_AGAIN_MS = 1000, /* a claim that failed; a worker that waits looks again in any case */
};

/* A request on its way: waiting in a service, or in a worker's hands. */
struct request {
    struct request *next;
    uint64_t handle;
    struct dw_peer client;
    struct dw_frames body;
    int64_t expires;
};

struct lease {
    struct lease *next;
    uint8_t id[DW_ID_LEN];
    uint64_t fence;
    int32_t delays;
};

struct worker {
    struct worker *next;
    struct dw_peer peer;
    struct service *service;
    uint32_t credit, in_hand;
    bool unreachable; /* its connection is gone; the next tick takes it out */
    int64_t heard_at, said_at;
    struct request *requests;
    struct lease *leases;
};

struct service {
    struct service *next;
    char name[DW_SERVICE_MAX + 1];
    bool durable;
    struct request *waiting, **waiting_end;
    int64_t waiting_count;
    /* Durable ones: is a claim under way, might there be something, when comes the next delayed. */
    bool claiming, maybe_ready;
    dw_time next_at;
    int64_t claim_after;
};

struct dw_broker {
    const struct dw_config *config;
    uint64_t random;
    uint64_t last_handle;
    size_t waiting_bytes;
    struct service *services;
    struct worker *workers;
    struct dw_queue_op *refused; /* done, later and dead that the disk did not take */
    int64_t refused_again_at, swept_at;
    bool draining;
    struct dw_act *acts, **acts_end;
    dw_metric *m_requests, *m_replies, *m_refused, *m_cut, *m_workers, *m_leases, *m_waiting,
        *m_expired, *m_accepted, *m_services;
};

/* What a queue operation was for. */
struct context {
    bool for_client; /* answer this client */
    struct dw_peer client;
    char service[DW_SERVICE_MAX + 1];
    uint8_t call[CALL_ECHO_MAX];
    size_t call_len;
};

struct dw_broker *dw_broker_new(const struct dw_config *config, uint64_t seed)
{
    struct dw_broker *b = dw_alloc(sizeof *b);
    b->config = config;
    b->random = seed;
    b->acts_end = &b->acts;
    b->m_requests = dw_metric_named("dengwen_broker_requests_total");
    b->m_replies = dw_metric_named("dengwen_broker_replies_total");
    b->m_refused = dw_metric_named("dengwen_broker_refused_total");
    b->m_cut = dw_metric_named("dengwen_broker_cut_total");
    b->m_workers = dw_metric_named("dengwen_broker_workers");
    b->m_leases = dw_metric_named("dengwen_broker_leases");
    b->m_waiting = dw_metric_named("dengwen_broker_waiting");
    b->m_expired = dw_metric_named("dengwen_broker_expired_total");
    b->m_accepted = dw_metric_named("dengwen_queue_accepted_total");
    b->m_services = dw_metric_named("dengwen_broker_services");
    return b;
}

static void free_request(struct request *r)
{
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

static void free_worker(struct worker *w)
{
    while (w->requests) {
        struct request *r = w->requests;
        w->requests = r->next;
        free_request(r);
    }
    while (w->leases) {
        struct lease *l = w->leases;
        w->leases = l->next;
        dw_free(l);
    }
    dw_free(w);
}

void dw_broker_free(struct dw_broker *b)
{
    while (b->workers) {
        struct worker *w = b->workers;
        b->workers = w->next;
        free_worker(w);
    }
    while (b->services) {
        struct service *s = b->services;
        b->services = s->next;
        while (s->waiting) {
            struct request *r = s->waiting;
            s->waiting = r->next;
            free_request(r);
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

static void send_frames(struct dw_broker *b, const struct dw_peer *to, const struct dw_slice *frames,
                        size_t count)
{
    act(b, DW_ACT_SEND, to)->frames = dw_frames_copy(frames, count);
}

static void queue(struct dw_broker *b, struct dw_queue_op *op)
{
    op->next = NULL;
    act(b, DW_ACT_QUEUE, NULL)->op = op;
}

static void cut(struct dw_broker *b, const struct dw_peer *peer, const char *why)
{
    act(b, DW_ACT_CUT, peer)->why = why;
    (*b->m_cut)++;
}

static void to_worker(struct dw_broker *b, struct worker *w, int64_t now, uint8_t command,
                      struct dw_slice address, const struct dw_slice *body, size_t count)
{
    struct dw_slice *frames = dw_alloc((5 + count) * sizeof *frames);
    size_t n = 0;
    frames[n++] = DW_SLICE("", 0);
    frames[n++] = dw_slice_of(DW_MDP_WORKER);
    frames[n++] = DW_SLICE(&command, 1);
    if (command == DW_MDP_REQUEST) {
        frames[n++] = address;
        frames[n++] = DW_SLICE("", 0);
        for (size_t i = 0; i < count; i++)
            frames[n++] = body[i];
    }
    send_frames(b, &w->peer, frames, n);
    dw_free(frames);
    w->said_at = now;
}

/* A reply to a client: what it sent as its first body frame comes back as the first. */
static void to_client(struct dw_broker *b, const struct dw_peer *client, struct dw_slice service,
                      struct dw_slice call, const struct dw_slice *payload, size_t count)
{
    struct dw_slice *frames = dw_alloc((4 + count) * sizeof *frames);
    size_t n = 0;
    frames[n++] = DW_SLICE("", 0);
    frames[n++] = dw_slice_of(DW_MDP_CLIENT);
    frames[n++] = service;
    if (call.data)
        frames[n++] = call;
    for (size_t i = 0; i < count; i++)
        frames[n++] = payload[i];
    send_frames(b, client, frames, n);
    dw_free(frames);
    (*b->m_replies)++;
}

static void status_to_client(struct dw_broker *b, const struct dw_peer *client,
                             struct dw_slice service, struct dw_slice call, const char *status)
{
    struct dw_slice payload = dw_slice_of(status);
    to_client(b, client, service, call, &payload, 1);
}

static struct dw_slice call_of(const struct dw_slice *body, size_t count)
{
    return count && body[0].len <= CALL_ECHO_MAX ? body[0] : DW_SLICE("", 0);
}

/* ---- requests that wait ---- */

static struct request *first_waiting(struct dw_broker *b, struct service *s)
{
    struct request *r = s->waiting;
    s->waiting = r->next;
    if (!s->waiting)
        s->waiting_end = &s->waiting;
    s->waiting_count--;
    b->waiting_bytes -= r->body.bytes;
    (*b->m_waiting)--;
    return r;
}

static void count_waiting(struct dw_broker *b, struct service *s, const struct request *r)
{
    s->waiting_count++;
    b->waiting_bytes += r->body.bytes;
    (*b->m_waiting)++;
}

/* ---- services and workers ---- */

static struct service *service_named(struct dw_broker *b, struct dw_slice name)
{
    struct service *s = b->services;
    while (s && !dw_slice_is(name, s->name))
        s = s->next;
    if (!s) {
        s = dw_alloc(sizeof *s);
        memcpy(s->name, name.data, name.len);
        s->durable = dw_is_durable(name);
        s->maybe_ready = true;
        s->waiting_end = &s->waiting;
        s->next = b->services;
        b->services = s;
        (*b->m_services)++;
    }
    return s;
}

static bool same_peer(const struct dw_peer *a, const struct dw_peer *b)
{
    return a->socket == b->socket && a->id_len == b->id_len && memcmp(a->id, b->id, a->id_len) == 0;
}

static struct worker *worker_of(struct dw_broker *b, const struct dw_peer *peer)
{
    struct worker *w = b->workers;
    while (w && !same_peer(&w->peer, peer))
        w = w->next;
    return w;
}

/* Round robin: the worker that gets something goes to the end of the list. */
static void to_the_end(struct dw_broker *b, struct worker *w)
{
    struct worker **at = &b->workers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->next = NULL;
    while (*at)
        at = &(*at)->next;
    *at = w;
}

static struct worker *free_worker_of(struct dw_broker *b, const struct service *s)
{
    struct worker *w = b->workers;
    while (w && (w->service != s || w->unreachable || w->in_hand >= w->credit))
        w = w->next;
    return w;
}

static uint32_t free_credit(struct dw_broker *b, const struct service *s)
{
    uint32_t credit = 0;
    for (struct worker *w = b->workers; w; w = w->next)
        if (w->service == s && !w->unreachable)
            credit += w->credit - w->in_hand;
    return credit;
}

static bool has_worker(struct dw_broker *b, struct dw_slice name)
{
    for (struct worker *w = b->workers; w; w = w->next)
        if (dw_slice_is(name, w->service->name))
            return true;
    return false;
}

/* Names that nobody serves and nobody waits for: a client may ask for any. */
static void forget_services(struct dw_broker *b)
{
    for (struct service **at = &b->services; *at;) {
        struct service *s = *at;
        if (s->durable || s->waiting || has_worker(b, dw_slice_of(s->name))) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        dw_free(s);
        (*b->m_services)--;
    }
}

static void hand_out_requests(struct dw_broker *b, struct service *s, int64_t now)
{
    struct worker *w;
    while (s->waiting && (w = free_worker_of(b, s))) {
        struct request *r = first_waiting(b, s);
        uint8_t address[HANDLE_LEN];
        for (int i = 0; i < HANDLE_LEN; i++)
            address[i] = (uint8_t)(r->handle >> (56 - 8 * i));
        to_worker(b, w, now, DW_MDP_REQUEST, DW_SLICE(address, sizeof address), r->body.items,
                  r->body.count);
        r->next = w->requests;
        w->requests = r;
        w->in_hand++;
        to_the_end(b, w);
    }
}

static void claim(struct dw_broker *b, struct service *s, int64_t mono, dw_time now)
{
    uint32_t credit = free_credit(b, s);
    if (b->draining || s->claiming || credit == 0 || mono < s->claim_after)
        return;
    if (!s->maybe_ready && !(s->next_at && s->next_at <= now))
        return;
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_CLAIM, now);
    op->n = credit < CLAIM_MAX ? credit : CLAIM_MAX;
    memcpy(op->service, s->name, sizeof op->service);
    s->claiming = true;
    queue(b, op);
}

static void hand_out(struct dw_broker *b, struct service *s, int64_t mono, dw_time now)
{
    if (b->draining)
        return;
    if (s->durable)
        claim(b, s, mono, now);
    else
        hand_out_requests(b, s, mono);
}

static uint64_t next_random(struct dw_broker *b)
{
    uint64_t z = b->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Doubling from backoff_ms up to the longest, a quarter of it random. */
static int64_t backoff_ms(struct dw_broker *b, int32_t delays)
{
    int64_t wait = b->config->queue.backoff_ms;
    for (int32_t i = 0; i < delays && wait < b->config->queue.backoff_max_ms; i++)
        wait *= 2;
    if (wait > b->config->queue.backoff_max_ms)
        wait = b->config->queue.backoff_max_ms;
    return wait - (int64_t)(next_random(b) % (uint64_t)(wait / 4 + 1));
}

static void give_back(struct dw_broker *b, const struct lease *l, dw_time now, bool counted,
                      const char *reason)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_LATER, now);
    memcpy(op->id, l->id, DW_ID_LEN);
    op->fence = l->fence;
    op->counted = counted;
    op->at = now + backoff_ms(b, l->delays);
    snprintf(op->reason, sizeof op->reason, "%s", reason);
    queue(b, op);
}

/* A worker is gone: calls in its hands are of unknown fate, items go back. */
static void lose_worker(struct dw_broker *b, struct worker *w, dw_time now, const char *why)
{
    struct worker **at = &b->workers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    for (struct request *r = w->requests; r; r = r->next)
        status_to_client(b, &r->client, dw_slice_of(w->service->name),
                         call_of(r->body.items, r->body.count), "504 the worker is gone");
    for (struct lease *l = w->leases; l; l = l->next) {
        give_back(b, l, now, true, why);
        (*b->m_leases)--;
    }
    (*b->m_workers)--;
    free_worker(w);
}

/* ---- the broker's own services ---- */

static struct context *context_for(const struct dw_peer *client, struct dw_slice service,
                                   struct dw_slice call)
{
    struct context *c = dw_alloc(sizeof *c);
    c->for_client = true;
    c->client = *client;
    memcpy(c->service, service.data, service.len);
    if (call.len)
        memcpy(c->call, call.data, call.len);
    c->call_len = call.len;
    return c;
}

/* Each takes the body behind the call number and fills an operation, or says what is wrong. */
static const char *want_put(const struct dw_slice *body, size_t count, struct dw_queue_op *op)
{
    if (count == 4 && dw_slice_is(body[0], "part")) {
        if (body[1].len != DW_ID_LEN || dw_all_zero(body[1].data, DW_ID_LEN) || body[2].len != 4)
            return "400 a part wants attempt, number and bytes";
        op->kind = DW_QUEUE_PART;
        memcpy(op->id, body[1].data, DW_ID_LEN);
        op->n = (uint32_t)body[2].data[0] << 24 | (uint32_t)body[2].data[1] << 16 |
                (uint32_t)body[2].data[2] << 8 | body[2].data[3];
        op->frames = dw_frames_copy(&body[3], 1);
        return NULL;
    }
    if (count >= 3 && dw_slice_is(body[0], "close")) {
        op->kind = DW_QUEUE_CLOSE;
        if (!dw_item_header_decode(body[1], &op->header) ||
            !dw_is_durable(dw_slice_of(op->header.service)))
            return "400 close wants the header of an item";
        op->frames = dw_frames_copy(body + 1, count - 1);
        return NULL;
    }
    return "400 expected part or close";
}

static const char *want_pending(const struct dw_slice *body, size_t count, struct dw_queue_op *op)
{
    if (count != 1 || body[0].len != DW_ID_LEN)
        return "400 expected a handle of 16 bytes";
    op->kind = DW_QUEUE_PENDING;
    memcpy(op->id, body[0].data, DW_ID_LEN);
    return NULL;
}

static const char *want_part(const struct dw_slice *body, size_t count, struct dw_queue_op *op)
{
    if (count != 2 || !dw_lease_decode(body[0], op->id, &op->fence) || body[1].len != 4)
        return "400 expected a lease and a part number";
    op->kind = DW_QUEUE_READ;
    op->n = (uint32_t)body[1].data[0] << 24 | (uint32_t)body[1].data[1] << 16 |
            (uint32_t)body[1].data[2] << 8 | body[1].data[3];
    return NULL;
}

static const char *want_admin(const struct dw_slice *body, size_t count, struct dw_queue_op *op)
{
    if (count < 1 || count > DW_COUNT(op->words))
        return "400 expected one to three words";
    op->kind = DW_QUEUE_ADMIN;
    for (size_t i = 0; i < count; i++) {
        if (body[i].len >= sizeof op->words[i])
            return "400 a word is too long";
        memcpy(op->words[i], body[i].data, body[i].len);
    }
    return NULL;
}

static const struct {
    const char *name;
    const char *(*want)(const struct dw_slice *, size_t, struct dw_queue_op *);
} own_services[] = {{"queue.put", want_put},
                    {"queue.pending", want_pending},
                    {"queue.part", want_part},
                    {"queue.admin", want_admin}};

static bool serve_own(struct dw_broker *b, dw_time now, const struct dw_peer *from,
                      const struct dw_mdp_message *m)
{
    for (size_t i = 0; i < DW_COUNT(own_services); i++) {
        if (!dw_slice_is(m->service, own_services[i].name))
            continue;
        struct dw_slice call = call_of(m->body, m->body_count);
        struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ADMIN, now);
        const char *wrong = own_services[i].want(m->body + 1, m->body_count - 1, op);
        if (wrong) {
            dw_queue_op_free(op);
            status_to_client(b, from, m->service, call, wrong);
        } else {
            op->context = context_for(from, m->service, call);
            queue(b, op);
        }
        return true;
    }
    return false;
}

static void serve_mmi(struct dw_broker *b, const struct dw_peer *from,
                      const struct dw_mdp_message *m)
{
    bool known = dw_slice_is(m->service, "mmi.service");
    bool there = false;
    for (size_t i = 0; i < DW_COUNT(own_services); i++)
        there |= dw_slice_is(m->body[0], own_services[i].name);
    there = there || has_worker(b, m->body[0]);
    status_to_client(b, from, m->service, (struct dw_slice){0},
                     !known  ? "501"
                     : there ? "200"
                             : "404");
}

/* ---- messages ---- */

static void on_call(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
                    const struct dw_mdp_message *m)
{
    (*b->m_requests)++;
    if (!dw_may_call(from->role, m->service)) {
        (*b->m_refused)++;
        cut(b, from, "called a service its role may not call");
        return;
    }
    if (m->service.len >= 4 && memcmp(m->service.data, "mmi.", 4) == 0) {
        serve_mmi(b, from, m);
        return;
    }
    if (serve_own(b, now, from, m))
        return;
    struct service *s = service_named(b, m->service);
    if (s->waiting_count >= b->config->broker.max_waiting ||
        b->waiting_bytes >= (size_t)b->config->broker.max_waiting_bytes || b->draining) {
        status_to_client(b, from, m->service, call_of(m->body, m->body_count),
                         "503 too many requests are waiting");
        return;
    }
    struct request *r = dw_alloc(sizeof *r);
    r->handle = ++b->last_handle;
    r->client = *from;
    r->body = dw_frames_copy(m->body, m->body_count);
    r->expires = mono + b->config->broker.request_ttl_ms;
    *s->waiting_end = r;
    s->waiting_end = &r->next;
    count_waiting(b, s, r);
    hand_out_requests(b, s, mono);
}

static void on_ready(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
                     const struct dw_mdp_message *m)
{
    if (!dw_may_serve(from->role, m->service)) {
        (*b->m_refused)++;
        cut(b, from, "wanted to serve what its role may not serve");
        return;
    }
    if (worker_of(b, from)) {
        cut(b, from, "READY twice");
        return;
    }
    struct worker *w = dw_alloc(sizeof *w);
    w->peer = *from;
    w->service = service_named(b, m->service);
    w->credit = m->credit;
    w->heard_at = mono;
    w->next = b->workers;
    b->workers = w;
    (*b->m_workers)++;
    /* RFC 7 gives no answer to READY; a heartbeat tells the worker that it is in. */
    to_worker(b, w, mono, DW_MDP_HEARTBEAT, (struct dw_slice){0}, NULL, 0);
    hand_out(b, w->service, mono, now);
}

/* Takes the lease of that address out of the worker's hands; NULL when it is not its own (any
 * more). */
static struct lease *take_lease(struct dw_broker *b, struct worker *w, struct dw_slice address)
{
    uint8_t id[DW_ID_LEN];
    uint64_t fence;
    if (!dw_lease_decode(address, id, &fence))
        return NULL;
    struct lease **at = &w->leases;
    while (*at && ((*at)->fence != fence || memcmp((*at)->id, id, DW_ID_LEN) != 0))
        at = &(*at)->next;
    struct lease *l = *at;
    if (l) {
        *at = l->next;
        w->in_hand--;
        (*b->m_leases)--;
    }
    return l;
}

static void end_lease(struct dw_broker *b, enum dw_queue_kind how, const struct lease *l,
                      const char *reason, dw_time now)
{
    struct dw_queue_op *op = dw_queue_op_new(how, now);
    memcpy(op->id, l->id, DW_ID_LEN);
    op->fence = l->fence;
    snprintf(op->reason, sizeof op->reason, "%s", reason);
    queue(b, op);
}

static void finish_lease(struct dw_broker *b, struct worker *w, dw_time now,
                         const struct dw_mdp_message *m)
{
    struct lease *l = take_lease(b, w, m->address);
    if (!l)
        return; /* the answer counts for nothing */
    int status = dw_status_parse(m->body[0]);
    char reason[64] = "";
    if (m->body_count > 1)
        dw_printable(reason, sizeof reason, m->body[1].data, m->body[1].len);
    for (char *c = reason; *c; c++) /* it will stand in JSON */
        if (*c == '"' || *c == '\\')
            *c = '\'';
    if (status >= 400 && status < 500)
        end_lease(b, DW_QUEUE_DEAD, l, reason, now);
    else if (status == 300 || status >= 500)
        give_back(b, l, now, status != 300, reason);
    else /* 200, or a worker that knows nothing of statuses */
        end_lease(b, DW_QUEUE_DONE, l, "", now);
    dw_free(l);
}

static struct request *take_request(struct worker *w, struct dw_slice address)
{
    uint64_t handle = 0;
    if (address.len != HANDLE_LEN)
        return NULL;
    for (int i = 0; i < HANDLE_LEN; i++)
        handle = handle << 8 | address.data[i];
    struct request **at = &w->requests;
    while (*at && (*at)->handle != handle)
        at = &(*at)->next;
    struct request *r = *at;
    if (r) {
        *at = r->next;
        w->in_hand--;
    }
    return r;
}

static void finish_request(struct dw_broker *b, struct worker *w, const struct dw_mdp_message *m)
{
    struct request *r = take_request(w, m->address);
    if (!r)
        return;
    to_client(b, &r->client, dw_slice_of(w->service->name), (struct dw_slice){0}, m->body,
              m->body_count);
    free_request(r);
}

static void on_worker(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
                      const struct dw_mdp_message *m)
{
    if (m->command == DW_MDP_READY) {
        on_ready(b, mono, now, from, m);
        return;
    }
    struct worker *w = worker_of(b, from);
    if (!w) {
        /* After a restart of ours it does not know yet: DISCONNECT makes it register again. */
        if (m->command != DW_MDP_DISCONNECT) {
            uint8_t command = DW_MDP_DISCONNECT;
            struct dw_slice frames[] = {DW_SLICE("", 0), dw_slice_of(DW_MDP_WORKER),
                                        DW_SLICE(&command, 1)};
            send_frames(b, from, frames, DW_COUNT(frames));
        }
        return;
    }
    w->heard_at = mono;
    struct service *s = w->service;
    if (m->command == DW_MDP_REPLY) {
        if (s->durable)
            finish_lease(b, w, now, m);
        else
            finish_request(b, w, m);
    } else if (m->command == DW_MDP_DISCONNECT) {
        lose_worker(b, w, now, "the worker left");
    }
    hand_out(b, s, mono, now);
}

void dw_broker_message(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
                       const struct dw_slice *frames, size_t count)
{
    struct dw_mdp_message m;
    const char *why = "";
    if (dw_mdp_parse(frames, count, &m, &why) != DW_OK) {
        struct worker *w = worker_of(b, from);
        if (w)
            lose_worker(b, w, now, "the worker broke the protocol");
        cut(b, from, why);
        return;
    }
    if (m.worker)
        on_worker(b, mono, now, from, &m);
    else
        on_call(b, mono, now, from, &m);
}

/* What never left us has not been tried: it goes to the next worker. */
void dw_broker_unsent(struct dw_broker *b, dw_time now, const struct dw_peer *to,
                      const struct dw_slice *frames, size_t count)
{
    struct worker *w = worker_of(b, to);
    if (!w)
        return; /* a client that did not wait for its answer */
    w->unreachable = true;
    if (count < 4 || !dw_slice_is(frames[1], DW_MDP_WORKER) || frames[2].len != 1 ||
        frames[2].data[0] != DW_MDP_REQUEST)
        return;
    struct service *s = w->service;
    struct lease *l = s->durable ? take_lease(b, w, frames[3]) : NULL;
    struct request *r = s->durable ? NULL : take_request(w, frames[3]);
    if (l)
        give_back(b, l, now, false, "");
    dw_free(l);
    if (!r)
        return;
    r->next = s->waiting;
    s->waiting = r;
    if (!r->next)
        s->waiting_end = &r->next;
    count_waiting(b, s, r);
}

/* ---- finished queue operations ---- */

static void deliver(struct dw_broker *b, struct service *s, int64_t mono, dw_time now,
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
        struct worker *w = free_worker_of(b, s);
        if (!w) { /* it left meanwhile; the item has not been tried */
            give_back(b, l, now, false, "");
            s->maybe_ready = true;
            dw_free(l);
            continue;
        }
        uint8_t address[DW_LEASE_LEN];
        dw_lease_encode(address, item->id, item->fence);
        to_worker(b, w, mono, DW_MDP_REQUEST, DW_SLICE(address, sizeof address), item->frames.items,
                  item->frames.count);
        l->next = w->leases;
        w->leases = l;
        w->in_hand++;
        (*b->m_leases)++;
        to_the_end(b, w);
    }
}

static void answer(struct dw_broker *b, const struct dw_queue_op *op, const struct context *c)
{
    char status[32], number[16];
    uint8_t day[4];
    struct dw_slice payload[2];
    size_t count = 1;
    snprintf(status, sizeof status, "%d", op->status);
    payload[0] = dw_slice_of(status);
    if (op->status == 503) {
        snprintf(number, sizeof number, "%d", op->retry_seconds);
        payload[count++] = dw_slice_of(number);
    } else if (op->kind == DW_QUEUE_READ && op->status == 200) {
        payload[count++] = op->frames.items[0];
    } else if ((op->kind == DW_QUEUE_CLOSE || op->kind == DW_QUEUE_PENDING) && op->status == 200) {
        for (int i = 0; i < 4; i++)
            day[i] = (uint8_t)((uint32_t)op->day >> (24 - 8 * i));
        payload[count++] = DW_SLICE(day, sizeof day);
    } else if (op->text) {
        payload[count++] = dw_slice_of(op->text);
    }
    to_client(b, &c->client, dw_slice_of(c->service), DW_SLICE(c->call, c->call_len), payload,
              count);
}

void dw_broker_finished(struct dw_broker *b, int64_t mono, dw_time now, struct dw_queue_op *op)
{
    struct context *c = op->context;
    if (c)
        answer(b, op, c);
    bool must_happen =
        op->kind == DW_QUEUE_DONE || op->kind == DW_QUEUE_LATER || op->kind == DW_QUEUE_DEAD;
    if (must_happen && op->status == 503) {
        op->next = b->refused;
        b->refused = op;
        b->refused_again_at = mono + RETRY_FULL_MS;
        return;
    }
    if (op->kind == DW_QUEUE_CLAIM) {
        deliver(b, service_named(b, dw_slice_of(op->service)), mono, now, op);
    } else if (op->kind == DW_QUEUE_CLOSE && op->status == 200) {
        struct service *s = service_named(b, dw_slice_of(op->header.service));
        s->maybe_ready = true;
        (*b->m_accepted)++;
    } else if (op->kind == DW_QUEUE_LATER || op->kind == DW_QUEUE_ADMIN) {
        /* A delayed or revived item: the next claim tells when it comes due. */
        for (struct service *s = b->services; s; s = s->next)
            s->maybe_ready |= s->durable;
    }
    for (struct service *s = b->services; s; s = s->next)
        if (s->durable)
            hand_out(b, s, mono, now);
    free_op(op);
}

/* ---- time ---- */

static void expire_waiting(struct dw_broker *b, struct service *s, int64_t mono)
{
    while (s->waiting && s->waiting->expires <= mono) {
        struct request *r = first_waiting(b, s);
        (*b->m_expired)++;
        status_to_client(b, &r->client, dw_slice_of(s->name), call_of(r->body.items, r->body.count),
                         "503 nobody serves this now");
        free_request(r);
    }
}

void dw_broker_tick(struct dw_broker *b, int64_t mono, dw_time now)
{
    int64_t interval = b->config->broker.heartbeat_ms;
    for (struct worker *w = b->workers, *next; w; w = next) {
        next = w->next;
        if (w->unreachable || mono - w->heard_at > interval * b->config->broker.liveness)
            lose_worker(b, w, now,
                        w->unreachable ? "the worker is gone" : "the worker fell silent");
        else if (mono - w->said_at >= interval)
            to_worker(b, w, mono, DW_MDP_HEARTBEAT, (struct dw_slice){0}, NULL, 0);
    }
    for (struct service *s = b->services; s; s = s->next) {
        expire_waiting(b, s, mono);
        hand_out(b, s, mono, now);
    }
    forget_services(b);
    if (b->refused && mono >= b->refused_again_at) {
        struct dw_queue_op *op = b->refused;
        b->refused = NULL;
        while (op) {
            struct dw_queue_op *next = op->next;
            queue(b, op);
            op = next;
        }
    }
    if (mono - b->swept_at >= SWEEP_MS) {
        b->swept_at = mono;
        queue(b, dw_queue_op_new(DW_QUEUE_SWEEP, now));
    }
}

void dw_broker_drain(struct dw_broker *b, int64_t mono)
{
    b->draining = true;
    for (struct worker *w = b->workers; w; w = w->next)
        to_worker(b, w, mono, DW_MDP_DISCONNECT, (struct dw_slice){0}, NULL, 0);
}
