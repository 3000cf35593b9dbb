/* services.c - layouts of what the case worker is asked and answers. */
#include "dw/services.h"

enum { ID_MAX = 32, NAME_LEN = 96, LIST_MAX = 1000, LINES_MAX = 5000, MEMBERS_MAX = 2000 };

static const struct dw_field ask_status_fields[] = {
    DW_F_FIXED(struct dw_ask_status, handle, 0),
    DW_F_FIXED(struct dw_ask_status, auth, 0),
};
const struct dw_layout dw_ask_status_layout =
    DW_LAYOUT("status", struct dw_ask_status, ask_status_fields);

static const struct dw_field ask_command_fields[] = {
    DW_F_FIXED(struct dw_ask_command, handle, 0),
    DW_F_FIXED(struct dw_ask_command, auth, 0),
    DW_F_BYTES(struct dw_ask_command, command, 65536, 0),
    DW_F_FIXED(struct dw_ask_command, seal, 0),
};
const struct dw_layout dw_ask_command_layout =
    DW_LAYOUT("command", struct dw_ask_command, ask_command_fields);

static const struct dw_field done_fields[] = {
    DW_F_I32(struct dw_done, version, 0),
    DW_F_TEXT(struct dw_done, state, ID_MAX, DW_OPTIONAL),
    DW_F_BOOL(struct dw_done, already, DW_OPTIONAL),
};
const struct dw_layout dw_done_layout = DW_LAYOUT("done", struct dw_done, done_fields);

static const struct dw_field line_fields[] = {
    DW_F_I32(struct dw_line, seq, 0),
    DW_F_TEXT(struct dw_line, kind, ID_MAX, 0),
    DW_F_TEXT(struct dw_line, actor, NAME_LEN, 0),
    DW_F_TEXT(struct dw_line, state, ID_MAX, 0),
    DW_F_TEXT(struct dw_line, to, NAME_LEN, DW_OPTIONAL),
    DW_F_TEXT(struct dw_line, reason, NAME_LEN, DW_OPTIONAL),
    DW_F_TEXT(struct dw_line, outcome, ID_MAX, DW_OPTIONAL),
    DW_F_I64(struct dw_line, at, DW_OPTIONAL),
    DW_F_I32(struct dw_line, day, 0),
    DW_F_DOCS(struct dw_line, objects, DW_CASE_OBJECTS_MAX, &dw_object_ref_layout, DW_OPTIONAL),
    DW_F_I32(struct dw_line, object_day, DW_OPTIONAL),
    DW_F_FIXED(struct dw_line, signer, DW_OPTIONAL),
};
static const struct dw_layout line_layout = DW_LAYOUT("line", struct dw_line, line_fields);

static const struct dw_field member_public_fields[] = {
    DW_F_TEXT(struct dw_member, user, NAME_LEN, 0),
    DW_F_TEXT(struct dw_member, name, NAME_LEN, 0),
    DW_F_TEXT(struct dw_member, body, ID_MAX, 0),
    DW_F_TEXTS(struct dw_member, roles, DW_MEMBER_ROLES_MAX, 0),
    DW_F_I32(struct dw_member, invited, 0),
    DW_F_FIXED(struct dw_member, enrol_public, 0),
    DW_F_FIXED(struct dw_member, invite_signature, 0),
    DW_F_TEXT(struct dw_member, state, ID_MAX, 0),
    DW_F_FIXED(struct dw_member, sign_public, DW_OPTIONAL),
    DW_F_FIXED(struct dw_member, box_public, DW_OPTIONAL),
    DW_F_FIXED(struct dw_member, member_signature, DW_OPTIONAL),
};
const struct dw_layout dw_member_public_layout =
    DW_LAYOUT("member", struct dw_member, member_public_fields);

