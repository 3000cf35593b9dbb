#include "dw/bytes.h"

#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

void *dw_alloc(size_t len)
{
    void *p = calloc(1, len ? len : 1);
    if (!p)
        abort();
    return p;
}

void *dw_realloc(void *old, size_t len)
{
    void *p = realloc(old, len ? len : 1);
    if (!p)
        abort();
    return p;
}

char *dw_strdup(const char *text)
{
    size_t len = strlen(text) + 1;
    return memcpy(dw_alloc(len), text, len);
}

void dw_free(void *p)
{
    free(p);
}

void dw_wipe(void *p, size_t len)
{
    sodium_memzero(p, len);
}

void dw_wipe_free(void *p, size_t len)
{
    if (!p)
        return;
    sodium_memzero(p, len);
    free(p);
}

void *dw_alloc_for_library(size_t len)
{
    return malloc(len);
}

void dw_forgetful_free(void *p)
{
    if (p)
        dw_wipe_free(p, malloc_usable_size(p));
}

void *dw_forgetful_realloc(void *p, size_t len)
{
    size_t had = p ? malloc_usable_size(p) : 0;
    void *grown = malloc(len);
    if (p && grown)
        memcpy(grown, p, had < len ? had : len);
    if (grown)
        dw_forgetful_free(p);
    return grown;
}

struct dw_slice dw_slice_of(const char *text)
{
    return DW_SLICE(text, strlen(text));
}

bool dw_slice_is(struct dw_slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

void dw_buf_init(struct dw_buf *buf, size_t max)
{
    *buf = (struct dw_buf){.max = max};
}

void dw_buf_free(struct dw_buf *buf)
{
    dw_wipe_free(buf->data, buf->cap);
    *buf = (struct dw_buf){.max = buf->max};
}

void dw_buf_clear(struct dw_buf *buf)
{
    if (buf->data)
        sodium_memzero(buf->data, buf->len);
    buf->len = 0;
    buf->overflow = false;
}

/* Room for `len` more bytes and a terminator; NULL after overflow.  The old memory is wiped, which
 * realloc() would not do. */
static uint8_t *grow(struct dw_buf *buf, size_t len)
{
    if (buf->overflow || len > buf->max || buf->len > buf->max - len) {
        buf->overflow = true;
        return NULL;
    }
    if (buf->cap < buf->len + len + 1) {
        size_t cap = buf->cap ? buf->cap * 2 : 256;
        while (cap < buf->len + len + 1)
            cap *= 2;
        uint8_t *data = dw_alloc(cap);
        if (buf->len)
            memcpy(data, buf->data, buf->len);
        dw_wipe_free(buf->data, buf->cap);
        buf->data = data;
        buf->cap = cap;
    }
    uint8_t *at = buf->data + buf->len;
    buf->len += len;
    buf->data[buf->len] = 0;
    return at;
}

void dw_buf_put(struct dw_buf *buf, const void *data, size_t len)
{
    uint8_t *at = grow(buf, len);
    if (at && len)
        memcpy(at, data, len);
}

void dw_buf_zeros(struct dw_buf *buf, size_t len)
{
    uint8_t *at = grow(buf, len);
    if (at)
        memset(at, 0, len);
}

static void put_be(struct dw_buf *buf, uint64_t v, size_t len)
{
    uint8_t *at = grow(buf, len);
    for (size_t i = 0; at && i < len; i++)
        at[i] = (uint8_t)(v >> (8 * (len - 1 - i)));
}

void dw_buf_u8(struct dw_buf *buf, uint8_t v)
{
    put_be(buf, v, 1);
}

void dw_buf_u16(struct dw_buf *buf, uint16_t v)
{
    put_be(buf, v, 2);
}

void dw_buf_u32(struct dw_buf *buf, uint32_t v)
{
    put_be(buf, v, 4);
}

void dw_buf_u64(struct dw_buf *buf, uint64_t v)
{
    put_be(buf, v, 8);
}

void dw_buf_str(struct dw_buf *buf, const char *text)
{
    dw_buf_put(buf, text, strlen(text));
}

void dw_buf_printf(struct dw_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        buf->overflow = true;
    } else {
        uint8_t *at = grow(buf, (size_t)len);
        if (at) /* grow() left room for the terminator */
            vsnprintf((char *)at, (size_t)len + 1, format, again);
    }
    va_end(again);
}

struct dw_slice dw_buf_slice(const struct dw_buf *buf)
{
    return (struct dw_slice){buf->data, buf->len};
}

const char *dw_buf_text(struct dw_buf *buf)
{
    if (buf->overflow || !buf->data)
        return "";
    return (const char *)buf->data;
}

