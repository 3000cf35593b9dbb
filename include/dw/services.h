/* services.h - what the case worker is asked, and what it answers.  Sources: services.c and pack.c in
 * workers/domain
 *
 * A call's payload is: method, request document, further frames.  An answer's payload behind the
 * status is: on 200 a document and further frames, else the field and the text of the error.
 *
 *   case.public   status   dw_ask_status        -> dw_status_view, objects of the messages in order
 *                 command  dw_ask_command, objects -> dw_done
 *   case.desk     params   dw_ask_user          -> dw_kdf_params (made up for unknown users)
 *                 login    dw_ask_login         -> dw_login_view
 *                 invited  dw_ask_user          -> dw_member, public part
 *                 enrol    dw_member            -> dw_done
 *     signed:     members  -> dw_members_view     list   -> dw_list_view
 *                 read     -> dw_case_view        object -> (no document) the bytes
 *                 command  + command, its seal, objects -> dw_done
 *                 epoch    + dw_epoch             -> dw_done
 *                 statistics                      -> dw_statistics_view (statistics.h)
 *   case.notify   claim    dw_ask_claim         -> dw_claim_view, contact objects in order
 *                 report   dw_report            -> dw_done
 *   case.admin    invite   dw_member            -> dw_done
 *                 staff    dw_ask_user          -> dw_members_view (user "" for all)
 *                 disable  dw_ask_user          -> dw_done
 *                 epochs   -                    -> dw_epochs_view
 *                 stats    -                    -> dw_stats_view
 *
 * "signed" requests of the desk are: method, dw_desk_request, seal (label "dengwen/desk/1"), more. The
 * case worker believes no desk about who asks: the member's own key signed it, lately. */
#ifndef DW_SERVICES_H
#define DW_SERVICES_H

#include "dw/case.h"
#include "dw/member.h"

#define DW_LABEL_DESK "dengwen/desk/1"

struct dw_ask_status {
    uint8_t handle[16], auth[32];
};
struct dw_ask_command {
    uint8_t handle[16], auth[32];
    struct dw_slice command;
    uint8_t seal[DW_SEAL_LEN];
};
struct dw_done {
    int32_t version; /* revision of the case; members and clients know no other */
    const char *state;
    bool already;
};
extern const struct dw_layout dw_ask_status_layout, dw_ask_command_layout, dw_done_layout;

/* A line of the dialogue, as both sides see it. */
struct dw_line {
    int32_t seq; /* of the event */
    const char *kind, *actor, *state, *to, *reason, *outcome;
    int64_t at; /* 0 where only the day is known */
    int32_t day;
    struct dw_object_ref *objects;
    size_t objects_count;
    int32_t object_day; /* in the header of its objects */
    uint8_t signer[DW_SIGNER_LEN];
};
struct dw_status_view {
    uint8_t case_id[16];
    int32_t version;
    const char *reference, *state, *body;
    struct dw_facts facts;
    struct dw_clock *clocks;
    size_t clocks_count;
    struct dw_line *lines; /* only what the reporter may see */
    size_t lines_count;
    struct dw_notice *notices; /* without attempts */
    size_t notices_count;
    struct dw_root_ref *roots;
    size_t roots_count;
    struct dw_grant *grants; /* the reporter's */
    size_t grants_count;
    struct dw_member *writers; /* public part, of those who wrote */
    size_t writers_count;
};
extern const struct dw_layout dw_status_view_layout;

struct dw_ask_user {
    const char *user;
};
struct dw_kdf_params {
    uint8_t salt[16];
    int32_t operations, memory_mib;
};
struct dw_ask_login {
    const char *user;
    uint8_t proof[32];
};
struct dw_login_view {
    struct dw_member member; /* with wrapped keys */
    struct dw_epoch *epochs; /* of the own body, with the member's own seal only */
    size_t epochs_count;
};
struct dw_members_view {
    struct dw_member *members; /* public part */
    size_t members_count;
    struct dw_epoch *epochs; /* with all seals */
    size_t epochs_count;
};
extern const struct dw_layout dw_ask_user_layout, dw_kdf_params_layout, dw_ask_login_layout,
    dw_login_view_layout, dw_members_view_layout, dw_member_public_layout;

