/* 100,000 mutations of what is sealed: bit flips, truncations, extensions, swaps of objects, grants,
 * cases, epochs and suites.  Every one must be refused. */
#include "envelope_data.h"

enum { OBJECT_MUTATIONS = 40000, SWAPS = 20000, GRANT_MUTATIONS = 30000, CHUNK_MUTATIONS = 10000 };

TEST(objects_that_were_flipped_cut_or_extended_are_refused)
{
    struct sample s = sample_new();
    struct dw_buf sealed = sample_seal(&s, "the text"), plain;
    uint64_t seed = 11;
    uint8_t *copy = malloc(sealed.len + 64);
    for (int i = 0; i < OBJECT_MUTATIONS; i++) {
        size_t len = sealed.len;
        memcpy(copy, sealed.data, len);
        switch (test_random(&seed) % 4) {
        case 0: /* one bit anywhere */
        case 1:
            copy[test_random(&seed) % len] ^= (uint8_t)(1 << test_random(&seed) % 8);
            break;
        case 2:
            len = test_random(&seed) % len;
            break;
        default:
            len += 1 + test_random(&seed) % 64;
            randombytes_buf(copy + sealed.len, len - sealed.len);
        }
        assert_int_equal(sample_open(&s, DW_SLICE(copy, len), &plain), DW_INVALID);
        assert_int_equal(plain.len, 0);
        dw_buf_free(&plain);
    }
    free(copy);
    dw_buf_free(&sealed);
    sample_free(&s);
}

/* A validly sealed object put where another belongs, and headers rewritten and signed again by an
 * intake that turned bad: the key and the associated data still tell. */
TEST(objects_swapped_between_places_are_refused)
{
    struct sample s = sample_new();
    uint64_t seed = 12;
    for (int i = 0; i < SWAPS; i++) {
        struct sample other = s;
        struct dw_buf plain;
        switch (test_random(&seed) % 6) {
        case 0:
            other.header.case_id[test_random(&seed) % 16] ^= 1;
            break;
        case 1:
            other.header.object_id[test_random(&seed) % 16] ^= 1;
            break;
        case 2:
            other.header.epoch ^= 1u << test_random(&seed) % 8;
            break;
        case 3:
            other.header.sequence ^= 1u << test_random(&seed) % 8;
            break;
        case 4:
            other.header.day ^= 1 << test_random(&seed) % 8;
            break;
        default:
            other.header.type = DW_OBJECT_MESSAGE;
        }
        struct dw_buf sealed = sample_seal(&other, "swapped");
        assert_int_equal(sample_open(&s, dw_buf_slice(&sealed), &plain), DW_INVALID);
        dw_buf_free(&plain);
        if (i % 2) { /* the same with the header made to fit, and signed again */
            struct dw_buf own = sample_seal(&s, "x");
            memcpy(sealed.data, own.data, DW_OBJECT_HEADER_LEN);
            dw_sign(&s.signer, DW_LABEL_OBJECT, DW_SLICE(sealed.data, sealed.len - 64),
                    sealed.data + sealed.len - 64);
            assert_int_equal(sample_open(&s, dw_buf_slice(&sealed), &plain), DW_INVALID);
            dw_buf_free(&plain);
            dw_buf_free(&own);
        }
        dw_buf_free(&sealed);
    }
    sample_free(&s);
}

TEST(unknown_versions_and_suites_are_refused_even_when_signed)
{
    struct sample s = sample_new();
    struct dw_buf plain;
    for (int at = 0; at < 6; at++)
        for (int v = 0; v < 256; v++) {
            struct dw_buf sealed = sample_seal(&s, "x");
            bool same = sealed.data[at] == v;
            sealed.data[at] = (uint8_t)v;
            dw_sign(&s.signer, DW_LABEL_OBJECT, DW_SLICE(sealed.data, sealed.len - 64),
                    sealed.data + sealed.len - 64);
            assert_int_equal(sample_open(&s, dw_buf_slice(&sealed), &plain),
                             same ? DW_OK : DW_INVALID);
            dw_buf_free(&plain);
            dw_buf_free(&sealed);
        }
    sample_free(&s);
}