static const struct dw_field status_view_fields[] = {
    DW_F_FIXED(struct dw_status_view, case_id, 0),
    DW_F_I32(struct dw_status_view, version, 0),
    DW_F_TEXT(struct dw_status_view, reference, ID_MAX, 0),
    DW_F_TEXT(struct dw_status_view, state, ID_MAX, 0),
    DW_F_TEXT(struct dw_status_view, body, ID_MAX, 0),
    DW_F_DOC(struct dw_status_view, facts, &dw_facts_layout),
    DW_F_DOCS(struct dw_status_view, clocks, DW_CASE_CLOCKS_MAX, &dw_clock_layout, 0),
    DW_F_DOCS(struct dw_status_view, lines, LINES_MAX, &line_layout, 0),
    DW_F_DOCS(struct dw_status_view, notices, DW_CASE_NOTICES_MAX, &dw_notice_layout, 0),
    DW_F_DOCS(struct dw_status_view, roots, DW_CASE_KEYS_MAX, &dw_root_ref_layout, 0),
    DW_F_DOCS(struct dw_status_view, grants, DW_CASE_GRANTS_MAX, &dw_grant_layout, 0),
    DW_F_DOCS(struct dw_status_view, writers, MEMBERS_MAX, &dw_member_public_layout, 0),
};
const struct dw_layout dw_status_view_layout =
    DW_LAYOUT("status view", struct dw_status_view, status_view_fields);

static const struct dw_field ask_user_fields[] = {DW_F_TEXT(struct dw_ask_user, user, NAME_LEN, 0)};
const struct dw_layout dw_ask_user_layout = DW_LAYOUT("user", struct dw_ask_user, ask_user_fields);

static const struct dw_field kdf_fields[] = {
    DW_F_FIXED(struct dw_kdf_params, salt, 0),
    DW_F_I32(struct dw_kdf_params, operations, 0),
    DW_F_I32(struct dw_kdf_params, memory_mib, 0),
};
const struct dw_layout dw_kdf_params_layout =
    DW_LAYOUT("kdf parameters", struct dw_kdf_params, kdf_fields);

static const struct dw_field ask_login_fields[] = {
    DW_F_TEXT(struct dw_ask_login, user, NAME_LEN, 0),
    DW_F_FIXED(struct dw_ask_login, proof, 0),
};
const struct dw_layout dw_ask_login_layout =
    DW_LAYOUT("login", struct dw_ask_login, ask_login_fields);

static const struct dw_field login_view_fields[] = {
    DW_F_DOC(struct dw_login_view, member, &dw_member_layout),
    DW_F_DOCS(struct dw_login_view, epochs, DW_MEMBER_EPOCHS_MAX, &dw_epoch_layout, 0),
};
const struct dw_layout dw_login_view_layout =
    DW_LAYOUT("login view", struct dw_login_view, login_view_fields);

static const struct dw_field members_view_fields[] = {
    DW_F_DOCS(struct dw_members_view, members, MEMBERS_MAX, &dw_member_public_layout, 0),
    DW_F_DOCS(struct dw_members_view, epochs, LIST_MAX, &dw_epoch_layout, DW_OPTIONAL),
};
const struct dw_layout dw_members_view_layout =
    DW_LAYOUT("members", struct dw_members_view, members_view_fields);

static const struct dw_field desk_request_fields[] = {
    DW_F_TEXT(struct dw_desk_request, user, NAME_LEN, 0),
    DW_F_TEXT(struct dw_desk_request, method, ID_MAX, 0),
    DW_F_I64(struct dw_desk_request, at, 0),
    DW_F_TEXT(struct dw_desk_request, reference, ID_MAX, DW_OPTIONAL),
    DW_F_TEXT(struct dw_desk_request, worklist, ID_MAX, DW_OPTIONAL),
    DW_F_I32(struct dw_desk_request, after_due, DW_OPTIONAL),
    DW_F_I32(struct dw_desk_request, limit, DW_OPTIONAL),
    DW_F_FIXED(struct dw_desk_request, after_id, DW_OPTIONAL),
    DW_F_FIXED(struct dw_desk_request, object, DW_OPTIONAL),
    DW_F_I32(struct dw_desk_request, part, DW_OPTIONAL),
    DW_F_TEXT(struct dw_desk_request, by, ID_MAX, DW_OPTIONAL),
    DW_F_I32(struct dw_desk_request, from, DW_OPTIONAL),
    DW_F_I32(struct dw_desk_request, to, DW_OPTIONAL),
    DW_F_FIXED(struct dw_desk_request, payload, 0),
};
const struct dw_layout dw_desk_request_layout =
    DW_LAYOUT("desk request", struct dw_desk_request, desk_request_fields);

