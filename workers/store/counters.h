/* counters.h - what counters.c, fold.c and rebuild.c share: the documents of statistics as records. */
#ifndef DW_STORE_COUNTERS_H
#define DW_STORE_COUNTERS_H

#include "dw/statistics.h"
#include "dw/store.h"

enum { COUNTERS_ARENA_MAX = 16 * 1024 * 1024 };

/* A batch: which events of which cases, and what they add ("500000/2026-11 against/...") in order. */
struct journal_case {
    uint8_t id[16];
    int32_t upto;
};
struct journal {
    int64_t batch;
    int64_t paused_until; /* no next batch before that; 0 for no pause */
    struct journal_case *cases;
    size_t cases_count;
    const char **cells;
    size_t cells_count;
    int32_t *counts;
    size_t counts_count;
};

/* Version 0 and empty where there is none. */
enum dw_result journal_read(struct dw_store *store, struct dw_arena *arena, struct journal *ret,
                            int64_t *version);
/* Replaces the one of that version, which goes up by one. */
enum dw_result journal_write(struct dw_store *store, const struct journal *journal,
                             int64_t *version);
bool journal_is_paused(const struct journal *journal, dw_time now);
/* Adds the batch to its counters and marks its cases; `loaded` may be NULL, or hold the cases as they
 * were read for this batch. */
enum dw_result journal_finish(struct dw_store *store, const struct journal *journal,
                              struct dw_case *const *loaded);

enum dw_result counters_read(struct dw_store *store, const char *key, struct dw_arena *arena,
                             struct dw_counters *ret, int64_t *version);
enum dw_result counters_decode(struct dw_slice doc, struct dw_arena *arena,
                               struct dw_counters *ret);
/* Both sides in order: together, without zeros. */
void counters_merge(const struct dw_counters *a, const struct dw_counters *b,
                    struct dw_arena *arena, struct dw_counters *ret);
struct dw_store_record counters_record(const char *key, int64_t old_version,
                                       const struct dw_counters *counters, struct dw_buf *doc);

/* Texts of the same document are neighbours: how many from `first` on, and its key. */
size_t counters_group(const char *const *cells, size_t count, size_t first,
                      char key[DW_COUNTER_TEXT]);
/* The counter behind the key. */
const char *counters_name(const char *cell);

#endif
