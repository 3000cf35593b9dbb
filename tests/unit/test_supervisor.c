/* The supervisor's step function: tables of (time, event, part) and the acts that must follow.
 *
 * Acts are written short: +1 start, ~1 reload, -1 SIGTERM, !1 SIGKILL, =78 exit.  Limits of every
 * table: ready in 1000 ms, ended in 500 ms, wait of at most 800 ms between starts. */
#include "supervisor.h"

#include "dw/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { READY_MS = 1000, STOP_MS = 500, RESTART_MAX_MS = 800, PARTS = 3 };

struct step {
    int64_t at;
    enum dw_supervisor_event event;
    size_t part;
    const char *acts;
    int64_t wait; /* expected of dw_supervisor_wait() afterwards; 0 for "not looked at" */
};

#define TIME    DW_EVENT_TIME, 0
#define STOP    DW_EVENT_STOP, 0
#define RELOAD  DW_EVENT_RELOAD, 0
#define READY   DW_EVENT_READY
#define DIED    DW_EVENT_DIED
#define REFUSED DW_EVENT_REFUSED

static void write_acts(char *out, size_t len, const struct dw_supervisor_act *acts, size_t count)
{
    static const char verbs[] = {[DW_START] = '+', [DW_RELOAD] = '~', [DW_TERM] = '-',
                                 [DW_KILL] = '!', [DW_EXIT] = '='};
    size_t used = 0;
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        int n = acts[i].verb == DW_EXIT ? acts[i].code : (int)acts[i].part;
        used += (size_t)snprintf(out + used, len - used, "%s%c%d", i ? " " : "",
                                 verbs[acts[i].verb], n);
    }
}

static struct dw_supervisor run(const struct step *steps, size_t count)
{
    struct dw_supervisor s;
    struct dw_supervisor_act acts[DW_SUPERVISOR_ACTS];
    dw_supervisor_init(&s, PARTS, READY_MS, STOP_MS, RESTART_MAX_MS);
    for (size_t i = 0; i < count; i++) {
        char got[256];
        const struct step *step = &steps[i];
        size_t n = dw_supervisor_step(&s, step->at, step->event, step->part, acts);
        write_acts(got, sizeof got, acts, n);
        if (strcmp(got, step->acts) != 0)
            fail_msg("step %zu at %lld: expected \"%s\", got \"%s\"", i, (long long)step->at,
                     step->acts, got);
        if (step->wait && step->wait != dw_supervisor_wait(&s, step->at))
            fail_msg("step %zu at %lld: expected to wait %lld, got %lld", i, (long long)step->at,
                     (long long)step->wait, (long long)dw_supervisor_wait(&s, step->at));
    }
    return s;
}

#define RUN(...)                                                                                   \
    run((const struct step[]){__VA_ARGS__},                                                        \
        sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step))

/* All three are ready at 30. */
#define ALL_STARTED                                                                                \
    {0, TIME, "+0", 1000}, {10, READY, 0, "+1"}, {20, READY, 1, "+2"}, {30, READY, 2, "", -1}

static void parts_start_in_order_each_when_the_one_before_is_ready(void **state)
{
    struct dw_supervisor s = RUN({0, TIME, "+0", 1000}, {5, TIME, "", 995}, {10, READY, 0, "+1"},
                                 {11, READY, 0, ""}, {900, TIME, ""}, {901, READY, 1, "+2"},
                                 {950, READY, 2, "", -1});
    assert_true(dw_supervisor_all_ready(&s));
}

static void not_all_are_ready_while_one_is_not(void **state)
{
    struct dw_supervisor s = RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {20, READY, 1, "+2"});
    assert_false(dw_supervisor_all_ready(&s));
    s = RUN(ALL_STARTED, {40, DIED, 0, "+0"});
    assert_false(dw_supervisor_all_ready(&s));
}

static void a_dead_part_is_started_at_once_and_nobody_else_is_touched(void **state)
{
    RUN(ALL_STARTED, {500, DIED, 1, "+1", 1000}, {600, READY, 1, "", -1});
}

