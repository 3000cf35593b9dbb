/* core_private.h - what the files of the broker's core share.
 *
 * core.c dispatches messages, finished operations and ticks; core_workers.c knows services and
 * workers; core_calls.c has the requests that wait, core_items.c the items of the durable queue;
 * core_own.c answers the broker's own services, core_titanic.c those of RFC 9.
 *
 * State: services with requests that wait; workers with their credit; calls and leases in a
 * worker's hands.  All lists are short by construction: waiting requests and credit are bounded. */
#ifndef DW_CORE_PRIVATE_H
#define DW_CORE_PRIVATE_H

#include "dw/broker.h"
#include "dw/process.h"

enum {
    HANDLE_LEN = 8,       /* client address that a worker echoes */
    CALL_ECHO_MAX = 32,   /* a first body frame longer than this is no call number */
    CLAIM_MAX = 256,      /* items taken by one claim */
    RETRY_FULL_MS = 1000, /* a queue operation that the disk refused is tried again */
    SWEEP_MS = 10000,
    FETCHES_MAX = 256, /* the highest broker.max_fetches */
    CLAIM_AGAIN_MS = 1000, /* a claim that failed; a worker that waits looks again in any case */
};

/* Who asked, and in which version of the protocol. */
struct client {
    struct dw_peer peer;
    uint8_t version;
};

/* What has come of a reply in parts, for somebody who takes replies in one piece. */
struct joined {
    struct dw_frames frames;
    bool too_long; /* nothing more is kept */
};

/* A request on its way: waiting in a service, or in a worker's hands, where it needs no body here.
 */
struct request {
    struct request *next;
    uint64_t handle;
    size_t bytes; /* of the body */
    struct client client;
    uint8_t call[CALL_ECHO_MAX];
    size_t call_len;
    struct dw_frames body;
    struct joined parts;
    int64_t expires;
};

/* An item in a worker's hands.  What came of its reply in parts is kept for one that was asked. */
struct lease {
    struct lease *next;
    bool asked;
    size_t bytes;
    uint8_t id[DW_ID_LEN];
    uint64_t fence;
    int32_t delays;
    struct joined parts;
};

struct worker {
    struct worker *next;
    struct dw_peer peer;
    uint8_t version;
    struct service *service;
    uint32_t credit, in_hand;
    size_t bytes; /* of what is in its hands */
    bool unreachable; /* its connection is gone; the next tick takes it out */
    int64_t heard_at, said_at;
    struct request *requests;
    struct lease *leases;
};

struct service {
    struct service *next;
    char name[DW_SERVICE_MAX + 1];
    struct request *waiting, **waiting_end;
    int64_t waiting_count;
    /* In the queue: is a claim under way, might there be something, when comes the next delayed. */
    bool claiming, maybe_ready;
    dw_time next_at;
    int64_t claim_after;
};

struct dw_broker {
    const struct dw_config *config;
    uint64_t random;
    dw_broker_fill *fill; /* ids that nobody guesses; NULL: from `random` */
    uint64_t last_handle;
    size_t waiting_bytes, joined_bytes;
    size_t submitted_bytes; /* of operations that the queue has not finished */
    uint64_t fetches[FETCHES_MAX]; /* connections that wait for a reply from the disk */
    size_t fetches_count;
    struct service *services;
    struct worker *workers;
    struct dw_queue_op *refused; /* done, later and dead that the disk did not take */
    int64_t refused_again_at, swept_at;
    bool draining;
    struct dw_act *acts, **acts_end;
    dw_metric *m_requests, *m_replies, *m_cut, *m_workers, *m_leases, *m_waiting,
        *m_expired, *m_accepted, *m_services;
};

/* The client that a queue operation answers. */
struct context {
    bool titanic; /* in the words of RFC 9 */
    struct client client;
    char service[DW_SERVICE_MAX + 1];
    uint8_t call[CALL_ECHO_MAX];
    size_t call_len;
};

/* ---- core.c ---- */

void b_free_request(struct dw_broker *b, struct request *r);
void b_free_lease(struct dw_broker *b, struct lease *l);
void b_free_worker(struct dw_broker *b, struct worker *w);
void b_send_frames(struct dw_broker *b, const struct dw_peer *to, const struct dw_slice *frames,
                   size_t count);
void b_queue(struct dw_broker *b, struct dw_queue_op *op);
/* As much waits for the disk as may wait: nothing more is taken in from outside. */
bool b_disk_is_behind(const struct dw_broker *b);
void b_cut(struct dw_broker *b, const struct dw_peer *peer, const char *why);
/* The same for what its role may not have, counted by role and service. */
void b_refuse(struct dw_broker *b, const struct dw_peer *peer, struct dw_slice service,
              const char *why);

