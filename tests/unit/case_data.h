/* case_data.h - a case made from the real rules, calendar and catalogue, with keys that open nothing. */
#ifndef DW_TESTS_CASE_DATA_H
#define DW_TESTS_CASE_DATA_H

#include "unit.h"

#include "dw/case.h"

#include <sodium.h>

struct world {
    struct dw_domain domain;
    struct dw_signer writer;
    struct dw_arena arena;
    struct dw_case c;
    dw_time now;
    int step;
    uint64_t seed;
};

static inline uint64_t world_random(void *arg)
{
    return test_random(&((struct world *)arg)->seed);
}

static inline int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct dw_error err = {0};
    uint8_t seed[32] = {1};
    const char *data = DW_SOURCE_FOLDER "/conf";
    struct dw_calendar *calendar;
    struct dw_rules *rules;
    struct dw_catalogue *catalogue;
    struct dw_routing *routing;
    dw_day day;
    assert_true(sodium_init() >= 0);
    if (dw_calendar_load(data, &calendar, &err) != DW_OK ||
        dw_rules_load(data, &rules, &err) != DW_OK ||
        dw_catalogue_load(data, &catalogue, &err) != DW_OK ||
        dw_routing_load(data, &routing, &err) != DW_OK)
        fail_msg("%s", err.text);
    dw_signer_init(&w->writer, seed);
    w->domain = (struct dw_domain){.calendar = calendar, .rules = rules, .catalogue = catalogue,
                                   .routing = routing, .writer = &w->writer,
                                   .notice_delay_min_ms = 1800000, .notice_delay_max_ms = 5400000,
                                   .max_events = 100, .messages_per_day = 3,
                                   .random = world_random, .random_arg = w};
    dw_arena_init(&w->arena, 64 << 20);
    assert_true(dw_day_parse("2026-09-28", &day));
    w->now = dw_day_start(day) + 10 * 3600000;
    *state = w;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    dw_calendar_free((struct dw_calendar *)w->domain.calendar);
    dw_rules_free((struct dw_rules *)w->domain.rules);
    dw_catalogue_free((struct dw_catalogue *)w->domain.catalogue);
    dw_routing_free((struct dw_routing *)w->domain.routing);
    dw_signer_free(&w->writer);
    dw_arena_free(&w->arena);
    free(w);
    return 0;
}

/* Registers a report at 500108; `real_name` and `sms` as wished. */
static inline void world_register(struct world *w, bool real_name, bool sms)
{
    static const char *acts[] = {"PU01"};
    static uint8_t seal[DW_SEAL_LEN] = {7};
    struct dw_sealed_filing *f = dw_arena_alloc(&w->arena, sizeof *f);
    struct dw_grant *grants = dw_arena_alloc(&w->arena, 3 * sizeof *grants);
    struct dw_root_ref *roots = dw_arena_alloc(&w->arena, sizeof *roots);
    struct dw_buf bytes;
    *f = (struct dw_sealed_filing){
        .version = 1, .body = "500108", .rule = "R04", .roots = roots, .roots_count = 1,
        .grants = grants, .grants_count = 3,
        .facts = {.kind = "report", .against = "hospital", .district = "500108", .acts = acts,
                  .acts_count = 1, .channel = "web", .language = "zh-CN",
                  .day = dw_day_of(w->now), .real_name = real_name, .notify_sms = sms,
                  .amount = "unknown", .routing = "2026-1"}};
    memset(f->id, 1, sizeof f->id);
    memset(f->handle, 2, sizeof f->handle);
    memset(f->auth_hash, 3, sizeof f->auth_hash);
    memset(f->reporter, 4, sizeof f->reporter);
    roots[0] = (struct dw_root_ref){.kind = DW_ROOT_R, .epoch = 1, .commitment = {1}};
    grants[0] = (struct dw_grant){.kind = DW_ROOT_R, .epoch = 1, .to = DW_TO_BODY, .id = "500108",
                                  .to_epoch = 1, .box = {1}};
    grants[1] = (struct dw_grant){.kind = DW_ROOT_R, .epoch = 1, .to = DW_TO_ESCROW, .id = "",
                                  .to_epoch = 1, .box = {2}};
    grants[2] = (struct dw_grant){.kind = DW_ROOT_R, .epoch = 1, .to = DW_TO_REPORTER, .id = "",
                                  .box = {3}};
    dw_buf_init(&bytes, DW_DOC_MAX);
    dw_encode(&dw_sealed_filing_layout, f, &bytes);
    struct dw_slice said = DW_SLICE(dw_arena_memdup(&w->arena, bytes.data, bytes.len), bytes.len);
    dw_buf_free(&bytes);
    dw_case_register(&w->domain, f, said, seal, "CQ26-000000000", w->now, &w->arena, &w->c);
}

static inline struct dw_actor member_of(const char *body)
{
    return (struct dw_actor){
        .type = DW_ACTOR_MEMBER, .user = "li", .body = body, .inspector = true};
}

static inline struct dw_actor the_reporter(void)
{
    return (struct dw_actor){.type = DW_ACTOR_REPORTER};
}

