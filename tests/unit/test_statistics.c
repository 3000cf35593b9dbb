#include "case_data.h"

#include "dw/statistics.h"

static int64_t counted(struct dw_tally *tally, const char *key)
{
    for (size_t i = 0; i < tally->count; i++)
        if (strcmp(tally->cells[i].key, key) == 0)
            return tally->cells[i].n;
    return 0;
}

static void count_case(struct world *w, int32_t from, int32_t upto, struct dw_tally *tally)
{
    dw_statistics_events(w->domain.routing, &w->c, from, upto, tally);
}

static int64_t total(struct world *w, const char *key)
{
    DW_AUTO_TALLY tally = {0};
    count_case(w, 0, (int32_t)w->c.events_count, &tally);
    return counted(&tally, key);
}

/* ---- adding up ---- */

TEST(a_tally_adds_up_and_puts_in_order_without_zeros)
{
    DW_AUTO_TALLY tally = {0};
    char key[40];
    uint64_t seed = 5;
    int64_t expected[500] = {0};
    for (int i = 0; i < 20000; i++) {
        int n = (int)(test_random(&seed) % 500);
        int64_t by = (int64_t)(test_random(&seed) % 7) - 3;
        snprintf(key, sizeof key, "key %03d", n);
        dw_tally_add(&tally, key, by);
        expected[n] += by;
        if (i % 5000 == 0)
            dw_tally_sort(&tally);
    }
    dw_tally_add(&tally, "zero", 3);
    dw_tally_add(&tally, "zero", -3);
    dw_tally_sort(&tally);
    size_t there = 0;
    for (int n = 0; n < 500; n++) {
        snprintf(key, sizeof key, "key %03d", n);
        assert_int_equal(counted(&tally, key), expected[n]);
        there += expected[n] != 0;
    }
    assert_int_equal(tally.count, there);
    for (size_t i = 1; i < tally.count; i++)
        assert_true(strcmp(tally.cells[i - 1].key, tally.cells[i].key) < 0);
    dw_tally_free(&tally);
    dw_tally_sort(&tally); /* of nothing */
    assert_int_equal(tally.count, 0);
}

/* ---- what an event adds ---- */

TEST(a_registration_counts_by_each_fact_alone_in_the_area_and_in_all_above_it)
{
    struct world *w = *state;
    world_register(w, false, false);
    DW_AUTO_TALLY tally = {0};
    count_case(w, 0, 1, &tally);
    static const char *const counters[] = {
        "2026-09 day/2026-09-28/report/registered",   "2026-09 body/500108/report/registered",
        "2026-09 against/hospital/report/registered", "2026-09 channel/web/report/registered",
        "2026-09 language/zh-CN/report/registered",   "2026-09 district/500108/report/registered",
        "2026-09 act/PU01/report/registered",         "2026-09 amount/unknown/report/registered",
        "2026-09 named/anonymous/report/registered",  "now state/received/report/cases",
        "now workload/500108/report/received"};
    static const char *const areas[] = {"500108", "500000"};
    for (size_t i = 0; i < DW_COUNT(counters); i++)
        for (size_t a = 0; a < DW_COUNT(areas); a++) {
            char key[DW_COUNTER_TEXT];
            snprintf(key, sizeof key, "%s/%s", areas[a], counters[i]);
            if (counted(&tally, key) != 1)
                fail_msg("%s", key);
        }
    assert_int_equal(tally.count, DW_COUNT(counters) * DW_COUNT(areas)); /* and nothing else */
}

TEST(a_transfer_moves_the_case_from_one_workload_to_another)
{
    struct world *w = *state;
    world_register(w, true, false);
    assert_int_equal(world_do(w, "transfer", member_of("500108")), 200);
    assert_int_equal(total(w, "500108/now workload/500108/report/transferred"), 1);
    w->now += 4 * 86400000ll; /* in October */
    assert_int_equal(world_do(w, "receive", member_of("500103")), 200);
    assert_int_equal(total(w, "500108/now workload/500108/report/transferred"), 0);
    assert_int_equal(total(w, "500108/now state/transferred/report/cases"), 0);
    assert_int_equal(total(w, "500103/now state/reviewing/report/cases"), 1);
    assert_int_equal(total(w, "500000/now state/reviewing/report/cases"), 1);
    assert_int_equal(total(w, "500000/now workload/500103/report/reviewing"), 1);
    assert_int_equal(total(w, "500108/2026-10 body/500108/report/handed_over"), 1);
    assert_int_equal(total(w, "500103/2026-10 body/500103/report/received"), 1);
    assert_int_equal(total(w, "500103/2026-10 body/500103/report/handed_over"), 0);
    assert_int_equal(total(w, "500000/2026-10 day/2026-10-02/report/handed_over"), 1);
    assert_int_equal(total(w, "500000/2026-09 day/2026-09-28/report/transferred"), 1);
}

