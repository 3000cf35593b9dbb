#include "domain_data.h"

#include "dw/catalogue.h"

#include <ctype.h>

static struct dw_catalogue *catalogue;

static int load(void **state)
{
    struct dw_error err;
    if (dw_catalogue_load(DATA_FOLDER, &catalogue, &err) == DW_OK)
        return 0;
    fprintf(stderr, "%s\n", err.text);
    return -1;
}

static int unload(void **state)
{
    dw_catalogue_free(catalogue);
    return 0;
}

static void every_list_has_its_terms(void **state)
{
    static const size_t counts[DW_LISTS] = {
        [DW_ACTS] = 46,     [DW_COMPLAINTS] = 7, [DW_SERVICES] = 35, [DW_DISTRICTS] = 38,
        [DW_AGAINST] = 8,   [DW_RELATIONS] = 7,  [DW_REFUSALS] = 11, [DW_TRANSFERS] = 7,
        [DW_RETURNS] = 5,   [DW_OUTCOMES] = 5,   [DW_AMOUNTS] = 7,   [DW_STATES] = 9,
        [DW_PRIVACY] = 6,
    };
    for (size_t i = 0; i < DW_LISTS; i++)
        assert_int_equal(dw_terms_count(catalogue, (enum dw_list)i), counts[i]);
    assert_string_equal(dw_catalogue_version(catalogue), "2026-1");
    assert_string_equal(dw_catalogue_privacy_version(catalogue), "2026-1");
}

static void codes_of_the_public_page_are_there(void **state)
{
    static const struct {
        enum dw_list list;
        const char *codes;
    } table[] = {
        {DW_ACTS, "AG01 AG02 AG03 PM01 PM02 PM03 PM04 PM05 PM06 PM07 PM08 PM09 PU01 PU02 PU03 PU04 "
                  "PU05 PU06 PU07 PU08 PU09 PF01 PF02 PF03 PF04 PF05 PF06 PF07 PF08 PH01 PH02 IN01 "
                  "IN02 IN03 IN04 IN05 IN06 IN07 IN08 IN09 IN10 OT01 OF01 OF02 OF03 OF04"},
        {DW_COMPLAINTS, "CS1 CS2 CS3 CS4 CS5 CS6 CS7"},
        {DW_AGAINST, "hospital pharmacy insured_person agency employer supplier care_provider "
                     "unknown"},
        {DW_RELATIONS, "patient relative present_staff past_staff competitor passer_by not_said"},
        {DW_REFUSALS, "OUT_OF_SCOPE NO_CLEAR_TARGET_OR_FACT ALREADY_ACCEPTED_PENDING "
                      "CLOSED_NO_NEW_CLUE REVIEWED_FINAL LITIGATION_ARBITRATION_RECONSIDERATION "
                      "CONSULTATION INFO_DISCLOSURE PETITION DISCIPLINE MATERIAL_MISSING"},
        {DW_OUTCOMES, "punished not_punished not_established other_body criminal_referral"},
        {DW_STATES, "received reviewing accepted not_accepted transferred decided closed archived "
                    "withdrawn"},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        char codes[1000], *save = NULL;
        size_t count = 0;
        strcpy(codes, table[i].codes);
        for (char *c = strtok_r(codes, " ", &save); c; c = strtok_r(NULL, " ", &save), count++)
            assert_non_null(dw_term_find(catalogue, table[i].list, c));
        assert_int_equal(dw_terms_count(catalogue, table[i].list), count);
    }
    assert_null(dw_term_find(catalogue, DW_ACTS, "PU10"));
    assert_null(dw_term_find(catalogue, DW_ACTS, "pu01"));
    assert_null(dw_term_find(catalogue, DW_ACTS, ""));
}

static bool is_chinese(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0xe3 && (unsigned char)*text <= 0xe9)
            return true;
    return false;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static void every_term_speaks_both_languages(void **state)
{
    for (size_t l = 0; l < DW_LISTS; l++) {
        for (size_t i = 0; i < dw_terms_count(catalogue, (enum dw_list)l); i++) {
            const struct dw_term *t = dw_term_at(catalogue, (enum dw_list)l, i);
            if (!is_chinese(t->zh) || !is_ascii(t->en) || !is_ascii(t->note_en) ||
                !*t->note_zh != !*t->note_en)
                fail_msg("%s", t->code);
            if (*t->note_en && !strchr(".?", t->note_en[strlen(t->note_en) - 1]))
                fail_msg("%s: no sentence", t->code);
            assert_string_equal(dw_term_text(t, "en"), t->en);
            assert_string_equal(dw_term_text(t, "zh-CN"), t->zh);
            assert_string_equal(dw_term_text(t, "fr"), t->zh);
        }
    }
}

