#include "domain_data.h"

#include "dw/calendar.h"

static struct dw_calendar *calendar;

static int load(void **state)
{
    struct dw_error err;
    return dw_calendar_load(DATA_FOLDER, &calendar, &err) == DW_OK ? 0 : -1;
}

static int unload(void **state)
{
    dw_calendar_free(calendar);
    return 0;
}

static void days_are_what_the_notice_says(void **state)
{
    static const struct {
        const char *day;
        bool works;
        const char *zh, *en;
    } table[] = {
        {"2025-01-01", false, "元旦", "New Year's Day"},
        {"2025-01-26", true, "调休上班", "make-up working day"},
        {"2025-01-27", true, "", ""},
        {"2025-01-28", false, "春节", "Spring Festival"},
        {"2025-02-04", false, "春节", "Spring Festival"},
        {"2025-02-08", true, "调休上班", "make-up working day"},
        {"2025-10-06", false, "国庆节、中秋节", "National Day and Mid-Autumn Festival"},
        {"2025-10-11", true, "调休上班", "make-up working day"},
        {"2025-12-31", true, "", ""},
        {"2026-01-04", true, "调休上班", "make-up working day"},
        {"2026-02-14", true, "调休上班", "make-up working day"},
        {"2026-02-15", false, "春节", "Spring Festival"},
        {"2026-02-23", false, "春节", "Spring Festival"},
        {"2026-02-24", true, "", ""},
        {"2026-06-20", false, "端午节", "Dragon Boat Festival"},
        {"2026-09-25", false, "中秋节", "Mid-Autumn Festival"},
        {"2026-10-03", false, "国庆节", "National Day"}, /* a Saturday: the holiday names it */
        {"2026-10-10", true, "调休上班", "make-up working day"},
        {"2026-10-11", false, "周末", "weekend"},
        {"2026-10-12", true, "", ""},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct dw_calendar_day d = dw_calendar_day(calendar, day_of(table[i].day));
        assert_true(d.known);
        assert_int_equal(d.works, table[i].works);
        assert_string_equal(d.why_zh, table[i].zh);
        assert_string_equal(d.why_en, table[i].en);
    }
}

static int working_days_of(int year)
{
    int count = 0;
    for (dw_day d = dw_day_from_civil(year, 1, 1); d <= dw_day_from_civil(year, 12, 31); d++)
        count += dw_calendar_day(calendar, d).works;
    return count;
}

static void both_years_have_248_working_days(void **state)
{
    assert_int_equal(working_days_of(2025), 248);
    assert_int_equal(working_days_of(2026), 248);
}

static void a_year_without_data_is_monday_to_friday_and_not_known(void **state)
{
    static const struct {
        const char *day;
        bool works;
    } table[] = {{"2027-01-01", true}, {"2027-01-02", false}, {"2024-12-31", true},
                 {"2027-10-01", true}, {"2024-12-29", false}};
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct dw_calendar_day d = dw_calendar_day(calendar, day_of(table[i].day));
        assert_false(d.known);
        assert_int_equal(d.works, table[i].works);
    }
}

static void it_is_known_until_the_end_of_the_last_year(void **state)
{
    assert_day(dw_calendar_known_until(calendar), "2026-12-31");
}

static const char small_year[] = "year: %d\nsource: test\nverified: \"no\"\nholidays:\n"
                                 "  - {zh: 元旦, en: New Year, from: %d-01-01, to: %d-01-01}\n";

static void add_year(const struct data_copy *copy, int year)
{
    char name[64], text[400];
    snprintf(name, sizeof name, "calendar/CN-%d.yaml", year);
    snprintf(text, sizeof text, small_year, year, year, year);
    write_data(copy, name, text);
}

static void a_gap_between_years_ends_what_is_known(void **state)
{
    struct data_copy copy;
    struct dw_calendar *own;
    struct dw_error err;
    data_copy_make(&copy);
    add_year(&copy, 2028);
    assert_int_equal(dw_calendar_load(copy.folder, &own, &err), DW_OK);
    assert_day(dw_calendar_known_until(own), "2026-12-31");
    assert_true(dw_calendar_day(own, day_of("2028-01-01")).known);
    dw_calendar_free(own);
    add_year(&copy, 2027);
    assert_int_equal(dw_calendar_load(copy.folder, &own, &err), DW_OK);
    assert_day(dw_calendar_known_until(own), "2028-12-31");
    dw_calendar_free(own);
    data_copy_remove(&copy);
}

