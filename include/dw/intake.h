/* intake.h - what web, phone and e-mail share.  Sources: workers/intake/
 *
 * Takes a checked filing, seals it, puts it into the queue and gives the receipt; opens for a
 * reporter with a receipt what the reporter may read.  Plaintext and keys live in the caller's
 * request and in locked memory, and are wiped when it ends.  Holds no key that opens anybody's case.
 *
 * All functions block and may be called from several threads. */
#ifndef DW_INTAKE_H
#define DW_INTAKE_H

#include "dw/config.h"
#include "dw/filing.h"
#include "dw/receipt.h"
#include "dw/rule.h"
#include "dw/services.h"

struct dw_intake;
/* `role`: "web", "phone" or "email": its state folder holds curve.key, sign.key and intake.key. */
enum dw_result dw_intake_new(const struct dw_config *config, const char *role,
                             struct dw_intake **ret, struct dw_error *err);
void dw_intake_free(struct dw_intake *intake);
/* Every second: the directory, and whether keyd and a broker answer.  NULL when all is well, else
 * what is away. */
const char *dw_intake_tick(struct dw_intake *intake);

const struct dw_catalogue *dw_intake_catalogue(const struct dw_intake *intake);
const struct dw_routing *dw_intake_routing(const struct dw_intake *intake);
const struct dw_rules *dw_intake_rules(const struct dw_intake *intake);
const struct dw_calendar *dw_intake_calendar(const struct dw_intake *intake);

/* ---- files, sealed while they arrive ---- */

struct dw_upload;
/* `more` is called, from another thread, when less is on the way than dw_upload_is_full() allows. */
struct dw_upload *dw_upload_new(struct dw_intake *intake, void (*more)(void *arg), void *arg);
bool dw_upload_begin(struct dw_upload *upload, const char *name, const char *type);
void dw_upload_data(struct dw_upload *upload, const void *data, size_t len);
void dw_upload_end_file(struct dw_upload *upload);
size_t dw_upload_files(const struct dw_upload *upload);
int64_t dw_upload_file_size(const struct dw_upload *upload); /* of the file being received */
int64_t dw_upload_size(const struct dw_upload *upload);      /* of all */
bool dw_upload_is_full(struct dw_upload *upload);
/* No `more` is called after this; what arrived and was not submitted is forgotten by the queue. */
void dw_upload_free(struct dw_upload *upload);

/* ---- filing ---- */

struct dw_submitted {
    int status; /* 202; 422 same key with another payload; 503 with retry_seconds */
    char receipt[DW_RECEIPT_DIGITS + 1];
    dw_day day;
    int retry_seconds;
    const char *why; /* of a 503: for the log, nothing personal */
};
void dw_intake_submit(struct dw_intake *intake, const struct dw_filing *filing,
                      const char *idempotency_key, struct dw_upload *upload,
                      struct dw_submitted *ret);

/* ---- following ---- */

struct dw_message {
    bool from_reporter;
    const char *kind; /* of the event */
    dw_day day;
    const char *text; /* NULL when it could not be opened: never silently */
};
struct dw_followed {
    int status; /* 200; 404; 503 */
    bool pending; /* received, not yet stored: only `day` is known */
    dw_day day;
    struct dw_status_view view;
    struct dw_message *messages;
    size_t messages_count;
    struct dw_arena arena; /* holds all texts */
};
void dw_intake_follow(struct dw_intake *intake, const char digits[DW_RECEIPT_DIGITS + 1],
                      struct dw_followed *ret);
void dw_followed_free(struct dw_followed *followed);

struct dw_said_result {
    int status; /* 200; 404; 409; 422; 429; 503 */
    struct dw_error error;
    char state[32];
};
/* "message" or "withdraw"; text may be "" for withdraw. */
void dw_intake_say(struct dw_intake *intake, const char digits[DW_RECEIPT_DIGITS + 1],
                   const char *command, const char *text, const char *idempotency_key,
                   struct dw_said_result *ret);

#endif
