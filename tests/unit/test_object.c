#include "envelope_data.h"

TEST(what_was_sealed_opens_with_the_same_key_and_place)
{
    struct sample s = sample_new();
    static const size_t lengths[] = {0, 1, 1022, 1023, 1024, 4095, 16383, 65535};
    for (size_t i = 0; i < DW_COUNT(lengths); i++) {
        struct dw_buf sealed, plain;
        char *text = calloc(1, lengths[i] + 1);
        memset(text, 'x', lengths[i]);
        sealed = sample_seal(&s, text);
        assert_int_equal(sample_open(&s, dw_buf_slice(&sealed), &plain), DW_OK);
        assert_int_equal(plain.len, lengths[i]);
        assert_memory_equal(plain.data ? (char *)plain.data : "", text, lengths[i]);
        dw_buf_free(&sealed);
        dw_buf_free(&plain);
        free(text);
    }
    sample_free(&s);
}

TEST(only_bucket_sizes_occur)
{
    struct sample s = sample_new();
    uint64_t seed = 7;
    for (int i = 0; i < 2000; i++) {
        size_t len = test_random(&seed) % 65536;
        char *text = calloc(1, len + 1);
        memset(text, 'y', len);
        struct dw_buf sealed = sample_seal(&s, text);
        size_t n = sealed.len - DW_OBJECT_OVERHEAD;
        assert_true(n == 1024 || n == 4096 || n == 16384 || n == 65536);
        dw_buf_free(&sealed);
        free(text);
    }
    sample_free(&s);
}

TEST(a_text_over_the_largest_bucket_is_not_sealed)
{
    struct sample s = sample_new();
    struct dw_buf b;
    char *text = calloc(1, 65537);
    memset(text, 'z', 65536);
    dw_buf_init(&b, DW_OBJECT_MAX * 2);
    assert_false(dw_envelope_seal(&s.header, s.root, &s.signer, dw_slice_of(text), &b));
    dw_buf_free(&b);
    free(text);
    sample_free(&s);
}

TEST(every_type_has_a_key_of_its_own)
{
    struct sample s = sample_new();
    static const enum dw_object_type types[] = {
        DW_OBJECT_BODY,    DW_OBJECT_MESSAGE,  DW_OBJECT_MANIFEST, DW_OBJECT_NOTE,
        DW_OBJECT_FINDING, DW_OBJECT_IDENTITY, DW_OBJECT_CONTACT};
    for (size_t i = 0; i < DW_COUNT(types); i++)
        for (size_t j = 0; j < DW_COUNT(types); j++) {
            struct dw_buf plain;
            s.header.type = types[i];
            struct dw_buf sealed = sample_seal(&s, "text");
            s.header.type = types[j];
            /* The header is put right, the signature too: only the derived key can tell. */
            sealed.data[6] = 0;
            sealed.data[7] = (uint8_t)types[j];
            dw_sign(&s.signer, DW_LABEL_OBJECT, DW_SLICE(sealed.data, sealed.len - 64),
                    sealed.data + sealed.len - 64);
            assert_int_equal(sample_open(&s, dw_buf_slice(&sealed), &plain),
                             i == j ? DW_OK : DW_INVALID);
            dw_buf_free(&sealed);
            dw_buf_free(&plain);
        }
    sample_free(&s);
}

TEST(a_file_chunk_is_no_object_and_unknown_types_are_none)
{
    struct sample s = sample_new();
    struct dw_buf b;
    static const int types[] = {0, 8, 9, 255, 65535};
    dw_buf_init(&b, DW_OBJECT_MAX);
    for (size_t i = 0; i < DW_COUNT(types); i++) {
        s.header.type = (enum dw_object_type)types[i];
        assert_false(dw_envelope_seal(&s.header, s.root, &s.signer, dw_slice_of("x"), &b));
    }
    dw_buf_free(&b);
    sample_free(&s);
}

TEST(another_writers_signature_is_refused)
{
    struct sample s = sample_new();
    struct dw_buf sealed, plain;
    struct dw_error err;
    struct dw_signer keep = s.signer;
    s.signer = s.other;
    sealed = sample_seal(&s, "text");
    s.signer = keep;
    assert_int_equal(sample_open(&s, dw_buf_slice(&sealed), &plain), DW_INVALID);
    dw_buf_free(&plain);
    dw_buf_init(&plain, DW_OBJECT_MAX);
    assert_int_equal(dw_envelope_open(dw_buf_slice(&sealed), &s.header, s.root, s.other.public,
                                      &plain, &err),
                     DW_OK);
    dw_buf_free(&sealed);
    dw_buf_free(&plain);
    sample_free(&s);
}

/* ---- grants ---- */

struct keys {
    uint8_t public[32], secret[32];
};

static struct keys make_keys(int n)
{
    struct keys k;
    uint8_t seed[32];
    memset(seed, n, sizeof seed);
    crypto_box_seed_keypair(k.public, k.secret, seed);
    return k;
}

TEST(a_grant_opens_for_its_grantee_and_nobody_else)
{
    struct sample s = sample_new();
    struct keys a = make_keys(1), b = make_keys(2);
    struct dw_grant g;
    struct dw_error err;
    uint8_t commitment[32], root[32];
    dw_root_commitment(commitment, s.root, DW_ROOT_R, 1, s.header.case_id);
    dw_grant_seal(&g, DW_ROOT_R, 1, s.header.case_id, s.root, DW_TO_BODY, "500108", 1, a.public);
    assert_int_equal(dw_grant_open(&g, s.header.case_id, commitment, a.public, a.secret, root, &err),
                     DW_OK);
    assert_memory_equal(root, s.root, 32);
    assert_int_equal(dw_grant_open(&g, s.header.case_id, commitment, b.public, b.secret, root, &err),
                     DW_INVALID);
    sample_free(&s);
}

