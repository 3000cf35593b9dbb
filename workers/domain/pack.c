/* pack.c - the frames of an answer: a document, and objects behind it.
 *
 * Apart from the layouts of services.c, so that who reads answers contains no more than this. */
#include "dw/services.h"

#include <string.h>

void dw_pack_init(struct dw_pack *pack)
{
    *pack = (struct dw_pack){0};
}

void dw_pack_free(struct dw_pack *pack)
{
    for (size_t i = 0; i < pack->count; i++)
        dw_buf_free(&pack->frames[i]);
    pack->count = 0;
}

void dw_pack_put(struct dw_pack *pack, struct dw_slice object)
{
    struct dw_buf *last = pack->count ? &pack->frames[pack->count - 1] : NULL;
    if (pack->bytes + object.len > DW_PACKED_MAX)
        object.len = 0;
    if (!last || last->len + 4 + object.len > DW_PACK_MAX) {
        if (pack->count == DW_PACK_FRAMES_MAX)
            return; /* the reader finds the end and treats the rest as left out */
        last = &pack->frames[pack->count++];
        dw_buf_init(last, DW_PACK_MAX + 4);
    }
    dw_buf_u32(last, (uint32_t)object.len);
    dw_buf_put(last, object.data, object.len);
    pack->bytes += object.len;
}

size_t dw_doc_frames(struct dw_slice doc, struct dw_slice ret[DW_DOC_FRAMES_MAX])
{
    size_t count = 0;
    do {
        size_t len = doc.len < DW_PACK_MAX ? doc.len : DW_PACK_MAX;
        if (count == DW_DOC_FRAMES_MAX)
            return 0;
        ret[count++] = DW_SLICE(doc.data, len);
        doc = DW_SLICE(doc.data + len, doc.len - len);
    } while (doc.len);
    return count;
}

/* As BSON says it, or the length of what is too short to say so. */
static size_t stated_length(struct dw_slice doc)
{
    const uint8_t *b = doc.data;
    return doc.len < 4 ? doc.len
                       : (size_t)b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
}

bool dw_unpack_begin(struct dw_unpack *unpack, const struct dw_slice *frames, size_t count,
                     struct dw_arena *arena, struct dw_slice *doc)
{
    *unpack = (struct dw_unpack){0};
    if (!count)
        return false;
    size_t len = stated_length(frames[0]), got = frames[0].len, used = 1;
    *doc = frames[0];
    if (got < len) {
        uint8_t *whole =
            len <= (size_t)DW_DOC_FRAMES_MAX * DW_PACK_MAX ? dw_arena_alloc(arena, len) : NULL;
        if (!whole)
            return false;
        memcpy(whole, frames[0].data, got);
        for (; got < len && used < count && frames[used].len <= len - got; used++) {
            memcpy(whole + got, frames[used].data, frames[used].len);
            got += frames[used].len;
        }
        *doc = DW_SLICE(whole, len);
    }
    *unpack = (struct dw_unpack){.frames = frames + used, .count = count - used};
    return got == len;
}

bool dw_unpack_next(struct dw_unpack *unpack, struct dw_slice *ret)
{
    while (!unpack->reader.rest.len) {
        if (!unpack->count)
            return false;
        unpack->reader = (struct dw_reader){.rest = unpack->frames[0]};
        unpack->frames++;
        unpack->count--;
    }
    uint32_t len = dw_read_u32(&unpack->reader);
    const uint8_t *data = dw_read_bytes(&unpack->reader, len);
    *ret = DW_SLICE(data, unpack->reader.failed ? 0 : len);
    return !unpack->reader.failed;
}
