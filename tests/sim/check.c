/* check.c - what must hold, whatever fails. */
#include "sim.h"

#include "queue_private.h"

#include <string.h>

enum { SETTLED_MS = 30000 }; /* after the last fault: what was held or stalled has gone on */

void check_fail(struct sim *s, const char *property)
{
    if (s->failed)
        return;
    s->failed = property;
    sim_note(s, "FAILED: %s", property);
}

/* The call that frames of a client or for a worker carry; NULL for none of ours. */
static struct call *call_in(struct sim *s, const struct dw_mdp_message *m)
{
    if (!m->body_count || m->body[0].len != 8)
        return NULL;
    struct dw_reader r = {.rest = m->body[0]};
    uint64_t n = dw_read_u64(&r);
    return n >= 1 && n <= (uint64_t)s->calls_count ? &s->calls[n - 1] : NULL;
}

static void stops_waiting(struct sim *s, struct call *c)
{
    struct node *n = &s->nodes[c->node];
    if (!c->waiting)
        return;
    c->waiting = false;
    n->waiting_count--;
    n->waiting_bytes -= (int64_t)c->bytes + 8;
}

/* A request came to the broker: it waits, unless the broker answers or hands it out at once. */
void check_arrived(struct sim *s, struct node *n, const struct dw_frames *frames)
{
    struct dw_mdp_message m;
    const char *why;
    if (dw_mdp_parse(frames->items, frames->count, &m, &why) != DW_OK || m.worker ||
        !dw_slice_is(m.service, "case.desk"))
        return;
    struct call *c = call_in(s, &m);
    if (!c || c->waiting)
        return;
    c->waiting = true;
    c->node = n->n;
    c->since = s->mono;
    n->waiting_count++;
    n->waiting_bytes += (int64_t)c->bytes + 8;
}

static bool is_queued(struct node *node, int filing, bool dead)
{
    sqlite3_stmt *q;
    uint8_t id[DW_ID_LEN];
    bool there = false;
    filing_id(filing, id);
    if (sqlite3_prepare_v2(node->queue->db,
                           "SELECT 1 FROM items WHERE id = ?1 AND (state = 3) = ?2", -1, &q,
                           NULL) != SQLITE_OK)
        return false;
    sqlite3_bind_blob(q, 1, id, sizeof id, SQLITE_STATIC);
    sqlite3_bind_int(q, 2, dead);
    there = sqlite3_step(q) == SQLITE_ROW;
    sqlite3_finalize(q);
    return there;
}

static int64_t ask(struct node *node, const char *sql, const uint8_t id[DW_ID_LEN])
{
    sqlite3_stmt *q;
    int64_t n = -1;
    if (sqlite3_prepare_v2(node->queue->db, sql, -1, &q, NULL) != SQLITE_OK)
        return n;
    if (id)
        sqlite3_bind_blob(q, 1, id, DW_ID_LEN, SQLITE_STATIC);
    if (sqlite3_step(q) == SQLITE_ROW)
        n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return n;
}

/* Those before it of its key are done or dead.  With one broker they were acknowledged before it
 * was put. */
static void check_order(struct sim *s, struct node *n, int filing, const uint8_t id[DW_ID_LEN])
{
    bool wrong = ask(n,
                     "SELECT count(*) FROM items e JOIN items i ON i.id = ?1"
                     " AND e.handle = i.handle AND e.seq < i.seq AND e.state <> 3",
                     id) > 0;
    for (int i = 0; i < filing && s->brokers == 1; i++)
        wrong |= key_of(i) == key_of(filing) && !s->filings[i].cases && !is_queued(n, i, true);
    if (wrong)
        check_fail(s, "items of one key come in the order they were put");
}

static void handed_out(struct sim *s, struct node *n, const struct dw_mdp_message *m, uint32_t conn)
{
    uint8_t id[DW_ID_LEN];
    uint64_t fence;
    if (!dw_lease_decode(m->address, id, &fence)) {
        struct call *c = call_in(s, m);
        if (c)
            stops_waiting(s, c);
        return;
    }
    int filing = filing_of(s, id);
    if (filing < 0) {
        check_fail(s, "only what was put is handed out");
        return;
    }
    s->deliveries++;
    sim_note(s, "filing %d goes to %u, fence %llu", filing, conn, (unsigned long long)fence);
    if (fence <= s->filings[filing].fence[n->n])
        check_fail(s, "no lease is given twice with the same fence");
    s->filings[filing].fence[n->n] = fence;
    if (s->filings[filing].done[n->n])
        check_fail(s, "what is done is not handed out again");
    check_order(s, n, filing, id);
}

