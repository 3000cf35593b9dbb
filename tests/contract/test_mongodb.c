/* What the contract cannot ask of every driver: which index answers, what somebody else does meanwhile,
 * which servers are refused. */
#include "mongodb_data.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- which index answers ---- */

/* Every query that was sent. */
static struct {
    bson_t *commands[100];
    size_t count;
} heard;

static void listen_in(const mongoc_apm_command_started_t *event)
{
    static const char *const asking[] = {"find", "aggregate", "update", "delete"};
    const char *name = mongoc_apm_command_started_get_command_name(event);
    for (size_t i = 0; i < DW_COUNT(asking); i++)
        if (strcmp(name, asking[i]) == 0 && heard.count < DW_COUNT(heard.commands))
            heard.commands[heard.count++] =
                bson_copy(mongoc_apm_command_started_get_command(event));
}

static void with_listener(struct mongo *m)
{
    mongoc_apm_callbacks_t *callbacks = mongoc_apm_callbacks_new();
    mongoc_apm_set_command_started_cb(callbacks, listen_in);
    mongoc_client_pool_destroy(m->pool);
    m->pool = mongoc_client_pool_new(m->uri);
    mongoc_client_pool_set_error_api(m->pool, MONGOC_ERROR_API_VERSION_2);
    mongoc_client_pool_set_apm_callbacks(m->pool, callbacks, NULL);
    mongoc_apm_callbacks_destroy(callbacks);
}

/* The stages of a plan, in one text. */
static void stages_of(const bson_t *doc, char *out, size_t max)
{
    bson_iter_t at;
    bson_t inner;
    uint32_t len;
    const uint8_t *bytes;
    if (!bson_iter_init(&at, doc))
        return;
    while (bson_iter_next(&at)) {
        if (strcmp(bson_iter_key(&at), "stage") == 0 && BSON_ITER_HOLDS_UTF8(&at))
            snprintf(out + strlen(out), max - strlen(out), "%s ", bson_iter_utf8(&at, NULL));
        if (strcmp(bson_iter_key(&at), "rejectedPlans") == 0)
            continue;
        if (BSON_ITER_HOLDS_DOCUMENT(&at))
            bson_iter_document(&at, &len, &bytes);
        else if (BSON_ITER_HOLDS_ARRAY(&at))
            bson_iter_array(&at, &len, &bytes);
        else
            continue;
        if (bson_init_static(&inner, bytes, len))
            stages_of(&inner, out, max);
    }
}

static void explain(struct mongo_call *call, const bson_t *command, char *stages, size_t max)
{
    static const char *const of_sessions[] = {"lsid", "$db", "$clusterTime", "readConcern",
                                              "$readPreference"};
    bson_t explained = BSON_INITIALIZER, inner = BSON_INITIALIZER, reply;
    bson_error_t error;
    bson_iter_t at;
    bson_iter_init(&at, command);
    while (bson_iter_next(&at)) {
        bool wanted = true;
        for (size_t i = 0; i < DW_COUNT(of_sessions); i++)
            wanted &= strcmp(bson_iter_key(&at), of_sessions[i]) != 0;
        if (wanted)
            bson_append_iter(&inner, NULL, -1, &at);
    }
    BSON_APPEND_DOCUMENT(&explained, "explain", &inner);
    BSON_APPEND_UTF8(&explained, "verbosity", "queryPlanner");
    if (!mongoc_client_command_simple(call->client, call->mongo->database, &explained, NULL, &reply,
                                      &error))
        fail_msg("explain: %s", error.message);
    bson_iter_t plan;
    *stages = 0;
    if (bson_iter_init(&at, &reply) && bson_iter_find_descendant(&at, "queryPlanner.winningPlan", &plan)) {
        uint32_t len;
        const uint8_t *bytes;
        bson_t doc;
        bson_iter_document(&plan, &len, &bytes);
        assert_true(bson_init_static(&doc, bytes, len));
        stages_of(&doc, stages, max);
    }
    bson_destroy(&reply);
    bson_destroy(&inner);
    bson_destroy(&explained);
}

