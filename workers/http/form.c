/* form.c - forms as they arrive: what a content type says, and urlencoded pairs.
 *
 * Why not libmicrohttpd's post processor: it tells a field that begins and one that goes on apart
 * by the offset alone, so an empty field followed by another of its name is lost; it leaves what it
 * has held in freed memory; and it takes much for a form that is none. */
#include "http_private.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { CHUNK = 512 };

struct dw_http_form {
    const struct dw_http_form_events *events;
    void *arg;
    struct dw_http_multipart *multipart; /* else pairs */
    bool broken, in_value;
    int escaped; /* digits still to come */
    unsigned char byte;
    size_t used;
    char name[DW_NAME_MAX + 1];
    size_t name_len;
    char chunk[CHUNK];
};

/* ---- header parameters ---- */

static bool is_token_char(char c)
{
    return (unsigned char)c > 0x20 && (unsigned char)c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

int dw_http_parameter(const char **at, char *name, size_t name_len, char *value, size_t value_len)
{
    const char *p = skip_blanks(*at);
    size_t n = 0;
    if (!*p)
        return 0;
    if (*p++ != ';')
        return -1;
    p = skip_blanks(p);
    if (!*p) { /* a last semicolon */
        *at = p;
        return 0;
    }
    for (; is_token_char(*p) && n + 1 < name_len; p++)
        name[n++] = *p >= 'A' && *p <= 'Z' ? (char)(*p + 'a' - 'A') : *p;
    name[n] = 0;
    if (n == 0 || *p++ != '=')
        return -1;
    bool quoted = *p == '"';
    for (n = 0, p += quoted; quoted ? *p && *p != '"' : is_token_char(*p); p++) {
        if (quoted && *p == '\\' && (p[1] == '"' || p[1] == '\\'))
            p++;
        if (n + 1 >= value_len)
            return -1;
        value[n++] = *p;
    }
    value[n] = 0;
    if (quoted ? *p++ != '"' : n == 0)
        return -1;
    *at = p;
    return 1;
}

static bool has_type(const char *content_type, const char *type)
{
    size_t len = strlen(type);
    return strncasecmp(content_type, type, len) == 0 &&
           (!*skip_blanks(content_type + len) || *skip_blanks(content_type + len) == ';');
}

enum dw_http_content dw_http_content_of(const char *content_type)
{
    static const struct {
        const char *type;
        enum dw_http_content content;
    } known[] = {
        {"application/json", DW_CONTENT_JSON},
        {"application/x-www-form-urlencoded", DW_CONTENT_PAIRS},
        {"multipart/form-data", DW_CONTENT_MULTIPART},
    };
    for (size_t i = 0; content_type && i < DW_COUNT(known); i++)
        if (has_type(content_type, known[i].type))
            return known[i].content;
    return DW_CONTENT_NONE;
}

static bool find_boundary(const char *content_type, char boundary[DW_BOUNDARY_MAX + 1])
{
    const char *at = strchr(content_type, ';');
    char name[32], value[DW_BOUNDARY_MAX + 1];
    bool found = false;
    int more;
    while (at && (more = dw_http_parameter(&at, name, sizeof name, value, sizeof value)) != 0) {
        if (more < 0)
            return false;
        if (strcmp(name, "boundary") != 0)
            continue;
        if (found || !*value || strpbrk(value, "\r\n"))
            return false;
        memcpy(boundary, value, sizeof value);
        found = true;
    }
    return found;
}

/* ---- pairs ---- */

static void flush(struct dw_http_form *form)
{
    if (form->used > 0 && !form->events->data(form->arg, form->chunk, form->used))
        form->broken = true;
    form->used = 0;
}

static void begin_value(struct dw_http_form *form)
{
    struct dw_http_part part = {.name = form->name, .type = ""};
    form->name[form->name_len] = 0;
    form->in_value = true;
    if (form->name_len == 0 || !dw_text_is_clean(form->name, form->name_len, "") ||
        !form->events->begin(form->arg, &part))
        form->broken = true;
}

static void end_pair(struct dw_http_form *form)
{
    if (!form->in_value) {
        if (form->name_len == 0)
            return; /* "&&" */
        begin_value(form);
    }
    if (!form->broken)
        flush(form);
    if (!form->broken && !form->events->end(form->arg))
        form->broken = true;
    form->in_value = false;
    form->name_len = 0;
}

static void put(struct dw_http_form *form, char c)
{
    if (form->in_value) {
        form->chunk[form->used++] = c;
        if (form->used == CHUNK)
            flush(form);
    } else if (form->name_len == DW_NAME_MAX) {
        form->broken = true;
    } else {
        form->name[form->name_len++] = c;
    }
}

static void take_digit(struct dw_http_form *form, char c)
{
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) {
        form->broken = true;
        return;
    }
    form->byte = (unsigned char)(form->byte << 4 | digit);
    if (--form->escaped == 0)
        put(form, (char)form->byte);
}

static void feed_pairs(struct dw_http_form *form, const char *data, size_t len)
{
    for (size_t i = 0; i < len && !form->broken; i++) {
        char c = data[i];
        if (form->escaped > 0)
            take_digit(form, c);
        else if (c == '%')
            form->escaped = 2;
        else if (c == '&')
            end_pair(form);
        else if (c == '=' && !form->in_value)
            begin_value(form);
        else
            put(form, c == '+' ? ' ' : c);
    }
}

/* ---- either kind ---- */

struct dw_http_form *dw_http_form_new(const char *content_type,
                                      const struct dw_http_form_events *events, void *arg)
{
    char boundary[DW_BOUNDARY_MAX + 1];
    enum dw_http_content content = dw_http_content_of(content_type);
    bool multipart = content == DW_CONTENT_MULTIPART;
    if (multipart ? !find_boundary(content_type, boundary) : content != DW_CONTENT_PAIRS)
        return NULL;
    struct dw_http_form *form = dw_alloc(sizeof *form);
    form->events = events;
    form->arg = arg;
    if (multipart)
        form->multipart = dw_http_multipart_new(boundary, events, arg);
    return form;
}

void dw_http_form_free(struct dw_http_form *form)
{
    if (form)
        dw_http_multipart_free(form->multipart);
    dw_wipe_free(form, sizeof *form);
}

bool dw_http_form_feed(struct dw_http_form *form, const void *data, size_t len)
{
    if (form->multipart)
        return dw_http_multipart_feed(form->multipart, data, len);
    feed_pairs(form, data, len);
    return !form->broken;
}

bool dw_http_form_finish(struct dw_http_form *form)
{
    if (form->multipart)
        return dw_http_multipart_finish(form->multipart);
    if (form->escaped > 0)
        form->broken = true;
    if (!form->broken)
        end_pair(form);
    return !form->broken;
}
