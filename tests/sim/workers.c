/* workers.c - case workers: each reads what it was given, stores it, and only then says so.  What
 * comes next after each answer is dw/registering.h; a worker that serves calls only answers them.
 */
#include "sim.h"

#include "dw/testing.h"

#include <stdio.h>
#include <string.h>

enum {
    ANSWER_MS = 3000, /* it waits so long for a part */
    HEARTBEAT_MS = 1000,
    SILENT_MS = 4000, /* of the broker: the worker connects anew */
    OPEN_MS = 1000,   /* until a process whose store cannot be opened is started again */
};

static void say(struct sim *s, struct peer *p, struct line *l, enum dw_mdp_command command,
                const struct dw_slice *rest, size_t count)
{
    struct dw_slice frames[10];
    size_t n = dw_mdp_head(frames, 1, true, command);
    for (size_t i = 0; i < count; i++)
        frames[n++] = rest[i];
    l->said_at = s->mono;
    sim_say(s, p, &l->conn, frames, n);
}

static void get_ready(struct sim *s, struct peer *p, struct line *l)
{
    char credit[8];
    snprintf(credit, sizeof credit, "%d", JOBS);
    struct dw_slice rest[] = {dw_slice_of(p->serves_calls ? "case.desk" : "filing"),
                              dw_slice_of(credit)};
    sim_note(s, "worker %d is ready", p->n);
    memset(l->jobs, 0, sizeof l->jobs);
    l->heard_at = s->mono;
    say(s, p, l, DW_MDP_READY, rest, DW_COUNT(rest));
}

static void reply(struct sim *s, struct peer *p, struct line *l, struct job *j, int status,
                  const char *why)
{
    struct dw_slice rest[5];
    char number[8];
    size_t n = 0;
    snprintf(number, sizeof number, "%d", status);
    rest[n++] = DW_SLICE(j->address, j->address_len);
    rest[n++] = DW_SLICE("", 0);
    if (j->address_len != DW_LEASE_LEN)
        rest[n++] = DW_SLICE(j->echo, sizeof j->echo);
    rest[n++] = dw_slice_of(number);
    rest[n++] = dw_slice_of(why);
    sim_note(s, "worker %d replies %d, filing %d", p->n, status,
             j->address_len == DW_LEASE_LEN ? j->filing : -1);
    say(s, p, l, DW_MDP_REPLY, rest, n);
    j->used = false;
}

static void ask_for_part(struct sim *s, struct peer *p, struct line *l, struct job *j)
{
    uint8_t n[4];
    put_u32(n, j->part);
    struct dw_slice body[] = {DW_SLICE(j->address, DW_LEASE_LEN), DW_SLICE(n, 4)};
    j->call = ++s->last_call;
    j->next_at = s->mono + ANSWER_MS;
    peer_ask(s, p, &l->side, "queue.part", j->call, body, DW_COUNT(body));
}

/* Parts are asked for one after the other; `next` stays FETCH until the last is stored. */
static void fetch(struct sim *s, struct peer *p, struct line *l, struct job *j)
{
    if (!j->call && j->part < j->registering.parts) {
        ask_for_part(s, p, l, j);
        return;
    }
    if (j->call) /* the answer does not come */
        dw_registering_no_part(&j->registering);
    j->next = dw_registering_fetched(&j->registering);
}

/* All that is done with one alone: until it waits, is to be written, or is answered. */
static void go_on(struct sim *s, struct peer *p, struct line *l, struct job *j)
{
    if (j->next == DW_REGISTERING_LOOK)
        j->next = dw_registering_looked(&j->registering, cases_find(s, p, j));
    if (j->next == DW_REGISTERING_FETCH)
        fetch(s, p, l, j);
    if (j->next == DW_REGISTERING_ANSWER && !p->died) {
        check_store(s, p);
        reply(s, p, l, j, j->registering.status, j->registering.why);
    }
}

static void write_all(struct sim *s, struct peer *p)
{
    struct job *jobs[BROKERS * JOBS];
    struct line *lines[BROKERS * JOBS];
    size_t count = 0;
    for (int i = 0; i < s->brokers * JOBS; i++) {
        struct line *l = &p->lines[i / JOBS];
        struct job *j = &l->jobs[i % JOBS];
        if (!j->used || j->next != DW_REGISTERING_WRITE || s->mono < j->next_at)
            continue;
        lines[count] = l;
        jobs[count++] = j;
    }
    if (!count)
        return;
    cases_write(s, p, jobs, count);
    for (size_t i = 0; i < count && !p->died; i++)
        go_on(s, p, lines[i], jobs[i]);
}

/* The deliberate bug: it says so first, and may die before it gets to storing. */
static void say_done_first(struct sim *s, struct peer *p, struct line *l, struct job *j)
{
    struct job *jobs[] = {j};
    reply(s, p, l, j, 200, "");
    if (sim_random(s, 3))
        cases_write(s, p, jobs, 1);
}

static void work(struct sim *s, struct peer *p, struct line *l, struct job *j)
{
    if (p->serves_calls)
        reply(s, p, l, j, 200, "");
    else if (DW_BUG("done-before-store"))
        say_done_first(s, p, l, j);
    else
        go_on(s, p, l, j);
}

