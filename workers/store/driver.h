/* driver.h - what a driver gives.  store.c checks arguments; drivers translate. */
#ifndef DW_STORE_DRIVER_H
#define DW_STORE_DRIVER_H

#include "dw/store.h"

struct dw_store_driver {
    const char *scheme; /* "sqlite:" */
    bool whole_uri;     /* open wants the scheme too */
    enum dw_result (*open)(const char *rest, enum dw_store_use use, const struct dw_config *config,
                           void **ret, struct dw_error *err);
    enum dw_result (*make)(const char *rest, const struct dw_config *config,
                           const struct dw_progress *progress, int *from, int *to,
                           struct dw_error *err);
    void (*close)(void *self);
    enum dw_result (*ping)(void *self);
    void (*apply)(void *self, struct dw_store_step *const *steps, size_t count);
    enum dw_result (*get_case)(void *self, const uint8_t id[16], struct dw_buf *buf,
                               int64_t *version);
    enum dw_result (*id_of_handle)(void *self, const uint8_t handle[16], uint8_t id[16]);
    enum dw_result (*id_of_reference)(void *self, const char *reference, uint8_t id[16]);
    enum dw_result (*get_object)(void *self, const uint8_t id[16], int32_t part,
                                 struct dw_buf *buf);
    enum dw_result (*worklist)(void *self, const struct dw_store_query *query,
                               struct dw_arena *arena, struct dw_store_row *rows, size_t *count);
    enum dw_result (*due)(void *self, enum dw_store_due which, dw_time now, size_t limit,
                          uint8_t (*ids)[16], size_t *count);
    enum dw_result (*get_record)(void *self, const char *collection, const char *key,
                                 struct dw_buf *buf, int64_t *version);
    enum dw_result (*records)(void *self, const char *collection, const char *prefix,
                              dw_store_each *each, void *arg);
    enum dw_result (*audit_last)(void *self, const char *chain, int64_t *seq, struct dw_buf *buf);
    enum dw_result (*audit_read)(void *self, const char *chain, int64_t from, size_t limit,
                                 dw_store_each *each, void *arg);
    enum dw_result (*counts)(void *self, struct dw_store_counts *ret);
    enum dw_result (*each_case)(void *self, dw_store_each *each, void *arg);
    enum dw_result (*tidy)(void *self, int64_t *at); /* NULL: there is nothing to do */
    enum dw_result (*walk)(void *self, enum dw_store_table table,
                           const struct dw_store_entry *after, size_t limit,
                           dw_store_walker *walker, void *arg);
};

struct dw_store {
    const struct dw_store_driver *driver;
    void *self;
};

extern const struct dw_store_driver dw_store_sqlite, dw_store_mongo;

/* ---- schema.c: versions ----
 *
 * Version n is what the first n steps have made, and an empty place is version 0.  So a new version is
 * one row and one function, which new stores run through as well. */
struct dw_schema_step {
    const char *what;
    enum dw_result (*run)(void *place, const struct dw_progress *progress, struct dw_error *err);
};
struct dw_schema {
    const struct dw_schema_step *steps;
    int count;
    /* INVALID: what is there is not ours. */
    enum dw_result (*read)(void *place, int *version, struct dw_error *err);
    /* Runs the step that makes `version`, and writes that number: at once where the driver can;
     * else the number last, and the step may be run again. */
    enum dw_result (*take)(void *place, const struct dw_schema_step *step, int version,
                           const struct dw_progress *progress, struct dw_error *err);
};
enum dw_result dw_schema_migrate(const struct dw_schema *schema, void *place,
                                 const struct dw_progress *progress, int *from,
                                 struct dw_error *err);
/* Can a case worker of ours work with this version? */
enum dw_result dw_schema_check(const struct dw_schema *schema, int version, struct dw_error *err);
enum dw_result dw_store_unfinished(struct dw_error *err);
void dw_tell(const struct dw_progress *progress, const char *what, int64_t done, int64_t total);

/* Places: a sqlite3 *, a struct mongo_call *. */
extern const struct dw_schema dw_sqlite_schema, dw_mongo_schema;

#endif
