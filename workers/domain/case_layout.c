/* case_layout.c - how filing, command, event and case look as documents. */
#include "dw/statistics.h"

#include <string.h>

enum { ID_MAX = 32, NAME_MAX = 96, CODE_MAX = 160, SAID_MAX = 262144 };

static const struct dw_field object_fields[] = {
    DW_F_FIXED(struct dw_object_ref, id, 0),
    DW_F_I32(struct dw_object_ref, type, 0),
    DW_F_I32(struct dw_object_ref, epoch, 0),
    DW_F_I32(struct dw_object_ref, sequence, 0),
    DW_F_I32(struct dw_object_ref, chunks, DW_OPTIONAL),
    DW_F_I64(struct dw_object_ref, size, 0),
    DW_F_FIXED(struct dw_object_ref, hash, 0),
};
const struct dw_layout dw_object_ref_layout =
    DW_LAYOUT("object", struct dw_object_ref, object_fields);

static const struct dw_field root_fields[] = {
    DW_F_I32(struct dw_root_ref, kind, 0),
    DW_F_I32(struct dw_root_ref, epoch, 0),
    DW_F_FIXED(struct dw_root_ref, commitment, 0),
};
const struct dw_layout dw_root_ref_layout = DW_LAYOUT("root", struct dw_root_ref, root_fields);

static const struct dw_field filing_fields[] = {
    DW_F_I32(struct dw_sealed_filing, version, 0),
    DW_F_FIXED(struct dw_sealed_filing, id, 0),
    DW_F_FIXED(struct dw_sealed_filing, handle, 0),
    DW_F_FIXED(struct dw_sealed_filing, auth_hash, 0),
    DW_F_FIXED(struct dw_sealed_filing, reporter, 0),
    DW_F_DOC(struct dw_sealed_filing, facts, &dw_facts_layout),
    DW_F_TEXT(struct dw_sealed_filing, body, ID_MAX, 0),
    DW_F_TEXT(struct dw_sealed_filing, rule, ID_MAX, 0),
    DW_F_FIXED(struct dw_sealed_filing, provider, DW_OPTIONAL),
    DW_F_DOCS(struct dw_sealed_filing, roots, DW_CASE_KEYS_MAX, &dw_root_ref_layout, 0),
    DW_F_DOCS(struct dw_sealed_filing, grants, DW_CASE_GRANTS_MAX, &dw_grant_layout, 0),
    DW_F_DOCS(struct dw_sealed_filing, objects, DW_CASE_OBJECTS_MAX, &dw_object_ref_layout, 0),
};
const struct dw_layout dw_sealed_filing_layout =
    DW_LAYOUT("filing", struct dw_sealed_filing, filing_fields);

static const struct dw_field command_fields[] = {
    DW_F_I32(struct dw_command, version, 0),
    DW_F_FIXED(struct dw_command, case_id, 0),
    DW_F_FIXED(struct dw_command, step, 0),
    DW_F_FIXED(struct dw_command, payload, 0),
    DW_F_I32(struct dw_command, against, DW_OPTIONAL),
    DW_F_TEXT(struct dw_command, name, ID_MAX, 0),
    DW_F_TEXT(struct dw_command, actor, NAME_MAX, 0),
    DW_F_TEXT(struct dw_command, body, ID_MAX, DW_OPTIONAL),
    DW_F_I64(struct dw_command, at, DW_OPTIONAL),
    DW_F_I32(struct dw_command, day, 0),
    DW_F_TEXT(struct dw_command, to, NAME_MAX, DW_OPTIONAL),
    DW_F_TEXT(struct dw_command, reason, NAME_MAX, DW_OPTIONAL),
    DW_F_TEXT(struct dw_command, outcome, ID_MAX, DW_OPTIONAL),
    DW_F_DOCS(struct dw_command, objects, DW_CASE_OBJECTS_MAX, &dw_object_ref_layout, DW_OPTIONAL),
    DW_F_DOCS(struct dw_command, roots, DW_CASE_KEYS_MAX, &dw_root_ref_layout, DW_OPTIONAL),
    DW_F_DOCS(struct dw_command, grants, DW_CASE_GRANTS_MAX, &dw_grant_layout, DW_OPTIONAL),
};
const struct dw_layout dw_command_layout = DW_LAYOUT("command", struct dw_command, command_fields);

