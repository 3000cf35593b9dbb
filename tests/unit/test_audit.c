#include "case_data.h"

#include "dw/audit.h"

enum { ENTRIES = 5, MUTATIONS = 10000 };

struct log {
    struct world *w;
    struct dw_buf docs[ENTRIES];
};

static const uint8_t *find_writer(void *arg, const uint8_t signer[DW_SIGNER_LEN], dw_day day)
{
    struct world *w = arg;
    (void)day;
    return memcmp(w->writer.id, signer, DW_SIGNER_LEN) == 0 ? w->writer.public : NULL;
}

/* As the case worker writes them. */
static void write_log(struct log *log, struct world *w)
{
    uint8_t before[DW_HASH_LEN] = {0};
    log->w = w;
    for (int i = 0; i < ENTRIES; i++) {
        DW_AUTO_BUF bytes = {0};
        struct dw_audit e = {.seq = i + 1, .at = w->now + i, .actor = "500108.inspector1",
                             .verb = i % 2 ? "open" : "accept", .object = "CQ26-0NJ9CAAA5"};
        memcpy(e.before, before, sizeof before);
        dw_buf_init(&bytes, 8192);
        dw_audit_signed_bytes(&e, &bytes);
        dw_hash(e.hash, dw_buf_slice(&bytes));
        memcpy(e.writer, w->writer.id, DW_SIGNER_LEN);
        dw_sign(&w->writer, DW_LABEL_AUDIT, dw_buf_slice(&bytes), e.signature);
        memcpy(before, e.hash, sizeof before);
        dw_buf_init(&log->docs[i], 8192);
        dw_encode(&dw_audit_layout, &e, &log->docs[i]);
    }
}

static void free_log(struct log *log)
{
    for (int i = 0; i < ENTRIES; i++)
        dw_buf_free(&log->docs[i]);
}

static int problems(struct log *log, struct dw_error *first)
{
    struct dw_audit_place place = {0};
    int count = 0;
    for (int i = 0; i < ENTRIES; i++) {
        struct dw_error err;
        if (!log->docs[i].len)
            continue;
        if (dw_audit_follows(&place, i + 1, dw_buf_slice(&log->docs[i]), find_writer, log->w, &err) ==
            DW_OK)
            continue;
        if (count++ == 0)
            *first = err;
    }
    return count;
}

TEST(a_log_as_it_was_written_is_whole)
{
    struct log log;
    struct dw_error err;
    write_log(&log, *state);
    assert_int_equal(problems(&log, &err), 0);
    free_log(&log);
}

TEST(no_bit_can_be_changed)
{
    struct log log;
    struct dw_error err;
    uint64_t seed = 3;
    write_log(&log, *state);
    for (int i = 0; i < MUTATIONS; i++) {
        struct dw_buf *doc = &log.docs[test_random(&seed) % ENTRIES];
        size_t at = (size_t)(test_random(&seed) % doc->len);
        uint8_t bit = (uint8_t)(1 << test_random(&seed) % 8);
        doc->data[at] ^= bit;
        if (problems(&log, &err) == 0)
            fail_msg("byte %zu, bit %d", at, bit);
        doc->data[at] ^= bit;
    }
    assert_int_equal(problems(&log, &err), 0);
    free_log(&log);
}

TEST(nothing_can_be_left_out_or_put_elsewhere)
{
    struct log log;
    struct dw_error err;
    write_log(&log, *state);
    for (int i = 0; i < ENTRIES - 1; i++) {
        struct dw_buf here = log.docs[i];
        log.docs[i] = (struct dw_buf){0};
        assert_true(problems(&log, &err) > 0);
        assert_non_null(strstr(err.text, "missing"));
        log.docs[i] = log.docs[i + 1];
        log.docs[i + 1] = here;
        assert_true(problems(&log, &err) > 0);
        log.docs[i + 1] = log.docs[i];
        log.docs[i] = here;
    }
    assert_int_equal(problems(&log, &err), 0);
    free_log(&log);
}

TEST(another_s_signature_is_none)
{
    struct log log;
    struct dw_error err;
    struct world *w = *state;
    write_log(&log, w);
    w->writer.id[0] ^= 1;
    assert_int_equal(problems(&log, &err), ENTRIES);
    assert_non_null(strstr(err.text, "not signed by a case worker"));
    w->writer.id[0] ^= 1;
    free_log(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_log_as_it_was_written_is_whole, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(no_bit_can_be_changed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(nothing_can_be_left_out_or_put_elsewhere, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(another_s_signature_is_none, world_setup, world_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
