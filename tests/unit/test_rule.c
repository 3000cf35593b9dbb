#include "domain_data.h"

#include "dw/rule.h"

static struct dw_calendar *calendar;
static struct dw_rules *rules;

static int load(void **state)
{
    struct dw_error err;
    return dw_calendar_load(DATA_FOLDER, &calendar, &err) == DW_OK &&
                   dw_rules_load(DATA_FOLDER, &rules, &err) == DW_OK
               ? 0
               : -1;
}

static int unload(void **state)
{
    dw_calendar_free(calendar);
    dw_rules_free(rules);
    return 0;
}

static struct dw_rule rule_of(enum dw_unit unit, int32_t length)
{
    return (struct dw_rule){.id = "T", .pack = "T", .unit = unit, .length = length};
}

struct vector {
    const char *start;
    int32_t length;
    const char *due;
    bool estimate;
};

static void check_vectors(enum dw_unit unit, const struct vector *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct dw_rule rule = rule_of(unit, table[i].length);
        struct dw_due due;
        DW_AUTO_ARENA arena = {0};
        dw_arena_init(&arena, 1024 * 1024);
        assert_int_equal(dw_rule_due(&rule, calendar, day_of(table[i].start), false, &arena, &due),
                         DW_OK);
        assert_day(due.due, table[i].due);
        assert_int_equal(due.estimate, table[i].estimate);
    }
}

static void working_days_end_on_the_last_one(void **state)
{
    static const struct vector table[] = {
        {"2025-01-24", 5, "2025-02-07", false},   {"2025-09-26", 5, "2025-10-10", false},
        {"2025-09-29", 15, "2025-10-27", false},  {"2026-01-02", 1, "2026-01-04", false},
        {"2026-02-12", 5, "2026-02-26", false},   {"2026-02-12", 15, "2026-03-11", false},
        {"2026-04-30", 7, "2026-05-13", false},   {"2026-09-18", 5, "2026-09-24", false},
        {"2026-09-24", 10, "2026-10-15", false},  {"2026-09-28", 15, "2026-10-23", false},
        {"2026-09-30", 1, "2026-10-08", false},   {"2026-11-20", 15, "2026-12-11", false},
        {"2026-11-20", 30, "2027-01-01", true}, /* 2027 is not known */
        {"2026-12-31", 1, "2027-01-01", true},    {"2026-12-30", 1, "2026-12-31", false},
    };
    check_vectors(DW_WORKING_DAYS, table, DW_COUNT(table));
}

static void calendar_days_that_end_on_a_day_off_roll_forward(void **state)
{
    static const struct vector table[] = {
        {"2026-08-04", 60, "2026-10-08", false}, {"2026-07-03", 90, "2026-10-08", false},
        {"2026-01-17", 30, "2026-02-24", false}, {"2026-01-05", 7, "2026-01-12", false},
        {"2026-02-04", 10, "2026-02-14", false}, /* a Saturday, worked */
        {"2026-11-20", 90, "2027-02-18", true},  {"2026-12-01", 30, "2026-12-31", false},
    };
    check_vectors(DW_CALENDAR_DAYS, table, DW_COUNT(table));
}

static void months_end_on_the_corresponding_day(void **state)
{
    static const struct vector table[] = {
        {"2026-03-10", 2, "2026-05-11", false}, /* 10 May is a Sunday */
        {"2026-01-31", 1, "2026-02-28", false}, /* no 31 February; the Saturday is worked */
        {"2025-12-31", 2, "2026-02-28", false}, {"2026-08-31", 1, "2026-09-30", false},
        {"2026-10-15", 3, "2027-01-15", true},  {"2023-12-29", 2, "2024-02-29", true},
    };
    check_vectors(DW_MONTHS, table, DW_COUNT(table));
}

static void hours_run_through_days_off(void **state)
{
    static const struct vector table[] = {
        {"2026-10-01", 24, "2026-10-02", false}, {"2026-10-01", 25, "2026-10-03", false},
        {"2026-10-09", 48, "2026-10-11", false},
    };
    check_vectors(DW_HOURS, table, DW_COUNT(table));
}

