/* sim.c - the scheduler, the network, and one event after another. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { START = 1000, NET_MS = 12 };
static const dw_time EPOCH = 1790000000000;

uint64_t sim_random(struct sim *s, uint64_t below)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

bool sim_traces;

void sim_note(struct sim *s, const char *format, ...)
{
    char *line = s->lines[s->lines_count++ % LINES];
    int used = snprintf(line, sizeof s->lines[0], "%lld ", (long long)s->mono);
    va_list args;
    va_start(args, format);
    vsnprintf(line + used, sizeof s->lines[0] - (size_t)used, format, args);
    va_end(args);
    if (sim_traces)
        puts(line);
    for (const char *c = line; *c; c++)
        s->hash = (s->hash ^ (uint8_t)*c) * 0x100000001b3u;
}

dw_time sim_now(const struct sim *s)
{
    return EPOCH + s->mono + s->jump;
}

bool sim_faulty(const struct sim *s)
{
    return !s->calm;
}

/* ---- events ---- */

struct event *sim_add(struct sim *s, enum event_kind kind, int64_t in_ms, uint64_t life)
{
    struct event *e = dw_alloc(sizeof *e), **after = &s->events;
    e->kind = kind;
    e->at = s->mono + in_ms;
    e->life = life;
    while (*after && (*after)->at <= e->at)
        after = &(*after)->next;
    e->next = *after;
    *after = e;
    return e;
}

void sim_free_ops(struct dw_queue_op *op)
{
    while (op) {
        struct dw_queue_op *next = op->next;
        dw_free(op->context);
        dw_queue_op_free(op);
        op = next;
    }
}

static void free_event(struct event *e)
{
    dw_frames_free(&e->frames);
    sim_free_ops(e->ops);
    dw_free(e);
}

void sim_timer(struct sim *s, struct peer *p, int64_t in_ms)
{
    sim_add(s, TIMER, in_ms, p->life)->peer = p->n;
}

/* ---- network ---- */

void sim_connect(struct sim *s, struct conn *c, int node)
{
    *c = (struct conn){
        .id = ++s->last_conn, .node = node, .alive = true, .in_at = s->mono, .out_at = s->mono};
}

void sim_say(struct sim *s, struct peer *p, struct conn *c, const struct dw_slice *frames,
             size_t count)
{
    int64_t at = s->mono + 1 + (int64_t)sim_random(s, NET_MS);
    c->in_at = at > c->in_at ? at : c->in_at;
    struct event *e = sim_add(s, TO_BROKER, c->in_at - s->mono, 0);
    e->peer = p->n;
    e->conn = c->id;
    e->frames = dw_frames_copy(frames, count);
}

struct conn *sim_conn(struct sim *s, uint32_t id, struct peer **peer)
{
    for (int i = 0; i < s->peers_count; i++) {
        *peer = &s->peers[i];
        for (int n = 0; n < s->brokers; n++) {
            struct line *l = &s->peers[i].lines[n];
            if (l->conn.id == id)
                return &l->conn;
            if (l->side.id == id)
                return &l->side;
        }
    }
    return NULL;
}

void sim_cut(struct sim *s, struct peer *p, struct conn *c)
{
    if (!c->id || !c->alive)
        return;
    c->alive = false;
    struct event *e = sim_add(s, LOST, 1 + (int64_t)sim_random(s, 300), p->life);
    e->peer = p->n;
    e->conn = c->id;
}

static const char *const roles[] = {
    [INTAKE] = "web", [WORKER] = "case", [CALLER] = "desk", [ADMIN] = "admin"};

static struct dw_peer name_of(const struct peer *p, uint32_t conn)
{
    struct dw_peer name = {.id_len = 4};
    put_u32(name.id, conn);
    snprintf(name.role, sizeof name.role, "%s", roles[p->kind]);
    return name;
}

static void arrive(struct sim *s, const struct event *e)
{
    struct peer *p;
    struct conn *c = sim_conn(s, e->conn, &p);
    struct node *n = c ? &s->nodes[c->node] : NULL;
    if (!c || !c->alive || !n->up)
        return;
    struct dw_peer from = name_of(p, e->conn);
    check_arrived(s, n, &e->frames);
    dw_broker_message(n->broker, s->mono, sim_now(s), &from, e->frames.items, e->frames.count);
    node_act(s, n);
}

