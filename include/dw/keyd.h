/* keyd.h - questions to keyd.  Sources: workers/keyd/client.c (asking), keyd_main.c (answering)
 *
 * keyd alone holds the pepper of receipts and the keys of blind indexes.  It speaks over a unix
 * socket (SOCK_SEQPACKET, run/keyd.sock) with processes whose uid it knows by SO_PEERCRED, counts
 * every question and answers so many a second.
 *
 *   question  01 'R' asked(32)              receipt: keyed BLAKE2b-256 of what was asked
 *   question  01 'I' field(1) value(1-64)   blind index: first 8 bytes of keyed BLAKE2b
 *   answer    00 bytes | 01 busy | 02 malformed */
#ifndef DW_KEYD_H
#define DW_KEYD_H

#include "dw/config.h"
#include "dw/result.h"

enum { DW_INDEX_LEN = 8, DW_INDEX_VALUE_MAX = 64 };
enum dw_index_field { DW_INDEX_PROVIDER = 1 };

/* Thread-safe; connects when first asked and again after a break. */
struct dw_keyd;
struct dw_keyd *dw_keyd_new(const struct dw_config *config);
void dw_keyd_free(struct dw_keyd *keyd);
/* DW_OK, or DW_RETRY when keyd is away or busy. */
enum dw_result dw_keyd_receipt(struct dw_keyd *keyd, const uint8_t asked[32], uint8_t h[32]);
enum dw_result dw_keyd_index(struct dw_keyd *keyd, enum dw_index_field field, const char *value,
                             uint8_t index[DW_INDEX_LEN]);

#endif
