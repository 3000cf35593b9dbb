/* adopters.c - `dengwen queue adopt`: a broker that never comes back, and whose file another one
 * takes over. The questions and what becomes of the file are the product's, dw/adopt.h; the model
 * is who runs the command, and runs it again whenever it ended before it was done. */
#include "sim.h"

#include "../support/ending.h"

#include <string.h>

enum {
    ANSWER_MS = 5000,
    AGAIN_MS = 1000, /* the queue had no room */
    RUN_AGAIN_MS = 4000,
    FRAME_BYTES = 64, /* so that bodies are cut */
};

static struct node *left_behind(struct sim *s)
{
    return &s->nodes[BROKERS - 1];
}

struct running {
    struct sim *s;
    struct peer *p;
    int status;
    uint32_t number;
    enum dw_adoption_state state;
    struct dw_slice payload[DW_ADOPTION_FRAMES];
    size_t count;
};

/* ---- the program: it ends with 70 where its disk fails ---- */

static void open_source(void *arg)
{
    struct running *r = arg;
    struct dw_error err;
    if (dw_source_open_still(left_behind(r->s)->path, &r->s->config, &r->p->source, &err) !=
        DW_OK) {
        sim_note(r->s, "adopt: %s", err.text);
        r->p->source = NULL;
        return;
    }
    r->p->adoption = dw_adoption_new(r->p->source, FRAME_BYTES);
}

static void ask_next(void *arg)
{
    struct running *r = arg;
    r->state = dw_adoption_question(r->p->adoption, r->payload, &r->count);
}

static void take_answer(void *arg)
{
    struct running *r = arg;
    dw_adoption_answered(r->p->adoption, r->status, r->number);
    ask_next(arg);
}

static void run_ends(struct sim *s, struct peer *p, const char *why)
{
    sim_note(s, "adopt ends: %s", why);
    adopter_end(p);
    p->call = 0;
    p->dies_in = 0;
    p->wait_until = s->mono + 1 + (int64_t)sim_random(s, RUN_AGAIN_MS);
}

void adopter_end(struct peer *p)
{
    disk_kill(1 + p->n);
    dw_adoption_free(p->adoption);
    if (p->source)
        dw_source_close(p->source);
    p->adoption = NULL;
    p->source = NULL;
}

static void finish(struct sim *s, struct peer *p)
{
    if (dw_source_count(p->source, DW_LEFT_ITEM))
        check_fail(s, "a file that was adopted is empty");
    run_ends(s, p, "all is adopted");
    s->adopted = true;
    check_reopened(s);
}

/* One turn of the program; false: it ended. */
static bool run(struct sim *s, struct peer *p, void (*turn)(void *), struct running *r)
{
    disk_use_process(1 + p->n);
    int code = ending_of(turn, r);
    if (code != 0 && code != 70)
        check_fail(s, "a process ends with 70 when its disk fails");
    if (code != 0 || left_behind(s)->power_in < 0) {
        left_behind(s)->power_in = 0;
        run_ends(s, p, "its disk failed");
        return false;
    }
    return true;
}

static void send(struct sim *s, struct peer *p, const struct running *r)
{
    const char *why;
    if (r->state == DW_ADOPTION_DONE) {
        finish(s, p);
    } else if (r->state == DW_ADOPTION_FAILED) {
        dw_adoption_code(p->adoption, &why);
        run_ends(s, p, why);
    } else {
        p->call = ++s->last_call;
        p->deadline = s->mono + ANSWER_MS;
        peer_ask(s, p, &p->lines[0].conn, "queue.adopt", p->call, r->payload, r->count);
    }
}

/* ---- who runs it ---- */

static void begin(struct sim *s, struct peer *p)
{
    struct running r = {.s = s, .p = p};
    sim_note(s, "adopt begins");
    if (!run(s, p, open_source, &r))
        return;
    if (!p->adoption) {
        if (!sim_faulty(s))
            check_fail(s, "the queue can be opened after any crash");
        run_ends(s, p, "the file cannot be opened");
    } else if (run(s, p, ask_next, &r)) {
        send(s, p, &r);
    }
}

void adopter_timer(struct sim *s, struct peer *p)
{
    struct running r = {.s = s, .p = p};
    if (!left_behind(s)->gone || s->adopted || s->mono < p->wait_until)
        return;
    if (!p->adoption)
        begin(s, p);
    else if (p->call && s->mono >= p->deadline)
        run_ends(s, p, "the broker does not answer");
    else if (!p->call && run(s, p, ask_next, &r)) /* there was no room */
        send(s, p, &r);
}

void adopter_answered(struct sim *s, struct peer *p, const struct dw_mdp_message *m)
{
    struct running r = {.s = s, .p = p};
    if (!p->adoption || m->body_count < 2 || number_of(&m->body[0]) != p->call)
        return;
    r.status = dw_status_parse(m->body[1]);
    if (m->body_count > 2 && m->body[2].len == 4 && r.status == 200) {
        struct dw_reader reader = {.rest = m->body[2]};
        r.number = dw_read_u32(&reader);
    }
    sim_note(s, "adopt is answered %d, %u", r.status, r.number);
    p->call = 0;
    if (sim_faulty(s) && sim_random(s, 6) == 0) { /* the broker has it, and the file too */
        run_ends(s, p, "killed");
        return;
    }
    if (r.status == 503)
        p->wait_until = s->mono + (int64_t)sim_random(s, AGAIN_MS);
    else if (run(s, p, take_answer, &r))
        send(s, p, &r);
}
