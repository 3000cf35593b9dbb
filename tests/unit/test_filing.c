#include "filing_data.h"

static void a_full_report_is_read(void **state)
{
    struct dw_filing f;
    struct dw_problems problems;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, ROOM);
    assert_int_equal(parse(full_report, &arena, &f, &problems), DW_OK);
    assert_int_equal(problems.count, 0);
    assert_string_equal(f.facts.kind, "report");
    assert_string_equal(f.facts.against, "hospital");
    assert_string_equal(f.facts.district, "500108");
    assert_int_equal(f.facts.acts_count, 2);
    assert_string_equal(f.facts.acts[1], "PF02");
    assert_null(f.facts.complaint);
    assert_int_equal(f.facts.service, 0);
    assert_string_equal(f.facts.channel, "web");
    assert_string_equal(f.facts.language, "zh-CN");
    assert_day(f.facts.day, "2026-09-28");
    assert_true(f.facts.real_name && f.facts.wants_reward && f.facts.notify_sms);
    assert_false(f.facts.notify_email || f.facts.notify_call || f.ongoing);
    assert_string_equal(f.facts.amount, "from_100000");
    assert_string_equal(f.facts.routing, "2026-1");
    assert_int_equal(f.facts.excluded_count, 0);
    assert_string_equal(f.name, "某某医院");
    assert_string_equal(f.code, "H50010800123");
    assert_string_equal(f.from, "2026-03-01");
    assert_string_equal(f.to, "2026-06-30");
    assert_string_equal(f.text, FACTS);
    assert_int_equal(f.amount_yuan, 120000);
    assert_string_equal(f.relation, "present_staff");
    assert_string_equal(f.identity_name, "李四");
    assert_string_equal(f.id_number, "11010519491231002X");
    assert_string_equal(f.phone, "+8613800138000");
    assert_string_equal(f.email, "a@example.org");
    assert_null(f.body);
}

static void a_short_report_is_anonymous(void **state)
{
    struct dw_filing f;
    struct dw_problems problems;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, ROOM);
    assert_int_equal(parse(short_report, &arena, &f, &problems), DW_OK);
    assert_false(f.facts.real_name || f.facts.wants_reward);
    assert_string_equal(f.facts.language, "zh-CN");
    assert_string_equal(f.facts.amount, "unknown");
    assert_string_equal(f.relation, "not_said");
    assert_int_equal(f.amount_yuan, -1);
    assert_null(f.identity_name);
    assert_null(f.phone);
    assert_null(f.privacy_version);
}

static void a_complaint_has_a_kind_and_a_service(void **state)
{
    struct dw_filing f;
    struct dw_problems problems;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, ROOM);
    assert_int_equal(parse(short_complaint, &arena, &f, &problems), DW_OK);
    assert_string_equal(f.facts.complaint, "CS2");
    assert_int_equal(f.facts.service, 26);
    assert_int_equal(f.facts.acts_count, 0);
    assert_string_equal(f.facts.language, "en");
}

