/* filing_parse.c - from the bytes of a request to JSON that dw_filing_check() can look at.
 *
 * A short walk over the text finds how deep it nests, before anything recursive reads it, and the
 * field in which the parser stopped: jansson tells a place in bytes, people need a name. */
#include "filing_fields.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 8 };

struct walk {
    char keys[DEPTH_MAX][32];
    bool object[DEPTH_MAX];
    bool wants_key; /* the next text is a key of the innermost object */
    size_t depth;
    bool too_deep;
};

/* The byte behind a text that begins at its quotation mark. */
static size_t end_of_string(struct dw_slice text, size_t at)
{
    for (at++; at < text.len && text.data[at] != '"'; at++)
        if (text.data[at] == '\\')
            at++;
    return at < text.len ? at + 1 : text.len;
}

static void keep_key(struct walk *w, const uint8_t *key, size_t len)
{
    char copy[32];
    size_t used = len < sizeof copy - 1 ? len : sizeof copy - 1;
    memcpy(copy, key, used);
    copy[used] = 0;
    dw_field_name(w->keys[w->depth - 1], sizeof w->keys[0], copy);
}

static void open_level(struct walk *w, bool object)
{
    if (w->depth == DEPTH_MAX) {
        w->too_deep = true;
        return;
    }
    w->keys[w->depth][0] = 0;
    w->object[w->depth++] = object;
    w->wants_key = object;
}

/* Steps over whatever stands at `at`; returns where the next step begins. */
static size_t step(struct walk *w, struct dw_slice text, size_t at)
{
    uint8_t c = text.data[at];
    size_t next = at + 1;
    if (c == '"') {
        next = end_of_string(text, at);
        if (w->wants_key && w->depth && next > at + 1)
            keep_key(w, text.data + at + 1, next - at - 2);
    } else if (c == '{' || c == '[') {
        open_level(w, c == '{');
    } else if (c == '}' || c == ']') {
        w->depth -= w->depth > 0;
        w->wants_key = false;
    } else if (c == ',') {
        w->wants_key = w->depth && w->object[w->depth - 1];
    } else if (c == ':') {
        w->wants_key = false;
    }
    return next;
}

static void walk_to(struct walk *w, struct dw_slice text, size_t end)
{
    *w = (struct walk){0};
    for (size_t at = 0; at < end && at < text.len && !w->too_deep;)
        at = step(w, text, at);
}

static void name_place(const struct walk *w, char *out, size_t out_len)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < w->depth && used < out_len; i++)
        if (w->object[i] && *w->keys[i])
            used +=
                (size_t)snprintf(out + used, out_len - used, "%s%s", used ? "." : "", w->keys[i]);
}

/* jansson passes over a NUL that follows a number, true, false or null. */
static bool has_nul(struct dw_slice text)
{
    return text.len && memchr(text.data, 0, text.len);
}

/* What the parser's refusals are to a reporter; everything else is no JSON. */
static const struct {
    enum json_error_code code;
    enum dw_problem_kind kind;
} refusals[] = {
    {json_error_duplicate_key, DW_P_DUPLICATE}, {json_error_invalid_utf8, DW_P_TEXT},
    {json_error_null_character, DW_P_TEXT},     {json_error_null_byte_in_key, DW_P_TEXT},
    {json_error_numeric_overflow, DW_P_FORM},
};

static void explain(struct dw_slice text, const json_error_t *error, struct dw_problems *problems)
{
    struct walk walk;
    char field[64] = "";
    enum dw_problem_kind kind = DW_P_SYNTAX;
    for (size_t i = 0; i < DW_COUNT(refusals); i++)
        if (refusals[i].code == json_error_code(error))
            kind = refusals[i].kind;
    if (kind != DW_P_SYNTAX && error->position > 0) {
        walk_to(&walk, text, (size_t)error->position);
        name_place(&walk, field, sizeof field);
        sodium_memzero(&walk, sizeof walk);
    }
    dw_problem_add(problems, field, kind, 0, "");
}

enum dw_result dw_filing_parse(struct dw_slice text, const struct dw_catalogue *catalogue,
                               const struct dw_routing *routing, const char *channel, dw_day today,
                               struct dw_arena *arena, struct dw_filing *ret,
                               struct dw_problems *problems)
{
    struct walk walk;
    json_error_t error = {0};
    json_t *json = NULL;

    problems->count = 0;
    walk_to(&walk, text, text.len);
    if (!walk.too_deep && !has_nul(text))
        json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    enum dw_result result = DW_INVALID;
    if (json)
        result = dw_filing_check(json, catalogue, routing, channel, today, arena, ret, problems);
    else if (walk.too_deep)
        dw_problem_add(problems, "", DW_P_SYNTAX, 0, "");
    else
        explain(text, &error, problems);
    json_decref(json);
    sodium_memzero(&walk, sizeof walk);
    sodium_memzero(&error, sizeof error); /* it quotes the text it stopped at */
    return result;
}
