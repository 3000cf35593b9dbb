/* bytes.h - memory, byte buffers, arenas and text encodings.  Source: broker/bytes.c
 *
 * Memory: an allocation either succeeds or ends the process.  Running out of memory is a crash and a
 * restart; no promise is broken by it, because nothing is acknowledged before it is durable.
 * Integers on the wire and in signed bytes are big-endian. */
#ifndef DW_BYTES_H
#define DW_BYTES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *dw_alloc(size_t len); /* zeroed */
void *dw_realloc(void *old, size_t len);
char *dw_strdup(const char *text);
void dw_free(void *p); /* free(), so that every owner reads alike */
/* Overwrites with zeros in a way the compiler keeps; dw_wipe_free() then frees, NULL is fine. */
void dw_wipe(void *p, size_t len);
void dw_wipe_free(void *p, size_t len);
/* For the allocators of libraries that handle plaintext (jansson, libbson): they forget what they
 * free. */
void *dw_alloc_for_library(size_t len);
void *dw_forgetful_realloc(void *p, size_t len);
void dw_forgetful_free(void *p);

/* Bytes somebody else owns. */
struct dw_slice {
    const uint8_t *data;
    size_t len;
};
#define DW_SLICE(ptr, n) ((struct dw_slice){(const uint8_t *)(ptr), (n)})
struct dw_slice dw_slice_of(const char *text);
bool dw_slice_is(struct dw_slice s, const char *text);

/* A growing buffer.  Past `max` it stops growing and sets `overflow`; nothing is written any more.
 * A buffer that is freed is wiped first: most of what we hold is not ours to leave about. */
struct dw_buf {
    uint8_t *data;
    size_t len, cap, max;
    bool overflow;
};
void dw_buf_init(struct dw_buf *buf, size_t max);
void dw_buf_free(struct dw_buf *buf);
void dw_buf_clear(struct dw_buf *buf);
void dw_buf_put(struct dw_buf *buf, const void *data, size_t len);
void dw_buf_zeros(struct dw_buf *buf, size_t len);
void dw_buf_u8(struct dw_buf *buf, uint8_t v);
void dw_buf_u16(struct dw_buf *buf, uint16_t v);
void dw_buf_u32(struct dw_buf *buf, uint32_t v);
void dw_buf_u64(struct dw_buf *buf, uint64_t v);
void dw_buf_str(struct dw_buf *buf, const char *text);
__attribute__((format(printf, 2, 3))) void dw_buf_printf(struct dw_buf *buf, const char *format,
                                                         ...);
struct dw_slice dw_buf_slice(const struct dw_buf *buf);
/* NUL-terminated view (the NUL is not counted); "" after overflow. */
const char *dw_buf_text(struct dw_buf *buf);
#define DW_AUTO_BUF __attribute__((cleanup(dw_buf_free))) struct dw_buf

/* Reads from the front; a read past the end sets `failed` and yields zero from then on. */
struct dw_reader {
    struct dw_slice rest;
    bool failed;
};
uint8_t dw_read_u8(struct dw_reader *r);
uint16_t dw_read_u16(struct dw_reader *r);
uint32_t dw_read_u32(struct dw_reader *r);
uint64_t dw_read_u64(struct dw_reader *r);
const uint8_t *dw_read_bytes(struct dw_reader *r, size_t len); /* NULL when short */

/* An arena: everything of one decoded document, freed (and wiped) together. */
struct dw_arena {
    struct dw_arena_block *blocks;
    size_t used, max;
};
void dw_arena_init(struct dw_arena *arena, size_t max);
void dw_arena_free(struct dw_arena *arena);
/* NULL once `max` would be passed: documents come from outside. */
void *dw_arena_alloc(struct dw_arena *arena, size_t len);
char *dw_arena_strndup(struct dw_arena *arena, const char *text, size_t len);
void *dw_arena_memdup(struct dw_arena *arena, const void *data, size_t len);
__attribute__((format(printf, 2, 3))) char *dw_arena_printf(struct dw_arena *arena,
                                                            const char *format, ...);
#define DW_AUTO_ARENA __attribute__((cleanup(dw_arena_free))) struct dw_arena

/* Lower-case hex and URL-safe base64 without padding.  The decoders return false unless the whole
 * text decodes to exactly `len` bytes. */
char *dw_hex(char *out, const void *data, size_t len); /* out: 2*len + 1 */
bool dw_unhex(void *out, size_t len, const char *text);
#define DW_BASE64_LEN(n) (((n) + 2) / 3 * 4 + 1)
char *dw_base64(char *out, size_t out_len, const void *data, size_t len);
bool dw_unbase64(void *out, size_t len, const char *text);
/* As above for any length up to `max`; returns the length or -1. */
long dw_unbase64_any(void *out, size_t max, const char *text);

/* Constant time; lengths are public. */
bool dw_same_bytes(const void *a, const void *b, size_t len);
bool dw_all_zero(const void *data, size_t len);

/* Valid UTF-8 without NUL and control characters other than those in `allowed` (e.g. "\n\t"). */
bool dw_text_is_clean(const char *text, size_t len, const char *allowed);
size_t dw_text_chars(const char *text, size_t len); /* code points of valid UTF-8 */

#endif
