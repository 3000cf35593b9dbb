/* faults.c - what goes wrong: processes, connections, disks and their power, clocks. */
#include "sim.h"

#include <sqlite3.h>
#include <string.h>

enum {
    DISK_ERRORS = 1500,
    STORE_ERRORS = 700, /* one call of so many fails */
    SOON_MS = 2000
};

/* ---- disks ---- */

static int judge_queue(struct sim *s, struct node *n, enum disk_call call)
{
    struct peer *adopter = n->gone ? &s->peers[ADOPTER] : NULL;
    if (adopter && adopter->dies_in > 0 && --adopter->dies_in == 0) {
        disk_kill(1 + ADOPTER);
        return SQLITE_IOERR;
    }
    if (n->power_in > 0 && --n->power_in == 0) {
        n->power_in = -1;
        disk_crash_of(n->path, n->loss);
        return SQLITE_IOERR;
    }
    if (n->disk_full && call == DISK_WRITE)
        return SQLITE_FULL;
    return sim_faulty(s) && sim_random(s, DISK_ERRORS) == 0 ? SQLITE_IOERR : SQLITE_OK;
}

static bool is_at_store(const struct peer *p)
{
    return p->kind == WORKER && !p->serves_calls;
}

/* All workers of the store are killed, or their machine stands still.  What somebody read before it
 * was durable is only missed when the power goes soon after. */
static void store_goes(struct sim *s)
{
    bool killed = s->store_loss == DISK_KEEPS;
    sim_note(s, "the store's workers are gone, its disk %s", disk_loss_names[s->store_loss]);
    s->store_power_in = 0;
    disk_crash_of(cases_path, s->store_loss);
    for (int i = 0; i < s->peers_count; i++)
        s->peers[i].died |= is_at_store(&s->peers[i]);
    if (killed && sim_faulty(s) && sim_random(s, 2))
        sim_add(s, POWER, (int64_t)sim_random(s, SOON_MS), 0);
}

void faults_power(struct sim *s)
{
    if (!sim_faulty(s))
        return;
    s->store_loss = DISK_DROPS;
    store_goes(s);
}

static int judge_store(struct sim *s, struct peer *p, enum disk_call call)
{
    if (s->store_power_in > 0 && --s->store_power_in == 0) {
        store_goes(s);
        return SQLITE_IOERR;
    }
    if (p && p->dies_in > 0 && --p->dies_in == 0) {
        p->died = true;
        disk_kill(1 + p->n);
        return SQLITE_IOERR;
    }
    if (s->store_full && call == DISK_WRITE)
        return SQLITE_FULL;
    return sim_faulty(s) && sim_random(s, STORE_ERRORS) == 0 ? SQLITE_IOERR : SQLITE_OK;
}

static int judge(void *arg, enum disk_call call, const char *path, int64_t offset, size_t len)
{
    struct sim *s = arg;
    (void)offset, (void)len;
    if (call == DISK_READ || call == DISK_OPEN)
        return SQLITE_OK;
    for (int i = 0; i < s->brokers; i++)
        if (strncmp(path, s->nodes[i].path, strlen(s->nodes[i].path)) == 0)
            return judge_queue(s, &s->nodes[i], call);
    return judge_store(s, s->at_store, call);
}

/* ---- processes ---- */

static void restart_peer(struct sim *s, struct peer *p)
{
    sim_note(s, "peer %d restarts", p->n);
    for (int i = 0; i < s->brokers; i++) {
        sim_cut(s, p, &p->lines[i].conn);
        sim_cut(s, p, &p->lines[i].side);
    }
    p->life++;
    p->died = false;
    p->dies_in = 0;
    disk_kill(1 + p->n);
    cases_close(s, p);
    if (p->kind == ADMIN)
        adopter_end(p);
    peer_start(s, p);
}

void faults_bury(struct sim *s)
{
    for (int i = 0; i < s->peers_count; i++) {
        if (!s->peers[i].died)
            continue;
        s->deaths++;
        restart_peer(s, &s->peers[i]);
    }
}

/* ---- one after the other ---- */

static void break_broker(struct sim *s, struct node *n)
{
    switch (sim_random(s, 4)) {
    case 0:
        node_down(s, n, "killed");
        break;
    case 1: /* in the middle of a later transaction */
        n->loss = (enum disk_loss)sim_random(s, DISK_LOSSES);
        n->power_in = 1 + (int)sim_random(s, 20);
        break;
    case 2:
        n->disk_full = !n->disk_full;
        sim_note(s, "the disk of broker %d is %s", n->n, n->disk_full ? "full" : "free");
        break;
    default: /* power goes between two transactions */
        n->loss = (enum disk_loss)sim_random(s, DISK_LOSSES);
        node_down(s, n, "no power");
    }
}

