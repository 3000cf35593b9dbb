/* body.c - what becomes of a body while it arrives: JSON in one buffer, fields in a list, files to
 * the route.  Once a request is refused the rest of its body is counted and forgotten. */
#include "http_private.h"

#include <string.h>

static void refuse(struct dw_http_request *request, int status, const char *field,
                   const char *detail)
{
    dw_http_request_refuse(request, status, field, detail);
}

/* ---- parts of a form ---- */

static bool begin_file(struct dw_http_request *request, const struct dw_http_part *part)
{
    const struct dw_http_upload *upload = request->route->upload;
    if (!upload) {
        refuse(request, 400, part->name, "no files are taken here");
        return false;
    }
    if (!request->upload)
        request->upload = upload->begin(request->http->app, request);
    int status = request->upload
                     ? upload->file_begin(request->upload, part->name, part->filename, part->type)
                     : 503;
    request->in_file = true;
    if (status)
        refuse(request, status, part->name, NULL);
    return status == 0;
}

static bool begin_part(void *arg, const struct dw_http_part *part)
{
    struct dw_http_request *request = arg;
    const struct dw_http_limits *limits = request->http->limits;
    request->in_file = false;
    if (part->filename && *part->filename)
        return begin_file(request, part);
    /* A browser sends a file input that was left empty as a file without a name. */
    request->unnamed_file = part->filename != NULL;
    memcpy(request->name, part->name, strlen(part->name) + 1);
    dw_buf_clear(&request->value);
    if (!request->unnamed_file && (int64_t)request->fields_count >= limits->max_fields) {
        refuse(request, 400, "", "the form has too many fields");
        return false;
    }
    return true;
}

static bool take_data(void *arg, const void *data, size_t len)
{
    struct dw_http_request *request = arg;
    if (request->in_file) {
        int status = request->route->upload->file_data(request->upload, data, len);
        request->file_bytes += len;
        if (status)
            refuse(request, status, "", NULL);
        return status == 0;
    }
    dw_buf_put(&request->value, data, len);
    if (request->value.overflow)
        refuse(request, 400, request->name, "the field is too long");
    else if (memchr(data, 0, len))
        refuse(request, 400, request->name, "the field has a NUL");
    return !request->refused;
}

static bool end_file(struct dw_http_request *request)
{
    int status = request->route->upload->file_end(request->upload);
    request->in_file = false;
    if (status)
        refuse(request, status, "", NULL);
    return status == 0;
}

static bool end_part(void *arg)
{
    struct dw_http_request *request = arg;
    struct dw_buf *value = &request->value;
    if (request->in_file)
        return end_file(request);
    if (request->unnamed_file) {
        if (value->len > 0)
            refuse(request, 400, request->name, "the file has no name");
        return !request->refused;
    }
    struct dw_arena *memory = &request->memory;
    struct dw_http_field *field = &request->fields[request->fields_count];
    field->name = dw_arena_strndup(memory, request->name, strlen(request->name));
    field->value = dw_arena_strndup(memory, dw_buf_text(value), value->len);
    if (!field->name || !field->value) {
        refuse(request, 413, "", "the form is too large");
        return false;
    }
    request->fields_count++;
    return true;
}

static const struct dw_http_form_events form_events = {begin_part, take_data, end_part};

/* ---- the body ---- */

static bool is_taken(const struct dw_http_route *route, enum dw_http_content content)
{
    bool form = content == DW_CONTENT_PAIRS || content == DW_CONTENT_MULTIPART;
    switch (route->body) {
    case DW_HTTP_JSON:
        return content == DW_CONTENT_JSON;
    case DW_HTTP_FORM:
        return form;
    case DW_HTTP_MULTIPART:
        return form || content == DW_CONTENT_JSON;
    default:
        return false;
    }
}

static void begin_form(struct dw_http_request *request, const char *content_type)
{
    size_t max = (size_t)request->http->limits->max_fields;
    request->form = dw_http_form_new(content_type, &form_events, request);
    request->fields = dw_arena_alloc(&request->memory, max * sizeof *request->fields);
    dw_buf_init(&request->value, (size_t)request->http->limits->max_field_bytes);
    if (!request->form || !request->fields)
        refuse(request, 400, "Content-Type", "the boundary is missing or malformed");
}

void dw_http_body_begin(struct dw_http_request *request)
{
    const char *content_type = dw_http_head_value(&request->head, "Content-Type");
    int64_t max = request->http->limits->max_body_bytes;
    const struct dw_http_route *route = request->route;
    request->content = dw_http_content_of(content_type);
    if (request->length == 0 && request->content != DW_CONTENT_MULTIPART)
        return;
    if (route->body == DW_HTTP_NO_BODY) {
        refuse(request, 400, "", "no body is taken here");
        return;
    }
    if (!is_taken(route, request->content)) {
        refuse(request, 415, "Content-Type", "this type of body is not taken here");
        return;
    }
    bool files = request->content == DW_CONTENT_MULTIPART && route->upload;
    if (!files && request->length > max) {
        refuse(request, 413, "", "the body is too large");
        return;
    }
    dw_buf_init(&request->body, (size_t)max);
    if (request->content != DW_CONTENT_JSON)
        begin_form(request, content_type);
}

void dw_http_body_feed(struct dw_http_request *request, const void *data, size_t len)
{
    size_t files = request->file_bytes;
    request->received += (int64_t)len;
    if (request->refused)
        return;
    if (!request->form) {
        dw_buf_put(&request->body, data, len);
        if (request->body.overflow)
            refuse(request, 413, "", "the body is too large");
        else if (memchr(data, 0, len)) /* which jansson does not always mind */
            refuse(request, 400, "", "the body has a NUL");
        return;
    }
    if (!dw_http_form_feed(request->form, data, len) && !request->refused)
        refuse(request, 400, "", "the form is malformed");
    request->other_bytes += len - (request->file_bytes - files);
    if (request->other_bytes > (size_t)request->http->limits->max_body_bytes)
        refuse(request, 413, "", "the form is too large, files not counted");
}

void dw_http_body_finish(struct dw_http_request *request)
{
    if (request->form && !request->refused && !dw_http_form_finish(request->form) &&
        !request->refused)
        refuse(request, 400, "", "the form ends too early");
    dw_http_form_free(request->form);
    request->form = NULL;
}
