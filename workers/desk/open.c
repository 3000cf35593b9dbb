/* open.c - a case with its parts opened, for a member whose body holds the grants. */
#include "desk.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { ROOTS_MAX = DW_CASE_GRANTS_MAX };

json_t *day_json(dw_day day)
{
    char text[DW_DAY_TEXT];
    return day ? json_string(dw_day_format(day, text)) : json_null();
}

/* ---- root keys ---- */

static const struct dw_root_ref *ref_of(const struct dw_case *c, const struct dw_grant *g)
{
    for (size_t i = 0; i < c->roots_count; i++)
        if (c->roots[i].kind == g->kind && c->roots[i].epoch == g->epoch)
            return &c->roots[i];
    return NULL;
}

static bool open_roots(struct signed_in *who, struct opened *o)
{
    const struct dw_case *c = &o->view.c;
    struct dw_error err;
    o->roots = sodium_malloc((c->grants_count + 1) * sizeof *o->roots);
    if (!o->roots)
        return false;
    for (size_t i = 0; i < c->grants_count; i++) {
        const struct dw_grant *g = &c->grants[i];
        const struct dw_root_ref *r = ref_of(c, g);
        const uint8_t *public;
        const uint8_t *secret =
            dw_member_epoch(who->keys, (enum dw_grantee)g->to, g->to_epoch, &public);
        struct opened_root *root = &o->roots[o->roots_count];
        if (!r || !secret ||
            dw_grant_open(g, c->id, r->commitment, public, secret, root->root, &err) != DW_OK)
            continue;
        root->kind = g->kind;
        root->epoch = g->epoch;
        o->roots_count++;
    }
    return true;
}

const uint8_t *opened_root(const struct opened *o, int32_t kind, int32_t epoch)
{
    for (size_t i = 0; i < o->roots_count; i++)
        if (o->roots[i].kind == kind && o->roots[i].epoch == epoch)
            return o->roots[i].root;
    return NULL;
}

int32_t newest_epoch(const struct opened *o, int32_t kind)
{
    int32_t epoch = 0;
    for (size_t i = 0; i < o->view.c.roots_count; i++)
        if (o->view.c.roots[i].kind == kind && o->view.c.roots[i].epoch > epoch)
            epoch = o->view.c.roots[i].epoch;
    return epoch;
}

/* ---- objects ---- */

/* The key of who wrote a line: an intake program, or a member whose enrolment is signed. */
static const uint8_t *signer_key(const struct dw_directory *dir, const struct opened *o,
                                 const struct dw_line *line)
{
    uint8_t signer[DW_SIGNER_LEN];
    const struct dw_program *p = dw_directory_by_signer(dir, line->signer, line->object_day);
    if (p)
        return p->sign;
    for (size_t i = 0; i < o->view.writers_count; i++) {
        const struct dw_member *m = &o->view.writers[i];
        dw_signer_id(signer, m->sign_public);
        if (memcmp(signer, line->signer, sizeof signer) == 0 && dw_member_verify(m, dir->site))
            return m->sign_public;
    }
    return NULL;
}

static bool open_object(const struct dw_directory *dir, const struct opened *o,
                        const struct dw_line *line, const struct dw_object_ref *ref,
                        struct dw_slice bytes, struct dw_buf *plain)
{
    struct dw_object_header expected = {.type = (enum dw_object_type)ref->type,
                                        .epoch = (uint32_t)ref->epoch,
                                        .sequence = (uint32_t)ref->sequence,
                                        .day = line->object_day};
    struct dw_error err;
    uint8_t hash[DW_HASH_LEN];
    const uint8_t *root =
        opened_root(o, (int32_t)dw_object_root((enum dw_object_type)ref->type), ref->epoch);
    const uint8_t *key = signer_key(dir, o, line);
    memcpy(expected.case_id, o->view.c.id, 16);
    memcpy(expected.object_id, ref->id, 16);
    dw_hash(hash, bytes);
    return root && key && bytes.len && memcmp(hash, ref->hash, sizeof hash) == 0 &&
           dw_envelope_open(bytes, &expected, root, key, plain, &err) == DW_OK;
}

static void keep_object(struct signed_in *who, struct opened *o, const struct dw_line *line,
                        const struct dw_object_ref *ref, bool opened, const struct dw_buf *plain)
{
    struct dw_error err;
    json_error_t why;
    if (ref->type == DW_OBJECT_BODY) {
        if (opened)
            o->report = json_loadb((const char *)plain->data, plain->len, 0, &why);
    } else if (ref->type == DW_OBJECT_MANIFEST) {
        if (opened && dw_decode(&dw_manifest_layout, dw_buf_slice(plain), &who->arena,
                                &o->manifest, &err) != DW_OK)
            o->manifest = (struct dw_manifest){0};
    } else {
        struct opened_line *t = &o->texts[o->texts_count++];
        *t = (struct opened_line){line, ref, NULL};
        if (opened && dw_text_is_clean((const char *)plain->data, plain->len, "\n\r\t"))
            t->text = dw_arena_strndup(&who->arena, (const char *)plain->data, plain->len);
    }
}