static void start_day_is_not_counted(void **state)
{
    const struct dw_rule *rule = dw_rule_find(rules, "D09", day_of("2026-03-02"));
    struct dw_due due;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 65536);
    assert_non_null(rule);
    assert_int_equal(dw_rule_due(rule, calendar, day_of("2026-03-02"), false, &arena, &due), DW_OK);
    assert_day(due.start, "2026-03-02");
    assert_day(due.due, "2026-03-09");
    assert_day(due.steps[0].from, "2026-03-03");
}

static void assert_step(const struct dw_due_step *step, const char *from, const char *to,
                        int32_t counted, const char *why_en)
{
    assert_day(step->from, from);
    assert_day(step->to, to);
    assert_int_equal(step->counted, counted);
    assert_string_equal(step->why_en, why_en);
    assert_true(strlen(step->why_zh) > 0);
}

static void steps_tell_what_was_counted_and_skipped(void **state)
{
    struct dw_rule rule = rule_of(DW_WORKING_DAYS, 10);
    struct dw_due due;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 65536);
    assert_int_equal(dw_rule_due(&rule, calendar, day_of("2026-09-24"), false, &arena, &due), DW_OK);
    assert_int_equal(due.steps_count, 7);
    assert_step(&due.steps[0], "2026-09-25", "2026-09-27", 0, "Mid-Autumn Festival");
    assert_step(&due.steps[1], "2026-09-28", "2026-09-30", 3, "working days");
    assert_step(&due.steps[2], "2026-10-01", "2026-10-07", 0, "National Day");
    assert_step(&due.steps[3], "2026-10-08", "2026-10-09", 2, "working days");
    assert_step(&due.steps[4], "2026-10-10", "2026-10-10", 1, "make-up working day, counted");
    assert_step(&due.steps[5], "2026-10-11", "2026-10-11", 0, "weekend");
    assert_step(&due.steps[6], "2026-10-12", "2026-10-15", 4, "working days");
    assert_string_equal(due.steps[2].why_zh, "国庆节");
}

static void the_roll_forward_is_a_step(void **state)
{
    struct dw_rule rule = rule_of(DW_CALENDAR_DAYS, 30);
    struct dw_due due;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 65536);
    assert_int_equal(dw_rule_due(&rule, calendar, day_of("2026-01-17"), false, &arena, &due), DW_OK);
    assert_int_equal(due.steps_count, 2);
    assert_step(&due.steps[0], "2026-01-18", "2026-02-16", 30, "calendar days");
    assert_step(&due.steps[1], "2026-02-17", "2026-02-24", 0,
                "the last day is a day off (Spring Festival): moved to the next working day");
    assert_string_equal(due.steps[1].why_zh, "最后一日为春节，顺延至下一个工作日");
}

static void days_beyond_the_calendar_say_so(void **state)
{
    struct dw_rule rule = rule_of(DW_WORKING_DAYS, 30);
    struct dw_due due;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 65536);
    assert_int_equal(dw_rule_due(&rule, calendar, day_of("2026-11-20"), false, &arena, &due), DW_OK);
    assert_true(due.estimate);
    assert_step(&due.steps[due.steps_count - 1], "2027-01-01", "2027-01-01", 1,
                "holidays of that year not announced yet; Monday to Friday assumed");
}

/* For every day of two years, every unit: steps join up, what they count is the length, the end of
 * working and calendar days is a working day. */
static void steps_are_complete_for_any_start(void **state)
{
    static const enum dw_unit units[] = {DW_WORKING_DAYS, DW_CALENDAR_DAYS, DW_MONTHS, DW_HOURS};
    for (dw_day start = day_of("2025-01-01"); start <= day_of("2026-12-31"); start++) {
        for (size_t u = 0; u < DW_COUNT(units); u++) {
            struct dw_rule rule = rule_of(units[u], 1 + start % 40);
            struct dw_due due;
            DW_AUTO_ARENA arena = {0};
            int32_t counted = 0;
            dw_arena_init(&arena, 1024 * 1024);
            assert_int_equal(dw_rule_due(&rule, calendar, start, false, &arena, &due), DW_OK);
            dw_day at = start;
            for (size_t i = 0; i < due.steps_count; i++) {
                assert_int_equal(due.steps[i].from, at + 1);
                assert_true(due.steps[i].to >= due.steps[i].from);
                at = due.steps[i].to;
                counted += due.steps[i].counted;
            }
            assert_int_equal(at, due.due);
            if (units[u] == DW_WORKING_DAYS || units[u] == DW_CALENDAR_DAYS)
                assert_int_equal(counted, rule.length);
            if (units[u] != DW_HOURS)
                assert_true(dw_calendar_day(calendar, due.due).works);
        }
    }
}

