#include "unit.h"

#include "dw/clock.h"

#include <unistd.h>

TEST(a_legal_day_begins_at_midnight_in_shanghai)
{
    dw_day day;
    assert_true(dw_day_parse("2026-09-28", &day));
    dw_time start = dw_day_start(day);
    char text[DW_TIME_TEXT];
    assert_string_equal(dw_time_format(start, text), "2026-09-27T16:00:00Z");
    assert_int_equal(dw_day_of(start), day);
    assert_int_equal(dw_day_of(start - 1), day - 1);
    assert_int_equal(dw_day_of(start + 86399999), day);
    assert_int_equal(dw_day_of(start + 86400000), day + 1);
}

TEST(every_day_of_four_centuries_goes_there_and_back)
{
    for (dw_day day = -40000; day < 110000; day++) {
        int y, m, d;
        dw_day_to_civil(day, &y, &m, &d);
        assert_int_equal(dw_day_from_civil(y, m, d), day);
    }
}

TEST(weekdays_are_right)
{
    static const struct {
        const char *day;
        int weekday;
    } cases[] = {{"1970-01-01", 4}, {"2026-11-24", 2}, {"2024-02-29", 4}, {"2026-01-04", 7}};
    for (size_t i = 0; i < 4; i++) {
        dw_day day;
        assert_true(dw_day_parse(cases[i].day, &day));
        assert_int_equal(dw_day_weekday(day), cases[i].weekday);
    }
}

TEST(only_days_that_exist_in_the_one_form_are_taken)
{
    static const char *const bad[] = {"2026-02-29", "2026-13-01", "2026-00-01", "2026-1-01",
                                      "2026-01-32", "26-01-01",   "2026-01-01 ", "", "2026/01/01",
                                      "１026-01-01", "1899-12-31"};
    dw_day day;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(dw_day_parse(bad[i], &day));
    char text[DW_DAY_TEXT];
    assert_true(dw_day_parse("2024-02-29", &day));
    assert_string_equal(dw_day_format(day, text), "2024-02-29");
}

TEST(the_drill_file_shifts_the_clock)
{
    char *folder = make_folder();
    char path[300];
    snprintf(path, sizeof path, "%s/offset", folder);
    FILE *f = fopen(path, "w");
    fputs("86400\n", f);
    fclose(f);
    dw_time before = dw_now();
    dw_clock_use_file(path);
    dw_time shifted = dw_now();
    assert_true(shifted - before >= 86400000 && shifted - before < 86410000);
    dw_clock_use_file(NULL);
    assert_true(dw_now() - before < 10000);
    rm_folder(folder);
}

RUN(cmocka_unit_test(a_legal_day_begins_at_midnight_in_shanghai),
    cmocka_unit_test(every_day_of_four_centuries_goes_there_and_back),
    cmocka_unit_test(weekdays_are_right),
    cmocka_unit_test(only_days_that_exist_in_the_one_form_are_taken),
    cmocka_unit_test(the_drill_file_shifts_the_clock))