/* Internal notes of a body that had the case before and did not pass them on. */
static bool not_for_us(const struct opened *o, const struct dw_object_ref *ref)
{
    int32_t kind = (int32_t)dw_object_root((enum dw_object_type)ref->type);
    if (kind != DW_ROOT_I)
        return false;
    for (size_t i = 0; i < o->view.c.grants_count; i++)
        if (o->view.c.grants[i].kind == kind && o->view.c.grants[i].epoch == ref->epoch)
            return false;
    return true;
}

static void open_objects(struct signed_in *who, struct opened *o, const struct reply *reply)
{
    struct dw_unpack objects = reply->objects;
    struct dw_directory *dir = dw_directory_take(who->desk->directory);
    size_t most = 0;
    for (size_t i = 0; i < o->view.lines_count; i++)
        most += o->view.lines[i].objects_count;
    o->texts = dw_arena_alloc(&who->arena, (most + 1) * sizeof *o->texts);
    for (size_t i = 0; i < o->view.lines_count; i++) {
        const struct dw_line *line = &o->view.lines[i];
        for (size_t j = 0; j < line->objects_count; j++) {
            struct dw_slice bytes = {0};
            DW_AUTO_BUF plain = {0};
            dw_buf_init(&plain, DW_OBJECT_MAX);
            dw_unpack_next(&objects, &bytes);
            if (line->objects[j].type == DW_OBJECT_FILE || not_for_us(o, &line->objects[j]))
                continue;
            bool opened = open_object(dir, o, line, &line->objects[j], bytes, &plain);
            keep_object(who, o, line, &line->objects[j], opened, &plain);
        }
    }
    dw_directory_give(who->desk->directory, dir);
}

bool case_open(struct signed_in *who, const char *reference, struct opened *ret)
{
    char normal[DW_REFERENCE_TEXT];
    struct dw_desk_request request = {.reference = normal};
    struct reply reply;
    *ret = (struct opened){0};
    if (!dw_reference_parse(reference, normal)) {
        dw_http_problem(who->request, 404, "reference", "not found");
        return false;
    }
    call_signed(who, "read", &request, NULL, 0, &reply);
    bool good = reply_decode(&reply, &who->arena, &dw_case_view_layout, &ret->view);
    if (!good)
        reply_refuse(who->request, &reply);
    else if (!(good = open_roots(who, ret)))
        dw_http_problem(who->request, 503, "", "no locked memory for keys");
    else
        open_objects(who, ret, &reply);
    reply_free(&reply);
    (*who->desk->m_opened) += good;
    return good;
}

void case_close(struct opened *o)
{
    sodium_free(o->roots);
    json_decref(o->report);
}

/* ---- as JSON ---- */

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

static void merge(json_t *into, const json_t *from)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)from, key, value)
    {
        json_t *there = json_object_get(into, key);
        if (json_is_object(there) && json_is_object(value))
            merge(there, value);
        else
            json_object_set(into, key, value);
    }
}

static json_t *facts_json(const struct opened *o)
{
    const struct dw_facts *f = &o->view.c.facts;
    json_t *acts = json_array();
    for (size_t i = 0; i < f->acts_count; i++)
        json_array_append_new(acts, json_string(f->acts[i]));
    json_t *facts = json_pack("{s:s, s:{s:s, s:s}, s:o, s:o, s:o, s:s, s:s, s:o, s:b, s:b, s:s}",
                              "kind", f->kind, "against", "type", f->against, "district",
                              f->district, "acts", acts, "complaint", text_or_null(f->complaint),
                              "service", f->service ? json_integer(f->service) : json_null(),
                              "channel", f->channel, "language", f->language, "day",
                              day_json(f->day), "real_name", f->real_name, "wants_reward",
                              f->wants_reward, "amount_band", f->amount);
    if (o->report)
        merge(facts, o->report);
    return facts;
}

static json_t *files_json(const struct opened *o)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->manifest.files_count; i++) {
        const struct dw_file *f = &o->manifest.files[i];
        char id[33], hash[65];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:s}", "id",
                                              dw_hex(id, f->id, 16), "name", f->name, "type",
                                              f->type, "size", (json_int_t)f->size, "hash",
                                              dw_hex(hash, f->hash, sizeof f->hash)));
    }
    return list;
}

static json_t *texts_json(const struct opened *o, int32_t type)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->texts_count; i++) {
        const struct opened_line *t = &o->texts[i];
        if (t->ref->type != type)
            continue;
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:o, s:o}", "from", t->line->actor, "kind", t->line->kind,
                            "day", day_json(t->line->day), "text",
                            t->text ? json_string(t->text) : json_null()));
    }
    return list;
}

