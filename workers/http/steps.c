/* steps.c - what libmicrohttpd calls in its thread, in this order:
 *
 *   dw_http_on_uri        the first line has come: a request is made
 *   dw_http_on_request    the head is complete: it is checked, and its route found
 *   dw_http_on_request    once for each piece of the body
 *   dw_http_on_request    all is there: into the pool, or the refusal is answered
 *   dw_http_on_request    after the pool: the answer
 *   dw_http_on_completed  the answer is sent, or the client gone: the request is freed */
#include "http_private.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- the head ---- */

struct reading {
    struct dw_http_head *head;
    size_t max;
};

static enum MHD_Result read_line(void *arg, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t value_len)
{
    struct reading *reading = arg;
    struct dw_http_head *head = reading->head;
    (void)kind;
    if (head->count < reading->max)
        head->lines[head->count] = (struct dw_http_head_line){name, value, name_len, value_len};
    head->count++;
    return MHD_YES;
}

/* False: refused so that the connection must close. */
static bool read_head(struct dw_http_request *request, const char *method, const char *version)
{
    const struct dw_http_limits *limits = request->http->limits;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct dw_http_head *head = &request->head;
    struct reading reading = {head, (size_t)limits->max_headers};
    struct dw_http_head_problem problem;
    *head = (struct dw_http_head){.method = method,
                                  .version = version,
                                  .uri = request->uri,
                                  .uri_at = request->uri_at,
                                  .bytes = info ? info->header_size : 0};
    head->lines = dw_arena_alloc(&request->memory, reading.max * sizeof *head->lines);
    MHD_get_connection_values_n(request->mhd, MHD_HEADER_KIND, read_line, &reading);
    int status = dw_http_head_check(head, limits->max_headers, &problem);
    if (status == 0 && !dw_http_head_keep(head, &request->memory)) {
        status = 431;
        problem = (struct dw_http_head_problem){"", "the header fields are too long"};
    }
    if (status)
        dw_http_request_refuse(request, status, problem.field, problem.detail);
    return status == 0;
}

static void check_rate(struct dw_http_request *request)
{
    struct dw_http *http = request->http;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct dw_http_peer peer;
    char seconds[24];
    if (!request->route->rate)
        return;
    dw_http_peer_of(info ? info->client_addr : NULL, &peer);
    peer = dw_http_peer_behind(peer, &request->head, http->trusted, http->trusted_count);
    int64_t wait = dw_http_rates_take(http->rates, request->route->rate, peer, dw_monotonic_ms());
    if (wait == 0)
        return;
    snprintf(seconds, sizeof seconds, "%lld", (long long)wait);
    dw_http_set_header(request, "Retry-After", seconds);
    dw_http_request_refuse(request, 429, "", NULL);
}

static void find_route(struct dw_http_request *request)
{
    struct dw_http *http = request->http;
    char allow[64];
    if (!dw_http_target_parse(request->uri, &request->memory, &request->target)) {
        dw_http_request_refuse(request, 400, "", "the address is malformed");
        return;
    }
    request->route = dw_http_target_find(&request->target, request->head.method, http->routes,
                                         http->routes_count, request->params, allow);
    if (!request->route && *allow) {
        dw_http_set_header(request, "Allow", allow);
        dw_http_request_refuse(request, 405, "", "this address does not take this method");
    } else if (!request->route) {
        dw_http_request_refuse(request, 404, "", NULL);
    }
}

static bool waits_for_leave(const struct dw_http_request *request)
{
    const char *expect = dw_http_head_value(&request->head, "Expect");
    return expect && strcasecmp(expect, "100-continue") == 0 &&
           strcmp(request->head.version, "HTTP/1.0") != 0;
}

static enum MHD_Result answer_refusal(struct dw_http_request *request)
{
    request->stage = DW_STAGE_ANSWER;
    dw_http_problem(request, request->refused, NULL, NULL);
    return dw_http_answer_send(request);
}

