/* Versions of a store: steps that are taken once, in order, wholly or not at all; and files of older
 * versions, made by the steps that made them then. */
#include "unit.h"

#include "driver.h"

#include <sqlite3.h>

static struct {
    char said[200];
} heard;

static void hear(void *arg, const char *what, int64_t done, int64_t total)
{
    (void)arg, (void)done, (void)total;
    if (strlen(heard.said) + strlen(what) + 2 < sizeof heard.said)
        strcat(strcat(heard.said, what), ";");
}
static const struct dw_progress listening = {hear, NULL};

/* ---- a table of steps of our own, on a real file ---- */

static enum dw_result make_a(void *db, const struct dw_progress *progress, struct dw_error *err)
{
    (void)progress, (void)err;
    return sqlite3_exec(db, "CREATE TABLE a(x)", NULL, NULL, NULL) == SQLITE_OK ? DW_OK : DW_INVALID;
}

static bool fails;
static enum dw_result make_b(void *db, const struct dw_progress *progress, struct dw_error *err)
{
    (void)progress;
    if (sqlite3_exec(db, "CREATE TABLE b(x)", NULL, NULL, NULL) != SQLITE_OK)
        return DW_INVALID;
    return fails ? dw_invalid(err, "b", "fails on purpose") : DW_OK;
}

static const struct dw_schema_step own_steps[] = {{"making a", make_a}, {"making b", make_b}};

static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return v;
}

TEST(a_step_that_fails_leaves_the_version_before_and_is_taken_again)
{
    struct dw_schema own = dw_sqlite_schema;
    struct dw_error err = {0};
    sqlite3 *db;
    int from;
    own.steps = own_steps;
    own.count = DW_COUNT(own_steps);
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    fails = true;
    *heard.said = 0;
    assert_int_equal(dw_schema_migrate(&own, db, &listening, &from, &err), DW_INVALID);
    assert_string_equal(err.field, "b");
    assert_int_equal(from, 0);
    assert_int_equal(ask(db, "PRAGMA user_version"), 1);
    assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema"), 1); /* b is undone */
    fails = false;
    assert_int_equal(dw_schema_migrate(&own, db, &listening, &from, &err), DW_OK);
    assert_int_equal(from, 1);
    assert_int_equal(ask(db, "PRAGMA user_version"), 2);
    assert_string_equal(heard.said, "making a;making b;making b;");
    assert_int_equal(dw_schema_migrate(&own, db, &listening, &from, &err), DW_OK);
    assert_int_equal(from, 2);
    own.count = 1; /* as an older Dengwen sees it */
    assert_int_equal(dw_schema_migrate(&own, db, &listening, &from, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "newer"));
    sqlite3_close(db);
}

TEST(what_is_there_is_told_by_its_version)
{
    struct dw_error err = {0};
    assert_int_equal(dw_schema_check(&dw_sqlite_schema, dw_sqlite_schema.count, &err), DW_OK);
    static const struct {
        int offset;
        const char *says;
    } others[] = {{-1, "older"}, {1, "newer"}};
    for (size_t i = 0; i < DW_COUNT(others); i++) {
        assert_int_equal(dw_schema_check(&dw_sqlite_schema, dw_sqlite_schema.count + others[i].offset,
                                         &err),
                         DW_INVALID);
        assert_non_null(strstr(err.text, others[i].says));
    }
    assert_int_equal(dw_schema_check(&dw_sqlite_schema, 0, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "init-db"));
}

/* ---- version 1: cases before anybody counted ---- */

/* Slots were drawn from all numbers: some were low. */
static int64_t slot_then(int n)
{
    return n % 3 ? n * ((int64_t)1 << 57) : n;
}

/* Objects of 20 chunks, and what stands in a worklist. */
static void put_others_1(sqlite3 *db)
{
    static const char others[] =
        "INSERT INTO worklist SELECT id, '500108', 2147483647, 1, '' FROM cases;"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)"
        " INSERT INTO objects SELECT CASE i % 3 WHEN 0 THEN i ELSE i << 57 END,"
        " x'0102030405060708090a0b0c0d0e0f10', i, zeroblob(i) FROM n;";
    assert_int_equal(sqlite3_exec(db, others, NULL, NULL, NULL), SQLITE_OK);
}

