#include "dw/member.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_LEN = 96, ID_MAX = 32, USER_MAX = 48, CODE_CHARS = 20 };

static const struct dw_field member_fields[] = {
    DW_F_TEXT(struct dw_member, user, USER_MAX, 0),
    DW_F_TEXT(struct dw_member, name, NAME_MAX_LEN, 0),
    DW_F_TEXT(struct dw_member, body, ID_MAX, 0),
    DW_F_TEXTS(struct dw_member, roles, DW_MEMBER_ROLES_MAX, 0),
    DW_F_I32(struct dw_member, invited, 0),
    DW_F_FIXED(struct dw_member, enrol_public, 0),
    DW_F_FIXED(struct dw_member, invite_signature, 0),
    DW_F_TEXT(struct dw_member, state, ID_MAX, 0),
    DW_F_FIXED(struct dw_member, sign_public, DW_OPTIONAL),
    DW_F_FIXED(struct dw_member, box_public, DW_OPTIONAL),
    DW_F_FIXED(struct dw_member, member_signature, DW_OPTIONAL),
    DW_F_FIXED(struct dw_member, salt, DW_OPTIONAL),
    DW_F_I32(struct dw_member, operations, DW_OPTIONAL),
    DW_F_I32(struct dw_member, memory_mib, DW_OPTIONAL),
    DW_F_FIXED(struct dw_member, proof_hash, DW_OPTIONAL),
    DW_F_FIXED(struct dw_member, wrapped, DW_OPTIONAL),
};
const struct dw_layout dw_member_layout = DW_LAYOUT("member", struct dw_member, member_fields);

/* Signed bytes: the fields that a signature covers, encoded as a document of their own. */
static const struct dw_field invite_fields[] = {
    DW_F_TEXT(struct dw_member, user, USER_MAX, 0),
    DW_F_TEXT(struct dw_member, name, NAME_MAX_LEN, 0),
    DW_F_TEXT(struct dw_member, body, ID_MAX, 0),
    DW_F_TEXTS(struct dw_member, roles, DW_MEMBER_ROLES_MAX, 0),
    DW_F_I32(struct dw_member, invited, 0),
    DW_F_FIXED(struct dw_member, enrol_public, 0),
};
static const struct dw_layout invite_layout = DW_LAYOUT("invite", struct dw_member, invite_fields);
static const struct dw_field core_fields[] = {
    DW_F_TEXT(struct dw_member, user, USER_MAX, 0),
    DW_F_FIXED(struct dw_member, sign_public, 0),
    DW_F_FIXED(struct dw_member, box_public, 0),
};
static const struct dw_layout core_layout = DW_LAYOUT("keys", struct dw_member, core_fields);

static const struct dw_field seal_fields[] = {
    DW_F_TEXT(struct dw_epoch_seal, user, USER_MAX, 0),
    DW_F_FIXED(struct dw_epoch_seal, box, 0),
};
const struct dw_layout dw_epoch_seal_layout =
    DW_LAYOUT("seal", struct dw_epoch_seal, seal_fields);
static const struct dw_field epoch_fields[] = {
    DW_F_TEXT(struct dw_epoch, body, ID_MAX, 0),
    DW_F_I32(struct dw_epoch, type, 0),
    DW_F_I32(struct dw_epoch, epoch, 0),
    DW_F_FIXED(struct dw_epoch, public, 0),
    DW_F_DOCS(struct dw_epoch, seals, DW_EPOCH_MEMBERS_MAX, &dw_epoch_seal_layout, 0),
};
const struct dw_layout dw_epoch_layout = DW_LAYOUT("epoch", struct dw_epoch, epoch_fields);

bool dw_user_is_valid(const char *user)
{
    size_t len = strlen(user);
    return len >= 2 && len <= USER_MAX &&
           strspn(user, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

bool dw_member_has_role(const struct dw_member *member, const char *role)
{
    for (size_t i = 0; i < member->roles_count; i++)
        if (strcmp(member->roles[i], role) == 0)
            return true;
    return false;
}

struct dw_member_keys *dw_member_keys_new(void)
{
    struct dw_member_keys *keys = sodium_malloc(sizeof *keys);
    if (keys)
        memset(keys, 0, sizeof *keys);
    return keys;
}

void dw_member_keys_free(struct dw_member_keys *keys)
{
    sodium_free(keys);
}

/* ---- invitation ---- */

/* The code is 100 random bits, so a plain hash makes a seed of it. */
static void enrol_seed(uint8_t seed[32], const char *code, const char *user)
{
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    char letters[CODE_CHARS + 1];
    size_t count = 0;
    crypto_generichash_state state;
    for (const char *p = code; *p; p++) {
        char c = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
        c = c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
        if (c != '-' && c != ' ' && strchr(alphabet, c) && count < CODE_CHARS)
            letters[count++] = c;
    }
    crypto_generichash_init(&state, NULL, 0, 32);
    crypto_generichash_update(&state, (const uint8_t *)"dengwen/enrol/1", 16);
    crypto_generichash_update(&state, (const uint8_t *)user, strlen(user) + 1);
    crypto_generichash_update(&state, (const uint8_t *)letters, count);
    crypto_generichash_final(&state, seed, 32);
    sodium_memzero(letters, sizeof letters);
}

static void sign_layout(const struct dw_layout *layout, const struct dw_member *member,
                        const struct dw_signer *signer, const char *label,
                        uint8_t signature[DW_SIGNATURE_LEN])
{
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, 8192);
    dw_encode(layout, member, &bytes);
    dw_sign(signer, label, dw_buf_slice(&bytes), signature);
}

static bool verify_layout(const struct dw_layout *layout, const struct dw_member *member,
                          const uint8_t key[DW_KEY_LEN], const char *label,
                          const uint8_t signature[DW_SIGNATURE_LEN])
{
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, 8192);
    dw_encode(layout, member, &bytes);
    return dw_verify(key, label, dw_buf_slice(&bytes), signature);
}

