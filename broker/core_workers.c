/* core_workers.c - services, the workers behind them, and what is said to workers and clients. */
#include "core_private.h"

#include "dw/log.h"

#include <string.h>

/* ---- to workers and clients ---- */

void b_tell_worker(struct dw_broker *b, struct worker *w, int64_t now, enum dw_mdp_command command)
{
    struct dw_slice frames[DW_MDP_HEAD_MAX];
    b_send_frames(b, &w->peer, frames, dw_mdp_head(frames, w->version, true, command));
    w->said_at = now;
}

void b_hand_to_worker(struct dw_broker *b, struct worker *w, int64_t now, struct dw_slice address,
                      const struct dw_frames *body)
{
    struct dw_slice *frames = dw_alloc((DW_MDP_HEAD_MAX + 2 + body->count) * sizeof *frames);
    size_t n = dw_mdp_head(frames, w->version, true, DW_MDP_REQUEST);
    frames[n++] = address;
    frames[n++] = DW_SLICE("", 0);
    for (size_t i = 0; i < body->count; i++)
        frames[n++] = body->items[i];
    b_send_frames(b, &w->peer, frames, n);
    dw_free(frames);
    w->said_at = now;
    w->bytes += body->bytes;
}

/* A reply to a client: what it sent as its first body frame comes back as the first. */
void b_to_client(struct dw_broker *b, const struct client *client, enum dw_mdp_command command,
                 struct dw_slice service, struct dw_slice call, const struct dw_slice *payload,
                 size_t count)
{
    struct dw_slice *frames = dw_alloc((DW_MDP_HEAD_MAX + 2 + count) * sizeof *frames);
    size_t n = dw_mdp_head(frames, client->version, false, command);
    frames[n++] = service;
    if (call.data)
        frames[n++] = call;
    for (size_t i = 0; i < count; i++)
        frames[n++] = payload[i];
    b_send_frames(b, &client->peer, frames, n);
    dw_free(frames);
    (*b->m_replies)++;
}

void b_status_to_client(struct dw_broker *b, const struct client *client, struct dw_slice service,
                        struct dw_slice call, const char *status)
{
    struct dw_slice payload = dw_slice_of(status);
    b_to_client(b, client, DW_MDP_REPLY, service, call, &payload, 1);
}

struct dw_slice b_call_of(const struct dw_slice *body, size_t count)
{
    return count && body[0].len <= CALL_ECHO_MAX ? body[0] : DW_SLICE("", 0);
}

/* ---- services and workers ---- */