const uint8_t *dw_read_bytes(struct dw_reader *r, size_t len)
{
    if (r->failed || r->rest.len < len) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *at = r->rest.data;
    r->rest.data += len;
    r->rest.len -= len;
    return at;
}

static uint64_t read_be(struct dw_reader *r, size_t len)
{
    const uint8_t *at = dw_read_bytes(r, len);
    uint64_t v = 0;
    for (size_t i = 0; at && i < len; i++)
        v = v << 8 | at[i];
    return v;
}

uint8_t dw_read_u8(struct dw_reader *r)
{
    return (uint8_t)read_be(r, 1);
}

uint16_t dw_read_u16(struct dw_reader *r)
{
    return (uint16_t)read_be(r, 2);
}

uint32_t dw_read_u32(struct dw_reader *r)
{
    return (uint32_t)read_be(r, 4);
}

uint64_t dw_read_u64(struct dw_reader *r)
{
    return read_be(r, 8);
}

struct dw_arena_block {
    struct dw_arena_block *next;
    size_t len, used;
    max_align_t memory[];
};

enum { ARENA_BLOCK_LEN = 8192 };

void dw_arena_init(struct dw_arena *arena, size_t max)
{
    *arena = (struct dw_arena){.max = max};
}

void dw_arena_free(struct dw_arena *arena)
{
    while (arena->blocks) {
        struct dw_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        dw_wipe_free(block, sizeof *block + block->len);
    }
    arena->used = 0;
}

void *dw_arena_alloc(struct dw_arena *arena, size_t len)
{
    size_t align = sizeof(max_align_t);
    if (len > arena->max)
        return NULL;
    len = (len + align - 1) / align * align;
    if (len == 0)
        len = align;
    if (arena->used + len > arena->max)
        return NULL;
    struct dw_arena_block *block = arena->blocks;
    if (!block || block->len - block->used < len) {
        size_t size = len > ARENA_BLOCK_LEN ? len : ARENA_BLOCK_LEN;
        block = dw_alloc(sizeof *block + size);
        block->len = size;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *at = (uint8_t *)block->memory + block->used;
    block->used += len;
    arena->used += len;
    return at;
}

void *dw_arena_memdup(struct dw_arena *arena, const void *data, size_t len)
{
    void *at = dw_arena_alloc(arena, len);
    if (at && len)
        memcpy(at, data, len);
    return at;
}

char *dw_arena_strndup(struct dw_arena *arena, const char *text, size_t len)
{
    char *at = dw_arena_alloc(arena, len + 1);
    if (at) {
        memcpy(at, text, len);
        at[len] = 0;
    }
    return at;
}

char *dw_arena_printf(struct dw_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *at = len < 0 ? NULL : dw_arena_alloc(arena, (size_t)len + 1);
    if (at)
        vsnprintf(at, (size_t)len + 1, format, again);
    va_end(again);
    return at;
}

char *dw_hex(char *out, const void *data, size_t len)
{
    return sodium_bin2hex(out, 2 * len + 1, data, len);
}

bool dw_unhex(void *out, size_t len, const char *text)
{
    size_t got;
    return strlen(text) == 2 * len &&
           sodium_hex2bin(out, len, text, 2 * len, NULL, &got, NULL) == 0 && got == len;
}

char *dw_base64(char *out, size_t out_len, const void *data, size_t len)
{
    return sodium_bin2base64(out, out_len, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

long dw_unbase64_any(void *out, size_t max, const char *text)
{
    size_t got, len = strlen(text);
    unsigned all = 0;
    for (size_t i = 0; i < len; i++)
        all |= (unsigned char)text[i];
    if (all > 0x7f) /* libsodium 1.0.18 takes these for the last letter of the alphabet */
        return -1;
    if (sodium_base642bin(out, max, text, len, NULL, &got, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return -1;
    return (long)got;
}

bool dw_unbase64(void *out, size_t len, const char *text)
{
    return dw_unbase64_any(out, len, text) == (long)len;
}

bool dw_same_bytes(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

bool dw_all_zero(const void *data, size_t len)
{
    return sodium_is_zero(data, len);
}

bool dw_text_is_clean(const char *text, size_t len, const char *allowed)
{
    if (u8_check((const uint8_t *)text, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == 0x7f || (c < 0x20 && (c == 0 || !strchr(allowed, c))))
            return false;
        /* C1 controls are two bytes in UTF-8: C2 80 to C2 9F */
        if (c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0)
            return false;
    }
    return true;
}

size_t dw_text_chars(const char *text, size_t len)
{
    return u8_mbsnlen((const uint8_t *)text, len);
}