static bool sub_document(const bson_t *doc, const char *name, bson_t *ret)
{
    bson_iter_t at;
    uint32_t len;
    const uint8_t *bytes;
    if (!bson_iter_init_find(&at, doc, name) || !BSON_ITER_HOLDS_DOCUMENT(&at))
        return false;
    bson_iter_document(&at, &len, &bytes);
    return bson_init_static(ret, bytes, len);
}

/* To one _id, which has one index. */
static bool is_by_id(const bson_t *filter)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, filter, "_id") && !BSON_ITER_HOLDS_DOCUMENT(&at);
}

static bool are_by_id(const bson_t *command, const char *list)
{
    bson_iter_t at, each, q;
    bson_t filter;
    uint32_t len;
    const uint8_t *bytes;
    bool good = bson_iter_init_find(&at, command, list) && bson_iter_recurse(&at, &each);
    while (good && bson_iter_next(&each)) {
        good = bson_iter_recurse(&each, &q) && bson_iter_find(&q, "q") && BSON_ITER_HOLDS_DOCUMENT(&q);
        if (good)
            bson_iter_document(&q, &len, &bytes);
        good = good && bson_init_static(&filter, bytes, len) && is_by_id(&filter);
    }
    return good;
}

static bool names_its_index(const bson_t *command)
{
    bson_t filter;
    return bson_has_field(command, "hint") || are_by_id(command, "updates") ||
           are_by_id(command, "deletes") ||
           (sub_document(command, "filter", &filter) && is_by_id(&filter));
}

/* The next field that the filter does not hold to one value. */
static bool next_free(bson_iter_t *field, const bson_t *filter)
{
    bson_iter_t at;
    while (bson_iter_next(field))
        if (!bson_iter_init_find(&at, filter, bson_iter_key(field)) ||
            BSON_ITER_HOLDS_DOCUMENT(&at))
            return true;
    return false;
}

/* An index gives its entries in the order of its fields.  Those that the filter holds to one value do
 * not matter; the others must be what the query sorts by. */
static bool is_in_order(struct mongo_call *call, const bson_t *command)
{
    bson_iter_t at, key, sort_at;
    bson_t filter, sort, fields;
    const bson_t *index;
    bool found = false, good = true;
    if (!sub_document(command, "sort", &sort))
        return true;
    assert_true(sub_document(command, "filter", &filter));
    assert_true(bson_iter_init_find(&at, command, "hint"));
    const char *hint = bson_iter_utf8(&at, NULL);
    assert_true(bson_iter_init_find(&at, command, "find"));
    mongoc_collection_t *c = mongo_collection(call, bson_iter_utf8(&at, NULL));
    mongoc_cursor_t *indexes = mongoc_collection_find_indexes_with_opts(c, NULL);
    while (!found && mongoc_cursor_next(indexes, &index)) {
        assert_true(bson_iter_init_find(&at, index, "name"));
        found = strcmp(bson_iter_utf8(&at, NULL), hint) == 0;
        if (!found || !sub_document(index, "key", &fields))
            continue;
        bson_iter_init(&key, &fields);
        bson_iter_init(&sort_at, &sort);
        while (good && next_free(&key, &filter))
            good = next_free(&sort_at, &filter) &&
                   strcmp(bson_iter_key(&sort_at), bson_iter_key(&key)) == 0;
        good = good && !next_free(&sort_at, &filter);
    }
    mongoc_cursor_destroy(indexes);
    mongoc_collection_destroy(c);
    return found && good;
}

/* SecantusDB does not see that an index of several fields is in order, and says SORT. */
static bool knows_compound_order(struct mongo_call *call)
{
    bson_t *ask = BCON_NEW("buildInfo", BCON_INT32(1)), reply;
    bson_error_t error;
    assert_true(mongoc_client_command_simple(call->client, "admin", ask, NULL, &reply, &error));
    bool knows = !bson_has_field(&reply, "secantusVersion");
    bson_destroy(&reply);
    bson_destroy(ask);
    return knows;
}

