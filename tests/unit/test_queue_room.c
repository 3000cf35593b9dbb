/* How much may wait, who is told to wait, and for how long. */
#include "queue_data.h"



/* 200, or 503 with the time that was told. */
static int put_of(struct fixture *f, int n, uint8_t klass, bool guest, size_t len, dw_time now,
                  int32_t *seconds)
{
    struct dw_item_header h = header(n, "body");
    char *body = calloc(1, len + 1);
    memset(body, 'x', len);
    h.klass = klass;
    struct dw_queue_op *op = closing(&h, body);
    op->guest = guest;
    op->now = now;
    run_one(f, op);
    int status = op->status;
    *seconds = op->retry_seconds;
    dw_queue_op_free(op);
    free(body);
    return status;
}

static int ask(struct fixture *f, int n, int32_t *seconds)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ASK, NOW);
    struct dw_slice frame = dw_slice_of("?");
    memset(op->id, n, sizeof op->id);
    snprintf(op->service, sizeof op->service, "weather");
    op->frames = dw_frames_copy(&frame, 1);
    run_one(f, op);
    int status = op->status;
    *seconds = op->retry_seconds;
    dw_queue_op_free(op);
    return status;
}

TEST(from_the_mark_bulk_work_waits_and_statutory_work_passes_until_it_is_full)
{
    struct fixture *f = *state;
    int32_t seconds;
    f->config.queue.max_items = 10;
    for (int n = 1; n <= 8; n++)
        assert_int_equal(put_of(f, n, 1, false, 10, NOW, &seconds), 200);
    assert_int_equal(put_of(f, 9, 1, false, 10, NOW, &seconds), 503);
    assert_int_equal(seconds, f->config.queue.retry_max_seconds); /* nothing leaves */
    assert_int_equal(put_of(f, 1, 1, false, 10, NOW, &seconds), 200); /* it is here already */
    assert_int_equal(put_of(f, 10, 0, false, 10, NOW, &seconds), 200);
    assert_int_equal(put_of(f, 11, 0, false, 10, NOW, &seconds), 200);
    assert_int_equal(put_of(f, 12, 0, false, 10, NOW, &seconds), 503);
    assert_true(seconds > 0);
}

TEST(the_same_by_bytes)
{
    struct fixture *f = *state;
    int32_t seconds;
    f->config.queue.max_bytes = 100000;
    assert_int_equal(put_of(f, 1, 1, false, 79000, NOW, &seconds), 200);
    assert_int_equal(put_of(f, 2, 1, false, 2000, NOW, &seconds), 503);
    assert_int_equal(put_of(f, 2, 0, false, 19000, NOW, &seconds), 200);
    assert_int_equal(put_of(f, 3, 0, false, 3000, NOW, &seconds), 503);
}

TEST(guests_have_a_mark_of_their_own_in_their_share)
{
    struct fixture *f = *state;
    int32_t seconds;
    f->config.queue.max_items = 40; /* ten for guests, eight of them for bulk work */
    for (int n = 1; n <= 4; n++)
        assert_int_equal(put_of(f, n, 1, true, 10, NOW, &seconds), 200);
    for (int n = 5; n <= 8; n++)
        assert_int_equal(ask(f, n, &seconds), 200);
    assert_int_equal(ask(f, 9, &seconds), 503);
    assert_int_equal(seconds, f->config.queue.retry_max_seconds);
    assert_int_equal(put_of(f, 9, 1, true, 10, NOW, &seconds), 503);
    assert_int_equal(put_of(f, 9, 0, true, 10, NOW, &seconds), 200);
    assert_int_equal(put_of(f, 10, 0, true, 10, NOW, &seconds), 200);
    assert_int_equal(put_of(f, 11, 0, true, 10, NOW, &seconds), 503);
    assert_int_equal(put_of(f, 12, 1, false, 10, NOW, &seconds), 200);
}

static void take_out(struct fixture *f, uint32_t count, dw_time now)
{
    struct dw_queue_op *op = claim(f, count, now);
    assert_int_equal(op->items_count, count);
    for (size_t i = 0; i < op->items_count; i++) {
        struct dw_queue_op *done = dw_queue_op_new(DW_QUEUE_DONE, now);
        memcpy(done->id, op->items[i].id, sizeof done->id);
        done->fence = op->items[i].fence;
        run_one(f, done);
        dw_queue_op_free(done);
    }
    dw_queue_op_free(op);
}

TEST(the_time_follows_what_leaves)
{
    struct fixture *f = *state;
    int32_t seconds;
    f->config.queue.max_items = 100; /* 80 for bulk work */
    for (int n = 1; n <= 95; n++)
        assert_int_equal(put_of(f, n, 0, false, 10, NOW, &seconds), 200);
    /* One leaves each second, ten in all: 85 wait. */
    for (int i = 0; i < 10; i++)
        take_out(f, 1, NOW + i * 1000);
    /* Six must go, and eight more: 14 seconds at one a second. */
    assert_int_equal(put_of(f, 100, 1, false, 10, NOW + 9999, &seconds), 503);
    assert_int_equal(seconds, 14);
    take_out(f, 2, NOW + 9999); /* twelve in ten seconds; four must go, and eight more */
    assert_int_equal(put_of(f, 100, 1, false, 10, NOW + 9999, &seconds), 503);
    assert_int_equal(seconds, 10);
    take_out(f, 3, NOW + 9999);
    assert_int_equal(put_of(f, 100, 1, false, 10, NOW + 9999, &seconds), 503);
    assert_int_equal(seconds, 6);
    f->config.queue.retry_min_seconds = 20;
    assert_int_equal(put_of(f, 100, 1, false, 10, NOW + 9999, &seconds), 503);
    assert_int_equal(seconds, 20);
    f->config.queue.retry_min_seconds = 1;
    take_out(f, 1, NOW + 9999);
    assert_int_equal(put_of(f, 100, 1, false, 10, NOW + 9999, &seconds), 200);
    /* After a minute in which nothing left nobody knows. */
    assert_int_equal(put_of(f, 101, 1, false, 10, NOW + 80000, &seconds), 503);
    assert_int_equal(seconds, f->config.queue.retry_max_seconds);
}

TEST(a_clock_that_is_set_back_gives_a_time_between_the_settings)
{
    struct fixture *f = *state;
    int32_t seconds;
    f->config.queue.max_items = 10;
    for (int n = 1; n <= 10; n++)
        assert_int_equal(put_of(f, n, 0, false, 10, NOW, &seconds), 200);
    take_out(f, 1, NOW);
    assert_int_equal(put_of(f, 20, 1, false, 10, NOW - 3600000, &seconds), 503);
    assert_in_range(seconds, f->config.queue.retry_min_seconds, f->config.queue.retry_max_seconds);
    take_out(f, 1, NOW - 3600000);
    assert_int_equal(put_of(f, 20, 1, false, 10, NOW - 3600000, &seconds), 503);
    assert_in_range(seconds, f->config.queue.retry_min_seconds, f->config.queue.retry_max_seconds);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(from_the_mark_bulk_work_waits_and_statutory_work_passes_until_it_is_full),
    T(the_same_by_bytes), T(guests_have_a_mark_of_their_own_in_their_share),
    T(the_time_follows_what_leaves), T(a_clock_that_is_set_back_gives_a_time_between_the_settings))
