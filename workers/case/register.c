/* register.c - from an item of the queue to a case.
 *
 * Everything the intake claims is checked again: its signature, the form of every object, that the
 * keys sealed to were valid on the day of filing, and the route.  What cannot be verified never
 * becomes a case and never disappears: it is a dead letter.  A store that is away costs no attempt. */
#include "casework.h"

#include "dw/log.h"
#include "dw/testing.h"

#include <string.h>

enum { FILING_FRAME = 1, SEAL_FRAME = 2, FIRST_OBJECT_FRAME = 3, DAYS_BACK = 400 };

static bool is_live(void *arg, const char *body_id)
{
    struct {
        const struct dw_directory *dir;
        dw_day day;
    } *on = arg;
    return dw_directory_current(on->dir, DW_TO_BODY, body_id, on->day) != NULL;
}

/* ---- checks; each returns NULL or why not ---- */

static const char *check_header(const struct dw_sealed_filing *f,
                                const struct dw_item_header *header, dw_day today)
{
    if (f->version != 1)
        return "unknown version of a filing";
    if (memcmp(f->id, header->id, 16) != 0 || memcmp(f->handle, header->handle, 16) != 0)
        return "the header names another filing";
    if (f->facts.day > today + 1 || f->facts.day < today - DAYS_BACK)
        return "filed on an impossible day";
    return NULL;
}

static const char *check_facts(const struct casework *cw, const struct dw_facts *facts)
{
    const struct dw_catalogue *c = cw->domain.catalogue;
    bool report = strcmp(facts->kind, "report") == 0;
    if (!report && strcmp(facts->kind, "complaint") != 0)
        return "unknown kind";
    if (!dw_term_find(c, DW_AGAINST, facts->against) ||
        !dw_term_find(c, DW_DISTRICTS, facts->district) ||
        !dw_term_find(c, DW_AMOUNTS, facts->amount))
        return "a code that is not in the catalogue";
    if (report ? !facts->acts_count
               : !facts->complaint || !dw_term_find(c, DW_COMPLAINTS, facts->complaint))
        return "neither act nor complaint";
    for (size_t i = 0; i < facts->acts_count; i++)
        if (!dw_term_find(c, DW_ACTS, facts->acts[i]))
            return "an act that is not in the catalogue";
    return NULL;
}

static const struct dw_grant *find_grant(const struct dw_sealed_filing *f, int32_t kind,
                                         enum dw_grantee to, const char *id)
{
    for (size_t i = 0; i < f->grants_count; i++)
        if (f->grants[i].kind == kind && f->grants[i].to == (int32_t)to &&
            (!id || strcmp(f->grants[i].id, id) == 0))
            return &f->grants[i];
    return NULL;
}

static bool has_root(const struct dw_sealed_filing *f, int32_t kind)
{
    for (size_t i = 0; i < f->roots_count; i++)
        if (f->roots[i].kind == kind && f->roots[i].epoch == 1)
            return true;
    return false;
}

static const char *check_grants(const struct dw_sealed_filing *f, const struct dw_directory *dir)
{
    bool person = has_root(f, DW_ROOT_P);
    if (!has_root(f, DW_ROOT_R) || f->roots_count != (person ? 3u : 1u) ||
        (person && !has_root(f, DW_ROOT_C)))
        return "not the root keys that a filing has";
    if (!find_grant(f, DW_ROOT_R, DW_TO_BODY, f->body) ||
        !find_grant(f, DW_ROOT_R, DW_TO_ESCROW, "") ||
        !find_grant(f, DW_ROOT_R, DW_TO_REPORTER, ""))
        return "the report is not granted to body, escrow and reporter";
    if (person && (!find_grant(f, DW_ROOT_P, DW_TO_ESCROW, "") ||
                   !find_grant(f, DW_ROOT_C, DW_TO_NOTIFIER, "")))
        return "the contact is not granted to notifier and escrow";
    for (size_t i = 0; i < f->grants_count; i++) {
        const struct dw_grant *g = &f->grants[i];
        if (g->epoch != 1)
            return "a grant of an epoch that does not exist";
        if (g->to == DW_TO_BODY && strcmp(g->id, f->body) != 0)
            return "granted to a body that is not the receiver";
        if (g->to != DW_TO_REPORTER &&
            !dw_directory_epoch(dir, (enum dw_grantee)g->to, g->id, g->to_epoch, f->facts.day))
            return "sealed to a key that was not valid on the day of filing";
    }
    return NULL;
}