static void further_deaths_wait_100_ms_and_twice_as_long_each_time_up_to_the_limit(void **state)
{
    struct dw_supervisor s =
        RUN(ALL_STARTED, {1000, DIED, 1, "+1"},                        /* at once */
            {1001, DIED, 1, "", 100}, {1100, TIME, ""}, {1101, TIME, "+1"}, /* 100 */
            {1102, DIED, 1, "", 200}, {1302, TIME, "+1"},              /* 200 */
            {1303, DIED, 1, "", 400}, {1703, TIME, "+1"},              /* 400 */
            {1704, DIED, 1, "", 800}, {2504, TIME, "+1"},              /* 800 */
            {2505, DIED, 1, "", 800}, {3304, TIME, ""}, {3305, TIME, "+1"});
    assert_int_equal(s.parts[1].starts, 7);
    assert_int_equal(s.parts[0].starts, 1);
}

static void a_minute_of_readiness_forgives_but_less_does_not(void **state)
{
    RUN(ALL_STARTED, {100, DIED, 1, "+1"}, {200, READY, 1, ""}, {300, DIED, 1, "", 100},
        {400, TIME, "+1"}, {500, READY, 1, ""}, {60499, DIED, 1, "", 200}, {60699, TIME, "+1"},
        {60700, READY, 1, ""}, {120700, DIED, 1, "+1"}, {120701, DIED, 1, "", 100});
}

static void a_minute_without_readiness_forgives_nothing(void **state)
{
    struct dw_supervisor s;
    struct dw_supervisor_act acts[DW_SUPERVISOR_ACTS];
    dw_supervisor_init(&s, 1, 120000, STOP_MS, RESTART_MAX_MS);
    assert_int_equal(dw_supervisor_step(&s, 0, TIME, acts), 1);
    assert_int_equal(dw_supervisor_step(&s, 1, DIED, 0, acts), 1);
    assert_int_equal(dw_supervisor_step(&s, 70000, DIED, 0, acts), 0);
    assert_int_equal(dw_supervisor_wait(&s, 70000), 100);
}

static void a_part_that_is_not_ready_in_time_is_killed_and_started_again(void **state)
{
    RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {1009, TIME, "", 1}, {1010, TIME, "!1", -1},
        {1011, TIME, ""}, {1012, READY, 1, ""}, {1020, DIED, 1, "+1"}, {2019, TIME, ""},
        {2020, TIME, "!1"}, {2021, DIED, 1, "", 100}, {2121, TIME, "+1"}, {2130, READY, 1, "+2"});
}

static void a_death_during_the_start_leaves_the_others_alone(void **state)
{
    /* Part 0 dies while part 1 is starting: both go on, and part 2 waits for part 1 only. */
    RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {20, DIED, 0, "+0"}, {30, DIED, 1, "+1"},
        {31, DIED, 1, "", 100}, {40, READY, 0, ""}, {131, TIME, "+1"}, {140, READY, 1, "+2"});
}

static void later_parts_do_not_wait_for_an_earlier_one_that_was_ready_once(void **state)
{
    RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {20, DIED, 0, "+0"}, {30, DIED, 0, ""},
        {40, READY, 1, "+2"}, {130, TIME, "+0"});
}

static void wrong_configuration_at_the_first_start_ends_everything_with_78(void **state)
{
    RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {20, READY, 1, "+2"}, {30, REFUSED, 2, "-1"},
        {40, DIED, 1, "-0"}, {50, DIED, 0, "=78", -1}, {60, TIME, ""});
}

static void wrong_configuration_of_the_very_first_part_ends_at_once(void **state)
{
    RUN({0, TIME, "+0"}, {10, REFUSED, 0, "=78"});
}

static void wrong_configuration_before_readiness_counts_after_another_death_too(void **state)
{
    RUN({0, TIME, "+0"}, {10, DIED, 0, "+0"}, {20, REFUSED, 0, "=78"});
}

