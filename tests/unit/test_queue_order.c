/* Order per key, and that no step costs more because more waits. */
#include "queue_data.h"

#include "queue_private.h"

/* Items are numbered from 1; their keys from 1, 0 is none. */
static struct dw_queue_op *closing_with_key(uint32_t n, int key, uint8_t klass, bool guest)
{
    struct dw_item_header h = {.service = "filing", .klass = klass};
    for (int i = 0; i < 4; i++)
        h.id[i] = h.tok[i] = (uint8_t)(n >> (24 - 8 * i));
    if (key)
        memset(h.handle, key, sizeof h.handle);
    struct dw_queue_op *op = closing(&h, "body");
    op->guest = guest;
    return op;
}

static void put_with_key(struct fixture *f, uint32_t n, int key, uint8_t klass)
{
    struct dw_queue_op *op = closing_with_key(n, key, klass, false);
    run_one(f, op);
    assert_int_equal(op->status, 200);
    dw_queue_op_free(op);
}

static uint32_t number_of(const uint8_t id[DW_ID_LEN])
{
    return (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
}

/* What is claimed now is exactly that one (0: nothing); the caller frees. */
static struct dw_queue_op *claimed(struct fixture *f, uint32_t n, dw_time now)
{
    struct dw_queue_op *op = claim(f, 10, now);
    assert_int_equal(op->items_count, n != 0);
    if (n)
        assert_int_equal(number_of(op->items[0].id), n);
    return op;
}

static void nothing_can_be_claimed(struct fixture *f, dw_time now)
{
    dw_queue_op_free(claimed(f, 0, now));
}

static void states_are(struct fixture *f, const char *expected)
{
    int status;
    char *text = admin(f, "stats", "", &status);
    if (!strstr(text, expected))
        print_message("%s\n", text);
    assert_non_null(strstr(text, expected));
    free(text);
}

TEST(of_one_key_only_the_first_is_claimed_whatever_its_class)
{
    struct fixture *f = *state;
    put_with_key(f, 1, 7, 1);
    put_with_key(f, 2, 7, 0); /* statutory, and behind a bulk one all the same */
    put_with_key(f, 3, 7, 1);
    states_are(f, "\"ready\":1,\"leased\":0,\"delayed\":0,\"dead\":0,\"behind\":2");
    for (uint32_t n = 1; n <= 3; n++) {
        struct dw_queue_op *op = claimed(f, n, NOW);
        nothing_can_be_claimed(f, NOW);
        assert_int_equal(finish(f, DW_QUEUE_DONE, &op->items[0], false, 0), 200);
        dw_queue_op_free(op);
    }
    states_are(f, "\"ready\":0,\"leased\":0,\"delayed\":0,\"dead\":0,\"behind\":0");
}

TEST(other_keys_other_services_and_none_do_not_wait)
{
    struct fixture *f = *state;
    put_with_key(f, 1, 7, 0);
    put_with_key(f, 2, 8, 0);
    put_with_key(f, 3, 0, 0);
    put_with_key(f, 4, 0, 0);
    struct dw_queue_op *op = closing_with_key(5, 7, 0, false);
    snprintf(op->header.service, sizeof op->header.service, "news");
    run_one(f, op);
    dw_queue_op_free(op);
    states_are(f, "\"ready\":5,");
    op = claim(f, 10, NOW);
    assert_int_equal(op->items_count, 4);
    dw_queue_op_free(op);
}

TEST(a_delayed_one_holds_those_behind_it_and_a_dead_one_does_not)
{
    struct fixture *f = *state;
    put_with_key(f, 1, 7, 0);
    put_with_key(f, 2, 7, 0);
    struct dw_queue_op *op = claimed(f, 1, NOW);
    finish(f, DW_QUEUE_LATER, &op->items[0], true, NOW + 5000);
    dw_queue_op_free(op);
    nothing_can_be_claimed(f, NOW + 4999);
    op = claimed(f, 1, NOW + 5000);
    finish(f, DW_QUEUE_DEAD, &op->items[0], false, 0);
    dw_queue_op_free(op);
    op = claimed(f, 2, NOW + 5000);
    put_with_key(f, 3, 7, 0);
    char id[33];
    int status;
    uint8_t first[16] = {0, 0, 0, 1};
    free(admin(f, "retry", dw_hex(id, first, 16), &status));
    assert_int_equal(status, 200);
    nothing_can_be_claimed(f, NOW + 5000); /* it has lost its place to the one in hand */
    finish(f, DW_QUEUE_DONE, &op->items[0], false, 0);
    dw_queue_op_free(op);
    op = claimed(f, 1, NOW + 5000);
    finish(f, DW_QUEUE_DONE, &op->items[0], false, 0);
    dw_queue_op_free(op);
    dw_queue_op_free(claimed(f, 3, NOW + 5000));
}

TEST(whoever_goes_frees_the_next_and_says_so)
{
    struct fixture *f = *state;
    const dw_time end = NOW + f->config.queue.guest_hours * 3600000;
    for (uint32_t n = 1; n <= 3; n++) {
        struct dw_queue_op *op = closing_with_key(n, 7, 1, true);
        run_one(f, op);
        assert_false(op->released);
        dw_queue_op_free(op);
    }
    put_with_key(f, 4, 7, 0);
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_SWEEP, end); /* all of the guest's expire */
    run_one(f, op);
    assert_true(op->released);
    dw_queue_op_free(op);
    states_are(f, "\"ready\":1,\"leased\":0,\"delayed\":0,\"dead\":3,\"behind\":0");
    op = claimed(f, 4, end);
    put_with_key(f, 5, 7, 0);
    struct dw_queue_op *done = dw_queue_op_new(DW_QUEUE_DONE, end);
    memcpy(done->id, op->items[0].id, sizeof done->id);
    done->fence = op->items[0].fence;
    run_one(f, done);
    assert_true(done->released);
    dw_queue_op_free(done);
    dw_queue_op_free(op);
    dw_queue_op_free(claimed(f, 5, end));
}

