/* commands.c - a member's command: texts sealed, keys granted, everything signed with the member's own
 * key.  What the case worker is given, it could not have made itself. */
#include "desk.h"

#include "dw/log.h"

#include <sodium.h>
#include <string.h>

enum { OBJECTS_MAX = 2, ROOTS_MAX = 2, TEXT_MAX_CHARS = 5000 };

/* What the body of the request says. */
struct wish {
    json_t *json;
    const char *command, *text, *reason, *to, *outcome;
    json_int_t version;
    bool with_internal;
};

/* A command under construction. */
struct making {
    struct signed_in *who;
    const struct opened *o;
    const struct dw_directory *dir;
    struct dw_command command;
    struct dw_object_ref objects[OBJECTS_MAX];
    struct dw_buf bytes[OBJECTS_MAX];
    struct dw_root_ref roots[ROOTS_MAX];
    struct dw_grant *grants;
    struct opened_root *fresh; /* new root keys, locked */
    size_t fresh_count;
    int status;
    struct dw_error error;
};

static bool fail(struct making *m, int status, const char *field, const char *text)
{
    m->status = status;
    dw_error_set(&m->error, field, "%s", text);
    return false;
}

/* ---- reading the wish ---- */

enum { CODE, NUMBER, TEXT, FLAG };
static const struct {
    const char *name;
    int kind;
    size_t max; /* bytes of a code */
} known[] = {{"command", CODE, 32}, {"version", NUMBER, 0}, {"text", TEXT, 0},
             {"reason", CODE, 96},  {"to", CODE, 96},       {"outcome", CODE, 32},
             {"with_internal", FLAG, 0}};

static bool is_text(const char *text, size_t len)
{
    return strspn(text, " \t\n") < len && dw_text_is_clean(text, len, "\n\t") &&
           dw_text_chars(text, len) <= TEXT_MAX_CHARS;
}

static bool fits(size_t i, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    switch (known[i].kind) {
    case NUMBER:
        return json_is_integer(value) && json_integer_value(value) >= 1 &&
               json_integer_value(value) <= INT32_MAX;
    case FLAG:
        return json_is_boolean(value);
    case TEXT:
        return json_is_null(value) || (text && (len == 0 || is_text(text, len)));
    default:
        return json_is_null(value) || (text && len <= known[i].max);
    }
}

static bool read_wish(struct dw_http_request *request, struct wish *w)
{
    const char *name, *wrong = NULL;
    char unknown[64];
    json_t *value;
    *w = (struct wish){.json = dw_http_json_body(request)};
    if (!w->json)
        return false;
    json_object_foreach(w->json, name, value)
    {
        size_t i = 0;
        while (i < DW_COUNT(known) && strcmp(known[i].name, name) != 0)
            i++;
        if (i == DW_COUNT(known))
            wrong = dw_printable(unknown, sizeof unknown, name, strlen(name));
        else if (!fits(i, value))
            wrong = known[i].name;
    }
    w->command = json_string_value(json_object_get(w->json, "command"));
    w->text = json_string_value(json_object_get(w->json, "text"));
    w->reason = json_string_value(json_object_get(w->json, "reason"));
    w->to = json_string_value(json_object_get(w->json, "to"));
    w->outcome = json_string_value(json_object_get(w->json, "outcome"));
    w->with_internal = json_is_true(json_object_get(w->json, "with_internal"));
    w->version = json_integer_value(json_object_get(w->json, "version"));
    if (!wrong && !w->command)
        wrong = "command";
    if (!wrong && !w->version)
        wrong = "version";
    if (wrong)
        dw_http_problem(request, 422, wrong,
                        "expected command, version, and what the command takes: text (at most 5000 "
                        "characters), reason, to, outcome, with_internal");
    return !wrong;
}

/* ---- keys ---- */

static const uint8_t *root_for(const struct making *m, int32_t kind, int32_t *epoch)
{
    for (size_t i = 0; i < m->fresh_count; i++)
        if (m->fresh[i].kind == kind) {
            *epoch = m->fresh[i].epoch;
            return m->fresh[i].root;
        }
    *epoch = newest_epoch(m->o, kind);
    return opened_root(m->o, kind, *epoch);
}

static bool grant(struct making *m, int32_t kind, int32_t epoch, const uint8_t *root,
                  enum dw_grantee to, const char *id)
{
    const struct dw_public_key *k = dw_directory_current(m->dir, to, id, m->command.day);
    if (!k)
        return fail(m, 422, "to", "this body has no key that counts today");
    dw_grant_seal(&m->grants[m->command.grants_count++], (enum dw_root_kind)kind, (uint32_t)epoch,
                  m->o->view.c.id, root, to, k->id, k->epoch, k->key);
    return true;
}

