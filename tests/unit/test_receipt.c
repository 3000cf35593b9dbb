#include "unit.h"

#include "dw/receipt.h"

#include <sodium.h>

static const uint8_t secret[DW_INTAKE_SECRET_LEN] = {1, 2, 3};

static struct dw_filing_ids derive(const char *key, const char *payload)
{
    struct dw_filing_ids ids;
    uint8_t fp[32];
    assert_true(sodium_init() >= 0);
    dw_receipt_fingerprint(fp, secret, dw_slice_of(payload));
    dw_receipt_derive(&ids, secret, key, fp);
    return ids;
}

TEST(the_same_key_and_payload_give_the_same_receipt_and_filing)
{
    struct dw_filing_ids a = derive("key-1", "payload"), b = derive("key-1", "payload");
    assert_memory_equal(&a, &b, sizeof a);
}

TEST(another_payload_gives_another_filing_but_the_same_tok)
{
    struct dw_filing_ids a = derive("key-1", "payload"), b = derive("key-1", "other");
    assert_memory_not_equal(a.filing, b.filing, 16);
    assert_string_not_equal(a.receipt, b.receipt);
    assert_memory_equal(a.tok, b.tok, 16);
}

TEST(another_key_shares_nothing)
{
    struct dw_filing_ids a = derive("key-1", "payload"), b = derive("key-2", "payload");
    assert_memory_not_equal(a.filing, b.filing, 16);
    assert_memory_not_equal(a.tok, b.tok, 16);
    assert_string_not_equal(a.receipt, b.receipt);
}

TEST(receipts_are_read_however_people_write_them)
{
    struct dw_filing_ids ids = derive("key", "payload");
    char text[DW_RECEIPT_TEXT], digits[DW_RECEIPT_DIGITS + 1], other[200] = "";
    dw_receipt_format(ids.receipt, text);
    assert_int_equal(strlen(text), 29);
    assert_true(dw_receipt_parse(text, digits));
    assert_string_equal(digits, ids.receipt);
    assert_true(dw_receipt_parse(ids.receipt, digits));
    for (int i = 0; i < DW_RECEIPT_DIGITS; i++) { /* full-width digits, blanks between */
        char wide[8];
        snprintf(wide, sizeof wide, "\xef\xbc%c%s", 0x90 + (ids.receipt[i] - '0'),
                 i % 4 == 3 ? " " : "");
        strcat(other, wide);
    }
    assert_true(dw_receipt_parse(other, digits));
    assert_string_equal(digits, ids.receipt);
}

TEST(every_wrong_digit_and_every_swap_of_neighbours_is_noticed)
{
    for (int n = 0; n < 50; n++) {
        char key[20], digits[DW_RECEIPT_DIGITS + 1];
        snprintf(key, sizeof key, "key-%d", n);
        struct dw_filing_ids ids = derive(key, "payload");
        for (int i = 0; i < DW_RECEIPT_DIGITS; i++) {
            char kept = ids.receipt[i];
            for (char c = '0'; c <= '9'; c++) {
                ids.receipt[i] = c;
                assert_int_equal(dw_receipt_parse(ids.receipt, digits), c == kept);
            }
            ids.receipt[i] = kept;
        }
        for (int i = 0; i + 1 < DW_RECEIPT_DIGITS; i++) {
            char a = ids.receipt[i], b = ids.receipt[i + 1];
            ids.receipt[i] = b;
            ids.receipt[i + 1] = a;
            assert_int_equal(dw_receipt_parse(ids.receipt, digits), a == b);
            ids.receipt[i] = a;
            ids.receipt[i + 1] = b;
        }
    }
}

TEST(what_is_no_receipt_is_refused)
{
    static const char *const bad[] = {"", "1234", "1234-5678-9012-3456-7890-12345",
                                      "abcd-5678-9012-3456-7890-1234", "123456789012345678901234x"};
    char digits[DW_RECEIPT_DIGITS + 1];
    for (size_t i = 0; i < DW_COUNT(bad); i++)
        assert_false(dw_receipt_parse(bad[i], digits));
}

