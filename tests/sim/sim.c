#include "sim.h"

#include "../support/ending.h"
#include "dw/testing.h"
#include "queue_private.h"

#include <stdio.h>
#include <string.h>

static const char *const PATH = "/no-such-folder/queue.db"; /* only the disk in memory has it */
enum { START = 1000, RUN_MS = 4, NET_MS = 12, RESTART_MS = 800, LOOK_EVERY = 6 };
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

static struct event *add(struct sim *s, enum event_kind kind, int64_t at, uint64_t life)
{
    struct event *e = dw_alloc(sizeof *e), **after = &s->events;
    e->kind = kind;
    e->at = at;
    e->life = life;
    while (*after && (*after)->at <= at)
        after = &(*after)->next;
    e->next = *after;
    *after = e;
    return e;
}

static void free_ops(struct dw_queue_op *op)
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
    free_ops(e->ops);
    dw_free(e);
}

void sim_timer(struct sim *s, struct peer *p, int64_t in_ms)
{
    add(s, TIMER, s->mono + in_ms, p->life)->peer = (int)(p - s->peers);
}

/* ---- network ---- */

void sim_connect(struct sim *s, struct conn *c)
{
    *c = (struct conn){.id = ++s->last_conn, .alive = true, .in_at = s->mono, .out_at = s->mono};
}

void sim_say(struct sim *s, struct peer *p, struct conn *c, const struct dw_slice *frames,
             size_t count)
{
    int64_t at = s->mono + 1 + (int64_t)sim_random(s, NET_MS);
    c->in_at = at > c->in_at ? at : c->in_at;
    struct event *e = add(s, TO_BROKER, c->in_at, 0);
    e->peer = (int)(p - s->peers);
    e->conn = c->id;
    e->frames = dw_frames_copy(frames, count);
}

static struct conn *conn_of(struct sim *s, uint32_t id, struct peer **peer)
{
    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &s->peers[i];
        *peer = p;
        if (p->conn.id == id)
            return &p->conn;
        if (p->side.id == id)
            return &p->side;
    }
    return NULL;
}

/* What is on its way is lost; the peer learns of it later. */
static void cut(struct sim *s, struct peer *p, struct conn *c)
{
    if (!c->id || !c->alive)
        return;
    c->alive = false;
    struct event *e = add(s, LOST, s->mono + 1 + (int64_t)sim_random(s, 300), p->life);
    e->peer = (int)(p - s->peers);
    e->conn = c->id;
}

static const char *const roles[] = {[INTAKE] = "web", [WORKER] = "case", [CALLER] = "desk"};

static struct dw_peer name_of(const struct peer *p, uint32_t conn)
{
    struct dw_peer name = {.id_len = 4};
    for (int i = 0; i < 4; i++)
        name.id[i] = (uint8_t)(conn >> (24 - 8 * i));
    snprintf(name.role, sizeof name.role, "%s", roles[p->kind]);
    return name;
}

static uint32_t conn_named(const struct dw_peer *name)
{
    return (uint32_t)name->id[0] << 24 | (uint32_t)name->id[1] << 16 | (uint32_t)name->id[2] << 8 |
           name->id[3];
}

/* ---- the broker's process ---- */

static void submit(struct sim *s, struct dw_queue_op *op)
{
    op->next = NULL;
    *s->submitted_end = op;
    s->submitted_end = &op->next;
    if (s->busy)
        return;
    s->busy = true;
    add(s, RUN_QUEUE, s->mono + (int64_t)sim_random(s, RUN_MS), s->life);
}

static void send(struct sim *s, const struct dw_act *a)
{
    struct peer *p;
    uint32_t id = conn_named(&a->to);
    struct conn *c = conn_of(s, id, &p);
    check_sent(s, &a->to, &a->frames);
    if ((!c || !c->alive) && sim_random(s, 2)) {
        sim_note(s, "unsent to %u", id);
        dw_broker_unsent(s->broker, sim_now(s), &a->to, a->frames.items, a->frames.count);
        return;
    }
    if (!c || !c->alive)
        return; /* lost in some buffer */
    int64_t at = s->mono + 1 + (int64_t)sim_random(s, NET_MS);
    c->out_at = at > c->out_at ? at : c->out_at;
    struct event *e = add(s, TO_PEER, c->out_at, 0);
    e->peer = (int)(p - s->peers);
    e->conn = id;
    e->frames = dw_frames_copy(a->frames.items, a->frames.count);
}

