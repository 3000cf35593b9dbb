/* case_decide.c - registering a filing, carrying out a command, letting clocks tell. */
#include "case_private.h"

#include <sodium.h>
#include <string.h>

static void put_seal(struct dw_event *event, struct dw_slice said, const uint8_t seal[DW_SEAL_LEN])
{
    event->said = said;
    memcpy(event->said_by, seal, DW_SIGNER_LEN);
    memcpy(event->said_signature, seal + DW_SIGNER_LEN, DW_SIGNATURE_LEN);
}

void dw_case_register(const struct dw_domain *domain, const struct dw_sealed_filing *filing,
                      struct dw_slice said, const uint8_t seal[DW_SEAL_LEN], const char *reference,
                      dw_time now, struct dw_arena *arena, struct dw_case *ret)
{
    struct dw_said source = {.filing = filing};
    *ret = (struct dw_case){.version = 1, .reference = reference, .state = ""};
    memcpy(ret->id, filing->id, sizeof ret->id);
    struct dw_event event = {.kind = "registered",
                             .actor = filing->facts.channel,
                             .day = filing->facts.day,
                             .state = "received",
                             .to = filing->body,
                             .reason = filing->rule,
                             .objects = filing->objects,
                             .objects_count = filing->objects_count};
    memcpy(event.step, filing->id, sizeof event.step);
    put_seal(&event, said, seal);
    dw_case_add_event(domain, ret, &event, &source, arena);
    dw_case_add_notice(domain, ret, "registered", now, arena);
}

void dw_case_mark_route(const struct dw_domain *domain, struct dw_case *c, dw_time now,
                        struct dw_arena *arena)
{
    struct dw_said nobody = {0};
    struct dw_event event = {
        .kind = "route_differs", .actor = "system", .day = dw_day_of(now), .state = c->state};
    dw_system_step(event.step, c, event.kind, 0, 0);
    dw_case_add_event(domain, c, &event, &nobody, arena);
}

/* ---- what a command must carry ---- */

static int refuse(int status, struct dw_error *err, const char *field, const char *text)
{
    dw_error_set(err, field, "%s", text);
    return status;
}

/* Says what would have been right: "expected one of A, B, C". */
static int refuse_code(const struct dw_domain *domain, enum dw_list list, struct dw_error *err,
                       const char *field)
{
    char codes[256] = "";
    size_t len = 0;
    for (size_t i = 0; i < dw_terms_count(domain->catalogue, list) && len < sizeof codes; i++)
        len += (size_t)snprintf(codes + len, sizeof codes - len, "%s%s", i ? ", " : "",
                                dw_term_at(domain->catalogue, list, i)->code);
    dw_error_set(err, field, "expected one of %s", codes);
    return 422;
}

static size_t count_objects(const struct dw_command *command, int32_t type)
{
    size_t count = 0;
    for (size_t i = 0; i < command->objects_count; i++)
        count += command->objects[i].type == type;
    return count;
}

static int check_needs(const struct dw_domain *domain, const struct dw_case *c,
                       const struct dw_transition *t, const struct dw_command *command,
                       struct dw_error *err)
{
    size_t texts = count_objects(command, DW_OBJECT_MESSAGE);
    size_t notes = count_objects(command, DW_OBJECT_NOTE);
    const struct dw_body *to;
    const struct {
        const char *field, *value;
        int32_t needs;
    } codes[] = {{"reason", command->reason, DW_NEEDS_REASON},
                 {"outcome", command->outcome, DW_NEEDS_OUTCOME},
                 {"to", command->to, DW_NEEDS_TO_BODY | DW_NEEDS_TO_MEMBER}};
    for (size_t i = 0; i < DW_COUNT(codes); i++) /* it would stand in the event, unchecked */
        if (codes[i].value && *codes[i].value && !(t->needs & codes[i].needs))
            return refuse(422, err, codes[i].field, "this command takes none");
    if (texts + notes != command->objects_count)
        return refuse(422, err, "objects", "only messages and notes go with a command");
    if ((t->needs & DW_NEEDS_TEXT) && texts != 1)
        return refuse(422, err, "text", "this command wants one text to the reporter");
    if (texts && !(t->needs & (DW_NEEDS_TEXT | DW_MAY_TEXT)))
        return refuse(422, err, "text", "this command takes no text");
    if ((t->needs & DW_NEEDS_NOTE) && notes != 1)
        return refuse(422, err, "text", "this command wants one note");
    if (notes > 1)
        return refuse(422, err, "text", "at most one note");
    if ((t->needs & DW_NEEDS_REASON) &&
        (!command->reason || !dw_term_find(domain->catalogue, t->reasons, command->reason)))
        return refuse_code(domain, t->reasons, err, "reason");
    if ((t->needs & DW_NEEDS_OUTCOME) &&
        (!command->outcome || !dw_term_find(domain->catalogue, DW_OUTCOMES, command->outcome)))
        return refuse_code(domain, DW_OUTCOMES, err, "outcome");
    if ((t->needs & DW_NEEDS_TO_MEMBER) && (!command->to || !*command->to))
        return refuse(422, err, "to", "expected a member of your body");
    if (t->needs & DW_NEEDS_TO_BODY) {
        to = command->to ? dw_body_find(domain->routing, command->to) : NULL;
        if (!to || strcmp(to->id, c->body) == 0)
            return refuse(422, err, "to", "expected another body of the catalogue");
        for (size_t i = 0; i < c->facts.excluded_count; i++)
            if (strcmp(c->facts.excluded[i], to->id) == 0)
                return refuse(422, err, "to", "a body that is itself reported may not receive it");
    }
    return 200;
}

