/* adopt.h - taking over the queue file of a broker that never comes back.
 * Sources: broker/adopt.c, broker/adoption.c, broker/queue_adopt.c
 *
 * `dengwen queue adopt FILE` opens the file itself, under the lock of its folder, and gives each of its
 * rows to a running broker (queue.adopt); only when they are on that broker's disk it deletes them from
 * FILE.  It may be killed at any moment and run again: the broker knows the ids of what it has
 * adopted as long as it knows keys (queue.seen_hours), whatever has become of it since.
 *
 * Items come first and in their order, then kept replies, then the keys that were seen: those belong
 * to items that are done.  What was leased or delayed is ready again; attempts and days are kept, and
 * dead letters stay dead.  Uploads that were never closed were never acknowledged, and stay behind. */
#ifndef DW_ADOPT_H
#define DW_ADOPT_H

#include "dw/queue.h"

enum dw_left_kind { DW_LEFT_ITEM, DW_LEFT_REPLY, DW_LEFT_SEEN, DW_LEFT_KINDS };

/* A row that is left behind; `id` is the key of one that was seen. */
struct dw_left {
    enum dw_left_kind kind;
    uint8_t id[DW_ID_LEN], attempt[DW_ID_LEN], handle[DW_ID_LEN];
    uint8_t fp[DW_FP_LEN];
    uint8_t klass, origin;
    bool dead;
    uint32_t parts, attempts;
    dw_day day;
    dw_time created, until; /* until: when it expires, or is forgotten; 0 for never */
    char service[DW_SERVICE_MAX + 1];
    char reason[64];
    uint32_t body_frames; /* so many frames behind it are its body, cut where it suits */
};
void dw_left_encode(const struct dw_left *left, struct dw_buf *out);
bool dw_left_decode(struct dw_slice bytes, struct dw_left *ret);

struct dw_source;
/* Refuses a file that is missing, damaged, newer or none of ours, and one whose folder another
 * process has locked. */
enum dw_result dw_source_open(const char *file, const struct dw_config *config,
                              struct dw_source **ret, struct dw_error *err);
/* The same without looking for the file and locking its folder; for simulators, whose files are
 * nowhere else. */
enum dw_result dw_source_open_still(const char *file, const struct dw_config *config,
                                    struct dw_source **ret, struct dw_error *err);
void dw_source_close(struct dw_source *source);
int64_t dw_source_count(struct dw_source *source, enum dw_left_kind kind);
int64_t dw_source_unfinished(struct dw_source *source); /* uploads */

/* The next row and its body; false when there is none.  dw_source_again() begins at the first of
 * those that are still there. */
bool dw_source_next(struct dw_source *source, struct dw_left *ret, struct dw_buf *body);
void dw_source_again(struct dw_source *source);
bool dw_source_part(struct dw_source *source, const uint8_t attempt[DW_ID_LEN], uint32_t n,
                    struct dw_buf *ret);
/* Deletes rows that somebody else has on disk, in one transaction. */
enum dw_result dw_source_taken(struct dw_source *source, const struct dw_left *rows, size_t count,
                               struct dw_error *err);

/* ---- the taking over, as one question after the other ----
 *
 * Whoever carries it out sends each question as a call of queue.adopt and tells the answer; it may stop
 * after any of them, and begin again from the file. */
struct dw_adoption;
/* Borrows the source.  Bodies are cut into frames of at most so many bytes. */
struct dw_adoption *dw_adoption_new(struct dw_source *source, size_t frame_bytes);
void dw_adoption_free(struct dw_adoption *adoption);

enum { DW_ADOPTION_FRAMES = 57 };
enum dw_adoption_state { DW_ADOPTION_ASKS, DW_ADOPTION_DONE, DW_ADOPTION_FAILED };
/* The question, which stays the same until it is answered. */
enum dw_adoption_state dw_adoption_question(struct dw_adoption *adoption,
                                            struct dw_slice payload[DW_ADOPTION_FRAMES],
                                            size_t *count);
/* Status of the answer, and its number where it has one.  503: the question is to be asked again. */
void dw_adoption_answered(struct dw_adoption *adoption, int status, uint32_t number);

int64_t dw_adoption_taken(const struct dw_adoption *adoption, enum dw_left_kind kind);
/* Rows that stay in the file: they need more frames than a question has. */
int64_t dw_adoption_too_large(const struct dw_adoption *adoption);
/* Of one that failed: what its program ends with, and why. */
int dw_adoption_code(const struct dw_adoption *adoption, const char **why);

#endif
