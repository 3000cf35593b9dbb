/* What ops makes of datagrams, honest and hostile. */
#include "ops_state.h"

#include "programs.h"

#include "dw/result.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STALE_MS = 10000 };

static struct dw_ops ops;

static int fresh(void **state)
{
    dw_ops_init(&ops, STALE_MS);
    return 0;
}

static bool take(const char *text, int64_t now)
{
    return dw_ops_take(&ops, text, strlen(text), now);
}

static json_t *readiness(int64_t now, bool *ret_ready)
{
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 65536);
    *ret_ready = dw_ops_readiness(&ops, now, &out);
    json_t *json = json_loads(dw_buf_text(&out), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_int_equal(json_is_true(json_object_get(json, "ready")), *ret_ready);
    return json;
}

/* The reason why a part is not ready; "" when it is. */
static void expect_reason(const char *part, const char *reason, int64_t now)
{
    bool ready;
    json_t *json = readiness(now, &ready);
    json_t *of_part = json_object_get(json_object_get(json, "parts"), part);
    assert_non_null(of_part);
    assert_int_equal(json_is_true(json_object_get(of_part, "ready")), !*reason);
    const char *got = json_string_value(json_object_get(of_part, "reason"));
    assert_string_equal(got ? got : "", reason);
    json_decref(json);
}

static char *metrics(int64_t now)
{
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 2 * 1024 * 1024);
    dw_ops_metrics(&ops, now, &out);
    assert_false(out.overflow);
    return dw_strdup(dw_buf_text(&out));
}

static void expect_metrics(const char *fragment, bool there, int64_t now)
{
    char *text = metrics(now);
    if ((strstr(text, fragment) != NULL) != there)
        fail_msg("expected %s\"%s\" in:\n%s", there ? "" : "no ", fragment, text);
    dw_free(text);
}

static void say_ready(const char *name, int64_t now)
{
    char text[128];
    snprintf(text, sizeof text, "DENGWEN=%s\nDENGWEN_READY=1\nSTATUS=fine\n", name);
    assert_true(take(text, now));
}

static void every_expected_part_must_be_ready(void **state)
{
    bool ready;
    for (size_t i = 0; i < DW_PARTS; i++) {
        if (strcmp(dw_parts[i].name, "ops") == 0)
            continue;
        json_t *json = readiness(5, &ready);
        assert_false(ready);
        assert_null(json_object_get(json_object_get(json, "parts"), "ops"));
        json_decref(json);
        expect_reason(dw_parts[i].name, "never heard of", 5);
        say_ready(dw_parts[i].name, 5);
        expect_reason(dw_parts[i].name, "", 5);
    }
    json_t *json = readiness(5, &ready);
    assert_true(ready);
    assert_int_equal(json_object_size(json_object_get(json, "parts")), DW_PARTS - 1);
    json_decref(json);
}

static void a_part_that_is_not_ready_says_why(void **state)
{
    assert_true(take("DENGWEN=case\nDENGWEN_READY=0\nSTATUS=the store \"x\\y\" is away\n", 0));
    expect_reason("case", "the store \"x\\y\" is away", 1);
    assert_true(take("DENGWEN=case\nDENGWEN_READY=0\n", 2));
    expect_reason("case", "not ready", 3);
    assert_true(take("DENGWEN=case\nDENGWEN_READY=1\n", 4));
    expect_reason("case", "", 5);
}

static void silence_longer_than_stale_is_not_ready(void **state)
{
    say_ready("web", 1000);
    expect_reason("web", "", 1000 + STALE_MS);
    expect_reason("web", "silent for 10 seconds", 1001 + STALE_MS);
    expect_reason("web", "silent for 12 seconds", 13000);
    say_ready("web", 13001);
    expect_reason("web", "", 13002);
}

