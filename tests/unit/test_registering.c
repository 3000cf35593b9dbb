#include "unit.h"

#include "dw/registering.h"

static enum dw_registering_next written(struct dw_registering *r, enum dw_result outcome,
                                        bool existed, bool taken)
{
    struct dw_store_step step = {.outcome = outcome, .existed = existed, .taken = taken};
    return dw_registering_written(r, &step);
}

TEST(what_is_no_filing_of_ours_never_comes_near_the_store)
{
    struct dw_registering r;
    assert_int_equal(dw_registering_begin(&r, 3, "not signed"), DW_REGISTERING_ANSWER);
    assert_int_equal(r.status, 422);
    assert_string_equal(r.why, "not signed");
}

TEST(one_that_was_delivered_before_is_done_and_not_made_again)
{
    struct dw_registering r;
    assert_int_equal(dw_registering_begin(&r, 0, NULL), DW_REGISTERING_LOOK);
    assert_int_equal(dw_registering_looked(&r, DW_OK), DW_REGISTERING_ANSWER);
    assert_int_equal(r.status, 200);
    assert_false(r.made);
}

TEST(a_store_that_is_away_is_not_now_whichever_step_finds_out)
{
    static const enum dw_result none[] = {DW_RETRY, DW_UNCERTAIN, DW_CONFLICT, DW_NOT_FOUND};
    struct dw_registering r;
    dw_registering_begin(&r, 0, NULL);
    assert_int_equal(dw_registering_looked(&r, DW_RETRY), DW_REGISTERING_ANSWER);
    assert_int_equal(r.status, 300);
    for (size_t i = 0; i < DW_COUNT(none); i++) {
        dw_registering_begin(&r, 1, NULL);
        assert_false(dw_registering_stored(&r, none[i]));
        assert_int_equal(dw_registering_fetched(&r), DW_REGISTERING_ANSWER);
        assert_int_equal(r.status, 300);
        dw_registering_begin(&r, 0, NULL);
        assert_int_equal(written(&r, none[i], false, false), DW_REGISTERING_ANSWER);
        assert_int_equal(r.status, 300);
        assert_false(r.made);
    }
}

TEST(parts_come_before_the_case)
{
    struct dw_registering r;
    dw_registering_begin(&r, 1, NULL);
    assert_int_equal(dw_registering_looked(&r, DW_NOT_FOUND), DW_REGISTERING_FETCH);
    assert_true(dw_registering_stored(&r, DW_OK));
    assert_int_equal(dw_registering_fetched(&r), DW_REGISTERING_WRITE);
    assert_int_equal(written(&r, DW_OK, false, false), DW_REGISTERING_ANSWER);
    assert_int_equal(r.status, 200);
    assert_true(r.made);
}

TEST(a_part_that_does_not_come_is_not_now_and_another_file_is_never)
{
    struct dw_registering r;
    dw_registering_begin(&r, 1, NULL);
    dw_registering_no_part(&r);
    assert_int_equal(dw_registering_fetched(&r), DW_REGISTERING_ANSWER);
    assert_int_equal(r.status, 300);
    dw_registering_begin(&r, 1, NULL);
    dw_registering_other_file(&r);
    assert_int_equal(r.status, 422);
    dw_registering_begin(&r, 1, NULL);
    assert_false(dw_registering_stored(&r, DW_INVALID));
    assert_int_equal(r.status, 422);
}

TEST(a_reference_that_is_taken_gives_way_to_the_next_but_not_for_ever)
{
    struct dw_registering r;
    uint32_t drawn = 0;
    dw_registering_begin(&r, 0, NULL);
    while (written(&r, DW_CONFLICT, false, true) == DW_REGISTERING_WRITE)
        assert_int_equal(r.reference_n, ++drawn);
    assert_int_equal(drawn, DW_REFERENCES_TRIED);
    assert_int_equal(r.status, 300);
}

TEST(other_contents_under_the_same_id_are_a_dead_letter)
{
    struct dw_registering r;
    dw_registering_begin(&r, 0, NULL);
    assert_int_equal(written(&r, DW_INVALID, false, false), DW_REGISTERING_ANSWER);
    assert_int_equal(r.status, 422);
}

RUN(cmocka_unit_test(what_is_no_filing_of_ours_never_comes_near_the_store),
    cmocka_unit_test(one_that_was_delivered_before_is_done_and_not_made_again),
    cmocka_unit_test(a_store_that_is_away_is_not_now_whichever_step_finds_out),
    cmocka_unit_test(parts_come_before_the_case),
    cmocka_unit_test(a_part_that_does_not_come_is_not_now_and_another_file_is_never),
    cmocka_unit_test(a_reference_that_is_taken_gives_way_to_the_next_but_not_for_ever),
    cmocka_unit_test(other_contents_under_the_same_id_are_a_dead_letter))