static void make_version_1(const char *path, int cases)
{
    static const char *bodies[] = {"500108"};
    struct dw_schema then = dw_sqlite_schema;
    struct dw_error err;
    sqlite3 *db;
    sqlite3_stmt *st;
    int from;
    then.count = 1;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(dw_schema_migrate(&then, db, NULL, &from, &err), DW_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO cases(slot, id, version, timer, notice, row,"
                                            " doc) VALUES(?1, ?2, 1, 0, 0, ?3, ?3)", -1, &st, NULL),
                     SQLITE_OK);
    for (int n = 1; n <= cases; n++) {
        uint8_t id[16] = {0, 0, 0, 0, 0, 0, 0, (uint8_t)n};
        struct dw_case_index ix = {.bodies = bodies, .bodies_count = 1, .reference = "r", .state = "s",
                                   .kind = "k", .against = "a", .district = "d", .assignee = "",
                                   .body = "500108", .due_rule = "",
                                   .open = true}; /* as it was: without `fold` */
        DW_AUTO_BUF row = {0};
        dw_buf_init(&row, DW_DOC_MAX);
        dw_encode(&dw_case_index_layout, &ix, &row);
        sqlite3_bind_int64(st, 1, slot_then(n));
        sqlite3_bind_blob(st, 2, id, 16, SQLITE_STATIC);
        sqlite3_bind_blob(st, 3, row.data, (int)row.len, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(st), SQLITE_DONE);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    put_others_1(db);
    sqlite3_close(db);
}

static bool check_entry(void *arg, const struct dw_store_entry *e)
{
    DW_AUTO_ARENA arena = {0};
    struct dw_case_index ix;
    struct dw_error err;
    dw_arena_init(&arena, DW_DOC_MAX);
    if (dw_decode(&dw_case_index_layout, e->ix, &arena, &ix, &err) != DW_OK)
        fail_msg("%s: %s", err.field, err.text);
    assert_int_equal(ix.fold, 1);
    assert_string_equal(ix.body, "500108");
    DW_AUTO_BUF again = {0};
    dw_buf_init(&again, DW_DOC_MAX);
    dw_encode(&dw_case_index_layout, &ix, &again); /* to the byte, so that copies compare */
    assert_int_equal(again.len, e->ix.len);
    assert_memory_equal(again.data, e->ix.data, again.len);
    ++*(int *)arg;
    return true;
}

static size_t listed(struct dw_store *store, enum dw_worklist list)
{
    struct dw_store_query q = {.list = list, .body = "500108", .limit = 50};
    struct dw_store_row *rows;
    size_t count;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, DW_DOC_MAX);
    assert_int_equal(dw_store_worklist(store, &q, &arena, &rows, &count), DW_OK);
    return count;
}

/* Rows of then are found, can be changed, and do not meet those of now. */
static void check_rows(struct dw_store *store)
{
    static const char *bodies[] = {"500108"};
    static const uint8_t object[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    struct dw_case_index ix = {.bodies = bodies, .bodies_count = 1, .reference = "r", .state = "s",
                               .kind = "k", .against = "a", .district = "d", .assignee = "",
                               .body = "500108", .due_rule = ""};
    struct dw_store_object o = {.id = {9}, .bytes = dw_slice_of("new")};
    for (int part = 1; part <= 20; part++) {
        DW_AUTO_BUF bytes = {0};
        dw_buf_init(&bytes, 100);
        assert_int_equal(dw_store_object(store, object, part, &bytes), DW_OK);
        assert_int_equal(bytes.len, part);
    }
    assert_int_equal(listed(store, DW_LIST_UNASSIGNED), 20);
    for (int n = 1; n <= 30; n++) { /* closes those of then, adds some */
        struct dw_store_step step = {.with_case = true, .case_id = {0, 0, 0, 0, 0, 0, 0, (uint8_t)n},
                                     .old_version = n <= 20, .version = 1 + (n <= 20),
                                     .doc = dw_slice_of("doc"), .ix = &ix, .objects = &o,
                                     .objects_count = n > 20}, *steps[] = {&step};
        o.part = n;
        dw_store_apply(store, steps, 1);
        assert_int_equal(step.outcome, DW_OK);
        assert_false(step.existed);
    }
    assert_int_equal(listed(store, DW_LIST_UNASSIGNED), 0);
    assert_int_equal(listed(store, DW_LIST_ALL), 30);
    struct dw_store_counts counts;
    assert_int_equal(dw_store_counts(store, &counts), DW_OK);
    assert_int_equal(counts.cases, 30);
    assert_int_equal(counts.objects, 30);
}

TEST(a_file_of_version_1_is_refused_until_it_is_brought_up_to_date)
{
    char *folder = make_folder();
    char path[300], uri[320];
    struct dw_config config;
    struct dw_store *store;
    struct dw_error err = {0};
    uint8_t ids[50][16];
    size_t count;
    int from, to, seen = 0;
    snprintf(path, sizeof path, "%s/cases.db", folder);
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    dw_config_defaults(&config);
    make_version_1(path, 20);
    assert_int_equal(dw_store_open(uri, &config, &store, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "older"));
    *heard.said = 0;
    assert_int_equal(dw_store_make(uri, &config, &listening, &from, &to, &err), DW_OK);
    assert_int_equal(from, 1);
    assert_int_equal(to, dw_sqlite_schema.count);
    assert_non_null(strstr(heard.said, "cases to be counted"));
    assert_int_equal(dw_store_open(uri, &config, &store, &err), DW_OK);
    assert_int_equal(dw_store_due(store, DW_DUE_FOLD, 1, 50, ids, &count), DW_OK);
    assert_int_equal(count, 20);
    assert_int_equal(dw_store_walk(store, DW_TABLE_CASES, NULL, 100, check_entry, &seen), DW_OK);
    assert_int_equal(seen, 20);
    check_rows(store);
    dw_store_close(store);
    assert_int_equal(dw_store_make(uri, &config, &listening, &from, &to, &err), DW_OK);
    assert_int_equal(from, to);
    dw_config_free(&config);
    rm_folder(folder);
}

RUN(cmocka_unit_test(a_step_that_fails_leaves_the_version_before_and_is_taken_again),
    cmocka_unit_test(what_is_there_is_told_by_its_version),
    cmocka_unit_test(a_file_of_version_1_is_refused_until_it_is_brought_up_to_date))
