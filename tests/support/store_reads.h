/* store_reads.h - every reading call of a driver, for stores that wrap another: READ(name, (its
 * arguments), what is handed on...). */
#ifndef DW_TESTS_STORE_READS_H
#define DW_TESTS_STORE_READS_H

#include "driver.h"

/* clang-format off */
#define STORE_READS(READ)                                                                          \
    READ(ping, (void *self))                                                                       \
    READ(get_case, (void *self, const uint8_t id[16], struct dw_buf *buf, int64_t *version),       \
         id, buf, version)                                                                         \
    READ(id_of_handle, (void *self, const uint8_t handle[16], uint8_t id[16]), handle, id)         \
    READ(id_of_reference, (void *self, const char *reference, uint8_t id[16]), reference, id)      \
    READ(get_object, (void *self, const uint8_t id[16], int32_t part, struct dw_buf *buf),         \
         id, part, buf)                                                                            \
    READ(worklist, (void *self, const struct dw_store_query *query, struct dw_arena *arena,        \
                    struct dw_store_row *rows, size_t *count), query, arena, rows, count)          \
    READ(due, (void *self, enum dw_store_due which, dw_time now, size_t limit,                     \
               uint8_t (*ids)[16], size_t *count), which, now, limit, ids, count)                  \
    READ(get_record, (void *self, const char *collection, const char *key, struct dw_buf *buf,     \
                      int64_t *version), collection, key, buf, version)                            \
    READ(records, (void *self, const char *collection, const char *prefix, dw_store_each *each,    \
                   void *arg), collection, prefix, each, arg)                                      \
    READ(audit_last, (void *self, const char *chain, int64_t *seq, struct dw_buf *buf),            \
         chain, seq, buf)                                                                          \
    READ(audit_read, (void *self, const char *chain, int64_t from, size_t limit,                   \
                      dw_store_each *each, void *arg), chain, from, limit, each, arg)              \
    READ(counts, (void *self, struct dw_store_counts *ret), ret)                                   \
    READ(each_case, (void *self, dw_store_each *each, void *arg), each, arg)                       \
    READ(walk, (void *self, enum dw_store_table table, const struct dw_store_entry *after,         \
                size_t limit, dw_store_walker *walker, void *arg), table, after, limit, walker, arg)

#define STORE_READ_MEMBER(name, ...) .name = name,
/* clang-format on */

#endif
