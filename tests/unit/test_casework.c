/* What the case worker tells those who wait when a batch of them could not be committed, what it leaves
 * out of an answer, and what becomes of requests that it puts aside. */
#include "case_data.h"

#include "casework.h"
#include "fault_store.h"

#include <poll.h>
#include <sodium.h>

struct fixture {
    struct dw_config config;
    struct casework cw;
    dw_metric metrics[5];
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
    f->cw.m_refused = &f->metrics[3];
    f->cw.m_claims = &f->metrics[4];
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

/* ---- doubt ---- */

static int tries;
static bool found_it;

/* As a handler does: what it has done already it finds. */
static void handle_a_change(struct casework *cw, struct pending *p, const struct dw_slice *body, size_t count)
{
    DW_AUTO_BUF doc = {0};
    struct dw_store_case found;
    dw_buf_init(&doc, 1000);
    tries++;
    p->tries_again = true;
    enum dw_result result = dw_store_record(cw->store, "things", "one", &doc, &found);
    found_it = result == DW_OK;
    if (result == DW_OK)
        cw_done(p, 1, "x", true);
    else if (result != DW_NOT_FOUND)
        cw_refuse_result(p, result);
    else if (cw_put_record(p, "things", "one", 0, &dw_done_layout, &(struct dw_done){1, "x", false}))
        p->status = 200;
    told = p->status == 200 ? DW_OK : dw_result_of_status(p->status);
}

static void ask_carefully(struct fixture *f)
{
    static const struct cw_method method = {"change", handle_a_change};
    static struct dw_slice nothing[2];
    struct pending *p = cw_pending_new(&f->cw, NULL, NULL);
    tries = 0;
    found_it = false;
    p->method = &method;
    p->request.body = nothing;
    p->request.body_count = 2;
    method.handle(&f->cw, p, NULL, 0);
    cw_finish(&f->cw, p);
    cw_flush(&f->cw);
}

TEST(what_may_have_happened_is_looked_for)
{
    struct fixture *f = *state;
    f->cw.store = fault_store(f->cw.store, FAULT_AFTER, 1);
    ask_carefully(f);
    assert_true(fault_store_struck(f->cw.store));
    assert_int_equal(tries, 2);
    assert_true(found_it);
    assert_int_equal(told, DW_OK);
    f->cw.store = fault_store_unwrap(f->cw.store);
    assert_true(is_stored(f));
}

TEST(what_cannot_be_looked_for_stays_in_doubt)
{
    struct fixture *f = *state;
    struct dw_store *with_doubt = fault_store(f->cw.store, FAULT_AFTER, 1);
    f->cw.store = fault_store(with_doubt, FAULT_READ, 2); /* the look before anything is written works */
    ask_carefully(f);
    assert_int_equal(tries, 2);
    assert_int_equal(told, DW_UNCERTAIN); /* not: nothing happened */
    assert_ptr_equal(fault_store_unwrap(f->cw.store), with_doubt);
    f->cw.store = fault_store_unwrap(with_doubt);
    assert_true(is_stored(f));
}

/* ---- claims ---- */

/* A case whose reporter is to be told now, in the store. */
static void put_a_case_with_a_notice(struct fixture *f, struct world *w)
{
    static uint8_t bytes[100];
    world_register(w, true, true);
    struct dw_object_ref contact = {.type = DW_OBJECT_CONTACT, .epoch = 1, .size = sizeof bytes, .id = {9}};
    struct dw_root_ref roots[] = {w->c.roots[0], {.kind = DW_ROOT_C, .epoch = 1, .commitment = {1}}};
    struct dw_grant grant = {.kind = DW_ROOT_C, .epoch = 1, .to = DW_TO_NOTIFIER, .id = "", .box = {4}};
    w->c.events[0].objects = &contact;
    w->c.events[0].objects_count = 1;
    w->c.roots = roots;
    w->c.roots_count = DW_COUNT(roots);
    w->c.grants = &grant;
    w->c.grants_count = 1;
    struct dw_store_object object = {.bytes = DW_SLICE(bytes, sizeof bytes)};
    memcpy(object.id, contact.id, sizeof contact.id);
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_case_encode(&w->c, &w->arena, &doc);
    struct dw_store_step step = {.with_case = true, .version = w->c.version, .ix = &w->c.ix,
                                 .doc = dw_buf_slice(&doc), .objects = &object, .objects_count = 1};
    struct dw_store_step *steps[] = {&step};
    memcpy(step.case_id, w->c.id, sizeof step.case_id);
    dw_store_apply(f->cw.store, steps, 1);
    assert_int_equal(step.outcome, DW_OK);
}

/* How many are handed out. */
static int64_t claim(struct fixture *f)
{
    struct dw_ask_claim ask = {10};
    int64_t before = f->metrics[4];
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, 1000);
    dw_encode(&dw_ask_claim_layout, &ask, &doc);
    struct dw_slice body = dw_buf_slice(&doc);
    struct pending *p = cw_pending_new(&f->cw, NULL, NULL);
    p->method = &cw_notify_methods[0];
    p->method->handle(&f->cw, p, &body, 1);
    cw_finish(&f->cw, p);
    cw_flush(&f->cw);
    return f->metrics[4] - before;
}

