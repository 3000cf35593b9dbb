/* http.h - HTTP in front of `web` and `desk`.  Sources: workers/http/
 *
 * libmicrohttpd in poll mode with one thread of its own; requests are worked on by a small pool of
 * threads, straight through, and may wait there.  Stands behind nginx and does not trust it to have
 * checked anything.
 *
 * What every request passes before a route sees it:
 *   - one Host, no header folding or space before a colon, no Transfer-Encoding, one all-digit
 *     Content-Length where there is a body, every line ended by CRLF: else 400, and the connection is
 *     closed
 *   - limits of struct dw_http_limits, each answered with a 4xx that names it: 413 body, 431 headers,
 *     400 fields; a body that arrives too slowly or for too long is cut
 *   - libmicrohttpd cannot answer in mid-body: the rest is drained, then the answer is given
 *   - rate: a token bucket per keyed hash of the address (key fresh every hour, in memory only); 429
 *     with Retry-After.  The address is the peer's, or the last X-Forwarded-For entry that was not
 *     added by a trusted proxy
 * Every answer carries no-store, nosniff, no-referrer, CSP, COOP and CORP, but for those that
 * libmicrohttpd gives to a head it cannot parse: a fixed text, then it closes.  Nothing is logged
 * about who asked for what.  Bodies, fields and answers are wiped when the request ends. */
#ifndef DW_HTTP_H
#define DW_HTTP_H

#include "dw/bytes.h"
#include "dw/config.h"
#include "dw/result.h"

#include <jansson.h>

struct dw_http;
struct dw_http_request;

enum dw_http_body {
    DW_HTTP_NO_BODY,   /* GET */
    DW_HTTP_JSON,      /* application/json, kept in memory up to max_body_bytes */
    DW_HTTP_FORM,      /* application/x-www-form-urlencoded or multipart without files */
    DW_HTTP_MULTIPART, /* multipart/form-data with files, or one of the two above */
};

/* A token bucket per address; NULL for none. */
struct dw_http_rate {
    const char *name;
    double per_second;
    int64_t burst;
};

/* Files of a MULTIPART route, told as they arrive, in the server's own thread: be quick.  Each
 * returns 0, or the status that ends the request (the rest of the body is drained first); why may be
 * said with dw_http_refuse().  Fields that came before the file can be read with dw_http_field().
 * Of a file that breaks off, or is refused, only end() tells. */
struct dw_http_upload {
    /* Before the first file, so never for a form without any; NULL refuses with 503. */
    void *(*begin)(void *app, struct dw_http_request *request);
    int (*file_begin)(void *upload, const char *field, const char *filename, const char *type);
    int (*file_data)(void *upload, const void *data, size_t len);
    int (*file_end)(void *upload);
    /* True: no more is read until dw_http_resume(), but what was read already (at most 64 KiB) has
     * still been told. May be NULL. */
    bool (*wants_pause)(void *upload);
    /* Frees it; the request is over, answered or not, and may not be resumed any more. */
    void (*end)(void *upload);
};

struct dw_http_route {
    const char *method; /* "GET" also answers HEAD */
    const char *path;   /* "/api/v1/cases/:ref/files/:id" */
    enum dw_http_body body;
    const struct dw_http_rate *rate;
    const struct dw_http_upload *upload; /* MULTIPART with files */
    bool same_origin; /* pages' forms: refuse a POST that another site started */
    /* In a pool thread. Must give exactly one answer. */
    void (*handle)(void *app, struct dw_http_request *request);
};

/* Borrows limits, routes and app until it is stopped. DW_INVALID: the settings are wrong. */
enum dw_result dw_http_start(const struct dw_http_limits *limits, int64_t table_size,
                             const struct dw_http_route *routes, size_t count, void *app,
                             const char *metric_prefix, struct dw_http **ret,
                             struct dw_error *err);
/* Who asks for a page (Accept: text/html) is refused with this page and not with JSON; it must give
 * exactly one answer, from any thread.  Before the first request, else that one gets JSON. */
void dw_http_problem_page(struct dw_http *http,
                          void (*page)(void *app, struct dw_http_request *request, int status));
/* Stops listening, lets requests in work finish for at most that long, closes.  A route that is
 * still at work then is waited for, so that `app` may be freed afterwards; its client is gone. */
void dw_http_stop(struct dw_http *http, int64_t grace_ms);
int dw_http_port(const struct dw_http *http); /* as bound, for listen addresses with port 0 */

/* ---- the request ---- */

const char *dw_http_method(const struct dw_http_request *request); /* the route's: GET for HEAD */
const char *dw_http_path(const struct dw_http_request *request);   /* the route's */
const char *dw_http_param(const struct dw_http_request *request, size_t n); /* of the path */
const char *dw_http_query(const struct dw_http_request *request, const char *name);
const char *dw_http_header(const struct dw_http_request *request, const char *name);
bool dw_http_is_form(const struct dw_http_request *request); /* not JSON */
struct dw_slice dw_http_body(const struct dw_http_request *request);
/* The body as a JSON object, which the caller owns; NULL after it has answered what is wrong. */
json_t *dw_http_json_body(struct dw_http_request *request);
/* Fields of a form, in order of arrival; n counts fields of the same name. NULL when absent. */
const char *dw_http_field(const struct dw_http_request *request, const char *name, size_t n);
size_t dw_http_fields(const struct dw_http_request *request);
const char *dw_http_field_name(const struct dw_http_request *request, size_t i);
const char *dw_http_field_value(const struct dw_http_request *request, size_t i);
void *dw_http_upload_of(const struct dw_http_request *request);
/* Reads a paused upload on. Any thread. */
void dw_http_resume(struct dw_http_request *request);
/* Why the request is refused: from an upload function, or from the route before it answers with a
 * dw_http_problem() of NULLs. */
void dw_http_refuse(struct dw_http_request *request, const char *field, const char *detail);

/* ---- the answer ---- */

/* In place of the header that every answer has, where it is one of those; Set-Cookie adds up. */
void dw_http_set_header(struct dw_http_request *request, const char *name, const char *value);
/* Takes the JSON, and below the bytes: the buffer is empty afterwards. */
void dw_http_json(struct dw_http_request *request, int status, json_t *body);
void dw_http_html(struct dw_http_request *request, int status, struct dw_buf *html);
/* Any other type, shown in place: a style sheet, a script, CSV. */
void dw_http_bytes(struct dw_http_request *request, int status, const char *type,
                   struct dw_buf *bytes);
/* RFC 9457 application/problem+json. `field` may be ""; NULL stands for what dw_http_refuse() said. */
void dw_http_problem(struct dw_http_request *request, int status, const char *field,
                     const char *detail);
/* The same with a list `errors`: [{"field", "detail"}], which it takes; `field` is what
 * dw_http_refuse() said, the first of them. */
void dw_http_problems(struct dw_http_request *request, int status, const char *detail,
                      json_t *errors);
/* A file to keep: attachment, sandboxed. The name is given as RFC 8187 says. */
void dw_http_file(struct dw_http_request *request, const char *name, const char *type,
                  struct dw_buf *bytes);
void dw_http_empty(struct dw_http_request *request, int status);
void dw_http_redirect(struct dw_http_request *request, const char *path); /* 303, within the site */

/* An Idempotency-Key: a UUID or 22 to 64 characters of base64url. */
bool dw_http_is_key(const char *text);

/* Text into HTML, escaped; the only way text gets into a page. */
void dw_html_text(struct dw_buf *out, const char *text);

#endif
