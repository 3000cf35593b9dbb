/* service_public.c - what intake programs may ask for a reporter who has a receipt.
 *
 * The receipt itself never comes here: the handle finds the case, and a tag that follows from the
 * receipt proves the right to it.  No visit is recorded. */
#include "casework.h"

#include "dw/receipt.h"

#include <string.h>

/* Finds the case behind a handle if the tag is right; everything else is "not found". */
static bool open_case(struct casework *cw, struct pending *p, const uint8_t handle[16],
                      const uint8_t auth[32], struct dw_case *ret)
{
    uint8_t id[16], hash[32];
    enum dw_result result = dw_store_id_of_handle(cw->store, handle, id);
    if (result == DW_OK)
        result = cw_load(cw, p, id, ret);
    dw_receipt_auth_hash(hash, auth);
    if (result == DW_OK && !dw_same_bytes(hash, ret->auth_hash, sizeof hash))
        result = DW_NOT_FOUND;
    if (result != DW_OK)
        cw_refuse_result(p, result);
    return result == DW_OK;
}

static void handle_status(struct casework *cw, struct pending *p, const struct dw_slice *body,
                          size_t count)
{
    struct dw_ask_status ask;
    struct dw_case c;
    if (!cw_decode(p, body, count, 0, &dw_ask_status_layout, &ask) ||
        !open_case(cw, p, ask.handle, ask.auth, &c))
        return;
    struct dw_status_view view = {.version = c.revision,
                                  .reference = c.reference,
                                  .state = c.state,
                                  .body = c.body,
                                  .facts = c.facts,
                                  .clocks = c.clocks,
                                  .clocks_count = c.clocks_count,
                                  .roots = c.roots,
                                  .roots_count = c.roots_count};
    memcpy(view.case_id, c.id, sizeof view.case_id);
    view.grants = dw_arena_alloc(&p->arena, (c.grants_count + 1) * sizeof *view.grants);
    for (size_t i = 0; i < c.grants_count; i++)
        if (c.grants[i].to == DW_TO_REPORTER)
            view.grants[view.grants_count++] = c.grants[i];
    view.notices = dw_arena_alloc(&p->arena, (c.notices_count + 1) * sizeof *view.notices);
    for (size_t i = 0; i < c.notices_count; i++) {
        struct dw_notice *n = &view.notices[view.notices_count++];
        *n = (struct dw_notice){.template = c.notices[i].template,
                                .day = c.notices[i].day,
                                .sms = c.notices[i].sms,
                                .email = c.notices[i].email,
                                .state = c.notices[i].state};
        memcpy(n->id, c.notices[i].id, sizeof n->id);
    }
    cw_lines(p, &c, true, &view.lines, &view.lines_count);
    cw_writers(cw, p, view.lines, view.lines_count, &view.writers, &view.writers_count);
    cw_pack_objects(cw, p, view.lines, view.lines_count);
    cw_answer(p, &dw_status_view_layout, &view);
}

/* Which intake signed for the reporter; its key, or NULL. */
static const struct dw_program *intake_of(const struct dw_directory *dir,
                                          const struct dw_ask_command *ask)
{
    static const char *const roles[] = {"web", "phone", "email"};
    const struct dw_program *program = dw_directory_by_signer(dir, ask->seal, dw_day_of(dw_now()));
    for (size_t i = 0; program && i < DW_COUNT(roles); i++)
        if (strcmp(program->role, roles[i]) == 0 &&
            cw_seal_is_of(ask->seal, program->signer, program->sign, DW_LABEL_COMMAND,
                          ask->command))
            return program;
    return NULL;
}

static bool check_objects(struct pending *p, const struct dw_command *command,
                          const struct dw_slice *frames, size_t count,
                          const struct dw_program *intake)
{
    if (count != command->objects_count) {
        cw_refuse(p, 422, "objects", "an object is missing");
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!cw_check_object(&command->objects[i], frames[i], command->case_id, command->day,
                             intake->sign, &p->error)) {
            cw_refuse(p, 422, "objects", NULL);
            return false;
        }
    return true;
}

static void handle_command(struct casework *cw, struct pending *p, const struct dw_slice *body,
                           size_t count)
{
    struct dw_ask_command ask;
    struct dw_command command;
    struct dw_case c;
    struct dw_actor reporter = {.type = DW_ACTOR_REPORTER};
    bool already;
    p->tries_again = true;
    if (!cw_decode(p, body, count, 0, &dw_ask_command_layout, &ask) ||
        dw_decode(&dw_command_layout, ask.command, &p->arena, &command, &p->error) != DW_OK) {
        cw_refuse(p, 422, "request", NULL);
        return;
    }
    struct dw_directory *dir = dw_directory_take(cw->directory);
    const struct dw_program *intake = intake_of(dir, &ask);
    if (!intake)
        cw_refuse(p, 403, "seal", "not signed by an intake of the directory");
    else if (check_objects(p, &command, body + 1, count - 1, intake) &&
             open_case(cw, p, ask.handle, ask.auth, &c)) {
        int64_t old_version = c.version;
        if (memcmp(command.case_id, c.id, 16) != 0 || strcmp(command.actor, "reporter") != 0 ||
            command.version != 1)
            cw_refuse(p, 422, "case", "the command is for another case");
        else if ((p->status = dw_case_command(&cw->domain, &c, &command, &reporter, ask.command,
                                              ask.seal, dw_now(), &p->arena, &already,
                                              &p->error)) == 200) {
            cw_done(p, c.revision, c.state, already);
            if (!already) {
                (*cw->m_commands)++;
                cw_add_command(p, &c, old_version, &command, body + 1);
            }
        }
    }
    dw_directory_give(cw->directory, dir);
}

const struct cw_method cw_public_methods[] = {{"status", handle_status},
                                              {"command", handle_command}};
const size_t cw_public_methods_count = DW_COUNT(cw_public_methods);
