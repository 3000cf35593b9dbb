/* queue_private.h - what the queue's files share.
 *
 * queue.c takes operations, commits them together and reports; queue_steps.c does each of them inside
 * the transaction, queue_asked.c those of requests whose reply is kept, queue_sweep.c what goes by
 * itself, queue_adopt.c takes what another broker left behind; queue_room.c says how much may wait;
 * queue_admin.c answers `dengwen queue`; queue_open.c opens and recovers the file, queue_file.c has its
 * statements and looks after its disk; queue_index.c finds rows by their random names, queue_seen.c
 * remembers senders' keys. */
#ifndef DW_QUEUE_PRIVATE_H
#define DW_QUEUE_PRIVATE_H

#include "dw/checkpoint.h"
#include "dw/process.h"
#include "dw/queue.h"

#include <pthread.h>
#include <sqlite3.h>

/* BEHIND: another of the same service and key is in front of it.  Of those that are not dead exactly
 * one is not BEHIND, and when it goes the one that was put first takes its place: so what may be
 * claimed is found without looking at what may not, however many of them there are. */
enum state { READY = 0, LEASED = 1, DELAYED = 2, DEAD = 3, BEHIND = 4, STATES };
/* The words of a partial index, as a statement must say them to use it. */
#define KEYED "handle <> x'00000000000000000000000000000000'"

/* Whose an item is: of our own intake; a request of somebody else's program, or an item of one. */
enum origin { OWN = 0, ASKED = 1, PUT_BY_GUEST = 2 };

enum statement {
    Q_BEGIN, Q_COMMIT, Q_ROLLBACK,
    Q_PART, Q_OPEN, Q_PARTS_OF, Q_FORGET_PARTS, Q_FORGET_OPEN,
    Q_IS, Q_KEY, Q_SEEN, Q_SEE, Q_SEE_AGAIN, Q_NUMBERED,
    Q_ITEM, Q_STATE, Q_INSERT, Q_NEXT_OF_KEY, Q_PENDING,
    Q_WAKE, Q_WAKE_FAR, Q_NEXT, Q_LEASE, Q_NEXT_AT, Q_READ,
    Q_ASKED, Q_ANSWER, Q_ANSWERED, Q_FORGET_ANSWER, Q_OLD_ITEMS, Q_OLD_ANSWERS, Q_OLD_PUT, Q_EXPIRE,
    Q_HELD, Q_DELETE, Q_LATER, Q_ADOPTED, Q_OLD_OPEN, Q_OLD_SEEN, Q_OLDEST_SEEN,
    Q_OLDEST, Q_LIST, Q_LIST_STATE, /* and one for each state */
    Q_SHOW = Q_LIST_STATE + STATES, Q_RETRY, Q_FREE_PAGES, Q_SHRINK, Q_COUNT
};

struct totals {
    int64_t last_row; /* the number of the item that came last */
    int64_t numbered; /* and up to here numbers may be given without a word in the file */
    int64_t items, bytes, open_bytes, seen;
    int64_t states[STATES];
    int64_t done; /* since the start */
    int64_t oldest; /* what was put before this one is dead or gone: nobody walks over it twice */
    int64_t guest_items, guest_bytes; /* with the replies that are kept */
};

/* What a row may be looked for by: an item by its id; the one in front of its key, by its handle; what
 * is remembered of a sender, by the sender's key. */
enum name { BY_ID, BY_HANDLE, BY_TOK, INDEXES };
struct slot {
    uint64_t tag;
    int64_t row;
};
struct index {
    struct slot *slots;
    size_t room, used; /* room: a power of two */
};
struct index_change {
    enum name which;
    bool added;
    uint64_t tag;
    int64_t row;
};
struct index_walk {
    const struct index *index;
    uint64_t tag;
    size_t at;
};

/* What left the queue lately, in a window of time and the one before. */
struct drain {
    dw_time began;
    int64_t items, bytes;
    int64_t before_items, before_bytes, before_ms;
};

