/* login.c - enrolment, login, logout.
 *
 * The password stays in this process and is gone with the request.  Argon2id runs on the pool's
 * threads, two at once; a few more wait, the rest are told to come back. */
#include "desk.h"

#include "dw/log.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { PASSWORD_MIN_CHARS = 10, PASSWORD_MAX = 512 };

/* ---- reading ---- */

static void name_unknown(struct dw_http_request *request, json_t *json, const char *const *names,
                         size_t count)
{
    char unknown[64];
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value)
    {
        size_t i = 0;
        while (i < count && strcmp(names[i], key) != 0)
            i++;
        if (i < count)
            continue;
        dw_http_problem(request, 422, dw_printable(unknown, sizeof unknown, key, strlen(key)),
                        "unknown field");
        return;
    }
}

/* The named texts of a JSON object; anything else in it is refused. */
static json_t *read_texts(struct dw_http_request *request, const char *const *names,
                          const char **values, size_t count)
{
    json_t *json = dw_http_json_body(request);
    size_t found = 0;
    for (size_t i = 0; json && i < count; i++) {
        values[i] = json_string_value(json_object_get(json, names[i]));
        found += values[i] != NULL;
        if (!values[i] || strlen(values[i]) > PASSWORD_MAX) {
            dw_http_problem(request, 422, names[i], "expected a text");
            json_decref(json);
            return NULL;
        }
    }
    if (json && json_object_size(json) != found) {
        name_unknown(request, json, names, count);
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *texts_of(const char *const *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(items[i]));
    return list;
}

/* ---- starting a session ---- */

static void begin_session(struct desk *desk, struct dw_http_request *request,
                          const struct dw_member *member, struct dw_member_keys *keys)
{
    char token[DW_BASE64_LEN(DESK_TOKEN_LEN)], until[DW_TIME_TEXT];
    int64_t expires;
    struct signed_in who = {.desk = desk, .request = request, .member = *member, .keys = keys};
    if (!session_open(desk->sessions, member, keys, token, &expires)) {
        dw_http_set_header(request, "Retry-After", "60");
        dw_http_problem(request, 503, "", "as many members are logged in as may be");
        return;
    }
    dw_arena_init(&who.arena, DESK_ARENA_MAX);
    dw_signer_init(&who.signer, keys->sign_seed);
    share_keys(&who, token);
    dw_signer_free(&who.signer);
    dw_arena_free(&who.arena);
    (*desk->m_logins)++;
    const struct dw_body *body = dw_body_find(desk->routing, member->body);
    dw_http_json(request, 200,
                 json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "token", token, "user",
                           member->user, "name", member->name, "body", member->body, "body_name",
                           body ? body->zh : member->body, "roles",
                           texts_of(member->roles, member->roles_count), "expires",
                           dw_time_format(expires, until)));
    sodium_memzero(token, sizeof token);
}

static void refuse_login(struct desk *desk, struct dw_http_request *request)
{
    (*desk->m_refused)++;
    dw_http_problem(request, 403, "user", "user or password is wrong");
}

/* After too many failures the wait grows; it is this long at least. */
static void refuse_or_slow_down(struct desk *desk, struct dw_http_request *request,
                                const struct reply *reply)
{
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)desk->config->cases.login_wait_seconds);
    if (reply->status == 429)
        dw_http_set_header(request, "Retry-After", seconds);
    reply_refuse(request, reply);
}

/* From the password to the member's keys; answers what went wrong. */
static bool unlock(struct desk *desk, struct dw_http_request *request, const char *user,
                   const char *password, struct dw_arena *arena, struct dw_member *member,
                   struct dw_member_keys *keys)
{
    struct dw_ask_user ask = {user};
    struct dw_ask_login login = {.user = user};
    struct dw_kdf_params params;
    struct dw_login_view view;
    struct reply reply;
    uint8_t wrap_key[32];
    call_plain(desk, "params", &dw_ask_user_layout, &ask, &reply);
    bool good = reply_decode(&reply, arena, &dw_kdf_params_layout, &params);
    if (!good)
        reply_refuse(request, &reply);
    reply_free(&reply);
    if (!good)
        return false;
    if (!dw_gate_enter(&desk->kdf)) {
        dw_http_set_header(request, "Retry-After", "2");
        dw_http_problem(request, 503, "", "too many logins at once; try again");
        return false;
    }
    good = params.memory_mib >= 8 && params.memory_mib <= 4096 && params.operations >= 1 &&
           dw_password_stretch(password, params.salt, params.operations, params.memory_mib,
                               wrap_key, login.proof);
    dw_gate_leave(&desk->kdf);
    if (!good) {
        dw_http_problem(request, 503, "", "no memory to check the password");
        return false;
    }
    call_plain(desk, "login", &dw_ask_login_layout, &login, &reply);
    sodium_memzero(login.proof, sizeof login.proof);
    good = reply_decode(&reply, arena, &dw_login_view_layout, &view);
    if (!good && reply.status == 403)
        refuse_login(desk, request);
    else if (!good)
        refuse_or_slow_down(desk, request, &reply);
    if (good && dw_member_unwrap(&view.member, wrap_key, keys) != DW_OK) {
        refuse_login(desk, request);
        good = false;
    }
    sodium_memzero(wrap_key, sizeof wrap_key);
    for (size_t i = 0; good && i < view.epochs_count; i++)
        dw_epoch_open(&view.epochs[i], &view.member, keys);
    if (good)
        *member = view.member;
    reply_free(&reply);
    return good;
}

