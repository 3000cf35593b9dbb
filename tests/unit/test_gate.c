#include "unit.h"

#include "dw/gate.h"

#include <stdatomic.h>
#include <unistd.h>

enum { AT_ONCE = 3, MAY_WAIT = 4, THREADS = 20, ROUNDS = 50 };

static struct {
    struct dw_gate gate;
    atomic_int inside, most, entered, refused;
    atomic_bool hold;
} shared;

static void *come_and_go(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (!dw_gate_enter(&shared.gate)) {
            shared.refused++;
            continue;
        }
        int now = ++shared.inside, most = shared.most;
        while (now > most && !atomic_compare_exchange_weak(&shared.most, &most, now))
            ;
        shared.entered++;
        while (shared.hold)
            usleep(1000);
        shared.inside--;
        dw_gate_leave(&shared.gate);
    }
    return NULL;
}

static void run(int64_t may_wait)
{
    pthread_t threads[THREADS];
    shared.inside = shared.most = shared.entered = shared.refused = 0;
    shared.hold = true;
    dw_gate_init(&shared.gate, AT_ONCE, may_wait);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    while (shared.inside < AT_ONCE || (may_wait < THREADS && !shared.refused))
        usleep(1000);
    shared.hold = false;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    dw_gate_end(&shared.gate);
}

TEST(no_more_inside_than_may_be)
{
    run(THREADS);
    assert_int_equal(shared.most, AT_ONCE);
    assert_int_equal(shared.entered, THREADS * ROUNDS);
    assert_int_equal(shared.refused, 0);
}

TEST(no_more_waiting_than_may_be)
{
    run(MAY_WAIT);
    assert_int_equal(shared.most, AT_ONCE);
    assert_int_equal(shared.entered + shared.refused, THREADS * ROUNDS);
    assert_true(shared.refused > 0);
}

TEST(without_waiting)
{
    struct dw_gate gate;
    dw_gate_init(&gate, 1, 0);
    assert_true(dw_gate_enter(&gate));
    assert_false(dw_gate_enter(&gate));
    dw_gate_leave(&gate);
    assert_true(dw_gate_enter(&gate));
    dw_gate_end(&gate);
}

RUN(cmocka_unit_test(no_more_inside_than_may_be), cmocka_unit_test(no_more_waiting_than_may_be),
    cmocka_unit_test(without_waiting))