struct dw_queue {
    const struct dw_config *config;
    char *path;
    sqlite3 *db;
    sqlite3_stmt *statements[Q_COUNT];
    struct totals totals;
    struct index indexes[INDEXES];
    uint8_t index_key[16];
    struct index_change *changes; /* of the running transaction */
    size_t changes_count, changes_room;
    struct drain drain;
    struct dw_histogram commit_time, batch_size;
    int64_t told_at; /* monotonic: when the gauges were last brought up to date */
    int64_t free_checked_at;
    bool disk_low;
    int reserve_fd; /* -1 without one */
    bool reserve_held;
    bool failed; /* an error inside the running transaction: nothing of it counts */
    bool full;   /* that error was a full disk */
    int64_t log_pages; /* a commit that leaves more of them moves the log itself */
    int64_t log_woken; /* how many there were when the checkpointer was last woken */
    bool log_failed;   /* moving it met an I/O error */

    bool threads;
    pthread_t writer;
    struct dw_checkpointer *checkpointer;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct dw_queue_op *submitted, **submitted_end;
    struct dw_queue_op *finished, **finished_end;
    bool stopping;
    int fd;
};

/* ---- queue_open.c ---- */

void q_close_file(struct dw_queue *q);

/* ---- queue_file.c ---- */

extern const char *const q_sql[Q_COUNT];

/* Nobody knows what is on disk after an I/O error, so it ends the process; the next start recovers. */
_Noreturn void q_io_failed(struct dw_queue *q, const char *what);
/* A row or SQLITE_DONE; any other error marks the transaction as failed. */
int q_step(struct dw_queue *q, sqlite3_stmt *s);
sqlite3_stmt *q_use(struct dw_queue *q, enum statement which); /* without bindings */
void q_run(struct dw_queue *q, sqlite3_stmt *s);               /* to its end */
void q_blob(sqlite3_stmt *s, int at, const void *data, size_t len);
void q_number(sqlite3_stmt *s, int at, int64_t v);
/* Of a row.  A field that is not as we wrote it: the file is damaged, which ends the process. */
void q_take(struct dw_queue *q, sqlite3_stmt *s, int column, void *out, size_t len);
/* The next two end the process as well when there is no memory for what they return. */
struct dw_slice q_bytes(sqlite3_stmt *s, int column); /* until the next step */
const char *q_text(sqlite3_stmt *s, int column); /* never NULL */

bool q_disk_is_low(struct dw_queue *q);
void q_hold_reserve(struct dw_queue *q);
/* False when there was none to give up. */
bool q_give_up_reserve(struct dw_queue *q);

/* ---- queue_index.c ---- */

void q_index_open(struct dw_queue *q);
void q_index_close(struct dw_queue *q);
/* What the file has already; the others belong to the running transaction. */
void q_index_load(struct dw_queue *q, enum name which, const void *name, size_t len, int64_t row);
void q_index_add(struct dw_queue *q, enum name which, const void *name, size_t len, int64_t row);
void q_index_take(struct dw_queue *q, enum name which, const void *name, size_t len, int64_t row);
void q_index_commit(struct dw_queue *q);
void q_index_rollback(struct dw_queue *q);
/* The rows that may have the name, until 0.  Nothing is added or taken meanwhile. */
struct index_walk q_index_walk(const struct dw_queue *q, enum name which, const void *name,
                               size_t len);
int64_t q_index_next(struct index_walk *walk);
/* The row that has the name, and with `service` belongs to it; 0 for none.  Its statement (Q_IS, Q_KEY,
 * Q_SEEN) stands on it then, to be read and reset. */
int64_t q_find(struct dw_queue *q, enum name which, const void *name, size_t len,
               const char *service, sqlite3_stmt **ret);
/* The row of an item; 0 for none. */
int64_t q_row_of(struct dw_queue *q, const uint8_t id[DW_ID_LEN]);
/* The one that is in front of that key, of a service or (NULL) of any; 0 for none. */
int64_t q_front_of(struct dw_queue *q, const uint8_t handle[DW_ID_LEN], const char *service,
                   dw_day *day);