static void wrong_configuration_later_is_a_death_like_any_other(void **state)
{
    RUN(ALL_STARTED, {100, REFUSED, 2, "+2"}, {110, REFUSED, 2, "", 100}, {210, TIME, "+2"});
}

static void a_signal_ends_parts_in_reverse_order_one_after_the_other(void **state)
{
    struct dw_supervisor s =
        RUN(ALL_STARTED, {100, STOP, "-2", 500}, {110, TIME, ""}, {200, DIED, 2, "-1"},
            {300, DIED, 1, "-0"}, {400, DIED, 0, "=0"}, {500, TIME, ""}, {600, STOP, ""});
    assert_true(s.over);
}

static void a_part_that_does_not_end_in_time_is_killed(void **state)
{
    RUN(ALL_STARTED, {100, STOP, "-2", 500}, {599, TIME, ""}, {600, TIME, "!2", -1},
        {700, TIME, ""}, {2000, TIME, ""}, {2001, DIED, 2, "-1", 500}, {2501, TIME, "!1"},
        {2502, DIED, 1, "-0"}, {2503, DIED, 0, "=0"});
}

static void a_second_signal_kills_all_and_exits_130(void **state)
{
    RUN(ALL_STARTED, {100, STOP, "-2"}, {150, STOP, "!0 !1 !2", -1}, {160, STOP, ""},
        {170, DIED, 1, ""}, {180, DIED, 0, ""}, {190, DIED, 2, "=130"});
}

static void one_signal_while_refusing_keeps_78_and_two_make_it_130(void **state)
{
    RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {20, REFUSED, 1, "-0"}, {30, STOP, ""},
        {40, DIED, 0, "=78"});
    RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {20, REFUSED, 1, "-0"}, {30, STOP, ""},
        {31, STOP, "!0"}, {40, DIED, 0, "=130"});
}

static void a_signal_during_the_start_ends_what_runs_and_starts_nothing(void **state)
{
    RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {20, STOP, "-1"}, {30, READY, 1, ""},
        {40, DIED, 1, "-0"}, {50, DIED, 0, "=0"});
}

static void a_signal_while_a_dead_part_waits_does_not_start_it(void **state)
{
    RUN(ALL_STARTED, {100, DIED, 2, "+2"}, {110, DIED, 2, "", 100}, {120, STOP, "-1"},
        {300, TIME, ""}, {310, DIED, 1, "-0"}, {320, DIED, 0, "=0"});
}

static void a_death_out_of_order_while_ending_is_taken_as_it_comes(void **state)
{
    RUN(ALL_STARTED, {100, STOP, "-2"}, {110, DIED, 0, ""}, {120, DIED, 2, "-1"},
        {130, DIED, 1, "=0"});
}

static void a_refusal_while_ending_changes_no_exit_code(void **state)
{
    RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {20, STOP, "-1"}, {30, REFUSED, 1, "-0"},
        {40, DIED, 0, "=0"});
}

static void reload_goes_to_ready_parts_only(void **state)
{
    RUN({0, TIME, "+0"}, {10, READY, 0, "+1"}, {20, RELOAD, "~0"}, {30, READY, 1, "+2"},
        {40, READY, 2, ""}, {50, RELOAD, "~0 ~1 ~2"}, {60, STOP, "-2"}, {61, RELOAD, "~0 ~1"});
}

static void readiness_of_a_part_that_is_down_is_not_believed(void **state)
{
    struct dw_supervisor s = RUN({0, TIME, "+0"}, {1, DIED, 0, "+0"}, {2, DIED, 0, ""},
                                 {3, READY, 0, ""}, {4, READY, 2, ""});
    assert_int_equal(s.parts[0].phase, DW_PHASE_DOWN);
    assert_false(s.parts[2].was_ready);
}