static void break_store(struct sim *s)
{
    struct peer *p = &s->peers[INTAKES + sim_random(s, WORKERS - 1)];
    switch (sim_random(s, 4)) {
    case 0: /* in the middle of a later transaction */
        p->dies_in = 1 + (int)sim_random(s, 20);
        break;
    case 1:
        s->store_full = !s->store_full;
        sim_note(s, "the disk of the store is %s", s->store_full ? "full" : "free");
        break;
    case 2:
        s->store_loss = (enum disk_loss)sim_random(s, DISK_LOSSES);
        s->store_power_in = 1 + (int)sim_random(s, 20);
        break;
    default:
        s->store_loss = (enum disk_loss)sim_random(s, DISK_LOSSES);
        store_goes(s);
    }
}

static void break_peer(struct sim *s, struct peer *p)
{
    struct line *l = &p->lines[sim_random(s, (uint64_t)s->brokers)];
    switch (sim_random(s, 3)) {
    case 0:
        restart_peer(s, p);
        break;
    case 1:
        sim_note(s, "a connection of peer %d breaks", p->n);
        sim_cut(s, p, sim_random(s, 3) ? &l->conn : &l->side);
        break;
    default:
        if (p->stalled_until < s->mono) /* what is held for it keeps its order */
            p->stalled_until = s->mono + (int64_t)sim_random(s, 16000);
        sim_note(s, "peer %d stalls", p->n);
    }
}

/* In the middle of taking rows out of the file, or between the question and the answer. */
static void break_adopter(struct sim *s, struct peer *p)
{
    sim_note(s, "who adopts is disturbed");
    if (sim_random(s, 2))
        p->dies_in = 1 + (int)sim_random(s, 8);
    else
        sim_cut(s, p, &p->lines[0].conn);
}

static void break_something(struct sim *s)
{
    s->faults++;
    if (s->brokers > 1 && s->nodes[BROKERS - 1].gone && !s->adopted && sim_random(s, 2)) {
        break_adopter(s, &s->peers[ADOPTER]);
        return;
    }
    switch (sim_random(s, 10)) {
    case 0 ... 3:
        break_broker(s, &s->nodes[sim_random(s, (uint64_t)s->brokers)]);
        break;
    case 4 ... 6:
        break_peer(s, &s->peers[sim_random(s, (uint64_t)s->peers_count)]);
        break;
    case 7 ... 8:
        break_store(s);
        break;
    default:
        s->jump += (int64_t)sim_random(s, 1200000) - 600000;
        sim_note(s, "the clock jumps to %lld", (long long)s->jump);
    }
}

static void calm_down(struct sim *s)
{
    s->calm = true;
    s->store_full = false;
    s->store_power_in = 0;
    s->store_loss = DISK_KEEPS;
    for (int i = 0; i < s->peers_count; i++)
        s->peers[i].dies_in = 0;
    for (int i = 0; i < s->brokers; i++) {
        struct node *n = &s->nodes[i];
        n->disk_full = false;
        if (n->power_in > 0)
            n->power_in = 0;
        n->loss = DISK_KEEPS;
    }
    sim_note(s, "no more faults");
}

/* Its machine stays off, with what its disk has; the disk is put into another one. */
void faults_leave(struct sim *s)
{
    struct node *n = &s->nodes[BROKERS - 1];
    sim_note(s, "broker %d never comes back", n->n);
    n->gone = true;
    n->loss = (enum disk_loss)sim_random(s, DISK_LOSSES);
    node_down(s, n, "for ever");
    if (sim_random(s, 2))
        break_adopter(s, &s->peers[ADOPTER]);
}

void faults_begin(struct sim *s)
{
    disk_use_judge(judge, s);
    if (s->brokers > 1)
        sim_add(s, LEAVE, 3000 + (int64_t)sim_random(s, FAULTS_MS - 5000), 0);
    sim_add(s, FAULT, (int64_t)sim_random(s, 3000), 0);
}

void faults_next(struct sim *s)
{
    if (s->mono >= FAULTS_MS) {
        calm_down(s);
        return;
    }
    break_something(s);
    int64_t at = s->mono + 200 + (int64_t)sim_random(s, 4000);
    sim_add(s, FAULT, (at < FAULTS_MS ? at : FAULTS_MS) - s->mono, 0);
}