static const struct dw_field list_row_fields[] = {
    DW_F_FIXED(struct dw_list_row, id, 0),
    DW_F_I32(struct dw_list_row, version, 0),
    DW_F_DOC(struct dw_list_row, ix, &dw_case_index_layout),
};
static const struct dw_layout list_row_layout =
    DW_LAYOUT("row", struct dw_list_row, list_row_fields);
static const struct dw_field list_view_fields[] = {
    DW_F_DOCS(struct dw_list_view, rows, LIST_MAX, &list_row_layout, 0),
};
const struct dw_layout dw_list_view_layout =
    DW_LAYOUT("worklist", struct dw_list_view, list_view_fields);

static const struct dw_field case_view_fields[] = {
    DW_F_DOC(struct dw_case_view, c, &dw_case_layout),
    DW_F_DOCS(struct dw_case_view, writers, MEMBERS_MAX, &dw_member_public_layout, 0),
    DW_F_DOCS(struct dw_case_view, lines, LINES_MAX, &line_layout, 0),
};
const struct dw_layout dw_case_view_layout =
    DW_LAYOUT("case view", struct dw_case_view, case_view_fields);

static const struct dw_field ask_claim_fields[] = {DW_F_I32(struct dw_ask_claim, limit, 0)};
const struct dw_layout dw_ask_claim_layout =
    DW_LAYOUT("claim", struct dw_ask_claim, ask_claim_fields);

static const struct dw_field claimed_fields[] = {
    DW_F_FIXED(struct dw_claimed, case_id, 0),
    DW_F_FIXED(struct dw_claimed, notice, 0),
    DW_F_I32(struct dw_claimed, fence, 0),
    DW_F_I32(struct dw_claimed, tries, 0),
    DW_F_TEXT(struct dw_claimed, template, ID_MAX, 0),
    DW_F_TEXT(struct dw_claimed, language, ID_MAX, 0),
    DW_F_BOOL(struct dw_claimed, sms, DW_OPTIONAL),
    DW_F_BOOL(struct dw_claimed, email, DW_OPTIONAL),
    DW_F_DOC(struct dw_claimed, contact, &dw_object_ref_layout),
    DW_F_I32(struct dw_claimed, contact_day, 0),
    DW_F_FIXED(struct dw_claimed, signer, 0),
    DW_F_FIXED(struct dw_claimed, commitment, 0),
    DW_F_DOC(struct dw_claimed, grant, &dw_grant_layout),
};
static const struct dw_layout claimed_layout =
    DW_LAYOUT("claimed", struct dw_claimed, claimed_fields);
static const struct dw_field claim_view_fields[] = {
    DW_F_DOCS(struct dw_claim_view, items, LIST_MAX, &claimed_layout, 0),
};
const struct dw_layout dw_claim_view_layout =
    DW_LAYOUT("claims", struct dw_claim_view, claim_view_fields);

static const struct dw_field epochs_view_fields[] = {
    DW_F_DOCS(struct dw_epochs_view, epochs, LIST_MAX, &dw_epoch_layout, 0),
};
const struct dw_layout dw_epochs_view_layout =
    DW_LAYOUT("epochs", struct dw_epochs_view, epochs_view_fields);

static const struct dw_field stats_fields[] = {
    DW_F_I64(struct dw_stats_view, cases, 0),
    DW_F_I64(struct dw_stats_view, objects, 0),
    DW_F_I64(struct dw_stats_view, audit, 0),
};
const struct dw_layout dw_stats_view_layout =
    DW_LAYOUT("statistics", struct dw_stats_view, stats_fields);