static void nothing(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    (void)arg, (void)key, (void)version, (void)doc;
}

static bool go_on(void *arg, const struct dw_store_entry *entry)
{
    (void)arg, (void)entry;
    return true;
}

static void change_record(struct fixture *f, int64_t old_version, struct dw_slice doc)
{
    struct dw_store_record r = {.collection = "staff", .key = "li", .old_version = old_version,
                                .version = old_version + 1, .doc = doc};
    struct dw_store_step step = {.records = &r, .records_count = 1}, *steps[] = {&step};
    dw_store_apply(f->store, steps, 1);
    assert_int_equal(step.outcome, DW_OK);
}

static void write_everything(struct fixture *f)
{
    static const uint8_t empty[] = {5, 0, 0, 0, 0};
    assert_int_equal(put(f, 1, 1), DW_OK); /* it is there: what is there is looked at */
    assert_int_equal(put(f, 1, 2), DW_OK);
    assert_int_equal(put(f, 1, 2), DW_CONFLICT);
    change_record(f, 0, DW_SLICE(empty, sizeof empty));
    change_record(f, 1, DW_SLICE(empty, sizeof empty));
    change_record(f, 2, DW_SLICE(NULL, 0));
}

static void ask_everything(struct fixture *f)
{
    uint8_t id[16] = {0}, ids[10][16];
    size_t count;
    int64_t seq;
    struct dw_store_case found;
    struct dw_store_counts counts;
    DW_AUTO_BUF buf = {0};
    dw_buf_init(&buf, DW_DOC_MAX);
    dw_store_ping(f->store);
    dw_store_counts(f->store, &counts);
    dw_store_case(f->store, id, &buf, &found);
    dw_store_object(f->store, id, 0, &buf);
    dw_store_id_of_handle(f->store, id, id);
    dw_store_id_of_reference(f->store, "CQ26-000000001", id);
    for (int list = DW_LIST_MINE; list <= DW_LIST_ALL; list++) {
        for (int after = 0; after < 2; after++) {
            struct dw_store_query q = {.list = (enum dw_worklist)list, .body = "500108", .user = "li",
                                       .today = 20795, .soon = 20799, .limit = 5, .after = after,
                                       .after_due = 20796};
            struct dw_store_row *rows;
            DW_AUTO_ARENA arena = {0};
            dw_arena_init(&arena, 1 << 20);
            assert_int_equal(dw_store_worklist(f->store, &q, &arena, &rows, &count), DW_OK);
        }
    }
    dw_store_due(f->store, DW_DUE_TIMER, 5000, 10, ids, &count);
    dw_store_due(f->store, DW_DUE_NOTICE, 5000, 10, ids, &count);
    dw_store_due(f->store, DW_DUE_FOLD, 5000, 10, ids, &count);
    dw_store_record(f->store, "staff", "li", &buf, &found);
    dw_store_records(f->store, "staff", "l", nothing, NULL);
    dw_store_audit_last(f->store, "staff", &seq, &buf);
    dw_store_audit_read(f->store, "staff", 1, 10, nothing, NULL);
    dw_store_each_case(f->store, nothing, NULL);
    for (int table = 0; table < DW_TABLES; table++) {
        struct dw_store_entry after = {.name = "a", .key = "b"};
        dw_store_walk(f->store, (enum dw_store_table)table, NULL, 5, go_on, NULL);
        dw_store_walk(f->store, (enum dw_store_table)table, &after, 5, go_on, NULL);
    }
}