void api_login(void *app, struct dw_http_request *request)
{
    static const char *const names[] = {"user", "password"};
    struct desk *desk = app;
    const char *values[2];
    struct dw_member member;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, DESK_ARENA_MAX);
    json_t *json = read_texts(request, names, values, 2);
    if (!json)
        return;
    struct dw_member_keys *keys = dw_member_keys_new();
    if (!keys)
        dw_http_problem(request, 503, "", "no locked memory for keys");
    else if (unlock(desk, request, values[0], values[1], &arena, &member, keys))
        begin_session(desk, request, &member, keys);
    dw_member_keys_free(keys);
    json_decref(json);
}

void api_logout(void *app, struct dw_http_request *request)
{
    struct desk *desk = app;
    const char *header = dw_http_header(request, "Authorization");
    if (header && strncmp(header, "Bearer ", 7) == 0 &&
        session_close(desk->sessions, header + 7)) {
        dw_http_set_header(request, "Clear-Site-Data", "\"cache\", \"cookies\", \"storage\"");
        dw_http_empty(request, 204);
    } else {
        dw_http_set_header(request, "WWW-Authenticate", "Bearer");
        dw_http_problem(request, 401, "Authorization", "there is no such session");
    }
}

/* ---- enrolment ---- */

static bool password_is_fair(struct dw_http_request *request, const char *user,
                             const char *password)
{
    size_t chars = dw_text_chars(password, strlen(password));
    if (chars >= PASSWORD_MIN_CHARS && !strstr(password, user))
        return true;
    dw_http_problem(request, 422, "password",
                    "expected at least 10 characters that do not contain the user name");
    return false;
}

static bool enrol(struct desk *desk, struct dw_http_request *request, const char *const *values,
                  struct dw_arena *arena, struct dw_member *member, struct dw_member_keys *keys)
{
    struct dw_ask_user ask = {values[0]};
    struct dw_error err = {0};
    struct reply reply;
    call_plain(desk, "invited", &dw_ask_user_layout, &ask, &reply);
    bool good = reply_decode(&reply, arena, &dw_member_public_layout, member);
    bool unknown = reply.status == 404;
    if (!good && !unknown)
        reply_refuse(request, &reply);
    reply_free(&reply);
    if (!good && !unknown)
        return false;
    if (!dw_gate_enter(&desk->kdf)) {
        dw_http_set_header(request, "Retry-After", "2");
        dw_http_problem(request, 503, "", "too many logins at once; try again");
        return false;
    }
    good = !unknown && dw_member_enrol(member, values[1], values[2],
                                       (int32_t)desk->config->desk.kdf_operations,
                                       (int32_t)desk->config->desk.kdf_memory_mib, keys,
                                       &err) == DW_OK;
    dw_gate_leave(&desk->kdf);
    if (!good) { /* the same answer for a user nobody invited */
        dw_http_problem(request, 403, "code", "the one-time code is not the one for this user");
        return false;
    }
    call_plain(desk, "enrol", &dw_member_layout, member, &reply);
    good = reply.status == 200;
    if (!good)
        reply_refuse(request, &reply);
    reply_free(&reply);
    return good;
}

void api_enrol(void *app, struct dw_http_request *request)
{
    static const char *const names[] = {"user", "code", "password"};
    struct desk *desk = app;
    const char *values[3];
    struct dw_member member;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, DESK_ARENA_MAX);
    json_t *json = read_texts(request, names, values, 3);
    if (!json)
        return;
    struct dw_member_keys *keys = dw_member_keys_new();
    if (!keys)
        dw_http_problem(request, 503, "", "no locked memory for keys");
    else if (password_is_fair(request, values[0], values[2]) &&
             enrol(desk, request, values, &arena, &member, keys))
        begin_session(desk, request, &member, keys);
    dw_member_keys_free(keys);
    json_decref(json);
}