TEST(order_and_counts_outlive_a_crash)
{
    struct fixture *f = *state;
    for (uint32_t n = 1; n <= 4; n++)
        put_with_key(f, n, 7, n % 2);
    dw_queue_op_free(claimed(f, 1, NOW));
    crash(f);
    states_are(f, "\"ready\":1,\"leased\":0,\"delayed\":0,\"dead\":0,\"behind\":3");
    for (uint32_t n = 1; n <= 4; n++) {
        struct dw_queue_op *op = claimed(f, n, NOW);
        finish(f, DW_QUEUE_DONE, &op->items[0], false, 0);
        dw_queue_op_free(op);
    }
}

TEST(items_of_one_key_in_an_older_file_are_put_in_order)
{
    struct fixture *f = *state;
    char command[3000];
    dw_queue_close(f->queue);
    snprintf(command, sizeof command,
             "rm -f %s %s-wal %s-shm && sqlite3 %s < " DW_SOURCE_FOLDER
             "/tests/vectors/queue-1.sql > /dev/null && sqlite3 %s "
             "'UPDATE items SET handle = (SELECT handle FROM items WHERE seq = 1)'",
             f->path, f->path, f->path, f->path, f->path);
    assert_int_equal(system(command), 0);
    open_queue(f);
    states_are(f, "\"ready\":1,\"leased\":0,\"delayed\":0,\"dead\":1,\"behind\":2");
    for (uint8_t n = 1; n <= 3; n++) {
        if (n == 3) /* it was delayed, and still is */
            nothing_can_be_claimed(f, NOW + 4999);
        struct dw_queue_op *op = claim(f, 10, n < 3 ? NOW : NOW + 5000);
        assert_int_equal(op->items_count, 1);
        assert_int_equal(op->items[0].id[0], n);
        finish(f, DW_QUEUE_DONE, &op->items[0], false, 0);
        dw_queue_op_free(op);
    }
}

/* ---- flat ---- */

TEST(no_statement_looks_at_a_table_from_end_to_end)
{
    struct fixture *f = *state;
    for (int i = 0; i < Q_COUNT; i++) {
        sqlite3_stmt *plan;
        DW_AUTO_BUF text = {0};
        dw_buf_init(&text, 10000);
        dw_buf_printf(&text, "EXPLAIN QUERY PLAN %s", q_sql[i]);
        if (strncmp(q_sql[i], "PRAGMA", 6) == 0 || i <= Q_ROLLBACK)
            continue;
        assert_int_equal(sqlite3_prepare_v2(f->queue->db, dw_buf_text(&text), -1, &plan, NULL), SQLITE_OK);
        while (sqlite3_step(plan) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(plan, 3);
            /* Whoever lists takes the first rows of an index, and of all items the first in their
             * order; nothing is sorted for it. */
            bool lists = (i >= Q_LIST && i < Q_SHOW) || i == Q_OLDEST_SEEN;
            bool scans = strncmp(step, "SCAN", 4) == 0 &&
                         (!lists || (i != Q_LIST && !strstr(step, "USING")));
            if (strstr(step, "CONSTANT ROW")) /* one row */
                scans = false;
            if (scans || strstr(step, "TEMP B-TREE"))
                fail_msg("%s: %s", q_sql[i], step);
        }
        sqlite3_finalize(plan);
    }
}

static void run_and_free(struct fixture *f, struct dw_queue_op *list)
{
    dw_queue_run(f->queue, list);
    while (list) {
        struct dw_queue_op *next = list->next;
        assert_int_equal(list->status, 200);
        dw_queue_op_free(list);
        list = next;
    }
}

