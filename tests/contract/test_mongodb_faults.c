/* What becomes of answers that are lost: the server fails by command, which not every one can
 * (tests/support/mongodb.sh, failpoints). */
#include "mongodb_data.h"

/* `mode` is of configureFailPoint: "times" so often, "skip" all but the first so many. */
static void fail_some(struct fixture *f, const char *command, const char *mode, int n, const char *how,
                      int code)
{
    struct mongo_call call;
    bson_error_t error;
    bson_t data = BSON_INITIALIZER, list = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&list, "0", command);
    BSON_APPEND_ARRAY(&data, "failCommands", &list);
    if (strcmp(how, "closeConnection") == 0) {
        BSON_APPEND_BOOL(&data, "closeConnection", true);
    } else if (strcmp(how, "errorCode") == 0) {
        BSON_APPEND_INT32(&data, "errorCode", code);
    } else {
        bson_t concern;
        BSON_APPEND_DOCUMENT_BEGIN(&data, "writeConcernError", &concern);
        BSON_APPEND_INT32(&concern, "code", code);
        BSON_APPEND_UTF8(&concern, "errmsg", "waiting for replication timed out");
        bson_append_document_end(&data, &concern);
    }
    bson_t *fail = BCON_NEW("configureFailPoint", BCON_UTF8("failCommand"), "mode", "{", mode,
                            BCON_INT32(n), "}", "data", BCON_DOCUMENT(&data));
    assert_true(mongo_begin(f->store->self, &call));
    if (!mongoc_client_command_simple(call.client, "admin", fail, NULL, NULL, &error))
        fail_msg("%s", error.message);
    mongo_end(&call);
    bson_destroy(fail);
    bson_destroy(&list);
    bson_destroy(&data);
}

static void fail_next(struct fixture *f, const char *command, int times, const char *how, int code)
{
    fail_some(f, command, "times", times, how, code);
}

static void fail_no_more(struct fixture *f)
{
    struct mongo_call call;
    bson_t *off = BCON_NEW("configureFailPoint", BCON_UTF8("failCommand"), "mode", BCON_UTF8("off"));
    assert_true(mongo_begin(f->store->self, &call));
    assert_true(mongoc_client_command_simple(call.client, "admin", off, NULL, NULL, NULL));
    mongo_end(&call);
    bson_destroy(off);
}

/* What a careful caller does. */
static void put_carefully(struct fixture *f, int n, int version)
{
    for (int i = 0; i < 5 && version_of(f, n) < version; i++)
        put(f, n, version);
    assert_int_equal(version_of(f, n), version);
}

TEST(a_connection_that_breaks_leaves_doubt_and_nothing_twice)
{
    struct fixture *f = *state;
    struct dw_store_counts counts;
    static const char *const commands[] = {"insert", "update", "find"};
    assert_int_equal(put(f, 1, 1), DW_OK);
    for (size_t i = 0; i < DW_COUNT(commands); i++) {
        int n = 10 + (int)i;
        fail_next(f, commands[i], 1, "closeConnection", 0);
        put_carefully(f, n, 1);
        fail_next(f, commands[i], 1, "closeConnection", 0);
        put_carefully(f, n, 2);
    }
    /* The case itself: its insert is the third message of a step, behind handle and reference. */
    fail_next(f, "update", 1, "closeConnection", 0);
    enum dw_result outcome = put(f, 1, 2);
    assert_true(outcome == DW_UNCERTAIN || outcome == DW_OK);
    put_carefully(f, 1, 2);
    assert_int_equal(dw_store_counts(f->store, &counts), DW_OK);
    assert_int_equal(counts.cases, 4);
    assert_int_equal(counts.receipts, 4);
    assert_int_equal(counts.references, 4);
}

TEST(a_server_that_steps_down_did_nothing)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, 1, 1), DW_OK);
    fail_next(f, "update", 1, "errorCode", 10107);
    assert_int_equal(put(f, 1, 2), DW_RETRY);
    assert_int_equal(version_of(f, 1), 1);
    assert_int_equal(put(f, 1, 2), DW_OK);
}

