/* broker.h - the core of the broker: a pure step function.  Sources: broker/core*.c access.c
 *
 * (state, message or finished queue operation, clock) -> (state, messages out, queue operations).
 * It knows nothing of sockets, files, threads or random devices, so the same code runs under the
 * real loop and under a simulator.  It looks at nothing but MDP frames and the clear header of an
 * item; bodies pass through unread.
 *
 * Who may do what is a table (access.c): role x service x call or serve.  The role comes from the
 * key by which the peer proved itself, never from what it says.
 *
 * A peer that breaks the protocol or asks for what its role may not have is cut.  Bounded: requests
 * waiting per service, work in hand per worker (its credit), everything on disk by queue.h. */
#ifndef DW_BROKER_H
#define DW_BROKER_H

#include "dw/queue.h"

/* Who said it: socket and routing id, and what its key says about it.  A routing id is the peer's
 * own choice; two connections with one id, one after the other, are told apart by their number. */
struct dw_peer {
    uint64_t connection;
    int fd; /* for who carries the messages */
    uint8_t socket;
    uint8_t id_len;
    uint8_t id[255];
    char role[80];
};

/* What the core wants done, in order. */
enum dw_act_kind { DW_ACT_SEND, DW_ACT_QUEUE, DW_ACT_CUT };
struct dw_act {
    struct dw_act *next;
    enum dw_act_kind kind;
    struct dw_peer to;        /* SEND, CUT */
    struct dw_frames frames;  /* SEND */
    struct dw_queue_op *op;   /* QUEUE */
    const char *why;          /* CUT */
};
void dw_act_free(struct dw_act *act);

struct dw_broker;
/* `seed` feeds the jitter of backoff and nothing else. */
struct dw_broker *dw_broker_new(const struct dw_config *config, uint64_t seed);
void dw_broker_free(struct dw_broker *broker);
/* Where ids come from that nobody may guess; without it from the seed, for tests and simulators. */
typedef void dw_broker_fill(void *out, size_t len);
void dw_broker_randomness(struct dw_broker *broker, dw_broker_fill *fill);

/* One message, frames without the routing id; mono_ms counts heartbeats and waits, now is the wall
 * clock of the queue. */
void dw_broker_message(struct dw_broker *broker, int64_t mono_ms, dw_time now,
                       const struct dw_peer *from, const struct dw_slice *frames, size_t count);
/* A SEND that could not be carried out, because the connection of its peer is gone. */
void dw_broker_unsent(struct dw_broker *broker, dw_time now, const struct dw_peer *to,
                      const struct dw_slice *frames, size_t count);
/* One finished operation, which it takes. */
void dw_broker_finished(struct dw_broker *broker, int64_t mono_ms, dw_time now,
                        struct dw_queue_op *op);
/* At least every heartbeat_ms / 4. */
void dw_broker_tick(struct dw_broker *broker, int64_t mono_ms, dw_time now);
/* Tells all workers to go; nothing new is handed out. */
void dw_broker_drain(struct dw_broker *broker, int64_t mono_ms);

/* What there is to do; the caller frees. */
struct dw_act *dw_broker_acts(struct dw_broker *broker);

/* ---- access ---- */

/* May this role call that service, and may it serve it?  Unknown roles may nothing. */
bool dw_may_call(const char *role, struct dw_slice service);
bool dw_may_serve(const char *role, struct dw_slice service);
/* The two as a short list of words, for counters: a role of the table, "worker" or "other"; a
 * service of the table or "other".  Nothing that a peer made up. */
const char *dw_role_word(const char *role);
const char *dw_service_word(struct dw_slice service);
/* A program of somebody else's: "client", "worker:SERVICE". */
bool dw_is_guest(const char *role);
/* What our own programs may put into the durable queue.  Others put items of services they may call. */
bool dw_is_durable(struct dw_slice service);

#endif
