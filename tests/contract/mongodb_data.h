/* mongodb_data.h - a database of its own for each test of the driver for MongoDB, and steps for it. */
#ifndef DW_TESTS_MONGODB_DATA_H
#define DW_TESTS_MONGODB_DATA_H

#include "../unit/unit.h"

#include "mongo_private.h"

#include <sodium.h>
#include <unistd.h>

struct fixture {
    struct dw_config config;
    struct dw_store *store;
    char uri[600];
};

static inline const char *server(void)
{
    const char *uri = getenv("DENGWEN_TEST_MONGODB");
    if (!uri)
        fail_msg("DENGWEN_TEST_MONGODB: expected mongodb://HOST/?OPTIONS (tests/support/mongodb.sh run)");
    return uri;
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct dw_error err = {0};
    const char *rest = strchr(server() + strlen("mongodb://"), '/');
    assert_true(sodium_init() >= 0);
    dw_config_defaults(&f->config);
    snprintf(f->uri, sizeof f->uri, "%.*s/dengwen_test_m_%d%s", (int)(rest - server()), server(),
             (int)getpid(), rest + 1);
    if (dw_store_open(f->uri, &f->config, &f->store, &err) != DW_OK)
        fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    struct mongo_call call;
    assert_true(mongo_begin(f->store->self, &call));
    mongoc_database_t *db = mongoc_client_get_database(call.client, call.mongo->database);
    assert_true(mongoc_database_drop(db, NULL));
    mongoc_database_destroy(db);
    mongo_end(&call);
    dw_store_close(f->store);
    dw_config_free(&f->config);
    free(f);
    return 0;
}

/* ---- steps ---- */

struct made {
    struct dw_store_step step;
    struct dw_case_index ix;
    const char *bodies[2];
    char reference[16];
    struct dw_buf doc;
};

static inline struct made *make(int n, int version)
{
    struct made *m = calloc(1, sizeof *m);
    uint64_t seed = (uint64_t)n;
    snprintf(m->reference, sizeof m->reference, "CQ26-%09d", n % 1000000000);
    m->bodies[0] = "500108";
    m->bodies[1] = n % 3 ? "500103" : "500000";
    m->ix = (struct dw_case_index){.bodies = m->bodies, .bodies_count = 2, .reference = m->reference,
                                   .state = "received", .kind = "report", .against = "hospital",
                                   .district = "500108", .day = 20781, .open = n % 5 != 0,
                                   .assignee = n % 2 ? "li" : "", .body = m->bodies[n % 2],
                                   .due = 20790 + n, .due_rule = "D08", .revision = version,
                                   .timer = 1000 + n, .notice = 2000 + n};
    dw_buf_init(&m->doc, DW_DOC_MAX);
    dw_encode(&dw_case_index_layout, &m->ix, &m->doc);
    m->step = (struct dw_store_step){.with_receipt = version == 1,
                                     .reference = version == 1 ? m->reference : NULL,
                                     .with_case = true, .old_version = version - 1,
                                     .version = version, .doc = dw_buf_slice(&m->doc), .ix = &m->ix};
    for (int i = 0; i < 16; i++)
        m->step.case_id[i] = m->step.handle[i] = (uint8_t)test_random(&seed);
    return m;
}

static inline void free_made(struct made *m)
{
    dw_buf_free(&m->doc);
    free(m);
}

static inline enum dw_result put(struct fixture *f, int n, int version)
{
    struct made *m = make(n, version);
    struct dw_store_step *steps[] = {&m->step};
    dw_store_apply(f->store, steps, 1);
    enum dw_result outcome = m->step.outcome;
    free_made(m);
    return outcome;
}

static inline int64_t version_of(struct fixture *f, int n)
{
    struct made *m = make(n, 1);
    DW_AUTO_BUF buf = {0};
    struct dw_store_case found = {0};
    dw_buf_init(&buf, DW_DOC_MAX);
    enum dw_result result = dw_store_case(f->store, m->step.case_id, &buf, &found);
    free_made(m);
    return result == DW_OK ? found.version : result == DW_NOT_FOUND ? 0 : -1;
}

static inline bson_t *a_document_of(uint32_t size)
{
    bson_t *big = bson_new();
    uint8_t *bytes = calloc(1, size);
    BSON_APPEND_BINARY(big, "x", BSON_SUBTYPE_BINARY, bytes, size);
    free(bytes);
    return big;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
