/* Counters equal their events: with faults at any write, several that count at once, and a rebuild
 * beside them; on every driver. */
#include "drivers.h"
#include "../unit/case_data.h"

#include "dw/statistics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#undef T
#define T(name) {#name, name}

/* The thread sanitizer makes everything ten times slower, and this part has one thread. */
#ifdef __SANITIZE_THREAD__
enum { IN_MEMORY_CASES = 1000 };
#else
enum { IN_MEMORY_CASES = 10000 };
#endif
enum { PAUSE_MS = 100000 }; /* a machine that is slow must not have to extend it: there is one store */

/* Cases that live at random, kept in a store. */
struct crowd {
    struct fixture *f;
    struct dw_store *store;
    struct world *w;
    int cases;
    int64_t registered, accepted, closed; /* counted by hand */
};

static void id_of(uint8_t id[16], int n)
{
    uint64_t seed = (uint64_t)n + 77;
    for (int i = 0; i < 16; i++)
        id[i] = (uint8_t)test_random(&seed);
}

static void crowd_begin(struct crowd *crowd, struct fixture *f, struct dw_store *store)
{
    void *world;
    world_setup(&world);
    *crowd = (struct crowd){.f = f, .store = store, .w = world};
    crowd->w->seed = 11;
}

static void crowd_end(struct crowd *crowd)
{
    void *world = crowd->w;
    world_teardown(&world);
}

static size_t dice(struct crowd *crowd, size_t sides)
{
    return (size_t)(test_random(&crowd->w->seed) % sides);
}

static const char *one_of(struct crowd *crowd, const char *const *list, size_t count)
{
    return list[dice(crowd, count)];
}

/* Until it is there, as a careful caller would. */
static void keep(struct crowd *crowd, int64_t old_version)
{
    struct world *w = crowd->w;
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_case_encode(&w->c, &w->arena, &doc);
    for (int i = 0; i < 10; i++) {
        struct dw_store_case found;
        DW_AUTO_BUF there = {0};
        struct dw_store_step step = {.with_case = true, .old_version = old_version,
                                     .version = w->c.version, .doc = dw_buf_slice(&doc),
                                     .ix = &w->c.ix};
        struct dw_store_step *steps[] = {&step};
        memcpy(step.case_id, w->c.id, 16);
        dw_store_apply(crowd->store, steps, 1);
        if (step.outcome == DW_OK)
            return;
        dw_buf_init(&there, DW_DOC_MAX);
        if (step.outcome == DW_UNCERTAIN &&
            dw_store_case(crowd->store, w->c.id, &there, &found) == DW_OK &&
            found.version == w->c.version)
            return;
    }
    fail_msg("ten tries were not enough");
}

static void register_one(struct crowd *crowd)
{
    static const char *const bodies[] = {"500108", "500103", "500000"};
    static const char *const against[] = {"hospital", "pharmacy", "insured_person"};
    static const char *const kinds[] = {"report", "complaint"};
    struct world *w = crowd->w;
    world_register(w, dice(crowd, 2), false);
    id_of(w->c.id, ++crowd->cases);
    w->c.body = w->c.events[0].to = one_of(crowd, bodies, DW_COUNT(bodies));
    w->c.facts.against = one_of(crowd, against, DW_COUNT(against));
    w->c.facts.kind = one_of(crowd, kinds, DW_COUNT(kinds));
    crowd->registered++;
    keep(crowd, 0);
}

/* Somebody tries something; what the case does not allow does not happen. */
static void do_something(struct crowd *crowd)
{
    static const char *const commands[] = {"assign", "accept", "accept", "refuse", "transfer", "receive",
                                           "return", "note", "ask", "reply", "decide", "close", "archive"};
    static const char *const says[] = {"message", "withdraw"};
    struct world *w = crowd->w;
    if (dice(crowd, 8) == 0) {
        world_do(w, one_of(crowd, says, DW_COUNT(says)), the_reporter());
        return;
    }
    const char *command = one_of(crowd, commands, DW_COUNT(commands));
    bool receiver = strcmp(command, "receive") == 0 || strcmp(command, "return") == 0;
    struct dw_actor actor = member_of(receiver && *w->c.transfer_to ? w->c.transfer_to : w->c.body);
    if (world_do(w, command, actor) != 200)
        return;
    crowd->accepted += strcmp(command, "accept") == 0;
    crowd->closed += strcmp(command, "close") == 0;
}