/* A new epoch of a root key, granted to the own body and escrow, and to the reporter when it is R. */
static bool make_root(struct making *m, int32_t kind)
{
    struct opened_root *r = &m->fresh[m->fresh_count++];
    r->kind = kind;
    r->epoch = newest_epoch(m->o, kind) + 1;
    randombytes_buf(r->root, sizeof r->root);
    struct dw_root_ref *ref = &m->roots[m->command.roots_count++];
    *ref = (struct dw_root_ref){.kind = kind, .epoch = r->epoch};
    dw_root_commitment(ref->commitment, r->root, (enum dw_root_kind)kind, (uint32_t)r->epoch,
                       m->o->view.c.id);
    if (!grant(m, kind, r->epoch, r->root, DW_TO_BODY, m->o->view.c.body) ||
        !grant(m, kind, r->epoch, r->root, DW_TO_ESCROW, ""))
        return false;
    if (kind == DW_ROOT_R)
        dw_grant_seal(&m->grants[m->command.grants_count++], DW_ROOT_R, (uint32_t)r->epoch,
                      m->o->view.c.id, r->root, DW_TO_REPORTER, "", 0, m->o->view.c.reporter);
    return true;
}

/* The receiver gets all that the reporter can read, and a new key for what comes; the internal notes
 * only when the sender chose so. */
static bool grant_receiver(struct making *m, const struct wish *w)
{
    const struct dw_body *to = w->to ? dw_body_find(m->who->desk->routing, w->to) : NULL;
    if (!to || !to->member)
        return true; /* outside: written to, not granted */
    if (!make_root(m, DW_ROOT_R))
        return false;
    int32_t epoch;
    const uint8_t *fresh = root_for(m, DW_ROOT_R, &epoch);
    if (!grant(m, DW_ROOT_R, epoch, fresh, DW_TO_BODY, to->id))
        return false;
    for (size_t i = 0; i < m->o->roots_count; i++) {
        const struct opened_root *r = &m->o->roots[i];
        bool goes = r->kind == DW_ROOT_R || (r->kind == DW_ROOT_I && w->with_internal);
        if (goes && !grant(m, r->kind, r->epoch, r->root, DW_TO_BODY, to->id))
            return false;
    }
    return true;
}

/* ---- texts ---- */

static bool seal_text(struct making *m, enum dw_object_type type, const char *text)
{
    int32_t kind = (int32_t)dw_object_root(type), epoch;
    const uint8_t *root = root_for(m, kind, &epoch);
    if (!root && kind == DW_ROOT_I) {
        if (!make_root(m, DW_ROOT_I))
            return false;
        root = root_for(m, kind, &epoch);
    }
    if (!root)
        return fail(m, 403, "text", "your session does not hold the key of this case");
    size_t i = m->command.objects_count;
    struct dw_object_header header = {.type = type, .epoch = (uint32_t)epoch,
                                      .sequence = (uint32_t)m->o->view.c.revision,
                                      .day = m->command.day};
    memcpy(header.case_id, m->o->view.c.id, 16);
    dw_object_id(header.object_id, header.case_id);
    dw_buf_init(&m->bytes[i], DW_OBJECT_MAX);
    if (!dw_envelope_seal(&header, root, &m->who->signer, dw_slice_of(text), &m->bytes[i]))
        return fail(m, 422, "text", "the text is too long to be sealed");
    struct dw_object_ref *ref = &m->objects[m->command.objects_count++];
    *ref = (struct dw_object_ref){.type = (int32_t)type, .epoch = epoch,
                                  .sequence = (int32_t)header.sequence,
                                  .size = (int64_t)m->bytes[i].len};
    memcpy(ref->id, header.object_id, 16);
    dw_hash(ref->hash, dw_buf_slice(&m->bytes[i]));
    return true;
}

/* ---- the command ---- */

static void fill_ids(struct making *m, const char *key, const struct wish *w)
{
    crypto_generichash_state state;
    char *said = json_dumps(w->json, JSON_SORT_KEYS | JSON_COMPACT);
    crypto_generichash_init(&state, NULL, 0, 16);
    crypto_generichash_update(&state, (const uint8_t *)"dengwen/step/1", 15);
    crypto_generichash_update(&state, (const uint8_t *)m->who->member.user,
                              strlen(m->who->member.user) + 1);
    crypto_generichash_update(&state, (const uint8_t *)key, strlen(key));
    crypto_generichash_final(&state, m->command.step, 16);
    /* Keyed with the member's own secret: the text is not to be guessed from its hash. */
    crypto_generichash(m->command.payload, 16, (const uint8_t *)said, strlen(said),
                       m->who->keys->sign_seed, 32);
    dw_forgetful_free(said);
}

