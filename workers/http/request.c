/* request.c - a request's life, and what a route may ask it. */
#include "http_private.h"

#include "dw/log.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { MEMORY_BASE = 128 * 1024, MEMORY_PER_FIELD = 128 };

struct dw_http_request *dw_http_request_new(struct dw_http *http, struct MHD_Connection *mhd,
                                            const char *uri)
{
    const struct dw_http_limits *limits = http->limits;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct dw_http_request *request = dw_alloc(sizeof *request);
    request->http = http;
    request->mhd = mhd;
    request->conn = info->socket_context;
    request->uri = dw_strdup(uri);
    request->uri_at = uri;
    dw_arena_init(&request->memory, (size_t)(MEMORY_BASE + 2 * limits->max_body_bytes +
                                             MEMORY_PER_FIELD * limits->max_fields));
    return request;
}

void dw_http_request_free(struct dw_http_request *request)
{
    if (request->upload)
        request->route->upload->end(request->upload);
    dw_http_form_free(request->form);
    dw_buf_free(&request->body);
    dw_buf_free(&request->value);
    dw_http_answer_free(&request->answer);
    dw_arena_free(&request->memory);
    dw_wipe_free(request->uri, strlen(request->uri) + 1);
    dw_wipe_free(request, sizeof *request);
}

void dw_http_refuse(struct dw_http_request *request, const char *field, const char *detail)
{
    snprintf(request->field, sizeof request->field, "%s", field);
    snprintf(request->detail, sizeof request->detail, "%s", detail);
}

void dw_http_request_refuse(struct dw_http_request *request, int status, const char *field,
                            const char *detail)
{
    if (request->refused)
        return;
    request->refused = status;
    if (detail || !*request->detail)
        dw_http_refuse(request, field, detail ? detail : "");
}

const char *dw_http_method(const struct dw_http_request *request)
{
    return request->route->method;
}

const char *dw_http_path(const struct dw_http_request *request)
{
    return request->route ? request->route->path : "/"; /* none: refused before it was found */
}

const char *dw_http_param(const struct dw_http_request *request, size_t n)
{
    return n < DW_PARAMS_MAX ? request->params[n] : NULL;
}

const char *dw_http_query(const struct dw_http_request *request, const char *name)
{
    const struct dw_http_target *target = &request->target;
    for (size_t i = 0; i < target->pairs; i++)
        if (strcmp(target->names[i], name) == 0)
            return target->values[i];
    return NULL;
}

const char *dw_http_header(const struct dw_http_request *request, const char *name)
{
    return dw_http_head_value(&request->head, name);
}

bool dw_http_is_form(const struct dw_http_request *request)
{
    return request->content == DW_CONTENT_PAIRS || request->content == DW_CONTENT_MULTIPART;
}

struct dw_slice dw_http_body(const struct dw_http_request *request)
{
    return dw_buf_slice(&request->body);
}

/* jansson stops behind the second of two equal names. */
static void refuse_duplicate(struct dw_http_request *request, struct dw_slice body, size_t end)
{
    char name[64];
    size_t from = end > 0 && end <= body.len ? --end : 0;
    while (from > 0 && body.data[from - 1] != '"')
        from--;
    dw_http_problem(request, 422,
                    dw_printable(name, sizeof name, (const char *)body.data + from, end - from),
                    "the field comes twice");
}

json_t *dw_http_json_body(struct dw_http_request *request)
{
    struct dw_slice body = dw_http_body(request);
    json_error_t error = {0};
    json_t *json = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &error);
    bool twice = !json && json_error_code(&error) == json_error_duplicate_key;
    size_t end = (size_t)error.position;
    sodium_memzero(&error, sizeof error); /* it quotes the text it stopped at */
    if (json_is_object(json))
        return json;
    json_decref(json);
    if (twice)
        refuse_duplicate(request, body, end);
    else
        dw_http_problem(request, 400, "", "expected a JSON object");
    return NULL;
}

const char *dw_http_field(const struct dw_http_request *request, const char *name, size_t n)
{
    for (size_t i = 0; i < request->fields_count; i++)
        if (strcmp(request->fields[i].name, name) == 0 && n-- == 0)
            return request->fields[i].value;
    return NULL;
}

size_t dw_http_fields(const struct dw_http_request *request)
{
    return request->fields_count;
}

const char *dw_http_field_name(const struct dw_http_request *request, size_t i)
{
    return request->fields[i].name;
}

const char *dw_http_field_value(const struct dw_http_request *request, size_t i)
{
    return request->fields[i].value;
}

void *dw_http_upload_of(const struct dw_http_request *request)
{
    return request->upload;
}

void dw_http_resume(struct dw_http_request *request)
{
    dw_http_conn_resume(request->http, request->conn);
}
