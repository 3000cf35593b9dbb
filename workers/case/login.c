/* login.c - a member's wrapped keys, given only against the login proof.
 *
 * A user that does not exist is answered like one that does: made-up parameters that stay the same,
 * the same refusal, the same audit entry to be committed first.  Failures slow a name down whether
 * anybody has it or not. */
#include "casework.h"

#include <sodium.h>
#include <string.h>

enum dw_result cw_member(struct casework *cw, struct pending *p, const char *user,
                         struct dw_member *ret, int64_t *version)
{
    struct dw_store_case found;
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX + 1);
    if (!dw_user_is_valid(user))
        return DW_NOT_FOUND;
    enum dw_result result = dw_store_record(cw->store, "staff", user, &doc, &found);
    if (result == DW_OK) {
        *version = found.version;
        if (dw_decode(&dw_member_layout, found.doc, &p->arena, ret, &p->error) != DW_OK)
            result = DW_RETRY;
    }
    return result;
}

struct epochs {
    struct pending *p;
    struct dw_epoch *items;
    size_t count;
};

static void each_epoch(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    struct epochs *e = arg;
    (void)key;
    if (e->count < DW_MEMBER_EPOCHS_MAX &&
        dw_decode(&dw_epoch_layout, doc, &e->p->arena, &e->items[e->count], &e->p->error) == DW_OK)
        e->items[e->count++].version = version;
}

void cw_epochs_of(struct casework *cw, struct pending *p, const char *body,
                  struct dw_epoch **ret, size_t *count)
{
    char *prefix = dw_arena_printf(&p->arena, "%s/", body);
    struct epochs e = {.p = p};
    e.items = dw_arena_alloc(&p->arena, (DW_MEMBER_EPOCHS_MAX + 1) * sizeof *e.items);
    dw_store_records(cw->store, "epochs", prefix, each_epoch, &e);
    *ret = e.items;
    *count = e.count;
}

/* ---- slowing down ---- */

static struct throttle *throttle_of(struct casework *cw, const char *user)
{
    uint8_t hash[8];
    uint64_t v = 0;
    crypto_generichash_state state;
    crypto_generichash_init(&state, cw->signer.secret, 32, 16);
    crypto_generichash_update(&state, (const uint8_t *)user, strlen(user));
    uint8_t full[16];
    crypto_generichash_final(&state, full, sizeof full);
    memcpy(hash, full, sizeof hash);
    for (size_t i = 0; i < sizeof hash; i++)
        v = v << 8 | hash[i];
    struct throttle *t = &cw->throttles[v % CW_THROTTLES];
    if (t->user != v)
        *t = (struct throttle){.user = v}; /* a table of fixed size forgets */
    return t;
}

static void count_failure(struct casework *cw, struct throttle *t)
{
    int64_t wait = cw->config->cases.login_wait_seconds * 1000;
    t->failures++;
    for (int32_t i = (int32_t)cw->config->cases.login_failures; i < t->failures && i < 24; i++)
        wait *= 2;
    if (t->failures >= cw->config->cases.login_failures)
        t->until = dw_monotonic_ms() + wait;
    (*cw->m_login_failures)++;
}

/* ---- methods ---- */

void cw_desk_params(struct casework *cw, struct pending *p, const struct dw_slice *body,
                    size_t count)
{
    struct dw_ask_user ask;
    struct dw_member member;
    struct dw_kdf_params params;
    int64_t version;
    if (!cw_decode(p, body, count, 0, &dw_ask_user_layout, &ask))
        return;
    enum dw_result result = cw_member(cw, p, ask.user, &member, &version);
    if (result == DW_RETRY) {
        cw_refuse_result(p, result);
        return;
    }
    if (result == DW_OK && strcmp(member.state, "active") == 0) {
        memcpy(params.salt, member.salt, sizeof params.salt);
        params.operations = member.operations;
        params.memory_mib = member.memory_mib;
    } else {
        crypto_generichash(params.salt, sizeof params.salt, (const uint8_t *)ask.user,
                           strlen(ask.user), cw->signer.secret, 32);
        params.operations = (int32_t)cw->config->desk.kdf_operations;
        params.memory_mib = (int32_t)cw->config->desk.kdf_memory_mib;
    }
    cw_answer(p, &dw_kdf_params_layout, &params);
}

