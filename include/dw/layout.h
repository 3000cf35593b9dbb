/* layout.h - one table says how a C struct looks as a BSON document.  Source: broker/layout.c
 *
 * Everything our processes tell each other and everything the store keeps is a BSON document of a
 * fixed layout.  The table is the documentation, the encoder and the decoder.
 *
 * Decoding is strict: an unknown, repeated, missing or ill-typed field, a text that is not clean
 * UTF-8, a value over its `max` is DW_INVALID, and the error names the field by its path.
 * Decoded texts and arrays live in the arena, byte fields point into it too: the input may go away.
 * Encoding writes fields in table order, so equal structs give equal bytes. */
#ifndef DW_LAYOUT_H
#define DW_LAYOUT_H

#include "dw/bytes.h"
#include "dw/result.h"

enum dw_kind {
    DW_BOOL,  /* bool */
    DW_I32,   /* int32_t */
    DW_I64,   /* int64_t */
    DW_TEXT,  /* const char *, UTF-8, at most `max` bytes; NULL where absent */
    DW_BYTES, /* struct dw_slice, at most `max` bytes */
    DW_FIXED, /* uint8_t[size]; all zero where absent */
    DW_DOC,   /* struct in place */
    DW_DOCP,  /* pointer to struct, NULL where absent */
    DW_DOCS,  /* pointer to array of structs + size_t count, at most `max` */
    DW_TEXTS, /* const char ** + size_t count, at most `max` of at most 256 bytes each */
    DW_I32S,  /* int32_t * + size_t count, at most `max` */
};

enum { DW_OPTIONAL = 1 }; /* absent when zero, false, NULL or empty */

struct dw_layout;
struct dw_field {
    const char *name;
    enum dw_kind kind;
    unsigned flags;
    size_t offset, count_offset;
    size_t size; /* bytes of a FIXED field */
    size_t max;
    const struct dw_layout *layout; /* of DOC, DOCP, DOCS */
};
struct dw_layout {
    const char *name;
    size_t size; /* sizeof the struct */
    const struct dw_field *fields;
    size_t count;
};

#define DW_LAYOUT(title, type, table) {title, sizeof(type), table, DW_COUNT(table)}
#define DW_F_BOOL(type, m, flags)      {#m, DW_BOOL, flags, offsetof(type, m), 0, 0, 0, NULL}
#define DW_F_I32(type, m, flags)       {#m, DW_I32, flags, offsetof(type, m), 0, 0, 0, NULL}
#define DW_F_I64(type, m, flags)       {#m, DW_I64, flags, offsetof(type, m), 0, 0, 0, NULL}
#define DW_F_TEXT(type, m, limit, flags)  {#m, DW_TEXT, flags, offsetof(type, m), 0, 0, limit, NULL}
#define DW_F_BYTES(type, m, limit, flags) {#m, DW_BYTES, flags, offsetof(type, m), 0, 0, limit, NULL}
#define DW_F_FIXED(type, m, flags) \
    {#m, DW_FIXED, flags, offsetof(type, m), 0, sizeof(((type *)0)->m), 0, NULL}
#define DW_F_DOC(type, m, lay)         {#m, DW_DOC, 0, offsetof(type, m), 0, 0, 0, lay}
#define DW_F_DOCP(type, m, lay)        {#m, DW_DOCP, DW_OPTIONAL, offsetof(type, m), 0, 0, 0, lay}
#define DW_F_DOCS(type, m, limit, lay, flags) \
    {#m, DW_DOCS, flags, offsetof(type, m), offsetof(type, m##_count), 0, limit, lay}
#define DW_F_TEXTS(type, m, limit, flags) \
    {#m, DW_TEXTS, flags, offsetof(type, m), offsetof(type, m##_count), 0, limit, NULL}
#define DW_F_I32S(type, m, limit, flags) \
    {#m, DW_I32S, flags, offsetof(type, m), offsetof(type, m##_count), 0, limit, NULL}

enum { DW_DOC_MAX = 15 * 1024 * 1024 }; /* below MongoDB's limit of a document */

/* DW_OK or DW_INVALID; `out` is zeroed first and is complete only on DW_OK. */
enum dw_result dw_decode(const struct dw_layout *layout, struct dw_slice bson,
                         struct dw_arena *arena, void *out, struct dw_error *err);

/* From now on what libbson frees is wiped.  Before the first document. */
void dw_layout_forget(void);

/* Appends the document to `out`. */
void dw_encode(const struct dw_layout *layout, const void *in, struct dw_buf *out);

#endif