/* False: somebody changed it meanwhile, or nothing happened. */
static bool change_one(struct crowd *crowd, int n, int things)
{
    struct world *w = crowd->w;
    struct dw_store_case found;
    struct dw_error err;
    uint8_t id[16];
    DW_AUTO_BUF doc = {0};
    id_of(id, n);
    dw_buf_init(&doc, DW_DOC_MAX);
    assert_int_equal(dw_store_case(crowd->store, id, &doc, &found), DW_OK);
    assert_int_equal(dw_case_decode(found.doc, &w->arena, &w->c, &err), DW_OK);
    for (int i = 0; i < things; i++)
        do_something(crowd);
    if (dice(crowd, 2))
        dw_case_tick(&w->domain, &w->c, w->now, &w->arena);
    if (w->c.version == found.version)
        return false;
    w->c.version = (int32_t)found.version + 1;
    keep(crowd, found.version);
    return true;
}

static void forget(struct crowd *crowd)
{
    dw_arena_free(&crowd->w->arena);
    dw_arena_init(&crowd->w->arena, 64 << 20);
}

static struct dw_fold fold_of(struct crowd *crowd, struct dw_store *store, size_t cases_max)
{
    return (struct dw_fold){
        .store = store, .routing = crowd->w->domain.routing, .cases_max = cases_max};
}

/* Counts until nothing waits, whatever fails meanwhile. */
static void count_all(struct crowd *crowd, struct dw_fold *fold)
{
    uint8_t ids[1][16];
    size_t waiting = 1, cases;
    for (int i = 0; waiting && i < 20000; i++) {
        dw_fold_step(fold, crowd->w->now, &cases);
        if (dw_store_due(fold->store, DW_DUE_FOLD, crowd->w->now, 1, ids, &waiting) != DW_OK)
            waiting = 1;
    }
    assert_int_equal(waiting, 0);
}

static struct dw_rebuild rebuild_of(struct crowd *crowd, bool check_only)
{
    return (struct dw_rebuild){.store = crowd->store, .walked = crowd->store,
                               .routing = crowd->w->domain.routing, .check_only = check_only,
                               .pause_ms = PAUSE_MS, .now = dw_now};
}

static void assert_right(struct crowd *crowd)
{
    struct dw_rebuild r = rebuild_of(crowd, true);
    assert_int_equal(dw_statistics_rebuild(&r), DW_OK);
    assert_int_equal(r.cases, crowd->cases);
    assert_true(r.documents > 0);
    assert_int_equal(r.wrong, 0);
    assert_int_equal(r.unreadable, 0);
}

/* Of the city, by something, all values and kinds. */
static int64_t shown(struct crowd *crowd, const char *area, const char *by, const char *measure)
{
    struct dw_statistics_query q = {.by = by};
    struct dw_statistics_view view;
    struct dw_error err;
    DW_AUTO_ARENA arena = {0};
    int64_t sum = 0;
    dw_arena_init(&arena, 1 << 22);
    if (!dw_statistics_is_now(by)) {
        q.from = a_day("2026-09-01");
        q.to = a_day("2027-08-31");
    }
    assert_int_equal(dw_statistics_check(&q, a_day("2026-11-24"), 24, &err), DW_OK);
    assert_int_equal(dw_statistics_read(crowd->store, area, &q, &arena, &view), DW_OK);
    for (size_t i = 0; i < view.cells_count; i++) {
        const char *last = strrchr(view.cells[i], '/');
        if (strcmp(last + 1, measure) == 0)
            sum += view.counts[i];
    }
    return sum;
}

static int of_driver(const struct fixture *f, int at_server, int here)
{
    return f->driver->place == AT_SERVER ? at_server : here;
}

/* ---- promises ---- */