static void act(struct sim *s)
{
    struct dw_act *acts;
    while ((acts = dw_broker_acts(s->broker))) {
        for (struct dw_act *a = acts, *next; a; a = next) {
            next = a->next;
            if (a->kind == DW_ACT_SEND) {
                send(s, a);
            } else if (a->kind == DW_ACT_QUEUE) {
                submit(s, a->op);
                a->op = NULL;
            } else {
                check_fail(s, "nobody is cut who keeps to the protocol");
            }
            dw_act_free(a);
        }
    }
}

/* The process ends: by its own will, killed, or with its machine. */
static void broker_down(struct sim *s, const char *why)
{
    if (!s->up)
        return;
    sim_note(s, "broker down: %s", why);
    s->crashes++;
    s->up = false;
    s->life++;
    s->power_in = 0;
    disk_crash(s->loss);
    s->loss = DISK_KEEPS;
    dw_queue_close(s->queue);
    dw_broker_free(s->broker);
    free_ops(s->submitted);
    free_ops(s->running);
    s->running = s->submitted = NULL;
    s->submitted_end = &s->submitted;
    s->busy = false;
    s->waiting_bytes = s->waiting_count = 0;
    for (int i = 0; i < s->calls_count; i++)
        s->calls[i].waiting = false;
    for (int i = 0; i < PEERS; i++) {
        cut(s, &s->peers[i], &s->peers[i].conn);
        cut(s, &s->peers[i], &s->peers[i].side);
    }
    add(s, BROKER_UP, s->mono + 50 + (int64_t)sim_random(s, RESTART_MS), s->life);
}

static void open_queue(void *arg)
{
    struct sim *s = arg;
    struct dw_error err;
    s->queue = NULL;
    if (dw_queue_open_still(PATH, &s->config, &s->queue, &err) != DW_OK) {
        sim_note(s, "%s", err.text);
        s->queue = NULL;
    }
}

static void broker_up(struct sim *s)
{
    if (ending_of(open_queue, s) != 0 || !s->queue) {
        sim_note(s, "the queue cannot be opened");
        disk_crash(s->loss);
        if (!sim_faulty(s))
            check_fail(s, "the queue can be opened after any crash");
        add(s, BROKER_UP, s->mono + 1000, s->life);
        return;
    }
    s->up = true;
    s->broker = dw_broker_new(&s->config, s->seed + s->life);
    sim_note(s, "broker up, %lld items", (long long)s->queue->totals.items);
    check_reopened(s);
    add(s, TICK, s->mono + TICK_MS, s->life);
}

static void run_ops(void *arg)
{
    struct sim *s = arg;
    dw_queue_run(s->queue, s->running);
}

/* The deliberate bug: reports filings before they are durable, as the queue's thread can. */
static void report_before(struct sim *s)
{
    for (struct dw_queue_op *op = s->running; op; op = op->next) {
        if (op->kind != DW_QUEUE_CLOSE)
            continue;
        struct dw_queue_op *lie = dw_queue_op_new(op->kind, op->now);
        lie->context = op->context;
        op->context = NULL;
        memcpy(lie->id, op->id, DW_ID_LEN);
        lie->status = 200;
        dw_broker_finished(s->broker, s->mono, sim_now(s), lie);
    }
    act(s);
}

static void note_ops(struct sim *s, const struct dw_queue_op *op)
{
    static const char *const names[] = {"part",  "close", "pending", "claim", "read",
                                        "done",  "later", "dead",    "sweep", "ask",
                                        "reply", "fetch", "forget",  "adopt", "admin"};
    for (; op; op = op->next) {
        const uint8_t *id = op->kind == DW_QUEUE_CLOSE ? op->header.id : op->id;
        sim_note(s, "queue %s filing %d fence %llu: %d, %zu items", names[op->kind], filing_of(id),
                 (unsigned long long)op->fence, op->status, op->items_count);
        if (op->kind == DW_QUEUE_CLAIM)
            check_claimed(s, op);
    }
    if (++s->runs % LOOK_EVERY == 0)
        check_file(s);
}

