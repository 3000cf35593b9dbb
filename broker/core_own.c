/* core_own.c - the services the broker answers itself: the durable queue's, and MMI. */
#include "core_private.h"

#include <stdio.h>
#include <string.h>

struct context *b_context_for(const struct client *client, struct dw_slice service,
                              struct dw_slice call)
{
    struct context *c = dw_alloc(sizeof *c);
    c->client = *client;
    memcpy(c->service, service.data, service.len);
    if (call.len)
        memcpy(c->call, call.data, call.len);
    c->call_len = call.len;
    return c;
}

/* Our own programs put what the queue is for; others put items of services they may call. */
static bool may_put(const char *role, struct dw_slice service)
{
    if (dw_is_guest(role))
        return dw_may_call(role, service) && !dw_is_durable(service) && !b_is_own(service);
    return dw_is_durable(service);
}

static const char *want_new_part(const struct dw_slice *body, struct dw_queue_op *op)
{
    if (body[1].len != DW_ID_LEN || dw_all_zero(body[1].data, DW_ID_LEN) || body[2].len != 4)
        return "400 a part wants attempt, number and bytes";
    op->kind = DW_QUEUE_PART;
    memcpy(op->id, body[1].data, DW_ID_LEN);
    op->n = (uint32_t)body[2].data[0] << 24 | (uint32_t)body[2].data[1] << 16 |
            (uint32_t)body[2].data[2] << 8 | body[2].data[3];
    op->frames = dw_frames_copy(&body[3], 1);
    return NULL;
}

/* Each takes the body behind the call number and fills an operation, or says what is wrong. */
static const char *want_put(const char *role, const struct dw_slice *body, size_t count,
                            struct dw_queue_op *op)
{
    op->guest = dw_is_guest(role);
    if (count == 4 && dw_slice_is(body[0], "part") && !op->guest)
        return want_new_part(body, op);
    if (count >= 3 && dw_slice_is(body[0], "close")) {
        op->kind = DW_QUEUE_CLOSE;
        if (!dw_item_header_decode(body[1], &op->header) ||
            !may_put(role, dw_slice_of(op->header.service)) || (op->guest && op->header.parts))
            return "400 close wants the header of an item";
        op->frames = dw_frames_copy(body + 1, count - 1);
        return NULL;
    }
    return "400 expected part or close";
}

static const char *want_pending(const char *role, const struct dw_slice *body, size_t count,
                                struct dw_queue_op *op)
{
    (void)role;
    if (count != 1 || body[0].len != DW_ID_LEN)
        return "400 expected a handle of 16 bytes";
    op->kind = DW_QUEUE_PENDING;
    memcpy(op->id, body[0].data, DW_ID_LEN);
    return NULL;
}

static const char *want_part(const char *role, const struct dw_slice *body, size_t count,
                             struct dw_queue_op *op)
{
    (void)role;
    if (count != 2 || !dw_lease_decode(body[0], op->id, &op->fence) || body[1].len != 4)
        return "400 expected a lease and a part number";
    op->kind = DW_QUEUE_READ;
    op->n = (uint32_t)body[1].data[0] << 24 | (uint32_t)body[1].data[1] << 16 |
            (uint32_t)body[1].data[2] << 8 | body[1].data[3];
    return NULL;
}

static const char *want_adopt(const char *role, const struct dw_slice *body, size_t count,
                              struct dw_queue_op *op)
{
    (void)role;
    op->kind = DW_QUEUE_ADOPT;
    if (count == 4 && dw_slice_is(body[0], "part"))
        return want_new_part(body, op);
    if (count == 2 && dw_slice_is(body[0], "here") && body[1].len == DW_ID_LEN) {
        memcpy(op->id, body[1].data, DW_ID_LEN);
        return NULL;
    }
    if (count < 2 || !dw_slice_is(body[0], "rows"))
        return "400 expected here, part or rows";
    op->frames = dw_frames_copy(body + 1, count - 1);
    return NULL;
}

