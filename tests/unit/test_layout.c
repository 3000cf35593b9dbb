#include "unit.h"

#include "dw/layout.h"

struct inner {
    int32_t n;
    const char *name;
};
static const struct dw_field inner_fields[] = {
    DW_F_I32(struct inner, n, 0),
    DW_F_TEXT(struct inner, name, 10, DW_OPTIONAL),
};
static const struct dw_layout inner_layout = DW_LAYOUT("inner", struct inner, inner_fields);

struct outer {
    bool flag;
    int32_t small;
    int64_t large;
    const char *text;
    struct dw_slice bytes;
    uint8_t fixed[4];
    struct inner in;
    struct inner *maybe;
    struct inner *list;
    size_t list_count;
    const char **words;
    size_t words_count;
    int32_t *numbers;
    size_t numbers_count;
};
static const struct dw_field outer_fields[] = {
    DW_F_BOOL(struct outer, flag, 0),
    DW_F_I32(struct outer, small, 0),
    DW_F_I64(struct outer, large, DW_OPTIONAL),
    DW_F_TEXT(struct outer, text, 20, 0),
    DW_F_BYTES(struct outer, bytes, 8, DW_OPTIONAL),
    DW_F_FIXED(struct outer, fixed, 0),
    DW_F_DOC(struct outer, in, &inner_layout),
    DW_F_DOCP(struct outer, maybe, &inner_layout),
    DW_F_DOCS(struct outer, list, 3, &inner_layout, 0),
    DW_F_TEXTS(struct outer, words, 3, DW_OPTIONAL),
    DW_F_I32S(struct outer, numbers, 3, DW_OPTIONAL),
};
static const struct dw_layout outer_layout = DW_LAYOUT("outer", struct outer, outer_fields);

static struct outer example(void)
{
    static struct inner list[] = {{1, "one"}, {2, NULL}}, maybe = {9, "九"};
    static const char *words[] = {"a", "bb"};
    static int32_t numbers[] = {-5, 6};
    return (struct outer){.flag = true,
                          .small = -7,
                          .large = 1ll << 40,
                          .text = "投诉",
                          .bytes = DW_SLICE("\0\1\2", 3),
                          .fixed = {1, 2, 3, 4},
                          .in = {3, "three"},
                          .maybe = &maybe,
                          .list = list,
                          .list_count = 2,
                          .words = words,
                          .words_count = 2,
                          .numbers = numbers,
                          .numbers_count = 2};
}

static enum dw_result decode(struct dw_slice bytes, struct dw_arena *arena, struct outer *ret,
                             struct dw_error *err)
{
    *err = (struct dw_error){0};
    dw_arena_init(arena, 65536);
    return dw_decode(&outer_layout, bytes, arena, ret, err);
}

TEST(what_was_encoded_is_decoded)
{
    struct outer in = example(), out;
    struct dw_buf b;
    struct dw_arena a;
    struct dw_error err;
    dw_buf_init(&b, 4096);
    dw_encode(&outer_layout, &in, &b);
    assert_int_equal(decode(dw_buf_slice(&b), &a, &out, &err), DW_OK);
    assert_true(out.flag);
    assert_int_equal(out.small, -7);
    assert_true(out.large == 1ll << 40);
    assert_string_equal(out.text, "投诉");
    assert_int_equal(out.bytes.len, 3);
    assert_memory_equal(out.bytes.data, "\0\1\2", 3);
    assert_memory_equal(out.fixed, in.fixed, 4);
    assert_string_equal(out.in.name, "three");
    assert_string_equal(out.maybe->name, "九");
    assert_int_equal(out.list_count, 2);
    assert_string_equal(out.list[0].name, "one");
    assert_null(out.list[1].name);
    assert_string_equal(out.words[1], "bb");
    assert_int_equal(out.numbers[0], -5);
    dw_arena_free(&a);
    dw_buf_free(&b);
}