/* Where would it go today?  Not the same: it is registered where it was sealed, and marked. */
static const char *check_route(const struct casework *cw, const struct dw_sealed_filing *f,
                               const struct dw_directory *dir, bool *differs)
{
    struct {
        const struct dw_directory *dir;
        dw_day day;
    } on = {dir, f->facts.day};
    struct dw_route_facts facts = dw_facts_for_route(&f->facts);
    struct dw_route route;
    struct dw_error err;
    const struct dw_body *body = dw_body_find(cw->domain.routing, f->body);
    if (!body || !body->member)
        return "sealed to an unknown body";
    for (size_t i = 0; i < f->facts.excluded_count; i++)
        if (strcmp(f->facts.excluded[i], f->body) == 0)
            return "sealed to the body that is reported";
    *differs = dw_route(cw->domain.routing, &facts, is_live, &on, &route, &err) != DW_OK ||
               strcmp(route.receiver->id, f->body) != 0;
    return NULL;
}

static const char *check_objects(struct pending *p, const struct dw_sealed_filing *f,
                                 const struct dw_item_header *header,
                                 const struct dw_program *intake)
{
    size_t frame = FIRST_OBJECT_FRAME, bodies = 0, manifests = 0, persons = 0;
    uint32_t parts = 0;
    for (size_t i = 0; i < f->objects_count; i++) {
        const struct dw_object_ref *o = &f->objects[i];
        if (o->type == DW_OBJECT_FILE) {
            if (o->chunks < 1 || (uint32_t)o->chunks > header->parts)
                return "a file without chunks";
            parts += (uint32_t)o->chunks;
            continue;
        }
        if (frame >= p->request.body_count)
            return "an object is missing";
        if (!cw_check_object(o, p->request.body[frame++], f->id, f->facts.day, intake->sign,
                             &p->error))
            return "an object is not what the filing says";
        bodies += o->type == DW_OBJECT_BODY;
        manifests += o->type == DW_OBJECT_MANIFEST;
        persons += o->type == DW_OBJECT_IDENTITY || o->type == DW_OBJECT_CONTACT;
    }
    if (frame != p->request.body_count || parts != header->parts)
        return "more frames or parts than objects";
    if (bodies != 1 || manifests != (header->parts ? 1u : 0u) || persons > 2 ||
        (persons && !has_root(f, DW_ROOT_P)))
        return "not the objects that a filing has";
    return NULL;
}

static const struct dw_program *intake_that_signed(const struct pending *p,
                                                   const struct dw_sealed_filing *f,
                                                   const struct dw_directory *dir)
{
    static const char *const roles[] = {"web", "phone", "email"};
    const uint8_t *seal = p->request.body[SEAL_FRAME].data;
    const struct dw_program *program = dw_directory_by_signer(dir, seal, f->facts.day);
    bool intake = false;
    for (size_t i = 0; program && i < DW_COUNT(roles); i++)
        intake |= strcmp(program->role, roles[i]) == 0 && strcmp(f->facts.channel, roles[i]) == 0;
    if (!intake || !cw_seal_is_of(seal, program->signer, program->sign, DW_LABEL_FILING,
                                  p->request.body[FILING_FRAME]))
        return NULL;
    return program;
}

static const char *check_filing(struct casework *cw, struct pending *p,
                                const struct dw_directory *dir)
{
    struct dw_item_header *header = &p->job->header;
    struct dw_sealed_filing *f = &p->job->filing;
    const char *why;
    if (p->request.body_count <= FIRST_OBJECT_FRAME ||
        p->request.body[SEAL_FRAME].len != DW_SEAL_LEN ||
        !dw_item_header_decode(p->request.body[0], header) ||
        p->request.address.len != DW_LEASE_LEN)
        return "not the frames of a filing";
    if (dw_decode(&dw_sealed_filing_layout, p->request.body[FILING_FRAME], &p->arena, f,
                  &p->error) != DW_OK)
        return "a filing of another layout";
    if ((why = check_header(f, header, dw_day_of(dw_now()))) || (why = check_facts(cw, &f->facts)))
        return why;
    const struct dw_program *intake = intake_that_signed(p, f, dir);
    if (!intake)
        return "not signed by an intake of the directory";
    if ((why = check_grants(f, dir)) ||
        (why = check_route(cw, f, dir, &p->job->route_differs)) ||
        (why = check_objects(p, f, header, intake)))
        return why;
    return NULL;
}

