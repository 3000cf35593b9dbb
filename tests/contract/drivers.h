/* drivers.h - the drivers that one contract is for, and a store of each to try it on. */
#ifndef DW_TESTS_DRIVERS_H
#define DW_TESTS_DRIVERS_H

#include "../unit/unit.h"

#include "careful_store.h"
#include "fault_store.h"

#include "dw/store.h"

#include <mongoc/mongoc.h>
#include <sodium.h>
#include <sqlite3.h>
#include <unistd.h>

enum place { IN_MEMORY, ON_DISK, AT_SERVER };
static const struct driver {
    const char *name;
    enum place place;
} drivers[] = {{"sqlite in memory", IN_MEMORY},
               {"sqlite on disk", ON_DISK},
               {"mongodb", AT_SERVER}};

struct fixture {
    const struct driver *driver;
    char *folder;
    struct dw_config config;
    struct dw_store *store;
};

/* A database of its own for each folder: mongodb://HOST/dengwen_test_PID_HASH?OPTIONS */
static inline void server_uri(char *out, size_t len, const char *folder)
{
    const char *server = getenv("DENGWEN_TEST_MONGODB"), *rest;
    uint64_t hash = 14695981039346656037u;
    if (!server)
        fail_msg("DENGWEN_TEST_MONGODB: expected mongodb://HOST/?OPTIONS (tests/support/mongodb.sh run)");
    for (const char *c = folder; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    rest = strchr(server + strlen("mongodb://"), '/');
    assert_non_null(rest);
    snprintf(out, len, "%.*s/dengwen_test_%d_%016llx%s", (int)(rest - server), server, (int)getpid(),
             (unsigned long long)hash, rest + 1);
}

static inline void drop_databases(void)
{
    char prefix[40];
    snprintf(prefix, sizeof prefix, "dengwen_test_%d_", (int)getpid());
    mongoc_client_t *client = mongoc_client_new(getenv("DENGWEN_TEST_MONGODB"));
    char **names = mongoc_client_get_database_names_with_opts(client, NULL, NULL);
    for (char **name = names; name && *name; name++) {
        if (strncmp(*name, prefix, strlen(prefix)) != 0)
            continue;
        mongoc_database_t *database = mongoc_client_get_database(client, *name);
        assert_true(mongoc_database_drop(database, NULL));
        mongoc_database_destroy(database);
    }
    bson_strfreev(names);
    mongoc_client_destroy(client);
}

static inline struct dw_store *open_store(struct fixture *f)
{
    char uri[600];
    struct dw_store *store;
    struct dw_error err = {0};
    if (f->driver->place == AT_SERVER)
        server_uri(uri, sizeof uri, f->folder);
    else if (f->driver->place == ON_DISK)
        snprintf(uri, sizeof uri, "sqlite:%s/cases.db", f->folder);
    else
        snprintf(uri, sizeof uri, "sqlite::memory:");
    if (dw_store_open(uri, &f->config, &store, &err) != DW_OK)
        fail_msg("%s", err.text);
    return store;
}

static inline int setup(void **state)
{
    const struct driver *driver = *state;
    struct fixture *f = calloc(1, sizeof *f);
    assert_true(sodium_init() >= 0);
    f->driver = driver;
    f->folder = make_folder();
    dw_config_defaults(&f->config);
    f->store = open_store(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    dw_store_close(f->store);
    if (f->driver->place == AT_SERVER)
        drop_databases();
    dw_config_free(&f->config);
    rm_folder(f->folder);
    free(f);
    return 0;
}

/* ---- running ---- */

struct promise {
    const char *name;
    CMUnitTestFunction test;
};

static inline int run_on_every_driver(const struct promise *all, size_t count)
{
    struct CMUnitTest *tests = calloc(count, sizeof *tests);
    int failed = 0;
    for (size_t d = 0; d < DW_COUNT(drivers); d++) {
        for (size_t i = 0; i < count; i++)
            tests[i] = (struct CMUnitTest){all[i].name, all[i].test, setup, teardown,
                                           (void *)&drivers[d]};
        failed += _cmocka_run_group_tests(drivers[d].name, tests, count, NULL, NULL);
    }
    free(tests);
    return failed;
}

/* ---- the same, with faults ---- */

static const char *const fault_names[] = {[FAULT_BEFORE] = "write", [FAULT_AFTER] = "answer",
                                          [FAULT_READ] = "read"};

struct wrapped {
    const struct driver *driver;
    const struct promise *promise;
};

static inline void empty_file(const struct fixture *f)
{
    sqlite3 *db;
    char path[600];
    snprintf(path, sizeof path, "%s/cases.db", f->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000); /* the thread that moves the log may be at it */
    assert_int_equal(sqlite3_exec(db,
                                  "BEGIN; DELETE FROM cases; DELETE FROM receipts; DELETE FROM refs;"
                                  "DELETE FROM objects; DELETE FROM places; DELETE FROM work;"
                                  "DELETE FROM mine; DELETE FROM records; DELETE FROM audit; COMMIT",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

static inline void empty_server(const struct fixture *f)
{
    static const char *const collections[] = {"cases", "objects", "receipts", "refs", "records", "audit"};
    char uri[600];
    bson_t everything = BSON_INITIALIZER;
    server_uri(uri, sizeof uri, f->folder);
    mongoc_uri_t *parsed = mongoc_uri_new(uri);
    mongoc_client_t *client = mongoc_client_new_from_uri(parsed);
    mongoc_write_concern_t *concern = mongoc_write_concern_new();
    mongoc_write_concern_set_wmajority(concern, 10000); /* that is what our reads see */
    mongoc_client_set_write_concern(client, concern);
    mongoc_write_concern_destroy(concern);
    for (size_t i = 0; i < DW_COUNT(collections); i++) {
        mongoc_collection_t *c = mongoc_client_get_collection(
            client, mongoc_uri_get_database(parsed), collections[i]);
        assert_true(mongoc_collection_delete_many(c, &everything, NULL, NULL, NULL));
        mongoc_collection_destroy(c);
    }
    mongoc_client_destroy(client);
    mongoc_uri_destroy(parsed);
    bson_destroy(&everything);
}

/* To make a store, and to close one, takes longer than most promises. */
static inline void empty_store(struct fixture *f)
{
    if (f->driver->place == AT_SERVER) {
        empty_server(f);
    } else if (f->driver->place == ON_DISK) {
        empty_file(f);
    } else {
        dw_store_close(f->store);
        f->store = open_store(f);
    }
}

/* The promise with the n-th call of a kind failing; false when it came to its end untouched. */
static inline bool run_with_fault(struct fixture *f, CMUnitTestFunction test, enum fault fault, int n)
{
    void *state = f;
    empty_store(f);
    struct dw_store *faulty = fault_store(f->store, fault, n);
    f->store = careful_store(faulty);
    test(&state);
    bool struck = fault_store_struck(faulty);
    f->store = fault_store_unwrap(careful_store_unwrap(f->store));
    return struck;
}

/* Each of the first, which are of all kinds, then ever fewer of what repeats itself. */
static inline int next_call(int n)
{
    return n < 7 ? 1 : n;
}

static inline void run_with_faults(void **state)
{
    const struct wrapped *w = *state;
    void *fixture = (void *)w->driver;
    int last[DW_COUNT(fault_names)];
    setup(&fixture);
    for (size_t fault = 0; fault < DW_COUNT(fault_names); fault++) {
        last[fault] = 1;
        while (run_with_fault(fixture, w->promise->test, (enum fault)fault, last[fault]))
            last[fault] += next_call(last[fault]);
    }
    teardown(&fixture);
    print_message("  untouched: %s %d, %s %d, %s %d\n", fault_names[0], last[0], fault_names[1],
                  last[1], fault_names[2], last[2]);
    assert_true(last[FAULT_READ] > 1); /* it does ask */
    assert_int_equal(last[FAULT_BEFORE], last[FAULT_AFTER]);
}

static inline int run_on_every_driver_with_faults(const struct promise *all, size_t count)
{
    struct CMUnitTest *tests = calloc(count, sizeof *tests);
    struct wrapped *wrapped = calloc(count, sizeof *wrapped);
    int failed = 0;
    for (size_t d = 0; d < DW_COUNT(drivers); d++) {
        char name[60];
        snprintf(name, sizeof name, "%s, failing", drivers[d].name);
        for (size_t i = 0; i < count; i++) {
            wrapped[i] = (struct wrapped){&drivers[d], &all[i]};
            tests[i] = (struct CMUnitTest){all[i].name, run_with_faults, NULL, NULL, &wrapped[i]};
        }
        failed += _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    }
    free(wrapped);
    free(tests);
    return failed;
}

#endif
