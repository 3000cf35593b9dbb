/* unit.h - what every unit test includes. */
#ifndef DW_TESTS_UNIT_H
#define DW_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEST(name) static void name(void **state)
#define RUN(...)                                                                                   \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                           \
        return cmocka_run_group_tests(tests, NULL, NULL);                                          \
    }

/* A seeded generator, so that every run tests the same. */
static inline uint64_t test_random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* A folder of its own for a test, removed by the caller with rm_folder(). */
static inline char *make_folder(void)
{
    char *path = strdup("/tmp/dengwen-test-XXXXXX");
    if (!mkdtemp(path))
        abort();
    return path;
}

static inline void rm_folder(char *path)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0)
        abort();
    free(path);
}

#endif