/* Everything a command of that name needs, so that only the state and the actor decide. */
static inline struct dw_command *world_command(struct world *w, const char *name,
                                               const struct dw_actor *actor)
{
    struct dw_command *c = dw_arena_alloc(&w->arena, sizeof *c);
    struct dw_object_ref *objects = dw_arena_alloc(&w->arena, sizeof *objects);
    struct dw_grant *grants = dw_arena_alloc(&w->arena, 8 * sizeof *grants);
    struct dw_root_ref *roots = dw_arena_alloc(&w->arena, sizeof *roots);
    int32_t r = 0, i = 0;
    for (size_t k = 0; k < w->c.roots_count; k++) {
        if (w->c.roots[k].kind == DW_ROOT_R && w->c.roots[k].epoch > r)
            r = w->c.roots[k].epoch;
        if (w->c.roots[k].kind == DW_ROOT_I && w->c.roots[k].epoch > i)
            i = w->c.roots[k].epoch;
    }
    *c = (struct dw_command){.version = 1, .name = name, .against = w->c.revision,
                             .actor = actor->type == DW_ACTOR_REPORTER ? "reporter" : actor->user,
                             .body = actor->body, .day = dw_day_of(w->now), .objects = objects,
                             .grants = grants, .roots = roots};
    memcpy(c->case_id, w->c.id, 16);
    w->step++;
    memcpy(c->step, &w->step, sizeof w->step);
    memcpy(c->payload, &w->step, sizeof w->step);
    objects[0] = (struct dw_object_ref){.type = DW_OBJECT_MESSAGE, .epoch = r, .size = 100,
                                        .id = {(uint8_t)w->step}};
    static const char *const with_text[] = {"refuse", "ask", "reply", "decide", "message"};
    for (size_t k = 0; k < DW_COUNT(with_text); k++)
        if (strcmp(with_text[k], name) == 0)
            c->objects_count = 1;
    if (strcmp(name, "refuse") == 0)
        c->reason = "OUT_OF_SCOPE";
    if (strcmp(name, "return") == 0)
        c->reason = dw_term_at(w->domain.catalogue, DW_RETURNS, 0)->code;
    if (strcmp(name, "assign") == 0)
        c->to = "wang";
    if (strcmp(name, "decide") == 0)
        c->outcome = "punished";
    if (strcmp(name, "note") == 0) {
        c->objects_count = 1;
        objects[0].type = DW_OBJECT_NOTE;
        objects[0].epoch = i ? i : 1;
        if (!i) {
            roots[c->roots_count++] = (struct dw_root_ref){.kind = DW_ROOT_I, .epoch = 1};
            grants[c->grants_count++] = (struct dw_grant){
                .kind = DW_ROOT_I, .epoch = 1, .to = DW_TO_BODY, .id = w->c.body, .to_epoch = 1};
            grants[c->grants_count++] = (struct dw_grant){
                .kind = DW_ROOT_I, .epoch = 1, .to = DW_TO_ESCROW, .id = "", .to_epoch = 1};
        }
    }
    if (strcmp(name, "transfer") == 0) {
        c->to = strcmp(w->c.body, "500103") == 0 ? "500108" : "500103";
        c->reason = dw_term_at(w->domain.catalogue, DW_TRANSFERS, 0)->code;
        roots[c->roots_count++] = (struct dw_root_ref){.kind = DW_ROOT_R, .epoch = r + 1};
        const struct {
            enum dw_grantee to;
            const char *id;
        } all[] = {{DW_TO_BODY, w->c.body}, {DW_TO_ESCROW, ""}, {DW_TO_REPORTER, ""},
                   {DW_TO_BODY, c->to}};
        for (size_t k = 0; k < 4; k++)
            grants[c->grants_count++] = (struct dw_grant){.kind = DW_ROOT_R, .epoch = r + 1,
                                                          .to = all[k].to, .id = all[k].id,
                                                          .to_epoch = 1};
        for (int32_t e = 1; e <= r; e++)
            grants[c->grants_count++] = (struct dw_grant){
                .kind = DW_ROOT_R, .epoch = e, .to = DW_TO_BODY, .id = c->to, .to_epoch = 1};
    }
    return c;
}

static inline int world_do_command(struct world *w, const struct dw_command *command,
                                   const struct dw_actor *actor, bool *already,
                                   struct dw_error *err)
{
    static const uint8_t seal[DW_SEAL_LEN] = {9};
    struct dw_buf bytes;
    dw_buf_init(&bytes, DW_DOC_MAX);
    dw_encode(&dw_command_layout, command, &bytes);
    struct dw_slice said = DW_SLICE(dw_arena_memdup(&w->arena, bytes.data, bytes.len), bytes.len);
    dw_buf_free(&bytes);
    return dw_case_command(&w->domain, &w->c, command, actor, said, seal, w->now, &w->arena,
                           already, err);
}

static inline int world_do(struct world *w, const char *name, struct dw_actor actor)
{
    bool already;
    struct dw_error err;
    return world_do_command(w, world_command(w, name, &actor), &actor, &already, &err);
}

static inline const struct dw_event *last_event(const struct world *w)
{
    return &w->c.events[w->c.events_count - 1];
}

static inline const struct dw_clock *clock_of(const struct world *w, const char *rule)
{
    const struct dw_clock *found = NULL;
    for (size_t i = 0; i < w->c.clocks_count; i++)
        if (strcmp(w->c.clocks[i].rule, rule) == 0)
            found = &w->c.clocks[i];
    return found;
}

static inline dw_day a_day(const char *text)
{
    dw_day day;
    assert_true(dw_day_parse(text, &day));
    return day;
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

#endif
