/* receipt.h - the reporter's receipt and what follows from it.  Source: workers/envelope/receipt.c
 *
 * 24 digits in 6 groups of 4: 22 random digits (73 bits) and 2 check digits (ISO 7064 MOD 97-10).
 *
 *   y      = Argon2id13(digits, salt of the installation, 1 pass, 8 MiB)       64 bytes
 *   asked  = BLAKE2b-256(y)                       all that keyd is ever told
 *   h      = BLAKE2b-256(key = pepper in keyd, asked)
 *   handle = first 16 bytes of h                  by which the case is looked up
 *   rk     = BLAKE2b-256(key = y, h)
 *   auth   = crypto_kdf(rk, 1, "receipt_")        shown to the case worker, which keeps its BLAKE2b
 *   seed   = crypto_kdf(rk, 2, "receipt_")        of the reporter's box key pair
 *
 * Filing id, receipt and tok come from a secret of the intake, the Idempotency-Key and the
 * fingerprint of the payload: a retry shows the same receipt and makes no second case, a stranger
 * with the same key gets nothing.  The key itself is neither stored nor logged. */
#ifndef DW_RECEIPT_H
#define DW_RECEIPT_H

#include "dw/bytes.h"
#include "dw/directory.h"

enum { DW_RECEIPT_DIGITS = 24, DW_RECEIPT_TEXT = 30, DW_INTAKE_SECRET_LEN = 32, DW_Y_LEN = 64 };

/* Fingerprint of a payload: keyed BLAKE2b-256 of its canonical bytes (which name the files' hashes). */
void dw_receipt_fingerprint(uint8_t fp[32], const uint8_t secret[DW_INTAKE_SECRET_LEN],
                            struct dw_slice canonical);
struct dw_filing_ids {
    uint8_t filing[16];
    uint8_t tok[16];
    char receipt[DW_RECEIPT_DIGITS + 1];
};
void dw_receipt_derive(struct dw_filing_ids *ret, const uint8_t secret[DW_INTAKE_SECRET_LEN],
                       const char *idempotency_key, const uint8_t fp[32]);

/* "1234-5678-..." */
void dw_receipt_format(const char digits[DW_RECEIPT_DIGITS + 1], char out[DW_RECEIPT_TEXT]);
/* Takes spaces, hyphens and full-width digits; false unless 24 digits with right check digits. */
bool dw_receipt_parse(const char *text, char digits[DW_RECEIPT_DIGITS + 1]);

/* Argon2id (RFC 9106), one pass over 8 MiB, which is made once (NULL: there is none), serves one call
 * at a time and is wiped by each. */
void *dw_stretch_memory_new(void);
void dw_stretch_memory_free(void *memory);
bool dw_receipt_stretch(uint8_t y[DW_Y_LEN], const char digits[DW_RECEIPT_DIGITS + 1],
                        const uint8_t salt[DW_SALT_LEN], void *memory);
void dw_receipt_question(uint8_t asked[32], const uint8_t y[DW_Y_LEN]);

struct dw_receipt_keys {
    uint8_t handle[16];
    uint8_t auth[32], auth_hash[32];
    uint8_t box_public[DW_KEY_LEN], box_secret[DW_KEY_LEN];
};
void dw_receipt_keys(struct dw_receipt_keys *ret, const uint8_t y[DW_Y_LEN], const uint8_t h[32]);
/* The hash under which `auth` is kept. */
void dw_receipt_auth_hash(uint8_t out[32], const uint8_t auth[32]);

#endif