TEST(random_lives_counted_now_and_then_equal_a_rebuild)
{
    struct fixture *f = *state;
    struct crowd crowd;
    size_t cases;
    crowd_begin(&crowd, f, f->store);
    struct dw_fold fold = fold_of(&crowd, f->store, 37);
    int all = of_driver(f, 300, f->driver->place == IN_MEMORY ? IN_MEMORY_CASES : 1000);
    for (int i = 0; i < 2 * all; i++) {
        if (i % 2 == 0)
            register_one(&crowd);
        change_one(&crowd, 1 + (int)dice(&crowd, (size_t)crowd.cases), 3);
        crowd.w->now += (int64_t)dice(&crowd, 60000000ull / (uint64_t)all * 60);
        if (dice(&crowd, 40) == 0)
            assert_int_equal(dw_fold_step(&fold, crowd.w->now, &cases), DW_OK);
        forget(&crowd);
    }
    count_all(&crowd, &fold);
    assert_right(&crowd);
    assert_int_equal(shown(&crowd, "500000", "month", "registered"), crowd.registered);
    assert_int_equal(shown(&crowd, "500000", "against", "registered"), crowd.registered);
    assert_int_equal(shown(&crowd, "500000", "month", "accepted"), crowd.accepted);
    assert_int_equal(shown(&crowd, "500000", "month", "closed"), crowd.closed);
    assert_int_equal(shown(&crowd, "500000", "state", "cases"), crowd.cases);
    assert_true(shown(&crowd, "500108", "state", "cases") < crowd.cases);
    assert_true(shown(&crowd, "500000", "month", "received") > 0);
    assert_true(shown(&crowd, "500000", "rule", "overdue") > 0);
    crowd_end(&crowd);
}

TEST(a_fault_at_any_write_counts_nothing_twice_and_leaves_nothing_out)
{
    struct fixture *f = *state;
    for (int fault = FAULT_BEFORE; fault <= FAULT_AFTER; fault++) {
        bool struck = true;
        int n = 1;
        for (; struck; n++) {
            struct fixture g = *f;
            struct crowd crowd;
            char folder[320];
            snprintf(folder, sizeof folder, "%s/%d-%d", f->folder, fault, n);
            mkdir(folder, 0700);
            g.folder = folder;
            g.store = fault_store(open_store(&g), (enum fault)fault, n);
            crowd_begin(&crowd, &g, g.store);
            /* The second is another worker, which does not know what the first has finished. */
            struct dw_fold first = fold_of(&crowd, g.store, 2), second = fold_of(&crowd, g.store, 3);
            for (int i = 0; i < 4; i++) {
                size_t cases;
                register_one(&crowd);
                dw_fold_step(i % 2 ? &first : &second, crowd.w->now, &cases);
                change_one(&crowd, 1, 3);
            }
            count_all(&crowd, &first);
            struck = fault_store_struck(g.store);
            for (int i = 1; i <= 4; i++)
                change_one(&crowd, i, 2);
            count_all(&crowd, &second);
            assert_right(&crowd);
            crowd_end(&crowd);
            dw_store_close(g.store);
        }
        assert_true(n > 12);
    }
}

TEST(a_case_that_only_stands_in_the_index_leaves_it)
{
    struct fixture *f = *state;
    struct crowd crowd;
    crowd_begin(&crowd, f, f->store);
    struct dw_fold fold = fold_of(&crowd, f->store, 10);
    register_one(&crowd);
    count_all(&crowd, &fold);
    crowd.w->c.version = 3;
    crowd.w->c.folded = (int32_t)crowd.w->c.events_count;
    crowd.w->c.ix.fold = 1; /* as after an upgrade of the store */
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_encode(&dw_case_layout, &crowd.w->c, &doc);
    struct dw_store_step step = {.with_case = true, .old_version = 2, .version = 3,
                                 .doc = dw_buf_slice(&doc), .ix = &crowd.w->c.ix};
    struct dw_store_step *steps[] = {&step};
    memcpy(step.case_id, crowd.w->c.id, 16);
    dw_store_apply(f->store, steps, 1);
    assert_int_equal(step.outcome, DW_OK);
    count_all(&crowd, &fold);
    assert_right(&crowd);
    assert_int_equal(shown(&crowd, "500000", "state", "cases"), 1);
    crowd_end(&crowd);
}

