/* web.h - the public portal: pages without script, and the JSON API; one thing in two forms.
 *
 * Holds no key that opens anybody's case; what a reporter may read is opened with the receipt that
 * came with the request and forgotten with it. */
#ifndef DW_WEB_H
#define DW_WEB_H

#include "dw/http.h"
#include "dw/intake.h"
#include "dw/process.h"
#include "dw/template.h"

struct web {
    struct dw_process process;
    const struct dw_config *config;
    struct dw_intake *intake;
    struct dw_templates *templates;
    struct dw_http *http;
    struct file_types *types;
    struct dw_http_rate filings, lookups, messages;
    dw_metric *m_accepted, *m_refused, *m_unavailable;
};

/* ---- upload.c: files of a filing, checked and sealed while they arrive ---- */

extern const struct dw_http_upload web_upload;
/* Of the request's upload, what the intake wants; NULL when no file came. */
struct dw_upload *web_upload_files(void *upload);
/* A part named "filing" that came as a file; empty when none did. */
struct dw_slice web_upload_filing(void *upload);

/* ---- types.c: is a file what its name says ---- */

struct file_types *file_types_new(void); /* NULL: libmagic has no database */
void file_types_free(struct file_types *types);
/* The media type of the first bytes if it goes with the name's ending and is allowed, else NULL.
 * Belongs to one thread. */
const char *file_types_check(struct file_types *types, const char *name, const void *head,
                             size_t len);
/* ".pdf, .jpg, ..." for people and for the form's accept attribute. */
const char *file_types_list(void);

/* ---- submit.c: one filing from any of the forms it comes in ---- */

/* What was wrong with the files of a form.  The API refuses such a request at once; a page takes in
 * the rest of it, so that nothing typed is lost, and then says so. */
struct web_file_problem {
    int status;
    bool of_one;        /* file, whose name is worth telling */
    const char *detail; /* for the API */
    const char *zh, *en;
};
/* NULL when nothing was; *ret_name is the file's, or "". */
const struct web_file_problem *web_upload_problem(void *upload, const char **ret_name);

struct submission {
    int status; /* 202, or 400, 422, 503 */
    struct dw_problems problems;
    struct dw_submitted done;
    const char *detail; /* of an error without problems */
    const char *field;
};
/* Is it the form for people, with a field for each answer, and no call of the API? */
bool web_is_page(const struct dw_http_request *request);
/* The request's JSON, or the fields of the page; Idempotency-Key from `key`. */
void web_submit(struct web *web, struct dw_http_request *request, const char *key,
                struct submission *ret);
/* Fields of the form as the JSON of the API; the caller owns it. */
json_t *web_form_to_json(const struct dw_http_request *request);

/* ---- view.c: how a case looks to its reporter ---- */

const char *web_language(const struct dw_http_request *request, const char *fallback);
json_t *web_status_json(struct web *web, const struct dw_followed *followed, const char *language);
/* What the current state means, in a sentence. */
const char *web_state_text(struct web *web, const char *state, const char *language);
/* Explains a due date; steps in the arena. False when its rule is unknown. */
bool web_due(struct web *web, const struct dw_clock *clock, struct dw_arena *arena,
             const struct dw_rule **rule, struct dw_due *due);
const char *web_portal_name(const struct web *web, const char *language);

/* ---- routes ---- */

void api_filings(void *app, struct dw_http_request *request);
void api_status(void *app, struct dw_http_request *request);
void api_messages(void *app, struct dw_http_request *request);
void api_withdraw(void *app, struct dw_http_request *request);
void api_catalogue(void *app, struct dw_http_request *request);
void page_start(void *app, struct dw_http_request *request);
void page_refused(void *app, struct dw_http_request *request, int status);
void page_privacy(void *app, struct dw_http_request *request);
void page_file(void *app, struct dw_http_request *request);
void page_filed(void *app, struct dw_http_request *request);
void page_follow(void *app, struct dw_http_request *request);
void page_followed(void *app, struct dw_http_request *request);
void page_style(void *app, struct dw_http_request *request);
void page_icon(void *app, struct dw_http_request *request);

#endif