/* One change to the full report and the one problem it makes; expected NULL: none. */
static const struct {
    const char *old, *new;
    const char *field;
    enum dw_problem_kind kind;
    int64_t limit;
    const char *other;
} changes[] = {
    {"\"kind\": \"report\"", "\"kind\": \"praise\"", "kind", DW_P_CHOICE, 0, ""},
    {"\"kind\": \"report\"", "\"kind\": 1", "kind", DW_P_TYPE, 0, ""},
    {"\"kind\": \"report\", ", "", "kind", DW_P_MISSING, 0, ""},
    {"\"language\": \"zh-CN\"", "\"language\": null", NULL, 0, 0, ""},
    {"\"language\": \"zh-CN\"", "\"language\": \"fr\"", "language", DW_P_CHOICE, 0, ""},
    {"\"hospital\"", "\"school\"", "against.type", DW_P_CHOICE, 0, ""},
    {"\"hospital\"", "null", "against.type", DW_P_MISSING, 0, ""},
    {"\"某某医院\"", "\" 　 \"", "against.name", DW_P_MISSING, 0, ""},
    {"\"某某医院\"", "[\"某某医院\"]", "against.name", DW_P_TYPE, 0, ""},
    {"\"某某医院\"", "\"某某\\n医院\"", "against.name", DW_P_TEXT, 0, ""},
    {"\"某某医院\"", "\"某某\\u0007医院\"", "against.name", DW_P_TEXT, 0, ""},
    {"\"某某医院\"", "\"某某\\u0085医院\"", "against.name", DW_P_TEXT, 0, ""},
    {"\"某某医院\"", "\"某某\\u0000医院\"", "against.name", DW_P_TEXT, 0, ""},
    {"\"某某医院\"", "\"某某\xff医院\"", "against.name", DW_P_TEXT, 0, ""},
    {"\"500108\"", "\"500199\"", "against.district", DW_P_CHOICE, 0, ""},
    {"\"500108\"", "500108", "against.district", DW_P_TYPE, 0, ""},
    {"\"南坪街道1号\"", "\"南坪街道\\n1号\"", NULL, 0, 0, ""},
    {"\"南坪街道1号\"", "\"\"", NULL, 0, 0, ""},
    {"\"南坪街道1号\"", "\"a\\tb\"", "against.address", DW_P_TEXT, 0, ""},
    {"\"h50010800123\"", "\"H5001 0800123\"", "against.code", DW_P_FORM, 0, ""},
    {"\"h50010800123\"", "\"医院\"", "against.code", DW_P_FORM, 0, ""},
    {"\"h50010800123\"", "\"123456789012345678901234567890123\"", "against.code", DW_P_TOO_LONG, 32,
     ""},
    {"\"body\": null", "\"body\": \"999\"", "against.body", DW_P_CHOICE, 0, ""},
    {"\"body\": null", "\"body\": 500108", "against.body", DW_P_TYPE, 0, ""},
    {"\"body\": null", "\"body\": \"500108\"", NULL, 0, 0, ""},
    {"\"body\": null", "\"bodies\": null", "against.bodies", DW_P_UNKNOWN, 0, ""},
    {"\"PU01\", \"PF02\"", "\"PU01\", \"PU01\"", "acts[1]", DW_P_DUPLICATE, 0, ""},
    {"\"PU01\", \"PF02\"", "\"PU01\", \"XX01\"", "acts[1]", DW_P_CHOICE, 0, ""},
    {"\"PU01\", \"PF02\"", "\"PU01\", 2", "acts[1]", DW_P_TYPE, 0, ""},
    {"\"PU01\", \"PF02\"", "", "acts", DW_P_MISSING, 0, ""},
    {"[\"PU01\", \"PF02\"]", "\"PU01\"", "acts", DW_P_TYPE, 4, ""},
    {"\"PU01\", \"PF02\"", "1,2,3,4,5,6,7,8,9,10,11", "acts", DW_P_TOO_MANY, 10, ""},
    {"\"when\"", "\"complaint\": \"CS1\", \"when\"", "complaint", DW_P_BOTH, 0, "acts"},
    {"\"when\"", "\"service\": 3, \"when\"", "service", DW_P_BOTH, 0, "acts"},
    {"\"2026-03-01\"", "\"2026-3-1\"", "when.from", DW_P_FORM, 0, ""},
    {"\"2026-03-01\"", "\"2026-02-30\"", "when.from", DW_P_FORM, 0, ""},
    {"\"2026-03-01\"", "\"2026-03-01T10:00\"", "when.from", DW_P_FORM, 0, ""},
    {"\"2026-03-01\"", "20260301", "when.from", DW_P_TYPE, 0, ""},
    {"\"2026-06-30\"", "\"2026-09-29\"", "when.to", DW_P_FUTURE, 0, ""},
    {"\"2026-06-30\"", "\"2026-09-28\"", NULL, 0, 0, ""},
    {"\"2026-06-30\"", "\"2026-03-01\"", NULL, 0, 0, ""},
    {"\"2026-06-30\"", "\"2026-02-28\"", "when.to", DW_P_ORDER, 0, "when.from"},
    {"\"ongoing\": false", "\"ongoing\": 0", "when.ongoing", DW_P_TYPE, 2, ""},
    {"\"ongoing\": false", "\"often\": true", "when.often", DW_P_UNKNOWN, 0, ""},
    {FACTS, "太短了", "facts", DW_P_TOO_SHORT, 20, ""},
    {FACTS, "  ", "facts", DW_P_MISSING, 0, ""},
    {FACTS, "一二三四五六七八九十一二三四五六七八九十", NULL, 0, 0, ""},
    {FACTS, "一二三四五六七八九十一二三四五六七八九  ", "facts", DW_P_TOO_SHORT, 20, ""},
    {FACTS, "一二三四五六七八九十\\n一二三四五六七八九十", NULL, 0, 0, ""},
    {FACTS, "一二三四五六七八九十\\r\\n一二三四五六七八九十", NULL, 0, 0, ""},
    {FACTS, "一二三四五六七八九十\\r一二三四五六七八九十", "facts", DW_P_TEXT, 0, ""},
    {"120000", "-1", "amount_yuan", DW_P_RANGE, 100000000000, ""},
    {"120000", "100000000000", NULL, 0, 0, ""},
    {"120000", "100000000001", "amount_yuan", DW_P_RANGE, 100000000000, ""},
    {"120000", "120000.5", "amount_yuan", DW_P_FORM, 1, ""},
    {"120000", "99999999999999999999999", "amount_yuan", DW_P_FORM, 0, ""},
    {"120000", "\"120000\"", "amount_yuan", DW_P_TYPE, 1, ""},
    {"120000", "null", NULL, 0, 0, ""},
    {"\"present_staff\"", "\"spy\"", "relation", DW_P_CHOICE, 0, ""},
    {"\"李四\"", "null", "identity.wants_reward", DW_P_NEEDS, 0, "identity.name"},
    {"\"李四\"", "\" \"", "identity.wants_reward", DW_P_NEEDS, 0, "identity.name"},
    {"\"李四\"", "4", "identity.name", DW_P_TYPE, 0, ""},
    {"\"138 0013 8000\"", "\"12345\"", "identity.phone", DW_P_FORM, 0, ""},
    {"\"138 0013 8000\"", "null", "notify.sms", DW_P_NEEDS, 0, "identity.phone"},
    {"\"138 0013 8000\"", "\"023-63892206\"", "notify.sms", DW_P_NEEDS, 0, "identity.phone"},
    {"\"a@example.org\"", "\"a@example\"", "identity.email", DW_P_FORM, 0, ""},
    {"\"11010519491231002X\"", "\"110105194912310021\"", "identity.id_number", DW_P_FORM, 0, ""},
    {"\"11010519491231002X\"", "\"11010519491231002x\"", NULL, 0, 0, ""},
    {"\"11010519491231002X\"", "\"110105491231002\"", "identity.id_number", DW_P_FORM, 0, ""},
    {"\"11010519491231002X\"", "\"11010519491331002X\"", "identity.id_number", DW_P_FORM, 0, ""},
    {"\"11010519491231002X\"", "null", NULL, 0, 0, ""},
    {"\"wants_reward\": true", "\"wants_reward\": \"yes\"", "identity.wants_reward", DW_P_TYPE, 2,
     ""},
    {"\"sms\": true, \"email\": false", "\"sms\": false, \"email\": true", NULL, 0, 0, ""},
    {"\"sms\": true", "\"fax\": true", "notify.fax", DW_P_UNKNOWN, 0, ""},
    {"\"privacy_version\": \"2026-1\"", "\"privacy_version\": \"2025-1\"", "privacy_version",
     DW_P_CHOICE, 0, ""},
    {"\"privacy_version\": \"2026-1\"", "\"privacy_version\": null", NULL, 0, 0, ""},
    {"\"truthful\": true", "\"truthful\": false", "truthful", DW_P_MUST_BE_TRUE, 0, ""},
    {"\"truthful\": true", "\"truthful\": 1", "truthful", DW_P_TYPE, 2, ""},
    {", \"truthful\": true", "", "truthful", DW_P_MISSING, 0, ""},
    {"\"truthful\": true", "\"truthful\": true, \"sms\": 1", "sms", DW_P_UNKNOWN, 0, ""},
    {"\"truthful\": true", "\"truthful\": true, \"<b>\\u4f60\": 1", "?b????", DW_P_UNKNOWN, 0, ""},
    {"\"truthful\": true", "\"truthful\": true, \"truthful\": true", "truthful", DW_P_DUPLICATE, 0,
     ""},
    {"\"code\"", "\"name\": \"x\", \"code\"", "against.name", DW_P_DUPLICATE, 0, ""},
    {"\"code\"", "\"people\": [{\"a\": 1, \"a\": 2}], \"code\"", "against.people.a", DW_P_DUPLICATE,
     0, ""},
    {"\"truthful\": true", "\"truthful\": tru", "", DW_P_SYNTAX, 0, ""},
    {"\"truthful\": true}", "\"truthful\": true} x", "", DW_P_SYNTAX, 0, ""},
};