TEST(more_events_than_a_batch_may_add_are_counted_in_several)
{
    struct fixture *f = *state;
    struct crowd crowd;
    size_t cases;
    crowd_begin(&crowd, f, f->store);
    struct dw_fold fold = fold_of(&crowd, f->store, 10);
    struct world *w = crowd.w;
    register_one(&crowd);
    size_t few = w->c.events_count, many = 5000;
    struct dw_event *events = dw_arena_alloc(&w->arena, many * sizeof *events);
    memcpy(events, w->c.events, few * sizeof *events);
    for (size_t i = few; i < many; i++) /* each on a day of its own */
        events[i] = (struct dw_event){.seq = (int32_t)i + 1, .kind = "message", .actor = "reporter",
                                      .day = events[0].day + (int32_t)i, .state = "received"};
    w->c.events = events;
    w->c.events_count = many;
    w->c.version = 2;
    keep(&crowd, 1);
    int batches = 0;
    do {
        assert_int_equal(dw_fold_step(&fold, w->now, &cases), DW_OK);
        batches += cases > 0;
    } while (cases);
    assert_true(batches > 1);
    struct dw_rebuild r = rebuild_of(&crowd, true);
    assert_int_equal(dw_statistics_rebuild(&r), DW_OK);
    assert_int_equal(r.wrong, 0);
    crowd_end(&crowd);
}

/* ---- rebuilding ---- */

static void spoil(struct fixture *f, const char *key, const struct dw_counters *counters)
{
    DW_AUTO_BUF doc = {0}, there = {0};
    struct dw_store_case found = {.version = 0};
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_buf_init(&there, DW_DOC_MAX);
    dw_store_record(f->store, DW_STATISTICS, key, &there, &found);
    if (counters)
        dw_encode(&dw_counters_layout, counters, &doc);
    struct dw_store_record record = {.collection = DW_STATISTICS, .key = key,
                                     .old_version = found.version, .version = found.version + 1,
                                     .doc = dw_buf_slice(&doc)};
    struct dw_store_step step = {.records = &record, .records_count = 1}, *steps[] = {&step};
    dw_store_apply(f->store, steps, 1);
    assert_int_equal(step.outcome, DW_OK);
}

TEST(a_rebuild_finds_and_repairs_what_was_changed_lost_and_made_up)
{
    struct fixture *f = *state;
    struct crowd crowd;
    const char *cells[] = {"state/received/report/cases"};
    int32_t counts[] = {7};
    const struct dw_counters made_up = {1, cells, 1, counts, 1};
    crowd_begin(&crowd, f, f->store);
    struct dw_fold fold = fold_of(&crowd, f->store, 10);
    for (int i = 0; i < 20; i++)
        register_one(&crowd);
    count_all(&crowd, &fold);
    spoil(f, "500000/now", &made_up);
    spoil(f, "500000/2026-09", NULL);
    spoil(f, "500231/2026-09", &made_up);
    struct dw_rebuild check = rebuild_of(&crowd, true), repair = rebuild_of(&crowd, false);
    assert_int_equal(dw_statistics_rebuild(&check), DW_OK);
    assert_int_equal(check.wrong, 3);
    assert_int_equal(check.repaired, 0);
    assert_int_equal(dw_statistics_rebuild(&repair), DW_OK);
    assert_int_equal(repair.repaired, 3);
    assert_right(&crowd);
    assert_int_equal(shown(&crowd, "500000", "state", "cases"), 20);
    /* and counting goes on from there */
    register_one(&crowd);
    count_all(&crowd, &fold);
    assert_right(&crowd);
    spoil(f, "journal", NULL); /* batches begin anew, below what the counters say: that is noticed */
    fold.finished = 0;
    register_one(&crowd);
    count_all(&crowd, &fold);
    repair = rebuild_of(&crowd, false);
    assert_int_equal(dw_statistics_rebuild(&repair), DW_OK);
    assert_true(repair.repaired > 0);
    register_one(&crowd);
    count_all(&crowd, &fold);
    assert_right(&crowd);
    assert_int_equal(shown(&crowd, "500000", "state", "cases"), 23);
    crowd_end(&crowd);
}

static dw_time long_ago(void)
{
    return dw_now() - 10 * PAUSE_MS;
}

