#include "dw/layout.h"

#include <assert.h>
#include <bson/bson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS_ITEM_MAX = 256 };

void dw_layout_forget(void)
{
    static const bson_mem_vtable_t memory = {.malloc = dw_alloc_for_library,
                                             .calloc = calloc,
                                             .realloc = dw_forgetful_realloc,
                                             .free = dw_forgetful_free,
                                             .aligned_alloc = aligned_alloc};
    bson_mem_set_vtable(&memory);
}

struct decoder {
    struct dw_arena *arena;
    struct dw_error *err;
    char path[96];
};

static enum dw_result wrong(struct decoder *d, const char *name, const char *expected)
{
    char place[192];
    snprintf(place, sizeof place, "%s%s%s", d->path, *d->path ? "." : "", name);
    return dw_invalid(d->err, place, "%s: expected %s", place, expected);
}

static enum dw_result decode_doc(struct decoder *d, const struct dw_layout *layout,
                                 const uint8_t *data, size_t len, void *out);

static enum dw_result decode_nested(struct decoder *d, const struct dw_field *f,
                                    const bson_iter_t *it, void *out)
{
    uint32_t len;
    const uint8_t *data;
    if (!BSON_ITER_HOLDS_DOCUMENT(it))
        return wrong(d, f->name, "a document");
    bson_iter_document(it, &len, &data);
    char saved[sizeof d->path];
    memcpy(saved, d->path, sizeof saved);
    size_t used = strlen(d->path);
    snprintf(d->path + used, sizeof d->path - used, "%s%s", used ? "." : "", f->name);
    enum dw_result result = decode_doc(d, f->layout, data, len, out);
    memcpy(d->path, saved, sizeof saved);
    return result;
}

static enum dw_result decode_text(struct decoder *d, const struct dw_field *f, size_t max,
                                  const bson_iter_t *it, const char **ret)
{
    uint32_t len;
    if (!BSON_ITER_HOLDS_UTF8(it))
        return wrong(d, f->name, "a text");
    const char *text = bson_iter_utf8(it, &len);
    if (len > max)
        return wrong(d, f->name, "a shorter text");
    if (!dw_text_is_clean(text, len, "\n\t\r"))
        return wrong(d, f->name, "clean UTF-8");
    *ret = dw_arena_strndup(d->arena, text, len);
    return *ret ? DW_OK : wrong(d, f->name, "less data in all");
}

/* Counts the elements of an array, or -1 where there is none. */
static long open_array(const bson_iter_t *it, bson_iter_t *ret)
{
    if (!BSON_ITER_HOLDS_ARRAY(it) || !bson_iter_recurse(it, ret))
        return -1;
    long count = 0;
    for (bson_iter_t walk = *ret; bson_iter_next(&walk);)
        count++;
    return count;
}

static enum dw_result decode_array(struct decoder *d, const struct dw_field *f,
                                   const bson_iter_t *it, char *base)
{
    bson_iter_t item;
    long count = open_array(it, &item);
    if (count < 0)
        return wrong(d, f->name, "an array");
    if ((size_t)count > f->max)
        return wrong(d, f->name, "fewer elements");
    size_t each = f->kind == DW_DOCS    ? f->layout->size
                  : f->kind == DW_TEXTS ? sizeof(char *)
                                        : sizeof(int32_t);
    char *items = dw_arena_alloc(d->arena, each * (size_t)count);
    if (!items)
        return wrong(d, f->name, "less data in all");
    memset(items, 0, each * (size_t)count);
    for (long i = 0; i < count && bson_iter_next(&item); i++) {
        char *at = items + each * (size_t)i;
        enum dw_result result = DW_OK;
        if (f->kind == DW_DOCS) {
            result = decode_nested(d, f, &item, at);
        } else if (f->kind == DW_TEXTS) {
            result = decode_text(d, f, TEXTS_ITEM_MAX, &item, (const char **)at);
        } else {
            if (!BSON_ITER_HOLDS_INT32(&item))
                return wrong(d, f->name, "32-bit integers");
            *(int32_t *)at = bson_iter_int32(&item);
        }
        if (result != DW_OK)
            return result;
    }
    *(void **)(base + f->offset) = items;
    *(size_t *)(base + f->count_offset) = (size_t)count;
    return DW_OK;
}