void dw_member_invite(struct dw_member *member, const struct dw_signer *site,
                      char code[DW_CODE_TEXT])
{
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint8_t seed[32];
    struct dw_signer enrol;
    size_t n = 0;
    for (int i = 0; i < CODE_CHARS; i++) {
        if (i && i % 5 == 0)
            code[n++] = '-';
        code[n++] = alphabet[randombytes_uniform(32)];
    }
    code[n] = 0;
    enrol_seed(seed, code, member->user);
    dw_signer_init(&enrol, seed);
    memcpy(member->enrol_public, enrol.public, DW_KEY_LEN);
    dw_signer_free(&enrol);
    sodium_memzero(seed, sizeof seed);
    member->state = "invited";
    sign_layout(&invite_layout, member, site, DW_LABEL_INVITE, member->invite_signature);
}

bool dw_member_verify(const struct dw_member *member, const uint8_t site[DW_KEY_LEN])
{
    return verify_layout(&invite_layout, member, site, DW_LABEL_INVITE,
                         member->invite_signature) &&
           (strcmp(member->state, "invited") == 0 ||
            verify_layout(&core_layout, member, member->enrol_public, DW_LABEL_MEMBER,
                          member->member_signature));
}

/* ---- password and keys ---- */

bool dw_password_stretch(const char *password, const uint8_t salt[16], int32_t operations,
                         int32_t memory_mib, uint8_t wrap_key[32], uint8_t proof[32])
{
    uint8_t out[64];
    if (crypto_pwhash(out, sizeof out, password, strlen(password), salt,
                      (unsigned long long)operations, (size_t)memory_mib * 1024 * 1024,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return false;
    memcpy(wrap_key, out, 32);
    memcpy(proof, out + 32, 32);
    sodium_memzero(out, sizeof out);
    return true;
}

void dw_proof_hash(uint8_t out[32], const uint8_t proof[32])
{
    crypto_generichash(out, 32, proof, 32, NULL, 0);
}

static void wrap(struct dw_member *member, const uint8_t wrap_key[32],
                 const struct dw_member_keys *keys)
{
    uint8_t plain[64];
    memcpy(plain, keys->sign_seed, 32);
    memcpy(plain + 32, keys->box_secret, 32);
    randombytes_buf(member->wrapped, 24);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        member->wrapped + 24, NULL, plain, sizeof plain, (const uint8_t *)member->user,
        strlen(member->user), NULL, member->wrapped, wrap_key);
    sodium_memzero(plain, sizeof plain);
}

enum dw_result dw_member_enrol(struct dw_member *member, const char *code, const char *password,
                               int32_t operations, int32_t memory_mib,
                               struct dw_member_keys *keys, struct dw_error *err)
{
    uint8_t seed[32], wrap_key[32], proof[32];
    struct dw_signer enrol, own;
    enrol_seed(seed, code, member->user);
    dw_signer_init(&enrol, seed);
    sodium_memzero(seed, sizeof seed);
    if (!dw_same_bytes(enrol.public, member->enrol_public, DW_KEY_LEN)) {
        dw_signer_free(&enrol);
        return dw_invalid(err, "code", "the one-time code is not the one for this user");
    }
    member->operations = operations;
    member->memory_mib = memory_mib;
    randombytes_buf(member->salt, sizeof member->salt);
    if (!dw_password_stretch(password, member->salt, operations, memory_mib, wrap_key, proof)) {
        dw_signer_free(&enrol);
        return dw_invalid(err, "password", "no memory to work on the password");
    }
    randombytes_buf(keys->sign_seed, 32);
    randombytes_buf(keys->box_secret, 32);
    keys->epochs_count = 0;
    dw_signer_init(&own, keys->sign_seed);
    memcpy(member->sign_public, own.public, DW_KEY_LEN);
    dw_signer_free(&own);
    crypto_scalarmult_base(member->box_public, keys->box_secret);
    dw_proof_hash(member->proof_hash, proof);
    wrap(member, wrap_key, keys);
    sodium_memzero(wrap_key, sizeof wrap_key);
    sodium_memzero(proof, sizeof proof);
    sign_layout(&core_layout, member, &enrol, DW_LABEL_MEMBER, member->member_signature);
    dw_signer_free(&enrol);
    member->state = "active";
    return DW_OK;
}

enum dw_result dw_member_unwrap(const struct dw_member *member, const uint8_t wrap_key[32],
                                struct dw_member_keys *keys)
{
    uint8_t plain[64], public[32];
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            plain, NULL, NULL, member->wrapped + 24, DW_WRAPPED_LEN - 24,
            (const uint8_t *)member->user, strlen(member->user), member->wrapped, wrap_key) != 0)
        return DW_INVALID;
    memcpy(keys->sign_seed, plain, 32);
    memcpy(keys->box_secret, plain + 32, 32);
    keys->epochs_count = 0;
    sodium_memzero(plain, sizeof plain);
    struct dw_signer own;
    dw_signer_init(&own, keys->sign_seed);
    crypto_scalarmult_base(public, keys->box_secret);
    bool same = memcmp(own.public, member->sign_public, 32) == 0 &&
                memcmp(public, member->box_public, 32) == 0;
    dw_signer_free(&own);
    return same ? DW_OK : DW_INVALID;
}

