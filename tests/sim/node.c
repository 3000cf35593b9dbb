/* node.c - a broker's process: its core, its queue's thread, and the file it leaves behind. */
#include "sim.h"

#include "../support/ending.h"
#include "dw/testing.h"
#include "queue_private.h"

#include <string.h>

enum { RUN_MS = 4, NET_MS = 12, RESTART_MS = 800, LOOK_EVERY = 6 };

/* Only the disks in memory have these. */
static const char *const paths[] = {"/no-such-folder-0/queue.db", "/no-such-folder-1/queue.db"};

static void add(struct sim *s, const struct node *n, enum event_kind kind, int64_t in_ms)
{
    sim_add(s, kind, in_ms, n->life)->node = n->n;
}

static void submit(struct sim *s, struct node *n, struct dw_queue_op *op)
{
    op->next = NULL;
    *n->submitted_end = op;
    n->submitted_end = &op->next;
    if (n->busy)
        return;
    n->busy = true;
    add(s, n, RUN_QUEUE, (int64_t)sim_random(s, RUN_MS));
}

static uint32_t conn_named(const struct dw_peer *name)
{
    return (uint32_t)name->id[0] << 24 | (uint32_t)name->id[1] << 16 | (uint32_t)name->id[2] << 8 |
           name->id[3];
}

static void send(struct sim *s, struct node *n, const struct dw_act *a)
{
    struct peer *p;
    uint32_t id = conn_named(&a->to);
    struct conn *c = sim_conn(s, id, &p);
    check_sent(s, n, &a->to, &a->frames);
    if ((!c || !c->alive) && sim_random(s, 2)) {
        sim_note(s, "unsent to %u", id);
        dw_broker_unsent(n->broker, sim_now(s), &a->to, a->frames.items, a->frames.count);
        return;
    }
    if (!c || !c->alive)
        return; /* lost in some buffer */
    int64_t at = s->mono + 1 + (int64_t)sim_random(s, NET_MS);
    c->out_at = at > c->out_at ? at : c->out_at;
    struct event *e = sim_add(s, TO_PEER, c->out_at - s->mono, 0);
    e->peer = p->n;
    e->conn = id;
    e->frames = dw_frames_copy(a->frames.items, a->frames.count);
}

void node_act(struct sim *s, struct node *n)
{
    struct dw_act *acts;
    while ((acts = dw_broker_acts(n->broker))) {
        for (struct dw_act *a = acts, *next; a; a = next) {
            next = a->next;
            if (a->kind == DW_ACT_SEND) {
                send(s, n, a);
            } else if (a->kind == DW_ACT_QUEUE) {
                submit(s, n, a->op);
                a->op = NULL;
            } else {
                check_fail(s, "nobody is cut who keeps to the protocol");
            }
            dw_act_free(a);
        }
    }
}

static void forget_ops(struct node *n)
{
    sim_free_ops(n->submitted);
    sim_free_ops(n->running);
    n->running = n->submitted = NULL;
    n->submitted_end = &n->submitted;
    n->busy = false;
}

void node_down(struct sim *s, struct node *n, const char *why)
{
    if (!n->up)
        return;
    sim_note(s, "broker %d down: %s", n->n, why);
    s->crashes++;
    n->up = false;
    n->life++;
    n->power_in = 0;
    disk_crash_of(n->path, n->loss);
    n->loss = DISK_KEEPS;
    dw_queue_close(n->queue);
    dw_broker_free(n->broker);
    forget_ops(n);
    n->waiting_bytes = n->waiting_count = 0;
    for (int i = 0; i < s->calls_count; i++)
        s->calls[i].waiting &= s->calls[i].node != n->n;
    for (int i = 0; i < s->peers_count; i++) {
        sim_cut(s, &s->peers[i], &s->peers[i].lines[n->n].conn);
        sim_cut(s, &s->peers[i], &s->peers[i].lines[n->n].side);
    }
    if (!n->gone)
        add(s, n, BROKER_UP, 50 + (int64_t)sim_random(s, RESTART_MS));
}

struct opening {
    struct sim *s;
    struct node *n;
};

static void open_queue(void *arg)
{
    struct opening *o = arg;
    struct dw_error err;
    o->n->queue = NULL;
    if (dw_queue_open_still(o->n->path, &o->s->config, &o->n->queue, &err) != DW_OK) {
        sim_note(o->s, "%s", err.text);
        o->n->queue = NULL;
    }
}