static enum dw_result decode_field(struct decoder *d, const struct dw_field *f,
                                   const bson_iter_t *it, char *base)
{
    char *at = base + f->offset;
    uint32_t len;
    const uint8_t *data;
    bson_subtype_t subtype;

    switch (f->kind) {
    case DW_BOOL:
        if (!BSON_ITER_HOLDS_BOOL(it))
            return wrong(d, f->name, "true or false");
        *(bool *)at = bson_iter_bool(it);
        return DW_OK;
    case DW_I32:
        if (!BSON_ITER_HOLDS_INT32(it))
            return wrong(d, f->name, "a 32-bit integer");
        *(int32_t *)at = bson_iter_int32(it);
        return DW_OK;
    case DW_I64:
        if (!BSON_ITER_HOLDS_INT64(it))
            return wrong(d, f->name, "a 64-bit integer");
        *(int64_t *)at = bson_iter_int64(it);
        return DW_OK;
    case DW_TEXT:
        return decode_text(d, f, f->max, it, (const char **)at);
    case DW_BYTES:
    case DW_FIXED:
        if (!BSON_ITER_HOLDS_BINARY(it))
            return wrong(d, f->name, "bytes");
        bson_iter_binary(it, &subtype, &len, &data);
        if (f->kind == DW_FIXED) {
            if (len != f->size)
                return wrong(d, f->name, "bytes of the fixed length");
            memcpy(at, data, len);
            return DW_OK;
        }
        if (len > f->max)
            return wrong(d, f->name, "fewer bytes");
        data = dw_arena_memdup(d->arena, data, len);
        if (!data)
            return wrong(d, f->name, "less data in all");
        *(struct dw_slice *)at = (struct dw_slice){data, len};
        return DW_OK;
    case DW_DOC:
        return decode_nested(d, f, it, at);
    case DW_DOCP: {
        void *doc = dw_arena_alloc(d->arena, f->layout->size);
        if (!doc)
            return wrong(d, f->name, "less data in all");
        *(void **)at = doc;
        return decode_nested(d, f, it, doc);
    }
    case DW_DOCS:
    case DW_TEXTS:
    case DW_I32S:
        return decode_array(d, f, it, base);
    }
    return wrong(d, f->name, "a known kind");
}

static enum dw_result decode_doc(struct decoder *d, const struct dw_layout *layout,
                                 const uint8_t *data, size_t len, void *out)
{
    bson_t doc;
    bson_iter_t it;
    uint64_t seen = 0;
    assert(layout->count <= 64);
    memset(out, 0, layout->size);
    if (!bson_init_static(&doc, data, len) || !bson_iter_init(&it, &doc))
        return wrong(d, layout->name, "a BSON document");
    while (bson_iter_next(&it)) {
        const char *key = bson_iter_key(&it);
        size_t i = 0;
        while (i < layout->count && strcmp(layout->fields[i].name, key) != 0)
            i++;
        if (i == layout->count)
            return wrong(d, layout->name, "no unknown field");
        if (seen & (1ull << i))
            return wrong(d, layout->fields[i].name, "the field once");
        seen |= 1ull << i;
        enum dw_result result = decode_field(d, &layout->fields[i], &it, out);
        if (result != DW_OK)
            return result;
    }
    if (it.err_off)
        return wrong(d, layout->name, "an undamaged BSON document");
    for (size_t i = 0; i < layout->count; i++)
        if (!(seen & (1ull << i)) && !(layout->fields[i].flags & DW_OPTIONAL))
            return wrong(d, layout->fields[i].name, "the field, which is missing");
    return DW_OK;
}

enum dw_result dw_decode(const struct dw_layout *layout, struct dw_slice bson,
                         struct dw_arena *arena, void *out, struct dw_error *err)
{
    struct decoder d = {.arena = arena, .err = err};
    if (!bson.data || bson.len > DW_DOC_MAX)
        return wrong(&d, layout->name, "a document below the size limit");
    return decode_doc(&d, layout, bson.data, bson.len, out);
}