TEST(every_query_is_answered_by_an_index_in_its_order)
{
    struct fixture *f = *state;
    struct mongo_call call;
    char stages[500];
    for (int n = 1; n <= 30; n++)
        assert_int_equal(put(f, n, 1), DW_OK);
    with_listener(f->store->self);
    heard.count = 0;
    write_everything(f);
    ask_everything(f);
    size_t count = heard.count, finds = 0;
    assert_true(count < DW_COUNT(heard.commands)); /* all of them */
    assert_true(mongo_begin(f->store->self, &call));
    for (size_t i = 0; i < count; i++) {
        assert_true(names_its_index(heard.commands[i]));
        if (!bson_has_field(heard.commands[i], "find")) {
            bson_destroy(heard.commands[i]);
            continue;
        }
        finds++;
        explain(&call, heard.commands[i], stages, sizeof stages);
        bool good = (strstr(stages, "IXSCAN") || strstr(stages, "IDHACK") ||
                     strstr(stages, "EXPRESS")) &&
                    !strstr(stages, "COLLSCAN") && is_in_order(&call, heard.commands[i]) &&
                    (!knows_compound_order(&call) || !strstr(stages, "SORT"));
        if (!good) {
            char *text = bson_as_relaxed_extended_json(heard.commands[i], NULL);
            print_message("%s\n%s\n", text, stages);
            bson_free(text);
        }
        assert_true(good);
        bson_destroy(heard.commands[i]);
    }
    assert_true(finds >= 26 && count > finds);
    /* The check itself is checked: a question that no index answers. */
    bson_t *scan = BCON_NEW("find", BCON_UTF8("cases"), "filter", "{", "v", BCON_INT64(1), "}");
    explain(&call, scan, stages, sizeof stages);
    assert_non_null(strstr(stages, "COLLSCAN"));
    assert_false(names_its_index(scan));
    bson_destroy(scan);
    bson_t *unordered = BCON_NEW("find", BCON_UTF8("cases"), "filter", "{", "body", BCON_UTF8("x"), "}",
                                 "hint", BCON_UTF8("mine"), "sort", "{", "due", BCON_INT32(1), "}");
    assert_false(is_in_order(&call, unordered));
    bson_destroy(unordered);
    mongo_end(&call);
}

/* ---- what somebody else does meanwhile ---- */

struct neighbour {
    const char *uri;
    const struct dw_config *config;
    atomic_bool stopping;
    int64_t written;
    bool failed; /* no assertion in a thread */
};

/* Changes case 1 as soon as somebody else has, as the counting of another case worker does. */
static void *change_beside(void *arg)
{
    struct neighbour *n = arg;
    struct fixture f = {.config = *n->config};
    struct dw_error err = {0};
    int64_t last = 1;
    if ((n->failed = dw_store_open(n->uri, n->config, &f.store, &err) != DW_OK))
        return NULL;
    while (!n->stopping) {
        int64_t version = version_of(&f, 1);
        if (version == last)
            continue;
        enum dw_result outcome = put(&f, 1, (int)version + 1);
        n->failed |= outcome != DW_OK && outcome != DW_CONFLICT;
        n->written += outcome == DW_OK;
        last = version + (outcome == DW_OK);
    }
    dw_store_close(f.store);
    return NULL;
}

TEST(what_was_done_is_no_conflict_though_it_was_changed_before_we_looked)
{
    enum { ROUNDS = 100, STALE = 8 };
    struct fixture *f = *state;
    struct neighbour neighbour = {.uri = f->uri, .config = &f->config};
    pthread_t thread;
    int64_t done = 0, doubtful = 0;
    assert_int_equal(put(f, 1, 1), DW_OK);
    assert_int_equal(pthread_create(&thread, NULL, change_beside, &neighbour), 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct made *made[STALE + 1];
        struct dw_store_step *steps[STALE + 1];
        for (int k = 0; k < STALE; k++) /* these send the driver looking, one after the other */
            made[k] = make(2 + k, 7);
        made[STALE] = make(1, (int)version_of(f, 1) + 1);
        for (int k = 0; k <= STALE; k++)
            steps[k] = &made[k]->step;
        dw_store_apply(f->store, steps, STALE + 1);
        done += steps[STALE]->outcome == DW_OK;
        doubtful += steps[STALE]->outcome == DW_UNCERTAIN;
        for (int k = 0; k <= STALE; k++) {
            assert_true(k == STALE || steps[k]->outcome == DW_CONFLICT);
            free_made(made[k]);
        }
    }
    neighbour.stopping = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(neighbour.failed);
    int64_t by_us = version_of(f, 1) - 1 - neighbour.written;
    assert_in_range(by_us, done, done + doubtful);
    assert_true(by_us > 0);
}

