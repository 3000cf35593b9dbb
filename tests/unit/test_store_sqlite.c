/* What only the SQLite driver can do wrong: its file. */
#include "unit.h"

#include "dw/store.h"

#include <sqlite3.h>
#include <unistd.h>

static enum dw_result open_file(const char *path, struct dw_store **store, struct dw_error *err)
{
    struct dw_config config;
    char uri[400];
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    dw_config_defaults(&config);
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
    assert_int_equal(dw_store_ping(store), DW_OK);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(dw_store_ping(store), DW_RETRY);
    struct dw_store_audit entry = {"staff", 1, dw_slice_of("entry")};
    struct dw_store_step step = {.audit = &entry, .audit_count = 1};
    struct dw_store_step *steps[] = {&step};
    dw_store_apply(store, steps, 1);
    assert_int_equal(step.outcome, DW_RETRY);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    dw_store_apply(store, steps, 1);
    assert_int_equal(step.outcome, DW_OK);
    sqlite3_close(db);
    dw_store_close(store);
    dw_config_free(&config);
    rm_folder(folder);
}

RUN(cmocka_unit_test(a_foreign_damaged_or_newer_file_is_refused_with_what_to_do),
    cmocka_unit_test(durability_is_switched_on),
    cmocka_unit_test(a_locked_file_is_a_store_that_is_away_and_comes_back))
