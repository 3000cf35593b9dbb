/* service_desk.c - worklists, cases and commands for members of staff.
 *
 * Every request is signed by the member who asks, not long ago, and leaves an audit entry that is on
 * disk before the answer leaves.  A member sees what the own body holds a grant of; everything else
 * does not exist. */
#include "casework.h"

#include <stdlib.h>
#include <string.h>

/* body: request document, seal, further frames.  Fills request and member, or refuses. */
bool cw_who_asks(struct casework *cw, struct pending *p, const char *method,
                 const struct dw_slice *body, size_t count, struct dw_desk_request *request,
                 struct dw_member *member)
{
    uint8_t payload[DW_HASH_LEN];
    DW_AUTO_BUF rest = {0};
    int64_t version;
    if (count < 2 || body[1].len != DW_SEAL_LEN) {
        cw_refuse(p, 422, "request", "a signed request wants a seal");
        return false;
    }
    if (!cw_decode(p, body, count, 0, &dw_desk_request_layout, request))
        return false;
    dw_buf_init(&rest, 64 * 1024 * 1024);
    for (size_t i = 2; i < count; i++)
        dw_buf_put(&rest, body[i].data, body[i].len);
    dw_hash(payload, dw_buf_slice(&rest));
    enum dw_result found = cw_member(cw, p, request->user, member, &version);
    if (found == DW_RETRY) {
        cw_refuse_result(p, found);
        return false;
    }
    uint8_t signer[DW_SIGNER_LEN];
    struct dw_directory *dir = dw_directory_take(cw->directory);
    bool good = found == DW_OK && strcmp(member->state, "active") == 0 &&
                dw_member_verify(member, dir->site);
    dw_directory_give(cw->directory, dir);
    if (good)
        dw_signer_id(signer, member->sign_public);
    good = good && cw_seal_is_of(body[1].data, signer, member->sign_public, DW_LABEL_DESK, body[0]) &&
           strcmp(request->method, method) == 0 &&
           memcmp(payload, request->payload, sizeof payload) == 0 &&
           llabs(dw_now() - request->at) <= cw->config->cases.clock_skew_seconds * 1000;
    if (!good)
        cw_refuse(p, 403, "seal", "not signed by an active member, or not lately");
    return good;
}

static struct dw_actor actor_of(const struct dw_member *member)
{
    return (struct dw_actor){.type = DW_ACTOR_MEMBER,
                             .user = member->user,
                             .body = member->body,
                             .inspector = dw_member_has_role(member, "inspector")};
}

static bool load_visible(struct casework *cw, struct pending *p, const char *reference,
                         const struct dw_member *member, struct dw_case *ret)
{
    uint8_t id[16];
    enum dw_result result =
        reference ? dw_store_id_of_reference(cw->store, reference, id) : DW_NOT_FOUND;
    if (result == DW_OK)
        result = cw_load(cw, p, id, ret);
    if (result == DW_OK && (!dw_case_visible(ret, member->body) ||
                            !dw_member_has_role(member, "inspector")))
        result = DW_NOT_FOUND;
    if (result == DW_NOT_FOUND)
        cw_refuse(p, 404, "reference", "not found");
    else if (result != DW_OK)
        cw_refuse_result(p, result);
    return result == DW_OK;
}

/* ---- list ---- */

static const struct {
    const char *name;
    enum dw_worklist list;
} worklists[] = {{"mine", DW_LIST_MINE},
                 {"unassigned", DW_LIST_UNASSIGNED},
                 {"due", DW_LIST_DUE},
                 {"overdue", DW_LIST_OVERDUE},
                 {"all", DW_LIST_ALL}};

enum { SOON_WORKING_DAYS = 3 };

/* The last day that still counts as "due soon": some working days ahead. */
static dw_day soon_day(const struct casework *cw, dw_day today)
{
    int left = SOON_WORKING_DAYS;
    dw_day day = today;
    while (left > 0 && day < today + 60)
        left -= dw_calendar_day(cw->domain.calendar, ++day).works;
    return day;
}

