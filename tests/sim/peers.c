/* peers.c - the models around the broker, each as the promises of dw/mdp.h let it be. */
#include "sim.h"

#include "dw/testing.h"

#include <stdio.h>
#include <string.h>

enum {
    ANSWER_MS = 3000, /* an intake waits so long */
    PAUSE_MS = 9000,  /* of somebody who uploads */
    PARTS = 3,        /* a filing has up to two */
    HEARTBEAT_MS = 1000,
    SILENT_MS = 4000, /* of the broker: the worker connects anew */
    LOOK_MS = 100,
    CALL_MS = 700, /* a caller's pause */
};

void filing_id(int filing, uint32_t variant, uint8_t id[DW_ID_LEN])
{
    memset(id, 0x30 + filing, DW_ID_LEN);
    id[0] = (uint8_t)variant;
    id[1] = 0xf1;
}

/* Filings of one intake, which puts them one after the other. */
int key_of(int filing)
{
    return filing % KEYS;
}

int filing_of(const uint8_t id[DW_ID_LEN])
{
    int filing = id[2] - 0x30;
    return id[1] == 0xf1 && filing >= 0 && filing < FILINGS ? filing : -1;
}

static uint32_t parts_of(int filing)
{
    return (uint32_t)filing % PARTS;
}

static size_t part_bytes(int filing, uint32_t n, char out[200])
{
    memset(out, 'a' + filing, 200);
    return (size_t)snprintf(out, 200, "part %u of filing %d", n, filing) + 100;
}

static void random_bytes(struct sim *s, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)sim_random(s, 256);
}