TEST(a_wait_for_the_majority_that_ends_too_early_is_looked_into)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, 1, 1), DW_OK);
    fail_next(f, "update", 1, "writeConcernError", 64);
    /* It was done and only not confirmed: the document tells. */
    enum dw_result outcome = put(f, 1, 2);
    assert_true(outcome == DW_OK || outcome == DW_UNCERTAIN);
    put_carefully(f, 1, 2);
}

/* The library makes two messages of it.  The first is answered, and says that one case was there before;
 * of the second nobody knows. */
TEST(a_batch_of_several_messages_is_not_done_because_the_first_is)
{
    enum { CASES = 5 };
    struct fixture *f = *state;
    struct made *made[CASES];
    struct dw_store_step *steps[CASES];
    bson_t *big = a_document_of(14 * 1024 * 1024);
    assert_int_equal(put(f, 1, 1), DW_OK);
    for (int i = 0; i < CASES; i++) {
        made[i] = make(i + 1, 1);
        steps[i] = &made[i]->step;
        steps[i]->with_receipt = false;
        steps[i]->reference = NULL;
        if (i)
            steps[i]->doc = DW_SLICE(bson_get_data(big), big->len);
    }
    fail_some(f, "insert", "skip", 1, "closeConnection", 0);
    dw_store_apply(f->store, steps, CASES);
    fail_no_more(f);
    for (int i = 0; i < CASES; i++) {
        bool last = i == CASES - 1;
        assert_int_equal(steps[i]->outcome, last ? DW_UNCERTAIN : DW_OK);
        assert_int_equal(steps[i]->existed, i == 0);
    }
    assert_int_equal(version_of(f, CASES), 0);
    dw_store_apply(f->store, steps, CASES);
    for (int i = 0; i < CASES; i++) {
        assert_int_equal(steps[i]->outcome, DW_OK);
        free_made(made[i]);
    }
    bson_destroy(big);
}

static bool takes_a_case_without_anything(struct fixture *f)
{
    struct mongo_call call;
    bson_t doc = BSON_INITIALIZER;
    assert_true(mongo_begin(f->store->self, &call));
    mongoc_collection_t *c = mongo_collection(&call, "cases");
    bool taken = mongoc_collection_insert_one(c, &doc, NULL, NULL, NULL);
    mongoc_collection_destroy(c);
    mongo_end(&call);
    return taken;
}

TEST(a_validator_that_was_lost_is_set_again)
{
    struct fixture *f = *state;
    struct mongo_call call;
    struct dw_error err;
    int from, to;
    assert_false(takes_a_case_without_anything(f));
    /* Where it is as it should be nobody asks for what only an administrator may do. */
    bson_t *none = BCON_NEW("collMod", BCON_UTF8("cases"), "validator", "{", "}");
    fail_next(f, "collMod", 1, "errorCode", 13);
    assert_int_equal(dw_store_make(f->uri, &f->config, NULL, &from, &to, &err), DW_OK);
    assert_true(mongo_begin(f->store->self, &call));
    assert_false(mongoc_client_command_simple(call.client, call.mongo->database, none, NULL, NULL, NULL));
    assert_true(mongoc_client_command_simple(call.client, call.mongo->database, none, NULL, NULL, NULL));
    mongo_end(&call);
    bson_destroy(none);
    assert_true(takes_a_case_without_anything(f));
    assert_int_equal(dw_store_make(f->uri, &f->config, NULL, &from, &to, &err), DW_OK);
    assert_false(takes_a_case_without_anything(f));
}

RUN(T(a_connection_that_breaks_leaves_doubt_and_nothing_twice),
    T(a_server_that_steps_down_did_nothing),
    T(a_wait_for_the_majority_that_ends_too_early_is_looked_into),
    T(a_batch_of_several_messages_is_not_done_because_the_first_is),
    T(a_validator_that_was_lost_is_set_again))