static void handle_list(struct casework *cw, struct pending *p, const struct dw_slice *body,
                        size_t count)
{
    struct dw_desk_request request;
    struct dw_member member;
    struct dw_store_row *rows;
    size_t n;
    if (!cw_who_asks(cw, p, "list", body, count, &request, &member))
        return;
    dw_day today = dw_day_of(dw_now());
    struct dw_store_query query = {.list = DW_LIST_ALL,
                                   .body = member.body,
                                   .user = member.user,
                                   .today = today,
                                   .soon = soon_day(cw, today),
                                   .limit = (size_t)request.limit,
                                   .after = !dw_all_zero(request.after_id, 16),
                                   .after_due = request.after_due};
    bool known = false;
    for (size_t i = 0; request.worklist && i < DW_COUNT(worklists); i++)
        if (strcmp(worklists[i].name, request.worklist) == 0) {
            query.list = worklists[i].list;
            known = true;
        }
    if (!known || !dw_member_has_role(&member, "inspector") || request.limit < 1 ||
        request.limit > cw->config->cases.max_page) {
        cw_refuse(p, known ? 403 : 422, "worklist",
                  "expected mine, unassigned, due, overdue or all, asked by an inspector");
        return;
    }
    memcpy(query.after_id, request.after_id, 16);
    cw_flush(cw);
    enum dw_result result = dw_store_worklist(cw->store, &query, &p->arena, &rows, &n);
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    struct dw_list_view view = {.rows_count = n};
    view.rows = dw_arena_alloc(&p->arena, (n + 1) * sizeof *view.rows);
    for (size_t i = 0; i < n; i++) {
        memcpy(view.rows[i].id, rows[i].id, 16);
        view.rows[i].version = rows[i].ix.revision;
        view.rows[i].ix = rows[i].ix;
    }
    cw_answer(p, &dw_list_view_layout, &view);
    cw_audit(p, member.user, "listed", request.worklist);
}

/* ---- read ---- */

/* Only what the own body may open: its grants; and events without the statements they follow from,
 * which carry everybody's. */
static void narrow(struct pending *p, struct dw_case *c, const char *body)
{
    size_t kept = 0;
    struct dw_grant *grants = dw_arena_alloc(&p->arena, (c->grants_count + 1) * sizeof *grants);
    for (size_t i = 0; i < c->grants_count; i++)
        if (c->grants[i].to == DW_TO_BODY && strcmp(c->grants[i].id, body) == 0)
            grants[kept++] = c->grants[i];
    c->grants = grants;
    c->grants_count = kept;
    struct dw_event *events = dw_arena_alloc(&p->arena, (c->events_count + 1) * sizeof *events);
    for (size_t i = 0; i < c->events_count; i++) {
        events[i] = c->events[i];
        events[i].said = (struct dw_slice){0};
        memset(events[i].payload, 0, sizeof events[i].payload);
    }
    c->events = events;
    memset(c->handle, 0, sizeof c->handle);
    memset(c->auth_hash, 0, sizeof c->auth_hash);
}

static void handle_read(struct casework *cw, struct pending *p, const struct dw_slice *body,
                        size_t count)
{
    struct dw_desk_request request;
    struct dw_member member;
    struct dw_case_view view = {0};
    if (!cw_who_asks(cw, p, "read", body, count, &request, &member) ||
        !load_visible(cw, p, request.reference, &member, &view.c))
        return;
    narrow(p, &view.c, member.body);
    cw_lines(p, &view.c, false, &view.lines, &view.lines_count);
    cw_writers(cw, p, view.lines, view.lines_count, &view.writers, &view.writers_count);
    cw_pack_objects(cw, p, view.lines, view.lines_count);
    cw_answer(p, &dw_case_view_layout, &view);
    cw_audit(p, member.user, "read", view.c.reference);
}

static bool names_file(const struct dw_case *c, const uint8_t id[16], int32_t part)
{
    for (size_t i = 0; i < c->events_count; i++)
        for (size_t j = 0; j < c->events[i].objects_count; j++) {
            const struct dw_object_ref *o = &c->events[i].objects[j];
            if (o->type == DW_OBJECT_FILE && memcmp(o->id, id, 16) == 0)
                return part >= 0 && part < o->chunks;
        }
    return false;
}