static json_t *events_json(const struct opened *o)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->view.lines_count; i++) {
        const struct dw_line *l = &o->view.lines[i];
        char at[DW_TIME_TEXT];
        json_array_append_new(
            list, json_pack("{s:i, s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:o}", "seq", (int)l->seq,
                            "kind", l->kind, "actor", l->actor, "day", day_json(l->day), "at",
                            l->at ? json_string(dw_time_format(l->at, at)) : json_null(), "state",
                            l->state, "to", text_or_null(l->to), "reason", text_or_null(l->reason),
                            "outcome", text_or_null(l->outcome)));
    }
    return list;
}

static json_t *clocks_json(struct signed_in *who, const struct opened *o)
{
    static const char *const stages[] = {"running", "soon", "due", "overdue"};
    json_t *list = json_array();
    for (size_t i = 0; i < o->view.c.clocks_count; i++) {
        const struct dw_clock *c = &o->view.c.clocks[i];
        const struct dw_rule *rule = dw_rule_of_pack(who->desk->rules, c->rule, c->pack);
        json_t *steps = json_array();
        struct dw_due due;
        if (rule && dw_rule_due(rule, who->desk->calendar, c->start, c->extended, &who->arena,
                                &due) == DW_OK)
            for (size_t s = 0; s < due.steps_count; s++)
                json_array_append_new(
                    steps, json_pack("{s:o, s:o, s:i, s:s, s:s}", "from",
                                     day_json(due.steps[s].from), "to", day_json(due.steps[s].to),
                                     "counted", (int)due.steps[s].counted, "why_zh",
                                     due.steps[s].why_zh, "why_en", due.steps[s].why_en));
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:b, s:s, s:o, s:s, s:s, s:o}",
                      "rule", c->rule, "pack", c->pack, "body", c->body, "stage",
                      stages[c->stage & 3], "start", day_json(c->start), "due", day_json(c->due),
                      "what_zh", rule ? rule->what_zh : "", "what_en", rule ? rule->what_en : "",
                      "estimate", c->estimate, "article", rule ? rule->article : "", "ended",
                      day_json(c->ended), "ended_by", c->ended_by ? c->ended_by : "", "verified",
                      rule ? dw_verified_name(rule->verified) : "no", "steps", steps));
    }
    return list;
}

static json_t *notices_json(const struct opened *o)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->view.c.notices_count; i++) {
        const struct dw_notice *n = &o->view.c.notices[i];
        json_t *attempts = json_array();
        for (size_t a = 0; a < n->attempts_count; a++)
            json_array_append_new(
                attempts, json_pack("{s:i, s:s, s:o, s:s, s:s}", "n", (int)n->attempts[a].n,
                                    "channel", n->attempts[a].channel, "day",
                                    day_json(n->attempts[a].day), "outcome",
                                    n->attempts[a].outcome, "code",
                                    n->attempts[a].code ? n->attempts[a].code : ""));
        json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:o}", "template", n->template,
                                              "day", day_json(n->day), "state", n->state,
                                              "attempts", attempts));
    }
    return list;
}

/* Commands this member could give now; whether their contents will do is another matter. */
static json_t *commands_json(struct signed_in *who, const struct opened *o)
{
    struct dw_actor actor = {.type = DW_ACTOR_MEMBER, .user = who->member.user,
                             .body = who->member.body,
                             .inspector = dw_member_has_role(&who->member, "inspector")};
    json_t *list = json_array();
    const char *last = "";
    for (size_t i = 0; i < dw_transitions_count(); i++) {
        const struct dw_transition *t = dw_transition_at(i);
        struct dw_error err;
        int status;
        if (strcmp(t->from, o->view.c.state) != 0 || strcmp(t->command, last) == 0 ||
            !dw_case_transition(&o->view.c, t->command, &actor, who->desk->routing, &status, &err))
            continue;
        last = t->command;
        json_array_append_new(list, json_string(t->command));
    }
    return list;
}

json_t *case_json(struct signed_in *who, const struct opened *o)
{
    const struct dw_case *c = &o->view.c;
    const struct dw_body *body = dw_body_find(who->desk->routing, c->body);
    return json_pack(
        "{s:s, s:s, s:i, s:{s:s, s:s, s:s}, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "reference", c->reference, "state", c->state, "version", (int)c->revision, "body", "id",
        c->body, "zh", body ? body->zh : "", "en", body ? body->en : "", "assignee", c->assignee,
        "outcome", text_or_null(c->outcome), "transfer_to", text_or_null(c->transfer_to), "facts",
        facts_json(o), "files", files_json(o), "messages", texts_json(o, DW_OBJECT_MESSAGE),
        "notes", texts_json(o, DW_OBJECT_NOTE), "events", events_json(o), "clocks",
        clocks_json(who, o), "notices", notices_json(o), "commands", commands_json(who, o));
}
