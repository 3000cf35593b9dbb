/* case.h - a case is its events.  Sources: workers/domain/case_layout.c case_apply.c transitions.c
 *
 * FILING: what intake seals, signs (label "dengwen/filing/1") and puts into the queue.  An item of the
 * queue carries the frames: header, filing, seal (signer id and signature), then each object of the
 * filing that is not a file, in the order in which the filing names them; file chunks are its parts.
 *
 * COMMAND: what a member, or the intake for a reporter, wants to happen; signed (label
 * "dengwen/command/1") with the actor's own key.  `step` is the hash of the Idempotency-Key: an event
 * with that step is the answer already given.
 *
 * EVENT: what happened.  Each event names its objects by hash, holds the signed bytes it follows from,
 * the hash of the event before, and the case worker's signature (label "dengwen/event/1") over its
 * encoding without `hash`, `writer` and `signature`.
 *
 * The document of a case holds events, clocks and notices, guarded by its version; what the events
 * say (state, responsible body, grants, ...) is kept beside them as a projection, and
 * dw_case_replay() makes the same projection from the events alone. */
#ifndef DW_CASE_H
#define DW_CASE_H

#include "dw/bytes.h"
#include "dw/envelope.h"
#include "dw/filing.h"
#include "dw/layout.h"
#include "dw/rule.h"

#define DW_LABEL_FILING  "dengwen/filing/1"
#define DW_LABEL_COMMAND "dengwen/command/1"
#define DW_LABEL_EVENT   "dengwen/event/1"

enum {
    DW_CASE_KEYS_MAX = 64,
    DW_CASE_GRANTS_MAX = 512,
    DW_CASE_OBJECTS_MAX = 128,
    DW_CASE_CLOCKS_MAX = 256,
    DW_CASE_NOTICES_MAX = 1024,
    DW_CASE_ATTEMPTS_MAX = 128,
    DW_SEAL_LEN = DW_SIGNER_LEN + DW_SIGNATURE_LEN, /* who signed, and the signature */
};

/* ---- parts of documents ---- */

struct dw_object_ref {
    uint8_t id[16];
    int32_t type;     /* enum dw_object_type */
    int32_t epoch;    /* of the root key */
    int32_t sequence; /* as in the object's header */
    int32_t chunks;   /* 0 but for files */
    int64_t size;     /* of the ciphertext */
    uint8_t hash[DW_HASH_LEN];
};
extern const struct dw_layout dw_object_ref_layout;

struct dw_root_ref {
    int32_t kind, epoch;
    uint8_t commitment[DW_HASH_LEN];
};
extern const struct dw_layout dw_root_ref_layout;

/* ---- filing ---- */

struct dw_sealed_filing {
    int32_t version; /* 1 */
    uint8_t id[16];  /* filing id = case id */
    uint8_t handle[16], auth_hash[32], reporter[DW_KEY_LEN];
    struct dw_facts facts;
    const char *body;     /* receiver, to which it is sealed */
    const char *rule;     /* of the routing */
    uint8_t provider[8];  /* blind index of the provider code; zero for none */
    struct dw_root_ref *roots;
    size_t roots_count;
    struct dw_grant *grants;
    size_t grants_count;
    struct dw_object_ref *objects;
    size_t objects_count;
};
extern const struct dw_layout dw_sealed_filing_layout;

/* ---- command ---- */

struct dw_command {
    int32_t version; /* 1 */
    uint8_t case_id[16], step[16], payload[16]; /* payload: keyed hash of what was asked */
    int32_t against;   /* revision of the case it was written against; 0 from reporters */
    const char *name;  /* "accept", "message", ... */
    const char *actor; /* user, or "reporter" */
    const char *body;  /* of the user, "" for a reporter */
    int64_t at;        /* when it was signed; 0 from reporters */
    int32_t day;
    const char *to, *reason, *outcome;
    struct dw_object_ref *objects;
    size_t objects_count;
    struct dw_root_ref *roots;
    size_t roots_count;
    struct dw_grant *grants;
    size_t grants_count;
};
extern const struct dw_layout dw_command_layout;

/* ---- event ---- */

