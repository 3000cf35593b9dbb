/* mdp.h - Majordomo frames, and what our own programs put into them.  Source: broker/mdp.c
 *
 * MDP/0.1 (RFC 7 of the ZeroMQ project) and MDP/0.2 (RFC 18) on the same sockets; each message says by
 * its first frames which of them it is.  broker/PROTOCOL.md has their commands, the grammar and what
 * each peer may say when; dw_mdp_table below is the same table, and a test compares the two.
 *
 * MMI (RFC 8): mmi.service + name -> 200 or 404; any other mmi. name -> 501.
 * TSP (RFC 9): titanic.request, titanic.reply and titanic.close, see broker/PROTOCOL.md.
 *
 * Body of a call between our own programs (MDP has no call number and no error):
 *
 *   request   call(8 opaque bytes) payload*
 *   reply     call status payload*                     status: three digits as of HTTP
 *
 * The durable queue is five services of the broker itself:
 *
 *   queue.put      "part" attempt(16) n(u32) bytes     -> 200
 *                  "close" header frame+               -> 200 [day(u32)] | 413 | 422 | 503 seconds
 *   queue.pending  handle(16)                          -> 200 day(u32) | 404
 *   queue.part     lease(24) n(u32)                    -> 200 bytes | 404 | 409
 *   queue.admin    words of text                       -> 200 JSON | 4xx text
 *   queue.adopt    "here" id(16)                       -> 200 | 404            see dw/adopt.h
 *                  "part" attempt(16) n(u32) bytes     -> 200
 *                  "rows" (row body*)+                 -> 200 taken(u32) | 409 | 503 seconds
 *
 * An item is delivered to a worker of its service as a worker REQUEST whose address is the lease,
 * item id(16) fence(u64), and whose body is the header and the frames of "close".  The worker's
 * REPLY body is a status and a short reason: 200 done, 300 not now, 4xx never (dead letter), 5xx
 * failed (again later, counted).  Any worker echoes the address, so any MDP worker can serve.
 * A request of TSP is delivered in the same way, but its body is what the client gave, and the
 * worker's whole reply is kept for the client. */
#ifndef DW_MDP_H
#define DW_MDP_H

#include "dw/bytes.h"
#include "dw/result.h"

#define DW_MDP_CLIENT "MDPC01"
#define DW_MDP_WORKER "MDPW01"

/* Of MDP/0.1 these are the octets on the wire too. */
enum dw_mdp_command {
    DW_MDP_READY = 1,
    DW_MDP_REQUEST = 2,
    DW_MDP_REPLY = 3, /* FINAL in MDP/0.2 */
    DW_MDP_HEARTBEAT = 4,
    DW_MDP_DISCONNECT = 5,
    DW_MDP_PARTIAL = 6, /* MDP/0.2 only */
};

/* What follows the protocol's name and the command. */
enum dw_mdp_layout {
    DW_MDP_NOTHING,
    DW_MDP_SERVICE_CREDIT, /* service [credit]; the credit is ours: decimal text, absent = 1 */
    DW_MDP_SERVICE_BODY,   /* service body+ */
    DW_MDP_ADDRESS_BODY,   /* address "" body+ */
};
enum { DW_MDP_TO_BROKER = 1, DW_MDP_TO_PEER = 2 };

/* Every command there is.  Messages of version 1 begin with an empty frame, those of 2 do not. */
struct dw_mdp_row {
    const char *protocol, *name;
    uint8_t version;
    bool worker;
    uint8_t octet; /* 0: the protocol has no frame for the command */
    enum dw_mdp_command command;
    int ways;
    enum dw_mdp_layout layout;
};
extern const struct dw_mdp_row dw_mdp_table[];
extern const size_t dw_mdp_rows;

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

/* One message, understood.  Slices point into the frames given. */
struct dw_mdp_message {
    uint8_t version; /* 1 or 2 */
    bool worker;     /* MDPW.., else MDPC.. */
    bool unexpected; /* a command of the protocol that only the broker says */
    enum dw_mdp_command command;
    struct dw_slice service; /* client REQUEST, READY */
    uint32_t credit;         /* READY */
    struct dw_slice address; /* worker REQUEST, PARTIAL, REPLY */
    const struct dw_slice *body;
    size_t body_count;
};
/* Frames without the routing id.  DW_INVALID, and why, for anything not in the table above. */
enum dw_result dw_mdp_parse(const struct dw_slice *frames, size_t count,
                            struct dw_mdp_message *ret, const char **why);
/* The frames that such a message begins with; how many. */
enum { DW_MDP_HEAD_MAX = 3 };
size_t dw_mdp_head(struct dw_slice out[DW_MDP_HEAD_MAX], uint8_t version, bool worker,
                   enum dw_mdp_command command);

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