static void each_problem_is_named(void **state)
{
    for (size_t i = 0; i < DW_COUNT(changes); i++) {
        struct dw_filing f;
        struct dw_problems problems;
        DW_AUTO_ARENA arena = {0};
        char *text = changed(full_report, changes[i].old, changes[i].new);
        dw_arena_init(&arena, ROOM);
        enum dw_result result = parse(text, &arena, &f, &problems);
        dw_free(text);
        if (!changes[i].field) {
            if (result != DW_OK)
                fail_msg("%s: %s", changes[i].new, problems.items[0].field);
            continue;
        }
        assert_int_equal(result, DW_INVALID);
        const struct dw_problem *p = &problems.items[0];
        if (problems.count != 1 || strcmp(p->field, changes[i].field) != 0 ||
            p->kind != changes[i].kind || p->limit != changes[i].limit ||
            strcmp(p->other, changes[i].other) != 0)
            fail_msg("%s: %zu problems, first: %s %d limit %lld other %s", changes[i].new,
                     problems.count, p->field, (int)p->kind, (long long)p->limit, p->other);
    }
}

static void a_complaint_is_checked_as_one(void **state)
{
    static const struct {
        const char *old, *new, *field;
        enum dw_problem_kind kind;
        int64_t limit;
    } table[] = {
        {"\"complaint\": \"CS2\", ", "", "complaint", DW_P_MISSING, 0},
        {"\"CS2\"", "\"CS8\"", "complaint", DW_P_CHOICE, 0},
        {"\"complaint\": \"CS2\"", "\"complaint\": \"CS2\", \"acts\": [\"PU01\"]", "acts", DW_P_BOTH,
         0},
        {"26", "36", "service", DW_P_RANGE, 35},
        {"26", "0", "service", DW_P_RANGE, 35},
        {"26", "-26", "service", DW_P_RANGE, 35},
        {"26", "4294967322", "service", DW_P_RANGE, 35},
        {"26", "26.0", "service", DW_P_FORM, 1},
        {"26", "\"26\"", "service", DW_P_TYPE, 1},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct dw_filing f;
        struct dw_problems problems;
        DW_AUTO_ARENA arena = {0};
        char *text = changed(short_complaint, table[i].old, table[i].new);
        dw_arena_init(&arena, ROOM);
        assert_int_equal(parse(text, &arena, &f, &problems), DW_INVALID);
        dw_free(text);
        assert_int_equal(problems.count, 1);
        assert_string_equal(problems.items[0].field, table[i].field);
        assert_int_equal(problems.items[0].kind, table[i].kind);
        assert_int_equal(problems.items[0].limit, table[i].limit);
    }
}

