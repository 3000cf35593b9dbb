#include "dw/envelope.h"

#include <sodium.h>
#include <string.h>

enum { AD_LEN = 4 + 1 + 1 + 16 + 4, PADME_MIN = 4096, TAG_LEN = 17 };

static const struct dw_field file_fields[] = {
    DW_F_FIXED(struct dw_file, id, 0),
    DW_F_FIXED(struct dw_file, key, 0),
    DW_F_FIXED(struct dw_file, header, 0),
    DW_F_TEXT(struct dw_file, name, DW_FILE_NAME_MAX, 0),
    DW_F_TEXT(struct dw_file, type, DW_FILE_TYPE_MAX, 0),
    DW_F_I64(struct dw_file, size, 0),
    DW_F_I32(struct dw_file, chunks, 0),
    DW_F_FIXED(struct dw_file, hash, 0),
};
static const struct dw_layout file_layout = DW_LAYOUT("file", struct dw_file, file_fields);
static const struct dw_field manifest_fields[] = {
    DW_F_DOCS(struct dw_manifest, files, DW_MANIFEST_FILES_MAX, &file_layout, 0),
};
const struct dw_layout dw_manifest_layout =
    DW_LAYOUT("manifest", struct dw_manifest, manifest_fields);

int64_t dw_padme(int64_t len)
{
    if (len < PADME_MIN)
        return PADME_MIN;
    int e = 63 - __builtin_clzll((unsigned long long)len);
    int s = 32 - __builtin_clz((unsigned)e);
    int64_t mask = ((int64_t)1 << (e - s)) - 1;
    return (len + mask) & ~mask;
}

static void chunk_ad(uint8_t ad[AD_LEN], const uint8_t id[16], uint32_t n)
{
    static const uint8_t head[6] = {'D', 'W', 'F', 'C', 1, 1};
    memcpy(ad, head, sizeof head);
    memcpy(ad + 6, id, 16);
    for (int i = 0; i < 4; i++)
        ad[22 + i] = (uint8_t)(n >> (24 - 8 * i));
}

struct dw_file_writer {
    struct dw_file file;
    crypto_secretstream_xchacha20poly1305_state stream;
    crypto_generichash_state plain_hash, cipher_hash;
    int64_t cipher_len;
    size_t held;
    uint8_t chunk[DW_CHUNK_LEN];
    uint8_t sealed[DW_CHUNK_SEALED_MAX];
};

struct dw_file_writer *dw_file_writer_new(void)
{
    struct dw_file_writer *w = sodium_malloc(sizeof *w);
    if (!w)
        return NULL;
    memset(w, 0, sizeof *w);
    randombytes_buf(w->file.id, sizeof w->file.id);
    crypto_secretstream_xchacha20poly1305_keygen(w->file.key);
    crypto_secretstream_xchacha20poly1305_init_push(&w->stream, w->file.header, w->file.key);
    crypto_generichash_init(&w->plain_hash, NULL, 0, DW_HASH_LEN);
    crypto_generichash_init(&w->cipher_hash, NULL, 0, DW_HASH_LEN);
    return w;
}

void dw_file_writer_free(struct dw_file_writer *w)
{
    sodium_free(w);
}

static void seal_chunk(struct dw_file_writer *w, bool last, dw_chunk_out *out, void *arg)
{
    uint8_t ad[AD_LEN];
    uint32_t n = (uint32_t)w->file.chunks++;
    chunk_ad(ad, w->file.id, n);
    crypto_secretstream_xchacha20poly1305_push(
        &w->stream, w->sealed, NULL, w->chunk, w->held, ad, sizeof ad,
        last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0);
    size_t len = w->held + TAG_LEN;
    crypto_generichash_update(&w->cipher_hash, w->sealed, len);
    w->cipher_len += (int64_t)len;
    w->held = 0;
    out(arg, n, DW_SLICE(w->sealed, len));
}