static enum MHD_Result take_head(struct dw_http_request *request, const char *method,
                                 const char *version)
{
    request->stage = DW_STAGE_BODY;
    atomic_fetch_add(request->http->metrics.requests, 1);
    dw_http_conn_enter(request->http, request->conn, DW_ARRIVING);
    if (!read_head(request, method, version))
        return answer_refusal(request); /* early, which makes libmicrohttpd close */
    request->length = dw_http_head_length(&request->head);
    find_route(request);
    if (!request->refused)
        check_rate(request);
    if (!request->refused && request->route->same_origin &&
        strcmp(request->route->method, "GET") != 0 &&
        !dw_http_same_origin(&request->head, request->http->limits->origin))
        dw_http_request_refuse(request, 403, "", "another site has started this request");
    if (!request->refused)
        dw_http_body_begin(request);
    /* Elsewhere a refusal waits for the body's end: who is still sending may never read it. */
    if (request->refused && (waits_for_leave(request) || request->length > DW_DRAIN_MAX))
        return answer_refusal(request);
    return MHD_YES;
}

/* ---- the body, and after it ---- */

static enum MHD_Result take_body(struct dw_http_request *request, const char *data, size_t len)
{
    struct dw_http *http = request->http;
    dw_http_conn_received(http, request->conn, len);
    dw_http_body_feed(request, data, len);
    if (request->refused)
        return request->length - request->received > DW_DRAIN_MAX ? MHD_NO : MHD_YES;
    if (request->upload && request->route->upload->wants_pause) {
        dw_http_conn_may_pause(http, request->conn);
        if (request->route->upload->wants_pause(request->upload))
            dw_http_conn_pause(http, request->conn);
    }
    return MHD_YES;
}

static enum MHD_Result take_end(struct dw_http_request *request)
{
    dw_http_body_finish(request);
    if (!request->refused && dw_http_pool_take(request->http, request))
        return MHD_YES;
    if (!request->refused) {
        dw_http_set_header(request, "Retry-After", "1");
        dw_http_request_refuse(request, 503, "", "the server is stopping");
    }
    return answer_refusal(request);
}

enum MHD_Result dw_http_on_request(void *arg, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *len, void **context)
{
    struct dw_http_request *request = *context;
    size_t got = *len;
    (void)arg;
    (void)mhd;
    (void)url; /* ends at the query, or at a NUL; we have kept the original */
    if (!request)
        return MHD_NO;
    *len = 0;
    switch (request->stage) {
    case DW_STAGE_HEAD:
        return take_head(request, method, version);
    case DW_STAGE_BODY:
        return got > 0 ? take_body(request, data, got) : take_end(request);
    case DW_STAGE_ANSWER:
        return dw_http_answer_send(request);
    default:
        return MHD_NO;
    }
}

void *dw_http_on_uri(void *arg, const char *uri, struct MHD_Connection *mhd)
{
    return dw_http_request_new(arg, mhd, uri ? uri : "");
}

void dw_http_on_completed(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_RequestTerminationCode why)
{
    struct dw_http *http = arg;
    struct dw_http_request *request = *context;
    (void)mhd;
    if (!request)
        return;
    if (request->stage == DW_STAGE_HEAD && why == MHD_REQUEST_TERMINATED_WITH_ERROR) {
        atomic_fetch_add(http->metrics.requests, 1); /* libmicrohttpd refused it by itself */
        atomic_fetch_add(http->metrics.refused, 1);
    }
    dw_http_conn_enter(http, request->conn, DW_WAITING);
    dw_http_request_free(request);
    *context = NULL;
}

void dw_http_on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                           enum MHD_ConnectionNotificationCode what)
{
    struct dw_http *http = arg;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        *context = dw_http_conn_open(http, mhd, info->connect_fd);
        atomic_fetch_add(http->metrics.connections, 1);
    } else {
        dw_http_conn_close(http, *context);
        atomic_fetch_sub(http->metrics.connections, 1);
    }
}
