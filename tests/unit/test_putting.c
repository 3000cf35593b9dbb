#include "unit.h"

#include "dw/putting.h"

static const struct dw_slice nothing = {0};

TEST(without_parts_each_broker_is_asked_once_from_the_first)
{
    struct dw_putting p;
    size_t broker;
    dw_putting_begin(&p, 3, 1, false);
    for (size_t i = 0; i < 3; i++) {
        assert_true(dw_putting_next(&p, &broker));
        assert_int_equal(broker, (1 + i) % 3);
        dw_putting_answered(&p, DW_UNCERTAIN, 0, nothing);
    }
    assert_false(dw_putting_next(&p, &broker));
    assert_int_equal(p.status, 503);
}

TEST(with_parts_only_the_one_that_has_them_is_asked)
{
    struct dw_putting p;
    size_t broker;
    dw_putting_begin(&p, 3, 2, true);
    assert_true(dw_putting_next(&p, &broker));
    assert_int_equal(broker, 2);
    dw_putting_answered(&p, DW_RETRY, 0, nothing);
    assert_false(dw_putting_next(&p, &broker));
}

TEST(only_a_broker_that_said_so_has_it)
{
    struct dw_putting p;
    size_t broker;
    dw_putting_begin(&p, 2, 0, false);
    assert_int_equal(p.status, 503);
    dw_putting_answered(&p, DW_UNCERTAIN, 200, nothing);
    assert_int_equal(p.status, 503);
    dw_putting_answered(&p, DW_OK, 200, nothing);
    assert_int_equal(p.status, 202);
    assert_false(dw_putting_next(&p, &broker));
}

TEST(the_same_key_with_another_payload_is_told_at_once)
{
    struct dw_putting p;
    size_t broker;
    dw_putting_begin(&p, 2, 0, false);
    dw_putting_answered(&p, DW_OK, 422, nothing);
    assert_int_equal(p.status, 422);
    assert_false(dw_putting_next(&p, &broker));
}

TEST(a_full_queue_says_when_to_come_again)
{
    struct dw_putting p;
    dw_putting_begin(&p, 1, 0, false);
    dw_putting_answered(&p, DW_OK, 503, dw_slice_of("17"));
    assert_int_equal(p.status, 503);
    assert_int_equal(p.retry_seconds, 17);
    assert_int_equal(dw_put_again_seconds(dw_slice_of("soon")), DW_PUT_AGAIN_SECONDS);
    assert_int_equal(dw_put_again_seconds(dw_slice_of("-3")), DW_PUT_AGAIN_SECONDS);
    assert_int_equal(dw_put_again_seconds(nothing), DW_PUT_AGAIN_SECONDS);
}

RUN(cmocka_unit_test(without_parts_each_broker_is_asked_once_from_the_first),
    cmocka_unit_test(with_parts_only_the_one_that_has_them_is_asked),
    cmocka_unit_test(only_a_broker_that_said_so_has_it),
    cmocka_unit_test(the_same_key_with_another_payload_is_told_at_once),
    cmocka_unit_test(a_full_queue_says_when_to_come_again))