static void append_doc(bson_t *to, const struct dw_layout *layout, const char *base);

static void append_nested(bson_t *to, const char *key, const struct dw_layout *layout,
                          const char *base)
{
    bson_t child;
    bson_append_document_begin(to, key, -1, &child);
    append_doc(&child, layout, base);
    bson_append_document_end(to, &child);
}

static void append_array(bson_t *to, const struct dw_field *f, const char *base)
{
    bson_t array;
    const char *items = *(char *const *)(base + f->offset);
    size_t count = *(const size_t *)(base + f->count_offset);
    bson_append_array_begin(to, f->name, -1, &array);
    for (size_t i = 0; i < count; i++) {
        char room[16];
        const char *key;
        bson_uint32_to_string((uint32_t)i, &key, room, sizeof room);
        if (f->kind == DW_DOCS)
            append_nested(&array, key, f->layout, items + f->layout->size * i);
        else if (f->kind == DW_TEXTS)
            bson_append_utf8(&array, key, -1, ((const char *const *)items)[i], -1);
        else
            bson_append_int32(&array, key, -1, ((const int32_t *)items)[i]);
    }
    bson_append_array_end(to, &array);
}

static bool is_absent(const struct dw_field *f, const char *base)
{
    const char *at = base + f->offset;
    switch (f->kind) {
    case DW_BOOL:
        return !*(const bool *)at;
    case DW_I32:
        return !*(const int32_t *)at;
    case DW_I64:
        return !*(const int64_t *)at;
    case DW_TEXT:
    case DW_DOCP:
        return !*(void *const *)at;
    case DW_BYTES:
        return !((const struct dw_slice *)at)->len;
    case DW_FIXED:
        return dw_all_zero(at, f->size);
    case DW_DOCS:
    case DW_TEXTS:
    case DW_I32S:
        return !*(const size_t *)(base + f->count_offset);
    case DW_DOC:
        return false;
    }
    return false;
}

static void append_doc(bson_t *to, const struct dw_layout *layout, const char *base)
{
    for (size_t i = 0; i < layout->count; i++) {
        const struct dw_field *f = &layout->fields[i];
        const char *at = base + f->offset;
        if ((f->flags & DW_OPTIONAL) && is_absent(f, base))
            continue;
        switch (f->kind) {
        case DW_BOOL:
            bson_append_bool(to, f->name, -1, *(const bool *)at);
            break;
        case DW_I32:
            bson_append_int32(to, f->name, -1, *(const int32_t *)at);
            break;
        case DW_I64:
            bson_append_int64(to, f->name, -1, *(const int64_t *)at);
            break;
        case DW_TEXT: {
            const char *text = *(const char *const *)at;
            bson_append_utf8(to, f->name, -1, text ? text : "", -1);
            break;
        }
        case DW_BYTES: {
            const struct dw_slice *s = (const void *)at;
            bson_append_binary(to, f->name, -1, BSON_SUBTYPE_BINARY,
                               s->data ? s->data : (const uint8_t *)"", (uint32_t)s->len);
            break;
        }
        case DW_FIXED:
            bson_append_binary(to, f->name, -1, BSON_SUBTYPE_BINARY, (const uint8_t *)at,
                               (uint32_t)f->size);
            break;
        case DW_DOC:
            append_nested(to, f->name, f->layout, at);
            break;
        case DW_DOCP:
            append_nested(to, f->name, f->layout, *(const char *const *)at);
            break;
        case DW_DOCS:
        case DW_TEXTS:
        case DW_I32S:
            append_array(to, f, base);
            break;
        }
    }
}

void dw_encode(const struct dw_layout *layout, const void *in, struct dw_buf *out)
{
    bson_t doc;
    bson_init(&doc);
    append_doc(&doc, layout, in);
    dw_buf_put(out, bson_get_data(&doc), doc.len);
    bson_destroy(&doc);
}
