/* replay.c - gives a fuzzer the files named as arguments, and of each its beginnings and its
 * flipped bits, as many as there is time for. */
#include "fuzz.h"

#include <stdio.h>

enum { BYTES = 256 * 1024, MUTATIONS = 1500, MUTATED_BYTES = 20 * 1024 * 1024 }; /* of all files */

static void give(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1); /* of its own length, so that reading past it is seen */
    if (len)
        memcpy(copy, bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void replay(const char *path, size_t files)
{
    static uint8_t bytes[BYTES];
    FILE *f = fopen(path, "rb");
    size_t len = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (!f || !len) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(f);
    give(bytes, len);
    size_t tries = (MUTATED_BYTES / len < MUTATIONS ? MUTATED_BYTES / len : MUTATIONS) / files;
    size_t cut = len / (tries / 4 + 1) + 1, flip = len * 8 / (tries + 1) + 1;
    for (size_t n = 0; n < len; n += cut)
        give(bytes, n);
    for (size_t bit = 0; bit < len * 8; bit += flip) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        give(bytes, len);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i], (size_t)argc - 1);
    printf("%d files\n", argc - 1);
    return argc < 2;
}