/* Whatever happens in whatever order, the promises hold. */
static void random_events_keep_the_promises(void **state)
{
    static const enum dw_supervisor_event often[] = {DW_EVENT_TIME, DW_EVENT_READY, DW_EVENT_READY,
                                                     DW_EVENT_DIED, DW_EVENT_RELOAD};
    uint32_t random = 20260928;
    for (int round = 0; round < 300; round++) {
        struct dw_supervisor s;
        struct dw_supervisor_act acts[DW_SUPERVISOR_ACTS];
        bool running[PARTS] = {false};
        int64_t now = 0;
        dw_supervisor_init(&s, PARTS, READY_MS, STOP_MS, RESTART_MAX_MS);
        for (int i = 0; i < 400 && !s.over; i++) {
            random = random * 1664525 + 1013904223;
            size_t part = (random >> 16) % PARTS;
            enum dw_supervisor_event event = often[(random >> 20) % DW_COUNT(often)];
            if ((random >> 8) % 100 < 2)
                event = (random >> 8) % 100 ? DW_EVENT_STOP : DW_EVENT_REFUSED;
            now += (random >> 24) % 90;
            if ((event == DW_EVENT_DIED || event == DW_EVENT_REFUSED) && !running[part])
                continue; /* the dead do not die */
            if (event == DW_EVENT_DIED || event == DW_EVENT_REFUSED)
                running[part] = false;
            size_t count = dw_supervisor_step(&s, now, event, part, acts);
            for (size_t j = 0; j < count; j++) {
                size_t p = acts[j].part;
                assert_true(acts[j].verb == DW_EXIT || acts[j].verb == DW_START || running[p]);
                assert_false(acts[j].verb == DW_START && (running[p] || s.ending));
                running[p] |= acts[j].verb == DW_START;
                if (acts[j].verb == DW_EXIT)
                    for (size_t k = 0; k < PARTS; k++)
                        assert_false(running[k]);
            }
            assert_true(s.over || dw_supervisor_wait(&s, now) != 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_start_in_order_each_when_the_one_before_is_ready),
        cmocka_unit_test(not_all_are_ready_while_one_is_not),
        cmocka_unit_test(a_dead_part_is_started_at_once_and_nobody_else_is_touched),
        cmocka_unit_test(further_deaths_wait_100_ms_and_twice_as_long_each_time_up_to_the_limit),
        cmocka_unit_test(a_minute_of_readiness_forgives_but_less_does_not),
        cmocka_unit_test(a_minute_without_readiness_forgives_nothing),
        cmocka_unit_test(a_part_that_is_not_ready_in_time_is_killed_and_started_again),
        cmocka_unit_test(a_death_during_the_start_leaves_the_others_alone),
        cmocka_unit_test(later_parts_do_not_wait_for_an_earlier_one_that_was_ready_once),
        cmocka_unit_test(wrong_configuration_at_the_first_start_ends_everything_with_78),
        cmocka_unit_test(wrong_configuration_of_the_very_first_part_ends_at_once),
        cmocka_unit_test(wrong_configuration_before_readiness_counts_after_another_death_too),
        cmocka_unit_test(wrong_configuration_later_is_a_death_like_any_other),
        cmocka_unit_test(a_signal_ends_parts_in_reverse_order_one_after_the_other),
        cmocka_unit_test(a_part_that_does_not_end_in_time_is_killed),
        cmocka_unit_test(a_second_signal_kills_all_and_exits_130),
        cmocka_unit_test(one_signal_while_refusing_keeps_78_and_two_make_it_130),
        cmocka_unit_test(a_signal_during_the_start_ends_what_runs_and_starts_nothing),
        cmocka_unit_test(a_signal_while_a_dead_part_waits_does_not_start_it),
        cmocka_unit_test(a_death_out_of_order_while_ending_is_taken_as_it_comes),
        cmocka_unit_test(a_refusal_while_ending_changes_no_exit_code),
        cmocka_unit_test(reload_goes_to_ready_parts_only),
        cmocka_unit_test(readiness_of_a_part_that_is_down_is_not_believed),
        cmocka_unit_test(random_events_keep_the_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