struct dw_event {
    int32_t seq; /* 1, 2, ... */
    uint8_t step[16], payload[16];
    const char *kind; /* "registered", "accepted", ... */
    const char *actor, *body;
    int64_t at; /* 0 where only the day is kept */
    int32_t day;
    const char *state; /* after it */
    const char *to, *reason, *outcome;
    struct dw_object_ref *objects;
    size_t objects_count;
    struct dw_slice said; /* signed filing or command; empty for what the system does */
    uint8_t said_by[DW_SIGNER_LEN], said_signature[DW_SIGNATURE_LEN];
    uint8_t before[DW_HASH_LEN];
    uint8_t hash[DW_HASH_LEN];
    uint8_t writer[DW_SIGNER_LEN], signature[DW_SIGNATURE_LEN];
};
extern const struct dw_layout dw_event_layout;

/* ---- clocks and notices ---- */

enum dw_clock_stage { DW_STAGE_NONE, DW_STAGE_SOON, DW_STAGE_DUE, DW_STAGE_OVERDUE };
struct dw_clock {
    const char *rule, *pack;
    const char *body;  /* whose duty it is */
    int32_t start, soon, due; /* days */
    bool extended, estimate;
    int32_t stage; /* the last one that was told */
    int32_t ended; /* day, 0 while it runs */
    const char *ended_by; /* event kind */
};
extern const struct dw_layout dw_clock_layout;

struct dw_attempt {
    int32_t n;
    const char *channel; /* "sms", "email" */
    int64_t at;          /* 0 for anonymous filings */
    int32_t day;
    const char *outcome; /* "sending", "accepted", "failed", "refused" */
    const char *code;    /* the provider's answer, printable */
};
struct dw_notice {
    uint8_t id[16];
    const char *template; /* "registered", "progress" */
    int32_t day;
    bool sms, email;           /* wanted */
    bool sms_done, email_done; /* accepted by the provider, or given up */
    const char *state;         /* "waiting", "claimed", "sent", "failed", "page" */
    int64_t not_before;        /* next attempt, or end of the claim */
    int32_t fence, tries;
    struct dw_attempt *attempts;
    size_t attempts_count;
};
extern const struct dw_layout dw_notice_layout;

/* ---- the case ---- */

/* What lists and timers look at; kept beside the document by the store. */
struct dw_case_index {
    const char **bodies; /* that hold a grant: who may see it */
    size_t bodies_count;
    const char *reference, *state, *kind, *against, *district;
    int32_t day;
    bool open;
    int32_t revision;
    const char *assignee; /* "" for none */
    const char *body;     /* responsible */
    int32_t due;          /* nearest running due day of the responsible body; 0 for none */
    const char *due_rule;
    int64_t timer;  /* when a clock has something to tell; 0 for never */
    int64_t notice; /* when a notice wants attention; 0 for never */
    int64_t fold;   /* 1 when events wait to be counted, see statistics.h; 0 when none do */
};
extern const struct dw_layout dw_case_index_layout;

struct dw_case {
    uint8_t id[16];
    int32_t version;  /* of the document: guards every write */
    int32_t revision; /* what people did: clocks and notices do not change it */
    int32_t folded;   /* events that statistics have counted */
    const char *reference;
    struct dw_facts facts;
    uint8_t handle[16], auth_hash[32], reporter[DW_KEY_LEN], provider[8];

    const char *state;
    const char *body;     /* responsible */
    const char *assignee; /* user, "" for none */
    const char *transfer_to, *transfer_from, *state_before; /* "" while no transfer is open */
    bool transfer_received; /* by an outside body, which ends our part */
    const char *outcome;
    struct dw_root_ref *roots;
    size_t roots_count;
    struct dw_grant *grants;
    size_t grants_count;
    struct dw_event *events;
    size_t events_count;
    struct dw_clock *clocks;
    size_t clocks_count;
    struct dw_notice *notices;
    size_t notices_count;
    struct dw_case_index ix;
};
extern const struct dw_layout dw_case_layout;

enum dw_result dw_case_decode(struct dw_slice doc, struct dw_arena *arena, struct dw_case *ret,
                              struct dw_error *err);
/* Also brings `ix` up to date. */
void dw_case_encode(struct dw_case *c, struct dw_arena *arena, struct dw_buf *out);

/* What deciding needs to know; nothing is read behind its back. */
struct dw_domain {
    const struct dw_calendar *calendar;
    const struct dw_rules *rules;
    const struct dw_catalogue *catalogue;
    const struct dw_routing *routing;
    const struct dw_signer *writer; /* the case worker's */
    int64_t notice_delay_min_ms, notice_delay_max_ms;
    int32_t max_events, messages_per_day;
    uint64_t (*random)(void *arg);
    void *random_arg;
};

/* ---- transitions ---- */