static void metrics_are_grouped_by_name_with_one_type_each(void **state)
{
    assert_true(take("DENGWEN=web\nDENGWEN_READY=1\nDENGWEN_METRIC=z_total 7\n"
                     "DENGWEN_METRIC=a_open -3\n", 0));
    assert_true(take("DENGWEN=desk\nDENGWEN_READY=0\nDENGWEN_METRIC=a_open 4\n", 0));
    char *text = metrics(1);
    assert_string_equal(text, "# TYPE dengwen_part_ready gauge\n"
                              "dengwen_part_ready{program=\"web\"} 1\n"
                              "dengwen_part_ready{program=\"desk\"} 0\n"
                              "dengwen_part_ready{program=\"ops\"} 0\n"
                              "dengwen_part_ready{program=\"keyd\"} 0\n"
                              "dengwen_part_ready{program=\"broker\"} 0\n"
                              "dengwen_part_ready{program=\"case\"} 0\n"
                              "dengwen_part_ready{program=\"notify\"} 0\n"
                              "# TYPE a_open gauge\n"
                              "a_open{program=\"desk\"} 4\n"
                              "a_open{program=\"web\"} -3\n"
                              "# TYPE z_total counter\n"
                              "z_total{program=\"web\"} 7\n");
    dw_free(text);
}

static void labels_stand_behind_the_program(void **state)
{
    assert_true(take("DENGWEN=broker\nDENGWEN_METRIC=a_total{role=\"x:y\"} 1\n"
                     "DENGWEN_METRIC=ab_total 5\nDENGWEN_METRIC=a_total{role=\"b\",service=\"c.*\"} 2\n", 0));
    expect_metrics("# TYPE a_total counter\n"
                   "a_total{program=\"broker\",role=\"x:y\"} 1\n"
                   "a_total{program=\"broker\",role=\"b\",service=\"c.*\"} 2\n"
                   "# TYPE ab_total counter\n"
                   "ab_total{program=\"broker\"} 5\n", true, 1);
}

static void a_histogram_has_one_type_and_rising_buckets(void **state)
{
    assert_true(take("DENGWEN=broker\nDENGWEN_METRIC=t_us_bucket{le=\"200\"} 3\n"
                     "DENGWEN_METRIC=t_us_bucket{le=\"1000\"} 4\n"
                     "DENGWEN_METRIC=t_us_bucket{le=\"+Inf\"} 5\n"
                     "DENGWEN_METRIC=t_us_sum 9000\nDENGWEN_METRIC=t_us_count 5\n", 0));
    expect_metrics("# TYPE t_us histogram\n"
                   "t_us_bucket{program=\"broker\",le=\"200\"} 3\n"
                   "t_us_bucket{program=\"broker\",le=\"1000\"} 4\n"
                   "t_us_bucket{program=\"broker\",le=\"+Inf\"} 5\n"
                   "t_us_count{program=\"broker\"} 5\n"
                   "t_us_sum{program=\"broker\"} 9000\n", true, 1);
}

static void the_newest_word_replaces_the_one_before(void **state)
{
    assert_true(take("DENGWEN=web\nDENGWEN_METRIC=a 1\nDENGWEN_METRIC=b 1\n", 0));
    assert_true(take("DENGWEN=web\nDENGWEN_METRIC=a 2\n", 1));
    expect_metrics("a{program=\"web\"} 2\n", true, 2);
    expect_metrics("b{program=\"web\"}", false, 2);
}

static void metrics_of_a_silent_program_are_left_out(void **state)
{
    assert_true(take("DENGWEN=web\nDENGWEN_READY=1\nDENGWEN_METRIC=a 1\n", 0));
    expect_metrics("a{program=\"web\"} 1\n", true, STALE_MS);
    expect_metrics("a{program=\"web\"}", false, STALE_MS + 1);
    expect_metrics("dengwen_part_ready{program=\"web\"} 0\n", true, STALE_MS + 1);
}

static void whole_numbers_of_64_bits_are_taken(void **state)
{
    assert_true(take("DENGWEN=web\nDENGWEN_METRIC=a 9223372036854775807\n"
                     "DENGWEN_METRIC=b -9223372036854775808\n", 0));
    expect_metrics("a{program=\"web\"} 9223372036854775807\n", true, 0);
    expect_metrics("b{program=\"web\"} -9223372036854775808\n", true, 0);
}

static void unknown_keys_are_skipped(void **state)
{
    assert_true(take("READY=1\nWATCHDOG=1\nMAINPID=5\nDENGWEN=web\nX_Y=\n\nDENGWEN_READY=1", 0));
    expect_reason("web", "", 0);
}