static void lengths_are_counted_in_characters(void **state)
{
    static const struct {
        const char *old;
        const char *field;
        size_t max;
    } table[] = {
        {"某某医院", "against.name", 200},   {"南坪街道1号", "against.address", 300},
        {"院长王某", "against.people", 500}, {FACTS, "facts", 5000},
        {"李四", "identity.name", 60},       {"未向其他部门反映", "elsewhere", 1000},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        for (size_t over = 0; over < 2; over++) {
            struct dw_filing f;
            struct dw_problems problems;
            DW_AUTO_ARENA arena = {0};
            size_t chars = table[i].max + over;
            char *value = dw_alloc(chars * 3 + 1);
            for (size_t k = 0; k < chars; k++)
                strcpy(value + k * 3, "医");
            char *text = changed(full_report, table[i].old, value);
            dw_arena_init(&arena, ROOM);
            assert_int_equal(parse(text, &arena, &f, &problems), over ? DW_INVALID : DW_OK);
            dw_free(text);
            dw_free(value);
            if (!over)
                continue;
            assert_int_equal(problems.count, 1);
            assert_string_equal(problems.items[0].field, table[i].field);
            assert_int_equal(problems.items[0].kind, DW_P_TOO_LONG);
            assert_int_equal(problems.items[0].limit, table[i].max);
        }
    }
}

