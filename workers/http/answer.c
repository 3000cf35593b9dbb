/* answer.c - what a route answers, and the headers that every answer has.
 *
 * An answer is put together in a thread of the pool and sent by libmicrohttpd's. */
#include "http_private.h"

#include "dw/log.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

enum { JSON_MAX = 64 << 20, DISPOSITION_MAX = 4096 };

/* Nothing may be loaded, and nobody may frame it; a page may have its style and its own forms. */
static const char data_policy[] = "default-src 'none'; frame-ancestors 'none'";
static const char file_policy[] = "default-src 'none'; frame-ancestors 'none'; sandbox";
static const char page_policy[] =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'";

static const char usual_wait[] = "5"; /* seconds, of a 503 that names none */

static const struct {
    const char *name, *value;
} always[] = {
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"X-Frame-Options", "DENY"},
    {"Permissions-Policy",
     "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), "
     "fullscreen=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), magnetometer=(), "
     "microphone=(), midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), "
     "serial=(), usb=(), xr-spatial-tracking=()"},
};

/* ---- given by a route ---- */

/* Takes the bytes. */
static void give(struct dw_http_request *request, int status, const char *type, const char *policy,
                 struct dw_buf *bytes)
{
    struct dw_http_answer *answer = &request->answer;
    if (answer->given) {
        dw_log(DW_ERROR, "http.two-answers", "%s %s gave more than one", request->route->method,
               request->route->path);
        dw_buf_free(bytes);
        return;
    }
    if (bytes->overflow) {
        dw_log(DW_ERROR, "http.answer-too-long", "an answer was longer than its buffer may be");
        dw_buf_free(bytes);
        dw_http_problem(request, 500, "", "");
        return;
    }
    answer->given = true;
    answer->status = status;
    answer->type = dw_arena_strndup(&request->memory, type, strlen(type));
    answer->policy = policy;
    answer->body = *bytes;
    *bytes = (struct dw_buf){.max = bytes->max};
}

/* Cookies are set one by one; any other header has one value. */
void dw_http_set_header(struct dw_http_request *request, const char *name, const char *value)
{
    struct dw_http_answer *answer = &request->answer;
    size_t at = 0;
    while (at < answer->headers_count &&
           (strcasecmp(name, "Set-Cookie") == 0 || strcasecmp(answer->headers[at].name, name) != 0))
        at++;
    char *kept_name = dw_arena_strndup(&request->memory, name, strlen(name));
    char *kept_value = dw_arena_strndup(&request->memory, value, strlen(value));
    if (at == DW_HEADERS_SET_MAX || !kept_name || !kept_value ||
        !dw_text_is_clean(value, strlen(value), "")) {
        dw_log(DW_ERROR, "http.header", "header %s could not be set", name);
        return;
    }
    answer->headers[at].name = kept_name;
    answer->headers[at].value = kept_value;
    if (at == answer->headers_count)
        answer->headers_count++;
}

static int append(const char *bytes, size_t len, void *arg)
{
    dw_buf_put(arg, bytes, len);
    return 0;
}