static bool make(struct making *m, const struct wish *w, const char *key)
{
    m->command = (struct dw_command){.version = 1,
                                     .against = (int32_t)w->version,
                                     .name = w->command,
                                     .actor = m->who->member.user,
                                     .body = m->who->member.body,
                                     .at = dw_now(),
                                     .day = dw_day_of(dw_now()),
                                     .to = w->to,
                                     .reason = w->reason,
                                     .outcome = w->outcome,
                                     .objects = m->objects,
                                     .roots = m->roots,
                                     .grants = m->grants};
    memcpy(m->command.case_id, m->o->view.c.id, 16);
    fill_ids(m, key, w);
    if (strcmp(w->command, "transfer") == 0 && !grant_receiver(m, w))
        return false;
    if (w->text && *w->text)
        return seal_text(m, strcmp(w->command, "note") == 0 ? DW_OBJECT_NOTE : DW_OBJECT_MESSAGE,
                         w->text);
    return true;
}

static void send(struct making *m, const struct wish *w, const char *reference,
                 struct reply *reply)
{
    struct dw_desk_request request = {.reference = reference};
    struct dw_slice more[2 + OBJECTS_MAX];
    uint8_t seal[DW_SEAL_LEN];
    DW_AUTO_BUF doc = {0};
    (void)w;
    dw_buf_init(&doc, 256 * 1024);
    dw_encode(&dw_command_layout, &m->command, &doc);
    memcpy(seal, m->who->signer.id, DW_SIGNER_LEN);
    dw_sign(&m->who->signer, DW_LABEL_COMMAND, dw_buf_slice(&doc), seal + DW_SIGNER_LEN);
    more[0] = dw_buf_slice(&doc);
    more[1] = DW_SLICE(seal, sizeof seal);
    for (size_t i = 0; i < m->command.objects_count; i++)
        more[2 + i] = dw_buf_slice(&m->bytes[i]);
    call_signed(m->who, "command", &request, more, 2 + m->command.objects_count, reply);
}

static void carry_out(struct signed_in *who, const struct opened *o, const struct wish *w,
                      const char *key)
{
    struct making m = {.who = who, .o = o};
    struct dw_done done;
    struct reply reply = {0};
    m.grants = dw_arena_alloc(&who->arena, DW_CASE_GRANTS_MAX * sizeof *m.grants);
    m.fresh = sodium_malloc(ROOTS_MAX * sizeof *m.fresh);
    m.dir = dw_directory_take(who->desk->directory);
    if (!m.fresh) {
        dw_http_problem(who->request, 503, "", "no locked memory for keys");
    } else if (!make(&m, w, key)) {
        dw_http_problem(who->request, m.status, m.error.field, m.error.text);
    } else {
        send(&m, w, o->view.c.reference, &reply);
        if (reply_decode(&reply, &who->arena, &dw_done_layout, &done)) {
            (*who->desk->m_commands)++;
            dw_http_json(who->request, 200,
                         json_pack("{s:s, s:s, s:i}", "reference", o->view.c.reference, "state",
                                   done.state ? done.state : "", "version", (int)done.version));
        } else {
            reply_refuse(who->request, &reply);
        }
    }
    for (size_t i = 0; i < OBJECTS_MAX; i++)
        dw_buf_free(&m.bytes[i]);
    reply_free(&reply);
    sodium_free(m.fresh);
    dw_directory_give(who->desk->directory, (struct dw_directory *)m.dir);
}

void api_commands(void *app, struct dw_http_request *request)
{
    struct signed_in who;
    struct opened opened;
    struct wish wish;
    const char *key = dw_http_header(request, "Idempotency-Key");
    if (!who_begin(app, request, &who))
        return;
    if (!key || !dw_http_is_key(key)) {
        dw_http_problem(request, 400, "Idempotency-Key",
                        "expected a UUID or 22 to 64 characters of base64url, fresh for each call");
    } else {
        if (read_wish(request, &wish) && case_open(&who, dw_http_param(request, 0), &opened)) {
            carry_out(&who, &opened, &wish, key);
            case_close(&opened);
        }
        json_decref(wish.json);
    }
    who_end(&who);
}
