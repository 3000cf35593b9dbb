/* core_calls.c - requests that are answered while their client waits; they live in memory only. */
#include "core_private.h"

#include "dw/testing.h"

#include <string.h>

/* ---- requests that wait ---- */

/* A request that waits, and perhaps a service for it alone: a peer may send any number of names and
 * empty frames. */
static size_t memory_of(const struct request *r)
{
    return sizeof *r + sizeof(struct service) + r->body.count * sizeof *r->body.items + r->body.bytes;
}

static struct request *first_waiting(struct dw_broker *b, struct service *s)
{
    struct request *r = s->waiting;
    s->waiting = r->next;
    if (!s->waiting)
        s->waiting_end = &s->waiting;
    s->waiting_count--;
    b->waiting_bytes -= memory_of(r);
    (*b->m_waiting)--;
    return r;
}

static void count_waiting(struct dw_broker *b, struct service *s, const struct request *r)
{
    s->waiting_count++;
    b->waiting_bytes += memory_of(r);
    (*b->m_waiting)++;
}

void b_refuse_request(struct dw_broker *b, const struct service *s, const struct request *r,
                      const char *status)
{
    b_status_to_client(b, &r->client, dw_slice_of(s->name), DW_SLICE(r->call, r->call_len), status);
}

void b_put_back(struct dw_broker *b, struct service *s, struct request *r)
{
    r->next = s->waiting;
    s->waiting = r;
    if (!r->next)
        s->waiting_end = &r->next;
    count_waiting(b, s, r);
}

void b_hand_out_requests(struct dw_broker *b, struct service *s, int64_t now)
{
    struct worker *w;
    while (s->waiting && (w = b_free_worker_of(b, s))) {
        struct request *r = first_waiting(b, s);
        uint8_t address[HANDLE_LEN];
        for (int i = 0; i < HANDLE_LEN; i++)
            address[i] = (uint8_t)(r->handle >> (56 - 8 * i));
        b_hand_to_worker(b, w, now, DW_SLICE(address, sizeof address), &r->body);
        r->bytes = r->body.bytes;
        dw_frames_free(&r->body); /* the worker has it */
        r->next = w->requests;
        w->requests = r;
        w->in_hand++;
        b_to_the_end(b, w);
    }
}

void b_on_call(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
               const struct dw_mdp_message *m)
{
    struct client client = {*from, m->version};
    (*b->m_requests)++;
    if (!dw_may_call(from->role, m->service)) {
        b_refuse(b, from, m->service, "called a service its role may not call");
        return;
    }
    if (b_serve_mmi(b, &client, m) || b_serve_own(b, now, &client, m) ||
        b_serve_titanic(b, now, &client, m))
        return;
    struct service *s = b_service_named(b, m->service);
    if ((s->waiting_count >= b->config->broker.max_waiting && !DW_BUG("unbounded-waiting")) ||
        b->waiting_bytes >= (size_t)b->config->broker.max_waiting_bytes || b->draining) {
        b_status_to_client(b, &client, m->service, b_call_of(m->body, m->body_count),
                           "503 too many requests are waiting");
        return;
    }
    struct request *r = dw_alloc(sizeof *r);
    r->handle = ++b->last_handle;
    r->client = client;
    struct dw_slice call = b_call_of(m->body, m->body_count);
    if (call.len)
        memcpy(r->call, call.data, call.len);
    r->call_len = call.len;
    r->body = dw_frames_copy(m->body, m->body_count);
    r->expires = mono + b->config->broker.request_ttl_ms;
    *s->waiting_end = r;
    s->waiting_end = &r->next;
    count_waiting(b, s, r);
    b_hand_out_requests(b, s, mono);
}

/* ---- replies ---- */

void b_join(struct dw_broker *b, struct joined *parts, const struct dw_slice *body, size_t count)
{
    struct dw_frames *have = &parts->frames;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += body[i].len;
    if (parts->too_long)
        return;
    if (have->count + count > (size_t)b->config->broker.max_frames ||
        b->joined_bytes + bytes > (size_t)b->config->broker.max_joined_bytes) {
        b_forget_joined(b, parts);
        parts->too_long = true;
        return;
    }
    struct dw_slice *all = dw_alloc((have->count + count) * sizeof *all);
    for (size_t i = 0; i < have->count; i++)
        all[i] = have->items[i];
    for (size_t i = 0; i < count; i++)
        all[have->count + i] = body[i];
    struct dw_frames both = dw_frames_copy(all, have->count + count);
    dw_free(all);
    dw_frames_free(have);
    *have = both;
    b->joined_bytes += bytes;
}

void b_forget_joined(struct dw_broker *b, struct joined *parts)
{
    b->joined_bytes -= parts->frames.bytes;
    dw_frames_free(&parts->frames);
}

struct request **b_request_at(struct worker *w, struct dw_slice address)
{
    uint64_t handle = 0;
    struct request **at = &w->requests;
    if (address.len != HANDLE_LEN)
        return NULL;
    for (int i = 0; i < HANDLE_LEN; i++)
        handle = handle << 8 | address.data[i];
    while (*at && (*at)->handle != handle)
        at = &(*at)->next;
    return *at ? at : NULL;
}

struct request *b_take_request(struct worker *w, struct dw_slice address)
{
    struct request **at = b_request_at(w, address);
    struct request *r = at ? *at : NULL;
    if (r) {
        *at = r->next;
        w->in_hand--;
        w->bytes -= r->bytes;
    }
    return r;
}

/* A client of MDP/0.2 gets each part as it comes; for one of MDP/0.1 they wait for the last. */
void b_part_of_reply(struct dw_broker *b, struct worker *w, const struct dw_mdp_message *m)
{
    struct lease **lease = b_lease_at(w, m->address);
    struct request **at = b_request_at(w, m->address);
    if (lease && (*lease)->asked)
        b_join(b, &(*lease)->parts, m->body, m->body_count);
    else if (at && (*at)->client.version == 1)
        b_join(b, &(*at)->parts, m->body, m->body_count);
    else if (at)
        b_to_client(b, &(*at)->client, DW_MDP_PARTIAL, dw_slice_of(w->service->name),
                    (struct dw_slice){0}, m->body, m->body_count);
}

void b_finish_request(struct dw_broker *b, struct worker *w, const struct dw_mdp_message *m)
{
    struct request *r = b_take_request(w, m->address);
    struct dw_slice service = dw_slice_of(w->service->name);
    if (!r)
        return;
    bool in_parts = r->parts.too_long || r->parts.frames.count;
    if (in_parts)
        b_join(b, &r->parts, m->body, m->body_count);
    if (r->parts.too_long)
        b_refuse_request(b, w->service, r,
                         "502 the reply is longer than what is kept for one that came in parts");
    else if (in_parts)
        b_to_client(b, &r->client, DW_MDP_REPLY, service, (struct dw_slice){0},
                    r->parts.frames.items, r->parts.frames.count);
    else
        b_to_client(b, &r->client, DW_MDP_REPLY, service, (struct dw_slice){0}, m->body,
                    m->body_count);
    b_free_request(b, r);
}

void b_expire_waiting(struct dw_broker *b, struct service *s, int64_t mono)
{
    while (s->waiting && s->waiting->expires <= mono && !DW_BUG("no-expiry")) {
        struct request *r = first_waiting(b, s);
        (*b->m_expired)++;
        b_refuse_request(b, s, r, "503 nobody serves this now");
        b_free_request(b, r);
    }
}