TEST(a_grant_moved_to_another_row_case_or_commitment_is_refused)
{
    struct sample s = sample_new();
    struct keys a = make_keys(1);
    struct dw_grant g, moved;
    struct dw_error err;
    uint8_t commitment[32], wrong[32], root[32], other_case[16];
    memset(other_case, 9, sizeof other_case);
    dw_root_commitment(commitment, s.root, DW_ROOT_R, 1, s.header.case_id);
    dw_root_commitment(wrong, s.other_root, DW_ROOT_R, 1, s.header.case_id);
    dw_grant_seal(&g, DW_ROOT_R, 1, s.header.case_id, s.root, DW_TO_BODY, "500108", 1, a.public);
    for (int i = 0; i < 5; i++) {
        moved = g;
        moved.kind = i == 0 ? DW_ROOT_I : g.kind;
        moved.epoch = i == 1 ? 2 : g.epoch;
        moved.to = i == 2 ? DW_TO_CUSTODIAN : g.to;
        moved.id = i == 3 ? "500103" : g.id;
        moved.to_epoch = i == 4 ? 2 : g.to_epoch;
        assert_int_equal(dw_grant_open(&moved, s.header.case_id, commitment, a.public, a.secret,
                                       root, &err),
                         DW_INVALID);
    }
    assert_int_equal(dw_grant_open(&g, other_case, commitment, a.public, a.secret, root, &err),
                     DW_INVALID);
    assert_int_equal(dw_grant_open(&g, s.header.case_id, wrong, a.public, a.secret, root, &err),
                     DW_INVALID);
    sample_free(&s);
}

TEST(the_contact_key_follows_from_the_persons_and_not_back)
{
    uint8_t p[32], c[32], again[32];
    memset(p, 1, sizeof p);
    dw_root_contact(c, p);
    dw_root_contact(again, p);
    assert_memory_equal(c, again, 32);
    assert_memory_not_equal(c, p, 32);
}

/* ---- known answers: another implementation of version 1 must give these bytes ---- */

static void check_vector(const char *name, const void *data, size_t len)
{
    char line[256], label[64], hex[160], got[160];
    bool found = false;
    FILE *in = fopen(DW_SOURCE_FOLDER "/tests/vectors/envelope-1.txt", "r");
    assert_non_null(in);
    dw_hex(got, data, len);
    while (fgets(line, sizeof line, in))
        if (sscanf(line, "%63s %159s", label, hex) == 2 && strcmp(label, name) == 0) {
            found = true;
            if (strcmp(got, hex) != 0)
                print_message("%s: got %s\n", name, got);
            assert_string_equal(got, hex);
        }
    fclose(in);
    if (!found)
        print_message("missing vector: %s %s\n", name, got);
    assert_true(found);
}

TEST(derived_keys_commitments_and_layouts_are_those_of_version_1)
{
    struct sample s = sample_new();
    uint8_t out[32], key[32];
    dw_root_commitment(out, s.root, DW_ROOT_R, 1, s.header.case_id);
    check_vector("commitment-R-1", out, 32);
    dw_root_contact(out, s.root);
    check_vector("contact-of-person", out, 32);
    crypto_kdf_derive_from_key(key, 32, DW_OBJECT_BODY, "casebody", s.root);
    check_vector("key-body", key, 32);
    crypto_kdf_derive_from_key(key, 32, DW_OBJECT_MESSAGE, "casemsg_", s.root);
    check_vector("key-message", key, 32);
    check_vector("signer-id", s.signer.id, DW_SIGNER_LEN);
    struct dw_buf sealed = sample_seal(&s, "x");
    check_vector("object-header", sealed.data, DW_OBJECT_HEADER_LEN);
    dw_buf_free(&sealed);
    sample_free(&s);
}

/* An object sealed once and kept in a file: what was sealed by version 1 opens for ever. */
TEST(an_object_of_the_past_still_opens)
{
    struct sample s = sample_new();
    struct dw_buf plain;
    size_t got;
    char *hex = malloc(8192);
    uint8_t object[4096];
    FILE *in = fopen(DW_SOURCE_FOLDER "/tests/vectors/object-1.hex", "r");
    assert_non_null(in);
    assert_non_null(fgets(hex, 8192, in));
    fclose(in);
    hex[strcspn(hex, "\n")] = 0;
    assert_int_equal(sodium_hex2bin(object, sizeof object, hex, strlen(hex), NULL, &got, NULL), 0);
    assert_int_equal(sample_open(&s, DW_SLICE(object, got), &plain), DW_OK);
    assert_int_equal(plain.len, strlen("登闻鼓在此"));
    assert_memory_equal(plain.data, "登闻鼓在此", plain.len);
    dw_buf_free(&plain);
    free(hex);
    sample_free(&s);
}

RUN(cmocka_unit_test(what_was_sealed_opens_with_the_same_key_and_place),
    cmocka_unit_test(only_bucket_sizes_occur),
    cmocka_unit_test(a_text_over_the_largest_bucket_is_not_sealed),
    cmocka_unit_test(every_type_has_a_key_of_its_own),
    cmocka_unit_test(a_file_chunk_is_no_object_and_unknown_types_are_none),
    cmocka_unit_test(another_writers_signature_is_refused),
    cmocka_unit_test(a_grant_opens_for_its_grantee_and_nobody_else),
    cmocka_unit_test(a_grant_moved_to_another_row_case_or_commitment_is_refused),
    cmocka_unit_test(the_contact_key_follows_from_the_persons_and_not_back),
    cmocka_unit_test(derived_keys_commitments_and_layouts_are_those_of_version_1),
    cmocka_unit_test(an_object_of_the_past_still_opens))
