#include "dw/audit.h"

#include <string.h>

enum { ID_MAX = 32, NAME_LEN = 96, ENTRY_MAX = 8192 };

static const struct dw_field audit_fields[] = {
    DW_F_I64(struct dw_audit, seq, 0),
    DW_F_I64(struct dw_audit, at, 0),
    DW_F_TEXT(struct dw_audit, actor, NAME_LEN, 0),
    DW_F_TEXT(struct dw_audit, verb, ID_MAX, 0),
    DW_F_TEXT(struct dw_audit, object, NAME_LEN, 0),
    DW_F_FIXED(struct dw_audit, before, DW_OPTIONAL),
    DW_F_FIXED(struct dw_audit, hash, DW_OPTIONAL),
    DW_F_FIXED(struct dw_audit, writer, DW_OPTIONAL),
    DW_F_FIXED(struct dw_audit, signature, DW_OPTIONAL),
};
const struct dw_layout dw_audit_layout = DW_LAYOUT("audit", struct dw_audit, audit_fields);

void dw_audit_signed_bytes(const struct dw_audit *entry, struct dw_buf *out)
{
    struct dw_audit bare = *entry;
    memset(bare.hash, 0, sizeof bare.hash);
    memset(bare.writer, 0, sizeof bare.writer);
    memset(bare.signature, 0, sizeof bare.signature);
    dw_encode(&dw_audit_layout, &bare, out);
}

/* There is one way to write an entry down. */
static bool is_as_written(const struct dw_audit *entry, struct dw_slice doc)
{
    DW_AUTO_BUF again = {0};
    dw_buf_init(&again, ENTRY_MAX);
    dw_encode(&dw_audit_layout, entry, &again);
    return again.len == doc.len && memcmp(again.data, doc.data, doc.len) == 0;
}

static enum dw_result check(const struct dw_audit_place *place, int64_t seq, struct dw_slice doc,
                            const struct dw_audit *entry, dw_find_signer *writer, void *arg,
                            struct dw_error *err)
{
    uint8_t hash[DW_HASH_LEN];
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, ENTRY_MAX);
    dw_audit_signed_bytes(entry, &bytes);
    dw_hash(hash, dw_buf_slice(&bytes));
    const uint8_t *key = writer(arg, entry->writer, dw_day_of(entry->at));
    if (entry->seq != seq || memcmp(hash, entry->hash, DW_HASH_LEN) != 0 ||
        !is_as_written(entry, doc))
        return dw_invalid(err, "audit", "entry %lld was altered", (long long)seq);
    if (!key || !dw_verify(key, DW_LABEL_AUDIT, dw_buf_slice(&bytes), entry->signature))
        return dw_invalid(err, "audit", "entry %lld is not signed by a case worker", (long long)seq);
    if (seq != place->seq + 1)
        return dw_invalid(err, "audit", "entries %lld to %lld are missing",
                          (long long)place->seq + 1, (long long)seq - 1);
    if (memcmp(entry->before, place->hash, DW_HASH_LEN) != 0)
        return dw_invalid(err, "audit", "entry %lld does not follow the one before", (long long)seq);
    return DW_OK;
}

enum dw_result dw_audit_follows(struct dw_audit_place *place, int64_t seq, struct dw_slice doc,
                                dw_find_signer *writer, void *arg, struct dw_error *err)
{
    struct dw_audit entry;
    struct dw_error why;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, ENTRY_MAX);
    if (dw_decode(&dw_audit_layout, doc, &arena, &entry, &why) != DW_OK) {
        *place = (struct dw_audit_place){.seq = seq, .at = place->at};
        return dw_invalid(err, "audit", "entry %lld cannot be read", (long long)seq);
    }
    enum dw_result result = check(place, seq, doc, &entry, writer, arg, err);
    place->seq = seq;
    place->at = entry.at;
    memcpy(place->hash, entry.hash, DW_HASH_LEN);
    return result;
}
