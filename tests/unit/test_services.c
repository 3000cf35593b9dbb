#include "unit.h"

#include "dw/services.h"

TEST(packed_objects_come_out_in_order)
{
    struct dw_pack pack;
    struct dw_slice frames[DW_PACK_FRAMES_MAX], got;
    char *bytes = calloc(1, 70000);
    static const size_t lens[] = {1, 1186, 0, 65686, 65686, 65686, 65686, 5, 0, 70000 - 4314};
    dw_pack_init(&pack);
    for (size_t i = 0; i < DW_COUNT(lens); i++) {
        memset(bytes, (int)i, lens[i]);
        dw_pack_put(&pack, DW_SLICE(bytes, lens[i]));
    }
    assert_true(pack.count > 1);
    for (size_t i = 0; i < pack.count; i++) {
        frames[i] = dw_buf_slice(&pack.frames[i]);
        assert_true(frames[i].len <= DW_PACK_MAX + 4);
    }
    struct dw_unpack u = {.frames = frames, .count = pack.count};
    for (size_t i = 0; i < DW_COUNT(lens); i++) {
        assert_true(dw_unpack_next(&u, &got));
        assert_int_equal(got.len, lens[i]);
        if (got.len)
            assert_int_equal(got.data[0], i);
    }
    assert_false(dw_unpack_next(&u, &got));
    dw_pack_free(&pack);
    free(bytes);
}

TEST(what_would_be_too_much_is_left_out_and_the_frames_stay_bounded)
{
    struct dw_pack pack;
    char *bytes = calloc(1, 65686);
    dw_pack_init(&pack);
    for (int i = 0; i < 1000; i++)
        dw_pack_put(&pack, DW_SLICE(bytes, 65686));
    size_t total = 0;
    for (size_t i = 0; i < pack.count; i++)
        total += pack.frames[i].len;
    assert_true(total <= DW_PACKED_MAX + 8192);
    assert_true(pack.count <= DW_PACK_FRAMES_MAX);
    dw_pack_free(&pack);
    free(bytes);
}

TEST(frames_that_are_not_well_formed_end_the_reading)
{
    struct dw_slice got, frames[] = {DW_SLICE("\0\0\0\5abc", 7)};
    struct dw_unpack u = {.frames = frames, .count = 1};
    assert_false(dw_unpack_next(&u, &got));
    struct dw_slice cut[] = {DW_SLICE("\0\0", 2)};
    u = (struct dw_unpack){.frames = cut, .count = 1};
    assert_false(dw_unpack_next(&u, &got));
}

/* ---- documents in several frames ---- */

static struct dw_slice doc_of(size_t len)
{
    uint8_t *doc = calloc(1, len + 1);
    for (size_t i = 0; i < len; i++)
        doc[i] = (uint8_t)(i % 251);
    for (size_t i = 0; i < 4 && len >= 4; i++)
        doc[i] = (uint8_t)(len >> 8 * i);
    return DW_SLICE(doc, len);
}

static void goes_there_and_back(size_t len)
{
    struct dw_slice doc = doc_of(len), got, object, frames[DW_DOC_FRAMES_MAX + 1];
    struct dw_unpack u;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 1 << 24);
    size_t count = dw_doc_frames(doc, frames);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        assert_true(frames[i].len <= DW_PACK_MAX);
    frames[count] = DW_SLICE("\0\0\0\3abc", 7);
    assert_true(dw_unpack_begin(&u, frames, count + 1, &arena, &got));
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, doc.data, len);
    assert_true(dw_unpack_next(&u, &object));
    assert_memory_equal(object.data, "abc", 3);
    assert_false(dw_unpack_next(&u, &object));
    /* One of its frames is missing, or is not where it ends. */
    if (count > 1) {
        assert_false(dw_unpack_begin(&u, frames, count - 1, &arena, &got));
        frames[count - 1] = DW_SLICE(frames[count - 1].data, frames[count - 1].len - 1);
        assert_false(dw_unpack_begin(&u, frames, count, &arena, &got));
    }
    free((void *)doc.data);
}

TEST(a_document_goes_in_as_many_frames_as_it_needs)
{
    const size_t lens[] = {0, 3, 5, DW_PACK_MAX - 1, DW_PACK_MAX, DW_PACK_MAX + 1, 3 * DW_PACK_MAX,
                           DW_DOC_FRAMES_MAX * DW_PACK_MAX};
    for (size_t i = 0; i < DW_COUNT(lens); i++)
        goes_there_and_back(lens[i]);
}

TEST(one_that_is_longer_than_an_answer_is_not_sent)
{
    struct dw_slice doc = doc_of(DW_DOC_FRAMES_MAX * DW_PACK_MAX + 1), frames[DW_DOC_FRAMES_MAX];
    assert_int_equal(dw_doc_frames(doc, frames), 0);
    free((void *)doc.data);
}

TEST(a_length_that_nobody_would_send_takes_no_memory)
{
    struct dw_slice doc, frames[] = {DW_SLICE("\xff\xff\xff\xff", 4), DW_SLICE("abcd", 4)};
    struct dw_unpack u;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 1 << 24);
    assert_false(dw_unpack_begin(&u, frames, 2, &arena, &doc));
    assert_false(dw_unpack_begin(&u, frames, 0, &arena, &doc));
    struct dw_slice shorter[] = {DW_SLICE("\5\0\0\0\0and more", 13)};
    assert_false(dw_unpack_begin(&u, shorter, 1, &arena, &doc));
}

RUN(cmocka_unit_test(a_document_goes_in_as_many_frames_as_it_needs),
    cmocka_unit_test(one_that_is_longer_than_an_answer_is_not_sent),
    cmocka_unit_test(a_length_that_nobody_would_send_takes_no_memory),
    cmocka_unit_test(packed_objects_come_out_in_order),
    cmocka_unit_test(what_would_be_too_much_is_left_out_and_the_frames_stay_bounded),
    cmocka_unit_test(frames_that_are_not_well_formed_end_the_reading))