TEST(a_returned_transfer_leaves_the_case_where_it_was)
{
    struct world *w = *state;
    world_register(w, true, false);
    world_do(w, "accept", member_of("500108"));
    world_do(w, "transfer", member_of("500108"));
    assert_int_equal(world_do(w, "return", member_of("500103")), 200);
    assert_int_equal(total(w, "500108/now workload/500108/report/accepted"), 1);
    assert_int_equal(total(w, "500108/2026-09 body/500108/report/returned"), 1);
    assert_int_equal(total(w, "500103/2026-09 body/500103/report/returned"), 0);
    assert_int_equal(total(w, "500103/now state/accepted/report/cases"), 0);
}

TEST(an_overdue_clock_counts_for_the_body_whose_it_is)
{
    struct world *w = *state;
    world_register(w, true, true);
    w->now += 60 * 86400000ll;
    assert_true(dw_case_tick(&w->domain, &w->c, w->now, &w->arena));
    assert_int_equal(total(w, "500108/2026-11 rule/D08/report/overdue"), 1);
    assert_int_equal(total(w, "500000/2026-11 day/2026-11-27/report/overdue"), 1);
}

TEST(days_are_those_of_shanghai)
{
    struct world *w = *state;
    world_register(w, true, false);
    w->now = dw_day_start(a_day("2026-10-01")) - 1; /* 15:59:59.999 UTC */
    assert_int_equal(world_do(w, "accept", member_of("500108")), 200);
    assert_int_equal(total(w, "500108/2026-09 day/2026-09-30/report/accepted"), 1);
    w->now++;
    assert_int_equal(world_do(w, "decide", member_of("500108")), 200);
    assert_int_equal(total(w, "500108/2026-10 day/2026-10-01/report/decided"), 1);
    assert_int_equal(total(w, "500108/2026-10 outcome/punished/report/decided"), 1);
}

TEST(parts_add_up_to_the_whole_wherever_one_cuts)
{
    struct world *w = *state;
    static const char *const life[] = {"assign", "note", "accept", "ask", "reply", "transfer"};
    world_register(w, true, false);
    for (size_t i = 0; i < DW_COUNT(life); i++) {
        w->now += 86400000ll;
        assert_int_equal(world_do(w, life[i], member_of("500108")), 200);
    }
    world_do(w, "receive", member_of("500103"));
    world_do(w, "withdraw", the_reporter());
    world_do(w, "close", member_of("500103"));
    assert_string_equal(w->c.state, "closed");
    int32_t count = (int32_t)w->c.events_count;
    DW_AUTO_TALLY whole = {0};
    count_case(w, 0, count, &whole);
    dw_tally_sort(&whole);
    for (int32_t a = 0; a <= count; a++)
        for (int32_t b = a; b <= count; b++) {
            DW_AUTO_TALLY parts = {0};
            count_case(w, b, count, &parts); /* in any order */
            count_case(w, 0, a, &parts);
            count_case(w, a, b, &parts);
            dw_tally_sort(&parts);
            assert_int_equal(parts.count, whole.count);
            for (size_t i = 0; i < whole.count; i++) {
                assert_string_equal(parts.cells[i].key, whole.cells[i].key);
                assert_int_equal(parts.cells[i].n, whole.cells[i].n);
            }
        }
}

TEST(a_case_stands_in_the_index_while_something_of_it_is_to_be_counted)
{
    struct world *w = *state;
    DW_AUTO_BUF doc = {0};
    world_register(w, true, false);
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_case_encode(&w->c, &w->arena, &doc);
    assert_int_equal(w->c.ix.fold, 1);
    w->c.folded = (int32_t)w->c.events_count;
    dw_case_encode(&w->c, &w->arena, &doc);
    assert_int_equal(w->c.ix.fold, 0);
    world_do(w, "note", member_of("500108")); /* counts for nothing */
    assert_false(dw_statistics_behind(&w->c));
    world_do(w, "assign", member_of("500108")); /* another state */
    assert_true(dw_statistics_behind(&w->c));
}

TEST(every_document_of_counters_has_room)
{
    struct world *w = *state;
    size_t most =
        dw_statistics_most(w->domain.catalogue, w->domain.routing, dw_rules_count(w->domain.rules));
    assert_true(most > 1000);
    assert_true(most <= DW_COUNTERS_MAX / 2);
}

