/* fault_store.h - wraps a store and makes one call fail.  Source: fault_store.c
 *
 * BEFORE: the n-th apply does nothing, and its outcome is RETRY.  AFTER: it happens, and the outcome is
 * UNCERTAIN, as when the answer is lost.  READ: the n-th reading call is RETRY. */
#ifndef DW_TESTS_FAULT_STORE_H
#define DW_TESTS_FAULT_STORE_H

#include "dw/store.h"

enum fault { FAULT_BEFORE, FAULT_AFTER, FAULT_READ };

/* Takes the store; fails its n-th call of that kind (1, 2, ...), or none for 0. */
struct dw_store *fault_store(struct dw_store *inner, enum fault fault, int n);
/* Whether the fault has struck. */
bool fault_store_struck(const struct dw_store *store);
/* Gives back what was taken, unclosed; the wrapping is gone. */
struct dw_store *fault_store_unwrap(struct dw_store *store);

#endif
