/* multipart.c - multipart/form-data (RFC 7578) in pieces of any size.
 *
 * Content is handed on in pieces as large as they came.  The mark that ends it, CRLF "--" boundary,
 * has a CR only at its start: where it breaks off in the middle, none can have begun inside it. */
#include "http_private.h"

#include <string.h>
#include <strings.h>

enum { PART_HEAD_MAX = 4096, FILENAME_MAX_BYTES = 1024 };

enum state { PREAMBLE, MARKED, HEAD, CONTENT, EPILOGUE, BROKEN };

struct dw_http_multipart {
    const struct dw_http_form_events *events;
    void *arg;
    enum state state;
    char mark[4 + DW_BOUNDARY_MAX + 1];
    size_t mark_len, matched;
    char after;         /* the mark: '-' or CR or, so far, nothing */
    struct dw_buf head; /* of the part that begins */
};

struct dw_http_multipart *dw_http_multipart_new(const char *boundary,
                                                const struct dw_http_form_events *events, void *arg)
{
    struct dw_http_multipart *m = dw_alloc(sizeof *m);
    m->events = events;
    m->arg = arg;
    m->mark_len = 4 + strlen(boundary);
    memcpy(m->mark, "\r\n--", 4);
    memcpy(m->mark + 4, boundary, m->mark_len - 4);
    m->matched = 2; /* the first mark needs no line before it */
    dw_buf_init(&m->head, PART_HEAD_MAX);
    return m;
}

void dw_http_multipart_free(struct dw_http_multipart *m)
{
    if (m)
        dw_buf_free(&m->head);
    dw_wipe_free(m, sizeof *m);
}

/* ---- the head of a part ---- */

struct part_head {
    char name[DW_NAME_MAX + 1], filename[FILENAME_MAX_BYTES + 1], type[128];
    bool named, is_file, has_type, has_encoding;
};

static bool read_disposition(struct part_head *head, const char *value)
{
    char name[32], text[FILENAME_MAX_BYTES + 1];
    const char *at = value + strcspn(value, ";");
    int more;
    if (head->named || (size_t)(at - value) < 9 || strncasecmp(value, "form-data", 9) != 0 ||
        strspn(value + 9, " \t") != (size_t)(at - value) - 9)
        return false;
    while ((more = dw_http_parameter(&at, name, sizeof name, text, sizeof text)) > 0) {
        bool is_name = strcmp(name, "name") == 0;
        bool is_filename = strcmp(name, "filename") == 0;
        if (is_name && (head->named || !*text || strlen(text) > DW_NAME_MAX))
            return false;
        if (is_filename && head->is_file)
            return false;
        if (is_name)
            memcpy(head->name, text, strlen(text) + 1);
        if (is_filename)
            memcpy(head->filename, text, strlen(text) + 1);
        head->named |= is_name;
        head->is_file |= is_filename;
    }
    return more == 0 && head->named;
}

static bool read_type(struct part_head *head, const char *value)
{
    if (head->has_type || strlen(value) >= sizeof head->type)
        return false;
    memcpy(head->type, value, strlen(value) + 1);
    head->has_type = true;
    return true;
}

/* RFC 7578 takes it out of use; what would have to be decoded must not pass as if it had been. */
static bool read_encoding(struct part_head *head, const char *value)
{
    bool plain = strcasecmp(value, "binary") == 0 || strcasecmp(value, "8bit") == 0 ||
                 strcasecmp(value, "7bit") == 0;
    if (head->has_encoding)
        return false;
    head->has_encoding = true;
    return plain;
}

static const struct {
    const char *name;
    bool (*read)(struct part_head *head, const char *value);
} part_fields[] = {
    {"Content-Disposition", read_disposition},
    {"Content-Type", read_type},
    {"Content-Transfer-Encoding", read_encoding},
};

static bool read_line(struct part_head *head, char *line)
{
    size_t len = strcspn(line, ":");
    if (len == 0 || !line[len] || strcspn(line, " \t\r\n") < len)
        return false;
    char *value = line + len + 1;
    line[len] = 0;
    value += strspn(value, " \t");
    for (size_t n = strlen(value); n > 0 && strchr(" \t", value[n - 1]); n--)
        value[n - 1] = 0;
    if (strpbrk(value, "\r\n"))
        return false;
    for (size_t i = 0; i < DW_COUNT(part_fields); i++)
        if (strcasecmp(line, part_fields[i].name) == 0)
            return part_fields[i].read(head, value);
    return true;
}

