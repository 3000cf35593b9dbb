/* copy.h - all of one store into another, document by document, unopened.  Source:
 * workers/store/copy.c
 *
 * The target is empty at first.  Until the copy is finished it holds the record "copy/progress", with
 * which no case worker opens it, and which says of what source it is a copy, and how far.  Whoever is
 * killed goes on from there: each document is inserted if it is absent, so doing a page twice does it
 * once.
 *
 * Tables are copied in the order of enum dw_store_table: cases first, then what they name.  Side
 * documents are written before their case and nothing of them is ever deleted; so a copy of a source
 * that is written meanwhile has each case whole, as it was at some moment of the copying.
 *
 * Sums: for each table the number of documents, and the sum modulo 2^256 of their BLAKE2b-256, which
 * is the same in whatever order a driver walks.  They find loss and damage.  Against forgery there are
 * the signatures of events, which stand in the documents. */
#ifndef DW_COPY_H
#define DW_COPY_H

#include "dw/store.h"

struct dw_copy_sum {
    int64_t count, bytes;
    uint8_t hash[32];
};
/* What a store holds, or a part of it; kept in a backup, so that it can be checked alone. */
struct dw_copy_sums {
    dw_time made;
    struct dw_copy_sum tables[DW_TABLES];
};
extern const char *const dw_table_names[DW_TABLES];

/* Reads everything.  RETRY: it is away. */
enum dw_result dw_copy_sums_of(struct dw_store *store, const struct dw_progress *progress,
                               struct dw_copy_sums *ret);
/* NULL, or the first table in which they differ. */
const char *dw_copy_difference(const struct dw_copy_sums *a, const struct dw_copy_sums *b);

/* Begins or goes on; `source` names it for the next time.  What was read is in `ret`.
 * CONFLICT: the target holds something, or is a copy of something else, or somebody else copies into
 * it; INVALID: a document cannot be read or stored; RETRY: one of the two is away or full. */
enum dw_result dw_copy(struct dw_store *from, struct dw_store *to, const char *source,
                       const struct dw_progress *progress, struct dw_copy_sums *ret,
                       struct dw_error *err);
/* From now on the target is a store like any other.  With `sums` they stay in it: a backup. */
enum dw_result dw_copy_finish(struct dw_store *to, const struct dw_copy_sums *sums);
/* NOT_FOUND: it is no backup. */
enum dw_result dw_copy_kept_sums(struct dw_store *store, struct dw_copy_sums *ret);

#endif
