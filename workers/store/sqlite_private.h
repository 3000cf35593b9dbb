/* sqlite_private.h - what the files of the SQLite driver share.
 *
 * sqlite.c opens, and has the statements; sqlite_place.c finds rows by their id, sqlite_write.c
 * writes, sqlite_read.c answers questions, sqlite_walk.c goes through all there is, sqlite_schema.c
 * makes tables. */
#ifndef DW_STORE_SQLITE_PRIVATE_H
#define DW_STORE_SQLITE_PRIVATE_H

#include "driver.h"

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

enum sqlite_statement {
    Q_BEGIN, Q_COMMIT, Q_ROLLBACK, Q_STEP, Q_STEP_UNDO, Q_STEP_DONE,
    Q_PLACE_INSERT, Q_LAST_CASE, Q_LAST_OBJECT,
    Q_PLACES, Q_PLACE_UPDATE, Q_CASE_MOVE, Q_OBJECT_MOVE,
    Q_CASE, Q_CASE_INSERT, Q_CASE_UPDATE, Q_ROW,
    Q_OBJECT, Q_OBJECT_INSERT,
    Q_RECEIPT, Q_RECEIPT_INSERT, Q_REF, Q_REF_INSERT,
    Q_WORK_INSERT, Q_WORK_DELETE, Q_MINE_INSERT, Q_MINE_DELETE, Q_MINE, Q_OPEN, Q_ALL,
    Q_TIMER, Q_NOTICE, Q_FOLD,
    Q_RECORD, Q_RECORD_PUT, Q_RECORD_DELETE, Q_RECORDS,
    Q_AUDIT_INSERT, Q_AUDIT_LAST, Q_AUDIT_READ,
    Q_COUNTS, Q_EACH, Q_COUNT
};

enum { SQLITE_NO_DUE = INT_MAX }; /* a due day behind all others */

struct sqlite {
    pthread_mutex_t lock;
    char *path;
    enum dw_store_use use;
    sqlite3 *db;
    sqlite3_stmt **statements;
    bool failed; /* an error inside the running transaction */
    atomic_bool broken; /* I/O error: the file must be opened again */
    int64_t next_case, next_object; /* numbers of the running transaction, 0 before the first */
    struct dw_checkpointer *checkpointer; /* NULL in memory, and where nothing is written */
};

/* ---- sqlite.c: one statement at a time ---- */

sqlite3_stmt *sqlite_use(struct sqlite *s, enum sqlite_statement which);
void sqlite_blob(sqlite3_stmt *st, int at, const void *data, size_t len);
void sqlite_text(sqlite3_stmt *st, int at, const char *value);
/* False: no more rows, or an error, which is noted in `failed`. */
bool sqlite_step_row(struct sqlite *s, sqlite3_stmt *st);
void sqlite_run(struct sqlite *s, sqlite3_stmt *st);
/* Between these two nobody else uses the connection; an error on the way is RETRY. */
enum dw_result sqlite_begin_read(struct sqlite *s);
enum dw_result sqlite_end_read(struct sqlite *s, enum dw_result result);

/* ---- sqlite_place.c ---- */

enum { SQLITE_NUMBERS = 40 }; /* bits of the numbers that are given to new rows; those of rows in their
                               * places are higher, as all were before version 3 */

/* Where a search begins: even for a case, odd for a chunk of an object.  The next one is two behind. */
int64_t sqlite_place_first(bool object, const uint8_t id[16], int32_t part);
int64_t sqlite_place_next(int64_t slot);
/* Is there a row of this id?  Its statement (Q_CASE, Q_ROW, Q_OBJECT) stands on it then.  `slot` is its
 * place, or the first empty one. */
struct sqlite_found {
    int64_t slot, n;
    sqlite3_stmt *row;
};
bool sqlite_find(struct sqlite *s, enum sqlite_statement which, const uint8_t id[16], int32_t part,
                 struct sqlite_found *ret);
/* The number of a new case or object. */
int64_t sqlite_next(struct sqlite *s, bool object);
void sqlite_place(struct sqlite *s, int64_t slot, int64_t n);
enum dw_result sqlite_tidy(void *self, int64_t *at); /* see store.h */

/* ---- sqlite_write.c ---- */

void sqlite_apply(void *self, struct dw_store_step *const *steps, size_t count);

/* ---- sqlite_read.c: see store.h ---- */

enum dw_result sqlite_get_case(void *self, const uint8_t id[16], struct dw_buf *buf,
                               int64_t *version);
enum dw_result sqlite_id_of_handle(void *self, const uint8_t handle[16], uint8_t id[16]);
enum dw_result sqlite_id_of_reference(void *self, const char *reference, uint8_t id[16]);
enum dw_result sqlite_get_object(void *self, const uint8_t id[16], int32_t part,
                                 struct dw_buf *buf);
enum dw_result sqlite_worklist(void *self, const struct dw_store_query *query,
                               struct dw_arena *arena, struct dw_store_row *rows, size_t *count);
enum dw_result sqlite_due(void *self, enum dw_store_due which, dw_time now, size_t limit,
                          uint8_t (*ids)[16], size_t *count);
enum dw_result sqlite_get_record(void *self, const char *collection, const char *key,
                                 struct dw_buf *buf, int64_t *version);
enum dw_result sqlite_records(void *self, const char *collection, const char *prefix,
                              dw_store_each *each, void *arg);
enum dw_result sqlite_audit_last(void *self, const char *chain, int64_t *seq, struct dw_buf *buf);
enum dw_result sqlite_audit_read(void *self, const char *chain, int64_t from, size_t limit,
                                 dw_store_each *each, void *arg);
enum dw_result sqlite_counts(void *self, struct dw_store_counts *ret);
enum dw_result sqlite_each_case(void *self, dw_store_each *each, void *arg);

/* ---- sqlite_schema.c ---- */

bool sqlite_exec(sqlite3 *db, const char *statements);
bool sqlite_is_unfinished(sqlite3 *db);

/* ---- sqlite_walk.c ---- */

enum dw_result sqlite_walk(void *self, enum dw_store_table table,
                           const struct dw_store_entry *after, size_t limit,
                           dw_store_walker *walker, void *arg);

#endif