static void own_seals_only(struct pending *p, struct dw_epoch *epochs, size_t *count,
                           const char *user)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        for (size_t j = 0; j < epochs[i].seals_count; j++) {
            if (strcmp(epochs[i].seals[j].user, user) != 0)
                continue;
            struct dw_epoch_seal *own = dw_arena_alloc(&p->arena, sizeof *own);
            *own = epochs[i].seals[j];
            epochs[kept] = epochs[i];
            epochs[kept].seals = own;
            epochs[kept++].seals_count = 1;
            break;
        }
    }
    *count = kept;
}

void cw_desk_login(struct casework *cw, struct pending *p, const struct dw_slice *body,
                   size_t count)
{
    struct dw_ask_login ask;
    struct dw_login_view view = {0};
    uint8_t hash[32];
    int64_t version;
    if (!cw_decode(p, body, count, 0, &dw_ask_login_layout, &ask))
        return;
    struct throttle *t = throttle_of(cw, ask.user);
    if (t->until > dw_monotonic_ms()) {
        cw_refuse(p, 429, "user", "too many wrong passwords: wait");
        return;
    }
    enum dw_result result = cw_member(cw, p, ask.user, &view.member, &version);
    if (result == DW_RETRY) {
        cw_refuse_result(p, result);
        return;
    }
    dw_proof_hash(hash, ask.proof);
    bool good = result == DW_OK && strcmp(view.member.state, "active") == 0 &&
                dw_same_bytes(hash, view.member.proof_hash, sizeof hash);
    if (good) {
        t->failures = 0;
        (*cw->m_logins)++;
        cw_epochs_of(cw, p, view.member.body, &view.epochs, &view.epochs_count);
        own_seals_only(p, view.epochs, &view.epochs_count, view.member.user);
        cw_answer(p, &dw_login_view_layout, &view);
    } else {
        count_failure(cw, t);
        cw_refuse(p, 403, "user", "user or password is wrong");
    }
    /* Refused or not, the entry is on disk before the answer leaves. */
    cw_audit(p, "desk", good ? "logged in" : "login refused",
             result == DW_OK ? ask.user : "unknown user"); /* it may be a password */
    p->answer_anyway = true;
}

void cw_desk_invited(struct casework *cw, struct pending *p, const struct dw_slice *body,
                     size_t count)
{
    struct dw_ask_user ask;
    struct dw_member member;
    int64_t version;
    if (!cw_decode(p, body, count, 0, &dw_ask_user_layout, &ask))
        return;
    enum dw_result result = cw_member(cw, p, ask.user, &member, &version);
    if (result == DW_OK && strcmp(member.state, "invited") != 0)
        result = DW_NOT_FOUND;
    if (result != DW_OK)
        cw_refuse_result(p, result);
    else
        cw_answer(p, &dw_member_public_layout, &member);
}

/* The member's own keys, signed with the key of the one-time code: nobody else can have made it. */
void cw_desk_enrol(struct casework *cw, struct pending *p, const struct dw_slice *body,
                   size_t count)
{
    struct dw_member member, old;
    int64_t version;
    if (!cw_decode(p, body, count, 0, &dw_member_layout, &member))
        return;
    enum dw_result result = cw_member(cw, p, member.user, &old, &version);
    if (result == DW_OK && strcmp(old.state, "invited") != 0)
        result = DW_NOT_FOUND;
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    struct dw_directory *dir = dw_directory_take(cw->directory);
    bool good = strcmp(member.state, "active") == 0 && dw_member_verify(&member, dir->site) &&
                memcmp(member.enrol_public, old.enrol_public, DW_KEY_LEN) == 0 &&
                memcmp(member.invite_signature, old.invite_signature, DW_SIGNATURE_LEN) == 0;
    dw_directory_give(cw->directory, dir);
    if (!good) {
        cw_refuse(p, 403, "code", "not signed with the one-time code of the invitation");
        return;
    }
    cw_done(p, 0, "active", false);
    cw_put_record(p, "staff", member.user, version, &dw_member_layout, &member);
    cw_audit(p, member.user, "enrolled", member.user);
}