/* So many with one key, dead, behind one that is in hand; and as many without. */
static void fill(struct fixture *f, uint32_t first, uint32_t count)
{
    struct dw_queue_op *list = NULL, *op;
    for (uint32_t i = 0; i < count; i++) {
        op = closing_with_key(first + i, 0, 1, false);
        snprintf(op->header.service, sizeof op->header.service, "dying");
        memset(op->header.handle, 7, DW_ID_LEN);
        op->next = list;
        list = op;
    }
    run_and_free(f, list);
    for (uint32_t i = 0; i < count; i++) {
        op = dw_queue_op_new(DW_QUEUE_CLAIM, NOW);
        op->n = 1;
        snprintf(op->service, sizeof op->service, "dying");
        run_one(f, op);
        assert_int_equal(op->items_count, 1);
        assert_int_equal(finish(f, DW_QUEUE_DEAD, &op->items[0], false, 0), 200);
        dw_queue_op_free(op);
    }
    list = NULL;
    for (uint32_t i = 0; i < 2 * count; i++) {
        op = closing_with_key(first + 2 * count + i, i % 2 ? 7 : 0, 0, false);
        op->next = list;
        list = op;
    }
    run_and_free(f, list);
}

static int64_t steps_taken(struct fixture *f)
{
    int64_t sum = 0;
    for (int i = 0; i < Q_COUNT; i++)
        sum += sqlite3_stmt_status(f->queue->statements[i], SQLITE_STMTSTATUS_VM_STEP, 1);
    return sum;
}

/* What SQLite does for one of everything, in its own steps. */
static int64_t work_of_one_of_each(struct fixture *f)
{
    int status;
    static uint32_t n = 1u << 24;
    f->queue->told_at = 0;
    steps_taken(f);
    put_with_key(f, ++n, 7, 0);
    put_with_key(f, ++n, 0, 0);
    put_with_key(f, ++n, 9, 0);
    struct dw_queue_op *op = claim(f, 4, NOW);
    assert_int_equal(op->items_count, 4);
    finish(f, DW_QUEUE_DONE, &op->items[0], false, 0);
    finish(f, DW_QUEUE_DONE, &op->items[1], false, 0);
    finish(f, DW_QUEUE_LATER, &op->items[2], false, NOW);
    finish(f, DW_QUEUE_DEAD, &op->items[3], false, 0);
    dw_queue_op_free(op);
    pending(f, 7 - 100);
    free(admin(f, "stats", "", &status));
    op = dw_queue_op_new(DW_QUEUE_SWEEP, NOW);
    run_one(f, op);
    dw_queue_op_free(op);
    return steps_taken(f);
}

TEST(what_a_step_costs_does_not_grow_with_what_waits)
{
    struct fixture *f = *state;
    fill(f, 1, 20);
    work_of_one_of_each(f); /* the first one walks over what died meanwhile */
    int64_t few = work_of_one_of_each(f);
    fill(f, 1000, 2000);
    work_of_one_of_each(f);
    int64_t many = work_of_one_of_each(f);
    if (many > 2 * few)
        fail_msg("%lld steps with few, %lld with many", (long long)few, (long long)many);
}

TEST(much_that_is_due_at_once_is_taken_in_pieces)
{
    struct fixture *f = *state;
    const dw_time end = NOW + f->config.queue.guest_hours * 3600000;
    struct dw_queue_op *list = NULL, *op;
    for (uint32_t n = 1; n <= 1500; n++) {
        op = closing_with_key(n, 0, 1, true);
        op->next = list;
        list = op;
    }
    run_and_free(f, list);
    static const uint32_t dead[] = {1000, 1500};
    for (int i = 0; i < 2; i++) {
        char expected[40];
        op = dw_queue_op_new(DW_QUEUE_SWEEP, end);
        run_one(f, op);
        assert_int_equal(op->n != 0, i == 0);
        dw_queue_op_free(op);
        snprintf(expected, sizeof expected, "\"dead\":%u,", dead[i]);
        states_are(f, expected);
    }
    list = NULL;
    for (uint32_t n = 2001; n <= 3500; n++) {
        op = closing_with_key(n, 0, 1, false);
        op->next = list;
        list = op;
    }
    run_and_free(f, list);
    list = NULL;
    struct dw_queue_op *claims = claim(f, 1500, NOW);
    assert_int_equal(claims->items_count, 1500);
    for (size_t i = 0; i < claims->items_count; i++) {
        op = dw_queue_op_new(DW_QUEUE_LATER, NOW);
        memcpy(op->id, claims->items[i].id, sizeof op->id);
        op->fence = claims->items[i].fence;
        op->at = NOW + 1000;
        op->next = list;
        list = op;
    }
    dw_queue_op_free(claims);
    run_and_free(f, list);
    for (int i = 0; i < 2; i++) {
        claims = claim(f, 1500, NOW + 1000);
        assert_int_equal(claims->items_count, i ? 500 : 1000);
        assert_int_equal(claims->next_at, i ? 0 : NOW + 1000); /* there is more at once */
        dw_queue_op_free(claims);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(of_one_key_only_the_first_is_claimed_whatever_its_class),
    T(other_keys_other_services_and_none_do_not_wait),
    T(a_delayed_one_holds_those_behind_it_and_a_dead_one_does_not),
    T(whoever_goes_frees_the_next_and_says_so), T(order_and_counts_outlive_a_crash),
    T(items_of_one_key_in_an_older_file_are_put_in_order),
    T(no_statement_looks_at_a_table_from_end_to_end),
    T(what_a_step_costs_does_not_grow_with_what_waits),
    T(much_that_is_due_at_once_is_taken_in_pieces))
