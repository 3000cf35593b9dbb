/* What is sealed: objects, grants, chunks of files, packs of objects.  A case worker and a desk
 * take them from the queue and the store.  The first byte says which; objects and grants also come
 * with a signature, or a seal, that is good. */
#include "fuzz.h"

#include "dw/envelope.h"
#include "dw/services.h"

#include <sodium.h>

static struct dw_signer signer;
static uint8_t public[DW_KEY_LEN], secret[DW_KEY_LEN];
static const uint8_t root[DW_ROOT_LEN] = {3}, case_id[16] = {5};

static void object(struct dw_slice bytes)
{
    struct dw_object_header h;
    struct dw_error err;
    uint8_t id[DW_SIGNER_LEN];
    DW_AUTO_BUF plain = {0};
    if (!dw_envelope_header(bytes, &h, id))
        return;
    must(dw_object_root(h.type) && dw_object_type_name(h.type));
    must(bytes.len >= DW_OBJECT_OVERHEAD && bytes.len <= DW_OBJECT_MAX);
    dw_buf_init(&plain, DW_OBJECT_MAX);
    if (dw_envelope_open(bytes, &h, root, signer.public, &plain, &err) != DW_OK)
        must(plain.len == 0);
}

/* The first byte is the type; then what the plaintext is.  Sealed, opened, and with one byte
 * changed. */
static void sealed(struct dw_slice bytes)
{
    struct dw_object_header h = {.type = DW_OBJECT_BODY, .epoch = 1, .day = 20718};
    struct dw_error err;
    DW_AUTO_BUF out = {0}, plain = {0}, other = {0};
    if (bytes.len < 2)
        return;
    h.type = (enum dw_object_type)(1 + bytes.data[0] % 7);
    struct dw_slice text = DW_SLICE(bytes.data + 2, bytes.len - 2);
    dw_buf_init(&out, DW_OBJECT_MAX);
    dw_buf_init(&plain, DW_OBJECT_MAX);
    dw_buf_init(&other, DW_OBJECT_MAX);
    if (!dw_envelope_seal(&h, root, &signer, text, &out))
        return;
    must(dw_envelope_open(dw_buf_slice(&out), &h, root, signer.public, &plain, &err) == DW_OK);
    must(plain.len == text.len && (!text.len || memcmp(plain.data, text.data, text.len) == 0));
    out.data[bytes.data[1] % out.len] ^= 1;
    dw_sign(&signer, DW_LABEL_OBJECT, DW_SLICE(out.data, out.len - DW_SIGNATURE_LEN),
            out.data + out.len - DW_SIGNATURE_LEN);
    must(dw_envelope_open(dw_buf_slice(&out), &h, root, signer.public, &other, &err) != DW_OK ||
         bytes.data[1] >= out.len - DW_SIGNATURE_LEN);
}

static void grant(struct dw_slice bytes)
{
    struct dw_grant g = {
        .kind = DW_ROOT_R, .epoch = 1, .to = DW_TO_BODY, .id = "500108", .to_epoch = 1};
    struct dw_error err;
    uint8_t plain[DW_GRANT_PLAIN_LEN] = {0}, found[DW_ROOT_LEN], commitment[DW_HASH_LEN];
    memcpy(plain, bytes.data, bytes.len < sizeof plain ? bytes.len : sizeof plain);
    must(crypto_box_seal(g.box, plain, sizeof plain, public) == 0);
    dw_root_commitment(commitment, plain + 64, DW_ROOT_R, 1, case_id);
    if (dw_grant_open(&g, case_id, commitment, public, secret, found, &err) == DW_OK)
        must(memcmp(plain, "DWGR\1\1\1\1", 8) == 0 && memcmp(found, plain + 64, DW_ROOT_LEN) == 0);
}

static void chunks(struct dw_slice bytes)
{
    struct dw_file file = {.id = {1}, .key = {2}, .header = {3}, .size = 10, .chunks = 1};
    DW_AUTO_BUF plain = {0};
    struct dw_file_reader *r = dw_file_reader_new(&file);
    must(r != NULL);
    dw_buf_init(&plain, DW_CHUNK_SEALED_MAX);
    must(dw_file_reader_put(r, bytes, &plain) != DW_OK);
    must(dw_file_reader_end(r) != DW_OK);
    dw_file_reader_free(r);
}

/* Objects in frames: none is longer than what there is, and the end comes. */
static void pack(struct dw_slice bytes)
{
    struct fuzz_message m;
    struct dw_reader r = {.rest = bytes};
    struct dw_slice one;
    size_t seen = 0, all = 0;
    fuzz_message_read(&m, &r, FUZZ_FRAMES, NULL, NULL);
    struct dw_unpack unpack = {.frames = m.frames, .count = m.count};
    while (dw_unpack_next(&unpack, &one)) {
        seen += one.len + 4;
        for (size_t i = 0; i < one.len; i++)
            all += one.data[i];
    }
    must(seen <= bytes.len && all <= bytes.len * 255);
    fuzz_message_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static void (*const kinds[])(struct dw_slice) = {object, sealed, grant, chunks, pack};
    uint8_t seed[32] = {1};
    if (!signer.secret) {
        must(sodium_init() >= 0);
        dw_signer_init(&signer, seed);
        crypto_box_seed_keypair(public, secret, seed);
    }
    if (len < 2)
        return 0;
    kinds[data[0] % DW_COUNT(kinds)](DW_SLICE(data + 1, len - 1));
    return 0;
}