static const struct dw_field event_fields[] = {
    DW_F_I32(struct dw_event, seq, 0),
    DW_F_FIXED(struct dw_event, step, 0),
    DW_F_FIXED(struct dw_event, payload, DW_OPTIONAL),
    DW_F_TEXT(struct dw_event, kind, ID_MAX, 0),
    DW_F_TEXT(struct dw_event, actor, NAME_MAX, 0),
    DW_F_TEXT(struct dw_event, body, ID_MAX, DW_OPTIONAL),
    DW_F_I64(struct dw_event, at, DW_OPTIONAL),
    DW_F_I32(struct dw_event, day, 0),
    DW_F_TEXT(struct dw_event, state, ID_MAX, 0),
    DW_F_TEXT(struct dw_event, to, NAME_MAX, DW_OPTIONAL),
    DW_F_TEXT(struct dw_event, reason, NAME_MAX, DW_OPTIONAL),
    DW_F_TEXT(struct dw_event, outcome, ID_MAX, DW_OPTIONAL),
    DW_F_DOCS(struct dw_event, objects, DW_CASE_OBJECTS_MAX, &dw_object_ref_layout, DW_OPTIONAL),
    DW_F_BYTES(struct dw_event, said, SAID_MAX, DW_OPTIONAL),
    DW_F_FIXED(struct dw_event, said_by, DW_OPTIONAL),
    DW_F_FIXED(struct dw_event, said_signature, DW_OPTIONAL),
    DW_F_FIXED(struct dw_event, before, DW_OPTIONAL),
    DW_F_FIXED(struct dw_event, hash, DW_OPTIONAL),
    DW_F_FIXED(struct dw_event, writer, DW_OPTIONAL),
    DW_F_FIXED(struct dw_event, signature, DW_OPTIONAL),
};
const struct dw_layout dw_event_layout = DW_LAYOUT("event", struct dw_event, event_fields);

static const struct dw_field clock_fields[] = {
    DW_F_TEXT(struct dw_clock, rule, ID_MAX, 0),
    DW_F_TEXT(struct dw_clock, pack, ID_MAX, 0),
    DW_F_TEXT(struct dw_clock, body, ID_MAX, 0),
    DW_F_I32(struct dw_clock, start, 0),
    DW_F_I32(struct dw_clock, soon, 0),
    DW_F_I32(struct dw_clock, due, 0),
    DW_F_BOOL(struct dw_clock, extended, DW_OPTIONAL),
    DW_F_BOOL(struct dw_clock, estimate, DW_OPTIONAL),
    DW_F_I32(struct dw_clock, stage, DW_OPTIONAL),
    DW_F_I32(struct dw_clock, ended, DW_OPTIONAL),
    DW_F_TEXT(struct dw_clock, ended_by, ID_MAX, DW_OPTIONAL),
};
const struct dw_layout dw_clock_layout = DW_LAYOUT("clock", struct dw_clock, clock_fields);

static const struct dw_field attempt_fields[] = {
    DW_F_I32(struct dw_attempt, n, 0),
    DW_F_TEXT(struct dw_attempt, channel, ID_MAX, 0),
    DW_F_I64(struct dw_attempt, at, DW_OPTIONAL),
    DW_F_I32(struct dw_attempt, day, 0),
    DW_F_TEXT(struct dw_attempt, outcome, ID_MAX, 0),
    DW_F_TEXT(struct dw_attempt, code, CODE_MAX, DW_OPTIONAL),
};
static const struct dw_layout attempt_layout =
    DW_LAYOUT("attempt", struct dw_attempt, attempt_fields);

