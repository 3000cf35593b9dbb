/* putting.h - which broker an intake gives a filing to, and what it makes of each answer.
 * Source: workers/intake/putting.c
 *
 * Pure.  Asking the next broker after a lost answer is harmless: the filing id is the same
 * (dw/receipt.h), so that two that have it are one case in the end. */
#ifndef DW_PUTTING_H
#define DW_PUTTING_H

#include "dw/bytes.h"
#include "dw/result.h"

enum { DW_PUT_AGAIN_SECONDS = 5 }; /* where nobody says when to come again */

struct dw_putting {
    size_t brokers, first, left; /* left: so many are still to be asked */
    int status;                  /* 202: it is received, and only then may the receipt be shown; 422; 503 */
    int retry_seconds;           /* of a 503 */
    const char *why;             /* of a 503, for the log */
};

/* Parts are at one broker already, the first; without parts any will do. */
void dw_putting_begin(struct dw_putting *p, size_t brokers, size_t first, bool parts);
/* False: there is nobody else to ask, and `status` is the answer. */
bool dw_putting_next(const struct dw_putting *p, size_t *broker);
/* How the call of queue.put ended, the status of the answer and the frame behind it. */
void dw_putting_answered(struct dw_putting *p, enum dw_result result, int status,
                         struct dw_slice said);

/* What a queue that had no room said: when to come again. */
int dw_put_again_seconds(struct dw_slice said);

#endif
