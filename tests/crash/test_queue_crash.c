/* The queue's file on a disk that loses power, fails or is full at any call.
 *
 * A script of operations runs once undisturbed; what the file holds after each transaction is kept.
 * Then it runs again and again, each time with one call to the disk that does not come back or
 * comes back with an error.  The file, opened again, must hold what it held after the last
 * transaction that was reported, or after the one that was under way: nothing lost, nothing
 * doubled, nothing halved. */
#include "../unit/unit.h"

#include "../support/disk.h"
#include "../support/ending.h"
#include "queue_private.h"

enum {
    /* CRASH_POINTS at least, at each CRASH_STRIDE-th call: tests/sim.cmake says how many. */
    BUG_POINTS = 500,    /* after which a deliberate bug must have been found */
    MEMORY_POINTS = 400, /* about, in opening and in the script each */
    STEPS = 40,          /* transactions of one script */
    IDS = 12,
    CALLS_MAX = 4000, /* of one script to the disk, but for reading */
    OPENING = 60,     /* so many of them make the file; other scripts need not try them again */
    EVERY = 7,        /* call that is not a sync is a crash point too */
};

static const char *const PATH = "/no-such-folder/queue.db"; /* only the disk in memory has it */
static const dw_time NOW = 1790000000000;

/* ---- a script, which follows from its seed ---- */

struct step {
    enum dw_queue_kind kind;
    bool checkpoint;
    int id, n;
};

static struct step step_of(uint64_t *random, int at)
{
    static const enum dw_queue_kind kinds[] = {DW_QUEUE_CLOSE, DW_QUEUE_CLOSE, DW_QUEUE_PART,
                                               DW_QUEUE_CLAIM, DW_QUEUE_CLAIM, DW_QUEUE_DONE,
                                               DW_QUEUE_LATER, DW_QUEUE_DEAD,  DW_QUEUE_SWEEP,
                                               DW_QUEUE_ASK,   DW_QUEUE_REPLY, DW_QUEUE_FORGET};
    struct step s = {.id = 1 + (int)(test_random(random) % IDS),
                     .n = (int)(test_random(random) % 5)};
    s.checkpoint = test_random(random) % 9 == 0;
    s.kind = at < 4 ? DW_QUEUE_CLOSE : kinds[test_random(random) % DW_COUNT(kinds)];
    return s;
}

/* The lease an operation speaks of is the last that was handed out for its item. */
struct run {
    struct dw_config config;
    struct dw_queue *queue;
    uint64_t seed;
    uint64_t fences[IDS + 1];
    int asked;
    uint64_t asked_fence;
    char *after[STEPS + 1]; /* of the undisturbed run: what the file held after so many steps */
    int done;               /* steps that were reported */
    int refused;            /* the first step that was answered 503; -1 for none */
    bool opened;
    bool ack_first, without_sync, lies; /* deliberate bugs */
    struct dw_error err;
};

/* Of an item that somebody has, if there is one. */
static void name_a_lease(struct run *r, struct dw_queue_op *op)
{
    for (int i = 0; i < IDS && !op->fence; i++) {
        int id = 1 + (op->id[0] + i) % IDS;
        memset(op->id, id, sizeof op->id);
        op->fence = r->fences[id];
    }
    r->fences[op->id[0]] = 0;
}

