#include "domain_data.h"

#include "dw/catalogue.h"
#include "dw/route.h"

static struct dw_routing *routing;

static int load(void **state)
{
    struct dw_error err;
    if (dw_routing_load(DATA_FOLDER, &routing, &err) == DW_OK)
        return 0;
    fprintf(stderr, "%s\n", err.text);
    return -1;
}

static int unload(void **state)
{
    dw_routing_free(routing);
    return 0;
}

/* Lists of up to three, ended by NULL. */
struct route_case {
    const char *kind, *against;
    const char *acts[4];
    const char *complaint;
    const char *excluded[4];
    const char *body, *receiver, *rule;
    bool moved;
};

static size_t length(const char *const list[4])
{
    size_t n = 0;
    while (n < 4 && list[n])
        n++;
    return n;
}

static enum dw_result route(const struct route_case *c, dw_body_is_live *live, void *arg,
                            struct dw_route *ret, struct dw_error *err)
{
    struct dw_route_facts facts = {
        .kind = c->kind,
        .against = c->against,
        .district = "500108",
        .acts = c->acts,
        .acts_count = length(c->acts),
        .complaint = c->complaint,
        .excluded = c->excluded,
        .excluded_count = length(c->excluded),
    };
    return dw_route(routing, &facts, live, arg, ret, err);
}

static void check(const struct route_case *table, size_t count, dw_body_is_live *live, void *arg)
{
    for (size_t i = 0; i < count; i++) {
        struct dw_route r = {0};
        struct dw_error err = {{0}, {0}, 0};
        enum dw_result result = route(&table[i], live, arg, &r, &err);
        if (!table[i].body) {
            assert_int_equal(result, DW_NOT_FOUND);
            assert_true(strlen(err.text) > 30);
            continue;
        }
        assert_int_equal(result, DW_OK);
        assert_string_equal(r.rule, table[i].rule);
        assert_string_equal(r.body->id, table[i].body);
        assert_string_equal(r.receiver->id, table[i].receiver);
        assert_int_equal(r.excluded, table[i].moved);
        assert_true(r.receiver->member);
        assert_true(*r.what_zh && *r.what_en && *r.basis && *r.verified);
    }
}

static void a_filing_goes_to_the_body_of_the_law(void **state)
{
    static const struct route_case table[] = {
        {"report", "hospital", {"PU01"}, NULL, {NULL}, "500108", "500108", "R04", false},
        {"report", "pharmacy", {"PH01", "PU04"}, NULL, {NULL}, "500108", "500108", "R04", false},
        {"report", "insured_person", {"IN08"}, NULL, {NULL}, "500108", "500108", "R04", false},
        {"report", "unknown", {"PF01"}, NULL, {NULL}, "500108", "500108", "R04", false},
        {"report", "agency", {"AG01"}, NULL, {NULL}, "500108", "500108", "R03", false},
        {"report", "agency", {"AG01", "OF04"}, NULL, {NULL}, "500000-discipline", "500000", "R01",
         false},
        {"report", "agency", {"OF01"}, NULL, {NULL}, "500000-discipline", "500000", "R01", false},
        {"report", "unknown", {"OF01", "OF02"}, NULL, {NULL}, "500000-discipline", "500000", "R02",
         false},
        {"report", "hospital", {"OF01", "PU01"}, NULL, {NULL}, "500108", "500108", "R04", false},
        {"complaint", "hospital", {NULL}, "CS1", {NULL}, "500108", "500108", "R09", false},
        {"complaint", "agency", {NULL}, "CS2", {NULL}, "500108", "500108", "R08", false},
        {"complaint", "agency", {NULL}, "CS4", {NULL}, "500000-tax", "500108", "R05", false},
        {"complaint", "hospital", {NULL}, "CS5", {NULL}, "500000-market", "500108", "R06", false},
        {"complaint", "hospital", {NULL}, "CS6", {NULL}, "500000-health", "500108", "R07", false},
        {"complaint", "hospital", {NULL}, "CS7", {NULL}, "500108", "500108", "R09", false},
    };
    check(table, DW_COUNT(table), NULL, NULL);
}