static void at_peer(struct sim *s, const struct event *e)
{
    struct peer *p;
    struct conn *c = sim_conn(s, e->conn, &p);
    if (!c)
        return;
    if (e->kind == LOST)
        peer_lost(s, p, c);
    else if (c->alive && (s->mono > p->stalled_until || (e->held && s->mono == p->stalled_until)))
        peer_message(s, p, c, &e->frames);
    else if (c->alive) { /* it lies in the buffer, in order, until the peer goes on */
        struct event *again = sim_add(s, TO_PEER, p->stalled_until - s->mono, 0);
        again->held = true;
        again->conn = e->conn;
        again->frames = dw_frames_copy(e->frames.items, e->frames.count);
    }
}

/* ---- one event after another ---- */

static void tick(struct sim *s, struct node *n)
{
    dw_broker_tick(n->broker, s->mono, sim_now(s));
    node_act(s, n);
    check_waits(s, n);
    sim_add(s, TICK, TICK_MS, n->life)->node = n->n;
}

static void step(struct sim *s, struct event *e)
{
    struct peer *p = &s->peers[e->peer];
    struct node *n = &s->nodes[e->node];
    bool current = e->life == n->life && n->up;
    disk_use_process(0);
    switch (e->kind) {
    case TO_BROKER:
        arrive(s, e);
        break;
    case TO_PEER:
    case LOST:
        at_peer(s, e);
        break;
    case RUN_QUEUE:
        if (current)
            node_run_queue(s, n);
        break;
    case FINISHED:
        if (current)
            node_finish(s, n, e);
        break;
    case TICK:
        if (current)
            tick(s, n);
        break;
    case TIMER:
        if (e->life == p->life)
            peer_timer(s, p);
        break;
    case BROKER_UP:
        node_up(s, n);
        break;
    case FAULT:
        faults_next(s);
        break;
    case LEAVE:
        faults_leave(s);
        break;
    case POWER:
        faults_power(s);
        break;
    }
    faults_bury(s);
}

static void set_up(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.seed = seed,
                      .random = seed * 0x9e3779b97f4a7c15u + 1,
                      .mono = START,
                      .hash = 0xcbf29ce484222325u};
    dw_config_defaults(&s->config);
    s->config.queue.reserve_bytes = 0; /* that is a real file; here the disk itself says no */
    s->config.queue.max_attempts = 1000;
    s->config.queue.max_items = ITEMS_MAX;
    s->config.queue.slow_percent = SLOW_PERCENT;
    s->config.queue.open_ttl_seconds = 5;
    s->config.broker.max_waiting = WAITING_MAX;
    s->config.broker.max_waiting_bytes = WAITING_BYTES;
    s->brokers = seed % PAIRS ? 1 : BROKERS;
    s->peers_count = s->brokers > 1 ? PEERS : ADOPTER;
    disk_reset(seed);
    for (int i = 0; i < s->brokers; i++)
        node_lay_down(s, &s->nodes[i]);
    cases_lay_down(s);
}

static void set_off(struct sim *s)
{
    for (int i = 0; i < FILINGS; i++) {
        filing_id(i, s->filings[i].other);
        s->filings[i].bad = i < BAD && i % 2 == 0 && sim_random(s, 3) == 0;
    }
    for (int i = 0; i < s->brokers; i++)
        sim_add(s, BROKER_UP, 0, 0)->node = i;
    for (int i = 0; i < s->peers_count; i++) {
        struct peer *p = &s->peers[i];
        p->n = i;
        p->kind = i < INTAKES             ? INTAKE
                  : i < INTAKES + WORKERS ? WORKER
                  : i < ADOPTER           ? CALLER
                                          : ADMIN;
        p->broker = (size_t)i % (size_t)s->brokers;
        p->serves_calls = i == INTAKES + WORKERS - 1;
        p->filing = i < INTAKES ? i : FILINGS;
        peer_start(s, p);
    }
    faults_begin(s);
}

bool sim_run(struct sim *s, uint64_t seed)
{
    set_up(s, seed);
    set_off(s);
    while (s->events && !s->failed) {
        struct event *e = s->events;
        s->events = e->next;
        s->mono = e->at;
        step(s, e);
        free_event(e);
        if (!sim_faulty(s) && s->mono % 8 == 0 && check_done(s))
            break;
        if (s->mono > FAULTS_MS + DRAIN_MS)
            check_fail(s, "every wait ends");
    }
    if (!s->failed)
        check_end(s);
    return !s->failed;
}

void sim_end(struct sim *s)
{
    while (s->events) {
        struct event *e = s->events;
        s->events = e->next;
        free_event(e);
    }
    disk_use_judge(NULL, NULL);
    for (int i = 0; i < s->brokers; i++)
        node_end(&s->nodes[i]);
    for (int i = 0; i < s->peers_count; i++)
        cases_close(s, &s->peers[i]);
    adopter_end(&s->peers[ADOPTER]);
    dw_config_free(&s->config);
}