static void handle_object(struct casework *cw, struct pending *p, const struct dw_slice *body,
                          size_t count)
{
    struct dw_desk_request request;
    struct dw_member member;
    struct dw_case c;
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, DW_CHUNK_SEALED_MAX);
    if (!cw_who_asks(cw, p, "object", body, count, &request, &member) ||
        !load_visible(cw, p, request.reference, &member, &c))
        return;
    enum dw_result result = names_file(&c, request.object, request.part)
                                ? dw_store_object(cw->store, request.object, request.part, &bytes)
                                : DW_NOT_FOUND;
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    cw_done(p, c.revision, c.state, false);
    dw_pack_put(&p->pack, dw_buf_slice(&bytes));
    if (request.part == 0) /* one entry a file, not one a chunk */
        cw_audit(p, member.user, "read file", c.reference);
}

/* ---- command ---- */

static bool check_objects(struct pending *p, const struct dw_command *command,
                          const struct dw_slice *frames, size_t count,
                          const struct dw_member *member)
{
    if (count != command->objects_count) {
        cw_refuse(p, 422, "objects", "an object is missing");
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!cw_check_object(&command->objects[i], frames[i], command->case_id, command->day,
                             member->sign_public, &p->error)) {
            cw_refuse(p, 422, "objects", NULL);
            return false;
        }
    return true;
}

static bool assignee_is_colleague(struct casework *cw, struct pending *p,
                                  const struct dw_command *command, const struct dw_member *member)
{
    struct dw_member to;
    int64_t version;
    if (strcmp(command->name, "assign") != 0)
        return true;
    if (command->to && cw_member(cw, p, command->to, &to, &version) == DW_OK &&
        strcmp(to.body, member->body) == 0 && strcmp(to.state, "active") == 0 &&
        dw_member_has_role(&to, "inspector"))
        return true;
    cw_refuse(p, 422, "to", "expected an active inspector of your body");
    return false;
}

/* New grants must be sealed to keys that count today. */
static bool grants_are_current(struct casework *cw, struct pending *p,
                               const struct dw_command *command)
{
    struct dw_directory *dir = dw_directory_take(cw->directory);
    bool good = true;
    for (size_t i = 0; i < command->grants_count; i++) {
        const struct dw_grant *g = &command->grants[i];
        good &= g->to == DW_TO_REPORTER ||
                dw_directory_epoch(dir, (enum dw_grantee)g->to, g->id, g->to_epoch,
                                   command->day) != NULL;
    }
    dw_directory_give(cw->directory, dir);
    if (!good)
        cw_refuse(p, 422, "grants", "sealed to a key that is not valid today");
    return good;
}

static void handle_command(struct casework *cw, struct pending *p, const struct dw_slice *body,
                           size_t count)
{
    struct dw_desk_request request;
    struct dw_member member;
    struct dw_command command;
    struct dw_case c;
    bool already;
    uint8_t signer[DW_SIGNER_LEN];
    p->tries_again = true;
    if (!cw_who_asks(cw, p, "command", body, count, &request, &member))
        return;
    dw_signer_id(signer, member.sign_public);
    if (count < 4 || body[3].len != DW_SEAL_LEN ||
        dw_decode(&dw_command_layout, body[2], &p->arena, &command, &p->error) != DW_OK) {
        cw_refuse(p, 422, "command", "expected a command and its seal");
        return;
    }
    if (!cw_seal_is_of(body[3].data, signer, member.sign_public, DW_LABEL_COMMAND, body[2]) ||
        strcmp(command.actor, member.user) != 0 || !command.body ||
        strcmp(command.body, member.body) != 0 || command.version != 1) {
        cw_refuse(p, 403, "seal", "the command is not this member's own");
        return;
    }
    if (!load_visible(cw, p, request.reference, &member, &c) ||
        !check_objects(p, &command, body + 4, count - 4, &member) ||
        !assignee_is_colleague(cw, p, &command, &member) || !grants_are_current(cw, p, &command))
        return;
    if (memcmp(command.case_id, c.id, 16) != 0) {
        cw_refuse(p, 422, "case", "the command is for another case");
        return;
    }
    struct dw_actor actor = actor_of(&member);
    int64_t old_version = c.version;
    p->status = dw_case_command(&cw->domain, &c, &command, &actor, body[2], body[3].data, dw_now(),
                                &p->arena, &already, &p->error);
    if (p->status != 200)
        return;
    cw_done(p, c.revision, c.state, already);
    if (already)
        return;
    (*cw->m_commands)++;
    cw_add_command(p, &c, old_version, &command, body + 4);
    cw_audit(p, member.user, command.name, c.reference);
}

