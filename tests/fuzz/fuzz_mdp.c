/* The parsers of what peers send: frames of a message, the clear header of an item, a status.
 *
 * One input is a message: each frame is a length of one byte and so many bytes.  With libFuzzer
 * (-DDW_FUZZ=ON, clang) it is a fuzzer, else it replays the files it is given, and, of each, every
 * beginning and every flipped bit. */
#include "dw/mdp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES = 64, BYTES = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* What was understood lies within what was given, and says the same again. */
static void header(struct dw_slice bytes)
{
    struct dw_item_header h;
    DW_AUTO_BUF out = {0};
    if (!dw_item_header_decode(bytes, &h))
        return;
    dw_buf_init(&out, BYTES);
    dw_item_header_encode(&h, &out);
    must(out.len == bytes.len && memcmp(out.data, bytes.data, out.len) == 0);
}

static void message(const struct dw_slice *frames, size_t count)
{
    struct dw_mdp_message m;
    const char *why = NULL;
    if (dw_mdp_parse(frames, count, &m, &why) != DW_OK) {
        must(why != NULL);
        return;
    }
    must(m.version == 1 || m.version == 2);
    must(m.body_count <= count && (!m.body_count || m.body + m.body_count == frames + count));
    must(!m.service.len || dw_mdp_service_name(m.service));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dw_slice frames[FRAMES];
    struct dw_reader r = {.rest = DW_SLICE(data, len)};
    size_t count = 0;
    while (count < FRAMES && r.rest.len) {
        size_t n = dw_read_u8(&r);
        n = n < r.rest.len ? n : r.rest.len;
        frames[count++] = DW_SLICE(dw_read_bytes(&r, n), n);
    }
    message(frames, count);
    for (size_t i = 0; i < count; i++) {
        dw_status_parse(frames[i]);
        header(frames[i]);
    }
    header(DW_SLICE(data, len));
    return 0;
}

#ifndef DW_FUZZ
static void replay(const char *path)
{
    static uint8_t bytes[BYTES];
    FILE *f = fopen(path, "rb");
    size_t len = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (!f || !len) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(f);
    for (size_t n = 0; n <= len; n++) { /* of its own length, so that reading past it is seen */
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, bytes, n);
        LLVMFuzzerTestOneInput(copy, n);
        free(copy);
    }
    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        LLVMFuzzerTestOneInput(bytes, len);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    return argc < 2;
}
#endif
