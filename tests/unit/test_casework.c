/* What the case worker tells those who wait when a batch of them could not be committed. */
#include "unit.h"

#include "casework.h"
#include "fault_store.h"

#include <sodium.h>

struct fixture {
    struct dw_config config;
    struct casework cw;
    dw_metric metrics[3];
};

/* Names of those who wrote what is shown: nobody is asked here. */
enum dw_result cw_member(struct casework *cw, struct pending *p, const char *user,
                         struct dw_member *ret, int64_t *version)
{
    return DW_NOT_FOUND;
}

/* What came of the request that has just been settled. */
static enum dw_result told;

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct dw_error err;
    assert_true(sodium_init() >= 0);
    dw_config_defaults(&f->config);
    f->cw.config = &f->config;
    f->cw.batch_end = &f->cw.batch;
    f->cw.m_batch = &f->metrics[0];
    f->cw.m_commits = &f->metrics[1];
    f->cw.m_conflicts = &f->metrics[2];
    assert_int_equal(dw_store_open("sqlite::memory:", &f->config, &f->cw.store, &err), DW_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    dw_store_close(f->cw.store);
    dw_config_free(&f->config);
    free(f);
    return 0;
}

static void settled(struct casework *cw, struct pending *p)
{
    told = p->changes[0].step.outcome;
    p->settle = NULL;
    p->commit = false;
    cw_finish(cw, p);
}

static void ask_for_a_change(struct fixture *f)
{
    struct pending *p = cw_pending_new(&f->cw, NULL, NULL);
    assert_true(cw_put_record(p, "things", "one", 0, &dw_done_layout, &(struct dw_done){1, "x", false}));
    p->status = 200;
    p->settle = settled;
    cw_finish(&f->cw, p);
}

static void ask_for_a_list(struct fixture *f)
{
    struct pending *p = cw_pending_new(&f->cw, NULL, NULL);
    cw_audit(p, "500108.inspector1", "listed", "all");
    p->status = 200;
    cw_finish(&f->cw, p);
}

static bool is_stored(struct fixture *f)
{
    DW_AUTO_BUF doc = {0};
    struct dw_store_case found;
    dw_buf_init(&doc, 1000);
    return dw_store_record(f->cw.store, "things", "one", &doc, &found) == DW_OK;
}

TEST(a_change_is_done_when_the_store_says_so)
{
    struct fixture *f = *state;
    told = DW_INVALID;
    ask_for_a_change(f);
    assert_int_equal(told, DW_INVALID); /* it waits */
    cw_flush(&f->cw);
    assert_int_equal(told, DW_OK);
    assert_true(is_stored(f));
}

TEST(a_change_is_not_done_when_the_batch_never_came_to_the_store)
{
    struct fixture *f = *state;
    f->cw.store = fault_store(f->cw.store, FAULT_READ, 1); /* where the chain of audit entries ends */
    told = DW_INVALID;
    ask_for_a_change(f);
    ask_for_a_list(f);
    cw_flush(&f->cw);
    assert_true(fault_store_struck(f->cw.store));
    assert_int_equal(told, DW_RETRY);
    f->cw.store = fault_store_unwrap(f->cw.store);
    assert_false(is_stored(f));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(a_change_is_done_when_the_store_says_so),
    T(a_change_is_not_done_when_the_batch_never_came_to_the_store))
