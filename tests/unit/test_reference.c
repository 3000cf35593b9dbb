#include "domain_data.h"

#include "dw/filing.h"

#include <ctype.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static void make(uint32_t seed, uint32_t n, char out[DW_REFERENCE_TEXT])
{
    uint8_t id[16] = {(uint8_t)seed, (uint8_t)(seed >> 8), (uint8_t)(seed >> 16)};
    dw_reference_make(id, day_of("2026-09-28"), n, out);
}

static void a_reference_has_the_form_people_know(void **state)
{
    for (uint32_t i = 0; i < 2000; i++) {
        char ref[DW_REFERENCE_TEXT], back[DW_REFERENCE_TEXT];
        make(i, 0, ref);
        assert_int_equal(strlen(ref), 14);
        assert_int_equal(strncmp(ref, "CQ26-", 5), 0);
        assert_int_equal(strspn(ref + 5, alphabet), 9);
        assert_true(dw_reference_parse(ref, back));
        assert_string_equal(back, ref);
    }
}

static void the_same_case_draws_the_same(void **state)
{
    char a[DW_REFERENCE_TEXT], b[DW_REFERENCE_TEXT];
    make(7, 0, a);
    make(7, 0, b);
    assert_string_equal(a, b);
    make(7, 1, b);
    assert_string_not_equal(a, b);
    make(8, 0, b);
    assert_string_not_equal(a, b);
}

static void the_year_is_that_of_the_day(void **state)
{
    uint8_t id[16] = {1};
    char ref[DW_REFERENCE_TEXT];
    dw_reference_make(id, day_of("2025-12-31"), 0, ref);
    assert_int_equal(strncmp(ref, "CQ25-", 5), 0);
    dw_reference_make(id, day_of("2101-01-01"), 0, ref);
    assert_int_equal(strncmp(ref, "CQ01-", 5), 0);
}

static void it_is_read_as_people_type_it(void **state)
{
    for (uint32_t i = 0; i < 2000; i++) {
        char ref[DW_REFERENCE_TEXT], typed[32], back[DW_REFERENCE_TEXT];
        size_t len = 0;
        make(i, 0, ref);
        for (const char *p = ref; *p; p++) {
            if (*p == '-')
                continue; /* left out */
            typed[len++] = p < ref + 5 ? (char)tolower(*p)
                           : *p == '0' ? 'o'
                           : *p == '1' ? (i % 2 ? 'l' : 'I')
                                       : (char)tolower(*p);
            if (len == 8)
                typed[len++] = ' ';
        }
        typed[len] = 0;
        assert_true(dw_reference_parse(typed, back));
        assert_string_equal(back, ref);
    }
}

/* The check character finds every single wrong character and nearly all swapped neighbours. */
static void a_wrong_character_is_found(void **state)
{
    size_t swaps = 0, missed = 0;
    for (uint32_t i = 0; i < 200; i++) {
        char ref[DW_REFERENCE_TEXT], typed[DW_REFERENCE_TEXT], back[DW_REFERENCE_TEXT];
        make(i, 0, ref);
        for (size_t at = 2; at < 14; at++) {
            if (ref[at] == '-')
                continue;
            for (const char *c = alphabet; *c; c++) {
                strcpy(typed, ref);
                typed[at] = *c;
                if (*c != ref[at])
                    assert_false(dw_reference_parse(typed, back));
            }
            if (at < 5 || at == 13 || ref[at] == ref[at + 1])
                continue;
            strcpy(typed, ref);
            typed[at] = ref[at + 1];
            typed[at + 1] = ref[at];
            swaps++;
            missed += dw_reference_parse(typed, back);
        }
    }
    assert_true(swaps > 1000);
    assert_true(missed * 20 < swaps);
}

static void other_texts_are_refused(void **state)
{
    static const char *const table[] = {
        "", "CQ", "CQ26-", "CQ26-12345678", "CQ26-1234567890123", "XX26-000000000",
        "CQAB-000000000", "CQ26-00000000U", "CQ26_000000000", "CQ26-0000000\xc3\xa9",
        "----------------------------------------",
    };
    char back[DW_REFERENCE_TEXT];
    for (size_t i = 0; i < DW_COUNT(table); i++)
        assert_false(dw_reference_parse(table[i], back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_has_the_form_people_know),
        cmocka_unit_test(the_same_case_draws_the_same),
        cmocka_unit_test(the_year_is_that_of_the_day),
        cmocka_unit_test(it_is_read_as_people_type_it),
        cmocka_unit_test(a_wrong_character_is_found),
        cmocka_unit_test(other_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