static struct dw_queue_op *op_of(struct run *r, const struct step *s)
{
    struct dw_queue_op *op = dw_queue_op_new(s->kind, NOW + r->done * 1000);
    size_t len = s->kind == DW_QUEUE_PART || s->n == 4 ? 9000 : 60;
    char *bytes = dw_alloc(len);
    memset(bytes, 'a' + s->id, len);
    struct dw_slice frames[] = {dw_slice_of("header"), DW_SLICE(bytes, len)};
    bool asks = s->kind == DW_QUEUE_ASK || s->kind == DW_QUEUE_REPLY || s->kind == DW_QUEUE_FORGET;
    if (s->kind == DW_QUEUE_ASK)
        r->asked = r->done; /* the broker gives each request an id of its own */
    memset(op->id, asks ? 0x80 + r->asked : s->id, sizeof op->id);
    snprintf(op->service, sizeof op->service, "%s",
             asks || (s->kind == DW_QUEUE_CLAIM && s->n > 2) ? "weather" : "filing");
    op->fence = asks ? r->asked_fence : r->fences[s->id];
    if (s->kind == DW_QUEUE_DONE || s->kind == DW_QUEUE_LATER || s->kind == DW_QUEUE_DEAD)
        name_a_lease(r, op);
    op->n = s->kind == DW_QUEUE_CLAIM ? 2 : (uint32_t)s->n % 2;
    op->at = NOW + s->n * 2000;
    op->counted = s->n % 2;
    snprintf(op->reason, sizeof op->reason, "because");
    if (s->kind == DW_QUEUE_CLOSE) {
        memset(op->header.id, s->id, DW_ID_LEN);
        memset(op->header.handle, 0x40 + s->id, DW_ID_LEN);
        memset(op->header.tok, s->id, DW_ID_LEN);
        memset(op->header.fp, s->id, DW_FP_LEN);
        op->header.klass = s->id % 2;
        snprintf(op->header.service, sizeof op->header.service, "filing");
    }
    if (s->kind == DW_QUEUE_PART)
        op->frames = dw_frames_copy(frames + 1, 1);
    else if (s->kind == DW_QUEUE_CLOSE || asks)
        op->frames = dw_frames_copy(frames, 2);
    dw_free(bytes);
    return op;
}