static void acts_have_a_basis_and_somebody_who_can_commit_them(void **state)
{
    for (size_t i = 0; i < dw_terms_count(catalogue, DW_ACTS); i++) {
        const struct dw_term *t = dw_term_at(catalogue, DW_ACTS, i);
        assert_true(*t->basis && *t->verified && *t->note_zh);
        assert_true(t->actors_count > 0);
        for (size_t k = 0; k < t->actors_count; k++)
            assert_non_null(dw_term_find(catalogue, DW_AGAINST, t->actors[k]));
    }
    const struct dw_term *split = dw_term_find(catalogue, DW_ACTS, "PU01");
    assert_int_equal(split->actors_count, 1);
    assert_string_equal(split->actors[0], "hospital");
    assert_string_equal(split->basis, "《医疗保障基金使用监督管理条例》第三十八条第一项");
    assert_string_equal(split->verified, "full");
    assert_string_equal(dw_term_find(catalogue, DW_ACTS, "PU08")->verified, "secondary");
}

static void districts_carry_their_full_names(void **state)
{
    static const char *const table[][3] = {
        {"500101", "万州区", "Wanzhou District"},
        {"500108", "南岸区", "Nan'an District"},
        {"500233", "忠县", "Zhong County"},
        {"500240", "石柱土家族自治县", "Shizhu Tujia Autonomous County"},
        {"500243", "彭水苗族土家族自治县", "Pengshui Miao and Tujia Autonomous County"},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        const struct dw_term *t = dw_term_find(catalogue, DW_DISTRICTS, table[i][0]);
        assert_non_null(t);
        assert_string_equal(t->zh, table[i][1]);
        assert_string_equal(t->en, table[i][2]);
    }
}

static void services_are_numbered_from_1_to_35(void **state)
{
    for (int i = 1; i <= 35; i++) {
        char code[8];
        snprintf(code, sizeof code, "%d", i);
        assert_string_equal(dw_term_at(catalogue, DW_SERVICES, (size_t)i - 1)->code, code);
    }
}

static void states_have_a_sentence_for_the_reporter(void **state)
{
    for (size_t i = 0; i < dw_terms_count(catalogue, DW_STATES); i++)
        assert_true(strlen(dw_term_at(catalogue, DW_STATES, i)->note_zh) > 30);
}

static void every_amount_falls_into_one_band(void **state)
{
    static const struct {
        int64_t yuan;
        const char *band;
    } table[] = {
        {-1, "unknown"},          {INT64_MIN, "unknown"},      {0, "under_1000"},
        {999, "under_1000"},      {1000, "from_1000"},         {9999, "from_1000"},
        {120000, "from_100000"},  {9999999, "from_1000000"},   {10000000, "from_10000000"},
        {100000000000, "from_10000000"}, {INT64_MAX, "from_10000000"},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++)
        assert_string_equal(dw_amount_band(catalogue, table[i].yuan)->code, table[i].band);
}

static void bad_catalogues_are_refused(void **state)
{
    static const char file[] = "catalogue.yaml";
    static const struct damage table[] = {
        {file, "code: AG02", "code: AG01", "AG01: the code stands twice"},
        {file, "code: AG02", "code: \"AG 02\"", "AG 02: expected a code"},
        {file, "code: AG02", "code:", "code: STRING length < 1"},
        {file, "actors: [agency]", "actors: [agencies]", "AG01: actors: agencies is not in"},
        {file, "    actors: [agency]\n", "", "AG01: actors: expected for acts"},
        {file, "code: CS1", "code: CS1\n    actors: [agency]", "CS1: actors: expected for acts"},
        {file, "    verified: full", "    verified: maybe", "AG01: verified: expected full"},
        {file, "    verified: full\n", "", "AG01: a basis needs its mark"},
        {file, "from: 1000}", "from: 0}", "from_1000: from: expected more than"},
        {file, "{code: unknown, zh: 不清楚, en: Not known}", "{code: none, zh: 无, en: None}",
         "amounts: expected `unknown`"},
        {file, "from: 0}", "from: 1}", "amounts: expected a second band from 0"},
        {file, "from: 0}", "from: -1}", "under_1000: from: expected for amounts"},
        {file, "relations:", "relation:", "relation: is not a known key"},
        {file, "privacy_version: \"2026-1\"\n", "", "privacy_version: is missing"},
        {file, "zh: 万州区", "zh: [万州区]", "zh: Expecting STRING"},
        {file, "version: \"2026-1\"", "version: \"2026-1\"\nversion: \"2026-2\"",
         "catalogue.yaml:10: version: stands here a second time"},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        struct data_copy copy;
        struct dw_catalogue *own;
        struct dw_error err = {{0}, {0}, 0};
        data_copy_make(&copy);
        damage(&copy, table[i].file, table[i].old, table[i].new);
        assert_int_equal(dw_catalogue_load(copy.folder, &own, &err), DW_INVALID);
        assert_contains(err.text, table[i].expected);
        assert_contains(err.text, "catalogue.yaml:");
        data_copy_remove(&copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_list_has_its_terms),
        cmocka_unit_test(codes_of_the_public_page_are_there),
        cmocka_unit_test(every_term_speaks_both_languages),
        cmocka_unit_test(acts_have_a_basis_and_somebody_who_can_commit_them),
        cmocka_unit_test(districts_carry_their_full_names),
        cmocka_unit_test(services_are_numbered_from_1_to_35),
        cmocka_unit_test(states_have_a_sentence_for_the_reporter),
        cmocka_unit_test(every_amount_falls_into_one_band),
        cmocka_unit_test(bad_catalogues_are_refused),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
