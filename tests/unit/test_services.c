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

RUN(cmocka_unit_test(packed_objects_come_out_in_order),
    cmocka_unit_test(what_would_be_too_much_is_left_out_and_the_frames_stay_bounded),
    cmocka_unit_test(frames_that_are_not_well_formed_end_the_reading))
