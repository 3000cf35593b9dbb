/* sqlite_private.h - what the files of the SQLite driver share.
 *
 * sqlite.c opens, writes and answers questions, sqlite_schema.c makes tables, sqlite_walk.c goes
 * through all there is. */
#ifndef DW_STORE_SQLITE_PRIVATE_H
#define DW_STORE_SQLITE_PRIVATE_H

#include "driver.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

struct sqlite {
    pthread_mutex_t lock;
    char *path;
    enum dw_store_use use;
    sqlite3 *db;
    sqlite3_stmt **statements;
    bool failed; /* an error inside the running transaction */
    atomic_bool broken; /* I/O error: the file must be opened again */
    struct dw_checkpointer *checkpointer; /* NULL in memory, and where nothing is written */
};

/* Between these two nobody else uses the connection; an error on the way is RETRY. */
enum dw_result sqlite_begin_read(struct sqlite *s);
enum dw_result sqlite_end_read(struct sqlite *s, enum dw_result result);
/* False: no more rows, or an error, which is noted in `failed`. */
bool sqlite_step_row(struct sqlite *s, sqlite3_stmt *st);
/* Where the case or object lies. */
bool sqlite_slot(struct sqlite *s, enum dw_store_table table, const uint8_t id[16], int32_t part,
                 int64_t *slot);

/* ---- sqlite_schema.c ---- */

bool sqlite_exec(sqlite3 *db, const char *statements);
bool sqlite_is_unfinished(sqlite3 *db);

/* ---- sqlite_walk.c ---- */

enum dw_result sqlite_walk(void *self, enum dw_store_table table,
                           const struct dw_store_entry *after, size_t limit,
                           dw_store_walker *walker, void *arg);

#endif