void node_up(struct sim *s, struct node *n)
{
    struct opening o = {s, n};
    if (n->gone)
        return;
    if (ending_of(open_queue, &o) != 0 || !n->queue) {
        sim_note(s, "the queue cannot be opened");
        disk_crash_of(n->path, n->loss);
        if (!sim_faulty(s))
            check_fail(s, "the queue can be opened after any crash");
        add(s, n, BROKER_UP, 1000);
        return;
    }
    n->up = true;
    n->broker = dw_broker_new(&s->config, s->seed + n->life);
    sim_note(s, "broker %d up, %lld items", n->n, (long long)n->queue->totals.items);
    check_reopened(s);
    add(s, n, TICK, TICK_MS);
}

/* ---- the queue's thread ---- */

static void run_ops(void *arg)
{
    struct node *n = arg;
    dw_queue_run(n->queue, n->running);
}

/* The deliberate bug: reports filings before they are durable, as the queue's thread can. */
static void report_before(struct sim *s, struct node *n)
{
    for (struct dw_queue_op *op = n->running; op; op = op->next) {
        if (op->kind != DW_QUEUE_CLOSE)
            continue;
        struct dw_queue_op *lie = dw_queue_op_new(op->kind, op->now);
        lie->context = op->context;
        op->context = NULL;
        memcpy(lie->id, op->id, DW_ID_LEN);
        lie->status = 200;
        dw_broker_finished(n->broker, s->mono, sim_now(s), lie);
    }
    node_act(s, n);
}

static void note_ops(struct sim *s, struct node *n)
{
    static const char *const names[] = {"part",  "close", "pending", "claim", "read",
                                        "done",  "later", "dead",    "sweep", "ask",
                                        "reply", "fetch", "forget",  "adopt", "admin"};
    for (const struct dw_queue_op *op = n->running; op; op = op->next) {
        const uint8_t *id = op->kind == DW_QUEUE_CLOSE ? op->header.id : op->id;
        sim_note(s, "queue %d %s filing %d fence %llu: %d, %zu items", n->n, names[op->kind],
                 filing_of(s, id), (unsigned long long)op->fence, op->status, op->items_count);
        check_ran(s, n, op);
    }
    if (++s->runs % LOOK_EVERY == 0)
        check_file(s, n);
}

void node_run_queue(struct sim *s, struct node *n)
{
    n->running = n->submitted;
    n->submitted = NULL;
    n->submitted_end = &n->submitted;
    for (const struct dw_queue_op *op = n->running; op; op = op->next)
        check_runs(s, n, op);
    if (DW_BUG("ack-before-commit"))
        report_before(s, n);
    int code = ending_of(run_ops, n);
    if (code != 0 || n->power_in < 0) {
        if (code != 0 && code != 70)
            check_fail(s, "a process ends with 70 when its disk fails");
        node_down(s, n, code ? "its disk failed" : "its power went");
        return;
    }
    note_ops(s, n);
    struct event *e = sim_add(s, FINISHED, (int64_t)sim_random(s, RUN_MS), n->life);
    e->node = n->n;
    e->ops = n->running;
    n->running = NULL;
}

void node_finish(struct sim *s, struct node *n, struct event *e)
{
    for (struct dw_queue_op *op = e->ops, *next; op; op = next) {
        next = op->next;
        dw_broker_finished(n->broker, s->mono, sim_now(s), op);
    }
    e->ops = NULL;
    n->busy = n->submitted != NULL;
    if (n->busy)
        add(s, n, RUN_QUEUE, (int64_t)sim_random(s, RUN_MS));
    node_act(s, n);
}

/* ---- its first and its last moment ---- */

/* A new queue's file, made once: making it takes longer than the rest. */
void node_lay_down(struct sim *s, struct node *n)
{
    static uint8_t *made;
    static size_t len;
    n->n = (int)(n - s->nodes);
    n->path = paths[n->n];
    n->life = 1;
    n->submitted_end = &n->submitted;
    if (!made) {
        open_queue(&(struct opening){s, n});
        dw_queue_close(n->queue);
        const uint8_t *bytes = disk_file(n->path, &len);
        made = dw_alloc(len);
        memcpy(made, bytes, len);
        disk_reset(s->seed);
    }
    if (s->seed % 16) /* the others see it made under faults */
        disk_set_file(n->path, made, len);
}

void node_end(struct node *n)
{
    if (n->up) {
        dw_queue_close(n->queue);
        dw_broker_free(n->broker);
    }
    forget_ops(n);
}
