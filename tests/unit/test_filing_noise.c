/* Whatever arrives, dw_filing_parse() answers DW_OK or names a problem, and touches nothing it does
 * not own.  The noise is seeded: a failure comes back. */
#include "filing_data.h"

enum { ROUNDS = 6000 };

static uint64_t state_of_noise;

static uint32_t noise(uint32_t below)
{
    state_of_noise ^= state_of_noise << 13;
    state_of_noise ^= state_of_noise >> 7;
    state_of_noise ^= state_of_noise << 17;
    return (uint32_t)(state_of_noise >> 20) % below;
}

static void feed(const uint8_t *data, size_t len, size_t *accepted)
{
    struct dw_filing f;
    struct dw_problems problems;
    char text[300];
    DW_AUTO_ARENA arena = {0};
    DW_AUTO_BUF out = {0};
    uint8_t *exact = dw_alloc(len); /* of exactly this size, so that a read behind it is seen */
    memcpy(exact, data, len);
    dw_arena_init(&arena, 64 * 1024);
    dw_buf_init(&out, 256 * 1024);
    if (parse_bytes(DW_SLICE(exact, len), &arena, &f, &problems) == DW_OK) {
        ++*accepted;
        assert_int_equal(problems.count, 0);
        dw_filing_canonical(&f, &out);
        dw_filing_body_json(&f, &out);
        dw_encode(&dw_facts_layout, &f.facts, &out);
    } else {
        assert_true(problems.count > 0 && problems.count <= DW_PROBLEMS_MAX);
        for (size_t i = 0; i < problems.count; i++) {
            dw_problem_text(&problems.items[i], i % 2 ? "en" : "zh-CN", text, sizeof text);
            assert_true(*text);
            assert_true(dw_text_is_clean(problems.items[i].field, strlen(problems.items[i].field),
                                         ""));
        }
    }
    dw_free(exact);
}

static void random_bytes_never_crash(void **state)
{
    uint8_t data[512];
    size_t accepted = 0;
    state_of_noise = 20260928;
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t len = noise(sizeof data);
        for (size_t k = 0; k < len; k++)
            data[k] = (uint8_t)noise(256);
        feed(data, len, &accepted);
    }
    assert_int_equal(accepted, 0);
}

static void random_json_signs_never_crash(void **state)
{
    static const char *const pieces[] = {
        "{", "}", "[", "]", ":", ",", "\"", "\\", "\"kind\"", "\"against\"", "\"acts\"", "\"a\"",
        "null", "true", "1e400", "-0", "99999999999999999999", "\"\\u0000\"", "\"\\ud800\"", " ",
        "\"facts\"", "\"report\"", "\xff", "\"identity\"", "0.1"};
    size_t accepted = 0;
    state_of_noise = 20261001;
    for (size_t i = 0; i < ROUNDS; i++) {
        uint8_t data[2048];
        size_t len = 0, count = noise(60);
        for (size_t k = 0; k < count; k++) {
            const char *piece = pieces[noise(DW_COUNT(pieces))];
            memcpy(data + len, piece, strlen(piece));
            len += strlen(piece);
        }
        feed(data, len, &accepted);
    }
    assert_int_equal(accepted, 0);
}

/* Changes, removes, doubles or cuts a stretch. */
static size_t mutate(uint8_t *data, size_t len, size_t room)
{
    size_t at = noise((uint32_t)len), n = 1 + noise(12);
    if (n > len - at)
        n = len - at;
    switch (noise(5)) {
    case 0:
        data[at] = (uint8_t)noise(256);
        return len;
    case 1:
        data[at] ^= (uint8_t)(1u << noise(8));
        return len;
    case 2:
        memmove(data + at, data + at + n, len - at - n);
        return len - n;
    case 3:
        if (len + n > room)
            return len;
        memmove(data + at + n, data + at, len - at);
        return len + n;
    default:
        return noise(8) ? len : at;
    }
}

static void mutated_filings_never_crash(void **state)
{
    static const char *const seeds[] = {full_report, short_report, short_complaint};
    size_t accepted = 0;
    state_of_noise = 20261020;
    for (size_t i = 0; i < ROUNDS; i++) {
        uint8_t data[4096];
        const char *seed = seeds[i % DW_COUNT(seeds)];
        size_t len = strlen(seed);
        memcpy(data, seed, len);
        for (uint32_t left = 1 + noise(6); left > 0 && len > 0; left--)
            len = mutate(data, len, sizeof data);
        feed(data, len, &accepted);
    }
    assert_true(accepted > 20); /* the noise is not so wild that only the parser is tested */
    assert_true(accepted < ROUNDS / 2);
}

static void deep_nesting_is_refused_early(void **state)
{
    size_t len = 200000, accepted = 0;
    uint8_t *data = dw_alloc(len);
    memset(data, '[', len);
    feed(data, len, &accepted);
    for (size_t i = 0; i + 5 <= len; i += 5)
        memcpy(data + i, "{\"a\":", 5);
    feed(data, len, &accepted);
    assert_int_equal(accepted, 0);
    dw_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bytes_never_crash),
        cmocka_unit_test(random_json_signs_never_crash),
        cmocka_unit_test(mutated_filings_never_crash),
        cmocka_unit_test(deep_nesting_is_refused_early),
    };
    return cmocka_run_group_tests(tests, load_filing_data, unload_filing_data);
}
