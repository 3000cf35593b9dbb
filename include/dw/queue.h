/* queue.h - the durable queue of the broker.  Sources: broker/queue*.c
 *
 * A SQLite file of its own (WAL, synchronous=FULL, secure_delete).  One writer thread takes all
 * operations that have arrived, does them in one transaction, commits, and only then reports any of
 * them: what is reported as 200 is on disk.  There is no timer: while one commit runs, the next
 * batch gathers.  Checkpoints run on a thread and connection of their own.
 * An I/O or fsync error, or want of memory, ends the process (exit 70): the next start recovers from the file.
 * Each waiting item and each key that is remembered has some 40 bytes of memory beside its row: where
 * that is (queue_index.c).  A body that is damaged makes its item a dead letter when it is claimed.
 *
 * Life of an item: open parts -> close -> ready -> leased -> done (deleted) | delayed -> ready | dead.
 * Order per key: of the items of one service with the same key (the header's handle; all zero is
 * none) one is in the hands of workers, the one that was put first, whatever its class; a later one
 * waits behind it until it is done or dead.  A dead letter that is revived goes behind the one that is
 * in front then.
 * Room: from queue.slow_percent of its bounds on bulk work is refused, at the bounds everything new; a
 * refusal (503) says in how many seconds to come again (queue_room.c).
 * A request (ASK) is an item too; when it is done its reply lies apart until FORGET or its time is
 * over.  A part is invisible and its item does not exist until "close" has committed.  Leases die with
 * the broker: opening the file makes leased items ready again, with their fence and attempts kept. */
#ifndef DW_QUEUE_H
#define DW_QUEUE_H

#include "dw/clock.h"
#include "dw/config.h"
#include "dw/mdp.h"

enum dw_queue_kind {
    DW_QUEUE_PART,    /* attempt, n, frames[0] */
    DW_QUEUE_CLOSE,   /* header, guest, frames: the header frame and what follows */
    DW_QUEUE_PENDING, /* handle -> 200 day | 404 */
    DW_QUEUE_CLAIM,   /* service, n -> items, next_at; fewer than n only when there are no more */
    DW_QUEUE_READ,    /* id, fence, n -> frames[0] | 404 | 409 */
    DW_QUEUE_DONE,    /* id, fence */
    DW_QUEUE_LATER,   /* id, fence, at, counted, reason: delayed, or dead after max_attempts */
    DW_QUEUE_DEAD,    /* id, fence, reason */
    DW_QUEUE_SWEEP,   /* forgets unfinished uploads, old Idempotency-Keys and what has expired */
    DW_QUEUE_ASK,     /* id, service, frames: a request whose reply is to be kept */
    DW_QUEUE_REPLY,   /* id, fence, frames: done, and this is the reply; dead where it has no room */
    DW_QUEUE_FETCH,   /* id -> 200 frames | 300 no reply yet | 400 unknown | 500 dead, text */
    DW_QUEUE_FORGET,  /* id: the request and its reply, if there are any */
    DW_QUEUE_ADOPT,   /* frames: rows of dw/adopt.h -> n of them; without frames: id -> 200 | 404 */
    DW_QUEUE_ADMIN,   /* words[]: stats | list STATE | show ID | retry ID | drop ID -> text */
};

/* What a claim hands out. */
struct dw_queue_item {
    uint8_t id[DW_ID_LEN];
    uint64_t fence;
    int32_t attempts, delays;
    bool asked;              /* the worker's reply is to be kept */
    struct dw_frames frames; /* as closed or asked */
};

/* An operation and, after it, its result: the same object travels both ways. */
struct dw_queue_op {
    struct dw_queue_op *next;
    enum dw_queue_kind kind;
    void *context; /* the broker core's own; freed by it */

    dw_time now;
    struct dw_item_header header; /* CLOSE */
    uint8_t id[DW_ID_LEN];        /* also attempt and handle, by kind */
    uint64_t fence;
    uint32_t n; /* part number, limit of a CLAIM, out: rows that an ADOPT took,
                 * not 0 when a SWEEP has left something for the next; a CLAIM
                 * that has enough bytes makes it less */
    char service[DW_SERVICE_MAX + 1];
    dw_time at;
    bool counted;
    bool guest; /* CLOSE: counts against the share of other people's programs, as ASK does */
    char reason[64];
    char words[3][80];
    struct dw_frames frames; /* in for PART, CLOSE, ASK and REPLY; out for READ and FETCH */
    size_t bytes;            /* of frames, when it was submitted; the broker core's own */

    int status; /* 200, 404, 409, 413, 422, 503; of FETCH 200, 300, 400, 500 */
    int32_t retry_seconds;
    dw_day day;
    struct dw_queue_item *items; /* CLAIM */
    size_t items_count;
    bool released;   /* another item of the same key is ready now; `service`, if known, has it */
    dw_time next_at; /* CLAIM: when the earliest delayed item comes due; 0 for none */
    char *text;      /* ADMIN, FETCH */
};
struct dw_queue_op *dw_queue_op_new(enum dw_queue_kind kind, dw_time now);
void dw_queue_op_free(struct dw_queue_op *op);

struct dw_queue;
/* `path` is created if missing; a damaged or newer file is refused with what to do. */
enum dw_result dw_queue_open(const char *path, const struct dw_config *config,
                             struct dw_queue **ret, struct dw_error *err);
/* Finishes what was submitted, and takes no more; what is finished can still be collected. */
void dw_queue_stop(struct dw_queue *queue);
/* The same, then checkpoints and closes. */
void dw_queue_close(struct dw_queue *queue);

/* Submits (taking the operation), and collects finished ones as a list, oldest first. */
void dw_queue_submit(struct dw_queue *queue, struct dw_queue_op *op);
struct dw_queue_op *dw_queue_collect(struct dw_queue *queue);
int dw_queue_fd(const struct dw_queue *queue); /* readable when something is to be collected */

/* Does a list of operations in one transaction on the calling thread; for tests and simulators that
 * opened the queue without its threads (dw_queue_open_still). */
enum dw_result dw_queue_open_still(const char *path, const struct dw_config *config,
                                   struct dw_queue **ret, struct dw_error *err);
void dw_queue_run(struct dw_queue *queue, struct dw_queue_op *list);

#endif
