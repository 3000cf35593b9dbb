#include "dw/envelope.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

static_assert(DW_OBJECT_NONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
static_assert(DW_ROOT_LEN == crypto_kdf_KEYBYTES, "root key");

enum { VERSION = 1, SUITE = 1, TAG_LEN = crypto_aead_xchacha20poly1305_ietf_ABYTES };
static const uint8_t magic[4] = {'D', 'W', 'E', 'V'};

static const size_t buckets[] = {1024, 4096, 16384, 65536};

/* The type fixes the key: which root, which context, and by its own number which subkey. */
static const struct {
    const char *name;
    enum dw_root_kind root;
    const char *context; /* crypto_kdf_CONTEXTBYTES */
} types[] = {
    [DW_OBJECT_BODY] = {"body", DW_ROOT_R, "casebody"},
    [DW_OBJECT_MESSAGE] = {"message", DW_ROOT_R, "casemsg_"},
    [DW_OBJECT_MANIFEST] = {"manifest", DW_ROOT_R, "attkeys_"},
    [DW_OBJECT_NOTE] = {"note", DW_ROOT_I, "casenote"},
    [DW_OBJECT_FINDING] = {"finding", DW_ROOT_I, "casefind"},
    [DW_OBJECT_IDENTITY] = {"identity", DW_ROOT_P, "identity"},
    [DW_OBJECT_CONTACT] = {"contact", DW_ROOT_C, "contacts"},
    [DW_OBJECT_FILE] = {"file", 0, NULL},
};

enum dw_root_kind dw_object_root(enum dw_object_type type)
{
    return (unsigned)type < DW_COUNT(types) ? types[type].root : 0;
}

const char *dw_object_type_name(enum dw_object_type type)
{
    return (unsigned)type < DW_COUNT(types) && types[type].name ? types[type].name : "unknown";
}

static void derive_key(uint8_t key[32], enum dw_object_type type, const uint8_t root[DW_ROOT_LEN])
{
    crypto_kdf_derive_from_key(key, 32, (uint64_t)type, types[type].context, root);
}

static void write_header(const struct dw_object_header *h, struct dw_buf *out)
{
    dw_buf_put(out, magic, sizeof magic);
    dw_buf_u8(out, VERSION);
    dw_buf_u8(out, SUITE);
    dw_buf_u16(out, (uint16_t)h->type);
    dw_buf_put(out, h->case_id, 16);
    dw_buf_put(out, h->object_id, 16);
    dw_buf_u32(out, h->epoch);
    dw_buf_u32(out, h->sequence);
    dw_buf_u16(out, (uint16_t)h->day);
}

void dw_object_id(uint8_t id[16], const uint8_t case_id[16])
{
    enum { OF_THE_CASE = 5 };
    memcpy(id, case_id, OF_THE_CASE);
    randombytes_buf(id + OF_THE_CASE, 16 - OF_THE_CASE);
}

bool dw_envelope_seal(const struct dw_object_header *header, const uint8_t root[DW_ROOT_LEN],
                      const struct dw_signer *signer, struct dw_slice plain, struct dw_buf *out)
{
    size_t start = out->len, i = 0;
    while (i < DW_COUNT(buckets) && plain.len + 1 > buckets[i])
        i++;
    if (i == DW_COUNT(buckets) || !dw_object_root(header->type) || header->day < 0 ||
        header->day > UINT16_MAX)
        return false;
    size_t bucket = buckets[i];
    uint8_t *padded = dw_alloc(bucket), *sealed = dw_alloc(bucket + TAG_LEN);
    uint8_t nonce[DW_OBJECT_NONCE_LEN], key[32], signature[DW_SIGNATURE_LEN];
    if (plain.len)
        memcpy(padded, plain.data, plain.len);
    padded[plain.len] = 0x80; /* ISO 7816-4, as sodium_pad() does */

    write_header(header, out);
    if (out->overflow) {
        dw_wipe_free(padded, bucket);
        dw_free(sealed);
        return false;
    }
    randombytes_buf(nonce, sizeof nonce);
    derive_key(key, header->type, root);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, padded, bucket, out->data + start,
                                               DW_OBJECT_HEADER_LEN, NULL, nonce, key);
    dw_buf_put(out, nonce, sizeof nonce);
    dw_buf_put(out, sealed, bucket + TAG_LEN);
    dw_buf_put(out, signer->id, DW_SIGNER_LEN);
    if (!out->overflow) {
        dw_sign(signer, DW_LABEL_OBJECT, DW_SLICE(out->data + start, out->len - start), signature);
        dw_buf_put(out, signature, sizeof signature);
    }
    sodium_memzero(key, sizeof key);
    dw_wipe_free(padded, bucket);
    dw_free(sealed);
    return !out->overflow;
}

