/* The store's file when its process is killed at any call to the disk, and then the power goes.
 *
 * What a reader has found once may be answered for: the queue forgets a filing whose case is there.
 * So it must stay, even where it was found by a process that came after the one that wrote it. */
#include "../unit/unit.h"

#include "../support/disk.h"
#include "dw/checkpoint.h"
#include "dw/store.h"

#include <sqlite3.h>

enum { CALLS_MAX = 200 };

/* No thread: between two calls here nothing happens. */
struct dw_checkpointer {
    int unused;
};
struct dw_checkpointer *__wrap_dw_checkpointer_start(const char *path,
                                                     void (*failed)(void *arg, const char *what),
                                                     void *arg);
struct dw_checkpointer *__wrap_dw_checkpointer_start(const char *path,
                                                     void (*failed)(void *arg, const char *what),
                                                     void *arg)
{
    return dw_alloc(sizeof(struct dw_checkpointer));
}

void __wrap_dw_checkpointer_stop(struct dw_checkpointer *c);
void __wrap_dw_checkpointer_stop(struct dw_checkpointer *c)
{
    dw_free(c);
}

static struct dw_store *open_store(void)
{
    struct dw_config config;
    struct dw_store *store = NULL;
    struct dw_error err;
    dw_config_defaults(&config);
    if (dw_store_open("sqlite:/no-such-folder/cases.db", &config, &store, &err) != DW_OK)
        store = NULL;
    dw_config_free(&config);
    return store;
}

static enum dw_result put(struct dw_store *store)
{
    const char *body = "500108";
    struct dw_case_index ix = {.bodies = &body,
                               .bodies_count = 1,
                               .reference = "",
                               .state = "",
                               .kind = "",
                               .against = "",
                               .district = "",
                               .assignee = "",
                               .body = body,
                               .due_rule = ""};
    struct dw_store_step step = {
        .with_case = true, .case_id = {1}, .version = 1, .doc = dw_slice_of("a case"), .ix = &ix};
    struct dw_store_step *steps[] = {&step};
    dw_store_apply(store, steps, 1);
    return step.outcome;
}

static enum dw_result find(struct dw_store *store)
{
    static const uint8_t id[16] = {1};
    struct dw_store_case c;
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX);
    return dw_store_case(store, id, &doc, &c);
}

struct calls {
    int count, fails_at;
    bool killed; /* else the call fails */
};

static int judge(void *arg, enum disk_call call, const char *path, int64_t offset, size_t len)
{
    struct calls *c = arg;
    if (call == DISK_READ || call == DISK_OPEN || ++c->count != c->fails_at)
        return SQLITE_OK;
    if (c->killed)
        disk_kill(1);
    return SQLITE_IOERR;
}

/* One case is written, and the process ends at that call; false: it had none left. */
static bool strike(int fails_at, bool killed, int *found)
{
    struct calls calls = {.fails_at = fails_at, .killed = killed};
    disk_reset((uint64_t)fails_at);
    disk_use_process(1);
    struct dw_store *store = open_store();
    assert_non_null(store);
    disk_use_judge(judge, &calls);
    enum dw_result outcome = put(store);
    int64_t at = 0;
    (void)dw_store_tidy(store, &at); /* which moves the row: it is there at any moment */
    disk_use_judge(NULL, NULL);
    disk_kill(1);
    dw_store_close(store);
    if (calls.count < fails_at)
        return false;
    assert_non_null((store = open_store()));
    enum dw_result seen = find(store);
    assert_true(seen == DW_OK || (outcome != DW_OK && seen == DW_NOT_FOUND));
    disk_crash(DISK_DROPS);
    dw_store_close(store);
    assert_non_null((store = open_store()));
    *found += seen == DW_OK;
    if (seen == DW_OK && find(store) != DW_OK)
        fail_msg("call %d: what was found is gone when the power goes", fails_at);
    dw_store_close(store);
    return true;
}

TEST(what_was_found_after_a_kill_stays)
{
    int found = 0;
    for (int at = 1; strike(at, true, &found); at++)
        assert_in_range(at, 1, CALLS_MAX);
    assert_true(found > 0);
}

TEST(what_was_found_after_a_call_that_failed_stays)
{
    int found = 0;
    for (int at = 1; strike(at, false, &found); at++)
        assert_in_range(at, 1, CALLS_MAX);
    assert_true(found > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_found_after_a_kill_stays),
        cmocka_unit_test(what_was_found_after_a_call_that_failed_stays),
    };
    disk_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