/* As the thread that moves the log into the file does it, on a connection of its own. */
static void checkpoint(bool cut)
{
    sqlite3 *db;
    if (sqlite3_open_v2(PATH, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
        sqlite3_wal_checkpoint_v2(
            db, NULL, cut ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    sqlite3_close(db);
}

static enum dw_queue_kind doing;
static struct dw_queue_op *running; /* to be freed where the process ended in the middle */

static void do_step(struct run *r, const struct step *s)
{
    doing = s->kind;
    if (s->checkpoint) {
        doing = DW_QUEUE_ADMIN; /* stands for the checkpoint in the count of hits */
        checkpoint(s->n % 2);
        return;
    }
    running = op_of(r, s);
    r->done += r->ack_first;
    dw_queue_run(r->queue, running);
    r->done -= r->ack_first;
    if (running->status == 503)
        r->refused = r->done;
    for (size_t i = 0; i < running->items_count; i++) {
        const struct dw_queue_item *item = &running->items[i];
        if (item->id[0] <= IDS) {
            r->fences[item->id[0]] = item->fence;
        } else {
            r->asked = item->id[0] - 0x80;
            r->asked_fence = item->fence;
        }
    }
    dw_queue_op_free(running);
    running = NULL;
}

/* What the file holds, a crash having voided the leases. */
static char *held(struct dw_queue *q)
{
    static const char *const questions[] = {
        "SELECT hex(id), service, class, hex(handle), hex(attempt), parts, bytes, day, created,"
        " CASE state WHEN 1 THEN 0 ELSE state END, fence, attempts, delays, next_at, reason,"
        " hex(body), origin, expires FROM items ORDER BY id",
        "SELECT hex(attempt), n, hex(bytes) FROM parts ORDER BY attempt, n",
        "SELECT hex(attempt), bytes, at FROM open ORDER BY attempt",
        "SELECT hex(tok), hex(fp), until FROM seen ORDER BY tok",
        "SELECT hex(id), bytes, expires, hex(body) FROM replies ORDER BY id",
        "PRAGMA integrity_check"};
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 4000000);
    for (size_t i = 0; i < DW_COUNT(questions); i++) {
        sqlite3_stmt *s;
        if (sqlite3_prepare_v2(q->db, questions[i], -1, &s, NULL) != SQLITE_OK)
            return dw_strdup(sqlite3_errmsg(q->db));
        while (sqlite3_step(s) == SQLITE_ROW) {
            for (int c = 0; c < sqlite3_column_count(s); c++)
                dw_buf_printf(&out, "%s ", (const char *)sqlite3_column_text(s, c));
            dw_buf_str(&out, "\n");
        }
        sqlite3_finalize(s);
    }
    return dw_strdup(dw_buf_text(&out));
}

static void open_run(struct run *r)
{
    r->opened = dw_queue_open_still(PATH, &r->config, &r->queue, &r->err) == DW_OK;
    if (r->opened && r->without_sync)
        sqlite3_exec(r->queue->db, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
}

/* Up to its end, the first refusal, or wherever the disk stops it. */
static void run_script(void *arg)
{
    struct run *r = arg;
    uint64_t random = r->seed;
    open_run(r);
    while (r->opened && r->done < STEPS && r->refused < 0) {
        struct step s = step_of(&random, r->done);
        do_step(r, &s);
        if (r->refused < 0)
            r->done++;
    }
}

static struct run start(uint64_t seed)
{
    struct run r = {.seed = seed, .refused = -1};
    dw_config_defaults(&r.config);
    r.config.queue.reserve_bytes = 0; /* that is a real file; here the disk itself says no */
    r.config.queue.max_attempts = 3;
    disk_reset(seed);
    return r;
}

static void close_run(struct run *r)
{
    if (r->opened)
        dw_queue_close(r->queue);
    r->opened = false;
    dw_queue_op_free(running);
    running = NULL;
}

static void end(struct run *r)
{
    close_run(r);
    dw_config_free(&r->config);
}

/* ---- the undisturbed run ---- */

struct calls {
    long count, fails_at;
    bool to_the_end; /* every call from then on fails too */
    bool reads;      /* reading counts too */
    bool memory;     /* it is SQLite's calls for memory that are counted and fail */
    int error;       /* 0: the power goes */
    enum disk_loss loss;
    bool struck, sync;
    enum dw_queue_kind hit; /* what was being done when it struck */
    uint8_t *syncs;         /* which of the calls were one, where that is asked */
};

/* Counts a call: is it one that fails? */
static bool fails(struct calls *c)
{
    c->count++;
    if (c->count != c->fails_at && !(c->struck && c->to_the_end))
        return false;
    if (!c->struck)
        c->hit = doing;
    return c->struck = true;
}

static int judge(void *arg, enum disk_call call, const char *path, int64_t offset, size_t len)
{
    struct calls *c = arg;
    if (!c->reads && (call == DISK_READ || call == DISK_OPEN))
        return SQLITE_OK;
    if (c->syncs && c->count + 1 < CALLS_MAX)
        c->syncs[c->count + 1] = call == DISK_SYNC;
    if (!fails(c))
        return SQLITE_OK;
    c->sync = call == DISK_SYNC;
    if (!c->error)
        disk_crash(c->loss);
    else if (c->error == SQLITE_FULL)
        return call == DISK_WRITE ? SQLITE_FULL : SQLITE_OK;
    return SQLITE_IOERR;
}

static struct run reference(uint64_t seed)
{
    struct run r = start(seed);
    uint64_t random = seed;
    open_run(&r);
    assert_true(r.opened);
    r.after[0] = held(r.queue);
    while (r.done < STEPS) {
        struct step s = step_of(&random, r.done);
        do_step(&r, &s);
        r.after[++r.done] = held(r.queue);
        assert_non_null(strstr(r.after[r.done], "ok \n"));
    }
    close_run(&r);
    return r;
}

static void end_reference(struct run *r)
{
    for (int i = 0; i <= STEPS; i++)
        dw_free(r->after[i]);
    end(r);
}

static long calls_of(uint64_t seed, bool reads, uint8_t *syncs)
{
    struct calls calls = {.fails_at = -1, .reads = reads, .syncs = syncs};
    struct run r = start(seed);
    disk_use_judge(judge, &calls);
    assert_int_equal(ending_of(run_script, &r), 0);
    assert_int_equal(r.done, STEPS);
    disk_use_judge(NULL, NULL);
    end(&r);
    return calls.count;
}

/* ---- after it ---- */

/* Takes everything out: what is there can be worked on. */
static bool drains(struct dw_queue *q)
{
    static const char *const services[] = {"filing", "weather"};
    bool ok = true;
    for (int round = 0; round < 2 * IDS && ok; round++) {
        struct dw_queue_op *claim = dw_queue_op_new(DW_QUEUE_CLAIM, NOW + 4000000);
        claim->n = 32;
        snprintf(claim->service, sizeof claim->service, "%s", services[round % 2]);
        dw_queue_run(q, claim);
        for (size_t i = 0; i < claim->items_count; i++) {
            struct dw_queue_op *done = dw_queue_op_new(DW_QUEUE_DONE, NOW + 4000000);
            memcpy(done->id, claim->items[i].id, DW_ID_LEN);
            done->fence = claim->items[i].fence;
            dw_queue_run(q, done);
            ok &= done->status == 200;
            dw_queue_op_free(done);
        }
        ok &= claim->status == 200;
        dw_queue_op_free(claim);
    }
    return ok && q->totals.items - q->totals.states[DEAD] == 0;
}

/* NULL when the file is right, else what is wrong with it. */
static const char *wrong_after(const struct run *reference_run, struct run *r)
{
    const char *wrong = NULL;
    int done = r->done;
    close_run(r);
    disk_use_judge(NULL, NULL);
    r->without_sync = false;
    open_run(r);
    if (!r->opened)
        return "it cannot be opened again";
    char *now = held(r->queue);
    bool as_before = strcmp(now, reference_run->after[done]) == 0;
    bool as_after = done < STEPS && strcmp(now, reference_run->after[done + 1]) == 0;
    if (!as_before && (!as_after || r->refused >= 0))
        wrong = "it holds something else than what was reported";
    else if (!drains(r->queue))
        wrong = "what it holds cannot be worked on";
    dw_free(now);
    close_run(r);
    return wrong;
}

/* ---- loss of power ---- */

struct hits {
    long points, wrong, syncs;
    long by_kind[DW_QUEUE_ADMIN + 1];
};

static void strike(const struct run *ref, struct calls calls, struct hits *hits,
                   const struct run *bugs)
{
    struct run r = start(ref->seed);
    r.ack_first = bugs->ack_first;
    r.without_sync = bugs->without_sync;
    disk_lies(bugs->lies);
    disk_use_judge(judge, &calls);
    ending_of(run_script, &r);
    if (calls.struck) {
        const char *wrong;
        hits->points++;
        hits->syncs += calls.sync;
        hits->by_kind[calls.hit]++;
        if ((wrong = wrong_after(ref, &r))) {
            if (!hits->wrong)
                print_message("script %llu, call %ld, %s: %s\n", (unsigned long long)r.seed,
                              calls.fails_at, disk_loss_names[calls.loss], wrong);
            hits->wrong++;
        }
    }
    disk_use_judge(NULL, NULL);
    end(&r);
}

/* Every sync of script after script with every kind of loss, and some of the calls between, until so
 * many points, or until something is wrong. */
static struct hits campaign(long points, const struct run *bugs)
{
    static uint8_t syncs[CALLS_MAX];
    struct hits hits = {0};
    for (uint64_t seed = 1; hits.points < points && !hits.wrong; seed++) {
        struct run ref = reference(seed);
        long calls = calls_of(seed, false, syncs);
        assert_true(calls < CALLS_MAX);
        for (long at = seed == 1 ? 1 : OPENING; at <= calls && hits.points < points && !hits.wrong;
             at += CRASH_STRIDE)
            for (int loss = DISK_KEEPS; loss < DISK_LOSSES; loss++)
                if (syncs[at] || at % EVERY == loss)
                    strike(&ref, (struct calls){.fails_at = at, .loss = (enum disk_loss)loss},
                           &hits, bugs);
        end_reference(&ref);
    }
    return hits;
}

TEST(nothing_reported_is_lost_when_the_power_goes)
{
    struct hits hits = campaign(CRASH_POINTS, &(struct run){0});
    print_message("%ld crash points, %ld of them at a sync; while closing %ld, claiming %ld, "
                  "finishing %ld, making dead letters %ld, moving the log %ld\n",
                  hits.points, hits.syncs, hits.by_kind[DW_QUEUE_CLOSE],
                  hits.by_kind[DW_QUEUE_CLAIM], hits.by_kind[DW_QUEUE_DONE],
                  hits.by_kind[DW_QUEUE_DEAD], hits.by_kind[DW_QUEUE_ADMIN]);
    assert_int_equal(hits.wrong, 0);
    assert_true(hits.points >= CRASH_POINTS);
    assert_true(hits.by_kind[DW_QUEUE_CLOSE] && hits.by_kind[DW_QUEUE_CLAIM]);
    assert_true(hits.by_kind[DW_QUEUE_DONE] && hits.by_kind[DW_QUEUE_DEAD]);
    assert_true(hits.by_kind[DW_QUEUE_ADMIN] && hits.syncs);
}

/* ---- the check can fail ---- */

TEST(a_queue_without_sync_is_found_out)
{
    assert_true(campaign(BUG_POINTS, &(struct run){.without_sync = true}).wrong > 0);
}

TEST(a_queue_that_reports_before_it_commits_is_found_out)
{
    assert_true(campaign(BUG_POINTS, &(struct run){.ack_first = true}).wrong > 0);
}

TEST(a_disk_that_lies_is_found_out)
{
    assert_true(campaign(BUG_POINTS, &(struct run){.lies = true}).wrong > 0);
}

/* ---- a call that fails ---- */

/* SQLite's; ours ends the process, which is a crash like others (dw/bytes.h). */
static struct {
    sqlite3_mem_methods real;
    struct calls *calls; /* NULL: nobody counts */
} memory;

static void *take(int len)
{
    return memory.calls && fails(memory.calls) ? NULL : memory.real.xMalloc(len);
}

static void *resize(void *old, int len)
{
    return memory.calls && fails(memory.calls) ? NULL : memory.real.xRealloc(old, len);
}

static void watch_memory(void)
{
    bool watched = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory.real) == SQLITE_OK;
    sqlite3_mem_methods ours = memory.real;
    ours.xMalloc = take;
    ours.xRealloc = resize;
    if (!watched || sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) != SQLITE_OK)
        abort(); /* SQLite was used before */
}

struct outcomes {
    long ended, refused, not_opened, went_on;
};

static const char *unpromised(const struct run *r, const struct calls *c, int code)
{
    if (code != 0 && code != 70)
        return "it ended otherwise than with 70";
    if (!r->opened && !code && !strstr(r->err.text, PATH))
        return "it was not opened, and did not say which file";
    if (code == 0 && r->opened && r->refused < 0 && r->done < STEPS)
        return "it stopped without a word";
    if (c->sync && c->error == SQLITE_IOERR && c->hit != DW_QUEUE_ADMIN && r->done == STEPS)
        return "it went on after a sync that failed";
    if (c->error == SQLITE_FULL && code != 0)
        return "it ended because the disk was full";
    return NULL;
}

static void fail_at(const struct run *ref, struct calls calls, struct outcomes *outcomes)
{
    struct run r = start(ref->seed);
    if (calls.memory)
        memory.calls = &calls;
    else
        disk_use_judge(judge, &calls);
    int code = ending_of(run_script, &r);
    memory.calls = NULL;
    disk_use_judge(NULL, NULL);
    const char *wrong = unpromised(&r, &calls, code);
    outcomes->ended += code != 0;
    outcomes->not_opened += !code && !r.opened;
    outcomes->refused += r.refused >= 0;
    outcomes->went_on += r.done == STEPS;
    if (code) /* a process that ends */
        disk_crash(DISK_KEEPS);
    if (!wrong)
        wrong = wrong_after(ref, &r);
    if (wrong)
        print_message("call %ld%s, error %d%s: %s (%s)\n", calls.fails_at,
                      calls.memory ? " for memory" : "", calls.error,
                      calls.to_the_end ? ", to the end" : "", wrong, r.err.text);
    assert_null(wrong);
    end(&r);
}

static void sweep(int error, bool to_the_end, bool reads)
{
    struct run ref = reference(7);
    struct outcomes o = {0};
    long calls = calls_of(7, reads, NULL);
    for (long at = calls + 1; at >= 1; at -= CRASH_STRIDE)
        fail_at(&ref,
                (struct calls){
                    .fails_at = at, .error = error, .to_the_end = to_the_end, .reads = reads},
                &o);
    print_message("%ld calls: ended %ld, refused %ld, not opened %ld, went on %ld\n", calls,
                  o.ended, o.refused, o.not_opened, o.went_on);
    assert_true(o.went_on > 0); /* the first of them was not reached */
    assert_true(error == SQLITE_FULL ? o.refused > 0 : o.ended > 0);
    end_reference(&ref);
}

TEST(a_call_that_fails_ends_the_process_or_refuses)
{
    sweep(SQLITE_IOERR, false, true);
}

TEST(a_disk_that_fails_from_some_call_on_ends_the_process)
{
    sweep(SQLITE_IOERR, true, true);
}

TEST(a_full_disk_refuses_and_loses_nothing)
{
    sweep(SQLITE_FULL, false, false);
    sweep(SQLITE_FULL, true, false);
}

/* ---- memory that runs out ---- */

static void open_it(void *arg)
{
    open_run(arg);
}

static long times_memory(void (*what)(void *arg))
{
    struct run r = start(7);
    struct calls calls = {.fails_at = -1};
    memory.calls = &calls;
    assert_int_equal(ending_of(what, &r), 0);
    memory.calls = NULL;
    end(&r);
    return calls.count;
}

TEST(memory_that_runs_out_loses_nothing)
{
    struct run ref = reference(7);
    long opening = times_memory(open_it), all = times_memory(run_script);
    for (int to_the_end = 0; to_the_end < 2; to_the_end++) {
        struct outcomes o = {0};
        for (long at = all + 1, stride; at >= 1; at -= stride) {
            stride = 1 + (at > opening ? all - opening : opening) * CRASH_STRIDE / MEMORY_POINTS;
            fail_at(&ref, (struct calls){.fails_at = at, .to_the_end = to_the_end, .memory = true}, &o);
        }
        print_message("%ld times memory, %ld of them to open: ended %ld, refused %ld, not opened %ld, "
                      "went on %ld\n", all, opening, o.ended, o.refused, o.not_opened, o.went_on);
        assert_true(o.went_on > 0 && o.ended + o.refused > 0);
    }
    end_reference(&ref);
}

/* ---- files that are not right ---- */

/* How many it holds, or -1 when it is refused with the file and what to do. */
static long items_of_file(const void *bytes, size_t len)
{
    struct run r = start(1);
    if (bytes)
        disk_set_file(PATH, bytes, len);
    int code = ending_of(open_it, &r);
    long items = -1;
    if (code)
        assert_int_equal(code, 70);
    else if (r.opened)
        items = r.queue->totals.items;
    else
        assert_non_null(strstr(r.err.text, PATH));
    if (!code && !r.opened)
        assert_true(strstr(r.err.text, "set it aside") || strstr(r.err.text, "install") ||
                    strstr(r.err.text, "expected a queue") ||
                    strstr(r.err.text, "look at its disk") ||
                    strstr(r.err.text, "cannot be opened"));
    end(&r);
    return items;
}

/* A file with items and an empty log. */
static uint8_t *good_file(size_t *len, long *items)
{
    struct run r = start(3);
    open_run(&r);
    for (int i = 1; i <= IDS; i++) {
        struct step s = {.kind = DW_QUEUE_CLOSE, .id = i, .n = 4};
        do_step(&r, &s);
    }
    *items = r.queue->totals.items;
    close_run(&r);
    const uint8_t *bytes = disk_file(PATH, len);
    uint8_t *copy = dw_alloc(*len);
    memcpy(copy, bytes, *len);
    end(&r);
    return copy;
}

TEST(a_file_cut_short_is_refused)
{
    size_t len;
    long items;
    uint8_t *file = good_file(&len, &items);
    assert_int_equal(items, IDS);
    assert_int_equal(items_of_file(file, len), IDS);
    assert_int_equal(items_of_file(file, 0), 0); /* nothing at all is a new queue */
    for (size_t n = 1; n < len; n += n < 600 ? 1 : 509)
        assert_int_equal(items_of_file(file, n), -1);
    assert_int_equal(items_of_file(file, len - 1), -1);
    dw_free(file);
}

TEST(garbage_of_any_length_is_refused)
{
    uint8_t bytes[2048];
    uint64_t random = 5;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)test_random(&random);
    for (size_t n = 1; n <= sizeof bytes; n++)
        assert_int_equal(items_of_file(bytes, n), -1);
}