static void put_u64(uint8_t out[8], uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

static void put_u32(uint8_t out[4], uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* REQUEST of MDP/0.1: a service, a number of the call, and what it wants. */
static void ask(struct sim *s, struct peer *p, struct conn *c, const char *service, uint64_t call,
                const struct dw_slice *body, size_t count)
{
    struct dw_slice frames[10];
    uint8_t number[8];
    size_t n = dw_mdp_head(frames, 1, false, DW_MDP_REQUEST);
    put_u64(number, call);
    frames[n++] = dw_slice_of(service);
    frames[n++] = DW_SLICE(number, sizeof number);
    for (size_t i = 0; i < count; i++)
        frames[n++] = body[i];
    sim_say(s, p, c, frames, n);
}

static uint64_t number_of(const struct dw_slice *frame)
{
    struct dw_reader r = {.rest = *frame};
    return frame->len == 8 ? dw_read_u64(&r) : 0;
}

/* ---- intake: parts, then the filing, until it is acknowledged ---- */

static void send_part(struct sim *s, struct peer *p)
{
    char bytes[200];
    uint8_t n[4];
    put_u32(n, (uint32_t)p->part);
    size_t len = part_bytes(p->filing, (uint32_t)p->part, bytes);
    struct dw_slice body[] = {dw_slice_of("part"), DW_SLICE(p->attempt, DW_ID_LEN), DW_SLICE(n, 4),
                              DW_SLICE(bytes, len)};
    ask(s, p, &p->conn, "queue.put", p->call, body, DW_COUNT(body));
}

static void send_close(struct sim *s, struct peer *p)
{
    struct dw_item_header h = {.parts = parts_of(p->filing), .klass = (uint8_t)p->filing % 2};
    char text[40];
    filing_id(p->filing, DW_BUG("new-id-on-retry") ? p->tries : 0, h.id);
    if (h.parts)
        memcpy(h.attempt, p->attempt, DW_ID_LEN);
    memset(h.handle, 0x70 + key_of(p->filing), DW_ID_LEN);
    memset(h.tok, 0x50 + p->filing, DW_ID_LEN);
    memset(h.fp, 0x60 + p->filing, DW_FP_LEN);
    snprintf(h.service, sizeof h.service, "filing");
    snprintf(text, sizeof text, "filing %d", p->filing);
    DW_AUTO_BUF header = {0};
    dw_buf_init(&header, 1000);
    dw_item_header_encode(&h, &header);
    struct dw_slice body[] = {dw_slice_of("close"), dw_buf_slice(&header), dw_slice_of(text)};
    ask(s, p, &p->conn, "queue.put", p->call, body, DW_COUNT(body));
}

static void acknowledge(struct sim *s, struct peer *p)
{
    sim_note(s, "filing %d is acknowledged", p->filing);
    s->filings[p->filing].acked = true;
}

static void send_next(struct sim *s, struct peer *p)
{
    p->call = ++s->last_call;
    p->deadline = s->mono + ANSWER_MS;
    if ((uint32_t)p->part < parts_of(p->filing)) {
        send_part(s, p);
        return;
    }
    send_close(s, p);
    if (DW_BUG("receipt-before-answer"))
        acknowledge(s, p);
}

static void begin_attempt(struct sim *s, struct peer *p)
{
    p->tries++;
    p->part = 0;
    p->wait_until = p->pause_until = 0;
    random_bytes(s, p->attempt, DW_ID_LEN);
    sim_note(s, "intake %d sends filing %d, try %u", (int)(p - s->peers), p->filing, p->tries);
    send_next(s, p);
}

/* The answer was lost, or never given: a new attempt, or the same closing part again. */
static void try_again(struct sim *s, struct peer *p)
{
    bool closing = (uint32_t)p->part >= parts_of(p->filing);
    if (closing && sim_random(s, 2))
        send_next(s, p);
    else
        begin_attempt(s, p);
}

static void next_filing(struct sim *s, struct peer *p)
{
    acknowledge(s, p);
    if (!p->again && sim_random(s, 4) == 0) { /* somebody presses the button again */
        p->again = true;
        p->wait_until = s->mono + (int64_t)sim_random(s, 3000);
        return;
    }
    p->again = false;
    p->tries = 0;
    p->filing += INTAKES;
    p->call = 0;
    p->wait_until = s->mono + 1 + (int64_t)sim_random(s, 2500);
}

/* After a part, and perhaps after whoever uploads it has paused. */
static void go_on(struct sim *s, struct peer *p)
{
    p->pause_until = 0;
    send_next(s, p);
}

static void intake_timer(struct sim *s, struct peer *p)
{
    if (p->filing >= FILINGS)
        return;
    if (p->wait_until && s->mono >= p->wait_until)
        begin_attempt(s, p);
    else if (!p->wait_until && p->pause_until && s->mono >= p->pause_until)
        go_on(s, p);
    else if (!p->wait_until && s->mono >= p->deadline)
        try_again(s, p);
}

static void intake_answered(struct sim *s, struct peer *p, const struct dw_mdp_message *m)
{
    if (p->filing >= FILINGS || p->wait_until || m->body_count < 2 ||
        number_of(&m->body[0]) != p->call)
        return; /* of a call given up before */
    int status = dw_status_parse(m->body[1]);
    bool closing = (uint32_t)p->part >= parts_of(p->filing);
    if (status == 200 && closing) {
        next_filing(s, p);
    } else if (status == 200) {
        p->part++;
        p->call = 0;
        p->pause_until = s->mono + (sim_random(s, 6) ? 0 : (int64_t)sim_random(s, PAUSE_MS));
        p->deadline = p->pause_until + ANSWER_MS;
        if (p->pause_until <= s->mono)
            go_on(s, p);
    } else if (status == 503) {
        p->wait_until = s->mono + 100 + (int64_t)sim_random(s, 5000);
    } else if (status == 409) {
        p->wait_until = s->mono + 1; /* parts are missing: from the first again */
    } else {
        check_fail(s, "an intake that keeps to the protocol is answered 200, 409 or 503");
    }
}

/* ---- worker: reads what it was given, stores it, and only then says so ---- */

static void say_worker(struct sim *s, struct peer *p, enum dw_mdp_command command,
                       const struct dw_slice *rest, size_t count)
{
    struct dw_slice frames[10];
    size_t n = dw_mdp_head(frames, 1, true, command);
    for (size_t i = 0; i < count; i++)
        frames[n++] = rest[i];
    p->said_at = s->mono;
    sim_say(s, p, &p->conn, frames, n);
}

static void worker_ready(struct sim *s, struct peer *p)
{
    char credit[8];
    snprintf(credit, sizeof credit, "%d", JOBS);
    struct dw_slice rest[] = {dw_slice_of(p->serves_calls ? "case.desk" : "filing"),
                              dw_slice_of(credit)};
    sim_note(s, "worker %d is ready", (int)(p - s->peers));
    memset(p->jobs, 0, sizeof p->jobs);
    p->heard_at = s->mono;
    say_worker(s, p, DW_MDP_READY, rest, DW_COUNT(rest));
}

static void reply(struct sim *s, struct peer *p, struct job *j, const char *status)
{
    struct dw_slice rest[4];
    size_t n = 0;
    rest[n++] = DW_SLICE(j->address, j->address_len);
    rest[n++] = DW_SLICE("", 0);
    if (j->address_len != DW_LEASE_LEN)
        rest[n++] = DW_SLICE(j->echo, sizeof j->echo);
    rest[n++] = dw_slice_of(status);
    sim_note(s, "worker %d replies %s, filing %d", (int)(p - s->peers), status,
             j->address_len == DW_LEASE_LEN ? j->filing : -1);
    say_worker(s, p, DW_MDP_REPLY, rest, n);
    j->used = false;
}

/* A set of ids.  A write may be refused, or its answer be lost: then it is looked at again. */
static const char *store(struct sim *s, int filing, uint32_t variant)
{
    struct filing *f = &s->filings[filing];
    bool there = f->cases && f->stored_id == variant;
    if (f->bad)
        return "422 not signed";
    if (s->store_down)
        return sim_random(s, 2) ? "300 the store is away" : "500 the store failed";
    if (there && !DW_BUG("no-uniqueness"))
        return "200";
    f->stored_id = variant;
    check_stored(s, filing);
    return sim_faulty(s) && sim_random(s, 5) == 0 ? "500 uncertain" : "200";
}

static void fetch_part(struct sim *s, struct peer *p, struct job *j)
{
    uint8_t n[4];
    put_u32(n, (uint32_t)j->part);
    struct dw_slice body[] = {DW_SLICE(j->address, DW_LEASE_LEN), DW_SLICE(n, 4)};
    j->call = ++s->last_call;
    j->next_at = s->mono + ANSWER_MS;
    ask(s, p, &p->side, "queue.part", j->call, body, DW_COUNT(body));
}

static void work(struct sim *s, struct peer *p, struct job *j)
{
    if (j->address_len != DW_LEASE_LEN) {
        reply(s, p, j, "200");
    } else if (DW_BUG("done-before-store")) {
        reply(s, p, j, "200");
        if (sim_random(s, 3)) /* it dies before it gets to storing */
            store(s, j->filing, 0);
    } else if ((uint32_t)j->part < parts_of(j->filing)) {
        if (j->call) /* the answer does not come */
            reply(s, p, j, "500 no part");
        else
            fetch_part(s, p, j);
    } else {
        uint8_t id[DW_ID_LEN];
        uint64_t fence;
        dw_lease_decode(DW_SLICE(j->address, DW_LEASE_LEN), id, &fence);
        reply(s, p, j, store(s, j->filing, id[0]));
    }
}

static void worker_request(struct sim *s, struct peer *p, const struct dw_mdp_message *m)
{
    struct job *j = p->jobs;
    while (j < p->jobs + JOBS && j->used)
        j++;
    if (j == p->jobs + JOBS || m->address.len > sizeof j->address) {
        check_fail(s, "a worker gets no more than its credit");
        return;
    }
    *j = (struct job){.used = true, .address_len = m->address.len};
    memcpy(j->address, m->address.data, m->address.len);
    if (m->address.len == DW_LEASE_LEN) {
        struct dw_item_header h;
        char text[40];
        j->filing = dw_item_header_decode(m->body[0], &h) ? filing_of(h.id) : -1;
        snprintf(text, sizeof text, "filing %d", j->filing);
        if (j->filing < 0 || m->body_count != 2 || !dw_slice_is(m->body[1], text))
            check_fail(s, "an item arrives as it was put");
    } else if (m->body[0].len == sizeof j->echo) {
        memcpy(j->echo, m->body[0].data, sizeof j->echo);
    }
    j->next_at = s->mono + (int64_t)sim_random(s, sim_random(s, 8) ? 300 : 6000);
}

static void got_part(struct sim *s, struct peer *p, const struct dw_mdp_message *m)
{
    char bytes[200];
    struct job *j = p->jobs;
    while (j < p->jobs + JOBS && (!j->used || !j->call || j->call != number_of(&m->body[0])))
        j++;
    if (j == p->jobs + JOBS || m->body_count < 2)
        return;
    if (dw_status_parse(m->body[1]) != 200) {
        reply(s, p, j, "500 no part");
        return;
    }
    size_t len = part_bytes(j->filing, (uint32_t)j->part, bytes);
    if (m->body_count != 3 || m->body[2].len != len || memcmp(m->body[2].data, bytes, len) != 0)
        check_fail(s, "a part arrives as it was put");
    j->part++;
    j->call = 0;
    j->next_at = s->mono + (int64_t)sim_random(s, 50);
}

static void worker_timer(struct sim *s, struct peer *p)
{
    if (s->mono - p->heard_at > SILENT_MS) {
        sim_connect(s, &p->conn);
        worker_ready(s, p);
    }
    for (int i = 0; i < JOBS; i++)
        if (p->jobs[i].used && s->mono >= p->jobs[i].next_at)
            work(s, p, &p->jobs[i]);
    if (s->mono - p->said_at >= HEARTBEAT_MS)
        say_worker(s, p, DW_MDP_HEARTBEAT, NULL, 0);
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
        *c = (struct call){.used = true, .conn = p->conn.id};
        c->bytes = sim_random(s, CALL_BYTES);
        struct dw_slice body = DW_SLICE(filler, c->bytes);
        ask(s, p, &p->conn, "case.desk", (uint64_t)(c - s->calls) + 1, &body, 1);
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
    sim_connect(s, &p->conn);
    p->side = (struct conn){0};
    p->stalled_until = 0;
    p->wait_until = s->mono + 1 + (int64_t)sim_random(s, 1500);
    if (p->kind == WORKER) {
        sim_connect(s, &p->side);
        worker_ready(s, p);
    }
    sim_timer(s, p, LOOK_MS);
}

void peer_timer(struct sim *s, struct peer *p)
{
    static void (*const timers[])(struct sim *, struct peer *) = {
        [INTAKE] = intake_timer, [WORKER] = worker_timer, [CALLER] = caller_timer};
    if (s->mono >= p->stalled_until)
        timers[p->kind](s, p);
    sim_timer(s, p, LOOK_MS);
}

void peer_lost(struct sim *s, struct peer *p, struct conn *c)
{
    sim_connect(s, c);
    if (p->kind == WORKER && c == &p->conn)
        worker_ready(s, p);
}

static void worker_message(struct sim *s, struct peer *p, const struct dw_mdp_message *m)
{
    static const char *const names[] = {[DW_MDP_REQUEST] = "a request",
                                        [DW_MDP_HEARTBEAT] = "a heartbeat",
                                        [DW_MDP_DISCONNECT] = "to disconnect"};
    p->heard_at = s->mono;
    if (m->command != DW_MDP_HEARTBEAT)
        sim_note(s, "worker %d is told %s", (int)(p - s->peers), names[m->command]);
    if (m->command == DW_MDP_REQUEST)
        worker_request(s, p, m);
    else if (m->command == DW_MDP_DISCONNECT) /* it does not know us any more */
        worker_ready(s, p);
}

void peer_message(struct sim *s, struct peer *p, struct conn *c, const struct dw_frames *frames)
{
    struct dw_mdp_message m;
    const char *why;
    if (dw_mdp_parse(frames->items, frames->count, &m, &why) != DW_OK)
        check_fail(s, "the broker keeps to the protocol");
    else if (m.worker)
        worker_message(s, p, &m);
    else if (p->kind == INTAKE)
        intake_answered(s, p, &m);
    else if (p->kind == WORKER)
        got_part(s, p, &m);
    else
        caller_answered(s, &m);
    (void)c;
}
