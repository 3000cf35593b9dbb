/* What only the SQLite driver can do wrong: its file. */
#include "unit.h"

#include "dw/store.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <unistd.h>

static enum dw_result open_file(const char *path, struct dw_store **store, struct dw_error *err)
{
    struct dw_config config;
    char uri[400];
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    dw_config_defaults(&config);
    dw_config_set(&config, "store.busy_ms", "60000"); /* a slow disk is not what is tested */
    *err = (struct dw_error){0};
    enum dw_result result = dw_store_open(uri, &config, store, err);
    dw_config_free(&config);
    return result;
}

TEST(a_foreign_damaged_or_newer_file_is_refused_with_what_to_do)
{
    char *folder = make_folder();
    char path[300], command[700];
    struct dw_store *store;
    struct dw_error err;
    snprintf(path, sizeof path, "%s/cases.db", folder);
    assert_int_equal(open_file(path, &store, &err), DW_OK);
    dw_store_close(store);
    snprintf(command, sizeof command, "sqlite3 %s 'PRAGMA user_version=99'", path);
    assert_int_equal(system(command), 0);
    assert_int_equal(open_file(path, &store, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "newer"));
    unlink(path);
    snprintf(command, sizeof command, "sqlite3 %s 'CREATE TABLE x(y)'", path);
    assert_int_equal(system(command), 0);
    assert_int_equal(open_file(path, &store, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "some other SQLite file"));
    FILE *out = fopen(path, "w");
    for (int i = 0; i < 200; i++)
        fputs("rubbish ", out);
    fclose(out);
    assert_int_equal(open_file(path, &store, &err), DW_INVALID);
    assert_int_equal(open_file("/nonexistent/x.db", &store, &err), DW_INVALID);
    rm_folder(folder);
}

TEST(durability_is_switched_on)
{
    char *folder = make_folder();
    char path[300];
    struct dw_store *store;
    struct dw_error err;
    sqlite3 *db;
    sqlite3_stmt *s;
    snprintf(path, sizeof path, "%s/cases.db", folder);
    assert_int_equal(open_file(path, &store, &err), DW_OK);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(s, 0), "wal");
    sqlite3_finalize(s);
    sqlite3_close(db);
    dw_store_close(store);
    rm_folder(folder);
}

/* The thread that moves the log holds the lock now and then, for as long as the disk takes. */
static enum dw_result ping_until_it_is_there(struct dw_store *store)
{
    enum dw_result result;
    for (int i = 0; (result = dw_store_ping(store)) == DW_RETRY && i < 1000; i++)
        continue;
    return result;
}

TEST(a_locked_file_is_a_store_that_is_away_and_comes_back)
{
    char *folder = make_folder();
    char path[300], uri[400];
    struct dw_config config;
    struct dw_store *store;
    struct dw_error err;
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/cases.db", folder);
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    dw_config_defaults(&config);
    dw_config_set(&config, "store.busy_ms", "50");
    assert_int_equal(dw_store_open(uri, &config, &store, &err), DW_OK);
    assert_int_equal(ping_until_it_is_there(store), DW_OK);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 60000);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(dw_store_ping(store), DW_RETRY);
    struct dw_store_audit entry = {"staff", 1, dw_slice_of("entry")};
    struct dw_store_step step = {.audit = &entry, .audit_count = 1};
    struct dw_store_step *steps[] = {&step};
    dw_store_apply(store, steps, 1);
    assert_int_equal(step.outcome, DW_RETRY);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(ping_until_it_is_there(store), DW_OK);
    for (int i = 0; i < 1000 && step.outcome == DW_RETRY; i++)
        dw_store_apply(store, steps, 1);
    assert_int_equal(step.outcome, DW_OK);
    sqlite3_close(db);
    dw_store_close(store);
    dw_config_free(&config);
    rm_folder(folder);
}

/* ---- once a day ---- */

enum { CASES = 300 };

static void id_of(uint8_t id[16], int n, bool object)
{
    uint64_t seed = (uint64_t)n;
    for (int i = 0; i < 16; i++)
        id[i] = (uint8_t)test_random(&seed);
    if (object)
        id[15] ^= 1;
}

static void put_case(struct dw_store *store, int n, int64_t version)
{
    const char *body = "500108";
    uint8_t bytes[6000];
    memset(bytes, n, sizeof bytes);
    struct dw_case_index ix = {.bodies = &body, .bodies_count = 1, .reference = "", .state = "",
                               .kind = "", .against = "", .district = "", .assignee = "",
                               .body = body, .due_rule = "", .open = true, .due = n};
    struct dw_store_object object = {.bytes = DW_SLICE(bytes, sizeof bytes)};
    struct dw_store_step step = {.with_case = true, .old_version = version - 1, .version = version,
                                 .doc = dw_slice_of("a case"), .ix = &ix,
                                 .objects = &object, .objects_count = version == 1};
    struct dw_store_step *steps[] = {&step};
    id_of(step.case_id, n, false);
    id_of(object.id, n, true);
    dw_store_apply(store, steps, 1);
    assert_int_equal(step.outcome, DW_OK);
}

