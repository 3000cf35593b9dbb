/* wire.h - sockets, calls and workers on top of mdp.h.  Sources: broker/wire.c bus.c worker.c
 *
 * Every socket is CURVE, ipc included.  A program's own secret is state/NAME/curve.key; the broker's
 * public key comes from the signed directory. */
#ifndef DW_WIRE_H
#define DW_WIRE_H

#include "dw/clock.h"
#include "dw/config.h"
#include "dw/directory.h"
#include "dw/mdp.h"

/* A secret of exactly `len` bytes, base64url in a file only its owner may read, in locked memory.
 * NULL with a reason in err.  Free with sodium_free(). */
uint8_t *dw_secret_load(const char *path, size_t len, struct dw_error *err);

struct dw_curve {
    uint8_t *secret; /* locked */
    uint8_t public[DW_KEY_LEN];
};
enum dw_result dw_curve_load(struct dw_curve *ret, const char *path, struct dw_error *err);
void dw_curve_free(struct dw_curve *self);

/* A broker to talk to: its endpoint and its key. */
struct dw_broker_address {
    char *endpoint;
    uint8_t key[DW_KEY_LEN];
};
/* The own one (run/broker.sock) first, then broker.connect ("NAME=tcp://host:port"). */
enum dw_result dw_broker_addresses(const struct dw_config *config, const struct dw_directory *dir,
                                   struct dw_broker_address **ret, size_t *ret_count,
                                   struct dw_error *err);
void dw_broker_addresses_free(struct dw_broker_address *list, size_t count);

/* A DEALER connected to a broker; NULL if libzmq refuses. */
void *dw_wire_dealer(void *zmq, const struct dw_broker_address *to, const struct dw_curve *own,
                     const struct dw_config *config);
/* Sends without waiting: true when libzmq took the message. */
bool dw_wire_send(void *socket, const struct dw_slice *frames, size_t count);
/* Receives without waiting; false when there is nothing.  More than max_frames are thrown away and
 * the message is returned with count 0. */
bool dw_wire_recv(void *socket, size_t max_frames, struct dw_frames *ret);

/* ---- calls ---- */

struct dw_bus_answer {
    int status;
    struct dw_frames frames;       /* as received */
    const struct dw_slice *payload; /* behind the status */
    size_t payload_count;
};
void dw_bus_answer_free(struct dw_bus_answer *answer);
/* DW_OK: there is an answer, whatever its status.  DW_RETRY: no broker took the request.
 * DW_UNCERTAIN: it was sent and no answer came in time. */
typedef void dw_bus_answered(void *arg, enum dw_result result, struct dw_bus_answer *answer);

/* A thread that owns the sockets to all brokers; anybody may call. */
struct dw_bus;
enum dw_result dw_bus_new(const struct dw_config *config, const struct dw_directory *dir,
                          const char *key_path, struct dw_bus **ret, struct dw_error *err);
void dw_bus_free(struct dw_bus *bus);
size_t dw_bus_brokers(const struct dw_bus *bus);

/* Waits.  `broker` chooses which; free the answer in any case. */
enum dw_result dw_bus_call(struct dw_bus *bus, size_t broker, const char *service,
                           const struct dw_slice *payload, size_t count, int64_t timeout_ms,
                           struct dw_bus_answer *ret);
/* At the broker that took the last one, and where it takes nothing at the next: such a call has not
 * happened.  After one that took it and did not answer the next is asked only if that is harmless. */
enum dw_result dw_bus_call_any(struct dw_bus *bus, bool harmless, const char *service,
                               const struct dw_slice *payload, size_t count, int64_t timeout_ms,
                               struct dw_bus_answer *ret);
/* The broker that took the last one of these. */
size_t dw_bus_first(const struct dw_bus *bus);
/* Does not wait; `answered` runs in the bus's thread and owns the answer from then on. */
void dw_bus_send(struct dw_bus *bus, size_t broker, const char *service,
                 const struct dw_slice *payload, size_t count, int64_t timeout_ms,
                 dw_bus_answered *answered, void *arg);

/* ---- workers ---- */

/* One service at one broker.  Belongs to one thread, which polls its socket. */
struct dw_worker;
struct dw_request {
    struct dw_frames frames;
    struct dw_slice address;
    const struct dw_slice *body;
    size_t body_count;
};
void dw_request_free(struct dw_request *request);

struct dw_worker *dw_worker_new(void *zmq, const struct dw_broker_address *to,
                                const struct dw_curve *own, const struct dw_config *config,
                                const char *service, uint32_t credit);
void dw_worker_free(struct dw_worker *self);
void *dw_worker_socket(struct dw_worker *self); /* changes after a reconnection */
bool dw_worker_registered(const struct dw_worker *self); /* heard of the broker lately */
/* The next request, without waiting; false when there is none. */
bool dw_worker_recv(struct dw_worker *self, int64_t now_ms, struct dw_request *ret);
bool dw_worker_reply(struct dw_worker *self, struct dw_slice address, const struct dw_slice *body,
                     size_t count);
/* Heartbeats; registers again when the broker has been silent.  now_ms is monotonic. */
void dw_worker_tick(struct dw_worker *self, int64_t now_ms);
/* Says DISCONNECT: work in hand goes to others at once. */
void dw_worker_leave(struct dw_worker *self);

#endif
