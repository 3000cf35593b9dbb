/* sim.h - a world in which brokers, case workers and the store run under a seeded scheduler.
 *
 * Real: the broker's core, the durable queue, the case store with its SQLite driver; what a case worker
 * decides after each of the store's outcomes; the ids an intake makes, which broker it asks and what it
 * makes of the answer; the taking over of a queue file.  Files lie on disks in memory that fail, fill up
 * and lose power.  Time is a number.
 *
 * Models, because in the product they wait for sockets and threads: how those parts send and receive
 * (to the promises of dw/mdp.h), who uploads, calls and administers.  A filing's checks and seals are left
 * out, for their price: whether it is good is drawn at the start, its document names its objects and
 * nothing else, and some filings share a key of the queue, which in the product only guests' items do.
 *
 * sim.c has the scheduler and the network; node.c the brokers' processes; faults.c what goes wrong;
 * peers.c what all peers share, and callers; intakes.c, workers.c, adopters.c the others; cases.c the
 * store; check.c what must hold; main.c runs seeds. */
#ifndef DW_TESTS_SIM_H
#define DW_TESTS_SIM_H

#include "dw/adopt.h"
#include "dw/broker.h"
#include "dw/putting.h"
#include "dw/registering.h"

#include "../support/disk.h"

enum {
    BROKERS = 2, /* in one seed of PAIRS, else one; the last of two never comes back */
    PAIRS = 3,
    FILINGS = 8,
    INTAKES = 2,
    KEYS = 4, /* a multiple of INTAKES */
    WORKERS = 3, /* the last one serves calls, the others filings */
    CALLERS = 1,
    ADOPTER = INTAKES + WORKERS + CALLERS,
    PEERS, /* where there is one broker, without the adopter */
    JOBS = 4,
    CALLS = 64,        /* of all callers, of one seed */
    FAULTS_MS = 25000, /* then faults end */
    DRAIN_MS = 900000, /* and all must be done so much later, wherever the clock was set */
    TICK_MS = 250,
    LINES = 40, /* of the trace, kept for a failure */
    BAD = 4, /* of the first so many the statutory ones may be bad: dead letters take room for ever */
    PART_BYTES = 200,
    ITEMS_MAX = 6,
    SLOW_PERCENT = 50, /* and leave some for bulk work */
    WAITING_MAX = 4,
    WAITING_BYTES = 6000,
    CALL_BYTES = 2500,
};

enum peer_kind { INTAKE, WORKER, CALLER, ADMIN };
enum event_kind {
    TO_BROKER,
    TO_PEER,
    LOST,
    RUN_QUEUE,
    FINISHED,
    TICK,
    TIMER,
    BROKER_UP,
    FAULT,
    POWER,
    LEAVE
};

struct event {
    struct event *next;
    int64_t at;
    enum event_kind kind;
    uint64_t life; /* of the broker or the peer it is for */
    int peer, node;
    uint32_t conn;
    bool held; /* by a peer that stalled */
    struct dw_frames frames;
    struct dw_queue_op *ops;
};

struct conn {
    uint32_t id;           /* 0: none */
    int node;              /* the broker at its other end */
    bool alive;            /* the broker's side of it is there */
    int64_t in_at, out_at; /* what is sent later arrives later */
};

/* A broker: its process, and the disk of its queue. */
struct node {
    int n;
    const char *path;
    uint64_t life;
    bool up, gone; /* gone: it never comes back */
    struct dw_queue *queue;
    struct dw_broker *broker;
    struct dw_queue_op *submitted, **submitted_end, *running;
    bool busy; /* the queue's thread has a batch */
    bool disk_full;
    int power_in; /* calls to the disk until the power goes; 0: it stays */
    enum disk_loss loss;
    int64_t waiting_bytes, waiting_count;
};

/* An item in a worker's hands, as the worker sees it. */
struct job {
    bool used;
    uint8_t address[DW_LEASE_LEN];
    size_t address_len;
    int filing;
    uint8_t id[DW_ID_LEN], attempt[DW_ID_LEN];
    uint32_t part;
    uint64_t call; /* asked for a part; 0 when not */
    int64_t next_at;
    uint8_t echo[8]; /* the number of a call */
    struct dw_registering registering;
    enum dw_registering_next next;
};