TEST(a_document_that_is_too_large_is_refused_for_good_and_alone)
{
    struct fixture *f = *state;
    bson_t *big = a_document_of(17 * 1024 * 1024);
    for (int version = 1; version <= 2; version++) {
        struct made *m = make(1, version), *other = make(2, version);
        struct dw_store_step *steps[] = {&m->step, &other->step};
        m->step.doc = DW_SLICE(bson_get_data(big), big->len);
        dw_store_apply(f->store, steps, 2);
        assert_int_equal(m->step.outcome, DW_INVALID);
        assert_int_equal(other->step.outcome, DW_OK);
        assert_int_equal(version_of(f, 1), version - 1);
        assert_int_equal(version_of(f, 2), version);
        free_made(m);
        free_made(other);
        assert_int_equal(put(f, 1, version), DW_OK);
    }
    bson_destroy(big);
}

/* ---- opening ---- */

static enum dw_result open_with(struct fixture *f, const char *uri, struct dw_error *err)
{
    struct dw_store *store;
    *err = (struct dw_error){0};
    enum dw_result result = dw_store_open(uri, &f->config, &store, err);
    if (result == DW_OK)
        dw_store_close(store);
    return result;
}

TEST(a_uri_that_is_wrong_is_refused_and_not_repeated)
{
    struct fixture *f = *state;
    struct dw_error err;
    static const char *const wrong[] = {"mongodb://", "mongodb:///cases", "mongodb://h:x/cases",
                                        "mongodb://u:s3cret@127.0.0.1/cases", "mongodb://127.0.0.1/",
                                        "mongodb://127.0.0.1/cases?tls=s3cret",
                                        "mongodb://127.0.0.1/cases?tls=true&"
                                        "tlsCertificateKeyFilePassword=s3cret",
                                        "mongodb://127.0.0.1/cases?tls=true&tlsCAFile=/nowhere",
                                        "mongodb://127.0.0.1/cases?tls=true&tlsInsecure=true",
                                        "mongodb://127.0.0.1/cases?tls=true&tlsAllowInvalidCertificates=true",
                                        "mongodb://127.0.0.1/cases?tls=true&tlsAllowInvalidHostnames=true"};
    for (size_t i = 0; i < DW_COUNT(wrong); i++) {
        assert_int_equal(open_with(f, wrong[i], &err), DW_INVALID);
        assert_string_equal(err.field, "store.uri");
        assert_null(strstr(err.text, "s3cret"));
    }
}

/* A set of one has no secondary that could answer. */
TEST(reads_ask_the_primary_whatever_the_uri_says)
{
    struct fixture *f = *state;
    struct mongo_call call;
    struct dw_store *store;
    struct dw_error err = {0};
    bson_t *ask = BCON_NEW("isMaster", BCON_INT32(1)), reply;
    bson_iter_t at;
    char uri[700];
    uint8_t id[16] = {1};
    DW_AUTO_BUF buf = {0};
    struct dw_store_case found;
    dw_buf_init(&buf, 1000);
    assert_true(mongo_begin(f->store->self, &call));
    assert_true(mongoc_client_command_simple(call.client, "admin", ask, NULL, &reply, NULL));
    mongo_end(&call);
    assert_true(bson_iter_init_find(&at, &reply, "setName"));
    snprintf(uri, sizeof uri, "%.*s?replicaSet=%s&readPreference=secondary",
             (int)strcspn(f->uri, "?"), f->uri, bson_iter_utf8(&at, NULL));
    if (dw_store_open(uri, &f->config, &store, &err) != DW_OK)
        fail_msg("%s", err.text);
    assert_int_equal(dw_store_case(store, id, &buf, &found), DW_NOT_FOUND);
    dw_store_close(store);
    bson_destroy(&reply);
    bson_destroy(ask);
}

