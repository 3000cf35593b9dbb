#include "yaml.h"

#include "dw/process.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1024 * 1024 };

const cyaml_strval_t dw_yaml_flags[2] = {{"false", 0}, {"true", 1}};
const struct cyaml_schema_value dw_yaml_code = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 64)};

/* What libcyaml logs about one refused file: a problem, then the place from the inside out. */
struct complaint {
    char problem[256];
    char key[64];
    int line;
    bool placed;
};

static void *allocate(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size)
        return dw_realloc(ptr, size);
    dw_free(ptr);
    return NULL;
}

static void hear(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
    struct complaint *c = ctx;
    char text[256], key[64];
    int line;
    (void)level;
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = 0;
    if (strncmp(text, "Load: ", 6) == 0) {
        if (!*c->problem && strcmp(text, "Load: Backtrace:") != 0)
            snprintf(c->problem, sizeof c->problem, "%s", text + 6);
        return;
    }
    const char *at = strstr(text, "(line: ");
    if (!c->placed && at && sscanf(at, "(line: %d", &line) == 1) {
        c->line = line;
        c->placed = true;
    }
    if (!*c->key && sscanf(text, "  in mapping field '%63[^']'", key) == 1)
        memcpy(c->key, key, sizeof key);
}

/* Does this line hold `key:` outside a comment? */
static bool line_has_key(const char *line, size_t len, const char *key)
{
    size_t key_len = strlen(key);
    for (size_t i = 0; i + key_len < len && line[i] != '#'; i++) {
        bool starts = i == 0 || strchr(" {,\"'", line[i - 1]);
        const char *behind = line + i + key_len;
        if (starts && strncmp(line + i, key, key_len) == 0 && strchr(":\"'", *behind))
            return true;
    }
    return false;
}

/* libcyaml names the line of the value before an unwanted key: the key stands there or below. */
static int line_of_key(const char *text, const char *key, int from)
{
    int line = 1;
    for (const char *at = text; *at; line++) {
        size_t len = strcspn(at, "\n");
        if (line >= from && line_has_key(at, len, key))
            return line;
        at += len + (at[len] == '\n');
    }
    return from;
}

/* The problems that name a key which is not the one whose value was read last. */
static const struct {
    const char *says, *problem;
    bool later; /* the key stands below the line of the last value */
} about_keys[] = {
    {"Unexpected key: ", "is not a known key", true},
    {"Mapping field already seen: ", "stands here a second time", true},
    {"Missing required mapping field: ", "is missing", false},
};

static void explain(struct complaint *c, const char *text, cyaml_err_t error)
{
    if (!*c->problem)
        snprintf(c->problem, sizeof c->problem, "%s", cyaml_strerror(error));
    for (size_t i = 0; i < DW_COUNT(about_keys); i++) {
        size_t len = strlen(about_keys[i].says);
        if (strncmp(c->problem, about_keys[i].says, len) != 0)
            continue;
        snprintf(c->key, sizeof c->key, "%.63s", c->problem + len);
        snprintf(c->problem, sizeof c->problem, "%s", about_keys[i].problem);
        if (about_keys[i].later)
            c->line = line_of_key(text, c->key, c->line + (i == 1));
        return;
    }
}

enum dw_result dw_yaml_load(const char *folder, const char *name,
                            const struct cyaml_schema_value *schema, void *ret,
                            struct dw_error *err)
{
    DW_AUTO_BUF path = {0};
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/%s", folder, name);
    size_t len;
    uint8_t *text = dw_read_file(dw_buf_text(&path), FILE_MAX, false, &len);
    if (!text)
        return dw_invalid(err, "", "%s: cannot be read: %s", name, strerror(errno));

    struct complaint heard = {.line = 1};
    cyaml_config_t config = {.log_fn = hear,
                             .log_ctx = &heard,
                             .log_level = CYAML_LOG_ERROR,
                             .mem_fn = allocate,
                             .flags = CYAML_CFG_NO_ALIAS};
    cyaml_data_t *data = NULL;
    cyaml_err_t error = cyaml_load_data(text, len, &config, schema, &data, NULL);
    enum dw_result result = DW_OK;
    if (error != CYAML_OK) {
        explain(&heard, (const char *)text, error); /* dw_read_file() ends it with a NUL */
        result = dw_invalid(err, heard.key, "%s:%d: %s%s%s", name, heard.line, heard.key,
                            *heard.key ? ": " : "", heard.problem);
        if (err)
            err->line = heard.line;
    } else if (!data) {
        result = dw_invalid(err, "", "%s:1: the file is empty", name);
    } else {
        *(void **)ret = data;
    }
    dw_free(text);
    return result;
}

void dw_yaml_free(const struct cyaml_schema_value *schema, void *data)
{
    cyaml_config_t config = {.mem_fn = allocate};
    cyaml_free(&config, schema, data, 0);
}

enum dw_result dw_yaml_wrong(struct dw_error *err, const char *name, const char *entry,
                             const char *format, ...)
{
    char problem[240];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    if (err)
        err->line = 0;
    return dw_invalid(err, entry, "%s: %s%s%s", name, entry, *entry ? ": " : "", problem);
}

void dw_yaml_fill(const char **text)
{
    if (!*text)
        *text = dw_strdup("");
}

bool dw_yaml_day(const char *text, const char *name, const char *entry, const char *key,
                 dw_day *ret, struct dw_error *err)
{
    if (dw_day_parse(text, ret))
        return true;
    dw_yaml_wrong(err, name, entry, "%s: %.40s is not a day; expected the form 2026-09-28", key,
                  text);
    return false;
}

bool dw_yaml_is_verified(const char *text)
{
    return strcmp(text, "full") == 0 || strcmp(text, "secondary") == 0 || strcmp(text, "no") == 0;
}

static int is_yaml(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".yaml") == 0;
}

enum dw_result dw_yaml_list(const char *folder, const char *sub, const char *prefix,
                            struct dw_yaml_names *ret, struct dw_error *err)
{
    DW_AUTO_BUF path = {0};
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/%s", folder, sub);
    struct dirent **found;
    int count = scandir(dw_buf_text(&path), &found, is_yaml, alphasort);
    if (count < 0)
        return dw_invalid(err, "", "%s: cannot be read: %s", sub, strerror(errno));
    *ret = (struct dw_yaml_names){.items = dw_alloc(sizeof(char *) * (size_t)count)};
    for (int i = 0; i < count; i++) {
        const char *name = found[i]->d_name;
        if (strncmp(name, prefix, strlen(prefix)) == 0) {
            dw_buf_clear(&path);
            dw_buf_printf(&path, "%s/%s", sub, name);
            ret->items[ret->count++] = dw_strdup(dw_buf_text(&path));
        }
        free(found[i]);
    }
    free(found);
    return DW_OK;
}

void dw_yaml_names_free(struct dw_yaml_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        dw_free(names->items[i]);
    dw_free(names->items);
    *names = (struct dw_yaml_names){0};
}
