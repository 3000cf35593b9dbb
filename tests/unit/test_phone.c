#include "domain_data.h"

#include "dw/filing.h"

static void numbers_people_write_are_understood(void **state)
{
    static const struct {
        const char *text, *e164;
        bool mobile;
    } table[] = {
        {"13800138000", "+8613800138000", true},
        {"138 0013 8000", "+8613800138000", true},
        {"138-0013-8000", "+8613800138000", true},
        {"+86 138 0013 8000", "+8613800138000", true},
        {"+86-13800138000", "+8613800138000", true},
        {"0086 13800138000", "+8613800138000", true},
        {"8613800138000", "+8613800138000", true},
        {"１３８００１３８０００", "+8613800138000", true},
        {"＋８６　１９９－１２３４－５６７８", "+8619912345678", true},
        {"023-63892206", "+862363892206", false},
        {"(023) 6389 2206", "+862363892206", false},
        {"（０２３）63892206", "+862363892206", false},
        {"+86 23 63892206", "+862363892206", false},
        {"+86 (0)23 63892206", "+862363892206", false},
        {"010-89061396", "+861089061396", false},
        {"0571-8765432", "+865718765432", false},
        {"0571.87654321", "+8657187654321", false},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        char out[20];
        if (!dw_phone_normalise(table[i].text, out))
            fail_msg("refused: %s", table[i].text);
        assert_string_equal(out, table[i].e164);
        assert_int_equal(dw_phone_is_mobile(out), table[i].mobile);
    }
}

static void anything_else_is_refused(void **state)
{
    static const char *const table[] = {
        "",           " ",              "12345",         "12393",          "110",
        "1380013800", "138001380000",   "12800138000",   "63892206",       "023-6389220",
        "023-163892206", "4008123456",  "+1 202 555 0123", "+852 2123 4567", "0044 20 7946 0000",
        "023-63892206-801", "138x0138000", "13800138000\n", "电话13800138000", "++8613800138000",
        "0",          "+86",            "+",             "00",             "0086",
        "\xff\xff\xff", "\xef\xbc",     "01100138000",   "+8610138001380", "2363892206",
        "111111111111111111111111111111111111111111111111",
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        char out[20];
        if (dw_phone_normalise(table[i], out))
            fail_msg("accepted: %s as %s", table[i], out);
    }
}

static void only_mobiles_are_mobile(void **state)
{
    assert_true(dw_phone_is_mobile("+8613800138000"));
    assert_false(dw_phone_is_mobile("+862363892206"));
    assert_false(dw_phone_is_mobile("+861089061396"));
    assert_false(dw_phone_is_mobile("13800138000"));
    assert_false(dw_phone_is_mobile(""));
}

static void plausible_addresses_pass(void **state)
{
    static const char *const good[] = {"a@example.org", "first.last+tag@sub.example.com.cn",
                                       "12345678@qq.com", "o'neil@x-y.example", "A_B@EXAMPLE.ORG"};
    static const char *const bad[] = {
        "",          "a",           "@example.org",   "a@",           "a@b",
        "a@@b.cn",   "a@b@c.cn",    "a b@c.cn",       "a@b..cn",      ".a@b.cn",
        "a.@b.cn",   "a..b@c.cn",   "a@-b.cn",        "a@b-.cn",      "a@b.c",
        "a@1.2.3.4", "\"a\"@b.cn",  "a@b.cn\r\nBcc: x@y.cn", "姓名@b.cn", "a@例子.cn",
        "a,b@c.cn",  "a@b.cn ",     "<a@b.cn>",       "a@.cn",        "a@b.cn.",
    };
    char longest[300];
    for (size_t i = 0; i < DW_COUNT(good); i++)
        assert_true(dw_email_is_plausible(good[i]));
    for (size_t i = 0; i < DW_COUNT(bad); i++)
        if (dw_email_is_plausible(bad[i]))
            fail_msg("accepted: %s", bad[i]);
    memset(longest, 'a', sizeof longest);
    strcpy(longest + 65, "@example.org");
    assert_false(dw_email_is_plausible(longest));
    assert_true(dw_email_is_plausible(longest + 1));
    memset(longest, 'a', sizeof longest);
    longest[1] = '@';
    for (size_t i = 40; i < 290; i += 40)
        longest[i] = '.';
    strcpy(longest + 290, ".cn");
    assert_false(dw_email_is_plausible(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_people_write_are_understood),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(only_mobiles_are_mobile),
        cmocka_unit_test(plausible_addresses_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