TEST(a_server_that_is_away_is_waited_for)
{
    struct fixture *f = *state;
    struct dw_store *store;
    struct dw_error err = {0};
    uint8_t id[16] = {1};
    DW_AUTO_BUF buf = {0};
    struct dw_store_case found;
    dw_buf_init(&buf, 1000);
    f->config.store.select_ms = 200;
    assert_int_equal(dw_store_open("mongodb://127.0.0.1:1/cases", &f->config, &store, &err), DW_OK);
    assert_int_equal(dw_store_ping(store), DW_RETRY);
    assert_int_equal(dw_store_case(store, id, &buf, &found), DW_RETRY);
    struct made *m = make(1, 1);
    struct dw_store_step *steps[] = {&m->step};
    dw_store_apply(store, steps, 1);
    assert_int_equal(m->step.outcome, DW_RETRY);
    free_made(m);
    dw_store_close(store);
}

TEST(a_pool_without_a_free_connection_sends_nothing)
{
    struct fixture *f = *state;
    struct dw_store *small;
    struct dw_error err = {0};
    struct mongo_call calls[2];
    f->config.store.pool = DW_COUNT(calls);
    f->config.store.select_ms = 300;
    assert_int_equal(dw_store_open(f->uri, &f->config, &small, &err), DW_OK);
    for (size_t i = 0; i < DW_COUNT(calls); i++)
        assert_true(mongo_begin(small->self, &calls[i]));
    struct made *m = make(1, 1);
    struct dw_store_step *steps[] = {&m->step};
    dw_store_apply(small, steps, 1);
    assert_int_equal(m->step.outcome, DW_RETRY);
    assert_int_equal(version_of(f, 1), 0);
    for (size_t i = 0; i < DW_COUNT(calls); i++)
        mongo_end(&calls[i]);
    dw_store_apply(small, steps, 1);
    assert_int_equal(m->step.outcome, DW_OK);
    free_made(m);
    dw_store_close(small);
}

static void set_version(struct fixture *f, int version)
{
    struct mongo_call call;
    assert_true(mongo_begin(f->store->self, &call));
    mongoc_collection_t *c = mongo_collection(&call, "schema");
    bson_t *filter = BCON_NEW("_id", BCON_UTF8("dengwen"));
    bson_t *doc = BCON_NEW("_id", BCON_UTF8("dengwen"), "version", BCON_INT32(version));
    assert_true(mongoc_collection_replace_one(c, filter, doc, NULL, NULL, NULL));
    mongoc_collection_destroy(c);
    mongo_end(&call);
    bson_destroy(filter);
    bson_destroy(doc);
}

static void drop_indexes_of_cases(struct fixture *f)
{
    struct mongo_call call;
    assert_true(mongo_begin(f->store->self, &call));
    mongoc_collection_t *c = mongo_collection(&call, "cases");
    assert_true(mongoc_collection_drop_index(c, mongo_cases_fold, NULL));
    assert_true(mongoc_collection_drop_index(c, mongo_cases_timer, NULL));
    mongoc_collection_destroy(c);
    mongo_end(&call);
}

static void count_told(void *arg, const char *what, int64_t done, int64_t total)
{
    assert_true(total == 0 || done <= total);
    *(int *)arg += strcmp(what, "cases to be counted") == 0;
}

