#include "supervisor.h"

#include "dw/process.h"

#include <assert.h>

enum { BACKOFF_FIRST_MS = 100, FORGIVEN_AFTER_MS = 60000 };

struct acts {
    struct dw_supervisor_act *items;
    size_t count;
};

static void add(struct acts *acts, enum dw_supervisor_verb verb, size_t part, int code)
{
    assert(acts->count < DW_SUPERVISOR_ACTS);
    acts->items[acts->count++] = (struct dw_supervisor_act){verb, part, code};
}

static void enter(struct dw_supervised *p, enum dw_phase phase, int64_t now)
{
    p->phase = phase;
    p->since = now;
}

static void start(struct dw_supervisor *self, size_t part, int64_t now, struct acts *acts)
{
    struct dw_supervised *p = &self->parts[part];
    enter(p, DW_PHASE_STARTING, now);
    p->killed = false;
    p->starts++;
    add(acts, DW_START, part, 0);
}

static void kill_part(struct dw_supervisor *self, size_t part, int64_t now, struct acts *acts)
{
    struct dw_supervised *p = &self->parts[part];
    if (p->phase == DW_PHASE_DOWN || p->killed)
        return;
    enter(p, DW_PHASE_ENDING, now);
    p->killed = true;
    add(acts, DW_KILL, part, 0);
}

static void mark_ready(struct dw_supervised *p, int64_t now)
{
    if (p->phase != DW_PHASE_STARTING)
        return; /* said twice, or said while it was being killed */
    enter(p, DW_PHASE_READY, now);
    p->was_ready = true;
}

static void mark_dead(struct dw_supervisor *self, struct dw_supervised *p, int64_t now,
                      bool refused)
{
    if (p->phase == DW_PHASE_READY && now - p->since >= FORGIVEN_AFTER_MS)
        p->backoff_ms = 0;
    enter(p, DW_PHASE_DOWN, now);
    p->start_at = now + p->backoff_ms;
    p->backoff_ms = p->backoff_ms ? 2 * p->backoff_ms : BACKOFF_FIRST_MS;
    if (p->backoff_ms > self->restart_max_ms)
        p->backoff_ms = self->restart_max_ms;
    if (refused && !p->was_ready && !self->ending) {
        self->ending = true;
        self->exit_code = DW_EXIT_CONFIG;
    }
}

static void reload_ready_ones(struct dw_supervisor *self, struct acts *acts)
{
    /* One that is still starting has read the new settings anyway, and may not yet know that
     * SIGHUP is not meant to end it. */
    for (size_t i = 0; i < self->count; i++)
        if (self->parts[i].phase == DW_PHASE_READY)
            add(acts, DW_RELOAD, i, 0);
}

static void stop(struct dw_supervisor *self, int64_t now, struct acts *acts)
{
    self->ending = true;
    if (++self->signals < 2)
        return;
    self->exit_code = DW_SUPERVISOR_ABORTED;
    for (size_t i = 0; i < self->count; i++)
        kill_part(self, i, now, acts);
}

static void drive_running(struct dw_supervisor *self, int64_t now, struct acts *acts)
{
    for (size_t i = 0; i < self->count; i++) {
        const struct dw_supervised *p = &self->parts[i];
        bool its_turn = i == 0 || self->parts[i - 1].was_ready;
        if (p->phase == DW_PHASE_DOWN && its_turn && now >= p->start_at)
            start(self, i, now, acts);
        else if (p->phase == DW_PHASE_STARTING && now - p->since >= self->ready_ms)
            kill_part(self, i, now, acts);
    }
}

static void drive_ending(struct dw_supervisor *self, int64_t now, struct acts *acts)
{
    size_t last = self->count;
    while (last > 0 && self->parts[last - 1].phase == DW_PHASE_DOWN)
        last--;
    if (last == 0) {
        self->over = true;
        add(acts, DW_EXIT, 0, self->exit_code);
        return;
    }
    struct dw_supervised *p = &self->parts[last - 1];
    if (p->phase != DW_PHASE_ENDING) {
        enter(p, DW_PHASE_ENDING, now);
        add(acts, DW_TERM, last - 1, 0);
    } else if (now - p->since >= self->stop_ms) {
        kill_part(self, last - 1, now, acts);
    }
}

void dw_supervisor_init(struct dw_supervisor *self, size_t parts, int64_t ready_ms,
                        int64_t stop_ms, int64_t restart_max_ms)
{
    assert(parts <= DW_SUPERVISOR_PARTS);
    *self = (struct dw_supervisor){.count = parts,
                                   .ready_ms = ready_ms,
                                   .stop_ms = stop_ms,
                                   .restart_max_ms = restart_max_ms};
}

size_t dw_supervisor_step(struct dw_supervisor *self, int64_t now, enum dw_supervisor_event event,
                          size_t part, struct dw_supervisor_act items[DW_SUPERVISOR_ACTS])
{
    struct acts acts = {items, 0};
    if (self->over)
        return 0;
    switch (event) {
    case DW_EVENT_TIME:
        break;
    case DW_EVENT_READY:
        mark_ready(&self->parts[part], now);
        break;
    case DW_EVENT_DIED:
    case DW_EVENT_REFUSED:
        mark_dead(self, &self->parts[part], now, event == DW_EVENT_REFUSED);
        break;
    case DW_EVENT_RELOAD:
        reload_ready_ones(self, &acts);
        break;
    case DW_EVENT_STOP:
        stop(self, now, &acts);
        break;
    }
    if (self->ending)
        drive_ending(self, now, &acts);
    else
        drive_running(self, now, &acts);
    return acts.count;
}

/* When time alone changes something about this part, or -1. */
static int64_t due_at(const struct dw_supervisor *self, size_t part)
{
    const struct dw_supervised *p = &self->parts[part];
    bool its_turn = part == 0 || self->parts[part - 1].was_ready;
    if (self->ending)
        return p->phase == DW_PHASE_ENDING && !p->killed ? p->since + self->stop_ms : -1;
    if (p->phase == DW_PHASE_DOWN)
        return its_turn ? p->start_at : -1;
    return p->phase == DW_PHASE_STARTING ? p->since + self->ready_ms : -1;
}

int64_t dw_supervisor_wait(const struct dw_supervisor *self, int64_t now)
{
    int64_t wait = -1;
    for (size_t i = 0; i < self->count; i++) {
        int64_t at = due_at(self, i);
        if (at < 0)
            continue;
        int64_t ms = at > now ? at - now : 0;
        wait = wait < 0 || ms < wait ? ms : wait;
    }
    return wait;
}

bool dw_supervisor_all_ready(const struct dw_supervisor *self)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->parts[i].phase != DW_PHASE_READY)
            return false;
    return true;
}