void cw_check(struct casework *cw, struct pending *p)
{
    struct dw_directory *dir = dw_directory_take(cw->directory);
    p->job->wrong = check_filing(cw, p, dir);
    dw_directory_give(cw->directory, dir);
}

/* ---- what it becomes ---- */

static void go_on(struct casework *cw, struct pending *p, enum dw_registering_next next);

static void written(struct casework *cw, struct pending *p)
{
    enum dw_registering_next next =
        dw_registering_written(&p->job->registering, &p->changes[0].step);
    dw_buf_free(&p->changes[0].doc);
    p->changes_count = 0;
    p->settle = NULL;
    go_on(cw, p, next);
}

static void propose(struct casework *cw, struct pending *p)
{
    struct filing_job *job = p->job;
    char *reference = dw_arena_alloc(&p->arena, DW_REFERENCE_TEXT);
    struct dw_case c;
    size_t objects = 0;
    dw_reference_make(job->filing.id, job->filing.facts.day, job->registering.reference_n,
                      reference);
    dw_case_register(&cw->domain, &job->filing, p->request.body[FILING_FRAME],
                     p->request.body[SEAL_FRAME].data, reference, dw_now(), &p->arena, &c);
    if (job->route_differs)
        dw_case_mark_route(&cw->domain, &c, dw_now(), &p->arena);
    struct change *change = cw_change(p, &c, 0);
    struct dw_store_object *list =
        dw_arena_alloc(&p->arena, (job->filing.objects_count + 1) * sizeof *list);
    size_t frame = FIRST_OBJECT_FRAME;
    for (size_t i = 0; i < job->filing.objects_count; i++) {
        if (job->filing.objects[i].type == DW_OBJECT_FILE)
            continue; /* its chunks are in the store already */
        memcpy(list[objects].id, job->filing.objects[i].id, 16);
        list[objects].part = 0;
        list[objects++].bytes = p->request.body[frame++];
    }
    change->step.objects = list;
    change->step.objects_count = objects;
    change->step.with_receipt = true;
    memcpy(change->step.handle, job->filing.handle, 16);
    change->step.reference = reference;
    p->status = 200;
    cw_seal_change(p, change);
    p->settle = written;
    cw_finish(cw, p);
}

static enum dw_result look(struct casework *cw, const struct pending *p)
{
    struct dw_store_case found;
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX + 1);
    return dw_store_case(cw->store, p->job->filing.id, &doc, &found);
}

static void fetch(struct casework *cw, struct pending *p)
{
    memcpy(p->job->lease, p->request.address.data, DW_LEASE_LEN);
    for (size_t i = 0; i < cw->workers_count; i++)
        if (cw->workers[i].worker == p->worker)
            p->job->broker = cw->workers[i].broker;
    cw_aside_put(cw->fetching, p);
}

static void answer(struct casework *cw, struct pending *p)
{
    const struct dw_registering *r = &p->job->registering;
    (*cw->m_registered) += r->made;
    (*(r->status == 422 ? cw->m_dead : cw->m_later)) += r->status != 200;
    p->status = r->status;
    p->commit = false;
    dw_error_set(&p->error, "", "%s", r->why);
    if (r->status == 422)
        dw_log(DW_ERROR, "case.refused-filing", "%s", r->why);
    cw_finish(cw, p);
}

static void go_on(struct casework *cw, struct pending *p, enum dw_registering_next next)
{
    if (next == DW_REGISTERING_LOOK)
        next = dw_registering_looked(&p->job->registering, look(cw, p));
    if (next == DW_REGISTERING_FETCH)
        fetch(cw, p);
    else if (next == DW_REGISTERING_WRITE)
        propose(cw, p);
    else
        answer(cw, p);
}

void cw_filing_fetched(struct casework *cw, struct pending *p)
{
    go_on(cw, p, dw_registering_fetched(&p->job->registering));
}

void cw_filing(struct casework *cw, struct pending *p)
{
    p->job = dw_arena_alloc(&p->arena, sizeof *p->job);
    memset(p->job, 0, sizeof *p->job);
    cw_aside_put(cw->checking, p);
}

void cw_filing_checked(struct casework *cw, struct pending *p)
{
    struct filing_job *job = p->job;
    if (!job->wrong)
        DW_POINT("case.verified");
    go_on(cw, p, dw_registering_begin(&job->registering, job->wrong ? 0 : job->header.parts,
                                      job->wrong));
}