/* ---- core_workers.c ---- */

/* HEARTBEAT or DISCONNECT. */
void b_tell_worker(struct dw_broker *b, struct worker *w, int64_t now, enum dw_mdp_command command);
void b_hand_to_worker(struct dw_broker *b, struct worker *w, int64_t now, struct dw_slice address,
                      const struct dw_frames *body);
/* `command` is PARTIAL or REPLY; `call` is left out when it has no data. */
void b_to_client(struct dw_broker *b, const struct client *client, enum dw_mdp_command command,
                 struct dw_slice service, struct dw_slice call, const struct dw_slice *payload,
                 size_t count);
void b_status_to_client(struct dw_broker *b, const struct client *client, struct dw_slice service,
                        struct dw_slice call, const char *status);
struct dw_slice b_call_of(const struct dw_slice *body, size_t count);
struct service *b_service_named(struct dw_broker *b, struct dw_slice name);
struct worker *b_worker_of(struct dw_broker *b, const struct dw_peer *peer);
void b_to_the_end(struct dw_broker *b, struct worker *w);
struct worker *b_free_worker_of(struct dw_broker *b, const struct service *s);
uint32_t b_free_credit(struct dw_broker *b, const struct service *s);
bool b_has_worker(struct dw_broker *b, struct dw_slice name);
void b_forget_services(struct dw_broker *b);
void b_hand_out(struct dw_broker *b, struct service *s, int64_t mono, dw_time now);
void b_lose_worker(struct dw_broker *b, struct worker *w, dw_time now, const char *why);
void b_on_worker(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
                 const struct dw_mdp_message *m);

/* ---- core_calls.c ---- */

/* The status in place of a reply. */
void b_refuse_request(struct dw_broker *b, const struct service *s, const struct request *r,
                      const char *status);
/* To the front: it has not been tried. */
void b_put_back(struct dw_broker *b, struct service *s, struct request *r);
void b_hand_out_requests(struct dw_broker *b, struct service *s, int64_t now);
void b_on_call(struct dw_broker *b, int64_t mono, dw_time now, const struct dw_peer *from,
               const struct dw_mdp_message *m);
/* Adds to what is kept of a reply, within broker.max_joined_bytes and broker.max_frames. */
void b_join(struct dw_broker *b, struct joined *parts, const struct dw_slice *body, size_t count);
void b_forget_joined(struct dw_broker *b, struct joined *parts);
struct request **b_request_at(struct worker *w, struct dw_slice address);
struct request *b_take_request(struct worker *w, struct dw_slice address);
void b_finish_request(struct dw_broker *b, struct worker *w, const struct dw_mdp_message *m);
void b_part_of_reply(struct dw_broker *b, struct worker *w, const struct dw_mdp_message *m);
void b_expire_waiting(struct dw_broker *b, struct service *s, int64_t mono);

/* ---- core_items.c ---- */

void b_claim(struct dw_broker *b, struct service *s, int64_t mono, dw_time now);
void b_give_back(struct dw_broker *b, const struct service *s, const struct lease *l, dw_time now,
                 bool counted, const char *reason);
int64_t b_backoff_ms(struct dw_broker *b, int32_t delays);
void b_new_id(struct dw_broker *b, uint8_t id[DW_ID_LEN]);
struct lease **b_lease_at(struct worker *w, struct dw_slice address);
struct lease *b_take_lease(struct dw_broker *b, struct worker *w, struct dw_slice address);
void b_finish_lease(struct dw_broker *b, struct worker *w, dw_time now,
                    const struct dw_mdp_message *m);
void b_deliver(struct dw_broker *b, struct service *s, int64_t mono, dw_time now,
               struct dw_queue_op *op);

/* ---- core_own.c ---- */

/* A name whose calls the broker answers itself. */
bool b_is_own(struct dw_slice service);
struct context *b_context_for(const struct client *client, struct dw_slice service,
                              struct dw_slice call);
bool b_serve_own(struct dw_broker *b, dw_time now, const struct client *from,
                 const struct dw_mdp_message *m);
bool b_serve_mmi(struct dw_broker *b, const struct client *from, const struct dw_mdp_message *m);
void b_answer(struct dw_broker *b, const struct dw_queue_op *op, const struct context *c);

/* ---- core_titanic.c ---- */

bool b_is_titanic(struct dw_slice service);
bool b_serve_titanic(struct dw_broker *b, dw_time now, const struct client *from,
                     const struct dw_mdp_message *m);
void b_answer_titanic(struct dw_broker *b, const struct dw_queue_op *op, const struct context *c);

#endif