/* ---- keys that come with a command ---- */

static bool has_grant(const struct dw_command *command, int32_t kind, int32_t epoch,
                      enum dw_grantee to, const char *id)
{
    for (size_t i = 0; i < command->grants_count; i++) {
        const struct dw_grant *g = &command->grants[i];
        if (g->kind == kind && g->epoch == epoch && g->to == (int32_t)to && strcmp(g->id, id) == 0)
            return true;
    }
    return false;
}

/* New root keys are R at a transfer and I at the first internal step, each the next epoch. */
static int check_roots(const struct dw_case *c, const struct dw_transition *t,
                       const struct dw_command *command, struct dw_error *err)
{
    bool transfer = t->needs & DW_NEEDS_TO_BODY;
    for (size_t i = 0; i < command->roots_count; i++) {
        const struct dw_root_ref *r = &command->roots[i];
        bool wanted = (r->kind == DW_ROOT_R && transfer) ||
                      (r->kind == DW_ROOT_I && count_objects(command, DW_OBJECT_NOTE));
        if (!wanted || r->epoch != dw_case_epoch(c, (enum dw_root_kind)r->kind) + 1 ||
            command->roots_count > 2)
            return refuse(422, err, "roots", "a root key that this command may not bring");
        if (!has_grant(command, r->kind, r->epoch, DW_TO_ESCROW, "") ||
            !has_grant(command, r->kind, r->epoch, DW_TO_BODY, c->body) ||
            (r->kind == DW_ROOT_R && !has_grant(command, r->kind, r->epoch, DW_TO_REPORTER, "")))
            return refuse(422, err, "grants", "a new root key is not granted to all who need it");
    }
    return 200;
}

static bool brings_root(const struct dw_command *command, int32_t kind, int32_t epoch)
{
    for (size_t i = 0; i < command->roots_count; i++)
        if (command->roots[i].kind == kind && command->roots[i].epoch == epoch)
            return true;
    return false;
}

static int check_grants(const struct dw_domain *domain, const struct dw_case *c,
                        const struct dw_transition *t, const struct dw_command *command,
                        struct dw_error *err)
{
    bool transfer = t->needs & DW_NEEDS_TO_BODY;
    const struct dw_body *to = transfer ? dw_body_find(domain->routing, command->to) : NULL;
    for (size_t i = 0; i < command->grants_count; i++) {
        const struct dw_grant *g = &command->grants[i];
        bool own = brings_root(command, g->kind, g->epoch);
        if (!own && !dw_case_root(c, g->kind, g->epoch))
            return refuse(422, err, "grants", "a grant of a root key that does not exist");
        bool to_receiver = transfer && g->to == DW_TO_BODY && strcmp(g->id, command->to) == 0 &&
                           to->member && (g->kind == DW_ROOT_R || g->kind == DW_ROOT_I);
        bool of_new = own && (g->to == DW_TO_ESCROW ||
                              (g->to == DW_TO_BODY && strcmp(g->id, c->body) == 0) ||
                              (g->to == DW_TO_REPORTER && g->kind == DW_ROOT_R));
        if (!to_receiver && !of_new)
            return refuse(422, err, "grants", "a grant that this command may not make");
    }
    if (!transfer || !to->member)
        return 200;
    /* The receiver must be able to read all the reporter can, and what comes next. */
    int32_t newest = dw_case_epoch(c, DW_ROOT_R) + 1;
    for (int32_t epoch = 1; epoch <= newest; epoch++)
        if (!has_grant(command, DW_ROOT_R, epoch, DW_TO_BODY, command->to))
            return refuse(422, err, "grants", "the receiver is not granted every root key");
    return brings_root(command, DW_ROOT_R, newest)
               ? 200
               : refuse(422, err, "roots", "a transfer brings a new root key");
}

static int check_epochs(const struct dw_case *c, const struct dw_command *command,
                        struct dw_error *err)
{
    for (size_t i = 0; i < command->objects_count; i++) {
        const struct dw_object_ref *o = &command->objects[i];
        enum dw_root_kind kind = dw_object_root((enum dw_object_type)o->type);
        bool known = brings_root(command, (int32_t)kind, o->epoch) ||
                     (o->epoch == dw_case_epoch(c, kind) && o->epoch > 0);
        if (!known)
            return refuse(409, err, "objects",
                          "sealed under a root key that is not the newest: read the case again");
    }
    return 200;
}

/* ---- carrying out ---- */