static const struct dw_field notice_fields[] = {
    DW_F_FIXED(struct dw_notice, id, 0),
    DW_F_TEXT(struct dw_notice, template, ID_MAX, 0),
    DW_F_I32(struct dw_notice, day, 0),
    DW_F_BOOL(struct dw_notice, sms, DW_OPTIONAL),
    DW_F_BOOL(struct dw_notice, email, DW_OPTIONAL),
    DW_F_BOOL(struct dw_notice, sms_done, DW_OPTIONAL),
    DW_F_BOOL(struct dw_notice, email_done, DW_OPTIONAL),
    DW_F_TEXT(struct dw_notice, state, ID_MAX, 0),
    DW_F_I64(struct dw_notice, not_before, DW_OPTIONAL),
    DW_F_I32(struct dw_notice, fence, DW_OPTIONAL),
    DW_F_I32(struct dw_notice, tries, DW_OPTIONAL),
    DW_F_DOCS(struct dw_notice, attempts, DW_CASE_ATTEMPTS_MAX, &attempt_layout, DW_OPTIONAL),
};
const struct dw_layout dw_notice_layout = DW_LAYOUT("notice", struct dw_notice, notice_fields);

static const struct dw_field index_fields[] = {
    DW_F_TEXTS(struct dw_case_index, bodies, 64, 0),
    DW_F_TEXT(struct dw_case_index, reference, ID_MAX, 0),
    DW_F_TEXT(struct dw_case_index, state, ID_MAX, 0),
    DW_F_TEXT(struct dw_case_index, kind, ID_MAX, 0),
    DW_F_TEXT(struct dw_case_index, against, ID_MAX, 0),
    DW_F_TEXT(struct dw_case_index, district, ID_MAX, 0),
    DW_F_I32(struct dw_case_index, day, 0),
    DW_F_BOOL(struct dw_case_index, open, 0),
    DW_F_I32(struct dw_case_index, revision, 0),
    DW_F_TEXT(struct dw_case_index, assignee, NAME_MAX, 0),
    DW_F_TEXT(struct dw_case_index, body, ID_MAX, 0),
    DW_F_I32(struct dw_case_index, due, 0),
    DW_F_TEXT(struct dw_case_index, due_rule, ID_MAX, 0),
    DW_F_I64(struct dw_case_index, timer, 0),
    DW_F_I64(struct dw_case_index, notice, 0),
    DW_F_I64(struct dw_case_index, fold, DW_OPTIONAL),
};
const struct dw_layout dw_case_index_layout =
    DW_LAYOUT("index", struct dw_case_index, index_fields);

static const struct dw_field case_fields[] = {
    DW_F_FIXED(struct dw_case, id, 0),
    DW_F_I32(struct dw_case, version, 0),
    DW_F_I32(struct dw_case, revision, 0),
    DW_F_I32(struct dw_case, folded, DW_OPTIONAL),
    DW_F_TEXT(struct dw_case, reference, ID_MAX, 0),
    DW_F_DOC(struct dw_case, facts, &dw_facts_layout),
    DW_F_FIXED(struct dw_case, handle, 0),
    DW_F_FIXED(struct dw_case, auth_hash, 0),
    DW_F_FIXED(struct dw_case, reporter, 0),
    DW_F_FIXED(struct dw_case, provider, DW_OPTIONAL),
    DW_F_TEXT(struct dw_case, state, ID_MAX, 0),
    DW_F_TEXT(struct dw_case, body, ID_MAX, 0),
    DW_F_TEXT(struct dw_case, assignee, NAME_MAX, 0),
    DW_F_TEXT(struct dw_case, transfer_to, ID_MAX, 0),
    DW_F_TEXT(struct dw_case, transfer_from, ID_MAX, 0),
    DW_F_TEXT(struct dw_case, state_before, ID_MAX, 0),
    DW_F_BOOL(struct dw_case, transfer_received, DW_OPTIONAL),
    DW_F_TEXT(struct dw_case, outcome, ID_MAX, 0),
    DW_F_DOCS(struct dw_case, roots, DW_CASE_KEYS_MAX, &dw_root_ref_layout, 0),
    DW_F_DOCS(struct dw_case, grants, DW_CASE_GRANTS_MAX, &dw_grant_layout, 0),
    DW_F_DOCS(struct dw_case, events, 100000, &dw_event_layout, 0),
    DW_F_DOCS(struct dw_case, clocks, DW_CASE_CLOCKS_MAX, &dw_clock_layout, 0),
    DW_F_DOCS(struct dw_case, notices, DW_CASE_NOTICES_MAX, &dw_notice_layout, 0),
    DW_F_DOC(struct dw_case, ix, &dw_case_index_layout),
};
const struct dw_layout dw_case_layout = DW_LAYOUT("case", struct dw_case, case_fields);