enum dw_by {
    DW_BY_INTAKE,
    DW_BY_REPORTER,
    DW_BY_BODY,     /* an inspector of the responsible body */
    DW_BY_RECEIVER, /* an inspector of the body it is being transferred to */
    DW_BY_SENDER,   /* an inspector of the responsible body, for a transfer to an outside body */
};
enum { /* what a command must carry */
    DW_NEEDS_TEXT = 1,      /* a message object */
    DW_NEEDS_REASON = 2,    /* a code of the list named in the row */
    DW_NEEDS_TO_BODY = 4,
    DW_NEEDS_TO_MEMBER = 8,
    DW_NEEDS_OUTCOME = 16,
    DW_NEEDS_NOTE = 32, /* an internal object */
    DW_MAY_TEXT = 64,
};
struct dw_transition {
    const char *command;
    const char *from; /* state; "" for a new case */
    enum dw_by by;
    const char *to;    /* state; "" keeps it, "<" goes back to the one before the transfer */
    const char *event;
    const char *notice; /* template, "" for none */
    int needs;
    enum dw_list reasons;
};
size_t dw_transitions_count(void);
const struct dw_transition *dw_transition_at(size_t i);
bool dw_state_is_open(const char *state);

/* Who asks. */
struct dw_actor {
    enum { DW_ACTOR_REPORTER, DW_ACTOR_MEMBER } type;
    const char *user, *body; /* of a member */
    bool inspector;
};
/* The row that applies, or NULL with the reason: 403 right missing, 422 not in this state. */
const struct dw_transition *dw_case_transition(const struct dw_case *c, const char *command,
                                               const struct dw_actor *actor,
                                               const struct dw_routing *routing, int *status,
                                               struct dw_error *err);
bool dw_case_visible(const struct dw_case *c, const char *body);

/* ---- deciding ---- */

/* A new case from a verified filing: event "registered", clocks, notice. */
void dw_case_register(const struct dw_domain *domain, const struct dw_sealed_filing *filing,
                      struct dw_slice said, const uint8_t seal[DW_SEAL_LEN], const char *reference,
                      dw_time now, struct dw_arena *arena, struct dw_case *ret);
/* Notes that routing would send it elsewhere today: a task for the body that has it. */
void dw_case_mark_route(const struct dw_domain *domain, struct dw_case *c, dw_time now,
                        struct dw_arena *arena);
/* Carries out a verified command: 200, or 403, 409, 422 with what was wrong; the case is changed only
 * on 200.  A step that is among the events already gives 200 and *already. */
int dw_case_command(const struct dw_domain *domain, struct dw_case *c,
                    const struct dw_command *command, const struct dw_actor *actor,
                    struct dw_slice said, const uint8_t seal[DW_SEAL_LEN], dw_time now,
                    struct dw_arena *arena, bool *already, struct dw_error *err);
/* Tells what the clocks have to tell at this time; true when something was told. */
bool dw_case_tick(const struct dw_domain *domain, struct dw_case *c, dw_time now,
                  struct dw_arena *arena);

/* ---- notices ---- */

/* The first notice that may be claimed now; NULL for none. Claiming records the attempts before
 * anything is sent.  The fence is drawn: who does not know whether the claim was written finds it, or
 * somebody else's. */
struct dw_notice *dw_case_claim_notice(const struct dw_domain *domain, struct dw_case *c,
                                       dw_time now, int64_t lease_ms, struct dw_arena *arena);
struct dw_report {
    uint8_t case_id[16], notice[16];
    int32_t fence;
    const char *channel;
    bool accepted, refused; /* refused: the provider never will */
    bool final;             /* this channel will not be tried again */
    const char *code;
    int64_t again_ms; /* wait before the next attempt */
};
extern const struct dw_layout dw_report_layout;
/* DW_OK, with `already` for what was reported before and changes nothing; or DW_CONFLICT for a claim that
 * is not held any more. */
enum dw_result dw_case_report_notice(const struct dw_domain *domain, struct dw_case *c,
                                     const struct dw_report *report, dw_time now,
                                     struct dw_arena *arena, bool *already);

/* ---- checking ---- */

/* The chain of hashes, the writers' signatures, and that replaying the events gives this projection.
 * `writer` finds the Ed25519 key of a signer that may write events. */
typedef const uint8_t *dw_find_signer(void *arg, const uint8_t signer[DW_SIGNER_LEN], dw_day day);
enum dw_result dw_case_verify(const struct dw_domain *domain, const struct dw_case *c,
                              dw_find_signer *writer, void *arg, struct dw_error *err);

#endif
