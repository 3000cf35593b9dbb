/* call.c - asking the case worker, and saying who asks; and the member behind a request. */
#include "desk.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { MORE_MAX = 40, PAYLOAD_MAX = 64 * 1024 * 1024, RETRY_SECONDS = 5 };

void reply_free(struct reply *reply)
{
    dw_bus_answer_free(&reply->answer);
}

static void copy_text(char *out, size_t len, struct dw_slice from)
{
    size_t n = from.len < len - 1 ? from.len : len - 1;
    memcpy(out, from.data, n);
    out[n] = 0;
}

static void read_reply(struct reply *ret)
{
    ret->status = ret->result == DW_OK ? ret->answer.status : 503;
    if (ret->result != DW_OK)
        dw_error_set(&ret->error, "", ret->result == DW_RETRY
                                          ? "the case worker is away; try again"
                                          : "no answer came in time: look, then try again");
    else if (ret->status != 200 && ret->answer.payload_count >= 2) {
        copy_text(ret->error.field, sizeof ret->error.field, ret->answer.payload[0]);
        copy_text(ret->error.text, sizeof ret->error.text, ret->answer.payload[1]);
    }
}

void call_plain(struct desk *desk, const char *method, const struct dw_layout *layout,
                const void *in, struct reply *ret)
{
    DW_AUTO_BUF doc = {0};
    *ret = (struct reply){0};
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_encode(layout, in, &doc);
    struct dw_slice payload[] = {dw_slice_of(method), dw_buf_slice(&doc)};
    ret->result = dw_bus_call_any(desk->bus, false, "case.desk", payload, 2,
                              desk->config->desk.call_timeout_ms, &ret->answer);
    read_reply(ret);
}

void call_signed(struct signed_in *who, const char *method, struct dw_desk_request *request,
                 const struct dw_slice *more, size_t count, struct reply *ret)
{
    uint8_t seal[DW_SEAL_LEN];
    struct dw_slice payload[3 + MORE_MAX];
    DW_AUTO_BUF doc = {0};
    DW_AUTO_BUF rest = {0};
    *ret = (struct reply){.status = 422};
    dw_buf_init(&doc, 65536);
    dw_buf_init(&rest, PAYLOAD_MAX);
    if (count > MORE_MAX)
        return;
    for (size_t i = 0; i < count; i++)
        dw_buf_put(&rest, more[i].data, more[i].len);
    request->user = who->member.user;
    request->method = method;
    request->at = dw_now();
    dw_hash(request->payload, dw_buf_slice(&rest));
    dw_encode(&dw_desk_request_layout, request, &doc);
    memcpy(seal, who->signer.id, DW_SIGNER_LEN);
    dw_sign(&who->signer, DW_LABEL_DESK, dw_buf_slice(&doc), seal + DW_SIGNER_LEN);
    payload[0] = dw_slice_of(method);
    payload[1] = dw_buf_slice(&doc);
    payload[2] = DW_SLICE(seal, sizeof seal);
    for (size_t i = 0; i < count; i++)
        payload[3 + i] = more[i];
    ret->result = dw_bus_call_any(who->desk->bus, false, "case.desk", payload, 3 + count,
                              who->desk->config->desk.call_timeout_ms, &ret->answer);
    read_reply(ret);
}

bool reply_decode(struct reply *reply, struct dw_arena *arena, const struct dw_layout *layout,
                  void *ret)
{
    if (reply->status != 200)
        return false;
    struct dw_slice doc;
    if (dw_unpack_begin(&reply->objects, reply->answer.payload, reply->answer.payload_count, arena,
                        &doc) &&
        dw_decode(layout, doc, arena, ret, &reply->error) == DW_OK)
        return true;
    reply->status = 503;
    return false;
}

void reply_refuse(struct dw_http_request *request, const struct reply *reply)
{
    if (reply->status == 503 || reply->status == 504) {
        char seconds[12];
        snprintf(seconds, sizeof seconds, "%d", RETRY_SECONDS);
        dw_http_set_header(request, "Retry-After", seconds);
        dw_http_problem(request, 503, reply->error.field, reply->error.text);
    } else {
        dw_http_problem(request, reply->status, reply->error.field, reply->error.text);
    }
}

/* ---- who asks ---- */

static const char *token_of(const struct dw_http_request *request)
{
    const char *header = dw_http_header(request, "Authorization");
    return header && strncmp(header, "Bearer ", 7) == 0 ? header + 7 : NULL;
}

bool who_begin(struct desk *desk, struct dw_http_request *request, struct signed_in *ret)
{
    const char *token = token_of(request);
    *ret = (struct signed_in){.desk = desk, .request = request};
    dw_arena_init(&ret->arena, DESK_ARENA_MAX);
    ret->keys = dw_member_keys_new();
    if (!ret->keys) {
        dw_http_problem(request, 503, "", "no locked memory for keys");
    } else if (!token || !session_use(desk->sessions, token, ret)) {
        dw_http_set_header(request, "WWW-Authenticate", "Bearer");
        dw_http_problem(request, 401, "Authorization", "expected the token of a session: log in");
    } else {
        dw_signer_init(&ret->signer, ret->keys->sign_seed);
        return true;
    }
    who_end(ret);
    return false;
}

void who_end(struct signed_in *who)
{
    if (who->signer.secret)
        dw_signer_free(&who->signer);
    dw_member_keys_free(who->keys); /* which wipes them */
    who->keys = NULL;
    dw_arena_free(&who->arena);
}