static bool is_bucket(size_t len)
{
    for (size_t i = 0; i < DW_COUNT(buckets); i++)
        if (len == buckets[i])
            return true;
    return false;
}

bool dw_envelope_header(struct dw_slice object, struct dw_object_header *ret,
                        uint8_t signer[DW_SIGNER_LEN])
{
    struct dw_reader r = {.rest = object};
    if (object.len < DW_OBJECT_OVERHEAD || !is_bucket(object.len - DW_OBJECT_OVERHEAD))
        return false;
    const uint8_t *m = dw_read_bytes(&r, sizeof magic);
    uint8_t version = dw_read_u8(&r), suite = dw_read_u8(&r);
    ret->type = dw_read_u16(&r);
    memcpy(ret->case_id, dw_read_bytes(&r, 16), 16);
    memcpy(ret->object_id, dw_read_bytes(&r, 16), 16);
    ret->epoch = dw_read_u32(&r);
    ret->sequence = dw_read_u32(&r);
    ret->day = dw_read_u16(&r);
    if (memcmp(m, magic, sizeof magic) != 0 || version != VERSION || suite != SUITE ||
        !dw_object_root(ret->type))
        return false;
    memcpy(signer, object.data + object.len - DW_SIGNATURE_LEN - DW_SIGNER_LEN, DW_SIGNER_LEN);
    return true;
}

bool dw_envelope_signed_by(struct dw_slice object, const uint8_t sign[DW_KEY_LEN])
{
    uint8_t signer[DW_SIGNER_LEN];
    if (object.len < DW_OBJECT_OVERHEAD)
        return false;
    struct dw_slice body = DW_SLICE(object.data, object.len - DW_SIGNATURE_LEN);
    dw_signer_id(signer, sign);
    return memcmp(body.data + body.len - DW_SIGNER_LEN, signer, DW_SIGNER_LEN) == 0 &&
           dw_verify(sign, DW_LABEL_OBJECT, body, object.data + body.len);
}

static bool same_header(const struct dw_object_header *a, const struct dw_object_header *b)
{
    return a->type == b->type && memcmp(a->case_id, b->case_id, 16) == 0 &&
           memcmp(a->object_id, b->object_id, 16) == 0 && a->epoch == b->epoch &&
           a->sequence == b->sequence && a->day == b->day;
}

enum dw_result dw_envelope_open(struct dw_slice object, const struct dw_object_header *expected,
                                const uint8_t root[DW_ROOT_LEN], const uint8_t sign[DW_KEY_LEN],
                                struct dw_buf *plain, struct dw_error *err)
{
    struct dw_object_header header;
    uint8_t signer[DW_SIGNER_LEN], key[32];
    if (!dw_envelope_header(object, &header, signer))
        return dw_invalid(err, "object", "object: expected envelope version 1, suite 1");
    if (!same_header(&header, expected))
        return dw_invalid(err, "object", "object: it belongs to another place");
    if (!dw_envelope_signed_by(object, sign))
        return dw_invalid(err, "object", "object: the signature is not its writer's");
    size_t sealed_len = object.len - DW_OBJECT_OVERHEAD + TAG_LEN, len;
    const uint8_t *nonce = object.data + DW_OBJECT_HEADER_LEN;
    const uint8_t *sealed = nonce + DW_OBJECT_NONCE_LEN;
    size_t bucket = sealed_len - TAG_LEN;
    uint8_t *padded = dw_alloc(bucket);
    derive_key(key, header.type, root);
    int wrong = crypto_aead_xchacha20poly1305_ietf_decrypt(padded, NULL, NULL, sealed, sealed_len,
                                                           object.data, DW_OBJECT_HEADER_LEN,
                                                           nonce, key);
    sodium_memzero(key, sizeof key);
    if (wrong || sodium_unpad(&len, padded, bucket, bucket) != 0) {
        dw_wipe_free(padded, bucket);
        return dw_invalid(err, "object", "object: it does not open with this key");
    }
    dw_buf_put(plain, padded, len);
    dw_wipe_free(padded, bucket);
    return plain->overflow ? dw_invalid(err, "object", "object: longer than expected") : DW_OK;
}
