/* store.h - where cases are kept.  Sources: workers/store/store.c sqlite*.c mongo*.c
 *
 * One contract, several drivers behind it, told apart by the URI.  Correctness needs the atomicity of
 * one document only:
 *
 *   1. objects are written first; an object that nobody names is invisible and harmless
 *   2. then the receipt's handle and the reference, each "insert if absent, else compare": a second
 *      delivery of the same filing finds its own
 *   3. then the case, in one write: an insert if its id is absent, or a replacement if its version is
 *      the one that was read
 *
 * A step that stopped after 1 or 2 leaves nothing that a reader can see, and doing it again does it
 * once.  So no transaction over several documents is needed, and no unique index but that of ids:
 * objects, handles, references and cases are told apart by theirs, which are also what one would
 * shard by.  Drivers may do a step, or several steps of different cases, in one transaction; the
 * contract does not ask for it, except that what is reported DW_OK is durable: on the disk of SQLite,
 * in the journals of a majority of MongoDB's servers.  Documents are BSON.
 *
 * Records of one step are written in order, the first decides; audit entries are written before what
 * they record, or with it.
 *
 * Outcomes of a step: OK; CONFLICT (the version is another, or somebody else has the reference: see
 * `taken`); INVALID (an object or handle exists with other contents); RETRY (nothing of the case was
 * written); UNCERTAIN (look for the case or the step id before trying again).
 * An insert that finds the case is OK with `existed`.
 *
 * Thread-safe.  Buffers given to reads are appended to. */
#ifndef DW_STORE_H
#define DW_STORE_H

#include "dw/case.h"
#include "dw/config.h"

struct dw_store;

/* "sqlite:FILE", "sqlite::memory:", "mongodb://[USER@]HOST[,HOST...]/DATABASE[?OPTIONS]".
 * A server that is away is no error: the store is there when the server is. */
enum dw_result dw_store_open(const char *uri, const struct dw_config *config,
                             struct dw_store **ret, struct dw_error *err);
/* How a store is opened; dw_store_open() is for SERVE.  But for SERVE a server that is away is RETRY. */
enum dw_store_use {
    DW_STORE_SERVE, /* an empty place becomes a store; an unfinished copy is refused */
    DW_STORE_FILL,  /* the same, and an unfinished copy is what we look for; closed, a file is whole
                     * without others beside it */
    DW_STORE_LOOK,  /* nothing is written; all reads of a file see it as it was when it was opened */
};
enum dw_result dw_store_open_for(const char *uri, enum dw_store_use use,
                                 const struct dw_config *config, struct dw_store **ret,
                                 struct dw_error *err);
void dw_store_close(struct dw_store *store);

/* How far something long has come: `done` of `total`, which is 0 where nobody knows. */
struct dw_progress {
    void (*tell)(void *arg, const char *what, int64_t done, int64_t total);
    void *arg;
};
/* Makes what is missing and brings a store of an older version to this one; `from` is the version
 * that was found, 0 for an empty place.  INVALID: a newer one, or not ours; RETRY: it is away. */
enum dw_result dw_store_make(const char *uri, const struct dw_config *config,
                             const struct dw_progress *progress, int *from, int *to,
                             struct dw_error *err);

/* Answers whether the store can be read and written just now. */
enum dw_result dw_store_ping(struct dw_store *store);

struct dw_store_object {
    uint8_t id[16];
    int32_t part; /* chunk of a file, else 0 */
    struct dw_slice bytes;
};

struct dw_store_audit {
    const char *chain;
    int64_t seq;
    struct dw_slice doc;
};

/* A small document by key, guarded by a version: staff, keys of bodies. */
struct dw_store_record {
    const char *collection, *key;
    int64_t old_version; /* 0: insert */
    int64_t version;
    struct dw_slice doc; /* empty: delete */
};

struct dw_store_step {
    const struct dw_store_object *objects;
    size_t objects_count;

    bool with_receipt;
    uint8_t handle[16];
    const char *reference; /* NULL for none */

    bool with_case;
    uint8_t case_id[16];
    int64_t old_version; /* 0: insert */
    int64_t version;
    struct dw_slice doc;
    const struct dw_case_index *ix;

    const struct dw_store_record *records;
    size_t records_count;
    const struct dw_store_audit *audit;
    size_t audit_count;

    bool needs_first; /* RETRY, and nothing done, unless the first step of the call is OK */

    enum dw_result outcome;
    bool existed; /* an insert found its case */
    bool taken;   /* CONFLICT: the reference belongs to another case */
};
/* Steps in order; each gets its outcome.  Changes of one call are of different cases; of several that
 * insert the same one, as two brokers may deliver it, one does and the others find it there.  A first
 * step that others need has audit entries only. */
void dw_store_apply(struct dw_store *store, struct dw_store_step *const *steps, size_t count);

/* ---- reading: OK, NOT_FOUND, RETRY ---- */

struct dw_store_case {
    int64_t version;
    struct dw_slice doc; /* in the buffer given */
};
enum dw_result dw_store_case(struct dw_store *store, const uint8_t id[16], struct dw_buf *buf,
                             struct dw_store_case *ret);