static void an_extension_counts_on_from_the_start(void **state)
{
    static const struct {
        const char *id, *start, *due, *extended;
    } table[] = {
        {"D08", "2026-03-02", "2026-03-23", "2026-04-14"},
        {"D10", "2026-03-02", "2026-06-01", "2026-06-30"},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        const struct dw_rule *rule = dw_rule_find(rules, table[i].id, day_of(table[i].start));
        struct dw_due due;
        DW_AUTO_ARENA arena = {0};
        dw_arena_init(&arena, 65536);
        assert_int_equal(dw_rule_due(rule, calendar, day_of(table[i].start), false, &arena, &due),
                         DW_OK);
        assert_day(due.due, table[i].due);
        assert_false(due.extended);
        assert_int_equal(dw_rule_due(rule, calendar, day_of(table[i].start), true, &arena, &due),
                         DW_OK);
        assert_day(due.due, table[i].extended);
        assert_true(due.extended);
    }
}

static void a_rule_without_extension_is_not_extended(void **state)
{
    const struct dw_rule *rule = dw_rule_find(rules, "D09", day_of("2026-03-02"));
    struct dw_due due;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 65536);
    assert_int_equal(dw_rule_due(rule, calendar, day_of("2026-03-02"), true, &arena, &due), DW_OK);
    assert_day(due.due, "2026-03-09");
    assert_false(due.extended);
}

static void soon_begins_working_days_before_due(void **state)
{
    static const struct {
        const char *id, *start, *due, *soon;
    } table[] = {
        {"D08", "2026-09-28", "2026-10-23", "2026-10-20"},
        {"D09", "2026-02-12", "2026-02-26", "2026-02-25"},
        {"D09", "2026-09-30", "2026-10-13", "2026-10-12"},
        {"D10", "2026-07-03", "2026-10-08", "2026-09-17"},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        const struct dw_rule *rule = dw_rule_find(rules, table[i].id, day_of(table[i].start));
        struct dw_due due;
        DW_AUTO_ARENA arena = {0};
        dw_arena_init(&arena, 65536);
        assert_int_equal(dw_rule_due(rule, calendar, day_of(table[i].start), false, &arena, &due),
                         DW_OK);
        assert_day(due.due, table[i].due);
        assert_day(dw_rule_soon(rule, calendar, &due), table[i].soon);
    }
}

static void soon_is_never_before_the_start(void **state)
{
    struct dw_rule rule = rule_of(DW_WORKING_DAYS, 2);
    struct dw_due due;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 65536);
    rule.soon = 30;
    assert_int_equal(dw_rule_due(&rule, calendar, day_of("2026-03-02"), false, &arena, &due), DW_OK);
    assert_day(dw_rule_soon(&rule, calendar, &due), "2026-03-02");
}

static void an_arena_that_is_too_small_is_told(void **state)
{
    struct dw_rule rule = rule_of(DW_CALENDAR_DAYS, 30);
    struct dw_due due;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 16);
    assert_int_equal(dw_rule_due(&rule, calendar, day_of("2026-01-17"), false, &arena, &due),
                     DW_INVALID);
}

