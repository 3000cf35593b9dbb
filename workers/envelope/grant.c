#include "dw/envelope.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

static_assert(DW_GRANT_LEN == DW_GRANT_PLAIN_LEN + crypto_box_SEALBYTES, "sealed box");

enum { VERSION = 1, SUITE = 1, ID_MAX = 31 };
static const uint8_t magic[4] = {'D', 'W', 'G', 'R'};

static const struct dw_field grant_fields[] = {
    DW_F_I32(struct dw_grant, kind, 0),     DW_F_I32(struct dw_grant, epoch, 0),
    DW_F_I32(struct dw_grant, to, 0),       DW_F_TEXT(struct dw_grant, id, ID_MAX, 0),
    DW_F_I32(struct dw_grant, to_epoch, 0), DW_F_FIXED(struct dw_grant, box, 0),
};
const struct dw_layout dw_grant_layout = DW_LAYOUT("grant", struct dw_grant, grant_fields);

void dw_root_contact(uint8_t contact[DW_ROOT_LEN], const uint8_t person[DW_ROOT_LEN])
{
    crypto_kdf_derive_from_key(contact, DW_ROOT_LEN, DW_ROOT_C, "rootkeys", person);
}

void dw_root_commitment(uint8_t out[DW_HASH_LEN], const uint8_t root[DW_ROOT_LEN],
                        enum dw_root_kind kind, uint32_t epoch, const uint8_t case_id[16])
{
    uint8_t message[6 + 1 + 4 + 16] = "commit";
    message[6] = (uint8_t)kind;
    for (int i = 0; i < 4; i++)
        message[7 + i] = (uint8_t)(epoch >> (24 - 8 * i));
    memcpy(message + 11, case_id, 16);
    crypto_generichash(out, DW_HASH_LEN, message, sizeof message, root, DW_ROOT_LEN);
}

/* Everything but the key: written when sealing, compared byte for byte after opening. */
static void write_plain(uint8_t plain[DW_GRANT_PLAIN_LEN], const struct dw_grant *g,
                        const uint8_t case_id[16])
{
    size_t len = strlen(g->id);
    memset(plain, 0, DW_GRANT_PLAIN_LEN);
    memcpy(plain, magic, sizeof magic);
    plain[4] = VERSION;
    plain[5] = SUITE;
    plain[6] = (uint8_t)g->kind;
    plain[7] = (uint8_t)g->to;
    memcpy(plain + 8, case_id, 16);
    for (int i = 0; i < 4; i++) {
        plain[24 + i] = (uint8_t)((uint32_t)g->epoch >> (24 - 8 * i));
        plain[28 + i] = (uint8_t)((uint32_t)g->to_epoch >> (24 - 8 * i));
    }
    plain[32] = (uint8_t)len;
    memcpy(plain + 33, g->id, len);
}

void dw_grant_seal(struct dw_grant *ret, enum dw_root_kind kind, uint32_t epoch,
                   const uint8_t case_id[16], const uint8_t root[DW_ROOT_LEN],
                   enum dw_grantee to, const char *id, int32_t to_epoch,
                   const uint8_t to_public[DW_KEY_LEN])
{
    uint8_t plain[DW_GRANT_PLAIN_LEN];
    assert(strlen(id) <= ID_MAX);
    *ret = (struct dw_grant){.kind = kind, .epoch = (int32_t)epoch, .to = to, .id = id,
                             .to_epoch = to_epoch};
    write_plain(plain, ret, case_id);
    memcpy(plain + 64, root, DW_ROOT_LEN);
    crypto_box_seal(ret->box, plain, sizeof plain, to_public);
    sodium_memzero(plain, sizeof plain);
}

enum dw_result dw_grant_open(const struct dw_grant *grant, const uint8_t case_id[16],
                             const uint8_t commitment[DW_HASH_LEN],
                             const uint8_t public[DW_KEY_LEN], const uint8_t secret[DW_KEY_LEN],
                             uint8_t root[DW_ROOT_LEN], struct dw_error *err)
{
    uint8_t plain[DW_GRANT_PLAIN_LEN], expected[DW_GRANT_PLAIN_LEN], committed[DW_HASH_LEN];
    enum dw_result result = DW_OK;
    if (strlen(grant->id) > ID_MAX)
        return dw_invalid(err, "grant", "grant: the grantee's id is too long");
    if (crypto_box_seal_open(plain, grant->box, DW_GRANT_LEN, public, secret) != 0)
        return dw_invalid(err, "grant", "grant: it is not sealed to this key");
    write_plain(expected, grant, case_id);
    dw_root_commitment(committed, plain + 64, (enum dw_root_kind)grant->kind,
                       (uint32_t)grant->epoch, case_id);
    if (memcmp(plain, expected, 64) != 0)
        result = dw_invalid(err, "grant", "grant: it grants something else than its row says");
    else if (!dw_same_bytes(committed, commitment, DW_HASH_LEN))
        result = dw_invalid(err, "grant", "grant: not the key the case committed to");
    else
        memcpy(root, plain + 64, DW_ROOT_LEN);
    sodium_memzero(plain, sizeof plain);
    return result;
}
