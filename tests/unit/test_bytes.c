#include "unit.h"

#include "dw/bytes.h"

TEST(buffer_grows_to_its_maximum_and_then_says_so)
{
    struct dw_buf b;
    dw_buf_init(&b, 1000);
    for (int i = 0; i < 100; i++)
        dw_buf_put(&b, "0123456789", 10);
    assert_int_equal(b.len, 1000);
    assert_false(b.overflow);
    dw_buf_u8(&b, 1);
    assert_true(b.overflow);
    assert_int_equal(b.len, 1000);
    assert_string_equal(dw_buf_text(&b), "");
    dw_buf_free(&b);
}

TEST(buffer_text_is_terminated_after_every_write)
{
    struct dw_buf b;
    dw_buf_init(&b, 4096);
    for (int i = 0; i < 300; i++) {
        dw_buf_printf(&b, "%d,", i);
        assert_int_equal(strlen(dw_buf_text(&b)), b.len);
    }
    dw_buf_free(&b);
}

TEST(integers_are_big_endian_and_read_back)
{
    struct dw_buf b;
    dw_buf_init(&b, 100);
    dw_buf_u16(&b, 0x0102);
    dw_buf_u32(&b, 0x03040506);
    dw_buf_u64(&b, 0x0708090a0b0c0d0eull);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.data[i], i + 1);
    struct dw_reader r = {.rest = dw_buf_slice(&b)};
    assert_int_equal(dw_read_u16(&r), 0x0102);
    assert_int_equal(dw_read_u32(&r), 0x03040506);
    assert_true(dw_read_u64(&r) == 0x0708090a0b0c0d0eull);
    assert_false(r.failed);
    assert_int_equal(dw_read_u8(&r), 0);
    assert_true(r.failed);
    dw_buf_free(&b);
}

TEST(arena_refuses_more_than_its_maximum)
{
    struct dw_arena a;
    dw_arena_init(&a, 10000);
    assert_non_null(dw_arena_alloc(&a, 9000));
    assert_null(dw_arena_alloc(&a, 2000));
    assert_null(dw_arena_alloc(&a, SIZE_MAX));
    assert_non_null(dw_arena_alloc(&a, 100));
    dw_arena_free(&a);
}

TEST(arena_keeps_what_was_allocated_apart)
{
    struct dw_arena a;
    char *items[500];
    dw_arena_init(&a, 1 << 20);
    for (int i = 0; i < 500; i++)
        items[i] = dw_arena_printf(&a, "item %d", i);
    for (int i = 0; i < 500; i++) {
        char expected[20];
        snprintf(expected, sizeof expected, "item %d", i);
        assert_string_equal(items[i], expected);
    }
    dw_arena_free(&a);
}

TEST(base64_takes_only_the_right_length)
{
    uint8_t in[32], out[32];
    char text[DW_BASE64_LEN(32)];
    for (int i = 0; i < 32; i++)
        in[i] = (uint8_t)(i * 7);
    dw_base64(text, sizeof text, in, sizeof in);
    assert_true(dw_unbase64(out, 32, text));
    assert_memory_equal(in, out, 32);
    assert_false(dw_unbase64(out, 31, text));
    text[5] = '!';
    assert_false(dw_unbase64(out, 32, text));
    text[5] = (char)0xb5;
    assert_false(dw_unbase64(out, 32, text));
}

TEST(hex_takes_only_the_right_length)
{
    uint8_t out[4];
    assert_true(dw_unhex(out, 4, "00ff10Ab"));
    assert_false(dw_unhex(out, 4, "00ff10a"));
    assert_false(dw_unhex(out, 4, "00ff10agx"));
    assert_false(dw_unhex(out, 4, "00ff10zz"));
}

TEST(clean_text_has_no_control_characters)
{
    static const struct {
        const char *text;
        const char *allowed;
        bool clean;
    } cases[] = {{"投诉 Hello", "", true},     {"a\nb", "", false},      {"a\nb", "\n", true},
                 {"\xff", "", false},         {"a\x7f", "", false},     {"\xc2\x85", "", false},
                 {"\xed\xa0\x80", "", false}, {"\xf0\x9f\x98\x80", "", true}, {"", "", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(dw_text_is_clean(cases[i].text, strlen(cases[i].text), cases[i].allowed),
                         cases[i].clean);
    assert_false(dw_text_is_clean("a\0b", 3, "\n"));
    assert_int_equal(dw_text_chars("投诉ab", strlen("投诉ab")), 4);
}

RUN(cmocka_unit_test(buffer_grows_to_its_maximum_and_then_says_so),
    cmocka_unit_test(buffer_text_is_terminated_after_every_write),
    cmocka_unit_test(integers_are_big_endian_and_read_back),
    cmocka_unit_test(arena_refuses_more_than_its_maximum),
    cmocka_unit_test(arena_keeps_what_was_allocated_apart),
    cmocka_unit_test(base64_takes_only_the_right_length),
    cmocka_unit_test(hex_takes_only_the_right_length),
    cmocka_unit_test(clean_text_has_no_control_characters))