static void malformed_datagrams_change_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        "\n",
        "\n\n\n",
        "READY=1\n",
        "DENGWEN=\n",
        "DENGWEN=a b\n",
        "DENGWEN=a\"b\n",
        "DENGWEN=a-b\n",
        "DENGWEN=1a\n",
        "DENGWEN=\xe7\x99\xbb\n",
        "DENGWEN=web\nDENGWEN=case\n",
        "DENGWEN=web\nnonsense\n",
        "DENGWEN=web\nDENGWEN_READY=2\n",
        "DENGWEN=web\nDENGWEN_READY=11\n",
        "DENGWEN=web\nDENGWEN_READY=\n",
        "DENGWEN=web\nDENGWEN_METRIC=\n",
        "DENGWEN=web\nDENGWEN_METRIC=a\n",
        "DENGWEN=web\nDENGWEN_METRIC=a \n",
        "DENGWEN=web\nDENGWEN_METRIC= 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a  1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a +1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a -\n",
        "DENGWEN=web\nDENGWEN_METRIC=a 1x\n",
        "DENGWEN=web\nDENGWEN_METRIC=a 1 \n",
        "DENGWEN=web\nDENGWEN_METRIC=a 0x1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a 1.5\n",
        "DENGWEN=web\nDENGWEN_METRIC=a 9223372036854775808\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{x=\"y\" 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{x=\"y\",} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{x=\"y\"z=\"y\"} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{x=\"y\",z=\"y\\\"\"} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{x=y} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{x=\"} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{=\"y\"} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC={x=\"y\"} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{x=\"y\"}b 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{x=\"y\"z\"} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a{x=\"y\\\"} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=dengwen_part_ready{x=\"y\"} 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=7a 1\n",
        "DENGWEN=web\nDENGWEN_METRIC=a 1\nDENGWEN_METRIC=a 2\n",
        "DENGWEN=web\nDENGWEN_METRIC=dengwen_part_ready 1\n",
    };
    for (size_t i = 0; i < DW_COUNT(bad); i++)
        if (take(bad[i], 0))
            fail_msg("taken: %s", bad[i]);
    assert_false(dw_ops_take(&ops, "DENGWEN=web\0\n", 13, 0));
    assert_int_equal(ops.count, 0);
    say_ready("web", 1);
    for (size_t i = 0; i < DW_COUNT(bad); i++)
        assert_false(take(bad[i], 2));
    expect_reason("web", "", 3);
}

static void control_characters_of_a_status_do_not_get_out(void **state)
{
    assert_true(take("DENGWEN=web\nDENGWEN_READY=0\nSTATUS=a\x1b[31m\xff\r\tb\n", 0));
    expect_reason("web", "a?[31m???b", 0);
}

static void names_and_lines_have_their_limits(void **state)
{
    char name[DW_OPS_NAME + 1], text[1024];
    memset(name, 'n', sizeof name);
    name[DW_OPS_NAME - 1] = 0;
    snprintf(text, sizeof text, "DENGWEN=web\nDENGWEN_METRIC=%s 1\n", name);
    assert_true(take(text, 0));
    snprintf(text, sizeof text, "DENGWEN=web\nDENGWEN_METRIC=%sn 1\n", name);
    assert_false(take(text, 0));
    snprintf(text, sizeof text, "DENGWEN=%sn\n", name);
    assert_false(take(text, 0));
    memset(text, 0, sizeof text);
    memset(text, 's', 900);
    memcpy(text, "DENGWEN=web\nSTATUS=", 19);
    assert_false(take(text, 0));
    text[12 + 511] = 0;
    assert_true(take(text, 0));
}

static void metrics_per_program_are_bounded(void **state)
{
    DW_AUTO_BUF text = {0};
    dw_buf_init(&text, 2 * DW_OPS_DATAGRAM);
    dw_buf_str(&text, "DENGWEN=web\n");
    for (int i = 0; i < DW_OPS_METRICS; i++)
        dw_buf_printf(&text, "DENGWEN_METRIC=m%d 1\n", i);
    assert_true(dw_ops_take(&ops, text.data, text.len, 0));
    dw_buf_str(&text, "DENGWEN_METRIC=more 1\n");
    assert_false(dw_ops_take(&ops, text.data, text.len, 0));
}

static void programs_are_bounded(void **state)
{
    char text[64];
    for (int i = 0; i < DW_OPS_PROGRAMS; i++) {
        snprintf(text, sizeof text, "DENGWEN=p%d\n", i);
        assert_true(take(text, 0));
    }
    assert_false(take("DENGWEN=more\n", 0));
    assert_true(take("DENGWEN=p3\nDENGWEN_READY=1\n", 0));
}

