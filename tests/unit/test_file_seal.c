#include "envelope_data.h"

struct kept {
    struct dw_buf all;
    size_t lens[40];
    size_t count;
};

static void keep(void *arg, uint32_t n, struct dw_slice sealed)
{
    struct kept *k = arg;
    (void)n;
    k->lens[k->count++] = sealed.len;
    dw_buf_put(&k->all, sealed.data, sealed.len);
}

static void roundtrip(size_t size, size_t step)
{
    struct kept k = {.count = 0};
    struct dw_file file;
    struct dw_buf plain;
    uint8_t hash[32], expected[32];
    int64_t len;
    uint8_t *data = malloc(size + 1);
    assert_true(sodium_init() >= 0);
    randombytes_buf(data, size);
    dw_buf_init(&k.all, 4 << 20);
    struct dw_file_writer *w = dw_file_writer_new();
    for (size_t at = 0; at < size; at += step)
        dw_file_writer_put(w, data + at, size - at < step ? size - at : step, keep, &k);
    dw_file_writer_end(w, keep, &k, &file, hash, &len);
    dw_file_writer_free(w);
    assert_int_equal(file.size, size);
    assert_int_equal(file.chunks, k.count);
    assert_int_equal(len, k.all.len);
    dw_hash(expected, dw_buf_slice(&k.all));
    assert_memory_equal(hash, expected, 32);
    assert_int_equal(len - 17 * (int64_t)k.count, dw_padme((int64_t)size));

    struct dw_file_reader *r = dw_file_reader_new(&file);
    dw_buf_init(&plain, 4 << 20);
    size_t at = 0;
    for (size_t i = 0; i < k.count; at += k.lens[i++])
        assert_int_equal(dw_file_reader_put(r, DW_SLICE(k.all.data + at, k.lens[i]), &plain), DW_OK);
    assert_int_equal(dw_file_reader_end(r), DW_OK);
    assert_int_equal(plain.len, size);
    assert_memory_equal(plain.data, data, size);
    dw_file_reader_free(r);
    dw_buf_free(&plain);
    dw_buf_free(&k.all);
    free(data);
}

TEST(files_of_every_size_come_back_whole)
{
    static const size_t sizes[] = {1,     17,    4095,   4096,   4097,   65535,  65536,
                                   65537, 70000, 131071, 131072, 131073, 1000000};
    for (size_t i = 0; i < DW_COUNT(sizes); i++) {
        roundtrip(sizes[i], 1000);
        roundtrip(sizes[i], 65536);
        roundtrip(sizes[i], sizes[i]);
    }
}

TEST(sizes_are_padded_to_few_classes_at_little_cost)
{
    int64_t last = 0;
    int classes = 0;
    for (int64_t n = 1; n < 20000000; n += 997) {
        int64_t padded = dw_padme(n);
        assert_true(padded >= n && padded >= last);
        if (n > 4096)
            assert_true((double)padded / (double)n < 1.13);
        classes += padded != last;
        last = padded;
    }
    assert_true(classes < 400);
}

TEST(a_manifest_with_a_wrong_hash_or_size_is_noticed)
{
    struct kept k = {.count = 0};
    struct dw_file file, wrong;
    struct dw_buf plain;
    uint8_t hash[32];
    int64_t len;
    dw_buf_init(&k.all, 1 << 20);
    struct dw_file_writer *w = dw_file_writer_new();
    dw_file_writer_put(w, "hello", 5, keep, &k);
    dw_file_writer_end(w, keep, &k, &file, hash, &len);
    dw_file_writer_free(w);
    for (int i = 0; i < 3; i++) {
        wrong = file;
        wrong.hash[0] ^= i == 0;
        wrong.size += i == 1 ? 1 : 0;
        wrong.size += i == 2 ? 5000 : 0;
        struct dw_file_reader *r = dw_file_reader_new(&wrong);
        dw_buf_init(&plain, 1 << 20);
        assert_int_equal(dw_file_reader_put(r, dw_buf_slice(&k.all), &plain), DW_OK);
        assert_int_equal(dw_file_reader_end(r), DW_INVALID);
        dw_file_reader_free(r);
        dw_buf_free(&plain);
    }
    dw_buf_free(&k.all);
}

RUN(cmocka_unit_test(files_of_every_size_come_back_whole),
    cmocka_unit_test(sizes_are_padded_to_few_classes_at_little_cost),
    cmocka_unit_test(a_manifest_with_a_wrong_hash_or_size_is_noticed))
