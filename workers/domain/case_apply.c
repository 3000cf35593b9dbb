/* case_apply.c - what an event does to the projection, and its clocks. */
#include "case_private.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void *dw_append(struct dw_arena *arena, void *items_ptr, size_t *count, size_t size)
{
    char **items = items_ptr;
    char *grown = dw_arena_alloc(arena, (*count + 1) * size);
    if (!grown)
        abort(); /* the arena of a case is sized for its limits */
    if (*count)
        memcpy(grown, *items, *count * size);
    memset(grown + *count * size, 0, size);
    *items = grown;
    return grown + (*count)++ * size;
}

int32_t dw_case_epoch(const struct dw_case *c, enum dw_root_kind kind)
{
    int32_t epoch = 0;
    for (size_t i = 0; i < c->roots_count; i++)
        if (c->roots[i].kind == (int32_t)kind && c->roots[i].epoch > epoch)
            epoch = c->roots[i].epoch;
    return epoch;
}

const struct dw_root_ref *dw_case_root(const struct dw_case *c, int32_t kind, int32_t epoch)
{
    for (size_t i = 0; i < c->roots_count; i++)
        if (c->roots[i].kind == kind && c->roots[i].epoch == epoch)
            return &c->roots[i];
    return NULL;
}

void dw_system_step(uint8_t step[16], const struct dw_case *c, const char *what, int32_t a,
                    int32_t b)
{
    int32_t numbers[2] = {a, b};
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, 16);
    crypto_generichash_update(&state, (const uint8_t *)"dengwen/system/1", 17);
    crypto_generichash_update(&state, c->id, sizeof c->id);
    crypto_generichash_update(&state, (const uint8_t *)what, strlen(what) + 1);
    crypto_generichash_update(&state, (const uint8_t *)numbers, sizeof numbers);
    crypto_generichash_final(&state, step, 16);
}

/* ---- clocks ---- */

static bool among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void end_clock(struct dw_clock *clock, const struct dw_event *event)
{
    clock->ended = event->day;
    clock->ended_by = event->kind;
}

/* A clock ends with the events its rule names, and when responsibility passes to another body. */
static void stop_clocks(const struct dw_domain *domain, struct dw_case *c,
                        const struct dw_event *event, bool handed_over)
{
    for (size_t i = 0; i < c->clocks_count; i++) {
        struct dw_clock *clock = &c->clocks[i];
        if (clock->ended)
            continue;
        const struct dw_rule *rule = dw_rule_of_pack(domain->rules, clock->rule, clock->pack);
        if ((rule && among(event->kind, rule->stops, rule->stops_count)) ||
            (handed_over && strcmp(clock->body, c->body) != 0))
            end_clock(clock, event);
    }
}

static void start_clock(const struct dw_domain *domain, struct dw_case *c,
                        const struct dw_rule *rule, dw_day start, struct dw_arena *arena)
{
    struct dw_due due;
    if (c->clocks_count >= DW_CASE_CLOCKS_MAX ||
        dw_rule_due(rule, domain->calendar, start, false, arena, &due) != DW_OK)
        return;
    struct dw_clock *clock = dw_append(arena, &c->clocks, &c->clocks_count, sizeof *clock);
    *clock = (struct dw_clock){.rule = rule->id,
                               .pack = rule->pack,
                               .body = c->body,
                               .start = start,
                               .soon = dw_rule_soon(rule, domain->calendar, &due),
                               .due = due.due,
                               .estimate = due.estimate};
}

static void start_clocks(const struct dw_domain *domain, struct dw_case *c,
                         const struct dw_event *event, struct dw_arena *arena)
{
    for (size_t i = 0; i < dw_rules_count(domain->rules); i++) {
        const struct dw_rule *rule = dw_rules_at(domain->rules, i);
        bool in_force = rule->from <= event->day && (!rule->until || rule->until >= event->day);
        if (in_force && among(event->kind, rule->starts, rule->starts_count) &&
            (c->facts.real_name || !rule->real_name_only))
            start_clock(domain, c, rule, event->day, arena);
    }
}

/* "clock D08 0 2": which clock told which stage. */
static void tell_stage(struct dw_case *c, const struct dw_event *event)
{
    static const struct {
        const char *kind;
        int32_t stage;
    } stages[] = {{"clock_soon", DW_STAGE_SOON},
                  {"clock_due", DW_STAGE_DUE},
                  {"clock_overdue", DW_STAGE_OVERDUE}};
    for (size_t s = 0; s < DW_COUNT(stages); s++) {
        if (strcmp(stages[s].kind, event->kind) != 0)
            continue;
        for (size_t i = 0; i < c->clocks_count; i++)
            if (!c->clocks[i].ended && c->clocks[i].stage < stages[s].stage && event->reason &&
                strcmp(c->clocks[i].rule, event->reason) == 0)
                c->clocks[i].stage = stages[s].stage;
    }
}

/* ---- grants ---- */

static void add_roots(struct dw_case *c, const struct dw_root_ref *roots, size_t count,
                      struct dw_arena *arena)
{
    for (size_t i = 0; i < count; i++)
        *(struct dw_root_ref *)dw_append(arena, &c->roots, &c->roots_count, sizeof *roots) =
            roots[i];
}

static void add_grants(struct dw_case *c, const struct dw_grant *grants, size_t count,
                       struct dw_arena *arena)
{
    for (size_t i = 0; i < count; i++)
        *(struct dw_grant *)dw_append(arena, &c->grants, &c->grants_count, sizeof *grants) =
            grants[i];
}

