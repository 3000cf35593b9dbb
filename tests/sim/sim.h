/* sim.h - a world in which the broker and its queue run under a seeded scheduler.
 *
 * Real: the broker's core, the durable queue, SQLite; its file lies on a disk in memory that fails,
 * fills up and loses power.  Models, written to the promises of dw/mdp.h: intakes, workers,
 * callers, the case store (a set of ids; a write may be uncertain).  Time is a number.
 *
 * sim.c has the scheduler, the network, the broker's process and the faults; peers.c the models;
 * check.c what must hold; main.c runs seeds. */
#ifndef DW_TESTS_SIM_H
#define DW_TESTS_SIM_H

#include "dw/broker.h"

#include "../support/disk.h"

enum {
    FILINGS = 8,
    INTAKES = 2,
    KEYS = 4, /* a multiple of INTAKES */
    WORKERS = 3, /* the last one serves calls, the others filings */
    CALLERS = 1,
    PEERS = INTAKES + WORKERS + CALLERS,
    JOBS = 4,
    CALLS = 64,         /* of all callers, of one seed */
    FAULTS_MS = 25000,  /* then faults end */
    DRAIN_MS = 900000, /* and all must be done so much later, wherever the clock was set */
    TICK_MS = 250,
    LINES = 40, /* of the trace, kept for a failure */
    BAD = 4, /* of the first so many the statutory ones may be bad: dead letters take room for ever */
    ITEMS_MAX = 6,
    SLOW_PERCENT = 50, /* and leave some for bulk work */
    WAITING_MAX = 4,
    WAITING_BYTES = 6000,
    CALL_BYTES = 2500,
};

enum peer_kind { INTAKE, WORKER, CALLER };
enum event_kind { TO_BROKER, TO_PEER, LOST, RUN_QUEUE, FINISHED, TICK, TIMER, BROKER_UP, FAULT };

struct event {
    struct event *next;
    int64_t at;
    enum event_kind kind;
    uint64_t life; /* of the broker or the peer it is for */
    int peer;
    uint32_t conn;
    bool held; /* by a peer that stalled */
    struct dw_frames frames;
    struct dw_queue_op *ops;
};

struct conn {
    uint32_t id;           /* 0: none */
    bool alive;            /* the broker's side of it is there */
    int64_t in_at, out_at; /* what is sent later arrives later */
};

/* An item in a worker's hands, as the worker sees it. */
struct job {
    bool used;
    uint8_t address[DW_LEASE_LEN];
    size_t address_len;
    int filing, part;
    uint64_t call; /* asked for a part; 0 when not */
    int64_t next_at;
    uint8_t echo[8]; /* the number of a call */
};

struct peer {
    enum peer_kind kind;
    uint64_t life;
    struct conn conn, side; /* `side`: a worker's questions for parts */
    int64_t stalled_until, heard_at, said_at;
    /* INTAKE */
    int filing; /* FILINGS: none left */
    int part;
    uint32_t tries;
    bool again; /* acknowledged, and sent once more */
    uint64_t call;
    int64_t deadline, wait_until, pause_until;
    uint8_t attempt[DW_ID_LEN];
    /* WORKER */
    bool serves_calls;
    struct job jobs[JOBS];
};

/* A call of a caller; what the broker holds of it is known from outside. */
struct call {
    bool used, waiting, answered;
    uint64_t conn;
    size_t bytes;
    int64_t since; /* it waits at the broker */
};

struct filing {
    bool acked, bad;
    int cases;          /* in the store */
    uint64_t fence;     /* the last that was handed out */
    uint32_t stored_id; /* variant of the id under which it was stored */
};

struct sim {
    uint64_t seed, random, hash;
    int64_t mono;
    dw_time jump; /* of the wall clock */
    struct dw_config config;
    struct event *events;
    uint64_t life; /* of the broker's process */
    bool up;
    struct dw_queue *queue;
    struct dw_broker *broker;
    struct dw_queue_op *submitted, **submitted_end, *running;
    bool busy;                        /* the queue's thread has a batch */
    bool store_down, disk_full, calm; /* calm: nothing fails any more */
    int power_in;                     /* calls to the disk until the power goes; 0: it stays */
    enum disk_loss loss;
    uint32_t last_conn;
    uint64_t last_call;
    struct peer peers[PEERS];
    struct filing filings[FILINGS];
    struct call calls[CALLS];
    int calls_count;
    int64_t waiting_bytes, waiting_count;
    char lines[LINES][160];
    long lines_count;
    const char *failed; /* the property */
    long deliveries, crashes, faults, runs;
};

/* ---- sim.c ---- */

extern bool sim_traces; /* every line goes to standard output too */

bool sim_run(struct sim *s, uint64_t seed);
void sim_end(struct sim *s);
uint64_t sim_random(struct sim *s, uint64_t below);
__attribute__((format(printf, 2, 3))) void sim_note(struct sim *s, const char *format, ...);
dw_time sim_now(const struct sim *s);
void sim_say(struct sim *s, struct peer *p, struct conn *c, const struct dw_slice *frames,
             size_t count);
void sim_connect(struct sim *s, struct conn *c);
void sim_timer(struct sim *s, struct peer *p, int64_t in_ms);
bool sim_faulty(const struct sim *s);

/* ---- peers.c ---- */

void peer_start(struct sim *s, struct peer *p);
void peer_timer(struct sim *s, struct peer *p);
void peer_message(struct sim *s, struct peer *p, struct conn *c, const struct dw_frames *frames);
void peer_lost(struct sim *s, struct peer *p, struct conn *c);
/* Variant 0 is the id; others exist only where an intake is wrong on purpose. */
void filing_id(int filing, uint32_t variant, uint8_t id[DW_ID_LEN]);
int filing_of(const uint8_t id[DW_ID_LEN]);
int key_of(int filing);

/* ---- check.c ---- */

void check_fail(struct sim *s, const char *property);
void check_sent(struct sim *s, const struct dw_peer *to, const struct dw_frames *frames);
void check_arrived(struct sim *s, const struct dw_frames *frames);
void check_claimed(struct sim *s, const struct dw_queue_op *op);
void check_file(struct sim *s);
void check_stored(struct sim *s, int filing);
void check_reopened(struct sim *s);
void check_waits(struct sim *s);
bool check_done(struct sim *s);
void check_end(struct sim *s);

#endif
