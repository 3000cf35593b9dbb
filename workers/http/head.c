/* head.c - is this head one request, and the same one to every program that reads it?
 *
 * libmicrohttpd 0.9.75 forgives much: bare line feeds, NULs, folded lines, a blank before the
 * colon, two lengths.  A proxy in front may read such a head in another way, and whoever knows both
 * readings can slip one person's request into another's connection.  So nothing is forgiven here.
 *
 * libmicrohttpd parses in place: it zeroes the two bytes that end a line and hands out pointers
 * into the buffer.  Each line must therefore begin exactly where the one before it ended; whatever
 * was skipped, folded, cut short at a NUL or ended in another way leaves a gap, and is refused. */
#include "http_private.h"

#include <string.h>
#include <strings.h>

enum { CRLF = 2, LENGTH_DIGITS_MAX = 15 };

/* Fields whose second occurrence somebody could read instead of the first. */
static const char *const only_once[] = {
    "Host",   "Content-Length",  "Content-Type", "Authorization",  "Cookie",
    "Expect", "Idempotency-Key", "Origin",       "Sec-Fetch-Site",
};

static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= 0x20 || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return len > 0;
}

static bool is_value(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_visible(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= 0x20 || (unsigned char)text[i] >= 0x7f)
            return false;
    return len > 0;
}

static bool lies_as_sent(const struct dw_http_head *head)
{
    const char *at = head->method + strlen(head->method) + 1;
    if (head->uri_at != at)
        return false;
    at += strlen(head->uri) + 1;
    if (head->version != at)
        return false;
    at += strlen(head->version) + CRLF;
    for (size_t i = 0; i < head->count; i++) {
        const struct dw_http_head_line *line = &head->lines[i];
        if (line->name != at)
            return false;
        at += line->name_len + 1; /* the colon */
        size_t blanks = (size_t)((uintptr_t)line->value - (uintptr_t)at);
        if (blanks > head->bytes)
            return false;
        for (; blanks > 0; blanks--, at++)
            if (*at != ' ' && *at != '\t')
                return false;
        at += line->value_len + CRLF;
    }
    return at + CRLF == head->method + head->bytes;
}

static bool is_named(const struct dw_http_head_line *line, const char *name)
{
    return strlen(name) == line->name_len && strncasecmp(line->name, name, line->name_len) == 0;
}

static size_t count_of(const struct dw_http_head *head, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < head->count; i++)
        n += is_named(&head->lines[i], name);
    return n;
}

static struct dw_http_head_problem line_problem(const struct dw_http_head_line *line)
{
    if (!is_token(line->name, line->name_len))
        return (struct dw_http_head_problem){"", "a header field has a bad name"};
    if (!is_value(line->value, line->value_len))
        return (struct dw_http_head_problem){"", "a header field has a control character"};
    if (is_named(line, "Host") && !is_visible(line->value, line->value_len))
        return (struct dw_http_head_problem){"Host", "the Host is empty or has a blank"};
    if (is_named(line, "Content-Length") &&
        (line->value_len == 0 || line->value_len > LENGTH_DIGITS_MAX ||
         strspn(line->value, "0123456789") != line->value_len))
        return (struct dw_http_head_problem){"Content-Length", "Content-Length is not a number"};
    return (struct dw_http_head_problem){0};
}

static struct dw_http_head_problem lines_problem(const struct dw_http_head *head)
{
    for (size_t i = 0; i < head->count; i++) {
        struct dw_http_head_problem problem = line_problem(&head->lines[i]);
        if (problem.detail)
            return problem;
    }
    for (size_t i = 0; i < DW_COUNT(only_once); i++)
        if (count_of(head, only_once[i]) > 1)
            return (struct dw_http_head_problem){only_once[i],
                                                 "a header field that may come once came twice"};
    if (count_of(head, "Transfer-Encoding") > 0)
        return (struct dw_http_head_problem){
            "Transfer-Encoding", "Transfer-Encoding is not taken here; send a Content-Length"};
    if (count_of(head, "Host") == 0 && strcmp(head->version, "HTTP/1.0") != 0)
        return (struct dw_http_head_problem){"Host", "the Host is missing"};
    return (struct dw_http_head_problem){0};
}

static int refuse(int status, const char *detail, struct dw_http_head_problem *ret_problem)
{
    *ret_problem = (struct dw_http_head_problem){"", detail};
    return status;
}

int dw_http_head_check(const struct dw_http_head *head, int64_t max_headers,
                       struct dw_http_head_problem *ret_problem)
{
    if (strlen(head->uri) > DW_URI_MAX)
        return refuse(414, "the address is too long", ret_problem);
    if ((int64_t)head->count > max_headers || head->bytes > DW_HEAD_MAX)
        return refuse(431, "there are too many header fields, or they are too long", ret_problem);
    if (!lies_as_sent(head) || !is_token(head->method, strlen(head->method)) ||
        strncmp(head->version, "HTTP/1.", 7) != 0)
        return refuse(400, "the request is malformed", ret_problem);
    if (!is_visible(head->uri, strlen(head->uri)) || *head->uri != '/')
        return refuse(400, "the address is not a path of visible ASCII characters", ret_problem);
    *ret_problem = lines_problem(head);
    return ret_problem->detail ? 400 : 0;
}

bool dw_http_head_keep(struct dw_http_head *head, struct dw_arena *memory)
{
    for (size_t i = 0; i < head->count; i++) {
        struct dw_http_head_line *line = &head->lines[i];
        while (line->value_len > 0 && strchr(" \t", line->value[line->value_len - 1]))
            line->value_len--;
        line->name = dw_arena_strndup(memory, line->name, line->name_len);
        line->value = dw_arena_strndup(memory, line->value, line->value_len);
        if (!line->name || !line->value)
            return false;
    }
    head->method = dw_arena_strndup(memory, head->method, strlen(head->method));
    head->version = dw_arena_strndup(memory, head->version, strlen(head->version));
    return head->method && head->version;
}

const char *dw_http_head_value(const struct dw_http_head *head, const char *name)
{
    for (size_t i = 0; i < head->count; i++)
        if (is_named(&head->lines[i], name))
            return head->lines[i].value;
    return NULL;
}

int64_t dw_http_head_length(const struct dw_http_head *head)
{
    const char *value = dw_http_head_value(head, "Content-Length");
    int64_t length = 0;
    while (value && *value)
        length = length * 10 + (*value++ - '0');
    return length;
}
