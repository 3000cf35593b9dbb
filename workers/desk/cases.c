/* cases.c - worklists, one case, its files. */
#include "desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_DEFAULT = 50 };

/* ---- worklists ---- */

static json_t *row_json(const struct dw_list_row *row)
{
    const struct dw_case_index *ix = &row->ix;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:i}", "reference",
                     ix->reference, "state", ix->state, "kind", ix->kind, "against_type",
                     ix->against, "district", ix->district, "day", day_json(ix->day), "due",
                     day_json(ix->due), "due_rule",
                     *ix->due_rule ? json_string(ix->due_rule) : json_null(), "assignee",
                     *ix->assignee ? json_string(ix->assignee) : json_null(), "version",
                     (int)row->version);
}

/* "20783-0123..." as `next` gave it. */
static bool read_after(const char *text, struct dw_desk_request *request)
{
    char *end;
    long due = strtol(text, &end, 10);
    if (end == text || *end != '-' || due < 0 || due > INT32_MAX)
        return false;
    request->after_due = (int32_t)due;
    return dw_unhex(request->after_id, sizeof request->after_id, end + 1);
}

void api_cases(void *app, struct dw_http_request *request)
{
    struct desk *desk = app;
    struct signed_in who;
    struct dw_list_view view;
    struct reply reply;
    const char *limit = dw_http_query(request, "limit"), *after = dw_http_query(request, "after");
    const char *worklist = dw_http_query(request, "worklist");
    struct dw_desk_request ask = {.worklist = worklist ? worklist : "all", .limit = PAGE_DEFAULT};
    if (!who_begin(desk, request, &who))
        return;
    if (limit) {
        size_t digits = strspn(limit, "0123456789"); /* more than five are too many rows */
        ask.limit = digits < 6 && !limit[digits] ? atoi(limit) : 0;
    }
    if (ask.limit < 1 || ask.limit > desk->config->cases.max_page) {
        dw_http_problem(request, 422, "limit", "expected a number of rows that a page may have");
    } else if (after && *after && !read_after(after, &ask)) {
        dw_http_problem(request, 422, "after", "expected what `next` of the page before said");
    } else {
        call_signed(&who, "list", &ask, NULL, 0, &reply);
        if (reply_decode(&reply, &who.arena, &dw_list_view_layout, &view)) {
            json_t *rows = json_array(), *next = json_null();
            for (size_t i = 0; i < view.rows_count; i++)
                json_array_append_new(rows, row_json(&view.rows[i]));
            if (view.rows_count == (size_t)ask.limit) {
                const struct dw_list_row *last = &view.rows[view.rows_count - 1];
                char id[33], text[64];
                snprintf(text, sizeof text, "%d-%s", (int)last->ix.due, dw_hex(id, last->id, 16));
                next = json_string(text);
            }
            dw_http_json(request, 200, json_pack("{s:o, s:o}", "cases", rows, "next", next));
        } else {
            reply_refuse(request, &reply);
        }
        reply_free(&reply);
    }
    who_end(&who);
}

/* ---- one case ---- */

void api_case(void *app, struct dw_http_request *request)
{
    struct signed_in who;
    struct opened opened;
    if (!who_begin(app, request, &who))
        return;
    if (case_open(&who, dw_http_param(request, 0), &opened)) {
        dw_http_json(request, 200, case_json(&who, &opened));
        case_close(&opened);
    }
    who_end(&who);
}

/* ---- a file ---- */

static const struct dw_file *find_file(const struct opened *o, const char *id)
{
    uint8_t wanted[16];
    if (!dw_unhex(wanted, sizeof wanted, id))
        return NULL;
    for (size_t i = 0; i < o->manifest.files_count; i++)
        if (memcmp(o->manifest.files[i].id, wanted, sizeof wanted) == 0)
            return &o->manifest.files[i];
    return NULL;
}

/* Every chunk is asked for, opened and checked; nothing is given out unless all of it is right. */
static bool read_file(struct signed_in *who, const struct opened *o, const struct dw_file *file,
                      struct dw_buf *plain, struct reply *reply)
{
    struct dw_file_reader *reader = dw_file_reader_new(file);
    bool good = reader != NULL;
    *reply = (struct reply){.status = 503};
    dw_error_set(&reply->error, "file", "the file cannot be opened: it is damaged or incomplete");
    for (int32_t i = 0; good && i < file->chunks; i++) {
        struct dw_desk_request ask = {.reference = o->view.c.reference, .part = i};
        struct dw_slice bytes;
        struct dw_done done;
        memcpy(ask.object, file->id, sizeof ask.object);
        reply_free(reply);
        call_signed(who, "object", &ask, NULL, 0, reply);
        good = reply_decode(reply, &who->arena, &dw_done_layout, &done);
        good = good && dw_unpack_next(&reply->objects, &bytes) &&
               dw_file_reader_put(reader, bytes, plain) == DW_OK;
    }
    good = good && dw_file_reader_end(reader) == DW_OK && !plain->overflow;
    dw_file_reader_free(reader);
    if (!good && reply->status == 200)
        reply->status = 503;
    return good;
}

void api_file(void *app, struct dw_http_request *request)
{
    struct desk *desk = app;
    struct signed_in who;
    struct opened opened;
    struct reply reply = {0};
    DW_AUTO_BUF plain = {0};
    dw_buf_init(&plain, (size_t)desk->config->web.max_file_bytes);
    if (!who_begin(desk, request, &who))
        return;
    if (case_open(&who, dw_http_param(request, 0), &opened)) {
        const struct dw_file *file = find_file(&opened, dw_http_param(request, 1));
        if (!file)
            dw_http_problem(request, 404, "file", "not found");
        else if (read_file(&who, &opened, file, &plain, &reply))
            dw_http_file(request, file->name, file->type, &plain);
        else
            reply_refuse(request, &reply);
        reply_free(&reply);
        case_close(&opened);
    }
    who_end(&who);
}