static const struct dw_event *find_step(const struct dw_case *c, const uint8_t step[16])
{
    for (size_t i = 0; i < c->events_count; i++)
        if (memcmp(c->events[i].step, step, 16) == 0)
            return &c->events[i];
    return NULL;
}

static int check_limits(const struct dw_domain *domain, const struct dw_case *c,
                        const struct dw_actor *actor, dw_day today, struct dw_error *err)
{
    int32_t messages = 0;
    if (c->events_count >= (size_t)domain->max_events)
        return refuse(422, err, "events", "the case has as many events as a case may have");
    if (actor->type != DW_ACTOR_REPORTER)
        return 200;
    for (size_t i = 0; i < c->events_count; i++)
        messages += c->events[i].day == today && strcmp(c->events[i].actor, "reporter") == 0;
    return messages < domain->messages_per_day
               ? 200
               : refuse(429, err, "text", "as many messages today as a day allows");
}

int dw_case_command(const struct dw_domain *domain, struct dw_case *c,
                    const struct dw_command *command, const struct dw_actor *actor,
                    struct dw_slice said, const uint8_t seal[DW_SEAL_LEN], dw_time now,
                    struct dw_arena *arena, bool *already, struct dw_error *err)
{
    int status = 200;
    dw_day today = dw_day_of(now);
    *already = false;
    const struct dw_event *done = find_step(c, command->step);
    if (done) {
        *already = memcmp(done->payload, command->payload, sizeof done->payload) == 0;
        return *already ? 200
                        : refuse(422, err, "Idempotency-Key",
                                 "the key was used before with another payload");
    }
    if (command->day < today - 1 || command->day > today + 1)
        return refuse(422, err, "day", "the command was signed on another day");
    if (actor->type == DW_ACTOR_MEMBER && command->against != c->revision)
        return refuse(409, err, "version", "the case has changed: read it again");
    const struct dw_transition *t =
        dw_case_transition(c, command->name, actor, domain->routing, &status, err);
    if (!t)
        return status;
    if ((status = check_limits(domain, c, actor, today, err)) != 200 ||
        (status = check_needs(domain, c, t, command, err)) != 200 ||
        (status = check_roots(c, t, command, err)) != 200 ||
        (status = check_grants(domain, c, t, command, err)) != 200 ||
        (status = check_epochs(c, command, err)) != 200)
        return status;

    struct dw_event event = {.kind = t->event,
                             .actor = command->actor,
                             .body = command->body,
                             .at = actor->type == DW_ACTOR_MEMBER ? now : 0,
                             .day = command->day, /* as in the header of its objects */
                             .to = command->to,
                             .reason = command->reason,
                             .outcome = command->outcome,
                             .objects = command->objects,
                             .objects_count = command->objects_count};
    event.state = strcmp(t->to, "<") == 0 ? c->state_before : *t->to ? t->to : c->state;
    memcpy(event.step, command->step, sizeof event.step);
    memcpy(event.payload, command->payload, sizeof event.payload);
    put_seal(&event, said, seal);
    struct dw_said source = {.command = command};
    dw_case_add_event(domain, c, &event, &source, arena);
    dw_case_add_notice(domain, c, t->notice, now, arena);
    c->version++;
    return 200;
}

/* ---- clocks ---- */

static const struct {
    int32_t stage;
    const char *kind;
} tellings[] = {{DW_STAGE_SOON, "clock_soon"},
                {DW_STAGE_DUE, "clock_due"},
                {DW_STAGE_OVERDUE, "clock_overdue"}};

static dw_day day_of_stage(const struct dw_clock *clock, int32_t stage)
{
    return stage == DW_STAGE_SOON ? clock->soon : stage == DW_STAGE_DUE ? clock->due : clock->due + 1;
}

/* A worker that slept tells the latest stage only; the ones it slept through are past. */
static bool tell_clock(const struct dw_domain *domain, struct dw_case *c, size_t i, dw_time now,
                       struct dw_arena *arena)
{
    const struct dw_clock *clock = &c->clocks[i];
    dw_day today = dw_day_of(now);
    const char *kind = NULL;
    int32_t stage = clock->stage;
    for (size_t t = 0; t < DW_COUNT(tellings); t++) {
        if (tellings[t].stage > clock->stage && day_of_stage(clock, tellings[t].stage) <= today) {
            kind = tellings[t].kind;
            stage = tellings[t].stage;
        }
    }
    if (clock->ended || !kind)
        return false;
    struct dw_said nobody = {0};
    struct dw_event event = {.kind = kind,
                             .actor = "system",
                             .body = clock->body,
                             .at = now,
                             .day = today,
                             .state = c->state,
                             .reason = clock->rule};
    dw_system_step(event.step, c, kind, (int32_t)i, stage);
    dw_case_add_event(domain, c, &event, &nobody, arena);
    return true;
}

bool dw_case_tick(const struct dw_domain *domain, struct dw_case *c, dw_time now,
                  struct dw_arena *arena)
{
    bool told = false;
    for (size_t i = 0; i < c->clocks_count; i++)
        told |= tell_clock(domain, c, i, now, arena);
    if (told)
        c->version++;
    return told;
}