static int64_t claim_with(struct fixture *f, enum fault fault, int n)
{
    f->cw.store = fault_store(f->cw.store, fault, n);
    int64_t claimed = claim(f);
    assert_true(fault_store_struck(f->cw.store));
    f->cw.store = fault_store_unwrap(f->cw.store);
    return claimed;
}

TEST(a_notice_is_handed_out_when_its_claim_is_in_the_store)
{
    struct fixture *f = *state;
    void *world;
    world_setup(&world);
    struct world *w = world;
    f->cw.domain = w->domain;
    put_a_case_with_a_notice(f, w);
    assert_int_equal(claim_with(f, FAULT_BEFORE, 1), 0);
    assert_int_equal(claim_with(f, FAULT_AFTER, 1), 1); /* nobody said so, but it is there */
    assert_int_equal(claim(f), 0);                      /* so nobody else has it */
    world_teardown(&world);
}

/* ---- what is too much for an answer ---- */

enum { LINES = 600, LONG = 16546 };

static void put_objects(struct fixture *f, struct dw_object_ref refs[LINES])
{
    static uint8_t bytes[LONG];
    for (int i = 0; i < LINES; i++) {
        struct dw_store_object object = {.bytes = DW_SLICE(bytes, LONG)};
        struct dw_store_step step = {.objects = &object, .objects_count = 1}, *steps[] = {&step};
        refs[i] = (struct dw_object_ref){.type = DW_OBJECT_MESSAGE, .size = LONG};
        memcpy(object.id, &i, sizeof i);
        memcpy(refs[i].id, &i, sizeof i);
        memcpy(bytes, &i, sizeof i);
        dw_store_apply(f->cw.store, steps, 1);
        assert_int_equal(step.outcome, DW_OK);
    }
}

TEST(the_report_and_what_is_newest_have_room)
{
    static struct dw_object_ref refs[LINES];
    static struct dw_line lines[LINES];
    struct fixture *f = *state;
    struct pending *p = cw_pending_new(&f->cw, NULL, NULL);
    struct dw_slice frames[DW_PACK_FRAMES_MAX], object;
    int there = 0, last_missing = -1;
    put_objects(f, refs);
    for (int i = 0; i < LINES; i++)
        lines[i] = (struct dw_line){.objects = &refs[i], .objects_count = 1};
    cw_pack_objects(&f->cw, p, lines, LINES);
    for (size_t i = 0; i < p->pack.count; i++)
        frames[i] = dw_buf_slice(&p->pack.frames[i]);
    struct dw_unpack u = {.frames = frames, .count = p->pack.count};
    for (int i = 0; i < LINES; i++) {
        assert_true(dw_unpack_next(&u, &object));
        if (object.len) {
            assert_int_equal(object.len, LONG);
            assert_memory_equal(object.data, &i, sizeof i);
            there++;
        } else {
            last_missing = i;
        }
        assert_true(i > 0 || object.len);
    }
    assert_int_equal(there, DW_PACKED_MAX / LONG);
    assert_int_equal(last_missing, LINES - there); /* one run, behind the first */
    p->status = 500;
    cw_finish(&f->cw, p);
}

/* ---- aside ---- */

enum { MANY = 200 };

static _Atomic int worked;

static void work(struct casework *cw, struct pending *p)
{
    p->tries++;
    worked++;
}

static void put_many(struct fixture *f, struct aside *aside)
{
    worked = 0;
    for (int i = 0; i < MANY; i++)
        cw_aside_put(aside, cw_pending_new(&f->cw, NULL, NULL));
}

TEST(what_is_put_aside_comes_back_once_and_done)
{
    struct fixture *f = *state;
    struct aside *aside = cw_aside_new(&f->cw, 3, work);
    struct pollfd readable = {.fd = cw_aside_fd(aside), .events = POLLIN};
    int taken = 0;
    assert_null(cw_aside_take(aside));
    assert_int_equal(poll(&readable, 1, 0), 0);
    put_many(f, aside);
    while (taken < MANY) {
        assert_int_equal(poll(&readable, 1, 60000), 1);
        for (struct pending *p; (p = cw_aside_take(aside)); taken++) {
            assert_int_equal(p->tries, 1);
            cw_finish(&f->cw, p);
        }
    }
    assert_int_equal(worked, MANY);
    assert_null(cw_aside_take(aside));
    cw_aside_free(aside);
}

TEST(what_is_aside_when_it_ends_is_let_go_unanswered)
{
    struct fixture *f = *state;
    struct aside *aside = cw_aside_new(&f->cw, 2, work);
    put_many(f, aside);
    cw_aside_free(aside); /* the sanitizer tells what would be left */
    assert_int_equal(f->metrics[3], MANY); /* not one was done, and each was let go */
    assert_null(f->cw.batch);
}

#undef T
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(a_change_is_done_when_the_store_says_so),
    T(a_change_is_not_done_when_the_batch_never_came_to_the_store),
    T(what_may_have_happened_is_looked_for), T(what_cannot_be_looked_for_stays_in_doubt),
    T(a_notice_is_handed_out_when_its_claim_is_in_the_store), T(the_report_and_what_is_newest_have_room),
    T(what_is_put_aside_comes_back_once_and_done),
    T(what_is_aside_when_it_ends_is_let_go_unanswered))