static const char *want_admin(const char *role, const struct dw_slice *body, size_t count,
                              struct dw_queue_op *op)
{
    (void)role;
    if (count < 1 || count > DW_COUNT(op->words))
        return "400 expected one to three words";
    op->kind = DW_QUEUE_ADMIN;
    for (size_t i = 0; i < count; i++) {
        if (body[i].len >= sizeof op->words[i])
            return "400 a word is too long";
        memcpy(op->words[i], body[i].data, body[i].len);
    }
    return NULL;
}

static const struct {
    const char *name;
    const char *(*want)(const char *, const struct dw_slice *, size_t, struct dw_queue_op *);
} own_services[] = {{"queue.put", want_put},
                    {"queue.pending", want_pending},
                    {"queue.part", want_part},
                    {"queue.adopt", want_adopt},
                    {"queue.admin", want_admin}};

static bool is_mmi(struct dw_slice service)
{
    return service.len >= 4 && memcmp(service.data, "mmi.", 4) == 0;
}

static bool is_served_here(struct dw_slice service)
{
    for (size_t i = 0; i < DW_COUNT(own_services); i++)
        if (dw_slice_is(service, own_services[i].name))
            return true;
    return dw_slice_is(service, "mmi.service") || b_is_titanic(service);
}

bool b_is_own(struct dw_slice service)
{
    return is_mmi(service) || is_served_here(service);
}

bool b_serve_own(struct dw_broker *b, dw_time now, const struct client *from,
                 const struct dw_mdp_message *m)
{
    for (size_t i = 0; i < DW_COUNT(own_services); i++) {
        if (!dw_slice_is(m->service, own_services[i].name))
            continue;
        struct dw_slice call = b_call_of(m->body, m->body_count);
        struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ADMIN, now);
        const char *wrong =
            own_services[i].want(from->peer.role, m->body + 1, m->body_count - 1, op);
        if (!wrong && b_disk_is_behind(b))
            wrong = "503 the disk is behind";
        if (wrong) {
            dw_queue_op_free(op);
            b_status_to_client(b, from, m->service, call, wrong);
        } else {
            op->context = b_context_for(from, m->service, call);
            b_queue(b, op);
        }
        return true;
    }
    return false;
}

bool b_serve_mmi(struct dw_broker *b, const struct client *from, const struct dw_mdp_message *m)
{
    if (!is_mmi(m->service))
        return false;
    bool known = dw_slice_is(m->service, "mmi.service");
    bool there = is_served_here(m->body[0]) || b_has_worker(b, m->body[0]);
    b_status_to_client(b, from, m->service, (struct dw_slice){0},
                       !known  ? "501"
                       : there ? "200"
                               : "404");
    return true;
}

void b_answer(struct dw_broker *b, const struct dw_queue_op *op, const struct context *c)
{
    if (c->titanic) {
        b_answer_titanic(b, op, c);
        return;
    }
    char status[32], number[16];
    uint8_t four[4];
    struct dw_slice payload[2];
    size_t count = 1;
    snprintf(status, sizeof status, "%d", op->status);
    payload[0] = dw_slice_of(status);
    if (op->status == 503) {
        snprintf(number, sizeof number, "%d", op->retry_seconds);
        payload[count++] = dw_slice_of(number);
    } else if (op->kind == DW_QUEUE_READ && op->status == 200) {
        payload[count++] = op->frames.items[0];
    } else if ((op->kind == DW_QUEUE_CLOSE || op->kind == DW_QUEUE_PENDING) && op->status == 200) {
        for (int i = 0; i < 4; i++)
            four[i] = (uint8_t)((uint32_t)op->day >> (24 - 8 * i));
        payload[count++] = DW_SLICE(four, sizeof four);
    } else if (op->kind == DW_QUEUE_ADOPT && op->status == 200) {
        for (int i = 0; i < 4; i++)
            four[i] = (uint8_t)(op->n >> (24 - 8 * i));
        payload[count++] = DW_SLICE(four, sizeof four);
    } else if (op->text) {
        payload[count++] = dw_slice_of(op->text);
    }
    b_to_client(b, &c->client, DW_MDP_REPLY, dw_slice_of(c->service),
                DW_SLICE(c->call, c->call_len), payload, count);
}