/* ---- epochs ---- */

void dw_epoch_key(const struct dw_epoch *epoch, char out[64])
{
    snprintf(out, 64, "%.31s/%s/%d", epoch->body,
             epoch->type == DW_TO_CUSTODIAN ? "custodian" : "body", epoch->epoch);
}

static bool hold(struct dw_member_keys *keys, int32_t type, int32_t epoch,
                 const uint8_t public[DW_KEY_LEN], const uint8_t secret[DW_KEY_LEN])
{
    if (keys->epochs_count >= DW_MEMBER_EPOCHS_MAX)
        return false;
    size_t i = keys->epochs_count++;
    keys->epochs[i].type = type;
    keys->epochs[i].epoch = epoch;
    memcpy(keys->epochs[i].public, public, DW_KEY_LEN);
    memcpy(keys->epochs[i].secret, secret, DW_KEY_LEN);
    return true;
}

void dw_epoch_make(struct dw_epoch *epoch, const char *body, enum dw_grantee type, int32_t number,
                   struct dw_member_keys *keys)
{
    uint8_t secret[DW_KEY_LEN];
    *epoch = (struct dw_epoch){.body = body, .type = type, .epoch = number};
    crypto_box_keypair(epoch->public, secret);
    hold(keys, type, number, epoch->public, secret);
    sodium_memzero(secret, sizeof secret);
}

const uint8_t *dw_member_epoch(const struct dw_member_keys *keys, enum dw_grantee type,
                               int32_t epoch, const uint8_t **public)
{
    for (size_t i = 0; i < keys->epochs_count; i++) {
        if (keys->epochs[i].type != (int32_t)type || keys->epochs[i].epoch != epoch)
            continue;
        if (public)
            *public = keys->epochs[i].public;
        return keys->epochs[i].secret;
    }
    return NULL;
}

bool dw_epoch_seal(const struct dw_epoch *epoch, const struct dw_member_keys *keys,
                   const struct dw_member *to, struct dw_epoch_seal *ret)
{
    const uint8_t *public = NULL;
    const uint8_t *secret =
        dw_member_epoch(keys, (enum dw_grantee)epoch->type, epoch->epoch, &public);
    if (!secret || memcmp(public, epoch->public, DW_KEY_LEN) != 0)
        return false;
    ret->user = to->user;
    crypto_box_seal(ret->box, secret, DW_KEY_LEN, to->box_public);
    return true;
}

bool dw_epoch_open(const struct dw_epoch *epoch, const struct dw_member *member,
                   struct dw_member_keys *keys)
{
    uint8_t secret[DW_KEY_LEN], public[DW_KEY_LEN];
    for (size_t i = 0; i < epoch->seals_count; i++) {
        if (strcmp(epoch->seals[i].user, member->user) != 0)
            continue;
        bool opened = crypto_box_seal_open(secret, epoch->seals[i].box, DW_EPOCH_SEAL_LEN,
                                           member->box_public, keys->box_secret) == 0;
        crypto_scalarmult_base(public, secret);
        bool ours = opened && memcmp(public, epoch->public, DW_KEY_LEN) == 0 &&
                    hold(keys, epoch->type, epoch->epoch, public, secret);
        sodium_memzero(secret, sizeof secret);
        return ours;
    }
    return false;
}