/* A peer's connections to one broker; `side`: a worker's questions for parts. */
struct line {
    struct conn conn, side;
    int64_t heard_at, said_at;
    struct job jobs[JOBS];
};

struct peer {
    enum peer_kind kind;
    int n;
    uint64_t life;
    struct line lines[BROKERS];
    int64_t stalled_until;
    /* INTAKE */
    int filing; /* FILINGS: none left */
    int part;
    size_t broker; /* that it begins with */
    struct dw_putting putting;
    uint32_t tries;
    bool again; /* acknowledged, and sent once more */
    uint64_t call;
    int64_t deadline, wait_until, pause_until;
    uint8_t attempt[DW_ID_LEN];
    /* WORKER */
    bool serves_calls;
    struct dw_store *store; /* NULL: it cannot be opened just now, or it serves calls */
    struct dw_checkpointer *moves; /* the store's, which here is told when */
    int64_t open_at, look_at;
    int dies_in; /* calls to the store's disk; 0: it lives */
    bool died;
    /* ADMIN */
    struct dw_source *source;
    struct dw_adoption *adoption; /* NULL: the command does not run now */
};

/* A call of a caller; what the broker holds of it is known from outside. */
struct call {
    bool used, waiting, answered;
    int node;
    size_t bytes;
    int64_t since; /* it waits at the broker */
};

struct filing {
    bool acked, bad;
    int cases;               /* that the store has, when it was last looked at */
    uint8_t other[DW_ID_LEN]; /* the id it was last put under, if an intake is wrong on purpose */
    uint64_t fence[BROKERS]; /* the last that was handed out */
    bool done[BROKERS];      /* there, and not put there again since */
    bool adopted;
};

struct sim {
    uint64_t seed, random, hash;
    int64_t mono;
    dw_time jump; /* of the wall clock */
    struct dw_config config;
    struct event *events;
    struct node nodes[BROKERS];
    int brokers, peers_count; /* of this seed */
    bool adopted;     /* the file of the one that is gone is empty */
    bool calm;        /* nothing fails any more */
    bool store_full;  /* its disk */
    int store_power_in;
    enum disk_loss store_loss;
    struct peer *at_store; /* who uses its disk now */
    uint32_t last_conn;
    uint64_t last_call;
    struct peer peers[PEERS];
    struct filing filings[FILINGS];
    struct call calls[CALLS];
    int calls_count;
    char lines[LINES][160];
    long lines_count;
    const char *failed; /* the property */
    long deliveries, crashes, faults, runs, deaths, adoptions;
    long outcomes[DW_UNCERTAIN + 1], existed, taken; /* of steps at the store */
};

/* ---- sim.c ---- */

extern bool sim_traces; /* every line goes to standard output too */

bool sim_run(struct sim *s, uint64_t seed);
void sim_end(struct sim *s);
uint64_t sim_random(struct sim *s, uint64_t below);
__attribute__((format(printf, 2, 3))) void sim_note(struct sim *s, const char *format, ...);
dw_time sim_now(const struct sim *s);
struct event *sim_add(struct sim *s, enum event_kind kind, int64_t in_ms, uint64_t life);
void sim_say(struct sim *s, struct peer *p, struct conn *c, const struct dw_slice *frames,
             size_t count);
void sim_connect(struct sim *s, struct conn *c, int node);
/* What is on its way is lost; the peer learns of it later. */
void sim_cut(struct sim *s, struct peer *p, struct conn *c);
struct conn *sim_conn(struct sim *s, uint32_t id, struct peer **peer);
void sim_timer(struct sim *s, struct peer *p, int64_t in_ms);
bool sim_faulty(const struct sim *s);
void sim_free_ops(struct dw_queue_op *op);

/* ---- node.c ---- */

void node_lay_down(struct sim *s, struct node *n);
void node_up(struct sim *s, struct node *n);
/* The process ends: by its own will, killed, or with its machine. */
void node_down(struct sim *s, struct node *n, const char *why);
void node_run_queue(struct sim *s, struct node *n);
void node_finish(struct sim *s, struct node *n, struct event *e);
/* Carries out what the core wants done. */
void node_act(struct sim *s, struct node *n);
void node_end(struct node *n);