static void a_body_never_gets_its_own_report(void **state)
{
    static const struct route_case table[] = {
        {"report", "agency", {"AG01"}, NULL, {"500108"}, "500000", "500000", "R03", true},
        {"report", "agency", {"AG01"}, NULL, {"500108-agency"}, "500108", "500108", "R03", false},
        {"report", "hospital", {"PU01"}, NULL, {"500108"}, "500000", "500000", "R04", true},
        {"complaint", "agency", {NULL}, "CS1", {"500108"}, "500000", "500000", "R08", true},
        /* an outside body keeps the responsibility, another member takes the filing in */
        {"complaint", "agency", {NULL}, "CS4", {"500108"}, "500000-tax", "500000", "R05", true},
        {"complaint", "agency", {NULL}, "CS6", {"500000-health"}, "500000-discipline", "500000",
         "R07", true},
        /* another district is no reason to move */
        {"report", "hospital", {"PU01"}, NULL, {"500103"}, "500108", "500108", "R04", false},
    };
    check(table, DW_COUNT(table), NULL, NULL);
}

static void a_district_does_not_look_into_its_city(void **state)
{
    static const struct route_case table[] = {
        {"report", "agency", {"AG01"}, NULL, {"500000-agency"}, "500000", "500000", "R03", true},
        {"complaint", "agency", {NULL}, "CS1", {"500000-agency"}, "500000", "500000", "R08", true},
    };
    check(table, DW_COUNT(table), NULL, NULL);
}

static void a_report_on_the_city_bureau_is_for_the_discipline_body(void **state)
{
    static const struct route_case table[] = {
        {"report", "agency", {"AG01"}, NULL, {"500000"}, "500000-discipline", "500108", "R03",
         true},
        {"report", "agency", {"OF01"}, NULL, {"500000"}, "500000-discipline", "500108", "R01",
         true},
        {"report", "agency", {"AG01"}, NULL, {"500000", "500108"}, NULL, NULL, NULL, true},
        {"report", "agency", {"OF01"}, NULL, {"500000", "500000-discipline"}, NULL, NULL, NULL,
         true},
    };
    check(table, DW_COUNT(table), NULL, NULL);
}

static bool is_not(void *arg, const char *id)
{
    return !strstr(arg, id);
}

static void a_member_without_a_key_is_replaced_by_its_superior(void **state)
{
    static const struct {
        const char *without; /* bodies that have no live key */
        struct route_case c;
        bool no_key;
    } table[] = {
        {"500108",
         {"report", "hospital", {"PU01"}, NULL, {NULL}, "500108", "500000", "R04", false},
         true},
        {"500103",
         {"report", "hospital", {"PU01"}, NULL, {NULL}, "500108", "500108", "R04", false},
         false},
        {"500108",
         {"complaint", "hospital", {NULL}, "CS6", {NULL}, "500000-health", "500000", "R07", false},
         true},
        {"500000",
         {"report", "agency", {"OF01"}, NULL, {NULL}, "500000-discipline", "500108", "R01", false},
         true},
        {"500000 500108",
         {"report", "hospital", {"PU01"}, NULL, {NULL}, NULL, NULL, NULL, false},
         false},
        {"500000",
         {"report", "hospital", {"PU01"}, NULL, {"500108"}, NULL, NULL, NULL, false},
         false},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct dw_route r = {0};
        struct dw_error err;
        char without[40];
        strcpy(without, table[i].without);
        check(&table[i].c, 1, is_not, without);
        if (route(&table[i].c, is_not, without, &r, &err) == DW_OK)
            assert_int_equal(r.no_key, table[i].no_key);
    }
}