static const struct dw_field report_fields[] = {
    DW_F_FIXED(struct dw_report, case_id, 0),  DW_F_FIXED(struct dw_report, notice, 0),
    DW_F_I32(struct dw_report, fence, 0),      DW_F_TEXT(struct dw_report, channel, ID_MAX, 0),
    DW_F_BOOL(struct dw_report, accepted, 0),  DW_F_BOOL(struct dw_report, final, 0),
    DW_F_BOOL(struct dw_report, refused, 0),   DW_F_TEXT(struct dw_report, code, CODE_MAX, 0),
    DW_F_I64(struct dw_report, again_ms, DW_OPTIONAL),
};
const struct dw_layout dw_report_layout = DW_LAYOUT("report", struct dw_report, report_fields);

enum dw_result dw_case_decode(struct dw_slice doc, struct dw_arena *arena, struct dw_case *ret,
                              struct dw_error *err)
{
    return dw_decode(&dw_case_layout, doc, arena, ret, err);
}

/* Bodies with a grant, each once, the responsible one first. */
static void index_bodies(struct dw_case *c, struct dw_arena *arena)
{
    const char **bodies = dw_arena_alloc(arena, (c->grants_count + 1) * sizeof *bodies);
    size_t count = 0;
    bodies[count++] = c->body;
    for (size_t i = 0; i < c->grants_count; i++) {
        if (c->grants[i].to != DW_TO_BODY)
            continue;
        size_t j = 0;
        while (j < count && strcmp(bodies[j], c->grants[i].id) != 0)
            j++;
        if (j == count)
            bodies[count++] = c->grants[i].id;
    }
    c->ix.bodies = bodies;
    c->ix.bodies_count = count;
}

static int64_t next_telling(const struct dw_clock *clock)
{
    switch (clock->stage) {
    case DW_STAGE_NONE:
        return dw_day_start(clock->soon);
    case DW_STAGE_SOON:
        return dw_day_start(clock->due);
    case DW_STAGE_DUE:
        return dw_day_start(clock->due + 1);
    default:
        return 0;
    }
}

static void index_clocks(struct dw_case *c)
{
    c->ix.due = 0;
    c->ix.due_rule = "";
    c->ix.timer = 0;
    for (size_t i = 0; i < c->clocks_count; i++) {
        const struct dw_clock *clock = &c->clocks[i];
        if (clock->ended)
            continue;
        if (strcmp(clock->body, c->body) == 0 && (!c->ix.due || clock->due < c->ix.due)) {
            c->ix.due = clock->due;
            c->ix.due_rule = clock->rule;
        }
        int64_t at = next_telling(clock);
        if (at && (!c->ix.timer || at < c->ix.timer))
            c->ix.timer = at;
    }
}

static void index_notices(struct dw_case *c)
{
    c->ix.notice = 0;
    for (size_t i = 0; i < c->notices_count; i++) {
        const struct dw_notice *n = &c->notices[i];
        bool open = strcmp(n->state, "waiting") == 0 || strcmp(n->state, "claimed") == 0;
        if (open && (!c->ix.notice || n->not_before < c->ix.notice))
            c->ix.notice = n->not_before ? n->not_before : 1;
    }
}

void dw_case_encode(struct dw_case *c, struct dw_arena *arena, struct dw_buf *out)
{
    index_bodies(c, arena);
    index_clocks(c);
    index_notices(c);
    c->ix.fold = dw_statistics_behind(c);
    c->ix.reference = c->reference;
    c->ix.state = c->state;
    c->ix.kind = c->facts.kind;
    c->ix.against = c->facts.against;
    c->ix.district = c->facts.district;
    c->ix.day = c->facts.day;
    c->ix.open = dw_state_is_open(c->state);
    c->ix.revision = c->revision;
    c->ix.assignee = c->assignee;
    c->ix.body = c->body;
    dw_encode(&dw_case_layout, c, out);
}
