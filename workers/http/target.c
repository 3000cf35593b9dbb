/* target.c - the address of a request: segments of its path, pairs of its query.
 *
 * A path is cut at its slashes before it is decoded, so that an escaped slash cannot move a
 * boundary; one in a segment is refused, as is anything that is not clean UTF-8. */
#include "http_private.h"

#include <stdio.h>
#include <string.h>

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* NULL when the text is badly escaped or not clean. */
static char *decode(struct dw_arena *memory, const char *text, size_t len, bool plus_is_blank)
{
    char *out = dw_arena_alloc(memory, len + 1);
    size_t n = 0;
    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '+' && plus_is_blank) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return NULL;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[n++] = c;
    }
    out[n] = 0;
    return dw_text_is_clean(out, n, "") ? out : NULL;
}

static bool parse_path(const char *path, size_t len, struct dw_arena *memory,
                       struct dw_http_target *target)
{
    const char *end = path + len;
    while (path < end) { /* at a slash */
        const char *from = path + 1;
        const char *to = memchr(from, '/', (size_t)(end - from));
        if (!to)
            to = end;
        if (target->count == DW_SEGMENTS_MAX)
            return false;
        char *segment = decode(memory, from, (size_t)(to - from), false);
        if (!segment || strchr(segment, '/'))
            return false;
        target->segments[target->count++] = segment;
        path = to;
    }
    return true;
}

static bool parse_query(const char *query, struct dw_arena *memory, struct dw_http_target *target)
{
    while (*query) {
        size_t len = strcspn(query, "&");
        const char *is = memchr(query, '=', len);
        size_t name_len = is ? (size_t)(is - query) : len;
        size_t skip = is ? name_len + 1 : len;
        if (len > 0) {
            size_t n = target->pairs;
            if (n == DW_QUERY_MAX)
                return false;
            target->names[n] = decode(memory, query, name_len, true);
            target->values[n] = decode(memory, query + skip, len - skip, true);
            if (!target->names[n] || !target->values[n])
                return false;
            target->pairs++;
        }
        query += len + (query[len] == '&');
    }
    return true;
}

bool dw_http_target_parse(const char *uri, struct dw_arena *memory, struct dw_http_target *ret)
{
    size_t path_len = strcspn(uri, "?");
    *ret = (struct dw_http_target){0};
    return *uri == '/' && parse_path(uri, path_len, memory, ret) &&
           (!uri[path_len] || parse_query(uri + path_len + 1, memory, ret));
}

bool dw_http_target_matches(const struct dw_http_target *target, const char *pattern,
                            const char *params[DW_PARAMS_MAX])
{
    const char *found[DW_PARAMS_MAX] = {NULL};
    size_t found_count = 0, n = 0;
    for (; *pattern; n++) { /* at a slash */
        const char *from = ++pattern;
        size_t len = strcspn(from, "/");
        pattern = from + len;
        if (n == target->count)
            return false;
        const char *segment = target->segments[n];
        if (*from == ':') {
            if (!*segment || found_count == DW_PARAMS_MAX)
                return false;
            found[found_count++] = segment;
        } else if (strlen(segment) != len || memcmp(segment, from, len) != 0) {
            return false;
        }
    }
    if (n != target->count)
        return false;
    memcpy(params, found, sizeof found);
    return true;
}

static void add_method(char allow[64], const char *method)
{
    size_t used = strlen(allow);
    if (strstr(allow, method)) /* no method's name is part of another's */
        return;
    snprintf(allow + used, 64 - used, "%s%s", used ? ", " : "", method);
}

const struct dw_http_route *dw_http_target_find(const struct dw_http_target *target,
                                                const char *method,
                                                const struct dw_http_route *routes, size_t count,
                                                const char *params[DW_PARAMS_MAX], char allow[64])
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    *allow = 0;
    for (size_t i = 0; i < count; i++) {
        if (!dw_http_target_matches(target, routes[i].path, params))
            continue;
        if (strcmp(routes[i].method, method) == 0)
            return &routes[i];
        add_method(allow, routes[i].method);
        if (strcmp(routes[i].method, "GET") == 0)
            add_method(allow, "HEAD");
    }
    return NULL;
}