/* ---- colleagues and the keys of the body ---- */

static void each_member(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    struct {
        struct pending *p;
        const char *body;
        struct dw_member *items;
        size_t count, max;
    } *g = arg;
    (void)key;
    (void)version;
    struct dw_member *m = &g->items[g->count];
    if (g->count < g->max &&
        dw_decode(&dw_member_layout, doc, &g->p->arena, m, &g->p->error) == DW_OK &&
        strcmp(m->body, g->body) == 0)
        g->count++;
}

static void handle_members(struct casework *cw, struct pending *p, const struct dw_slice *body,
                           size_t count)
{
    struct dw_desk_request request;
    struct dw_member member;
    struct {
        struct pending *p;
        const char *body;
        struct dw_member *items;
        size_t count, max;
    } g = {.p = p, .max = 1000};
    if (!cw_who_asks(cw, p, "members", body, count, &request, &member))
        return;
    g.body = member.body;
    g.items = dw_arena_alloc(&p->arena, (g.max + 1) * sizeof *g.items);
    enum dw_result result = dw_store_records(cw->store, "staff", "", each_member, &g);
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    struct dw_members_view view = {.members = g.items, .members_count = g.count};
    cw_epochs_of(cw, p, member.body, &view.epochs, &view.epochs_count);
    cw_answer(p, &dw_members_view_layout, &view);
}

/* A new key of the body, or further seals of one that exists: seals are only ever added here. */
static void handle_epoch(struct casework *cw, struct pending *p, const struct dw_slice *body,
                         size_t count)
{
    struct dw_desk_request request;
    struct dw_member member;
    struct dw_epoch epoch, *old;
    size_t n;
    char key[64];
    int64_t version = 0;
    if (!cw_who_asks(cw, p, "epoch", body, count, &request, &member) ||
        !cw_decode(p, body, count, 2, &dw_epoch_layout, &epoch))
        return;
    cw_epochs_of(cw, p, member.body, &old, &n);
    bool good = strcmp(epoch.body, member.body) == 0 && epoch.epoch >= 1 &&
                (epoch.type == DW_TO_BODY || epoch.type == DW_TO_CUSTODIAN);
    for (size_t i = 0; i < n; i++) {
        if (old[i].type != epoch.type || old[i].epoch != epoch.epoch)
            continue;
        version = old[i].version;
        good = good && memcmp(old[i].public, epoch.public, DW_KEY_LEN) == 0 &&
               epoch.seals_count >= old[i].seals_count;
    }
    if (!good) {
        cw_refuse(p, 422, "epoch", "not a key of this body, or it takes seals away");
        return;
    }
    dw_epoch_key(&epoch, key);
    cw_done(p, 0, version ? "sealed" : "made", false);
    cw_put_record(p, "epochs", key, version, &dw_epoch_layout, &epoch);
    cw_audit(p, member.user, version ? "key sealed to a colleague" : "key of the body made",
             member.body);
}


const struct cw_method cw_desk_methods[] = {
    {"params", cw_desk_params},   {"login", cw_desk_login},    {"invited", cw_desk_invited},
    {"enrol", cw_desk_enrol},     {"list", handle_list},       {"read", handle_read},
    {"object", handle_object},    {"command", handle_command}, {"members", handle_members},
    {"epoch", handle_epoch},      {"statistics", cw_desk_statistics},
};
const size_t cw_desk_methods_count = DW_COUNT(cw_desk_methods);
