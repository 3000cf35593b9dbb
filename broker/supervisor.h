/* supervisor.h - which part to start, end or kill now.  Source: supervisor.c
 *
 * A pure step function: (state, time, event) -> (state, acts).  It forks nothing and asks no clock;
 * run_main.c does what the acts say and tells what became of it.
 *
 *   Starting   in order; a part's turn comes when the one before it has been ready once.  A part
 *              that is not ready in time is killed, and what is killed has died.
 *   Dying      a part that died is started again: at once, then after 100 ms, doubling up to the
 *              limit; a minute of readiness is forgiven everything.  Nobody else is touched.
 *   Refusing   a part that ends with "bad configuration" before it was ever ready would do so for
 *              ever: everything is ended, with that code.
 *   Ending     in reverse order, one after the other, each killed when its time is over.  A second
 *              signal kills all at once. */
#ifndef DW_SUPERVISOR_H
#define DW_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DW_SUPERVISOR_PARTS = 16,
    DW_SUPERVISOR_ACTS = 2 * DW_SUPERVISOR_PARTS + 1, /* of one step, at most */
    DW_SUPERVISOR_ABORTED = 130,                      /* exit code after a second signal */
};

enum dw_phase {
    DW_PHASE_DOWN, /* not running; started when its turn and its time have come */
    DW_PHASE_STARTING,
    DW_PHASE_READY,
    DW_PHASE_ENDING, /* told to end, or killed; still running */
};

struct dw_supervised {
    enum dw_phase phase;
    int64_t since;      /* time at which it entered the phase */
    int64_t start_at;   /* DOWN: not before */
    int64_t backoff_ms; /* the wait after its next death */
    int64_t starts;
    bool was_ready; /* once, under this supervisor */
    bool killed;    /* since its last start */
};

struct dw_supervisor {
    int64_t ready_ms, stop_ms, restart_max_ms;
    size_t count;
    struct dw_supervised parts[DW_SUPERVISOR_PARTS];
    int signals;
    bool ending, over;
    int exit_code;
};

enum dw_supervisor_event {
    DW_EVENT_TIME,    /* nothing happened but time */
    DW_EVENT_READY,   /* the part said so */
    DW_EVENT_DIED,    /* the part is gone, its children too */
    DW_EVENT_REFUSED, /* the part is gone, and blames the configuration */
    DW_EVENT_RELOAD,
    DW_EVENT_STOP, /* a signal to stop; the second one counts more */
};

struct dw_supervisor_act {
    enum dw_supervisor_verb { DW_START, DW_RELOAD, DW_TERM, DW_KILL, DW_EXIT } verb;
    size_t part; /* not of EXIT */
    int code;    /* of EXIT, which comes once, last */
};

void dw_supervisor_init(struct dw_supervisor *self, size_t parts, int64_t ready_ms,
                        int64_t stop_ms, int64_t restart_max_ms);
/* Returns the number of acts.  `part` is of no matter to events that concern no part. */
size_t dw_supervisor_step(struct dw_supervisor *self, int64_t now, enum dw_supervisor_event event,
                          size_t part, struct dw_supervisor_act acts[DW_SUPERVISOR_ACTS]);
/* Milliseconds until time alone makes something due; -1 for never. */
int64_t dw_supervisor_wait(const struct dw_supervisor *self, int64_t now);
bool dw_supervisor_all_ready(const struct dw_supervisor *self);

#endif
