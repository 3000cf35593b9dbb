/* fault_store.h - wraps a store and makes its n-th writing call fail.  Source: fault_store.c
 *
 * BEFORE: nothing happens, and the outcome is RETRY.  AFTER: it happens, and the outcome is
 * UNCERTAIN, as when the answer is lost. */
#ifndef DW_TESTS_FAULT_STORE_H
#define DW_TESTS_FAULT_STORE_H

#include "dw/store.h"

enum fault { FAULT_BEFORE, FAULT_AFTER };

/* Takes the store; fails its n-th apply (1, 2, ...), or none for 0. */
struct dw_store *fault_store(struct dw_store *inner, enum fault fault, int n);
/* Whether the fault has struck. */
bool fault_store_struck(const struct dw_store *store);

#endif
