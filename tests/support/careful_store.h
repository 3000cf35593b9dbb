/* careful_store.h - wraps a store as one who keeps to the contract uses it.  Source: careful_store.c
 *
 * On RETRY it tries again.  On UNCERTAIN it looks, and tries again only what did not happen: a case, a
 * record or an audit entry that is not as it was before has been written.  So a store that fails now
 * and then looks like one that never does, to one caller at a time. */
#ifndef DW_TESTS_CAREFUL_STORE_H
#define DW_TESTS_CAREFUL_STORE_H

#include "dw/store.h"

/* Takes the store. */
struct dw_store *careful_store(struct dw_store *inner);
/* Gives back what was taken, unclosed; the wrapping is gone. */
struct dw_store *careful_store_unwrap(struct dw_store *store);

#endif