/* Whatever is reported, wherever and about whomever: one body, one member that is not excluded. */
static void every_filing_belongs_to_somebody(void **state)
{
    struct dw_catalogue *words;
    struct dw_error err;
    size_t count = 0;
    assert_int_equal(dw_catalogue_load(DATA_FOLDER, &words, &err), DW_OK);
    for (size_t d = 0; d < dw_terms_count(words, DW_DISTRICTS); d++) {
        for (size_t a = 0; a < dw_terms_count(words, DW_AGAINST); a++) {
            for (size_t i = 0; i < dw_terms_count(words, DW_ACTS); i++) {
                const char *act = dw_term_at(words, DW_ACTS, i)->code;
                const char *excluded = dw_term_at(words, DW_DISTRICTS, (d + i) % 38)->code;
                struct dw_route r;
                struct dw_route_facts facts = {
                    .kind = "report",
                    .against = dw_term_at(words, DW_AGAINST, a)->code,
                    .district = dw_term_at(words, DW_DISTRICTS, d)->code,
                    .acts = &act,
                    .acts_count = 1,
                    .excluded = &excluded,
                    .excluded_count = 1,
                };
                assert_int_equal(dw_route(routing, &facts, NULL, NULL, &r, &err), DW_OK);
                assert_true(r.receiver->member);
                assert_string_not_equal(r.receiver->id, excluded);
                assert_string_not_equal(r.body->id, excluded);
                count++;
            }
        }
    }
    assert_int_equal(count, 38 * 8 * 46);
    dw_catalogue_free(words);
}

static void wrong_facts_are_told(void **state)
{
    struct dw_error err;
    struct dw_route r;
    const char *nobody[] = {"999"};
    struct dw_route_facts facts = {.kind = "report", .against = "hospital", .district = "110000"};
    assert_int_equal(dw_route(routing, &facts, NULL, NULL, &r, &err), DW_INVALID);
    assert_string_equal(err.field, "district");
    facts.district = "500108";
    facts.kind = "praise";
    assert_int_equal(dw_route(routing, &facts, NULL, NULL, &r, &err), DW_INVALID);
    assert_string_equal(err.field, "kind");
    facts.kind = "report";
    facts.excluded = nobody;
    facts.excluded_count = 1;
    assert_int_equal(dw_route(routing, &facts, NULL, NULL, &r, &err), DW_INVALID);
    assert_string_equal(err.field, "excluded");
}

static void bodies_are_those_of_the_city(void **state)
{
    size_t members = 0, outside = 0, phones = 0;
    for (size_t i = 0; i < dw_bodies_count(routing); i++) {
        const struct dw_body *b = dw_body_at(routing, i);
        *(b->member ? &members : &outside) += 1;
        phones += *b->phone != 0;
        assert_true(*b->zh && *b->en);
    }
    assert_int_equal(members, 39);
    assert_int_equal(outside, 10 + 39);
    assert_int_equal(phones, 1);
    const struct dw_body *b = dw_body_find(routing, "500108");
    assert_string_equal(b->zh, "重庆市南岸区医疗保障局");
    assert_string_equal(b->superior, "500000");
    assert_string_equal(b->district, "500108");
    assert_string_equal(dw_body_find(routing, "500000")->superior, "");
    assert_false(dw_body_find(routing, "500108-agency")->member);
    assert_string_equal(dw_body_find(routing, "500108-agency")->superior, "500108");
    assert_null(dw_body_find(routing, "999"));
    assert_string_equal(dw_routing_version(routing), "2026-1");
}