/* The whole head, its empty line included, lies in m->head. */
static bool begin_part(struct dw_http_multipart *m)
{
    struct part_head head = {.type = ""};
    char *line = (char *)m->head.data;
    bool good = dw_text_is_clean(line, m->head.len, "\r\n\t");
    while (good && strncmp(line, "\r\n", 2) != 0) {
        char *end = strstr(line, "\r\n");
        *end = 0;
        good = read_line(&head, line);
        line = end + 2;
    }
    struct dw_http_part part = {
        .name = head.name, .filename = head.is_file ? head.filename : NULL, .type = head.type};
    good = good && head.named && m->events->begin(m->arg, &part);
    dw_buf_clear(&m->head);
    return good;
}

/* ---- states: each takes some of the bytes, or changes the state ---- */

static void emit(struct dw_http_multipart *m, const char *data, size_t len)
{
    if (m->state == CONTENT && len > 0 && !m->events->data(m->arg, data, len))
        m->state = BROKEN;
}

static void end_content(struct dw_http_multipart *m)
{
    m->matched = 0;
    m->after = 0;
    if (m->state == CONTENT && !m->events->end(m->arg))
        m->state = BROKEN;
    if (m->state != BROKEN)
        m->state = MARKED;
}

static size_t same_bytes(const char *a, const char *b, size_t len)
{
    size_t n = 0;
    while (n < len && a[n] == b[n])
        n++;
    return n;
}

/* Goes on with a mark whose beginning came in an earlier piece. */
static size_t match_on(struct dw_http_multipart *m, const char *data, size_t len)
{
    size_t missing = m->mark_len - m->matched;
    size_t can = missing < len ? missing : len;
    size_t same = same_bytes(data, m->mark + m->matched, can);
    m->matched += same;
    if (m->matched == m->mark_len) {
        end_content(m);
    } else if (same < can) { /* it was none: all of it was content */
        emit(m, m->mark, m->matched);
        m->matched = 0;
    }
    return same;
}

static size_t find_mark(struct dw_http_multipart *m, const char *data, size_t len)
{
    size_t at = 0;
    if (m->matched > 0)
        return match_on(m, data, len);
    while (at < len) {
        const char *cr = memchr(data + at, '\r', len - at);
        if (!cr)
            break;
        at = (size_t)(cr - data);
        size_t can = m->mark_len < len - at ? m->mark_len : len - at;
        if (same_bytes(cr, m->mark, can) == can) {
            emit(m, data, at);
            m->matched = can;
            if (m->state != BROKEN && can == m->mark_len)
                end_content(m);
            return at + can;
        }
        at++;
    }
    emit(m, data, len);
    return len;
}

/* "--" for the last mark, or blanks and a new line. */
static size_t read_mark_end(struct dw_http_multipart *m, const char *data, size_t len)
{
    char c = *data;
    (void)len;
    if (m->after == 0 && (c == ' ' || c == '\t'))
        return 1;
    if (m->after == 0 && (c == '-' || c == '\r'))
        m->after = c;
    else if (m->after == '-' && c == '-')
        m->state = EPILOGUE;
    else if (m->after == '\r' && c == '\n')
        m->state = HEAD;
    else
        m->state = BROKEN;
    return 1;
}

static size_t read_head(struct dw_http_multipart *m, const char *data, size_t len)
{
    static const char end[] = "\r\n\r\n";
    size_t used = 0;
    while (used < len) {
        dw_buf_u8(&m->head, (uint8_t)data[used++]);
        const struct dw_buf *head = &m->head;
        if (head->overflow) {
            m->state = BROKEN;
            break;
        }
        if (head->len >= 4 && memcmp(head->data + head->len - 4, end, 4) == 0) {
            m->state = begin_part(m) ? CONTENT : BROKEN;
            break;
        }
    }
    return used;
}

static size_t skip(struct dw_http_multipart *m, const char *data, size_t len)
{
    (void)m;
    (void)data;
    return len;
}

static size_t (*const steps[])(struct dw_http_multipart *m, const char *data, size_t len) = {
    [PREAMBLE] = find_mark, [MARKED] = read_mark_end, [HEAD] = read_head,
    [CONTENT] = find_mark,  [EPILOGUE] = skip,        [BROKEN] = skip,
};

bool dw_http_multipart_feed(struct dw_http_multipart *m, const char *data, size_t len)
{
    while (len > 0) {
        size_t used = steps[m->state](m, data, len);
        data += used;
        len -= used;
    }
    return m->state != BROKEN;
}

bool dw_http_multipart_finish(const struct dw_http_multipart *m)
{
    return m->state == EPILOGUE;
}