TEST(equal_structs_give_equal_bytes)
{
    struct outer in = example(), out;
    struct dw_buf b, again;
    struct dw_arena a;
    struct dw_error err;
    dw_buf_init(&b, 4096);
    dw_buf_init(&again, 4096);
    dw_encode(&outer_layout, &in, &b);
    assert_int_equal(decode(dw_buf_slice(&b), &a, &out, &err), DW_OK);
    dw_encode(&outer_layout, &out, &again);
    assert_int_equal(b.len, again.len);
    assert_memory_equal(b.data, again.data, b.len);
    dw_arena_free(&a);
    dw_buf_free(&b);
    dw_buf_free(&again);
}

/* Encodes with another table over the same struct, so that the document is off by one thing. */
static void expect_refused(const struct dw_field *fields, size_t count, const struct outer *in,
                           const char *named)
{
    struct dw_layout other = {"outer", sizeof(struct outer), fields, count};
    struct outer out;
    struct dw_buf b;
    struct dw_arena a;
    struct dw_error err;
    dw_buf_init(&b, 4096);
    dw_encode(&other, in, &b);
    assert_int_equal(decode(dw_buf_slice(&b), &a, &out, &err), DW_INVALID);
    assert_non_null(strstr(err.text, named));
    dw_arena_free(&a);
    dw_buf_free(&b);
}

TEST(a_missing_field_is_named)
{
    struct outer in = example();
    expect_refused(outer_fields + 1, 10, &in, "flag");
}

TEST(an_unknown_field_is_refused)
{
    struct dw_field fields[12];
    struct outer in = example();
    memcpy(fields, outer_fields, sizeof outer_fields);
    fields[11] = (struct dw_field){"surprise", DW_BOOL, 0, 0, 0, 0, 0, NULL};
    expect_refused(fields, 12, &in, "unknown");
}

TEST(a_field_twice_is_refused)
{
    struct dw_field fields[12];
    struct outer in = example();
    memcpy(fields, outer_fields, sizeof outer_fields);
    fields[11] = outer_fields[1];
    expect_refused(fields, 12, &in, "small");
}

TEST(wrong_types_and_lengths_are_refused_and_named)
{
    struct dw_field fields[11];
    struct outer in = example();
    memcpy(fields, outer_fields, sizeof outer_fields);
    fields[1].kind = DW_BOOL;
    in.small = 1; /* whose first byte is a bool */
    expect_refused(fields, 11, &in, "small");
    in.text = "a text that is longer than twenty bytes";
    expect_refused(outer_fields, 11, &in, "text");
    in = example();
    in.list_count = 2;
    in.words_count = 0;
    in.bytes = DW_SLICE("123456789", 9);
    expect_refused(outer_fields, 11, &in, "bytes");
    in = example();
    in.in.name = "eleven byte";
    expect_refused(outer_fields, 11, &in, "in.name");
}

TEST(no_mutation_of_a_document_is_misread_out_of_bounds)
{
    struct outer in = example(), out;
    struct dw_buf b;
    struct dw_error err;
    uint64_t seed = 1;
    dw_buf_init(&b, 4096);
    dw_encode(&outer_layout, &in, &b);
    for (int i = 0; i < 20000; i++) {
        struct dw_arena a;
        uint8_t *copy = malloc(b.len);
        memcpy(copy, b.data, b.len);
        size_t len = b.len;
        for (uint64_t n = test_random(&seed) % 4; n < 4; n++)
            copy[test_random(&seed) % b.len] = (uint8_t)test_random(&seed);
        if (i % 3 == 0)
            len = test_random(&seed) % b.len;
        decode(DW_SLICE(copy, len), &a, &out, &err); /* the sanitizers are the judges */
        dw_arena_free(&a);
        free(copy);
    }
    dw_buf_free(&b);
}

RUN(cmocka_unit_test(what_was_encoded_is_decoded), cmocka_unit_test(equal_structs_give_equal_bytes),
    cmocka_unit_test(a_missing_field_is_named), cmocka_unit_test(an_unknown_field_is_refused),
    cmocka_unit_test(a_field_twice_is_refused),
    cmocka_unit_test(wrong_types_and_lengths_are_refused_and_named),
    cmocka_unit_test(no_mutation_of_a_document_is_misread_out_of_bounds))