TEST(grants_that_were_flipped_or_swapped_are_refused)
{
    struct sample s = sample_new();
    struct dw_grant g;
    struct dw_error err;
    uint8_t public[32], secret[32], commitment[32], root[32];
    uint64_t seed = 13;
    crypto_box_keypair(public, secret);
    dw_root_commitment(commitment, s.root, DW_ROOT_R, 1, s.header.case_id);
    dw_grant_seal(&g, DW_ROOT_R, 1, s.header.case_id, s.root, DW_TO_BODY, "500108", 1, public);
    for (int i = 0; i < GRANT_MUTATIONS; i++) {
        struct dw_grant bad = g;
        uint8_t id[16], committed[32];
        memcpy(id, s.header.case_id, sizeof id);
        memcpy(committed, commitment, sizeof committed);
        switch (test_random(&seed) % 8) {
        case 0:
            bad.epoch ^= 1 << test_random(&seed) % 8;
            break;
        case 1:
            bad.to = DW_TO_ESCROW;
            bad.id = "";
            break;
        case 2:
            bad.to_epoch ^= 1 << test_random(&seed) % 8;
            break;
        case 3:
            id[test_random(&seed) % 16] ^= 1;
            break;
        case 4:
            committed[test_random(&seed) % 32] ^= 1;
            break;
        default:
            bad.box[test_random(&seed) % DW_GRANT_LEN] ^= (uint8_t)(1 << test_random(&seed) % 8);
        }
        assert_int_equal(dw_grant_open(&bad, id, committed, public, secret, root, &err),
                         DW_INVALID);
    }
    sample_free(&s);
}

struct kept {
    struct dw_buf chunks[8];
    size_t count;
};

static void keep(void *arg, uint32_t n, struct dw_slice sealed)
{
    struct kept *k = arg;
    assert_int_equal(n, k->count);
    dw_buf_init(&k->chunks[k->count], DW_CHUNK_SEALED_MAX);
    dw_buf_put(&k->chunks[k->count++], sealed.data, sealed.len);
}

TEST(chunks_that_were_flipped_dropped_or_reordered_are_refused)
{
    struct kept k = {.count = 0};
    struct dw_file file;
    uint8_t hash[32];
    int64_t len;
    uint64_t seed = 14;
    char *data = calloc(1, 150000);
    struct dw_file_writer *w = dw_file_writer_new();
    dw_file_writer_put(w, data, 150000, keep, &k);
    dw_file_writer_end(w, keep, &k, &file, hash, &len);
    dw_file_writer_free(w);
    assert_int_equal(k.count, 3);
    for (int i = 0; i < CHUNK_MUTATIONS; i++) {
        size_t order[4] = {0, 1, 2, 2}, count = 3;
        struct dw_buf plain;
        size_t at = 0, bit = 0, in = 0;
        bool flip = false;
        switch (test_random(&seed) % 5) {
        case 0:
            order[0] = 1;
            order[1] = 0;
            break;
        case 1:
            count = 2; /* truncated at a chunk */
            break;
        case 2:
            count = 4; /* something behind the final chunk */
            break;
        case 3:
            order[1] = 2;
            count = 2;
            break;
        default:
            flip = true;
            in = test_random(&seed) % 3;
            at = test_random(&seed) % k.chunks[in].len;
            bit = 1u << test_random(&seed) % 8;
            k.chunks[in].data[at] ^= (uint8_t)bit;
        }
        struct dw_file_reader *r = dw_file_reader_new(&file);
        dw_buf_init(&plain, 1 << 20);
        enum dw_result result = DW_OK;
        for (size_t j = 0; j < count && result == DW_OK; j++)
            result = dw_file_reader_put(r, dw_buf_slice(&k.chunks[order[j]]), &plain);
        if (result == DW_OK)
            result = dw_file_reader_end(r);
        assert_int_equal(result, DW_INVALID);
        if (flip)
            k.chunks[in].data[at] ^= (uint8_t)bit;
        dw_buf_free(&plain);
        dw_file_reader_free(r);
    }
    for (size_t i = 0; i < k.count; i++)
        dw_buf_free(&k.chunks[i]);
    free(data);
}

RUN(cmocka_unit_test(objects_that_were_flipped_cut_or_extended_are_refused),
    cmocka_unit_test(objects_swapped_between_places_are_refused),
    cmocka_unit_test(unknown_versions_and_suites_are_refused_even_when_signed),
    cmocka_unit_test(grants_that_were_flipped_or_swapped_are_refused),
    cmocka_unit_test(chunks_that_were_flipped_dropped_or_reordered_are_refused))