/* Encoded again it is the same, to the byte: so copies of a migrated store can be compared. */
static bool is_to_be_counted(void *arg, const struct dw_store_entry *e)
{
    DW_AUTO_ARENA arena = {0};
    DW_AUTO_BUF again = {0};
    struct dw_case_index ix;
    struct dw_error err;
    dw_arena_init(&arena, DW_DOC_MAX);
    dw_buf_init(&again, DW_DOC_MAX);
    assert_int_equal(dw_decode(&dw_case_index_layout, e->ix, &arena, &ix, &err), DW_OK);
    dw_encode(&dw_case_index_layout, &ix, &again);
    assert_int_equal(ix.fold, 1);
    assert_int_equal(again.len, e->ix.len);
    assert_memory_equal(again.data, e->ix.data, again.len);
    ++*(int *)arg;
    return true;
}

/* Version 1 had cases without `fold`, and no index of it. */
TEST(a_store_of_version_1_is_refused_until_it_is_brought_up_to_date)
{
    struct fixture *f = *state;
    struct dw_error err;
    uint8_t ids[50][16];
    size_t count;
    int from, to, told = 0, seen = 0;
    struct dw_progress progress = {count_told, &told};
    for (int n = 1; n <= 20; n++)
        assert_int_equal(put(f, n, 1), DW_OK);
    drop_indexes_of_cases(f);
    set_version(f, 1);
    assert_int_equal(open_with(f, f->uri, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "older"));
    assert_int_equal(dw_store_make(f->uri, &f->config, &progress, &from, &to, &err), DW_OK);
    assert_int_equal(from, 1);
    assert_int_equal(to, dw_mongo_schema.count);
    assert_true(told > 0);
    assert_int_equal(open_with(f, f->uri, &err), DW_OK);
    assert_int_equal(dw_store_due(f->store, DW_DUE_FOLD, 1, 50, ids, &count), DW_OK);
    assert_int_equal(count, 20);
    assert_int_equal(dw_store_walk(f->store, DW_TABLE_CASES, NULL, 50, is_to_be_counted, &seen), DW_OK);
    assert_int_equal(seen, 20);
}

TEST(an_index_that_was_lost_is_made_again)
{
    struct fixture *f = *state;
    struct dw_error err;
    uint8_t ids[50][16];
    size_t count;
    int from, to;
    assert_int_equal(put(f, 1, 1), DW_OK);
    drop_indexes_of_cases(f);
    assert_int_equal(dw_store_due(f->store, DW_DUE_TIMER, 5000, 50, ids, &count), DW_RETRY);
    assert_int_equal(dw_store_make(f->uri, &f->config, NULL, &from, &to, &err), DW_OK);
    assert_int_equal(from, to);
    assert_int_equal(dw_store_due(f->store, DW_DUE_TIMER, 5000, 50, ids, &count), DW_OK);
    assert_int_equal(count, 1);
}

TEST(a_newer_schema_is_refused_and_a_missing_one_named)
{
    struct fixture *f = *state;
    struct dw_error err;
    char fresh[650];
    set_version(f, dw_mongo_schema.count + 1);
    assert_int_equal(open_with(f, f->uri, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "newer"));
    f->config.store.init = false;
    snprintf(fresh, sizeof fresh, "%s", f->uri);
    memcpy(strstr(fresh, "dengwen_test_m_"), "dengwen_test_n_", 15);
    assert_int_equal(open_with(f, fresh, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "init-db"));
}

RUN(T(every_query_is_answered_by_an_index_in_its_order),
    T(what_was_done_is_no_conflict_though_it_was_changed_before_we_looked),
    T(a_document_that_is_too_large_is_refused_for_good_and_alone),
    T(a_uri_that_is_wrong_is_refused_and_not_repeated),
    T(reads_ask_the_primary_whatever_the_uri_says),
    T(a_server_that_is_away_is_waited_for),
    T(a_pool_without_a_free_connection_sends_nothing),
    T(a_store_of_version_1_is_refused_until_it_is_brought_up_to_date),
    T(an_index_that_was_lost_is_made_again),
    T(a_newer_schema_is_refused_and_a_missing_one_named))