static void all_problems_are_found_in_the_order_of_the_form(void **state)
{
    static const char text[] =
        "{\"surprise\": 1, \"truthful\": false, \"notify\": {\"call\": true}, \"facts\": \"short\","
        " \"when\": {\"to\": \"2027-01-01\"}, \"acts\": [\"XX\"], \"against\": {\"name\": 5},"
        " \"kind\": \"report\"}";
    static const char *const expected[] = {
        "against.type", "against.name", "against.district", "acts[0]",
        "when.to",      "facts",        "notify.call",      "truthful",
        "surprise",
    };
    struct dw_filing f;
    struct dw_problems problems;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, ROOM);
    assert_int_equal(parse(text, &arena, &f, &problems), DW_INVALID);
    assert_int_equal(problems.count, DW_COUNT(expected));
    for (size_t i = 0; i < DW_COUNT(expected); i++)
        assert_string_equal(problems.items[i].field, expected[i]);
}

static void an_empty_object_names_what_is_required(void **state)
{
    static const char *const expected[] = {"kind", "against.type", "against.name",
                                           "against.district", "facts", "truthful"};
    struct dw_filing f;
    struct dw_problems problems;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, ROOM);
    assert_int_equal(parse("{}", &arena, &f, &problems), DW_INVALID);
    assert_int_equal(problems.count, DW_COUNT(expected));
    for (size_t i = 0; i < DW_COUNT(expected); i++) {
        assert_string_equal(problems.items[i].field, expected[i]);
        assert_int_equal(problems.items[i].kind, DW_P_MISSING);
    }
}

static void more_problems_than_fit_are_left_out(void **state)
{
    char text[2000] = "{";
    struct dw_filing f;
    struct dw_problems problems;
    DW_AUTO_ARENA arena = {0};
    for (int i = 0; i < 60; i++)
        sprintf(text + strlen(text), "%s\"field%d\": 1", i ? "," : "", i);
    strcat(text, "}");
    dw_arena_init(&arena, ROOM);
    assert_int_equal(parse(text, &arena, &f, &problems), DW_INVALID);
    assert_int_equal(problems.count, DW_PROBLEMS_MAX);
}