void check_sent(struct sim *s, struct node *n, const struct dw_peer *to,
                const struct dw_frames *frames)
{
    struct dw_mdp_message m;
    const char *why;
    uint32_t conn = (uint32_t)to->id[2] << 8 | to->id[3];
    if (dw_mdp_parse(frames->items, frames->count, &m, &why) != DW_OK) {
        check_fail(s, "the broker keeps to the protocol");
    } else if (m.worker && m.command == DW_MDP_REQUEST) {
        handed_out(s, n, &m, conn);
    } else if (!m.worker && dw_slice_is(m.service, "case.desk")) {
        struct call *c = call_in(s, &m);
        if (c)
            stops_waiting(s, c);
    }
}

/* Those of a claim that nobody has had yet come by class, then as they were put. */
static void check_claimed(struct sim *s, struct node *n, const struct dw_queue_op *op)
{
    struct dw_item_header last = {0};
    int64_t last_seq = 0;
    for (size_t i = 0; i < op->items_count; i++) {
        struct dw_item_header h;
        int64_t seq = 0;
        if (!dw_item_header_decode(op->items[i].frames.items[0], &h))
            continue;
        seq = ask(n, "SELECT seq FROM items WHERE id = ?1", op->items[i].id);
        if (i && (h.klass < last.klass || (h.klass == last.klass && seq > 0 && seq < last_seq)))
            check_fail(s, "items of a service come by class, then in the order they were put");
        last = h;
        last_seq = seq;
    }
}

/* Rows of items in a call of queue.adopt; `taken`: the queue has these on its disk. */
static void adopts(struct sim *s, struct node *n, const struct dw_queue_op *op, bool taken)
{
    struct dw_left left;
    size_t rows = 0;
    for (size_t i = 0; i < op->frames.count; i += 1 + left.body_frames) {
        if (!dw_left_decode(op->frames.items[i], &left) || (taken && rows++ == op->n))
            return;
        int filing = left.kind == DW_LEFT_ITEM ? filing_of(s, left.id) : -1;
        if (filing < 0 || s->filings[filing].adopted)
            continue;
        s->filings[filing].done[n->n] = false;
        if (!taken)
            continue;
        sim_note(s, "filing %d is adopted", filing);
        s->adoptions++;
        s->filings[filing].adopted = true;
    }
}

/* A filing that is put again, or adopted for the first time, may be there again; for a second time
 * it may not.  Whether the commit is seen to end says nothing about what is on disk. */
void check_runs(struct sim *s, struct node *n, const struct dw_queue_op *op)
{
    int filing = op->kind == DW_QUEUE_CLOSE ? filing_of(s, op->header.id) : -1;
    if (filing >= 0)
        s->filings[filing].done[n->n] = false;
    if (op->kind == DW_QUEUE_ADOPT)
        adopts(s, n, op, false);
}

void check_ran(struct sim *s, struct node *n, const struct dw_queue_op *op)
{
    int filing = filing_of(s, op->id);
    if (op->kind == DW_QUEUE_CLOSE)
        check_runs(s, n, op); /* another of the same transaction may have come before it */
    else if (op->kind == DW_QUEUE_CLAIM)
        check_claimed(s, n, op);
    else if (op->kind == DW_QUEUE_ADOPT && op->status == 200)
        adopts(s, n, op, true);
    else if (op->kind == DW_QUEUE_DONE && op->status == 200 && filing >= 0)
        s->filings[filing].done[n->n] = true;
}

static bool is_adopting(const struct sim *s)
{
    return s->brokers > 1 && s->nodes[BROKERS - 1].gone;
}

/* What the queue knows without looking is what its file has; and what the file may hold. */
void check_file(struct sim *s, struct node *n)
{
    const struct totals *t = &n->queue->totals;
    const int64_t bulk_max = ITEMS_MAX * SLOW_PERCENT / 100;
    if (ask(n, "SELECT count(*) FROM items", NULL) > ITEMS_MAX ||
        (!is_adopting(s) && /* that refuses bulk work no earlier */
         ask(n, "SELECT count(*) FROM items WHERE class = 1", NULL) > bulk_max))
        check_fail(s, "bulk work leaves room for statutory work");
    if (ask(n,
            "SELECT count(*) FROM (SELECT 1 FROM items WHERE state <> 3"
            " GROUP BY handle, service HAVING sum(state <> 4) <> 1)",
            NULL))
        check_fail(s, "of the items of a key one is in front");
    if (t->items != ask(n, "SELECT count(*) FROM items", NULL) ||
        t->bytes != ask(n, "SELECT coalesce(sum(bytes), 0) FROM items", NULL) ||
        t->open_bytes != ask(n, "SELECT coalesce(sum(bytes), 0) FROM open", NULL) ||
        t->states[READY] != ask(n, "SELECT count(*) FROM items WHERE state = 0", NULL) ||
        t->states[LEASED] != ask(n, "SELECT count(*) FROM items WHERE state = 1", NULL) ||
        t->states[DELAYED] != ask(n, "SELECT count(*) FROM items WHERE state = 2", NULL) ||
        t->states[DEAD] != ask(n, "SELECT count(*) FROM items WHERE state = 3", NULL) ||
        t->states[BEHIND] != ask(n, "SELECT count(*) FROM items WHERE state = 4", NULL))
        check_fail(s, "what is counted is what there is");
}