static void give_json(struct dw_http_request *request, int status, const char *type, json_t *body)
{
    DW_AUTO_BUF text = {0};
    dw_buf_init(&text, JSON_MAX);
    if (json_dump_callback(body, append, &text, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        text.overflow = true;
    dw_buf_u8(&text, '\n');
    json_decref(body);
    give(request, status, type, data_policy, &text);
}

void dw_http_json(struct dw_http_request *request, int status, json_t *body)
{
    give_json(request, status, "application/json", body);
}

void dw_http_html(struct dw_http_request *request, int status, struct dw_buf *html)
{
    give(request, status, "text/html; charset=utf-8", page_policy, html);
}

void dw_http_bytes(struct dw_http_request *request, int status, const char *type,
                   struct dw_buf *bytes)
{
    bool page = strncasecmp(type, "text/html", 9) == 0;
    give(request, status, type, page ? page_policy : data_policy, bytes);
}

/* What to say where nobody has said anything. */
static const char *usual_detail(int status)
{
    static const struct {
        int status;
        const char *detail;
    } known[] = {
        {404, "there is nothing at this address"},
        {413, "the request is too large"},
        {429, "too many requests; try again later"},
        {500, "something went wrong here, not with the request"},
        {503, "the service cannot take this now; try again later"},
    };
    for (size_t i = 0; i < DW_COUNT(known); i++)
        if (known[i].status == status)
            return known[i].detail;
    return "the request was refused";
}

void dw_http_problem_page(struct dw_http *http,
                          void (*page)(void *app, struct dw_http_request *request, int status))
{
    http->problem_page = page;
}

static bool wants_page(const struct dw_http_request *request)
{
    const char *accept =
        MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    return request->http->problem_page && accept && strstr(accept, "text/html");
}

static void give_problem(struct dw_http_request *request, int status, const char *field,
                         const char *detail, json_t *errors)
{
    if (wants_page(request)) {
        json_decref(errors);
        request->http->problem_page(request->http->app, request, status);
        return;
    }
    json_t *body = json_object();
    json_object_set_new(body, "type", json_string("about:blank"));
    json_object_set_new(body, "title", json_string(MHD_get_reason_phrase_for((unsigned)status)));
    json_object_set_new(body, "status", json_integer(status));
    json_object_set_new(body, "detail",
                        json_string(detail && *detail ? detail : usual_detail(status)));
    if (field && *field)
        json_object_set_new(body, "field", json_string(field));
    if (errors)
        json_object_set_new(body, "errors", errors);
    give_json(request, status, "application/problem+json", body);
}

void dw_http_problem(struct dw_http_request *request, int status, const char *field,
                     const char *detail)
{
    give_problem(request, status, field ? field : request->field, detail ? detail : request->detail,
                 NULL);
}

void dw_http_problems(struct dw_http_request *request, int status, const char *detail,
                      json_t *errors)
{
    give_problem(request, status, request->field, detail, errors);
}

/* RFC 6266: an ASCII name for old programs, the true one as RFC 8187 encodes it. */
static void put_disposition(struct dw_buf *out, const char *name)
{
    static const char unescaped[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789!#$&+-.^_`|~";
    dw_buf_str(out, "attachment; filename=\"");
    for (const char *p = name; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if ((c & 0xc0) == 0x80)
            continue; /* one substitute for each character */
        dw_buf_u8(out, c < 0x20 || c >= 0x7f || strchr("\"\\/%", c) ? '_' : c);
    }
    dw_buf_str(out, "\"; filename*=UTF-8''");
    for (const char *p = name; *p; p++) {
        unsigned char c = *p == '/' || *p == '\\' ? '_' : (unsigned char)*p;
        if (strchr(unescaped, c))
            dw_buf_u8(out, c);
        else
            dw_buf_printf(out, "%%%02X", c);
    }
}

void dw_http_file(struct dw_http_request *request, const char *name, const char *type,
                  struct dw_buf *bytes)
{
    DW_AUTO_BUF disposition = {0};
    dw_buf_init(&disposition, DISPOSITION_MAX);
    put_disposition(&disposition, dw_text_is_clean(name, strlen(name), "") ? name : "file");
    dw_http_set_header(request, "Content-Disposition",
                       disposition.overflow ? "attachment" : dw_buf_text(&disposition));
    bool clean = *type && dw_text_is_clean(type, strlen(type), "");
    give(request, 200, clean ? type : "application/octet-stream", file_policy, bytes);
}

void dw_http_empty(struct dw_http_request *request, int status)
{
    struct dw_buf none = {0};
    give(request, status, "", data_policy, &none);
}

void dw_http_redirect(struct dw_http_request *request, const char *path)
{
    if (path[0] != '/' || path[1] == '/' || path[1] == '\\') { /* would lead to another host */
        dw_log(DW_ERROR, "http.redirect", "refused to redirect away from this site");
        dw_http_problem(request, 500, "", "");
        return;
    }
    dw_http_set_header(request, "Location", path);
    dw_http_empty(request, 303);
}

/* ---- sent ---- */

static void add(struct MHD_Response *response, const struct dw_http_answer *answer,
                const char *name, const char *value)
{
    for (size_t i = 0; i < answer->headers_count; i++)
        if (strcasecmp(answer->headers[i].name, name) == 0)
            return; /* the route's own comes instead */
    if (*value)
        MHD_add_response_header(response, name, value);
}

static void add_headers(struct MHD_Response *response, const struct dw_http_answer *answer,
                        bool keep_alive)
{
    for (size_t i = 0; i < DW_COUNT(always); i++)
        add(response, answer, always[i].name, always[i].value);
    add(response, answer, "Content-Security-Policy", answer->policy);
    if (answer->status == 503)
        add(response, answer, "Retry-After", usual_wait);
    if (answer->type)
        add(response, answer, "Content-Type", answer->type);
    for (size_t i = 0; i < answer->headers_count; i++)
        MHD_add_response_header(response, answer->headers[i].name, answer->headers[i].value);
    if (!keep_alive)
        MHD_add_response_header(response, "Connection", "close");
}

static void free_sent(void *arg)
{
    struct dw_buf *body = arg;
    dw_buf_free(body);
    dw_free(body);
}

static void count(struct dw_http *http, int status)
{
    if (status >= 500)
        atomic_fetch_add(http->metrics.errors, 1);
    else if (status >= 400)
        atomic_fetch_add(http->metrics.refused, 1);
    if (status == 429)
        atomic_fetch_add(http->metrics.rate_limited, 1);
}

enum MHD_Result dw_http_answer_send(struct dw_http_request *request)
{
    struct dw_http_answer *answer = &request->answer;
    struct dw_buf *body = dw_alloc(sizeof *body);
    *body = answer->body;
    answer->body = (struct dw_buf){0};
    count(request->http, answer->status);
    dw_http_conn_enter(request->http, request->conn, DW_SENDING);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        body->len, body->data ? (void *)body->data : (void *)"", free_sent, body);
    if (!response) {
        free_sent(body);
        return MHD_NO;
    }
    add_headers(response, answer, request->http->limits->keep_alive);
    answer->sent = response;
    return MHD_queue_response(request->mhd, (unsigned)answer->status, response);
}

/* libmicrohttpd keeps copies of the headers, a session's cookie among them, and only frees them. */
static enum MHD_Result wipe_copy(void *arg, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)arg;
    (void)kind;
    (void)name;
    sodium_memzero((char *)(uintptr_t)value, strlen(value));
    return MHD_YES;
}

void dw_http_answer_free(struct dw_http_answer *answer)
{
    dw_buf_free(&answer->body);
    if (!answer->sent)
        return;
    MHD_get_response_headers(answer->sent, wipe_copy, NULL);
    MHD_destroy_response(answer->sent);
}
