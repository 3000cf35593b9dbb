/* worker.c - an MDP worker: one service at one broker. */
#include "dw/wire.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

struct dw_worker {
    void *zmq;
    void *socket;
    struct dw_broker_address to;
    struct dw_curve own; /* borrowed secret */
    const struct dw_config *config;
    char service[DW_SERVICE_MAX + 1];
    char credit[8];
    int64_t heard_at, said_at, registered_at;
    bool ready_sent;
};

static bool send_command(struct dw_worker *self, uint8_t command, const struct dw_slice *rest,
                         size_t count)
{
    struct dw_slice frames[3 + 64];
    frames[0] = DW_SLICE("", 0);
    frames[1] = dw_slice_of(DW_MDP_WORKER);
    frames[2] = DW_SLICE(&command, 1);
    for (size_t i = 0; i < count && i < 64; i++)
        frames[3 + i] = rest[i];
    return dw_wire_send(self->socket, frames, 3 + count);
}

/* A new socket, as RFC 7 wants after DISCONNECT or silence: the broker sees a new peer. */
static void reconnect(struct dw_worker *self)
{
    if (self->socket)
        zmq_close(self->socket);
    self->socket = dw_wire_dealer(self->zmq, &self->to, &self->own, self->config);
    self->ready_sent = false;
    self->heard_at = 0;
}

struct dw_worker *dw_worker_new(void *zmq, const struct dw_broker_address *to,
                                const struct dw_curve *own, const struct dw_config *config,
                                const char *service, uint32_t credit)
{
    struct dw_worker *self = dw_alloc(sizeof *self);
    self->zmq = zmq;
    self->to = *to;
    self->to.endpoint = dw_strdup(to->endpoint);
    self->own = *own;
    self->config = config;
    snprintf(self->service, sizeof self->service, "%s", service);
    snprintf(self->credit, sizeof self->credit, "%u", credit);
    reconnect(self);
    return self;
}

void dw_worker_free(struct dw_worker *self)
{
    if (!self)
        return;
    if (self->socket)
        zmq_close(self->socket);
    dw_free(self->to.endpoint);
    dw_free(self);
}

void *dw_worker_socket(struct dw_worker *self)
{
    return self->socket;
}

bool dw_worker_registered(const struct dw_worker *self)
{
    return self->ready_sent && self->heard_at > 0;
}

void dw_request_free(struct dw_request *request)
{
    dw_frames_free(&request->frames);
    *request = (struct dw_request){0};
}

bool dw_worker_recv(struct dw_worker *self, int64_t now_ms, struct dw_request *ret)
{
    struct dw_frames f;
    while (self->socket &&
           dw_wire_recv(self->socket, (size_t)self->config->broker.max_frames + 8, &f)) {
        bool ours = f.count >= 3 && f.items[0].len == 0 &&
                    dw_slice_is(f.items[1], DW_MDP_WORKER) && f.items[2].len == 1;
        uint8_t command = ours ? f.items[2].data[0] : 0;
        if (ours)
            self->heard_at = now_ms;
        if (command == DW_MDP_REQUEST && f.count >= 6 && f.items[4].len == 0) {
            *ret = (struct dw_request){
                .frames = f, .address = f.items[3], .body = f.items + 5, .body_count = f.count - 5};
            return true;
        }
        dw_frames_free(&f);
        if (command == DW_MDP_DISCONNECT)
            reconnect(self);
    }
    return false;
}

bool dw_worker_reply(struct dw_worker *self, struct dw_slice address, const struct dw_slice *body,
                     size_t count)
{
    struct dw_slice rest[64] = {address, DW_SLICE("", 0)};
    if (!self->socket || count > DW_COUNT(rest) - 2)
        return false;
    for (size_t i = 0; i < count; i++)
        rest[2 + i] = body[i];
    return send_command(self, DW_MDP_REPLY, rest, 2 + count);
}

void dw_worker_tick(struct dw_worker *self, int64_t now_ms)
{
    int64_t silence = self->config->broker.heartbeat_ms * self->config->broker.liveness;
    if (!self->socket)
        reconnect(self);
    if (!self->socket)
        return;
    if (!self->ready_sent) {
        struct dw_slice rest[2] = {dw_slice_of(self->service), dw_slice_of(self->credit)};
        self->ready_sent = send_command(self, DW_MDP_READY, rest, 2);
        self->registered_at = self->said_at = now_ms;
        return;
    }
    int64_t last = self->heard_at ? self->heard_at : self->registered_at;
    if (now_ms - last > silence) {
        reconnect(self);
    } else if (now_ms - self->said_at >= self->config->broker.heartbeat_ms) {
        send_command(self, DW_MDP_HEARTBEAT, NULL, 0);
        self->said_at = now_ms;
    }
}

void dw_worker_leave(struct dw_worker *self)
{
    int linger_ms = 1000; /* answers on their way count as work done: let them leave */
    if (self->socket && self->ready_sent) {
        send_command(self, DW_MDP_DISCONNECT, NULL, 0);
        zmq_setsockopt(self->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    }
}