static void without_any_file_nothing_is_known(void **state)
{
    struct data_copy copy;
    struct dw_calendar *own;
    struct dw_error err;
    data_copy_make(&copy);
    remove(path_in(&copy, "calendar/CN-2025.yaml"));
    remove(path_in(&copy, "calendar/CN-2026.yaml"));
    assert_int_equal(dw_calendar_load(copy.folder, &own, &err), DW_OK);
    assert_int_equal(dw_calendar_known_until(own), 0);
    assert_false(dw_calendar_day(own, day_of("2026-10-01")).known);
    dw_calendar_free(own);
    data_copy_remove(&copy);
    assert_int_equal(dw_calendar_load("/nonexistent", &own, &err), DW_INVALID);
    assert_contains(err.text, "calendar: cannot be read");
}

static void a_holiday_may_begin_in_december(void **state)
{
    struct data_copy copy;
    struct dw_calendar *own;
    struct dw_error err;
    data_copy_make(&copy);
    add_year(&copy, 2027);
    damage(&copy, "calendar/CN-2027.yaml", "from: 2027-01-01", "from: 2026-12-31");
    assert_int_equal(dw_calendar_load(copy.folder, &own, &err), DW_OK);
    assert_false(dw_calendar_day(own, day_of("2026-12-31")).works);
    dw_calendar_free(own);
    data_copy_remove(&copy);
}

static void bad_files_are_refused_with_file_line_and_key(void **state)
{
    static const struct damage table[] = {
        {"calendar/CN-2026.yaml", "verified: full", "verified: sure", "verified: expected full"},
        {"calendar/CN-2026.yaml", "year: 2026", "year: 2026\nyaer: 2026",
         "calendar/CN-2026.yaml:6: yaer: is not a known key"},
        {"calendar/CN-2026.yaml", "year: 2026", "year: next",
         "calendar/CN-2026.yaml:5: year: Invalid INT value"},
        {"calendar/CN-2026.yaml", "year: 2026", "year: 2026\nyear: 2026",
         "calendar/CN-2026.yaml:6: year: stands here a second time"},
        {"calendar/CN-2026.yaml", "year: 2026\n", "", "year: is missing"},
        {"calendar/CN-2026.yaml", "from: 2026-01-01", "from: 2026-13-01",
         "calendar/CN-2026.yaml: 元旦: from: 2026-13-01 is not a day"},
        {"calendar/CN-2026.yaml", "to: 2026-01-03", "to: 2025-12-31", "expected `to` within"},
        {"calendar/CN-2026.yaml", "works: [2026-01-04]", "works: [2026-01-05]",
         "元旦: 2026-01-05 is no weekend day"},
        {"calendar/CN-2026.yaml", "works: [2026-01-04]", "works: [2026-01-03]",
         "元旦: 2026-01-03 is given twice"},
        {"calendar/CN-2026.yaml", "works: [2026-01-04]", "works: [2028-01-02]", "outside the year"},
        {"calendar/CN-2026.yaml", "year: 2026", "year: 2025", "lies outside the year 2025"},
        {"calendar/CN-2026.yaml", "holidays:", "holidays: [", "calendar/CN-2026.yaml:"},
        {"calendar/CN-2026.yaml", "    en: National Day\n", "", "en: is missing"},
        {"calendar/CN-2026.yaml", "zh: 国庆节", "zh: &a 国庆节\n    note: *a",
         "calendar/CN-2026.yaml:"},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct data_copy copy;
        struct dw_calendar *own;
        struct dw_error err = {{0}, {0}, 0};
        data_copy_make(&copy);
        damage(&copy, table[i].file, table[i].old, table[i].new);
        assert_int_equal(dw_calendar_load(copy.folder, &own, &err), DW_INVALID);
        assert_contains(err.text, table[i].expected);
        data_copy_remove(&copy);
    }
}

static void an_empty_file_is_refused(void **state)
{
    struct data_copy copy;
    struct dw_calendar *own;
    struct dw_error err;
    data_copy_make(&copy);
    write_data(&copy, "calendar/CN-2027.yaml", "# nothing yet\n");
    assert_int_equal(dw_calendar_load(copy.folder, &own, &err), DW_INVALID);
    assert_contains(err.text, "calendar/CN-2027.yaml:1: the file is empty");
    data_copy_remove(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_are_what_the_notice_says),
        cmocka_unit_test(both_years_have_248_working_days),
        cmocka_unit_test(a_year_without_data_is_monday_to_friday_and_not_known),
        cmocka_unit_test(it_is_known_until_the_end_of_the_last_year),
        cmocka_unit_test(a_gap_between_years_ends_what_is_known),
        cmocka_unit_test(without_any_file_nothing_is_known),
        cmocka_unit_test(a_holiday_may_begin_in_december),
        cmocka_unit_test(bad_files_are_refused_with_file_line_and_key),
        cmocka_unit_test(an_empty_file_is_refused),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
