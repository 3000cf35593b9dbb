/* casework.h - the case worker: the only process that touches the store.
 *
 * One thread takes requests from the broker, decides, and commits what was decided together: while
 * one commit runs, the next batch gathers.  Nothing is answered before it is durable.  Beside it a few
 * threads check what came as filings, and one fetches their file chunks.
 *
 * It holds no content key.  It believes intake programs by the directory, members by their own
 * signatures, and nobody by where a message came from. */
#ifndef DW_CASEWORK_H
#define DW_CASEWORK_H

#include "dw/audit.h"
#include "dw/process.h"
#include "dw/registering.h"
#include "dw/services.h"
#include "dw/statistics.h"
#include "dw/store.h"
#include "dw/wire.h"

enum {
    CW_ARENA_MAX = 48 * 1024 * 1024,
    CW_WORKERS_MAX = 5 * 16,
    CW_THROTTLES = 4096,
    CW_TRIES_MAX = 4,
    CW_PARTS_PER_STEP = 16,
    CW_RECORDS_MAX = 1 + DW_MEMBER_EPOCHS_MAX,
};

struct casework;
struct pending;

/* One case to be written, as part of a pending request. */
struct change {
    struct dw_store_step step;
    struct dw_case c;
    struct dw_buf doc;
    uint8_t notice[16]; /* that was claimed with it */
};

/* A request from its arrival to its answer. */
struct pending {
    struct pending *next;
    struct dw_worker *worker; /* NULL for what the worker does by itself */
    struct dw_request request;
    struct dw_arena arena;
    const struct cw_method *method;

    /* What the handler made of it. */
    int status;
    struct dw_error error;
    struct dw_buf answer; /* the document of a 200 */
    struct dw_pack pack;  /* objects behind it */
    bool commit;          /* the answer waits for the changes */
    bool answer_anyway;   /* even a refusal waits for its audit entry */
    struct change *changes;
    size_t changes_count;
    struct dw_store_record records[CW_RECORDS_MAX];
    struct dw_buf record_docs[CW_RECORDS_MAX];
    size_t records_count;
    struct dw_audit audit; /* verb NULL for none */

    /* After the commit, for outcomes other than OK of the first change; NULL: the usual answers. */
    void (*settle)(struct casework *cw, struct pending *p);
    int tries;
    bool tries_again; /* on CONFLICT: it may be no conflict of people, but a clock or a counter; and on
                       * UNCERTAIN: the handler finds in the case what it has done already */
    bool in_doubt;    /* an earlier try may have happened */
    struct filing_job *job; /* of a filing */
};

struct cw_method {
    const char *name;
    void (*handle)(struct casework *cw, struct pending *p, const struct dw_slice *body,
                   size_t count);
};

struct throttle {
    uint64_t user;
    int32_t failures;
    int64_t until;
};

struct casework {
    struct dw_process process;
    const struct dw_config *config;
    struct dw_directory_watch *directory;
    struct dw_domain domain;
    struct dw_signer signer;
    struct dw_store *store;
    bool store_away;
    struct dw_fold fold;

    void *zmq;
    struct {
        struct dw_worker *worker;
        size_t broker;
        const char *service;
        const struct cw_method *methods; /* NULL for filings */
        size_t methods_count;
    } workers[CW_WORKERS_MAX];
    size_t workers_count;
    struct dw_bus *bus;
    struct aside *checking, *fetching;

    struct pending *batch, **batch_end;
    size_t batch_count;

    int64_t audit_seq;
    uint8_t audit_hash[DW_HASH_LEN];
    bool audit_known;

    struct throttle *throttles;
    dw_metric *m_registered, *m_commands, *m_refused, *m_commits, *m_dead, *m_later, *m_conflicts,
        *m_timers, *m_claims, *m_logins, *m_login_failures, *m_batch, *m_counted;
};

/* ---- casework.c ---- */

/* The answer of a handler: one of these, once. */
void cw_refuse(struct pending *p, int status, const char *field, const char *text);
void cw_refuse_result(struct pending *p, enum dw_result result);
void cw_answer(struct pending *p, const struct dw_layout *layout, const void *in);
void cw_done(struct pending *p, int32_t version, const char *state, bool already);
/* Decodes the request document at body[i]; refuses it when it is not well formed. */
bool cw_decode(struct pending *p, const struct dw_slice *body, size_t count, size_t i,
               const struct dw_layout *layout, void *ret);

/* Adds a change to the request, which will wait for its commit. */
struct change *cw_change(struct pending *p, const struct dw_case *c, int64_t old_version);
/* Puts the encoded case into the change's step; call when the case is as it shall be. */
void cw_seal_change(struct pending *p, struct change *change);
bool cw_put_record(struct pending *p, const char *collection, const char *key,
                   int64_t old_version, const struct dw_layout *layout, const void *in);
/* A command that was carried out on `c`: the change with its objects. */
void cw_add_command(struct pending *p, struct dw_case *c, int64_t old_version,
                    const struct dw_command *command, const struct dw_slice *objects);