/* ---- asking ---- */

static enum dw_result check(const char *by, const char *from, const char *to,
                            struct dw_statistics_query *q, struct dw_error *err)
{
    *q = (struct dw_statistics_query){by, from ? a_day(from) : 0, to ? a_day(to) : 0};
    *err = (struct dw_error){0};
    return dw_statistics_check(q, a_day("2026-11-24"), 24, err);
}

TEST(what_is_missing_of_a_query_is_this_month)
{
    struct dw_statistics_query q;
    struct dw_error err;
    assert_int_equal(check(NULL, NULL, NULL, &q, &err), DW_OK);
    assert_string_equal(q.by, "month");
    assert_int_equal(q.from, a_day("2026-11-01"));
    assert_int_equal(q.to, a_day("2026-11-30"));
    assert_int_equal(check("act", "2025-12-01", NULL, &q, &err), DW_OK);
    assert_int_equal(q.to, a_day("2026-11-30"));
    assert_int_equal(check("act", NULL, "2026-02-28", &q, &err), DW_OK);
    assert_int_equal(q.from, a_day("2026-02-01"));
    assert_int_equal(check("act", "2027-12-01", NULL, &q, &err), DW_OK);
    assert_int_equal(q.to, a_day("2027-12-31"));
    assert_int_equal(check("state", NULL, NULL, &q, &err), DW_OK);
    assert_int_equal(q.from, 0);
}

TEST(a_query_that_makes_no_sense_is_refused_by_the_field)
{
    static const struct {
        const char *by, *from, *to, *field;
    } wrong[] = {{"name", NULL, NULL, "by"},
                 {"", NULL, NULL, "by"},
                 {"da", NULL, NULL, "by"},
                 {"state", "2026-11-01", NULL, "from"},
                 {"workload", NULL, "2026-11-30", "to"},
                 {"day", "2026-11-02", "2026-11-01", "to"},
                 {"day", "2026-08-01", "2026-11-01", "to"},
                 {"act", "2026-11-02", NULL, "from"},
                 {"act", "2026-11-01", "2026-11-29", "to"},
                 {"month", "2024-11-01", "2026-11-30", "to"}};
    struct dw_statistics_query q;
    struct dw_error err;
    for (size_t i = 0; i < DW_COUNT(wrong); i++) {
        assert_int_equal(check(wrong[i].by, wrong[i].from, wrong[i].to, &q, &err), DW_INVALID);
        assert_string_equal(err.field, wrong[i].field);
        assert_non_null(strstr(err.text, "expected"));
    }
    assert_int_equal(check("day", "2026-08-02", "2026-11-01", &q, &err), DW_OK);
    assert_int_equal(check("day", "2026-11-24", "2026-11-24", &q, &err), DW_OK);
    assert_int_equal(check("month", "2024-12-01", "2026-11-30", &q, &err), DW_OK);
}

TEST(months_are_the_sum_of_their_days)
{
    struct dw_statistics_query q;
    struct dw_error err;
    DW_AUTO_TALLY found = {0};
    check("month", "2026-10-01", "2026-11-30", &q, &err);
    dw_statistics_select(&q, "day/2026-10-31/report/registered", 2, &found);
    dw_statistics_select(&q, "day/2026-10-01/report/registered", 3, &found);
    dw_statistics_select(&q, "day/2026-11-01/report/registered", 5, &found);
    dw_statistics_select(&q, "day/2026-12-01/report/registered", 9, &found);
    dw_statistics_select(&q, "act/PU01/report/registered", 9, &found);
    assert_int_equal(counted(&found, "2026-10/report/registered"), 5);
    assert_int_equal(counted(&found, "2026-11/report/registered"), 5);
    assert_int_equal(found.count, 2);
}

RUN(T(a_tally_adds_up_and_puts_in_order_without_zeros),
    T(a_registration_counts_by_each_fact_alone_in_the_area_and_in_all_above_it),
    T(a_transfer_moves_the_case_from_one_workload_to_another),
    T(a_returned_transfer_leaves_the_case_where_it_was),
    T(an_overdue_clock_counts_for_the_body_whose_it_is), T(days_are_those_of_shanghai),
    T(parts_add_up_to_the_whole_wherever_one_cuts),
    T(a_case_stands_in_the_index_while_something_of_it_is_to_be_counted),
    T(every_document_of_counters_has_room), T(what_is_missing_of_a_query_is_this_month),
    T(a_query_that_makes_no_sense_is_refused_by_the_field), T(months_are_the_sum_of_their_days))
