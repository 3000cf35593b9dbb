/* mdp.h - Majordomo frames, and what our own programs put into them.  Source: broker/mdp.c
 *
 * MDP/0.1 (RFC 7 of the ZeroMQ project).  Behind the routing id:
 *
 *   client REQUEST   "" MDPC01 service body+
 *   client REPLY     "" MDPC01 service body+
 *   worker READY     "" MDPW01 01 service [credit]     credit: decimal text, absent = 1
 *   worker REQUEST   "" MDPW01 02 address "" body+     broker to worker
 *   worker REPLY     "" MDPW01 03 address "" body+     worker to broker
 *   HEARTBEAT        "" MDPW01 04                      both ways
 *   DISCONNECT       "" MDPW01 05                      both ways
 *
 * MMI (RFC 8): mmi.service + name -> 200 or 404; any other mmi. name -> 501.
 *
 * Body of a call between our own programs (MDP has no call number and no error):
 *
 *   request   call(8 opaque bytes) payload*
 *   reply     call status payload*                     status: three digits as of HTTP
 *
 * The durable queue is four services of the broker itself:
 *
 *   queue.put      "part" attempt(16) n(u32) bytes     -> 200
 *                  "close" header frame+               -> 200 [day(u32)] | 413 | 422 | 503 seconds
 *   queue.pending  handle(16)                          -> 200 day(u32) | 404
 *   queue.part     lease(24) n(u32)                    -> 200 bytes | 404 | 409
 *   queue.admin    words of text                       -> 200 JSON | 4xx text
 *
 * An item is delivered to a worker of its service as a worker REQUEST whose address is the lease,
 * item id(16) fence(u64), and whose body is the header and the frames of "close".  The worker's
 * REPLY body is a status and a short reason: 200 done, 300 not now, 4xx never (dead letter), 5xx
 * failed (again later, counted).  Any worker echoes the address, so any MDP worker can serve. */
#ifndef DW_MDP_H
#define DW_MDP_H

#include "dw/bytes.h"
#include "dw/result.h"

#define DW_MDP_CLIENT "MDPC01"
#define DW_MDP_WORKER "MDPW01"

enum dw_mdp_command {
    DW_MDP_READY = 1,
    DW_MDP_REQUEST = 2,
    DW_MDP_REPLY = 3,
    DW_MDP_HEARTBEAT = 4,
    DW_MDP_DISCONNECT = 5,
};

enum { DW_SERVICE_MAX = 63, DW_CALL_LEN = 8, DW_ID_LEN = 16, DW_LEASE_LEN = 24, DW_FP_LEN = 32 };

/* Frames with the memory they point into.  Freed in one piece, wiped. */
struct dw_frames {
    struct dw_slice *items;
    size_t count;
    size_t bytes; /* of all frames together */
};
/* Copies; the result is independent of the input. */
struct dw_frames dw_frames_copy(const struct dw_slice *items, size_t count);
void dw_frames_free(struct dw_frames *frames);

/* One message of a peer to the broker, understood.  Slices point into the frames given. */
struct dw_mdp_message {
    bool worker; /* MDPW01, else MDPC01 */
    enum dw_mdp_command command; /* REQUEST for every client message */
    struct dw_slice service; /* client REQUEST, READY */
    uint32_t credit;         /* READY */
    struct dw_slice address; /* worker REPLY */
    const struct dw_slice *body;
    size_t body_count;
};
/* Frames without the routing id.  DW_INVALID, and why, for anything not in the table above. */
enum dw_result dw_mdp_parse(const struct dw_slice *frames, size_t count,
                            struct dw_mdp_message *ret, const char **why);

bool dw_mdp_service_name(struct dw_slice name); /* 1 to 63 of a-z 0-9 . _ - */

/* The clear header of an item: all the broker ever knows of it. */
struct dw_item_header {
    uint8_t id[DW_ID_LEN];      /* filing id */
    uint8_t attempt[DW_ID_LEN]; /* names the parts sent before; all zero when there are none */
    uint32_t parts;
    uint8_t handle[DW_ID_LEN]; /* of the receipt: queue.pending finds it */
    uint8_t tok[DW_ID_LEN];    /* keyed hash of the Idempotency-Key; all zero for none */
    uint8_t fp[DW_FP_LEN];     /* keyed hash of the payload */
    uint8_t klass;             /* 0 statutory, 1 bulk */
    char service[DW_SERVICE_MAX + 1];
};
enum { DW_ITEM_HEADER_VERSION = 1 };
void dw_item_header_encode(const struct dw_item_header *header, struct dw_buf *out);
bool dw_item_header_decode(struct dw_slice bytes, struct dw_item_header *ret);

void dw_lease_encode(uint8_t out[DW_LEASE_LEN], const uint8_t id[DW_ID_LEN], uint64_t fence);
bool dw_lease_decode(struct dw_slice lease, uint8_t id[DW_ID_LEN], uint64_t *fence);

/* "200", "422 text" -> 200, 422; -1 for anything else */
int dw_status_parse(struct dw_slice frame);

#endif