TEST(counting_pauses_for_a_rebuild_and_not_for_one_that_died)
{
    struct fixture *f = *state;
    struct crowd crowd;
    size_t cases;
    crowd_begin(&crowd, f, f->store);
    struct dw_fold fold = fold_of(&crowd, f->store, 10);
    register_one(&crowd);
    /* A rebuild that dies after it began to pause, its last step failing. */
    struct dw_store *dies = fault_store(open_store(f), FAULT_BEFORE, 3);
    struct dw_rebuild r = rebuild_of(&crowd, true);
    if (f->driver->place == IN_MEMORY) { /* another place altogether */
        dw_store_close(dies);
        crowd_end(&crowd);
        return;
    }
    r.store = r.walked = dies;
    dw_statistics_rebuild(&r);
    assert_true(fault_store_struck(dies));
    assert_int_equal(dw_fold_step(&fold, dw_now(), &cases), DW_OK);
    assert_int_equal(cases, 0);
    r = rebuild_of(&crowd, true);
    assert_int_equal(dw_statistics_rebuild(&r), DW_CONFLICT); /* another is at work */
    assert_int_equal(dw_fold_step(&fold, dw_now() + 2 * PAUSE_MS, &cases), DW_OK);
    assert_int_equal(cases, 1);
    assert_right(&crowd);
    /* One whose pause is over before it ends, as somebody counts meanwhile. */
    r = rebuild_of(&crowd, false);
    r.now = long_ago;
    assert_int_equal(dw_statistics_rebuild(&r), DW_OK);
    assert_int_equal(r.wrong, 0);
    dw_store_close(dies);
    crowd_end(&crowd);
}

/* ---- side by side ---- */

struct counting {
    struct dw_fold fold;
    atomic_bool *stop;
    int64_t cases;
};

static void *go_on_counting(void *arg)
{
    struct counting *c = arg;
    size_t cases;
    while (!*c->stop) {
        if (dw_fold_step(&c->fold, dw_now(), &cases) == DW_OK)
            c->cases += (int64_t)cases;
        usleep(1000);
    }
    return NULL;
}

static bool is_rebuilt(struct crowd *crowd, struct dw_store *walked)
{
    struct dw_rebuild r = rebuild_of(crowd, false);
    r.walked = walked;
    enum dw_result result = dw_statistics_rebuild(&r);
    assert_true(result == DW_OK || result == DW_CONFLICT || result == DW_UNCERTAIN);
    assert_int_equal(r.wrong, 0);
    return result == DW_OK;
}

TEST(several_count_while_cases_change_and_a_rebuild_goes_on)
{
    enum { COUNTING = 3 };
    struct fixture *f = *state;
    struct crowd crowd;
    struct counting counting[COUNTING];
    pthread_t threads[COUNTING];
    atomic_bool stop = false;
    if (f->driver->place == IN_MEMORY) /* which nobody else can open */
        return;
    crowd_begin(&crowd, f, f->store);
    for (int i = 0; i < COUNTING; i++) {
        counting[i] = (struct counting){.fold = fold_of(&crowd, open_store(f), 5), .stop = &stop};
        assert_int_equal(pthread_create(&threads[i], NULL, go_on_counting, &counting[i]), 0);
    }
    struct dw_store *walked = open_store(f);
    int all = of_driver(f, 60, 400);
    bool rebuilt = false;
    for (int i = 0; i < all; i++) {
        register_one(&crowd);
        if (i % (all / 6) == 0)
            rebuilt |= is_rebuilt(&crowd, walked);
        forget(&crowd);
    }
    for (int i = 0; !rebuilt && i < 1000; i++) /* those who count may always have been quicker */
        rebuilt = is_rebuilt(&crowd, walked);
    stop = true;
    int64_t cases = 0;
    for (int i = 0; i < COUNTING; i++) {
        pthread_join(threads[i], NULL);
        cases += counting[i].cases;
        dw_store_close(counting[i].fold.store);
    }
    assert_true(cases > 0);
    assert_true(rebuilt);
    struct dw_fold fold = fold_of(&crowd, f->store, 50);
    count_all(&crowd, &fold);
    assert_right(&crowd);
    assert_int_equal(shown(&crowd, "500000", "month", "registered"), crowd.registered);
    dw_store_close(walked);
    crowd_end(&crowd);
}

int main(void)
{
    static const struct promise all[] = {
        T(random_lives_counted_now_and_then_equal_a_rebuild),
        T(a_fault_at_any_write_counts_nothing_twice_and_leaves_nothing_out),
        T(a_case_that_only_stands_in_the_index_leaves_it),
        T(more_events_than_a_batch_may_add_are_counted_in_several),
        T(a_rebuild_finds_and_repairs_what_was_changed_lost_and_made_up),
        T(counting_pauses_for_a_rebuild_and_not_for_one_that_died),
        T(several_count_while_cases_change_and_a_rebuild_goes_on)};
    return run_on_every_driver(all, DW_COUNT(all));
}