/* A full chunk waits until there is more: only then is it known not to be the last. */
static void add(struct dw_file_writer *w, const uint8_t *data, size_t len, dw_chunk_out *out,
                void *arg)
{
    while (len) {
        if (w->held == DW_CHUNK_LEN)
            seal_chunk(w, false, out, arg);
        size_t room = DW_CHUNK_LEN - w->held, n = len < room ? len : room;
        if (data) {
            memcpy(w->chunk + w->held, data, n);
            data += n;
        } else {
            memset(w->chunk + w->held, 0, n);
        }
        w->held += n;
        len -= n;
    }
}

void dw_file_writer_put(struct dw_file_writer *w, const void *data, size_t len,
                        dw_chunk_out *out, void *arg)
{
    crypto_generichash_update(&w->plain_hash, data, len);
    w->file.size += (int64_t)len;
    add(w, data, len, out, arg);
}

void dw_file_writer_end(struct dw_file_writer *w, dw_chunk_out *out, void *arg,
                        struct dw_file *ret, uint8_t cipher_hash[DW_HASH_LEN],
                        int64_t *cipher_len)
{
    add(w, NULL, (size_t)(dw_padme(w->file.size) - w->file.size), out, arg);
    seal_chunk(w, true, out, arg);
    crypto_generichash_final(&w->plain_hash, w->file.hash, DW_HASH_LEN);
    crypto_generichash_final(&w->cipher_hash, cipher_hash, DW_HASH_LEN);
    *cipher_len = w->cipher_len;
    *ret = w->file;
}

struct dw_file_reader {
    struct dw_file file;
    crypto_secretstream_xchacha20poly1305_state stream;
    crypto_generichash_state hash;
    int64_t left; /* of the true length; what follows is padding */
    int32_t next;
    bool failed, finished;
    uint8_t chunk[DW_CHUNK_LEN];
};

struct dw_file_reader *dw_file_reader_new(const struct dw_file *file)
{
    struct dw_file_reader *r = sodium_malloc(sizeof *r);
    if (!r)
        return NULL;
    memset(r, 0, sizeof *r);
    r->file = *file;
    r->left = file->size;
    crypto_generichash_init(&r->hash, NULL, 0, DW_HASH_LEN);
    r->failed = crypto_secretstream_xchacha20poly1305_init_pull(&r->stream, file->header,
                                                                file->key) != 0;
    return r;
}

void dw_file_reader_free(struct dw_file_reader *r)
{
    sodium_free(r);
}

enum dw_result dw_file_reader_put(struct dw_file_reader *r, struct dw_slice sealed,
                                  struct dw_buf *plain)
{
    uint8_t ad[AD_LEN], tag;
    unsigned long long len;
    if (r->failed || r->finished || r->next >= r->file.chunks || sealed.len < TAG_LEN ||
        sealed.len > DW_CHUNK_SEALED_MAX) {
        r->failed = true;
        return DW_INVALID;
    }
    chunk_ad(ad, r->file.id, (uint32_t)r->next);
    if (crypto_secretstream_xchacha20poly1305_pull(&r->stream, r->chunk, &len, &tag, sealed.data,
                                                   sealed.len, ad, sizeof ad) != 0) {
        r->failed = true;
        return DW_INVALID;
    }
    r->next++;
    r->finished = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    size_t n = (int64_t)len < r->left ? (size_t)len : (size_t)r->left;
    crypto_generichash_update(&r->hash, r->chunk, n);
    dw_buf_put(plain, r->chunk, n);
    r->left -= (int64_t)n;
    sodium_memzero(r->chunk, (size_t)len);
    return DW_OK;
}

enum dw_result dw_file_reader_end(struct dw_file_reader *r)
{
    uint8_t hash[DW_HASH_LEN];
    if (r->failed || !r->finished || r->next != r->file.chunks || r->left != 0)
        return DW_INVALID;
    crypto_generichash_final(&r->hash, hash, sizeof hash);
    return dw_same_bytes(hash, r->file.hash, sizeof hash) ? DW_OK : DW_INVALID;
}
