/* fuzz.h - what the fuzzers share.
 *
 * Each is one function of bytes that must not crash, hang, leak or break what must() says.  Built
 * with libFuzzer (.ci/fuzz.cmake; tests/fuzz/run.sh) it looks for such bytes; in ordinary builds
 * replay.c gives it what is kept in corpus/NAME, and mutations of that. */
#ifndef DW_TESTS_FUZZ_H
#define DW_TESTS_FUZZ_H

#include "dw/bytes.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static inline void must(bool holds)
{
    if (!holds)
        abort();
}

/* A message.  Every frame has memory of its own, so that reading past it is seen. */
enum { FUZZ_FRAMES = 32, FUZZ_PLAIN = 240 };
struct fuzz_message {
    struct dw_slice frames[FUZZ_FRAMES];
    size_t count;
};

/* What nobody can guess (a key, a lease) has a number, which stands for it; NULL: there is none. */
typedef const void *fuzz_special(void *arg, int number, struct dw_reader *r, size_t *len);

static inline struct dw_slice fuzz_frame(struct dw_reader *r, fuzz_special *special, void *arg)
{
    const void *from = NULL;
    size_t len = dw_read_u8(r);
    if (len >= FUZZ_PLAIN && special)
        from = special(arg, (int)len - FUZZ_PLAIN, r, &len);
    if (!from) {
        len = len < r->rest.len ? len : r->rest.len;
        from = dw_read_bytes(r, len);
    }
    uint8_t *own = malloc(len ? len : 1);
    if (len)
        memcpy(own, from, len);
    return DW_SLICE(own, len);
}

/* At most `max` frames: each is a length below FUZZ_PLAIN and so many bytes, or a special one. */
static inline void fuzz_message_read(struct fuzz_message *m, struct dw_reader *r, size_t max,
                                     fuzz_special *special, void *arg)
{
    for (m->count = 0; m->count < max && m->count < FUZZ_FRAMES && r->rest.len; m->count++)
        m->frames[m->count] = fuzz_frame(r, special, arg);
}

static inline void fuzz_message_free(struct fuzz_message *m)
{
    for (size_t i = 0; i < m->count; i++)
        free((void *)m->frames[i].data);
    m->count = 0;
}

/* The bytes as a text of its own; the caller frees. */
static inline char *fuzz_text(struct dw_slice bytes)
{
    char *text = malloc(bytes.len + 1);
    if (bytes.len)
        memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = 0;
    return text;
}

#endif