static void the_pack_holds_the_rules_of_the_law(void **state)
{
    static const struct {
        const char *id;
        enum dw_unit unit;
        int32_t length, extension, soon;
        bool real_name_only;
        const char *starts, *stops;
    } table[] = {
        {"D08", DW_WORKING_DAYS, 15, 15, 3, false, "registered", "accepted"},
        {"D09", DW_WORKING_DAYS, 5, 0, 1, true, "accepted", "notice_sent"},
        {"D10", DW_CALENDAR_DAYS, 90, 30, 10, false, "accepted", "decided"},
        {"D21", DW_MONTHS, 2, 0, 10, false, "reward_notified", "reward_claimed"},
    };
    assert_int_equal(dw_rules_count(rules), DW_COUNT(table));
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        const struct dw_rule *rule = dw_rules_at(rules, i);
        assert_string_equal(rule->id, table[i].id);
        assert_string_equal(rule->pack, "MED-2022");
        assert_int_equal(rule->unit, table[i].unit);
        assert_int_equal(rule->length, table[i].length);
        assert_int_equal(rule->extension, table[i].extension);
        assert_int_equal(rule->soon, table[i].soon);
        assert_int_equal(rule->real_name_only, table[i].real_name_only);
        assert_string_equal(rule->starts[0], table[i].starts);
        assert_string_equal(rule->stops[0], table[i].stops);
        assert_string_equal(dw_verified_name(rule->verified), "secondary");
        assert_ptr_equal(dw_rule_of_pack(rules, table[i].id, "MED-2022"), rule);
    }
    assert_string_equal(rules ? dw_rules_at(rules, 0)->starts[1] : "", "received");
    assert_string_equal(dw_verified_name(DW_VERIFIED_FULL), "full");
    assert_string_equal(dw_verified_name(DW_VERIFIED_NO), "no");
}

static void a_rule_answers_on_its_own_days_only(void **state)
{
    assert_null(dw_rule_find(rules, "D08", day_of("2022-02-28")));
    assert_non_null(dw_rule_find(rules, "D08", day_of("2022-03-01")));
    assert_non_null(dw_rule_find(rules, "D08", day_of("2099-01-01")));
    assert_null(dw_rule_find(rules, "D21", day_of("2022-12-31")));
    assert_non_null(dw_rule_find(rules, "D21", day_of("2023-01-01")));
    assert_null(dw_rule_find(rules, "D99", day_of("2026-01-01")));
    assert_null(dw_rule_of_pack(rules, "D08", "MED-2018"));
}

static const char old_pack[] =
    "pack: MED-2018\nzh: 旧\nen: old\nfrom: 2018-12-01\nuntil: 2022-02-28\nrules:\n"
    "  - {id: D08, zh: 旧, en: old, unit: working_days, length: 30, article: a, source: s,\n"
    "     verified: \"no\", starts: [registered], stops: [accepted], soon: 1}\n";

static void a_superseded_pack_answers_for_its_own_days(void **state)
{
    struct data_copy copy;
    struct dw_rules *own;
    struct dw_error err;
    data_copy_make(&copy);
    write_data(&copy, "rules/MED-2018.yaml", old_pack);
    assert_int_equal(dw_rules_load(copy.folder, &own, &err), DW_OK);
    assert_string_equal(dw_rule_find(own, "D08", day_of("2022-02-28"))->pack, "MED-2018");
    assert_string_equal(dw_rule_find(own, "D08", day_of("2022-03-01"))->pack, "MED-2022");
    assert_null(dw_rule_find(own, "D08", day_of("2018-11-30")));
    assert_int_equal(dw_rule_of_pack(own, "D08", "MED-2018")->length, 30);
    dw_rules_free(own);
    damage(&copy, "rules/MED-2018.yaml", "until: 2022-02-28", "until: 2022-03-01");
    assert_int_equal(dw_rules_load(copy.folder, &own, &err), DW_INVALID);
    assert_contains(err.text, "rules: D08: packs MED-2018 and MED-2022 are in force on the same");
    data_copy_remove(&copy);
}