/* ---- faults.c ---- */

void faults_begin(struct sim *s);
void faults_next(struct sim *s);
void faults_power(struct sim *s); /* of the store */
void faults_leave(struct sim *s); /* the last broker, for ever */
/* Workers whose process ended start again. */
void faults_bury(struct sim *s);

/* ---- peers.c ---- */

void peer_start(struct sim *s, struct peer *p);
void peer_timer(struct sim *s, struct peer *p);
void peer_message(struct sim *s, struct peer *p, struct conn *c, const struct dw_frames *frames);
void peer_lost(struct sim *s, struct peer *p, struct conn *c);
int key_of(int filing);
uint32_t parts_of(int filing);
size_t part_bytes(int filing, uint32_t n, char out[PART_BYTES]);
void random_bytes(struct sim *s, uint8_t *out, size_t len);
void put_u32(uint8_t out[4], uint32_t v);
uint64_t number_of(const struct dw_slice *frame);
/* REQUEST of MDP/0.1: a service, a number of the call, and what it wants. */
void peer_ask(struct sim *s, struct peer *p, struct conn *c, const char *service, uint64_t call,
              const struct dw_slice *body, size_t count);

/* ---- intakes.c, workers.c, adopters.c ---- */

void filing_id(int filing, uint8_t id[DW_ID_LEN]);
int filing_of(const struct sim *s, const uint8_t id[DW_ID_LEN]);
void intake_timer(struct sim *s, struct peer *p);
void intake_answered(struct sim *s, struct peer *p, const struct dw_mdp_message *m);
void worker_begin(struct sim *s, struct peer *p);
void worker_timer(struct sim *s, struct peer *p);
void worker_lost(struct sim *s, struct peer *p, struct conn *c);
void worker_message(struct sim *s, struct peer *p, struct line *l, const struct dw_mdp_message *m);
void worker_got_part(struct sim *s, struct peer *p, const struct dw_mdp_message *m);
void adopter_timer(struct sim *s, struct peer *p);
void adopter_answered(struct sim *s, struct peer *p, const struct dw_mdp_message *m);
void adopter_end(struct peer *p); /* the process */

/* ---- cases.c ---- */

extern const char *const cases_path;

void cases_lay_down(struct sim *s);
/* Of one worker, whose process has a connection of its own. */
bool cases_open(struct sim *s, struct peer *p);
void cases_close(struct sim *s, struct peer *p);
/* What the process does beside its work; false: it ends, as after an I/O error. */
bool cases_look_after(struct sim *s, struct peer *p);
enum dw_result cases_find(struct sim *s, struct peer *p, const struct job *j);
enum dw_result cases_put_part(struct sim *s, struct peer *p, const struct job *j,
                              struct dw_slice bytes);
/* All in one call; `next` of each is told what came of it. */
void cases_write(struct sim *s, struct peer *p, struct job *const *jobs, size_t count);
/* Counts the cases of each filing; false when the store does not answer. */
bool cases_count(struct sim *s, struct peer *p, int counts[FILINGS]);
/* What is wrong with what is stored of that filing; NULL for nothing. */
const char *cases_wrong(struct sim *s, struct peer *p, int filing);

/* ---- check.c ---- */

void check_fail(struct sim *s, const char *property);
void check_sent(struct sim *s, struct node *n, const struct dw_peer *to,
                const struct dw_frames *frames);
void check_arrived(struct sim *s, struct node *n, const struct dw_frames *frames);
/* Before the queue does it, and when it is done and on its disk. */
void check_runs(struct sim *s, struct node *n, const struct dw_queue_op *op);
void check_ran(struct sim *s, struct node *n, const struct dw_queue_op *op);
void check_file(struct sim *s, struct node *n);
/* What that worker sees in the store. */
void check_store(struct sim *s, struct peer *p);
void check_reopened(struct sim *s);
void check_waits(struct sim *s, struct node *n);
bool check_done(struct sim *s);
void check_end(struct sim *s);

#endif