TEST(digits_are_spread_evenly)
{
    int counts[10] = {0};
    for (int i = 0; i < 3000; i++) {
        char key[20];
        snprintf(key, sizeof key, "k%d", i);
        struct dw_filing_ids ids = derive(key, "p");
        for (int d = 0; d < 22; d++)
            counts[ids.receipt[d] - '0']++;
    }
    for (int d = 0; d < 10; d++)
        assert_true(counts[d] > 6600 - 400 && counts[d] < 6600 + 400);
}

/* libsodium computes the same by code of its own. */
TEST(the_memory_hard_step_is_argon2id_and_leaves_nothing)
{
    uint8_t y[DW_Y_LEN], theirs[DW_Y_LEN], salt[DW_SALT_LEN];
    enum { BYTES = 8 * 1024 * 1024 };
    uint8_t *memory = dw_stretch_memory_new();
    for (int i = 0; i < 20; i++) {
        char key[20];
        snprintf(key, sizeof key, "stretch %d", i);
        struct dw_filing_ids ids = derive(key, "payload");
        memset(salt, i, sizeof salt);
        assert_true(dw_receipt_stretch(y, ids.receipt, salt, memory));
        assert_int_equal(crypto_pwhash(theirs, sizeof theirs, ids.receipt, DW_RECEIPT_DIGITS, salt,
                                       1, BYTES, crypto_pwhash_ALG_ARGON2ID13), 0);
        assert_memory_equal(y, theirs, sizeof y);
        assert_true(sodium_is_zero(memory, BYTES));
    }
    assert_false(dw_receipt_stretch(y, "000000000000000000000000", salt, NULL));
    dw_stretch_memory_free(memory);
}

/* What every installation of version 1 computes from these digits, this salt and this answer of keyd. */
TEST(keys_of_a_receipt_are_those_of_version_1)
{
    static const uint8_t salt[DW_SALT_LEN] = {9};
    uint8_t y[DW_Y_LEN], asked[32], h[32];
    struct dw_receipt_keys k;
    char hex[65], expected[2][80], label[40];
    struct dw_filing_ids ids = derive("vector", "payload");
    FILE *in = fopen(DW_SOURCE_FOLDER "/tests/vectors/receipt-1.txt", "r");
    assert_non_null(in);
    void *memory = dw_stretch_memory_new();
    assert_true(dw_receipt_stretch(y, ids.receipt, salt, memory));
    dw_stretch_memory_free(memory);
    dw_receipt_question(asked, y);
    memset(h, 7, sizeof h);
    dw_receipt_keys(&k, y, h);
    const struct {
        const char *name;
        const uint8_t *bytes;
    } values[] = {{"asked", asked}, {"auth", k.auth}, {"auth-hash", k.auth_hash},
                  {"box-public", k.box_public}};
    assert_int_equal(fscanf(in, "%39s %79s", label, expected[0]), 2);
    if (strcmp(expected[0], ids.receipt) != 0)
        print_message("receipt %s\n", ids.receipt);
    assert_string_equal(expected[0], ids.receipt);
    for (size_t i = 0; i < DW_COUNT(values); i++) {
        dw_hex(hex, values[i].bytes, 32);
        assert_int_equal(fscanf(in, "%39s %79s", label, expected[1]), 2);
        if (strcmp(expected[1], hex) != 0)
            print_message("%s %s\n", values[i].name, hex);
        assert_string_equal(label, values[i].name);
        assert_string_equal(expected[1], hex);
    }
    fclose(in);
}

RUN(cmocka_unit_test(the_same_key_and_payload_give_the_same_receipt_and_filing),
    cmocka_unit_test(another_payload_gives_another_filing_but_the_same_tok),
    cmocka_unit_test(another_key_shares_nothing),
    cmocka_unit_test(receipts_are_read_however_people_write_them),
    cmocka_unit_test(every_wrong_digit_and_every_swap_of_neighbours_is_noticed),
    cmocka_unit_test(what_is_no_receipt_is_refused), cmocka_unit_test(digits_are_spread_evenly),
    cmocka_unit_test(the_memory_hard_step_is_argon2id_and_leaves_nothing),
    cmocka_unit_test(keys_of_a_receipt_are_those_of_version_1))