static void run_queue(struct sim *s)
{
    s->running = s->submitted;
    s->submitted = NULL;
    s->submitted_end = &s->submitted;
    if (DW_BUG("ack-before-commit"))
        report_before(s);
    uint64_t life = s->life;
    int code = ending_of(run_ops, s);
    if (code != 0 || s->power_in < 0) {
        if (code != 0 && code != 70)
            check_fail(s, "a process ends with 70 when its disk fails");
        broker_down(s, code ? "its disk failed" : "its power went");
        return;
    }
    note_ops(s, s->running);
    struct event *e = add(s, FINISHED, s->mono + (int64_t)sim_random(s, RUN_MS), life);
    e->ops = s->running;
    s->running = NULL;
}

static void finish(struct sim *s, struct event *e)
{
    for (struct dw_queue_op *op = e->ops, *next; op; op = next) {
        next = op->next;
        dw_broker_finished(s->broker, s->mono, sim_now(s), op);
    }
    e->ops = NULL;
    s->busy = s->submitted != NULL;
    if (s->busy)
        add(s, RUN_QUEUE, s->mono + (int64_t)sim_random(s, RUN_MS), s->life);
    act(s);
}

/* ---- faults ---- */

static int judge(void *arg, enum disk_call call, const char *path, int64_t offset, size_t len)
{
    struct sim *s = arg;
    (void)path, (void)offset, (void)len;
    if (call == DISK_READ || call == DISK_OPEN)
        return SQLITE_OK;
    if (s->power_in > 0 && --s->power_in == 0) {
        s->power_in = -1;
        disk_crash(s->loss);
        return SQLITE_IOERR;
    }
    if (s->disk_full && call == DISK_WRITE)
        return SQLITE_FULL;
    return sim_faulty(s) && sim_random(s, 1500) == 0 ? SQLITE_IOERR : SQLITE_OK;
}

static void restart_peer(struct sim *s, struct peer *p)
{
    sim_note(s, "peer %d restarts", (int)(p - s->peers));
    cut(s, p, &p->conn);
    cut(s, p, &p->side);
    p->life++;
    peer_start(s, p);
}

static void break_something(struct sim *s)
{
    struct peer *p = &s->peers[sim_random(s, PEERS)];
    s->faults++;
    switch (sim_random(s, 9)) {
    case 0:
        broker_down(s, "killed");
        break;
    case 1: /* in the middle of a later transaction */
        s->loss = (enum disk_loss)sim_random(s, DISK_LOSSES);
        s->power_in = 1 + (int)sim_random(s, 20);
        break;
    case 2:
        restart_peer(s, p);
        break;
    case 3:
        sim_note(s, "connection of peer %d breaks", (int)(p - s->peers));
        cut(s, p, sim_random(s, 3) ? &p->conn : &p->side);
        break;
    case 4:
        if (p->stalled_until < s->mono) /* what is held for it keeps its order */
            p->stalled_until = s->mono + (int64_t)sim_random(s, 16000);
        sim_note(s, "peer %d stalls", (int)(p - s->peers));
        break;
    case 5:
        s->store_down = !s->store_down;
        break;
    case 6:
        s->disk_full = !s->disk_full;
        sim_note(s, "the disk is %s", s->disk_full ? "full" : "free");
        break;
    case 7:
        s->jump += (int64_t)sim_random(s, 1200000) - 600000;
        sim_note(s, "the clock jumps to %lld", (long long)s->jump);
        break;
    default: /* power goes between two transactions */
        s->loss = (enum disk_loss)sim_random(s, DISK_LOSSES);
        broker_down(s, "no power");
    }
}

static void fault(struct sim *s)
{
    if (s->mono >= FAULTS_MS) {
        s->calm = true;
        s->disk_full = s->store_down = false;
        if (s->power_in > 0)
            s->power_in = 0;
        s->loss = DISK_KEEPS;
        sim_note(s, "no more faults");
        return;
    }
    break_something(s);
    int64_t at = s->mono + 200 + (int64_t)sim_random(s, 4000);
    add(s, FAULT, at < FAULTS_MS ? at : FAULTS_MS, 0);
}

