/* domain_data.h - the data folder of the source tree, and damaged copies of it. */
#ifndef DW_TEST_DOMAIN_DATA_H
#define DW_TEST_DOMAIN_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dw/bytes.h"
#include "dw/clock.h"
#include "dw/process.h"
#include "dw/result.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DATA_FOLDER DW_SOURCE_FOLDER "/conf"

static inline dw_day day_of(const char *text)
{
    dw_day day = 0;
    assert_true(dw_day_parse(text, &day));
    return day;
}

static inline void assert_day(dw_day day, const char *expected)
{
    char text[DW_DAY_TEXT];
    assert_string_equal(dw_day_format(day, text), expected);
}

struct data_copy {
    char folder[64];
};

static inline char *path_in(const struct data_copy *copy, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", copy->folder, name);
    return path;
}

static inline void write_data(const struct data_copy *copy, const char *name, const char *text)
{
    assert_true(dw_write_file(path_in(copy, name), text, strlen(text), 0600));
}

static inline void copy_file(const struct data_copy *copy, const char *name)
{
    size_t len;
    char from[512];
    snprintf(from, sizeof from, "%s/%s", DATA_FOLDER, name);
    char *text = (char *)dw_read_file(from, 1024 * 1024, false, &len);
    assert_non_null(text);
    write_data(copy, name, text);
    dw_free(text);
}

static inline void data_copy_make(struct data_copy *copy)
{
    static const char *const names[] = {
        "bodies.yaml",           "routing.yaml",          "catalogue.yaml",
        "calendar/CN-2025.yaml", "calendar/CN-2026.yaml", "rules/MED-2022.yaml"};
    strcpy(copy->folder, "/tmp/dengwen-data-XXXXXX");
    assert_non_null(mkdtemp(copy->folder));
    assert_int_equal(mkdir(path_in(copy, "calendar"), 0700), 0);
    assert_int_equal(mkdir(path_in(copy, "rules"), 0700), 0);
    for (size_t i = 0; i < DW_COUNT(names); i++)
        copy_file(copy, names[i]);
}

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static inline void data_copy_remove(struct data_copy *copy)
{
    nftw(copy->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Puts `new` where `old` stands first; `old` must be there. */
static inline void damage(const struct data_copy *copy, const char *name, const char *old,
                          const char *new)
{
    size_t len;
    char *text = (char *)dw_read_file(path_in(copy, name), 1024 * 1024, false, &len);
    assert_non_null(text);
    char *at = strstr(text, old);
    if (!at)
        fail_msg("%s does not hold: %s", name, old);
    DW_AUTO_BUF changed;
    dw_buf_init(&changed, 2 * 1024 * 1024);
    dw_buf_put(&changed, text, (size_t)(at - text));
    dw_buf_str(&changed, new);
    dw_buf_str(&changed, at + strlen(old));
    write_data(copy, name, dw_buf_text(&changed));
    dw_free(text);
}

/* One way to damage a file, and what must stand in the error. */
struct damage {
    const char *file, *old, *new;
    const char *expected;
};

static inline void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("expected \"%s\" in \"%s\"", part, text);
}

#endif
