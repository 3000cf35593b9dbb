/* envelope.h - envelope version 1: how content is sealed, and to whom.  Sources: workers/envelope/
 *
 * Suite 1 is libsodium: XChaCha20-Poly1305-IETF, sealed boxes on X25519, Ed25519ph, BLAKE2b,
 * crypto_kdf, secretstream.  Integers are big-endian.  Layouts have fixed offsets; anything else is
 * refused before a key is touched.
 *
 * OBJECT: a text, a message, a manifest, an identity, a contact, a note.
 *      0   4  "DWEV"
 *      4   1  version 1
 *      5   1  suite 1
 *      6   2  type
 *      8  16  case id
 *     24  16  object id, random
 *     40   4  key epoch
 *     44   4  sequence
 *     48   2  day, since 1970 in Asia/Shanghai; nothing finer is kept
 *     50  24  nonce, random
 *     74   n  ciphertext and tag: 1, 4, 16 or 64 KiB + 16; the plaintext is padded first
 *   74+n   8  signer: first bytes of BLAKE2b-256 of the Ed25519 key
 *   82+n  64  signature over everything before it, label "dengwen/object/1"
 * Bytes 0..49 are the associated data.  The key is derived from a root key by crypto_kdf; the type
 * fixes which root key, which context and which number, so that no object can pass for another.
 *
 * ROOT KEYS of a case, 32 random bytes each:
 *   R  what the reporter may read: report, files, dialogue; a new epoch at each transfer
 *   I  internal: notes, findings; made at the first internal step, never granted to the reporter
 *   P  the person: identity; C, derived from it, opens the contact alone
 * A root key's commitment, BLAKE2b-256(key, "commit" kind epoch case), is kept beside the grants and
 * checked after opening one: ChaCha20-Poly1305 by itself does not commit to its key.
 *
 * GRANT: crypto_box_seal of 96 bytes, 144 sealed.  What it grants is repeated inside and compared.
 *      0   4  "DWGR"
 *      4   1  version 1
 *      5   1  suite 1
 *      6   1  kind of root key
 *      7   1  type of grantee
 *      8  16  case id
 *     24   4  key epoch
 *     28   4  epoch of the grantee's key
 *     32   1  length of the grantee's id
 *     33  31  grantee's id, zero padded
 *     64  32  the root key
 * A sealed box says nothing of its sender: the document that carries a grant is signed.
 *
 * FILE: crypto_secretstream with a key of its own, in chunks of 64 KiB of plaintext; associated data
 * of each chunk: "DWFC" version suite object id(16) index(4).  The last chunk carries TAG_FINAL and
 * nothing may follow.  The length is padded with zeros to a Padme size; the true length, name, type,
 * key and hash of each file stand in the manifest, an object of the case. */
#ifndef DW_ENVELOPE_H
#define DW_ENVELOPE_H

#include "dw/bytes.h"
#include "dw/clock.h"
#include "dw/directory.h"
#include "dw/layout.h"

enum {
    DW_ROOT_LEN = 32,
    DW_OBJECT_HEADER_LEN = 50,
    DW_OBJECT_NONCE_LEN = 24,
    DW_OBJECT_OVERHEAD = 50 + 24 + 16 + 8 + 64,
    DW_OBJECT_MAX = 65536 + 50 + 24 + 16 + 8 + 64,
    DW_GRANT_PLAIN_LEN = 96,
    DW_GRANT_LEN = 144,
    DW_HASH_LEN = 32,
    DW_CHUNK_LEN = 65536,
    DW_CHUNK_SEALED_MAX = 65536 + 17,
};

#define DW_LABEL_OBJECT "dengwen/object/1"

enum dw_object_type {
    DW_OBJECT_BODY = 1,
    DW_OBJECT_MESSAGE = 2,
    DW_OBJECT_MANIFEST = 3,
    DW_OBJECT_NOTE = 4,
    DW_OBJECT_FINDING = 5,
    DW_OBJECT_IDENTITY = 6,
    DW_OBJECT_CONTACT = 7,
    DW_OBJECT_FILE = 8, /* chunks, not an OBJECT as above */
};
enum dw_root_kind { DW_ROOT_R = 1, DW_ROOT_I = 2, DW_ROOT_P = 3, DW_ROOT_C = 4 };

/* Which root key seals this type; 0 for an unknown type. */
enum dw_root_kind dw_object_root(enum dw_object_type type);
const char *dw_object_type_name(enum dw_object_type type);

/* ---- signing ---- */

struct dw_signer {
    uint8_t *secret; /* Ed25519, 64 bytes, locked */
    uint8_t public[DW_KEY_LEN];
    uint8_t id[DW_SIGNER_LEN];
};
/* From a 32-byte seed; the seed is copied into locked memory's key and may be wiped. */
void dw_signer_init(struct dw_signer *signer, const uint8_t seed[32]);
enum dw_result dw_signer_load(struct dw_signer *signer, const char *path, struct dw_error *err);
void dw_signer_free(struct dw_signer *signer);
void dw_sign(const struct dw_signer *signer, const char *label, struct dw_slice bytes,
             uint8_t signature[DW_SIGNATURE_LEN]);

/* ---- objects ---- */

