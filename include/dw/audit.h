/* audit.h - who looked at or changed what, in chains.  Source: workers/domain/audit.c
 *
 * The case worker writes an entry for each read and each change, before or together with what came of
 * it.  Each worker has a chain of its own (cases.chain), numbered from 1.  An entry holds the hash of
 * the one before; hash and signature are over the entry with hash, writer and signature left out.
 *
 * So nothing can be altered, left out or put in unnoticed but at the end: what was cut off there is
 * found by who kept the number and the hash of an entry elsewhere (dengwen audit verify --against). */
#ifndef DW_AUDIT_H
#define DW_AUDIT_H

#include "dw/case.h"

#define DW_LABEL_AUDIT "dengwen/audit/1"
struct dw_audit {
    int64_t seq, at;
    const char *actor, *verb, *object; /* object: reference, or user */
    uint8_t before[DW_HASH_LEN], hash[DW_HASH_LEN];
    uint8_t writer[DW_SIGNER_LEN], signature[DW_SIGNATURE_LEN];
};
extern const struct dw_layout dw_audit_layout;

/* What hash and signature are over. */
void dw_audit_signed_bytes(const struct dw_audit *entry, struct dw_buf *out);

/* The last entry that was looked at; zero before the first of a chain. */
struct dw_audit_place {
    int64_t seq;
    dw_time at;
    uint8_t hash[DW_HASH_LEN];
};
/* Does the document, kept as number `seq`, follow?  DW_INVALID, and why; the place moves on in any case,
 * so that one wrong entry is told once. */
enum dw_result dw_audit_follows(struct dw_audit_place *place, int64_t seq, struct dw_slice doc,
                                dw_find_signer *writer, void *arg, struct dw_error *err);

#endif