enum dw_result dw_store_id_of_handle(struct dw_store *store, const uint8_t handle[16],
                                     uint8_t id[16]);
enum dw_result dw_store_id_of_reference(struct dw_store *store, const char *reference,
                                        uint8_t id[16]);
enum dw_result dw_store_object(struct dw_store *store, const uint8_t id[16], int32_t part,
                               struct dw_buf *buf);

enum dw_worklist { DW_LIST_MINE, DW_LIST_UNASSIGNED, DW_LIST_DUE, DW_LIST_OVERDUE, DW_LIST_ALL };
struct dw_store_query {
    enum dw_worklist list;
    const char *body;
    const char *user; /* MINE */
    dw_day today, soon; /* DUE: today..soon; OVERDUE: before today */
    size_t limit;
    /* Page: behind this row; empty id for the first. */
    bool after;
    dw_day after_due;
    uint8_t after_id[16];
};
struct dw_store_row {
    uint8_t id[16];
    int64_t version;
    struct dw_case_index ix;
};
/* Rows in order of due day (none last), then id; only open cases but for ALL.  A body that may see a
 * case and is not the responsible one has no due day in it.  Texts live in the arena. */
enum dw_result dw_store_worklist(struct dw_store *store, const struct dw_store_query *query,
                                 struct dw_arena *arena, struct dw_store_row **ret, size_t *count);

enum dw_store_due { DW_DUE_TIMER, DW_DUE_NOTICE, DW_DUE_FOLD };
/* Ids of cases whose timer or notice is due at that time, or whose events wait to be counted, earliest
 * first. */
enum dw_result dw_store_due(struct dw_store *store, enum dw_store_due which, dw_time now,
                            size_t limit, uint8_t (*ids)[16], size_t *count);

enum dw_result dw_store_record(struct dw_store *store, const char *collection, const char *key,
                               struct dw_buf *buf, struct dw_store_case *ret);
/* Calls for each record of the collection whose key begins with the prefix, in order of keys. */
typedef void dw_store_each(void *arg, const char *key, int64_t version, struct dw_slice doc);
enum dw_result dw_store_records(struct dw_store *store, const char *collection, const char *prefix,
                                dw_store_each *each, void *arg);

/* The last entry of a chain: seq 0 when there is none. */
enum dw_result dw_store_audit_last(struct dw_store *store, const char *chain, int64_t *seq,
                                   struct dw_buf *buf);
enum dw_result dw_store_audit_read(struct dw_store *store, const char *chain, int64_t from,
                                   size_t limit, dw_store_each *each, void *arg);

/* For people, and for showing how far something is: after a server has crashed perhaps not exact. */
struct dw_store_counts {
    int64_t cases, objects, receipts, references, audit, records;
};
enum dw_result dw_store_counts(struct dw_store *store, struct dw_store_counts *ret);
/* Walks all case ids in order; for checks. */
enum dw_result dw_store_each_case(struct dw_store *store, dw_store_each *each, void *arg);

/* A store may keep rows in the order they came, which dates them more finely than by the day.  This puts
 * some of them where their ids belong, a few milliseconds' work; `at` is where it goes on: 0 at first, and
 * again when all are in their places.  OK, RETRY. */
enum dw_result dw_store_tidy(struct dw_store *store, int64_t *at);

/* ---- everything there is, unopened: for copies and checks ---- */

enum dw_store_table {
    DW_TABLE_CASES,
    DW_TABLE_RECEIPTS,
    DW_TABLE_REFERENCES,
    DW_TABLE_OBJECTS,
    DW_TABLE_RECORDS,
    DW_TABLE_AUDIT,
    DW_TABLES
};
/* One document.  What a table does not use is zero and "". */
struct dw_store_entry {
    /* what it is found by */
    uint8_t id[16];   /* of a case or an object; the handle of a receipt */
    const char *name; /* a reference, a record's collection, an audit entry's chain */
    const char *key;  /* of a record */
    int64_t number;   /* part of an object, place in a chain */
    /* what it says */
    int64_t version;    /* of a case, of a record */
    uint8_t case_id[16]; /* of a receipt or a reference */
    struct dw_slice ix, doc; /* the index of a case; document or bytes */
};
/* False: that is enough for now. */
typedef bool dw_store_walker(void *arg, const struct dw_store_entry *entry);
/* The next entries, at most `limit`, behind the one with the keys of `after` (NULL: from the first), in
 * an order of the driver's own.  Nothing else is remembered, so that a walk can go on at any time. */
enum dw_result dw_store_walk(struct dw_store *store, enum dw_store_table table,
                             const struct dw_store_entry *after, size_t limit,
                             dw_store_walker *walker, void *arg);

/* Records of this collection are about the store itself: with the key "progress" it is an unfinished
 * copy.  See copy.h. */
#define DW_STORE_COPY     "copy"
#define DW_STORE_PROGRESS "progress"

#endif