TEST(another_kind_of_file_and_a_newer_one_are_refused)
{
    enum { USER_VERSION = 60, APPLICATION = 68 }; /* where SQLite's header has them */
    size_t len;
    long items;
    uint8_t *file = good_file(&len, &items);
    file[USER_VERSION + 3] += 1;
    assert_int_equal(items_of_file(file, len), -1);
    file[USER_VERSION + 3] -= 1;
    file[APPLICATION] ^= 1;
    assert_int_equal(items_of_file(file, len), -1);
    file[APPLICATION] ^= 1;
    assert_int_equal(items_of_file(file, len), IDS);
    dw_free(file);
}

/* Some bytes are free to be anything; none may bring the process down otherwise than promised. */
TEST(a_flipped_bit_anywhere_is_survived)
{
    size_t len;
    long items, refused = 0;
    uint8_t *file = good_file(&len, &items);
    for (size_t at = 0; at < len; at += at < 4096 ? 7 : 61) {
        file[at] ^= (uint8_t)(1u << at % 8);
        refused += items_of_file(file, len) < 0;
        file[at] ^= (uint8_t)(1u << at % 8);
    }
    assert_true(refused > 0);
    dw_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_reported_is_lost_when_the_power_goes),
        cmocka_unit_test(a_queue_without_sync_is_found_out),
        cmocka_unit_test(a_queue_that_reports_before_it_commits_is_found_out),
        cmocka_unit_test(a_disk_that_lies_is_found_out),
        cmocka_unit_test(a_call_that_fails_ends_the_process_or_refuses),
        cmocka_unit_test(a_disk_that_fails_from_some_call_on_ends_the_process),
        cmocka_unit_test(a_full_disk_refuses_and_loses_nothing),
        cmocka_unit_test(memory_that_runs_out_loses_nothing),
        cmocka_unit_test(a_file_cut_short_is_refused),
        cmocka_unit_test(garbage_of_any_length_is_refused),
        cmocka_unit_test(another_kind_of_file_and_a_newer_one_are_refused),
        cmocka_unit_test(a_flipped_bit_anywhere_is_survived),
    };
    watch_memory();
    disk_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