struct dw_desk_request {
    const char *user, *method;
    int64_t at;
    const char *reference; /* read, object, command */
    const char *worklist;  /* list */
    int32_t after_due, limit;
    uint8_t after_id[16];
    uint8_t object[16]; /* object */
    int32_t part;
    const char *by;   /* statistics */
    int32_t from, to; /* days */
    uint8_t payload[32]; /* hash of the frames behind the seal */
};
extern const struct dw_layout dw_desk_request_layout;

struct dw_list_row {
    uint8_t id[16];
    int32_t version;
    struct dw_case_index ix;
};
struct dw_list_view {
    struct dw_list_row *rows;
    size_t rows_count;
};
struct dw_case_view {
    struct dw_case c; /* grants of the own body only; events without their signed bytes */
    struct dw_member *writers;
    size_t writers_count;
    struct dw_line *lines; /* of all events */
    size_t lines_count;
};
extern const struct dw_layout dw_list_view_layout, dw_case_view_layout;

struct dw_ask_claim {
    int32_t limit;
};
struct dw_claimed {
    uint8_t case_id[16], notice[16];
    int32_t fence, tries;
    const char *template, *language;
    bool sms, email;
    struct dw_object_ref contact;
    int32_t contact_day;
    uint8_t signer[DW_SIGNER_LEN];
    uint8_t commitment[DW_HASH_LEN];
    struct dw_grant grant; /* of the contact key, to the notifier */
};
struct dw_claim_view {
    struct dw_claimed *items;
    size_t items_count;
};
extern const struct dw_layout dw_ask_claim_layout, dw_claim_view_layout;

struct dw_epochs_view {
    struct dw_epoch *epochs;
    size_t epochs_count;
};
struct dw_stats_view {
    int64_t cases, objects, audit;
};
extern const struct dw_layout dw_epochs_view_layout, dw_stats_view_layout;

/* The answer to a call: a document, and objects behind it.  No frame is longer than DW_PACK_MAX, and with
 * what MDP and the caller put before them they are no more than a message may have (broker.max_frame_bytes,
 * broker.max_frames).
 *
 * The document is in as many frames as it needs: its first four bytes say how long it is.  Objects: each
 * frame is a run of (length u32, bytes); one of length 0 was left out because the answer would have become
 * too long. */
enum {
    DW_PACK_MAX = 200 * 1024,
    DW_DOC_FRAMES_MAX = 12,
    DW_PACK_FRAMES_MAX = 44,
    DW_PACKED_MAX = 8 * 1024 * 1024,
};
/* How many frames it takes; 0: it is longer than an answer may be. */
size_t dw_doc_frames(struct dw_slice doc, struct dw_slice ret[DW_DOC_FRAMES_MAX]);
struct dw_pack {
    struct dw_buf frames[DW_PACK_FRAMES_MAX];
    size_t count, bytes;
};
void dw_pack_init(struct dw_pack *pack);
void dw_pack_put(struct dw_pack *pack, struct dw_slice object); /* empty for one left out */
void dw_pack_free(struct dw_pack *pack);
struct dw_unpack {
    const struct dw_slice *frames;
    size_t count;
    struct dw_reader reader;
};
/* Takes the document off the front; false when the frames are not well formed. */
bool dw_unpack_begin(struct dw_unpack *unpack, const struct dw_slice *frames, size_t count,
                     struct dw_arena *arena, struct dw_slice *doc);
/* The next object; false at the end or when the frames are not well formed. */
bool dw_unpack_next(struct dw_unpack *unpack, struct dw_slice *ret);

#endif