struct service *b_service_named(struct dw_broker *b, struct dw_slice name)
{
    struct service *s = b->services;
    while (s && !dw_slice_is(name, s->name))
        s = s->next;
    if (!s) {
        s = dw_alloc(sizeof *s);
        memcpy(s->name, name.data, name.len);
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

struct worker *b_worker_of(struct dw_broker *b, const struct dw_peer *peer)
{
    struct worker *w = b->workers;
    while (w && !same_peer(&w->peer, peer))
        w = w->next;
    return w;
}

/* Round robin: the worker that gets something goes to the end of the list. */
void b_to_the_end(struct dw_broker *b, struct worker *w)
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

/* Its credit is its own word; that much memory is ours. */
static uint32_t free_credit(const struct dw_broker *b, const struct worker *w)
{
    bool may = !w->unreachable && w->bytes < (size_t)b->config->broker.max_unread_bytes;
    return may && w->in_hand < w->credit ? w->credit - w->in_hand : 0;
}

struct worker *b_free_worker_of(struct dw_broker *b, const struct service *s)
{
    struct worker *w = b->workers;
    while (w && (w->service != s || !free_credit(b, w)))
        w = w->next;
    return w;
}

uint32_t b_free_credit(struct dw_broker *b, const struct service *s)
{
    uint32_t credit = 0;
    for (struct worker *w = b->workers; w; w = w->next)
        if (w->service == s)
            credit += free_credit(b, w);
    return credit;
}

bool b_has_worker(struct dw_broker *b, struct dw_slice name)
{
    for (struct worker *w = b->workers; w; w = w->next)
        if (dw_slice_is(name, w->service->name))
            return true;
    return false;
}

/* Names that nobody serves and nobody waits for: a client may ask for any. */
void b_forget_services(struct dw_broker *b)
{
    for (struct service **at = &b->services; *at;) {
        struct service *s = *at;
        if (s->claiming || s->waiting || b_has_worker(b, dw_slice_of(s->name))) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        dw_free(s);
        (*b->m_services)--;
    }
}

void b_hand_out(struct dw_broker *b, struct service *s, int64_t mono, dw_time now)
{
    if (b->draining)
        return;
    b_hand_out_requests(b, s, mono); /* somebody waits for these */
    b_claim(b, s, mono, now);
}

/* A worker is gone: calls in its hands are of unknown fate, items go back. */
void b_lose_worker(struct dw_broker *b, struct worker *w, dw_time now, const char *why)
{
    struct worker **at = &b->workers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    for (struct request *r = w->requests; r; r = r->next)
        b_refuse_request(b, w->service, r, "504 the worker is gone");
    for (struct lease *l = w->leases; l; l = l->next) {
        b_give_back(b, w->service, l, now, true, why);
        (*b->m_leases)--;
    }
    (*b->m_workers)--;
    b_free_worker(b, w);
}

/* What a worker may not say now: RFC 7 and 18 want DISCONNECT for it, and nothing more. */
static void send_away(struct dw_broker *b, dw_time now, const struct dw_peer *from, uint8_t version)
{
    struct worker *w = b_worker_of(b, from);
    struct dw_slice frames[DW_MDP_HEAD_MAX];
    b_send_frames(b, from, frames, dw_mdp_head(frames, version, true, DW_MDP_DISCONNECT));
    if (w)
        b_lose_worker(b, w, now, "the worker sent what was not expected");
}

static void on_ready(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
                     const struct dw_mdp_message *m)
{
    if (!dw_may_serve(from->role, m->service)) {
        b_refuse(b, from, m->service, "wanted to serve what its role may not serve");
        return;
    }
    struct worker *w = dw_alloc(sizeof *w);
    w->peer = *from;
    w->version = m->version;
    w->service = b_service_named(b, m->service);
    w->credit = m->credit;
    w->heard_at = mono;
    w->next = b->workers;
    b->workers = w;
    (*b->m_workers)++;
    /* The RFCs give no answer to READY; a heartbeat tells the worker that it is in. */
    b_tell_worker(b, w, mono, DW_MDP_HEARTBEAT);
    b_hand_out(b, w->service, mono, now);
}

/* READY comes once and first, everything else later and in the same version. */
static bool is_expected(const struct worker *w, const struct dw_mdp_message *m)
{
    if (m->unexpected)
        return false;
    if (!w || m->command == DW_MDP_READY)
        return !w && m->command == DW_MDP_READY;
    return w->version == m->version;
}

void b_on_worker(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
                 const struct dw_mdp_message *m)
{
    struct worker *w = b_worker_of(b, from);
    if (!w && m->command == DW_MDP_DISCONNECT)
        return;
    if (!is_expected(w, m)) { /* also a worker that does not know yet of a restart of ours */
        send_away(b, now, from, w ? w->version : m->version);
        return;
    }
    if (!w) {
        on_ready(b, mono, now, from, m);
        return;
    }
    w->heard_at = mono;
    struct service *s = w->service;
    if (m->command == DW_MDP_REPLY) {
        if (m->address.len == DW_LEASE_LEN)
            b_finish_lease(b, w, now, m);
        else
            b_finish_request(b, w, m);
    } else if (m->command == DW_MDP_PARTIAL) {
        b_part_of_reply(b, w, m);
    } else if (m->command == DW_MDP_DISCONNECT) {
        b_lose_worker(b, w, now, "the worker left");
    }
    b_hand_out(b, s, mono, now);
}

/* What never left us has not been tried: it goes to the next worker. */
void dw_broker_unsent(struct dw_broker *b, dw_time now, const struct dw_peer *to,
                      const struct dw_slice *frames, size_t count)
{
    struct worker *w = b_worker_of(b, to);
    struct dw_mdp_message m;
    const char *why;
    if (!w)
        return; /* a client that did not wait for its answer */
    w->unreachable = true;
    if (dw_mdp_parse(frames, count, &m, &why) != DW_OK || !m.worker || m.command != DW_MDP_REQUEST)
        return;
    struct service *s = w->service;
    struct lease *l = b_take_lease(b, w, m.address);
    struct request *r = b_take_request(w, m.address);
    if (l)
        b_give_back(b, s, l, now, false, "");
    b_free_lease(b, l);
    if (r) {
        r->body = dw_frames_copy(m.body, m.body_count);
        b_put_back(b, s, r);
    }
}
