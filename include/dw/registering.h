/* registering.h - what a case worker does next with a filing from the queue, after each answer of the
 * store and of the queue.  Source: workers/case/registering.c
 *
 * Pure: who calls does what is asked for, tells what came of it and is told the next thing, until it is
 * to answer the queue.  Nothing is 200 before the store has said that it is there. */
#ifndef DW_REGISTERING_H
#define DW_REGISTERING_H

#include "dw/store.h"

enum { DW_REFERENCES_TRIED = 64 };

struct dw_registering {
    uint32_t parts;
    uint32_t reference_n; /* which of the references of this filing is tried */
    bool made;            /* the case was not there before */
    int status;           /* 200 done, 300 not now, 422 never */
    const char *why;      /* "" of a 200 */
};

enum dw_registering_next {
    DW_REGISTERING_LOOK,   /* whether the store has its case: dw_store_case() */
    DW_REGISTERING_FETCH,  /* its parts, into the store, as objects that nobody names yet */
    DW_REGISTERING_WRITE,  /* objects, handle, reference and case, as one step */
    DW_REGISTERING_ANSWER, /* `status` and `why` to the queue */
};

/* The first step; `wrong` says why it is no filing of ours, NULL for one that is. */
enum dw_registering_next dw_registering_begin(struct dw_registering *r, uint32_t parts,
                                              const char *wrong);
enum dw_registering_next dw_registering_looked(struct dw_registering *r, enum dw_result found);
/* Parts as one step: true when the next ones may be fetched. */
bool dw_registering_stored(struct dw_registering *r, enum dw_result outcome);
/* A part that did not come, or a file that is not the one the filing names. */
void dw_registering_no_part(struct dw_registering *r);
void dw_registering_other_file(struct dw_registering *r);
/* After the last of them, or after one of the three above said no. */
enum dw_registering_next dw_registering_fetched(const struct dw_registering *r);
enum dw_registering_next dw_registering_written(struct dw_registering *r,
                                                const struct dw_store_step *step);

#endif