/* ---- one event after another ---- */

static void arrive(struct sim *s, const struct event *e)
{
    struct peer *p;
    struct conn *c = conn_of(s, e->conn, &p);
    if (!s->up || !c || !c->alive)
        return;
    struct dw_peer from = name_of(p, e->conn);
    check_arrived(s, &e->frames);
    dw_broker_message(s->broker, s->mono, sim_now(s), &from, e->frames.items, e->frames.count);
    act(s);
}

static void at_peer(struct sim *s, const struct event *e)
{
    struct peer *p;
    struct conn *c = conn_of(s, e->conn, &p);
    if (!c)
        return;
    if (e->kind == LOST)
        peer_lost(s, p, c);
    else if (c->alive && (s->mono > p->stalled_until || (e->held && s->mono == p->stalled_until)))
        peer_message(s, p, c, &e->frames);
    else if (c->alive) { /* it lies in the buffer, in order, until the peer goes on */
        struct event *again = add(s, TO_PEER, p->stalled_until, 0);
        again->held = true;
        again->conn = e->conn;
        again->frames = dw_frames_copy(e->frames.items, e->frames.count);
    }
}

static void tick(struct sim *s)
{
    dw_broker_tick(s->broker, s->mono, sim_now(s));
    act(s);
    check_waits(s);
    add(s, TICK, s->mono + TICK_MS, s->life);
}

static void step(struct sim *s, struct event *e)
{
    struct peer *p = &s->peers[e->peer];
    bool current = e->life == s->life && s->up;
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
            run_queue(s);
        break;
    case FINISHED:
        if (current)
            finish(s, e);
        break;
    case TICK:
        if (current)
            tick(s);
        break;
    case TIMER:
        if (e->life == p->life)
            peer_timer(s, p);
        break;
    case BROKER_UP:
        broker_up(s);
        break;
    case FAULT:
        fault(s);
        break;
    }
}

static void set_up(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.seed = seed,
                      .random = seed * 0x9e3779b97f4a7c15u + 1,
                      .mono = START,
                      .hash = 0xcbf29ce484222325u,
                      .life = 1};
    s->submitted_end = &s->submitted;
    dw_config_defaults(&s->config);
    s->config.queue.reserve_bytes = 0; /* that is a real file; here the disk itself says no */
    s->config.queue.max_attempts = 1000;
    s->config.queue.max_items = ITEMS_MAX;
    s->config.queue.slow_percent = SLOW_PERCENT;
    s->config.queue.open_ttl_seconds = 5;
    s->config.broker.max_waiting = WAITING_MAX;
    s->config.broker.max_waiting_bytes = WAITING_BYTES;
    disk_reset(seed);
}

/* A new queue's file, made once: making it takes longer than the rest. */
static void lay_down_file(struct sim *s)
{
    static uint8_t *made;
    static size_t len;
    if (!made) {
        open_queue(s);
        dw_queue_close(s->queue);
        const uint8_t *bytes = disk_file(PATH, &len);
        made = dw_alloc(len);
        memcpy(made, bytes, len);
    }
    disk_reset(s->seed);
    if (s->seed % 16) /* the others see it made under faults */
        disk_set_file(PATH, made, len);
}

bool sim_run(struct sim *s, uint64_t seed)
{
    set_up(s, seed);
    lay_down_file(s);
    disk_use_judge(judge, s);
    for (int i = 0; i < FILINGS; i++)
        s->filings[i].bad = i < BAD && i % 2 == 0 && sim_random(s, 3) == 0;
    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &s->peers[i];
        p->kind = i < INTAKES ? INTAKE : i < INTAKES + WORKERS ? WORKER : CALLER;
        p->serves_calls = i == INTAKES + WORKERS - 1;
        p->filing = i < INTAKES ? i : FILINGS;
        peer_start(s, p);
    }
    add(s, BROKER_UP, s->mono, s->life);
    add(s, FAULT, s->mono + (int64_t)sim_random(s, 3000), 0);
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
    if (s->up) {
        dw_queue_close(s->queue);
        dw_broker_free(s->broker);
    }
    free_ops(s->submitted);
    free_ops(s->running);
    disk_use_judge(NULL, NULL);
    dw_config_free(&s->config);
}