static void bad_data_is_refused_with_file_and_entry(void **state)
{
    static const char bodies[] = "bodies.yaml", rules[] = "routing.yaml";
    static const struct damage table[] = {
        {bodies, "superior: \"500108\"", "superior: \"999\"",
         "bodies.yaml: 500108-agency: superior 999 is not a body"},
        {bodies, "id: \"500112\"\n", "id: \"500111\"\n", "500111: the id stands twice"},
        {bodies, "id: 500000-tax", "id: 500000_tax", "500000_tax: expected an id"},
        {bodies, "district: \"500108\"", "district: \"500999\"", "district 500999 is not in the"},
        {bodies, "    district: \"500108\"\n", "", "500108: the district has no bureau"},
        {bodies, "kind: bureau\n    member: true",
         "kind: bureau\n    superior: \"500000\"\n    member: true", "500000: its superiors lead in"},
        {bodies, "member: true", "member: ture", "member: Invalid ENUM value: ture"},
        {bodies, "member: true", "memebr: true", "memebr: is not a known key"},
        {rules, "to: 500000-tax", "to: 500000-taxes", "R05: to: 500000-taxes is not a body"},
        {rules, "any_act: [\"OF*\"]", "any_act: [\"OG*\"]", "R01: any_act: OG* is not in the"},
        {rules, "only_acts: [\"OF*\"]", "only_acts: [PU99]", "R02: only_acts: PU99 is not in the"},
        {rules, "complaints: [CS4]", "complaints: [CS9]", "R05: complaints: CS9 is not in the"},
        {rules, "against: [agency]", "against: [agencies]", "R01: against: agencies is not in the"},
        {rules, "id: R02", "id: R01", "routing.yaml: R01: the id stands twice"},
        {rules, "kind: report", "kind: praise", "R01: kind: expected report or complaint"},
        {rules, "only_acts: [\"OF*\"]", "complaints: [CS1]", "R02: a report has acts"},
        {rules, "    receiver: city_bureau\n", "", "R01: receiver: expected a member"},
        {rules, "receiver: city_bureau", "receiver: 500000-tax", "R01: receiver: 500000-tax is not"},
        {rules, "verified: full", "verified: surely", "R01: verified: expected full"},
        {rules, "city_bureau: \"500000\"", "city_bureau: 500000-tax", "city_bureau: 500000-tax is"},
        {rules, "beyond: 500000-discipline", "beyond: heaven", "beyond: heaven is not a body"},
        {rules, "    complaints: [CS4]\n", "", "R06: is never reached: R05 takes every complaint"},
        {rules, "    only_acts: [\"OF*\"]\n", "", "R03: is never reached: R02 takes every report"},
        {rules, "    kind: complaint\n    to: district_bureau",
         "    kind: complaint\n    against: [hospital]\n    to: district_bureau",
         "routing.yaml: complaint: expected a last rule without conditions"},
        {rules, "basis: ", "base: ", "routing.yaml:"},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct data_copy copy;
        struct dw_routing *own;
        struct dw_error err = {{0}, {0}, 0};
        data_copy_make(&copy);
        damage(&copy, table[i].file, table[i].old, table[i].new);
        assert_int_equal(dw_routing_load(copy.folder, &own, &err), DW_INVALID);
        assert_contains(err.text, table[i].expected);
        data_copy_remove(&copy);
    }
}

static void a_missing_file_is_named(void **state)
{
    struct data_copy copy;
    struct dw_routing *own;
    struct dw_error err;
    data_copy_make(&copy);
    remove(path_in(&copy, "routing.yaml"));
    assert_int_equal(dw_routing_load(copy.folder, &own, &err), DW_INVALID);
    assert_contains(err.text, "routing.yaml: cannot be read: No such file");
    data_copy_remove(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filing_goes_to_the_body_of_the_law),
        cmocka_unit_test(a_body_never_gets_its_own_report),
        cmocka_unit_test(a_district_does_not_look_into_its_city),
        cmocka_unit_test(a_report_on_the_city_bureau_is_for_the_discipline_body),
        cmocka_unit_test(a_member_without_a_key_is_replaced_by_its_superior),
        cmocka_unit_test(every_filing_belongs_to_somebody),
        cmocka_unit_test(wrong_facts_are_told),
        cmocka_unit_test(bodies_are_those_of_the_city),
        cmocka_unit_test(bad_data_is_refused_with_file_and_entry),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
