#include "filing_fields.h"

#include <stdio.h>
#include <string.h>

void dw_problem_add(struct dw_problems *problems, const char *field, enum dw_problem_kind kind,
                    int64_t limit, const char *other)
{
    if (problems->count == DW_PROBLEMS_MAX)
        return;
    struct dw_problem *p = &problems->items[problems->count++];
    *p = (struct dw_problem){.kind = kind, .limit = limit};
    snprintf(p->field, sizeof p->field, "%s", field);
    snprintf(p->other, sizeof p->other, "%s", other);
}

void dw_field_wrong(struct dw_reading *r, enum dw_problem_kind kind, int64_t limit,
                    const char *other)
{
    dw_problem_add(r->problems, r->path, kind, limit, other);
}

bool dw_field_has_problem(const struct dw_reading *r, const char *field)
{
    for (size_t i = 0; i < r->problems->count; i++)
        if (strcmp(r->problems->items[i].field, field) == 0)
            return true;
    return false;
}

void dw_field_name(char *out, size_t out_len, const char *key)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t len = 0;
    for (; *key && len + 1 < out_len && len < 24; key++)
        out[len++] = strchr(allowed, *key) ? *key : '?';
    out[len] = 0;
}

const char *dw_field_string(struct dw_reading *r, const json_t *value)
{
    if (!json_is_string(value)) {
        dw_field_wrong(r, DW_P_TYPE, 0, "");
        return NULL;
    }
    return json_string_value(value);
}

static char *copy_bytes(struct dw_reading *r, const char *text, size_t len)
{
    char *copy = dw_arena_strndup(r->arena, text, len);
    r->full |= !copy;
    return copy;
}

char *dw_field_copy(struct dw_reading *r, const char *text)
{
    return copy_bytes(r, text, strlen(text));
}

/* ---- objects ---- */

static void enter(struct dw_reading *r, const char *name, char saved[sizeof r->path])
{
    memcpy(saved, r->path, sizeof r->path);
    size_t used = strlen(r->path);
    snprintf(r->path + used, sizeof r->path - used, "%s%s", used ? "." : "", name);
}

static bool is_known(const struct dw_row *rows, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, key) == 0)
            return true;
    return false;
}

void dw_read_fields(struct dw_reading *r, const struct dw_row *rows, size_t count,
                    const json_t *object)
{
    char saved[sizeof r->path];
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(object, rows[i].name);
        if (json_is_null(value))
            value = NULL;
        enter(r, rows[i].name, saved);
        if (!value && rows[i].required)
            dw_field_wrong(r, DW_P_MISSING, 0, "");
        else
            rows[i].read(r, &rows[i], value);
        memcpy(r->path, saved, sizeof saved);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char name[32];
        if (is_known(rows, count, key))
            continue;
        dw_field_name(name, sizeof name, key);
        enter(r, name, saved);
        dw_field_wrong(r, DW_P_UNKNOWN, 0, "");
        memcpy(r->path, saved, sizeof saved);
    }
}

/* An object that is absent is read as an empty one: its required fields are named one by one. */
void dw_read_object(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    if (value && !json_is_object(value))
        dw_field_wrong(r, DW_P_TYPE, 3, "");
    else
        dw_read_fields(r, row->rows, row->count, value);
}

/* ---- texts ---- */

/* Forms send CR LF for a line break; elsewhere a CR is a control character like any other. */
static size_t fold_line_breaks(char *text, size_t len)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++)
        if (text[i] != '\r' || i + 1 == len || text[i + 1] != '\n')
            text[out++] = text[i];
    text[out] = 0;
    return out;
}

static const char wide_space[] = "\xe3\x80\x80"; /* U+3000, what a Chinese keyboard types */

static size_t space_at_start(const char *text)
{
    if (*text == ' ' || *text == '\n')
        return 1;
    return strncmp(text, wide_space, 3) == 0 ? 3 : 0;
}

static size_t space_at_end(const char *text, size_t len)
{
    if (len && (text[len - 1] == ' ' || text[len - 1] == '\n'))
        return 1;
    return len >= 3 && memcmp(text + len - 3, wide_space, 3) == 0 ? 3 : 0;
}

static char *trim(char *text)
{
    size_t space;
    while ((space = space_at_start(text)) > 0)
        text += space;
    size_t len = strlen(text);
    while ((space = space_at_end(text, len)) > 0)
        text[len -= space] = 0;
    return text;
}

/* A clean text of the row's length, NULL where there is none. */
static const char *take_text(struct dw_reading *r, const struct dw_row *row, const json_t *value,
                             bool lines)
{
    const char *raw = dw_field_string(r, value);
    if (!raw)
        return NULL;
    size_t len = json_string_length(value);
    char *text = copy_bytes(r, raw, len);
    if (!text)
        return NULL;
    if (lines)
        len = fold_line_breaks(text, len);
    if (!dw_text_is_clean(text, len, lines ? "\n" : "")) {
        dw_field_wrong(r, DW_P_TEXT, 0, "");
        return NULL;
    }
    text = trim(text);
    int64_t chars = (int64_t)dw_text_chars(text, strlen(text));
    if (chars == 0 && row->required)
        dw_field_wrong(r, DW_P_MISSING, 0, "");
    else if (chars > row->max)
        dw_field_wrong(r, DW_P_TOO_LONG, row->max, "");
    else if (chars > 0 && chars < row->min)
        dw_field_wrong(r, DW_P_TOO_SHORT, row->min, "");
    else if (chars > 0)
        return text;
    return NULL;
}

static void read_text(struct dw_reading *r, const struct dw_row *row, const json_t *value,
                      bool lines)
{
    const char *text = value ? take_text(r, row, value, lines) : NULL;
    if (text && row->form) {
        text = row->form(r, text);
        if (!text && !r->full)
            dw_field_wrong(r, DW_P_FORM, 0, "");
    }
    *(const char **)((char *)r->out + row->at) = text;
}

void dw_read_line(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    read_text(r, row, value, false);
}

void dw_read_lines(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    read_text(r, row, value, true);
}

void dw_read_choice(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    const char *text = value ? dw_field_string(r, value) : NULL;
    if (!text)
        return;
    if (!dw_term_find(r->words, row->list, text))
        dw_field_wrong(r, DW_P_CHOICE, 0, "");
    else
        *(const char **)((char *)r->out + row->at) = dw_field_copy(r, text);
}

void dw_read_flag(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    if (value && !json_is_boolean(value))
        dw_field_wrong(r, DW_P_TYPE, 2, "");
    else
        *(bool *)((char *)r->out + row->at) = json_is_true(value);
}
