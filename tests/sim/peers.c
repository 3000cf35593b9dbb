/* peers.c - what the models around the broker share, and the simplest of them, the caller. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

enum {
    PARTS = 3, /* a filing has up to two */
    LOOK_MS = 100,
    CALL_MS = 700, /* a caller's pause */
};

/* Filings of one intake, which puts them one after the other. */
int key_of(int filing)
{
    return filing % KEYS;
}

uint32_t parts_of(int filing)
{
    return (uint32_t)filing % PARTS;
}

size_t part_bytes(int filing, uint32_t n, char out[PART_BYTES])
{
    memset(out, 'a' + filing, PART_BYTES);
    return (size_t)snprintf(out, PART_BYTES, "part %u of filing %d", n, filing) + PART_BYTES / 2;
}

void random_bytes(struct sim *s, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)sim_random(s, 256);
}

static void put_u64(uint8_t out[8], uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

void put_u32(uint8_t out[4], uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

void peer_ask(struct sim *s, struct peer *p, struct conn *c, const char *service, uint64_t call,
              const struct dw_slice *body, size_t count)
{
    struct dw_slice frames[8 + DW_ADOPTION_FRAMES];
    uint8_t number[8];
    size_t n = dw_mdp_head(frames, 1, false, DW_MDP_REQUEST);
    put_u64(number, call);
    frames[n++] = dw_slice_of(service);
    frames[n++] = DW_SLICE(number, sizeof number);
    for (size_t i = 0; i < count; i++)
        frames[n++] = body[i];
    sim_say(s, p, c, frames, n);
}

uint64_t number_of(const struct dw_slice *frame)
{
    struct dw_reader r = {.rest = *frame};
    return frame->len == 8 ? dw_read_u64(&r) : 0;
}

/* ---- caller: more calls at once than the broker takes ---- */

static void caller_timer(struct sim *s, struct peer *p)
{
    static const char filler[CALL_BYTES];
    if (s->mono < p->wait_until || !sim_faulty(s))
        return;
    int burst = sim_random(s, 5) == 0 ? 9 : 1;
    for (int i = 0; i < burst && s->calls_count < CALLS; i++) {
        struct call *c = &s->calls[s->calls_count++];
        *c = (struct call){.used = true};
        c->bytes = sim_random(s, CALL_BYTES);
        struct dw_slice body = DW_SLICE(filler, c->bytes);
        peer_ask(s, p, &p->lines[0].conn, "case.desk", (uint64_t)(c - s->calls) + 1, &body, 1);
    }
    p->wait_until = s->mono + CALL_MS;
}

static void caller_answered(struct sim *s, const struct dw_mdp_message *m)
{
    uint64_t n = number_of(&m->body[0]);
    if (n < 1 || n > (uint64_t)s->calls_count)
        return;
    if (s->calls[n - 1].answered)
        check_fail(s, "a call is answered once");
    s->calls[n - 1].answered = true;
}

/* ---- what the world calls ---- */

void peer_start(struct sim *s, struct peer *p)
{
    p->stalled_until = 0;
    p->wait_until = s->mono + 1 + (int64_t)sim_random(s, 1500);
    for (int i = 0; i < s->brokers; i++) {
        p->lines[i] = (struct line){0};
        if (p->kind != WORKER)
            sim_connect(s, &p->lines[i].conn, i);
    }
    if (p->kind == WORKER)
        worker_begin(s, p);
    sim_timer(s, p, LOOK_MS);
}

void peer_timer(struct sim *s, struct peer *p)
{
    static void (*const timers[])(struct sim *, struct peer *) = {[INTAKE] = intake_timer,
                                                                  [WORKER] = worker_timer,
                                                                  [CALLER] = caller_timer,
                                                                  [ADMIN] = adopter_timer};
    if (s->mono >= p->stalled_until)
        timers[p->kind](s, p);
    sim_timer(s, p, LOOK_MS);
}

void peer_lost(struct sim *s, struct peer *p, struct conn *c)
{
    if (p->kind == WORKER)
        worker_lost(s, p, c);
    else
        sim_connect(s, c, c->node);
}

void peer_message(struct sim *s, struct peer *p, struct conn *c, const struct dw_frames *frames)
{
    struct dw_mdp_message m;
    const char *why;
    if (dw_mdp_parse(frames->items, frames->count, &m, &why) != DW_OK)
        check_fail(s, "the broker keeps to the protocol");
    else if (m.worker)
        worker_message(s, p, &p->lines[c->node], &m);
    else if (p->kind == INTAKE)
        intake_answered(s, p, &m);
    else if (p->kind == ADMIN)
        adopter_answered(s, p, &m);
    else if (p->kind == WORKER)
        worker_got_part(s, p, &m);
    else
        caller_answered(s, &m);
}
