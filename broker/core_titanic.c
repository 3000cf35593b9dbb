/* core_titanic.c - the services of RFC 9 (TSP), as a face of the durable queue.
 *
 * A request becomes an item of the service it names; what its worker replies is kept until the
 * client closes it or its time is over.  Nothing is answered 200 before it is on disk.  Only the
 * codes of the RFC are used: 200, 300, 400 and 500. */
#include "core_private.h"

#include <stdio.h>
#include <string.h>

enum { UUID_TEXT = 2 * DW_ID_LEN };

static const char *want_request(struct dw_broker *b, const struct dw_slice *body, size_t count,
                                struct dw_queue_op *op)
{
    if (count < 2 || !dw_mdp_service_name(body[0]) || b_is_own(body[0]))
        return "400 expected a service and a body";
    op->kind = DW_QUEUE_ASK;
    b_new_id(b, op->id);
    memcpy(op->service, body[0].data, body[0].len);
    op->frames = dw_frames_copy(body + 1, count - 1);
    return NULL;
}

static const char *want_uuid(const struct dw_slice *body, size_t count, struct dw_queue_op *op)
{
    char text[UUID_TEXT + 1] = "";
    if (count == 1 && body[0].len == UUID_TEXT)
        memcpy(text, body[0].data, UUID_TEXT);
    return dw_unhex(op->id, DW_ID_LEN, text) ? NULL : "400 expected a UUID";
}

static const char *want_reply(struct dw_broker *b, const struct dw_slice *body, size_t count,
                              struct dw_queue_op *op)
{
    (void)b;
    op->kind = DW_QUEUE_FETCH;
    return want_uuid(body, count, op);
}

static const char *want_close(struct dw_broker *b, const struct dw_slice *body, size_t count,
                              struct dw_queue_op *op)
{
    (void)b;
    op->kind = DW_QUEUE_FORGET;
    return want_uuid(body, count, op);
}

static const struct {
    const char *name;
    const char *(*want)(struct dw_broker *, const struct dw_slice *, size_t, struct dw_queue_op *);
} titanic[] = {{"titanic.request", want_request},
               {"titanic.reply", want_reply},
               {"titanic.close", want_close}};

bool b_is_titanic(struct dw_slice service)
{
    for (size_t i = 0; i < DW_COUNT(titanic); i++)
        if (dw_slice_is(service, titanic[i].name))
            return true;
    return false;
}

/* Who may not call a service may not have it called either. */
static bool asks_too_much(const struct client *from, const struct dw_queue_op *op)
{
    return op->kind == DW_QUEUE_ASK && !dw_may_call(from->peer.role, dw_slice_of(op->service));
}

/* A reply may be long and is read from the disk for whoever asks, as often as one asks: so many at
 * once, and a quarter of them for one client. */
static bool reads_too_much(const struct dw_broker *b, const struct client *from)
{
    size_t most = (size_t)b->config->broker.max_fetches, own = 0;
    for (size_t i = 0; i < b->fetches_count; i++)
        own += b->fetches[i] == from->peer.connection;
    return b->fetches_count >= most || own >= most / 4;
}

static void end_fetch(struct dw_broker *b, uint64_t connection)
{
    size_t i = 0;
    while (b->fetches[i] != connection)
        i++;
    b->fetches[i] = b->fetches[--b->fetches_count];
}

/* What cannot be done now, in the words of the RFC; NULL when it can. */
static const char *not_now(struct dw_broker *b, const struct client *from, enum dw_queue_kind kind)
{
    bool behind = b_disk_is_behind(b);
    if (kind != DW_QUEUE_FETCH)
        return behind ? "500 no room now" : NULL;
    if (behind || reads_too_much(b, from))
        return "300 not now";
    b->fetches[b->fetches_count++] = from->peer.connection;
    return NULL;
}

bool b_serve_titanic(struct dw_broker *b, dw_time now, const struct client *from,
                     const struct dw_mdp_message *m)
{
    for (size_t i = 0; i < DW_COUNT(titanic); i++) {
        if (!dw_slice_is(m->service, titanic[i].name))
            continue;
        struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_FETCH, now);
        const char *wrong = titanic[i].want(b, m->body, m->body_count, op);
        if (!wrong)
            wrong = not_now(b, from, op->kind);
        if (!wrong && !asks_too_much(from, op)) {
            op->context = b_context_for(from, m->service, (struct dw_slice){0});
            ((struct context *)op->context)->titanic = true;
            b_queue(b, op);
            return true;
        }
        if (wrong) {
            b_status_to_client(b, from, m->service, (struct dw_slice){0}, wrong);
        } else {
            b_refuse(b, &from->peer, dw_slice_of(op->service),
                     "wanted a service called that its role may not call");
        }
        dw_queue_op_free(op);
        return true;
    }
    return false;
}

static void with_status(struct dw_broker *b, const struct context *c, const char *status,
                        const struct dw_slice *body, size_t count)
{
    struct dw_slice *payload = dw_alloc((1 + count) * sizeof *payload);
    payload[0] = dw_slice_of(status);
    for (size_t i = 0; i < count; i++)
        payload[1 + i] = body[i];
    b_to_client(b, &c->client, DW_MDP_REPLY, dw_slice_of(c->service), (struct dw_slice){0}, payload,
                1 + count);
    dw_free(payload);
}

void b_answer_titanic(struct dw_broker *b, const struct dw_queue_op *op, const struct context *c)
{
    char uuid[UUID_TEXT + 1], status[100];
    if (op->kind == DW_QUEUE_FETCH)
        end_fetch(b, c->client.peer.connection);
    struct dw_slice id = dw_slice_of(dw_hex(uuid, op->id, DW_ID_LEN));
    if (op->status == 503)
        snprintf(status, sizeof status, "500 no room now; again in %d seconds", op->retry_seconds);
    else if (op->status == 500)
        snprintf(status, sizeof status, "500 given up: %s", op->text ? op->text : "");
    else
        snprintf(status, sizeof status, "%s",
                 op->status == 200   ? "200"
                 : op->status == 300 ? "300 no reply yet"
                                     : "400 unknown");
    if (op->status == 200 && op->kind == DW_QUEUE_ASK)
        with_status(b, c, status, &id, 1);
    else
        with_status(b, c, status, op->frames.items, op->status == 200 ? op->frames.count : 0);
}