static void bad_packs_are_refused_with_file_and_key(void **state)
{
    static const char file[] = "rules/MED-2022.yaml";
    static const struct damage table[] = {
        {file, "unit: working_days", "unit: weeks", "unit: Invalid ENUM value: weeks"},
        {file, "unit: working_days", "unit: 0", "unit: Invalid ENUM value"},
        {file, "length: 15", "length: 0", "D08: length: expected 1 to"},
        {file, "length: 15", "length: soon", "length: Invalid INT value"},
        {file, "length: 15", "lenght: 15", "lenght: is not a known key"},
        {file, "    length: 15\n", "", "length: is missing"},
        {file, "extension: 15", "extension: -1", "D08: extension: expected"},
        {file, "soon: 3", "soon: -3", "D08: soon: expected"},
        {file, "real_name_only: true", "real_name_only: yes", "real_name_only: Invalid ENUM value"},
        {file, "verified: secondary", "verified: sure", "verified: Invalid ENUM value: sure"},
        {file, "starts: [registered, received, returned]", "starts: []", "starts: Insufficient entries"},
        {file, "starts: [registered, received, returned]", "starts: [Registered]", "D08: starts: expected"},
        {file, "id: D09", "id: D08", "rules: D08: stands twice in pack MED-2022"},
        {file, "from: 2022-03-01", "from: 2022-3-1", "from: 2022-3-1 is not a day"},
        {file, "from: 2023-01-01", "from: 2021-01-01", "D21: expected days within"},
        {file, "from: 2022-03-01", "from: 2022-03-01\nuntil: 2022-01-01", "until: expected a day"},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct data_copy copy;
        struct dw_rules *own;
        struct dw_error err = {{0}, {0}, 0};
        data_copy_make(&copy);
        damage(&copy, table[i].file, table[i].old, table[i].new);
        assert_int_equal(dw_rules_load(copy.folder, &own, &err), DW_INVALID);
        assert_contains(err.text, table[i].expected);
        data_copy_remove(&copy);
    }
}

static void the_line_of_an_unknown_key_is_its_own(void **state)
{
    struct data_copy copy;
    struct dw_rules *own;
    struct dw_error err;
    data_copy_make(&copy);
    write_data(&copy, "rules/MED-2022.yaml",
               "pack: A\nzh: b\nen: c\n\n# colour: a comment\n\ncolour: red\n");
    assert_int_equal(dw_rules_load(copy.folder, &own, &err), DW_INVALID);
    assert_string_equal(err.text, "rules/MED-2022.yaml:7: colour: is not a known key");
    assert_string_equal(err.field, "colour");
    assert_int_equal(err.line, 7);
    data_copy_remove(&copy);
}

static void two_files_may_not_share_a_pack(void **state)
{
    struct data_copy copy;
    struct dw_rules *own;
    struct dw_error err;
    data_copy_make(&copy);
    write_data(&copy, "rules/MED-2018.yaml", old_pack);
    damage(&copy, "rules/MED-2018.yaml", "pack: MED-2018", "pack: MED-2022");
    assert_int_equal(dw_rules_load(copy.folder, &own, &err), DW_INVALID);
    assert_contains(err.text, "MED-2022 is the name of another file's pack");
    remove(path_in(&copy, "rules/MED-2018.yaml"));
    remove(path_in(&copy, "rules/MED-2022.yaml"));
    assert_int_equal(dw_rules_load(copy.folder, &own, &err), DW_INVALID);
    assert_contains(err.text, "expected at least one rule pack");
    data_copy_remove(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(working_days_end_on_the_last_one),
        cmocka_unit_test(calendar_days_that_end_on_a_day_off_roll_forward),
        cmocka_unit_test(months_end_on_the_corresponding_day),
        cmocka_unit_test(hours_run_through_days_off),
        cmocka_unit_test(start_day_is_not_counted),
        cmocka_unit_test(steps_tell_what_was_counted_and_skipped),
        cmocka_unit_test(the_roll_forward_is_a_step),
        cmocka_unit_test(days_beyond_the_calendar_say_so),
        cmocka_unit_test(steps_are_complete_for_any_start),
        cmocka_unit_test(an_extension_counts_on_from_the_start),
        cmocka_unit_test(a_rule_without_extension_is_not_extended),
        cmocka_unit_test(soon_begins_working_days_before_due),
        cmocka_unit_test(soon_is_never_before_the_start),
        cmocka_unit_test(an_arena_that_is_too_small_is_told),
        cmocka_unit_test(the_pack_holds_the_rules_of_the_law),
        cmocka_unit_test(a_rule_answers_on_its_own_days_only),
        cmocka_unit_test(a_superseded_pack_answers_for_its_own_days),
        cmocka_unit_test(bad_packs_are_refused_with_file_and_key),
        cmocka_unit_test(the_line_of_an_unknown_key_is_its_own),
        cmocka_unit_test(two_files_may_not_share_a_pack),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