/* `cases` is what some worker saw last; another may have written since. */
void check_store(struct sim *s, struct peer *p)
{
    int counts[FILINGS];
    if (!cases_count(s, p, counts))
        return;
    for (int i = 0; i < FILINGS; i++) {
        if (counts[i] > s->filings[i].cases)
            sim_note(s, "filing %d is stored", i);
        if (counts[i] > 1)
            check_fail(s, "what was acknowledged is done once");
        if (counts[i] && s->filings[i].bad)
            check_fail(s, "what cannot be verified never becomes a case");
        s->filings[i].cases = counts[i];
    }
}

static bool is_anywhere(struct sim *s, int filing)
{
    for (int i = 0; i < s->brokers; i++)
        if (s->nodes[i].up &&
            (is_queued(&s->nodes[i], filing, false) || is_queued(&s->nodes[i], filing, true)))
            return true;
    return false;
}

/* While all queues can be looked into. */
void check_reopened(struct sim *s)
{
    for (int i = 0; i < s->brokers; i++)
        if (!s->nodes[i].up && !(s->nodes[i].gone && s->adopted))
            return;
    for (int i = 0; i < FILINGS; i++)
        if (s->filings[i].acked && !s->filings[i].cases && !is_anywhere(s, i))
            check_fail(s, "what was acknowledged is in the queue or in the store");
}

/* At each tick: what waits is bounded, and does not wait for ever. */
void check_waits(struct sim *s, struct node *n)
{
    int64_t longest = s->config.broker.request_ttl_ms + 2 * TICK_MS;
    if (n->waiting_count > s->config.broker.max_waiting ||
        n->waiting_bytes > s->config.broker.max_waiting_bytes + CALL_BYTES + 8)
        check_fail(s, "what waits in memory is bounded");
    for (int i = 0; i < s->calls_count; i++)
        if (s->calls[i].waiting && s->mono - s->calls[i].since > longest)
            check_fail(s, "every wait ends");
}

static bool is_settled(const struct node *n)
{
    return n->up && !n->busy && n->queue->totals.items == n->queue->totals.states[DEAD];
}

bool check_done(struct sim *s)
{
    for (int i = 0; i < INTAKES; i++)
        if (s->peers[i].filing < FILINGS)
            return false;
    for (int i = 0; i < s->brokers; i++)
        if (s->nodes[i].gone ? !s->adopted : !is_settled(&s->nodes[i]))
            return false;
    for (int i = INTAKES; i < INTAKES + WORKERS - 1; i++)
        if (!s->peers[i].store)
            return false;
    return s->mono > FAULTS_MS + SETTLED_MS;
}

/* Seen by each of those that have it open. */
static void check_cases(struct sim *s, struct peer *p)
{
    int counts[FILINGS];
    const char *wrong;
    if (!cases_count(s, p, counts)) {
        check_fail(s, "the store answers when nothing fails");
        return;
    }
    for (int i = 0; i < FILINGS; i++) {
        if (counts[i] != !s->filings[i].bad)
            check_fail(s, "what was acknowledged is done once");
        else if (counts[i] && (wrong = cases_wrong(s, p, i)))
            check_fail(s, wrong);
    }
}

void check_end(struct sim *s)
{
    for (int i = 0; i < FILINGS; i++) {
        bool dead = false;
        for (int n = 0; n < s->brokers; n++)
            dead |= s->nodes[n].up && is_queued(&s->nodes[n], i, true);
        if (!s->filings[i].acked)
            check_fail(s, "every filing is acknowledged in the end");
        if (s->filings[i].bad && !dead)
            check_fail(s, "what cannot be done is kept as a dead letter");
    }
    for (int i = INTAKES; i < INTAKES + WORKERS - 1; i++)
        check_cases(s, &s->peers[i]);
    for (int i = 0; i < s->brokers; i++)
        if (s->nodes[i].waiting_count)
            check_fail(s, "every wait ends");
}