static void what_is_no_object_is_refused(void **state)
{
    static const struct {
        const char *text;
        enum dw_problem_kind kind;
    } table[] = {
        {"", DW_P_SYNTAX},     {"[]", DW_P_TYPE},     {"null", DW_P_SYNTAX}, {"{", DW_P_SYNTAX},
        {"{'a': 1}", DW_P_SYNTAX}, {"{\"a\": 1,}", DW_P_SYNTAX}, {"\"a\"", DW_P_SYNTAX},
        {"{\"a\": [[[[[[[[1]]]]]]]]}", DW_P_SYNTAX}, /* nested deeper than any filing */
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct dw_filing f;
        struct dw_problems problems;
        DW_AUTO_ARENA arena = {0};
        dw_arena_init(&arena, ROOM);
        assert_int_equal(parse(table[i].text, &arena, &f, &problems), DW_INVALID);
        assert_int_equal(problems.count, 1);
        assert_string_equal(problems.items[0].field, "");
        assert_int_equal(problems.items[0].kind, table[i].kind);
    }
}

static void a_reported_office_is_excluded(void **state)
{
    static const struct {
        const char *old, *new, *excluded;
    } table[] = {
        {"\"name\": \"counter 3\"", "\"name\": \"counter 3\", \"body\": \"500108\"", "500108"},
        {"\"name\": \"counter 3\"", "\"name\": \"x\", \"body\": \"500108-agency\"", "500108-agency"},
        {"counter 3", "重庆市南岸区医疗保障局", "500108"},
        {"counter 3", "南岸区医疗保障局", "500108"},
        {"counter 3", " Chongqing Medical Insurance Bureau ", "500000"},
        {"counter 3", "南岸", NULL},
        {"\"agency\", \"name\": \"counter 3\"", "\"hospital\", \"name\": \"南岸区医疗保障局\"", NULL},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct dw_filing f;
        struct dw_problems problems;
        DW_AUTO_ARENA arena = {0};
        char *text = changed(short_complaint, table[i].old, table[i].new);
        dw_arena_init(&arena, ROOM);
        assert_int_equal(parse(text, &arena, &f, &problems), DW_OK);
        dw_free(text);
        assert_int_equal(f.facts.excluded_count, table[i].excluded ? 1 : 0);
        if (table[i].excluded)
            assert_string_equal(f.facts.excluded[0], table[i].excluded);
        struct dw_route_facts facts = dw_facts_for_route(&f.facts);
        struct dw_route route;
        struct dw_error err;
        assert_int_equal(dw_route(routing, &facts, NULL, NULL, &route, &err), DW_OK);
        if (table[i].excluded)
            assert_string_not_equal(route.receiver->id, table[i].excluded);
    }
}

static void a_small_arena_is_told_as_too_long(void **state)
{
    for (size_t room = 0; room < 2200; room += 16) {
        struct dw_filing f;
        struct dw_problems problems;
        DW_AUTO_ARENA arena = {0};
        dw_arena_init(&arena, room);
        if (parse(full_report, &arena, &f, &problems) == DW_OK) {
            assert_true(room > 500);
            continue;
        }
        assert_int_equal(problems.items[problems.count - 1].kind, DW_P_TOO_LONG);
        assert_string_equal(problems.items[problems.count - 1].field, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_report_is_read),
        cmocka_unit_test(a_short_report_is_anonymous),
        cmocka_unit_test(a_complaint_has_a_kind_and_a_service),
        cmocka_unit_test(each_problem_is_named),
        cmocka_unit_test(a_complaint_is_checked_as_one),
        cmocka_unit_test(lengths_are_counted_in_characters),
        cmocka_unit_test(all_problems_are_found_in_the_order_of_the_form),
        cmocka_unit_test(an_empty_object_names_what_is_required),
        cmocka_unit_test(more_problems_than_fit_are_left_out),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(a_reported_office_is_excluded),
        cmocka_unit_test(a_small_arena_is_told_as_too_long),
    };
    return cmocka_run_group_tests(tests, load_filing_data, unload_filing_data);
}