static void datagrams_are_bounded(void **state)
{
    char *text = dw_alloc(DW_OPS_DATAGRAM + 1);
    memset(text, '\n', DW_OPS_DATAGRAM + 1);
    memcpy(text, "DENGWEN=web\n", 12);
    assert_true(dw_ops_take(&ops, text, DW_OPS_DATAGRAM, 0));
    assert_false(dw_ops_take(&ops, text, DW_OPS_DATAGRAM + 1, 0));
    dw_free(text);
}

static void a_full_house_fits_into_one_answer(void **state)
{
    for (int p = 0; p < DW_OPS_PROGRAMS; p++) {
        DW_AUTO_BUF text = {0};
        dw_buf_init(&text, DW_OPS_DATAGRAM);
        dw_buf_printf(&text, "DENGWEN=p%078d\n", p);
        for (int i = 0; i < DW_OPS_METRICS; i++)
            dw_buf_printf(&text, "DENGWEN_METRIC=m%078d -9223372036854775808\n", i);
        assert_true(dw_ops_take(&ops, text.data, text.len, 0));
    }
    char *all = metrics(0);
    size_t lines = 0;
    for (const char *p = all; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, DW_OPS_PROGRAMS * DW_OPS_METRICS + DW_OPS_METRICS + 1 +
                                DW_OPS_PROGRAMS + DW_PARTS);
    dw_free(all);
}

/* Every line of the answer must be one a scraper can read, whatever came in. */
static void mutated_datagrams_never_break_the_answers(void **state)
{
    static const char honest[] = "DENGWEN=web\nDENGWEN_READY=1\nDENGWEN_PID=77\nSTATUS=accepting\n"
                                 "READY=1\nDENGWEN_METRIC=dengwen_web_filings_total 12\n"
                                 "DENGWEN_METRIC=dengwen_web_open 3\n";
    uint32_t random = 1;
    char text[sizeof honest];
    for (int i = 0; i < 20000; i++) {
        memcpy(text, honest, sizeof text);
        size_t len = sizeof honest - 1;
        for (int j = 0; j < 3; j++) {
            random = random * 1664525 + 1013904223;
            text[(random >> 8) % len] = (char)((random >> 20) % 3 ? "\n=0_ \"\\-"[random >> 29]
                                                                  : (char)(random >> 24));
        }
        random = random * 1664525 + 1013904223;
        dw_ops_take(&ops, text, (random >> 28) ? len : (random >> 8) % len, i);
    }
    bool ready;
    json_decref(readiness(20000, &ready));
    char *all = metrics(20000);
    for (char *line = strtok(all, "\n"); line; line = strtok(NULL, "\n")) {
        size_t len = strlen(line);
        assert_int_equal(strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_{}=\" #-"), len);
    }
    dw_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_expected_part_must_be_ready, fresh),
        cmocka_unit_test_setup(a_part_that_is_not_ready_says_why, fresh),
        cmocka_unit_test_setup(silence_longer_than_stale_is_not_ready, fresh),
        cmocka_unit_test_setup(metrics_are_grouped_by_name_with_one_type_each, fresh),
        cmocka_unit_test_setup(labels_stand_behind_the_program, fresh),
        cmocka_unit_test_setup(a_histogram_has_one_type_and_rising_buckets, fresh),
        cmocka_unit_test_setup(the_newest_word_replaces_the_one_before, fresh),
        cmocka_unit_test_setup(metrics_of_a_silent_program_are_left_out, fresh),
        cmocka_unit_test_setup(whole_numbers_of_64_bits_are_taken, fresh),
        cmocka_unit_test_setup(unknown_keys_are_skipped, fresh),
        cmocka_unit_test_setup(malformed_datagrams_change_nothing, fresh),
        cmocka_unit_test_setup(control_characters_of_a_status_do_not_get_out, fresh),
        cmocka_unit_test_setup(names_and_lines_have_their_limits, fresh),
        cmocka_unit_test_setup(metrics_per_program_are_bounded, fresh),
        cmocka_unit_test_setup(programs_are_bounded, fresh),
        cmocka_unit_test_setup(datagrams_are_bounded, fresh),
        cmocka_unit_test_setup(a_full_house_fits_into_one_answer, fresh),
        cmocka_unit_test_setup(mutated_datagrams_never_break_the_answers, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
