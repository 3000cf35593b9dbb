/* directory.h - the signed directory: whose key is whose.  Source: broker/directory.c
 *
 * An offline root key signs a site key with an end date; the site key signs the directory.  Programs
 * pin the root's public key and believe nothing else about keys.  This module only verifies; the
 * administrator's tools write.
 *
 * File: one line
 *     dengwen-directory 1 SITE_PK SITE_UNTIL ROOT_SIGNATURE SITE_SIGNATURE
 * then a JSON document, signed byte for byte.  Keys and signatures are base64url, days are
 * YYYY-MM-DD in Asia/Shanghai and inclusive.  Signed bytes begin with a label that no other kind of
 * signature in Dengwen begins with.
 *
 * A directory whose serial is lower than one already seen is refused, so that nobody brings back a
 * key that was taken out. */
#ifndef DW_DIRECTORY_H
#define DW_DIRECTORY_H

#include "dw/bytes.h"
#include "dw/clock.h"
#include "dw/result.h"

enum { DW_KEY_LEN = 32, DW_SIGNATURE_LEN = 64, DW_SIGNER_LEN = 8, DW_SALT_LEN = 16 };

#define DW_LABEL_SITE      "dengwen/site/1"
#define DW_LABEL_DIRECTORY "dengwen/directory/1"

/* A program with a CURVE key: one of ours, or somebody else's. */
struct dw_program {
    const char *name; /* "web", "case", "nodered-17" */
    const char *role; /* "web", "case", "client", "worker:SERVICE" */
    uint8_t curve[DW_KEY_LEN];
    uint8_t sign[DW_KEY_LEN]; /* Ed25519; all zero for programs that sign nothing */
    uint8_t signer[DW_SIGNER_LEN];
    dw_day from, until;
};

/* What is sealed to.  BODY and CUSTODIAN have a body id and an epoch; ESCROW an epoch; NOTIFIER one
 * key a month, whose epoch is YYYYMM. */
enum dw_grantee { DW_TO_BODY = 1, DW_TO_ESCROW, DW_TO_REPORTER, DW_TO_NOTIFIER, DW_TO_CUSTODIAN };

struct dw_public_key {
    enum dw_grantee type;
    const char *id; /* body id, "" for escrow and notifier */
    int32_t epoch;
    uint8_t key[DW_KEY_LEN]; /* X25519 */
    dw_day from, until;
};

struct dw_directory {
    int64_t serial;
    dw_day until;                 /* end of the site key: after it nothing here is believed */
    uint8_t site[DW_KEY_LEN];     /* verifies enrolments of staff as well */
    uint8_t salt[DW_SALT_LEN];    /* of this installation's receipts */
    struct dw_program *programs;
    size_t programs_count;
    struct dw_public_key *keys;
    size_t keys_count;
    struct dw_arena arena;
};

/* DW_OK, or DW_INVALID with what was wrong.  `at_least` is the lowest serial still accepted. */
enum dw_result dw_directory_parse(struct dw_slice file, const uint8_t root[DW_KEY_LEN],
                                  dw_day today, int64_t at_least, struct dw_directory **ret,
                                  struct dw_error *err);
void dw_directory_free(struct dw_directory *dir);

/* All look-ups return NULL when there is none that is valid on that day. */
const struct dw_program *dw_directory_by_curve(const struct dw_directory *dir,
                                               const uint8_t curve[DW_KEY_LEN], dw_day day);
const struct dw_program *dw_directory_by_signer(const struct dw_directory *dir,
                                                const uint8_t signer[DW_SIGNER_LEN], dw_day day);
const struct dw_program *dw_directory_by_name(const struct dw_directory *dir, const char *name,
                                              dw_day day);
/* The newest epoch valid on that day. */
const struct dw_public_key *dw_directory_current(const struct dw_directory *dir,
                                                 enum dw_grantee type, const char *id, dw_day day);
/* Exactly that epoch, if it was valid on that day. */
const struct dw_public_key *dw_directory_epoch(const struct dw_directory *dir,
                                               enum dw_grantee type, const char *id, int32_t epoch,
                                               dw_day day);

/* First 8 bytes of BLAKE2b-256 of the Ed25519 public key. */
void dw_signer_id(uint8_t signer[DW_SIGNER_LEN], const uint8_t sign[DW_KEY_LEN]);
/* Ed25519ph (prehashed) over label, a zero byte, and the bytes. */
bool dw_verify(const uint8_t sign[DW_KEY_LEN], const char *label, struct dw_slice bytes,
               const uint8_t signature[DW_SIGNATURE_LEN]);

/* A directory file kept current: re-read when it changes, shared between threads. */
struct dw_directory_watch;
struct dw_config;
enum dw_result dw_directory_watch_new(const struct dw_config *config,
                                      struct dw_directory_watch **ret, struct dw_error *err);
void dw_directory_watch_free(struct dw_directory_watch *watch);
/* Looks at the file if it changed; a bad one is logged and the old one kept. True if it changed. */
bool dw_directory_watch_tick(struct dw_directory_watch *watch);
/* The current one; give it back. */
struct dw_directory *dw_directory_take(struct dw_directory_watch *watch);
void dw_directory_give(struct dw_directory_watch *watch, struct dw_directory *dir);

#endif
