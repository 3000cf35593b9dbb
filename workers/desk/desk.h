/* desk.h - the staff portal: holds, in locked memory and only while they are logged in, the keys of
 * members; opens cases with them and signs their commands with them.  Never touches the store. */
#ifndef DW_DESK_H
#define DW_DESK_H

#include "dw/gate.h"
#include "dw/http.h"
#include "dw/process.h"
#include "dw/services.h"
#include "dw/wire.h"

#include <pthread.h>

enum { DESK_TOKEN_LEN = 32, DESK_ARENA_MAX = 64 * 1024 * 1024 };

struct desk {
    struct dw_process process;
    const struct dw_config *config;
    struct dw_directory_watch *directory;
    struct dw_bus *bus;
    struct dw_calendar *calendar;
    struct dw_rules *rules;
    struct dw_catalogue *catalogue;
    struct dw_routing *routing;
    struct dw_http *http;
    struct sessions *sessions;
    struct dw_http_rate logins;
    struct dw_gate kdf; /* password work */
    dw_metric *m_logins, *m_refused, *m_commands, *m_opened;
};

/* A member at work: everything of one request, freed with it. */
struct signed_in {
    struct desk *desk;
    struct dw_http_request *request;
    struct dw_arena arena;
    struct dw_member member;
    struct dw_member_keys *keys; /* locked */
    struct dw_signer signer;
    int64_t expires;
};

/* ---- sessions.c ---- */

struct sessions *sessions_new(int64_t max, int64_t idle_ms, int64_t longest_ms);
void sessions_free(struct sessions *s);
/* Keeps the keys sealed under a fresh token, which only the client will have. False: too many. */
bool session_open(struct sessions *s, const struct dw_member *member,
                  const struct dw_member_keys *keys, char token[DW_BASE64_LEN(DESK_TOKEN_LEN)],
                  int64_t *expires);
/* Opens the keys with the token for one request. */
bool session_use(struct sessions *s, const char *token, struct signed_in *ret);
/* Replaces the keys, after an epoch was added. */
bool session_update(struct sessions *s, const char *token, const struct dw_member_keys *keys);
bool session_close(struct sessions *s, const char *token);
void sessions_sweep(struct sessions *s);

/* ---- who.c ---- */

/* The member behind the Authorization header; answers 401 and returns false for nobody. */
bool who_begin(struct desk *desk, struct dw_http_request *request, struct signed_in *ret);
void who_end(struct signed_in *who);

/* ---- call.c ---- */

struct reply {
    enum dw_result result;
    struct dw_bus_answer answer;
    int status; /* 200, or what to tell */
    struct dw_error error;
    struct dw_unpack objects; /* behind the document that reply_decode() read */
};
void reply_free(struct reply *reply);
/* An unsigned call: params, login, invited, enrol. */
void call_plain(struct desk *desk, const char *method, const struct dw_layout *layout,
                const void *in, struct reply *ret);
/* Signed with the member's key; `request` has the fields the method wants, user and time are filled
 * in. Further frames follow the seal. */
void call_signed(struct signed_in *who, const char *method, struct dw_desk_request *request,
                 const struct dw_slice *more, size_t count, struct reply *ret);
bool reply_decode(struct reply *reply, struct dw_arena *arena, const struct dw_layout *layout,
                  void *ret);
/* Gives the error of a reply to the client. */
void reply_refuse(struct dw_http_request *request, const struct reply *reply);

/* ---- login.c ---- */

void api_login(void *app, struct dw_http_request *request);
void api_logout(void *app, struct dw_http_request *request);
void api_enrol(void *app, struct dw_http_request *request);

/* ---- keys.c ---- */

/* After a login: makes the keys of the body when two members are there and none exists, and seals
 * those this member holds to colleagues who lack them. */
void share_keys(struct signed_in *who, const char *token);

/* ---- open.c: a case with its parts opened ---- */

struct opened_root {
    int32_t kind, epoch;
    uint8_t root[DW_ROOT_LEN];
};
struct opened {
    struct dw_case_view view;
    struct opened_root *roots; /* locked */
    size_t roots_count;
    json_t *report;               /* the sealed text, opened; NULL when it could not be */
    struct dw_manifest manifest;  /* files */
    struct opened_line {
        const struct dw_line *line;
        const struct dw_object_ref *ref;
        const char *text; /* NULL when it could not be opened */
    } *texts;
    size_t texts_count;
};
/* Reads and opens; answers the error and returns false when the member may not. */
bool case_open(struct signed_in *who, const char *reference, struct opened *ret);
void case_close(struct opened *opened);
const uint8_t *opened_root(const struct opened *opened, int32_t kind, int32_t epoch);
int32_t newest_epoch(const struct opened *opened, int32_t kind);
json_t *case_json(struct signed_in *who, const struct opened *opened);

void api_cases(void *app, struct dw_http_request *request);
void api_case(void *app, struct dw_http_request *request);
void api_file(void *app, struct dw_http_request *request);
void api_commands(void *app, struct dw_http_request *request);
void api_statistics(void *app, struct dw_http_request *request);
void page_desk(void *app, struct dw_http_request *request);

json_t *day_json(dw_day day);

#endif