void cw_audit(struct pending *p, const char *actor, const char *verb, const char *object);

/* Reads a case, after committing what is pending for it. */
enum dw_result cw_load(struct casework *cw, struct pending *p, const uint8_t id[16],
                       struct dw_case *ret);

struct pending *cw_pending_new(struct casework *cw, struct dw_worker *worker,
                               struct dw_request *take_request);
/* Answers at once, or adds to the batch; takes the pending request. */
void cw_finish(struct casework *cw, struct pending *p);
void cw_flush(struct casework *cw);
/* Runs the handler again from the start, on the same request. */
void cw_again(struct casework *cw, struct pending *p);

/* Signature of a statement: seal is signer id and signature. */
bool cw_seal_is_of(const uint8_t seal[DW_SEAL_LEN], const uint8_t signer[DW_SIGNER_LEN],
                   const uint8_t sign[DW_KEY_LEN], const char *label, struct dw_slice said);
/* Each object frame must be the object the ref speaks of, sealed for this case and signed. */
bool cw_check_object(const struct dw_object_ref *ref, struct dw_slice bytes,
                     const uint8_t case_id[16], dw_day day, const uint8_t sign[DW_KEY_LEN],
                     struct dw_error *err);
/* Lines of the dialogue; reporters see only theirs. */
void cw_lines(struct pending *p, const struct dw_case *c, bool for_reporter,
              struct dw_line **ret, size_t *count);
/* Members who wrote what the lines show. */
void cw_writers(struct casework *cw, struct pending *p, const struct dw_line *lines, size_t count,
                struct dw_member **ret, size_t *ret_count);
/* Their objects, but for files, behind the answer; where they are too many, not those between the report
 * and the newest. */
void cw_pack_objects(struct casework *cw, struct pending *p, const struct dw_line *lines,
                     size_t count);

/* ---- services ---- */

void cw_filing(struct casework *cw, struct pending *p);
/* The same filing after it was checked, and after its chunks were fetched. */
void cw_filing_checked(struct casework *cw, struct pending *p);
void cw_filing_fetched(struct casework *cw, struct pending *p);

extern const struct cw_method cw_public_methods[], cw_desk_methods[], cw_notify_methods[],
    cw_admin_methods[];
extern const size_t cw_public_methods_count, cw_desk_methods_count, cw_notify_methods_count,
    cw_admin_methods_count;

enum dw_result cw_member(struct casework *cw, struct pending *p, const char *user,
                         struct dw_member *ret, int64_t *version);
void cw_epochs_of(struct casework *cw, struct pending *p, const char *body,
                  struct dw_epoch **ret, size_t *count);

/* Of the desk's methods, those of login.c. */
void cw_desk_params(struct casework *cw, struct pending *p, const struct dw_slice *body,
                    size_t count);
void cw_desk_login(struct casework *cw, struct pending *p, const struct dw_slice *body,
                   size_t count);
void cw_desk_invited(struct casework *cw, struct pending *p, const struct dw_slice *body,
                     size_t count);
void cw_desk_enrol(struct casework *cw, struct pending *p, const struct dw_slice *body,
                   size_t count);

/* The member who signed the request document at body[0], with all that follows the seal; or refuses. */
bool cw_who_asks(struct casework *cw, struct pending *p, const char *method,
                 const struct dw_slice *body, size_t count, struct dw_desk_request *request,
                 struct dw_member *member);
void cw_desk_statistics(struct casework *cw, struct pending *p, const struct dw_slice *body,
                        size_t count);

/* Clocks that have something to tell. */
void cw_tick(struct casework *cw);
/* Events into counters, one batch; true when more of them wait. */
bool cw_count(struct casework *cw);

struct filing_job {
    struct dw_sealed_filing filing;
    struct dw_item_header header;
    const char *wrong; /* why it is no filing of ours, NULL for one that is */
    uint8_t lease[DW_LEASE_LEN];
    size_t broker; /* that holds the item */
    bool route_differs;
    struct dw_registering registering;
};
/* Done aside, in other threads: they touch the request alone, and of `cw` what never changes. */
void cw_check(struct casework *cw, struct pending *p); /* register.c: finds what is wrong */
void cw_fetch(struct casework *cw, struct pending *p); /* fetch.c: file chunks into the store */

/* ---- aside.c ---- */

/* Threads that do one kind of work on requests: the main thread puts them there, and takes those that
 * are done when `fd` can be read; they may have changed places.  What is there when it ends is not lost:
 * its lease ends, and it is delivered again. */
typedef void cw_aside_work(struct casework *cw, struct pending *p);
struct aside *cw_aside_new(struct casework *cw, size_t threads, cw_aside_work *work); /* or NULL */
void cw_aside_free(struct aside *a);
int cw_aside_fd(const struct aside *a);
void cw_aside_put(struct aside *a, struct pending *p);
struct pending *cw_aside_take(struct aside *a); /* NULL for none */

#endif
