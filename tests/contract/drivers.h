/* drivers.h - the drivers that one contract is for, and a store of each to try it on. */
#ifndef DW_TESTS_DRIVERS_H
#define DW_TESTS_DRIVERS_H

#include "../unit/unit.h"

#include "dw/store.h"

#include <mongoc/mongoc.h>
#include <sodium.h>
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

#endif
