/* The thread that moves a database's log into its file. */
#include "unit.h"

#include "dw/checkpoint.h"
#include "dw/clock.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, ROWS = 200 };

struct fixture {
    char *folder;
    char path[300], log[310];
    sqlite3 *db;
};

/* A writer that never moves the log itself. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->folder = make_folder();
    snprintf(f->path, sizeof f->path, "%s/some.db", f->folder);
    snprintf(f->log, sizeof f->log, "%s-wal", f->path);
    assert_int_equal(sqlite3_open(f->path, &f->db), SQLITE_OK);
    sqlite3_busy_timeout(f->db, PATIENCE_MS);
    assert_int_equal(sqlite3_exec(f->db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
                                         "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sqlite3_close(f->db);
    rm_folder(f->folder);
    free(f);
    return 0;
}

static void fail_test(void *arg, const char *what)
{
    (void)arg;
    fail_msg("%s", what);
}

static void write_rows(struct fixture *f)
{
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(sqlite3_exec(f->db, "INSERT INTO t VALUES(randomblob(4000))", NULL, NULL,
                                      NULL), SQLITE_OK);
}

static int64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

/* Has it nothing but zeros, and some of them? */
static bool is_laid_out(const char *path)
{
    FILE *in = fopen(path, "rb");
    int byte, bytes = 0;
    assert_non_null(in);
    while ((byte = fgetc(in)) == 0)
        bytes++;
    fclose(in);
    return byte == EOF && bytes > 0;
}

static void wait_until_cut(struct fixture *f, int64_t rows)
{
    int64_t until = dw_monotonic_ms() + PATIENCE_MS;
    while (!is_laid_out(f->log) && dw_monotonic_ms() < until)
        usleep(10000);
    assert_true(is_laid_out(f->log));
    assert_true(size_of(f->path) > rows * 4000);
}

TEST(a_log_that_nobody_adds_to_is_moved_and_cut_to_nothing)
{
    struct fixture *f = *state;
    write_rows(f);
    assert_true(size_of(f->log) > ROWS * 4000);
    struct dw_checkpointer *c = dw_checkpointer_start(f->path, fail_test, NULL);
    assert_non_null(c);
    wait_until_cut(f, ROWS);
    write_rows(f);
    dw_checkpointer_wake(c);
    wait_until_cut(f, 2 * ROWS);
    dw_checkpointer_stop(c);
}

static int64_t count(const char *path)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t rows = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return rows;
}

/* As after a kill: the files as they are, opened by somebody else.  Of one moment: while somebody holds the
 * lock of writers, the log is moved at most, and nothing goes from it. */
static void copied_it_has(struct fixture *f, int64_t rows)
{
    char command[2400], path[320];
    snprintf(path, sizeof path, "%s/copy.db", f->folder);
    snprintf(command, sizeof command, "cp %s %s && cp %s %s-wal && rm -f %s-shm", f->path, path,
             f->log, path, path);
    sqlite3_busy_timeout(f->db, PATIENCE_MS);
    assert_int_equal(sqlite3_exec(f->db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(system(command), 0);
    assert_int_equal(sqlite3_exec(f->db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(count(path), rows);
}

TEST(a_log_that_was_laid_out_is_as_good_as_none)
{
    struct fixture *f = *state;
    struct dw_checkpointer *c = dw_checkpointer_start(f->path, fail_test, NULL);
    wait_until_cut(f, 0);
    dw_checkpointer_stop(c);
    copied_it_has(f, 0);
    int64_t size = size_of(f->log);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(sqlite3_exec(f->db, "INSERT INTO t VALUES(randomblob(4000))", NULL, NULL,
                                      NULL), SQLITE_OK);
        copied_it_has(f, i);
    }
    assert_int_equal(size_of(f->log), size);
    write_rows(f);
    copied_it_has(f, 3 + ROWS);
}

TEST(who_writes_all_the_time_loses_nothing_to_it)
{
    struct fixture *f = *state;
    struct dw_checkpointer *c = dw_checkpointer_start(f->path, fail_test, NULL);
    for (int i = 0; i < 4; i++) {
        usleep(900000 + 100000 * (useconds_t)i); /* about when it takes the log for idle */
        write_rows(f);
        copied_it_has(f, (i + 1) * ROWS);
    }
    dw_checkpointer_stop(c);
    copied_it_has(f, 4 * ROWS);
}

TEST(a_database_that_cannot_be_opened_gets_none)
{
    struct fixture *f = *state;
    char path[320];
    snprintf(path, sizeof path, "%s/missing.db", f->folder);
    assert_null(dw_checkpointer_start(path, fail_test, NULL));
    dw_checkpointer_stop(NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(a_log_that_nobody_adds_to_is_moved_and_cut_to_nothing),
    T(a_log_that_was_laid_out_is_as_good_as_none), T(who_writes_all_the_time_loses_nothing_to_it),
    T(a_database_that_cannot_be_opened_gets_none))
