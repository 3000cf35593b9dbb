#include "unit.h"

#include "dw/member.h"

#include <sodium.h>

static struct dw_signer site, stranger;
static const char *inspector_roles[] = {"inspector"};

static int setup(void **state)
{
    uint8_t seed[32];
    (void)state;
    assert_true(sodium_init() >= 0);
    memset(seed, 1, sizeof seed);
    dw_signer_init(&site, seed);
    memset(seed, 2, sizeof seed);
    dw_signer_init(&stranger, seed);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dw_signer_free(&site);
    dw_signer_free(&stranger);
    return 0;
}

static struct dw_member invited(const char *user, const char *body, char code[DW_CODE_TEXT])
{
    struct dw_member m = {.user = user, .name = "李明", .body = body, .roles = inspector_roles,
                          .roles_count = 1, .invited = 20781};
    dw_member_invite(&m, &site, code);
    return m;
}

static struct dw_member enrolled(const char *user, struct dw_member_keys *keys)
{
    char code[DW_CODE_TEXT];
    struct dw_error err;
    struct dw_member m = invited(user, "500108", code);
    assert_int_equal(dw_member_enrol(&m, code, "a good password", 1, 8, keys, &err), DW_OK);
    return m;
}

TEST(an_invitation_holds_only_under_the_site_key)
{
    char code[DW_CODE_TEXT];
    struct dw_member m = invited("li", "500108", code);
    assert_true(dw_member_verify(&m, site.public));
    assert_false(dw_member_verify(&m, stranger.public));
    m.body = "500103"; /* somebody moves a member to another body */
    assert_false(dw_member_verify(&m, site.public));
    m = invited("li", "500108", code);
    static const char *more[] = {"inspector", "custodian"};
    m.roles = more;
    m.roles_count = 2;
    assert_false(dw_member_verify(&m, site.public));
}

TEST(only_the_one_time_code_of_this_user_enrols)
{
    char code[DW_CODE_TEXT], other[DW_CODE_TEXT];
    struct dw_error err;
    struct dw_member_keys *keys = dw_member_keys_new();
    struct dw_member m = invited("li", "500108", code), n = invited("wang", "500108", other);
    assert_int_equal(dw_member_enrol(&m, other, "a good password", 1, 8, keys, &err), DW_INVALID);
    assert_int_equal(dw_member_enrol(&n, code, "a good password", 1, 8, keys, &err), DW_INVALID);
    assert_int_equal(dw_member_enrol(&m, "", "a good password", 1, 8, keys, &err), DW_INVALID);
    for (char *c = code; *c; c++) /* as somebody types it */
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    assert_int_equal(dw_member_enrol(&m, code, "a good password", 1, 8, keys, &err), DW_OK);
    assert_true(dw_member_verify(&m, site.public));
    dw_member_keys_free(keys);
}

TEST(keys_that_were_swapped_in_the_store_are_noticed)
{
    struct dw_member_keys *keys = dw_member_keys_new();
    struct dw_member a = enrolled("li", keys), b = enrolled("wang", keys), bad;
    bad = a;
    memcpy(bad.sign_public, b.sign_public, 32);
    assert_false(dw_member_verify(&bad, site.public));
    bad = a;
    memcpy(bad.box_public, b.box_public, 32);
    assert_false(dw_member_verify(&bad, site.public));
    bad = a;
    memcpy(bad.member_signature, b.member_signature, 64);
    assert_false(dw_member_verify(&bad, site.public));
    bad = a;
    memcpy(bad.enrol_public, b.enrol_public, 32);
    memcpy(bad.sign_public, b.sign_public, 32);
    memcpy(bad.box_public, b.box_public, 32);
    memcpy(bad.member_signature, b.member_signature, 64);
    assert_false(dw_member_verify(&bad, site.public));
    dw_member_keys_free(keys);
}

TEST(the_password_opens_the_keys_and_a_wrong_one_does_not)
{
    struct dw_member_keys *keys = dw_member_keys_new(), *again = dw_member_keys_new();
    struct dw_member m = enrolled("li", keys);
    uint8_t wrap_key[32], proof[32], hash[32];
    assert_true(dw_password_stretch("a good password", m.salt, 1, 8, wrap_key, proof));
    dw_proof_hash(hash, proof);
    assert_memory_equal(hash, m.proof_hash, 32);
    assert_int_equal(dw_member_unwrap(&m, wrap_key, again), DW_OK);
    assert_memory_equal(again->sign_seed, keys->sign_seed, 32);
    assert_memory_equal(again->box_secret, keys->box_secret, 32);
    assert_true(dw_password_stretch("a bad password", m.salt, 1, 8, wrap_key, proof));
    assert_int_equal(dw_member_unwrap(&m, wrap_key, again), DW_INVALID);
    dw_member_keys_free(keys);
    dw_member_keys_free(again);
}

TEST(a_key_of_the_body_goes_from_a_holder_to_a_colleague_and_to_nobody_else)
{
    struct dw_member_keys *a = dw_member_keys_new(), *b = dw_member_keys_new(),
                          *c = dw_member_keys_new();
    struct dw_member ma = enrolled("li", a), mb = enrolled("wang", b), mc = enrolled("zhao", c);
    struct dw_epoch epoch;
    struct dw_epoch_seal seals[2];
    dw_epoch_make(&epoch, "500108", DW_TO_BODY, 1, a);
    assert_true(dw_epoch_seal(&epoch, a, &ma, &seals[0]));
    assert_true(dw_epoch_seal(&epoch, a, &mb, &seals[1]));
    assert_false(dw_epoch_seal(&epoch, c, &mc, &seals[1])); /* who does not hold it gives nothing */
    epoch.seals = seals;
    epoch.seals_count = 2;
    a->epochs_count = 0;
    assert_true(dw_epoch_open(&epoch, &ma, a));
    assert_true(dw_epoch_open(&epoch, &mb, b));
    assert_false(dw_epoch_open(&epoch, &mc, c));
    assert_memory_equal(dw_member_epoch(a, DW_TO_BODY, 1, NULL),
                        dw_member_epoch(b, DW_TO_BODY, 1, NULL), 32);
    assert_null(dw_member_epoch(a, DW_TO_CUSTODIAN, 1, NULL));
    epoch.public[0] ^= 1; /* another public key in the store */
    b->epochs_count = 0;
    assert_false(dw_epoch_open(&epoch, &mb, b));
    dw_member_keys_free(a);
    dw_member_keys_free(b);
    dw_member_keys_free(c);
}

TEST(user_names_are_plain)
{
    assert_true(dw_user_is_valid("500108.li-ming_2"));
    static const char *const bad[] = {"", "a", "Li", "li ming", "李明", "a/b",
                                      "x123456789012345678901234567890123456789012345678"};
    for (size_t i = 0; i < DW_COUNT(bad); i++)
        assert_false(dw_user_is_valid(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_invitation_holds_only_under_the_site_key),
        cmocka_unit_test(only_the_one_time_code_of_this_user_enrols),
        cmocka_unit_test(keys_that_were_swapped_in_the_store_are_noticed),
        cmocka_unit_test(the_password_opens_the_keys_and_a_wrong_one_does_not),
        cmocka_unit_test(a_key_of_the_body_goes_from_a_holder_to_a_colleague_and_to_nobody_else),
        cmocka_unit_test(user_names_are_plain)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