/* The grants of a body whose part has ended.  What it could read, it may have kept. */
static void drop_grants_of(struct dw_case *c, const char *body)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->grants_count; i++) {
        bool theirs = (c->grants[i].to == DW_TO_BODY || c->grants[i].to == DW_TO_CUSTODIAN) &&
                      strcmp(c->grants[i].id, body) == 0;
        if (!theirs)
            c->grants[kept++] = c->grants[i];
    }
    c->grants_count = kept;
}

static void end_transfer(struct dw_case *c)
{
    c->transfer_to = c->transfer_from = c->state_before = "";
    c->transfer_received = false;
}

/* ---- events with an effect of their own ---- */

static void on_registered(struct dw_case *c, const struct dw_event *event,
                          const struct dw_said *said, struct dw_arena *arena)
{
    const struct dw_sealed_filing *f = said->filing;
    (void)event;
    if (!f)
        return;
    memcpy(c->id, f->id, sizeof c->id);
    memcpy(c->handle, f->handle, sizeof c->handle);
    memcpy(c->auth_hash, f->auth_hash, sizeof c->auth_hash);
    memcpy(c->reporter, f->reporter, sizeof c->reporter);
    memcpy(c->provider, f->provider, sizeof c->provider);
    c->facts = f->facts;
    c->body = f->body;
    c->assignee = c->outcome = "";
    end_transfer(c);
    add_roots(c, f->roots, f->roots_count, arena);
    add_grants(c, f->grants, f->grants_count, arena);
}

static void on_assigned(struct dw_case *c, const struct dw_event *event, const struct dw_said *said,
                        struct dw_arena *arena)
{
    (void)said;
    (void)arena;
    c->assignee = event->to;
}

static void on_transferred(struct dw_case *c, const struct dw_event *event,
                           const struct dw_said *said, struct dw_arena *arena)
{
    (void)said;
    (void)arena;
    c->transfer_to = event->to;
    c->transfer_from = c->body;
    c->state_before = c->state;
}

static void on_received(struct dw_case *c, const struct dw_event *event, const struct dw_said *said,
                        struct dw_arena *arena)
{
    (void)event;
    (void)said;
    (void)arena;
    drop_grants_of(c, c->body);
    c->body = c->transfer_to;
    c->assignee = "";
    end_transfer(c);
}

static void on_handed_over(struct dw_case *c, const struct dw_event *event,
                           const struct dw_said *said, struct dw_arena *arena)
{
    (void)event;
    (void)said;
    (void)arena;
    c->transfer_received = true;
}

static void on_returned(struct dw_case *c, const struct dw_event *event, const struct dw_said *said,
                        struct dw_arena *arena)
{
    (void)event;
    (void)said;
    (void)arena;
    drop_grants_of(c, c->transfer_to);
    end_transfer(c);
}

static void on_decided(struct dw_case *c, const struct dw_event *event, const struct dw_said *said,
                       struct dw_arena *arena)
{
    (void)said;
    (void)arena;
    c->outcome = event->outcome;
}

static const struct {
    const char *kind;
    void (*effect)(struct dw_case *, const struct dw_event *, const struct dw_said *,
                   struct dw_arena *);
} effects[] = {{"registered", on_registered}, {"assigned", on_assigned},
               {"transferred", on_transferred}, {"received", on_received},
               {"handed_over", on_handed_over}, {"returned", on_returned},
               {"decided", on_decided}};

void dw_case_apply(const struct dw_domain *domain, struct dw_case *c, const struct dw_event *event,
                   const struct dw_said *said, struct dw_arena *arena)
{
    const char *body_before = c->body ? c->body : "";
    if (said->command) {
        add_roots(c, said->command->roots, said->command->roots_count, arena);
        add_grants(c, said->command->grants, said->command->grants_count, arena);
    }
    for (size_t i = 0; i < DW_COUNT(effects); i++)
        if (strcmp(effects[i].kind, event->kind) == 0)
            effects[i].effect(c, event, said, arena);
    c->state = event->state;
    c->revision += said->filing || said->command;
    stop_clocks(domain, c, event, strcmp(body_before, c->body) != 0);
    start_clocks(domain, c, event, arena);
    tell_stage(c, event);
}

/* ---- making an event ---- */

void dw_event_signed_bytes(const struct dw_event *event, struct dw_buf *out)
{
    struct dw_event bare = *event;
    memset(bare.hash, 0, sizeof bare.hash);
    memset(bare.writer, 0, sizeof bare.writer);
    memset(bare.signature, 0, sizeof bare.signature);
    dw_encode(&dw_event_layout, &bare, out);
}

struct dw_event *dw_case_add_event(const struct dw_domain *domain, struct dw_case *c,
                                   struct dw_event *event, const struct dw_said *said,
                                   struct dw_arena *arena)
{
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, DW_DOC_MAX);
    event->seq = (int32_t)c->events_count + 1;
    if (c->events_count)
        memcpy(event->before, c->events[c->events_count - 1].hash, DW_HASH_LEN);
    dw_event_signed_bytes(event, &bytes);
    dw_hash(event->hash, dw_buf_slice(&bytes));
    memcpy(event->writer, domain->writer->id, DW_SIGNER_LEN);
    dw_sign(domain->writer, DW_LABEL_EVENT, dw_buf_slice(&bytes), event->signature);
    dw_case_apply(domain, c, event, said, arena);
    struct dw_event *added = dw_append(arena, &c->events, &c->events_count, sizeof *added);
    *added = *event;
    return added;
}