static void begin_filing(struct sim *s, struct job *j, const struct dw_mdp_message *m)
{
    struct dw_item_header h;
    char text[40];
    j->filing = dw_item_header_decode(m->body[0], &h) ? filing_of(s, h.id) : -1;
    snprintf(text, sizeof text, "filing %d", j->filing);
    if (j->filing < 0 || m->body_count != 2 || !dw_slice_is(m->body[1], text)) {
        check_fail(s, "an item arrives as it was put");
        return;
    }
    memcpy(j->id, h.id, DW_ID_LEN);
    memcpy(j->attempt, h.attempt, DW_ID_LEN);
    j->next = dw_registering_begin(&j->registering, h.parts,
                                   s->filings[j->filing].bad ? "it is not signed" : NULL);
}

static void take(struct sim *s, struct peer *p, struct line *l, const struct dw_mdp_message *m)
{
    struct job *j = l->jobs;
    while (j < l->jobs + JOBS && j->used)
        j++;
    if (j == l->jobs + JOBS || m->address.len > sizeof j->address) {
        check_fail(s, "a worker gets no more than its credit");
        return;
    }
    *j = (struct job){.used = true, .address_len = m->address.len};
    memcpy(j->address, m->address.data, m->address.len);
    if (!p->serves_calls)
        begin_filing(s, j, m);
    else if (m->body[0].len == sizeof j->echo)
        memcpy(j->echo, m->body[0].data, sizeof j->echo);
    j->next_at = s->mono + (int64_t)sim_random(s, sim_random(s, 8) ? 300 : 6000);
}

static struct job *job_that_asked(struct sim *s, struct peer *p, uint64_t call)
{
    for (int i = 0; i < s->brokers * JOBS; i++) {
        struct job *j = &p->lines[i / JOBS].jobs[i % JOBS];
        if (j->used && j->call && j->call == call)
            return j;
    }
    return NULL;
}

void worker_got_part(struct sim *s, struct peer *p, const struct dw_mdp_message *m)
{
    char bytes[PART_BYTES];
    struct job *j = job_that_asked(s, p, number_of(&m->body[0]));
    if (!j || m->body_count < 2)
        return;
    size_t len = part_bytes(j->filing, j->part, bytes);
    j->next_at = s->mono + (int64_t)sim_random(s, 50);
    if (dw_status_parse(m->body[1]) != 200)
        return; /* as if it had not come: the job looks again, and finds that it was asked for */
    if (m->body_count != 3 || m->body[2].len != len || memcmp(m->body[2].data, bytes, len) != 0)
        check_fail(s, "a part arrives as it was put");
    j->call = 0;
    if (dw_registering_stored(&j->registering, cases_put_part(s, p, j, m->body[2])))
        j->part++;
    else
        j->next = dw_registering_fetched(&j->registering);
}

void worker_message(struct sim *s, struct peer *p, struct line *l, const struct dw_mdp_message *m)
{
    static const char *const names[] = {[DW_MDP_REQUEST] = "a request",
                                        [DW_MDP_HEARTBEAT] = "a heartbeat",
                                        [DW_MDP_DISCONNECT] = "to disconnect"};
    l->heard_at = s->mono;
    if (m->command != DW_MDP_HEARTBEAT)
        sim_note(s, "worker %d is told %s", p->n, names[m->command]);
    if (m->command == DW_MDP_REQUEST)
        take(s, p, l, m);
    else if (m->command == DW_MDP_DISCONNECT) /* it does not know us any more */
        get_ready(s, p, l);
}

/* ---- its process ---- */

void worker_begin(struct sim *s, struct peer *p)
{
    if (!p->serves_calls && !cases_open(s, p)) {
        if (!sim_faulty(s))
            check_fail(s, "the store can be opened after any crash");
        p->open_at = s->mono + OPEN_MS;
        return;
    }
    if (!p->serves_calls)
        check_store(s, p);
    for (int i = 0; i < s->brokers; i++) {
        sim_connect(s, &p->lines[i].conn, i);
        sim_connect(s, &p->lines[i].side, i);
        get_ready(s, p, &p->lines[i]);
    }
}

static void look_after_line(struct sim *s, struct peer *p, struct line *l)
{
    if (s->mono - l->heard_at > SILENT_MS) {
        sim_connect(s, &l->conn, l->conn.node);
        get_ready(s, p, l);
    }
    for (int i = 0; i < JOBS && !p->died; i++)
        if (l->jobs[i].used && s->mono >= l->jobs[i].next_at)
            work(s, p, l, &l->jobs[i]);
}

void worker_timer(struct sim *s, struct peer *p)
{
    if (!p->serves_calls && !p->store) {
        if (s->mono >= p->open_at)
            worker_begin(s, p);
        return;
    }
    if (!p->serves_calls && !cases_look_after(s, p)) {
        sim_note(s, "worker %d ends: an I/O error in the store", p->n);
        p->died = true;
        return;
    }
    for (int i = 0; i < s->brokers; i++)
        look_after_line(s, p, &p->lines[i]);
    if (!p->died)
        write_all(s, p);
    for (int i = 0; i < s->brokers && !p->died; i++)
        if (s->mono - p->lines[i].said_at >= HEARTBEAT_MS)
            say(s, p, &p->lines[i], DW_MDP_HEARTBEAT, NULL, 0);
}

void worker_lost(struct sim *s, struct peer *p, struct conn *c)
{
    struct line *l = &p->lines[c->node];
    sim_connect(s, c, c->node);
    if (c == &l->conn)
        get_ready(s, p, l);
}