struct dw_object_header {
    enum dw_object_type type;
    uint8_t case_id[16], object_id[16];
    uint32_t epoch, sequence;
    dw_day day;
};
/* A fresh id for an object of this case: its first bytes are those of the case, so that a store finds
 * together what belongs together (the header says it anyway), the others random. */
void dw_object_id(uint8_t id[16], const uint8_t case_id[16]);
/* Seals `plain` under the root key of the type and signs.  False when it is too long. */
bool dw_envelope_seal(const struct dw_object_header *header, const uint8_t root[DW_ROOT_LEN],
                      const struct dw_signer *signer, struct dw_slice plain, struct dw_buf *out);
/* Well formed, of a size from the bucket set?  Reads the header and who signed; opens nothing. */
bool dw_envelope_header(struct dw_slice object, struct dw_object_header *ret,
                        uint8_t signer[DW_SIGNER_LEN]);
/* Is the signature that of this key? */
bool dw_envelope_signed_by(struct dw_slice object, const uint8_t sign[DW_KEY_LEN]);
/* Verifies the signature, compares every field of `expected`, opens.  DW_INVALID tells nothing of
 * why beyond `err`; `plain` is written only on DW_OK. */
__attribute__((warn_unused_result)) enum dw_result
dw_envelope_open(struct dw_slice object, const struct dw_object_header *expected,
                 const uint8_t root[DW_ROOT_LEN], const uint8_t sign[DW_KEY_LEN],
                 struct dw_buf *plain, struct dw_error *err);

/* ---- root keys and grants ---- */

/* C from P. */
void dw_root_contact(uint8_t contact[DW_ROOT_LEN], const uint8_t person[DW_ROOT_LEN]);
void dw_root_commitment(uint8_t out[DW_HASH_LEN], const uint8_t root[DW_ROOT_LEN],
                        enum dw_root_kind kind, uint32_t epoch, const uint8_t case_id[16]);

struct dw_grant {
    int32_t kind;  /* enum dw_root_kind */
    int32_t epoch; /* of the root key */
    int32_t to;    /* enum dw_grantee */
    const char *id;
    int32_t to_epoch; /* of the grantee's key; 0 for the reporter */
    uint8_t box[DW_GRANT_LEN];
};
extern const struct dw_layout dw_grant_layout;
/* `id` of the result is borrowed from the argument. */
void dw_grant_seal(struct dw_grant *ret, enum dw_root_kind kind, uint32_t epoch,
                   const uint8_t case_id[16], const uint8_t root[DW_ROOT_LEN],
                   enum dw_grantee to, const char *id, int32_t to_epoch,
                   const uint8_t to_public[DW_KEY_LEN]);
/* Opens with the grantee's key pair and compares everything inside with the row and the case, then
 * the commitment.  `root` is written only on DW_OK. */
__attribute__((warn_unused_result)) enum dw_result
dw_grant_open(const struct dw_grant *grant, const uint8_t case_id[16],
              const uint8_t commitment[DW_HASH_LEN], const uint8_t public[DW_KEY_LEN],
              const uint8_t secret[DW_KEY_LEN], uint8_t root[DW_ROOT_LEN], struct dw_error *err);

/* ---- files ---- */

struct dw_file {
    uint8_t id[16], key[32], header[24];
    const char *name, *type;
    int64_t size;
    int32_t chunks;
    uint8_t hash[DW_HASH_LEN]; /* BLAKE2b-256 of the plaintext */
};
struct dw_manifest {
    struct dw_file *files;
    size_t files_count;
};
extern const struct dw_layout dw_manifest_layout;
enum { DW_MANIFEST_FILES_MAX = 100, DW_FILE_NAME_MAX = 255, DW_FILE_TYPE_MAX = 100 };

int64_t dw_padme(int64_t len); /* at least 4096 */

/* Seals while receiving.  Holds one chunk of plaintext; lives in locked memory. */
struct dw_file_writer;
typedef void dw_chunk_out(void *arg, uint32_t n, struct dw_slice sealed);
struct dw_file_writer *dw_file_writer_new(void); /* NULL: no locked memory left */
void dw_file_writer_put(struct dw_file_writer *w, const void *data, size_t len,
                        dw_chunk_out *out, void *arg);
/* Pads, seals the last chunk and fills everything of `ret` but name and type; `cipher_hash` is
 * BLAKE2b-256 over all sealed chunks in order, `cipher_len` their length. */
void dw_file_writer_end(struct dw_file_writer *w, dw_chunk_out *out, void *arg,
                        struct dw_file *ret, uint8_t cipher_hash[DW_HASH_LEN],
                        int64_t *cipher_len);
void dw_file_writer_free(struct dw_file_writer *w);

struct dw_file_reader;
struct dw_file_reader *dw_file_reader_new(const struct dw_file *file);
/* Chunk after chunk; appends plaintext.  DW_INVALID: reject everything given so far. */
__attribute__((warn_unused_result)) enum dw_result
dw_file_reader_put(struct dw_file_reader *r, struct dw_slice sealed, struct dw_buf *plain);
/* DW_OK only when the stream ended with its final chunk and the hash is that of the manifest. */
__attribute__((warn_unused_result)) enum dw_result dw_file_reader_end(struct dw_file_reader *r);
void dw_file_reader_free(struct dw_file_reader *r);

/* BLAKE2b-256, the hash by which documents name objects. */
void dw_hash(uint8_t out[DW_HASH_LEN], struct dw_slice bytes);

#endif