/* ---- queue_seen.c ---- */

enum seen { NEVER, SAME_PAYLOAD, OTHER_PAYLOAD };
enum seen q_seen(struct dw_queue *q, const struct dw_item_header *h);
void q_remember_seen(struct dw_queue *q, const struct dw_item_header *h, dw_time now);
/* The row that remembers it, 0 for none; and to remember it, in the place of what was. */
int64_t q_seen_row(struct dw_queue *q, const uint8_t *tok, size_t len, uint8_t fp[DW_FP_LEN]);
void q_see(struct dw_queue *q, const uint8_t *tok, size_t len, const uint8_t fp[DW_FP_LEN],
           dw_time until);

/* ---- queue_steps.c ---- */

void q_do(struct dw_queue *q, struct dw_queue_op *op);
bool q_refuse_full(struct dw_queue_op *op); /* 503; true */
/* May tell `op` that another item of the same key is ready now. */
void q_delete_item(struct dw_queue *q, struct dw_queue_op *op, const uint8_t id[DW_ID_LEN],
                   const uint8_t attempt[DW_ID_LEN], int64_t bytes);
bool q_is_behind(struct dw_queue *q, const struct dw_item_header *h);
void q_moved(struct dw_queue *q, enum state from, enum state to, int64_t count);
/* The row is not in front of its key any more: it is dead or gone. */
void q_left_front(struct dw_queue *q, struct dw_queue_op *op, const void *handle,
                  const char *service, int64_t row);
/* `klass` and what else the header says, the frames of `op`. */
enum state q_insert(struct dw_queue *q, struct dw_queue_op *op, const struct dw_item_header *h,
                    int64_t bytes, enum origin origin, dw_time expires);
bool q_is_here(struct dw_queue *q, struct dw_queue_op *op);
bool q_parts_complete(struct dw_queue *q, const struct dw_item_header *h, int64_t *bytes);
void q_close_attempt(struct dw_queue *q, const uint8_t attempt[DW_ID_LEN]);
dw_time q_guest_end(const struct dw_queue *q, dw_time now);
bool q_held(struct dw_queue *q, struct dw_queue_op *op, uint8_t attempt[DW_ID_LEN], int64_t *bytes,
            int64_t *attempts);
void q_later(struct dw_queue *q, struct dw_queue_op *op, bool never);
void q_forget_attempt(struct dw_queue *q, const uint8_t attempt[DW_ID_LEN]);
void q_pack(const struct dw_frames *frames, struct dw_buf *out);
bool q_unpack(const void *data, size_t len, struct dw_frames *ret);

/* ---- queue_room.c ---- */

/* Else `op` is refused with a time. */
bool q_has_room(struct dw_queue *q, struct dw_queue_op *op, int64_t bytes, bool guest, bool bulk);
/* So much has left: from this the times are told. */
void q_drained(struct dw_queue *q, dw_time now, int64_t items, int64_t bytes);

/* ---- queue_asked.c, queue_sweep.c, queue_adopt.c ---- */

void q_ask(struct dw_queue *q, struct dw_queue_op *op);
void q_reply(struct dw_queue *q, struct dw_queue_op *op);
void q_fetch(struct dw_queue *q, struct dw_queue_op *op);
void q_forget(struct dw_queue *q, struct dw_queue_op *op);
void q_forget_answer(struct dw_queue *q, dw_time now, const uint8_t id[DW_ID_LEN]);
void q_keep_answer(struct dw_queue *q, const uint8_t id[DW_ID_LEN], const struct dw_frames *frames,
                   dw_time until);
void q_adopt(struct dw_queue *q, struct dw_queue_op *op);
void q_sweep(struct dw_queue *q, struct dw_queue_op *op);

/* ---- queue_admin.c ---- */

void q_admin(struct dw_queue *q, struct dw_queue_op *op);
void q_count_from_zero(struct dw_queue *q);
/* Brings the gauges up to date, once a second. */
void q_tell(struct dw_queue *q, dw_time now);

#endif
