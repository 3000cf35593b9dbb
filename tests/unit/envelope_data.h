/* envelope_data.h - one case with fixed keys, for the tests of the envelope. */
#ifndef DW_TESTS_ENVELOPE_DATA_H
#define DW_TESTS_ENVELOPE_DATA_H

#include "unit.h"

#include "dw/envelope.h"

#include <sodium.h>

struct sample {
    struct dw_signer signer, other;
    uint8_t root[DW_ROOT_LEN], other_root[DW_ROOT_LEN];
    struct dw_object_header header;
};

static inline struct sample sample_new(void)
{
    struct sample s;
    uint8_t seed[32];
    assert_true(sodium_init() >= 0);
    memset(seed, 1, sizeof seed);
    dw_signer_init(&s.signer, seed);
    memset(seed, 2, sizeof seed);
    dw_signer_init(&s.other, seed);
    memset(s.root, 3, sizeof s.root);
    memset(s.other_root, 4, sizeof s.other_root);
    s.header = (struct dw_object_header){
        .type = DW_OBJECT_BODY, .epoch = 1, .sequence = 0, .day = 20781};
    memset(s.header.case_id, 5, 16);
    memset(s.header.object_id, 6, 16);
    return s;
}

static inline void sample_free(struct sample *s)
{
    dw_signer_free(&s->signer);
    dw_signer_free(&s->other);
}

static inline struct dw_buf sample_seal(const struct sample *s, const char *text)
{
    struct dw_buf b;
    dw_buf_init(&b, DW_OBJECT_MAX);
    assert_true(dw_envelope_seal(&s->header, s->root, &s->signer, dw_slice_of(text), &b));
    return b;
}

static inline enum dw_result sample_open(const struct sample *s, struct dw_slice object,
                                         struct dw_buf *plain)
{
    struct dw_error err;
    dw_buf_init(plain, DW_OBJECT_MAX);
    return dw_envelope_open(object, &s->header, s->root, s->signer.public, plain, &err);
}

#endif
