/* Where rows are, by names: against a list that is looked through from end to end. */
#include "unit.h"

#include "queue_private.h"

enum { NAMES = 40, ROWS = 30000, STEPS = 200000 };

struct fixture {
    struct dw_queue queue; /* nothing of it but its indexes */
    int names[ROWS + 1];   /* of each row; 0: it is not there */
    uint64_t random;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->random = 7;
    q_index_open(&f->queue);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    q_index_close(&f->queue);
    free(f);
    return 0;
}

static int64_t any_row(struct fixture *f)
{
    return 1 + (int64_t)(test_random(&f->random) % ROWS);
}

/* Most names have one row, as ids have; a few have many. */
static int name_of(struct fixture *f, int64_t row)
{
    return row % 3 ? 1000 + (int)row : 1 + (int)(test_random(&f->random) % NAMES);
}

static void add_or_take(struct fixture *f, int64_t row)
{
    int name = f->names[row];
    if (name) {
        q_index_take(&f->queue, BY_ID, &name, sizeof name, row);
        f->names[row] = 0;
    } else {
        name = f->names[row] = name_of(f, row);
        q_index_add(&f->queue, BY_ID, &name, sizeof name, row);
    }
}

static void check_name(struct fixture *f, int name)
{
    size_t found = 0, expected = 0;
    struct index_walk walk = q_index_walk(&f->queue, BY_ID, &name, sizeof name);
    for (int64_t row; (row = q_index_next(&walk)) != 0; found++)
        assert_int_equal(f->names[row], name);
    for (int64_t row = 1; row <= ROWS; row++)
        expected += f->names[row] == name;
    assert_int_equal(found, expected);
}

static void check(struct fixture *f)
{
    size_t rows = 0;
    for (int64_t row = 1; row <= ROWS; row++)
        rows += f->names[row] != 0;
    assert_int_equal(f->queue.indexes[BY_ID].used, rows);
    for (int name = 1; name <= NAMES; name++)
        check_name(f, name);
    for (int64_t row = 1; row <= ROWS; row += 97)
        check_name(f, 1000 + (int)row);
}

TEST(it_finds_what_is_there_and_nothing_else_as_it_grows_and_shrinks)
{
    struct fixture *f = *state;
    check(f);
    for (int i = 0; i < STEPS; i++)
        add_or_take(f, any_row(f));
    check(f);
    for (int64_t row = 1; row <= ROWS; row++)
        if (f->names[row] && row % 100)
            add_or_take(f, row);
    check(f);
    assert_true(f->queue.indexes[BY_ID].room < ROWS / 4);
    for (int64_t row = 1; row <= ROWS; row++)
        if (f->names[row])
            add_or_take(f, row);
    check(f);
}

TEST(what_a_transaction_did_is_undone_with_it)
{
    struct fixture *f = *state;
    static int before[ROWS + 1];
    for (int i = 0; i < STEPS / 10; i++)
        add_or_take(f, any_row(f));
    q_index_commit(&f->queue);
    for (int round = 0; round < 3; round++) {
        memcpy(before, f->names, sizeof before);
        for (int i = 0; i < STEPS / 10; i++)
            add_or_take(f, any_row(f));
        q_index_rollback(&f->queue);
        memcpy(f->names, before, sizeof before);
        check(f);
    }
}

TEST(what_is_not_there_cannot_be_taken)
{
    struct fixture *f = *state;
    int name = 5;
    q_index_take(&f->queue, BY_ID, &name, sizeof name, 1);
    q_index_add(&f->queue, BY_ID, &name, sizeof name, 1);
    q_index_take(&f->queue, BY_ID, &name, sizeof name, 2);
    f->names[1] = name;
    check(f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(it_finds_what_is_there_and_nothing_else_as_it_grows_and_shrinks),
    T(what_a_transaction_did_is_undone_with_it), T(what_is_not_there_cannot_be_taken))
