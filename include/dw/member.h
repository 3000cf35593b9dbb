/* member.h - staff and their keys.  Source: workers/envelope/member.c
 *
 * How a member comes to be believed, from the pinned root down:
 *   root -> site key            the first line of the directory
 *   site key -> invitation      `dengwen staff add`: user, name, body, roles and the public half of an
 *                               enrolment key that follows from a one-time code; label
 *                               "dengwen/invite/1"
 *   enrolment key -> own keys   the member types the code and chooses a password at the desk; label
 *                               "dengwen/member/1"
 * So no server holds a key that could make a member, and an administrator who enrols himself in
 * somebody's name leaves that somebody without access, who will ask.
 *
 * The password never leaves the desk: Argon2id gives 64 bytes, one half opens the member's private
 * keys, the other is the login proof, of which the case worker keeps the BLAKE2b.
 *
 * EPOCH: the key pair of a body (or of its custodians) for some time.  The private half is sealed to
 * each member; it is made when two members are enrolled, and a later member gets it from a
 * colleague's session.  The public half counts once it stands in the signed directory. */
#ifndef DW_MEMBER_H
#define DW_MEMBER_H

#include "dw/envelope.h"

#define DW_LABEL_INVITE "dengwen/invite/1"
#define DW_LABEL_MEMBER "dengwen/member/1"

enum {
    DW_CODE_TEXT = 25,          /* one-time code: 20 letters and digits in 4 groups */
    DW_WRAPPED_LEN = 24 + 64 + 16,
    DW_EPOCH_SEAL_LEN = 32 + 48,
    DW_MEMBER_ROLES_MAX = 8,
    DW_EPOCH_MEMBERS_MAX = 500,
    DW_MEMBER_EPOCHS_MAX = 32,
};

struct dw_member {
    /* Of the invitation. */
    const char *user; /* "500108.li": lower case letters, digits, . _ - */
    const char *name;
    const char *body;
    const char **roles; /* inspector, custodian, manager, operator */
    size_t roles_count;
    int32_t invited; /* day */
    uint8_t enrol_public[DW_KEY_LEN];
    uint8_t invite_signature[DW_SIGNATURE_LEN];
    /* Of the enrolment. */
    const char *state; /* "invited", "active", "disabled" */
    uint8_t sign_public[DW_KEY_LEN], box_public[DW_KEY_LEN];
    uint8_t member_signature[DW_SIGNATURE_LEN];
    uint8_t salt[16];
    int32_t operations, memory_mib;
    uint8_t proof_hash[32];
    uint8_t wrapped[DW_WRAPPED_LEN];
};
extern const struct dw_layout dw_member_layout;

bool dw_user_is_valid(const char *user);
bool dw_member_has_role(const struct dw_member *member, const char *role);

/* Fills the invitation of `member` (user, name, body, roles, invited are set) and writes the code. */
void dw_member_invite(struct dw_member *member, const struct dw_signer *site,
                      char code[DW_CODE_TEXT]);
/* True when invitation and enrolment are signed as they must be. */
bool dw_member_verify(const struct dw_member *member, const uint8_t site[DW_KEY_LEN]);

/* Private keys of a member and of the epochs he holds; lives in locked memory. */
struct dw_member_keys {
    uint8_t sign_seed[32], box_secret[32];
    size_t epochs_count;
    struct {
        int32_t type; /* DW_TO_BODY or DW_TO_CUSTODIAN */
        int32_t epoch;
        uint8_t public[DW_KEY_LEN], secret[DW_KEY_LEN];
    } epochs[DW_MEMBER_EPOCHS_MAX];
};
struct dw_member_keys *dw_member_keys_new(void); /* NULL: no locked memory */
void dw_member_keys_free(struct dw_member_keys *keys);

/* Argon2id. False when there is no memory for it. */
bool dw_password_stretch(const char *password, const uint8_t salt[16], int32_t operations,
                         int32_t memory_mib, uint8_t wrap_key[32], uint8_t proof[32]);
void dw_proof_hash(uint8_t out[32], const uint8_t proof[32]);

/* Makes the member's keys under a password: wants the one-time code, fills the enrolment. DW_INVALID
 * for a wrong code. */
enum dw_result dw_member_enrol(struct dw_member *member, const char *code, const char *password,
                               int32_t operations, int32_t memory_mib,
                               struct dw_member_keys *keys, struct dw_error *err);
/* Opens the wrapped keys and compares them with the public ones. */
enum dw_result dw_member_unwrap(const struct dw_member *member, const uint8_t wrap_key[32],
                                struct dw_member_keys *keys);

struct dw_epoch_seal {
    const char *user;
    uint8_t box[DW_EPOCH_SEAL_LEN];
};
struct dw_epoch {
    const char *body;
    int32_t type, epoch;
    uint8_t public[DW_KEY_LEN];
    struct dw_epoch_seal *seals;
    size_t seals_count;
    int64_t version; /* of its record; not part of the document */
};
extern const struct dw_layout dw_epoch_layout;
extern const struct dw_layout dw_epoch_seal_layout;
/* "500108/body/1" */
void dw_epoch_key(const struct dw_epoch *epoch, char out[64]);

/* A new pair; the private half is added to `keys` and sealed to nobody yet. */
void dw_epoch_make(struct dw_epoch *epoch, const char *body, enum dw_grantee type, int32_t number,
                   struct dw_member_keys *keys);
/* Seals the private half, which `keys` holds, to a member. False when it does not hold it. */
bool dw_epoch_seal(const struct dw_epoch *epoch, const struct dw_member_keys *keys,
                   const struct dw_member *to, struct dw_epoch_seal *ret);
/* Adds the private half to `keys` if there is a seal for this member. */
bool dw_epoch_open(const struct dw_epoch *epoch, const struct dw_member *member,
                   struct dw_member_keys *keys);
/* Secret of that epoch, or NULL. */
const uint8_t *dw_member_epoch(const struct dw_member_keys *keys, enum dw_grantee type,
                               int32_t epoch, const uint8_t **public);

#endif