static void assert_case(struct dw_store *store, int n, int64_t version)
{
    uint8_t id[16];
    struct dw_store_case found;
    DW_AUTO_BUF doc = {0}, bytes = {0};
    dw_buf_init(&doc, 1000);
    dw_buf_init(&bytes, 10000);
    id_of(id, n, false);
    assert_int_equal(dw_store_case(store, id, &doc, &found), DW_OK);
    assert_int_equal(found.version, version);
    id_of(id, n, true);
    assert_int_equal(dw_store_object(store, id, 0, &bytes), DW_OK);
    assert_int_equal(bytes.len, 6000);
    assert_int_equal(bytes.data[0], (uint8_t)n);
}

static int64_t ask(const char *path, const char *question)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 60000);
    assert_int_equal(sqlite3_prepare_v2(db, question, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return v;
}

static int tidy_all(struct dw_store *store)
{
    int64_t at = 0;
    int steps = 0;
    do {
        assert_int_equal(dw_store_tidy(store, &at), DW_OK);
        assert_true(++steps < 1000);
    } while (at);
    return steps;
}

static const char in_order[] = "SELECT (SELECT count(*) FROM cases WHERE n < 1 << 40) +"
                               " (SELECT count(*) FROM objects WHERE n < 1 << 40)";

TEST(a_tidy_store_does_not_tell_in_which_order_cases_came)
{
    char *folder = make_folder();
    char path[300];
    struct dw_store *store;
    struct dw_error err;
    snprintf(path, sizeof path, "%s/cases.db", folder);
    assert_int_equal(open_file(path, &store, &err), DW_OK);
    for (int n = 1; n <= CASES; n++)
        put_case(store, n, 1);
    assert_int_equal(ask(path, in_order), 2 * CASES);
    assert_true(tidy_all(store) > 2 * CASES / 64); /* a little at a time */
    assert_int_equal(ask(path, in_order), 0);
    assert_int_equal(ask(path, "SELECT count(*) FROM places WHERE slot <> n"), 0);
    for (int n = 1; n <= CASES; n++)
        assert_case(store, n, 1);
    assert_int_equal(tidy_all(store), 1); /* nothing is left to do */
    for (int n = 1; n <= 3; n++)
        put_case(store, n, 2);
    put_case(store, CASES + 1, 1);
    assert_int_equal(ask(path, in_order), 2);
    for (int n = 1; n <= CASES + 1; n++)
        assert_case(store, n, n <= 3 ? 2 : 1);
    assert_int_equal(ask(path, "SELECT count(*) FROM work"), CASES + 1);
    tidy_all(store);
    assert_int_equal(ask(path, in_order), 0);
    assert_case(store, CASES + 1, 1);
    dw_store_close(store);
    rm_folder(folder);
}

/* Another case worker at the same file. */
struct neighbour {
    struct dw_store *store;
    atomic_bool stopping;
    atomic_int passes;
};

static void *tidy_beside(void *arg)
{
    struct neighbour *n = arg;
    int64_t at = 0;
    while (!n->stopping) {
        dw_store_tidy(n->store, &at);
        n->passes += at == 0;
        usleep(500); /* it leaves others their turn */
    }
    return NULL;
}

TEST(a_case_that_another_worker_moves_is_found_at_any_moment)
{
    char *folder = make_folder();
    char path[300];
    struct neighbour neighbour = {.store = NULL};
    struct dw_store *store;
    struct dw_error err;
    pthread_t thread;
    snprintf(path, sizeof path, "%s/cases.db", folder);
    assert_int_equal(open_file(path, &store, &err), DW_OK);
    assert_int_equal(open_file(path, &neighbour.store, &err), DW_OK);
    assert_int_equal(pthread_create(&thread, NULL, tidy_beside, &neighbour), 0);
    for (int n = 1; n <= CASES; n++) {
        put_case(store, n, 1);
        for (int i = 0; i < 40; i++) /* it is moved meanwhile */
            assert_case(store, n, 1);
    }
    for (int seen = neighbour.passes; neighbour.passes < seen + 2;)
        usleep(1000);
    neighbour.stopping = true;
    pthread_join(thread, NULL);
    dw_store_close(neighbour.store);
    assert_int_equal(ask(path, in_order), 0);
    dw_store_close(store);
    rm_folder(folder);
}

RUN(cmocka_unit_test(a_case_that_another_worker_moves_is_found_at_any_moment),
    cmocka_unit_test(a_tidy_store_does_not_tell_in_which_order_cases_came),
    cmocka_unit_test(a_foreign_damaged_or_newer_file_is_refused_with_what_to_do),
    cmocka_unit_test(durability_is_switched_on),
    cmocka_unit_test(a_locked_file_is_a_store_that_is_away_and_comes_back))
