/* bodies.c - reads conf/bodies.yaml and conf/routing.yaml, and refuses data by which a filing could
 * get lost: a rule to nowhere, a kind without a last rule, a district without a bureau. */
#include "bodies.h"

#include "dw/catalogue.h"
#include "yaml.h"

#include <string.h>

static const cyaml_schema_field_t body_fields[] = {
    DW_Y_TEXT(struct dw_body, id),        DW_Y_TEXT(struct dw_body, zh),
    DW_Y_TEXT(struct dw_body, en),        DW_Y_TEXT(struct dw_body, kind),
    DW_Y_MAYBE(struct dw_body, superior), DW_Y_MAYBE(struct dw_body, district),
    DW_Y_FLAG(struct dw_body, member),    DW_Y_MAYBE(struct dw_body, phone),
    DW_Y_MAYBE(struct dw_body, note),     CYAML_FIELD_END,
};
static const cyaml_schema_value_t body_schema = {
    CYAML_VALUE_MAPPING(0, struct dw_body, body_fields)};
static const cyaml_schema_field_t bodies_fields[] = {
    DW_Y_LIST(struct bodies_file, bodies, &body_schema, 1, 2000),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t bodies_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct bodies_file, bodies_fields)};

static const cyaml_schema_field_t rule_fields[] = {
    DW_Y_TEXT(struct route_rule, id),
    DW_Y_TEXT(struct route_rule, zh),
    DW_Y_TEXT(struct route_rule, en),
    DW_Y_TEXT(struct route_rule, kind),
    DW_Y_MAYBE_LIST(struct route_rule, against, &dw_yaml_code, 32),
    DW_Y_MAYBE_LIST(struct route_rule, any_act, &dw_yaml_code, 100),
    DW_Y_MAYBE_LIST(struct route_rule, only_acts, &dw_yaml_code, 100),
    DW_Y_MAYBE_LIST(struct route_rule, complaints, &dw_yaml_code, 32),
    DW_Y_TEXT(struct route_rule, to),
    DW_Y_MAYBE(struct route_rule, receiver),
    DW_Y_TEXT(struct route_rule, basis),
    DW_Y_TEXT(struct route_rule, verified),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t rule_schema = {
    CYAML_VALUE_MAPPING(0, struct route_rule, rule_fields)};
static const cyaml_schema_field_t routing_fields[] = {
    DW_Y_TEXT(struct routing_file, version),
    DW_Y_TEXT(struct routing_file, city_bureau),
    DW_Y_TEXT(struct routing_file, beyond),
    DW_Y_LIST(struct routing_file, rules, &rule_schema, 1, 500),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t routing_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct routing_file, routing_fields)};

static const char bodies_name[] = "bodies.yaml", routing_name[] = "routing.yaml";

static bool is_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool dw_act_fits(const char *act, const char *pattern)
{
    size_t len = strlen(pattern);
    if (len && pattern[len - 1] == '*')
        return strncmp(act, pattern, len - 1) == 0;
    return is_text(act, pattern);
}

const struct dw_body *dw_bureau_of_district(const struct dw_routing *self, const char *district)
{
    for (size_t i = 0; i < self->bodies->bodies_count; i++) {
        const struct dw_body *b = &self->bodies->bodies[i];
        if (b->member && is_text(b->kind, "bureau") && *district && is_text(b->district, district))
            return b;
    }
    return NULL;
}

/* ---- bodies ---- */

static bool is_id(const char *text)
{
    return *text && strlen(text) <= 32 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static enum dw_result check_body(const struct dw_routing *self, const struct dw_catalogue *words,
                                 const struct dw_body *b, struct dw_error *err)
{
    if (!is_id(b->id))
        return dw_yaml_wrong(err, bodies_name, b->id, "expected an id of a-z, 0-9 and -");
    if (dw_body_find(self, b->id) != b)
        return dw_yaml_wrong(err, bodies_name, b->id, "the id stands twice");
    if (*b->district && !dw_term_find(words, DW_DISTRICTS, b->district))
        return dw_yaml_wrong(err, bodies_name, b->id, "district %s is not in the catalogue",
                             b->district);
    size_t steps = 0;
    for (const struct dw_body *up = b; *up->superior; steps++) {
        const char *wanted = up->superior;
        up = dw_body_find(self, wanted);
        if (!up)
            return dw_yaml_wrong(err, bodies_name, b->id, "superior %s is not a body", wanted);
        if (steps == 8 || up == b)
            return dw_yaml_wrong(err, bodies_name, b->id, "its superiors lead in a circle");
    }
    return DW_OK;
}

static enum dw_result check_bodies(const struct dw_routing *self, const struct dw_catalogue *words,
                                   struct dw_error *err)
{
    enum dw_result result = DW_OK;
    for (size_t i = 0; result == DW_OK && i < self->bodies->bodies_count; i++)
        result = check_body(self, words, &self->bodies->bodies[i], err);
    for (size_t i = 0; result == DW_OK && i < dw_terms_count(words, DW_DISTRICTS); i++) {
        const char *code = dw_term_at(words, DW_DISTRICTS, i)->code;
        if (!dw_bureau_of_district(self, code))
            result = dw_yaml_wrong(err, bodies_name, code,
                                   "the district has no bureau that is a member");
    }
    return result;
}

/* ---- rules ---- */

static bool is_known_act(const struct dw_catalogue *words, const char *pattern)
{
    for (size_t i = 0; i < dw_terms_count(words, DW_ACTS); i++)
        if (dw_act_fits(dw_term_at(words, DW_ACTS, i)->code, pattern))
            return true;
    return false;
}

static enum dw_result check_codes(const struct dw_catalogue *words, const struct route_rule *r,
                                  struct dw_error *err)
{
    for (size_t i = 0; i < r->against_count; i++)
        if (!dw_term_find(words, DW_AGAINST, r->against[i]))
            return dw_yaml_wrong(err, routing_name, r->id, "against: %s is not in the catalogue",
                                 r->against[i]);
    for (size_t i = 0; i < r->any_act_count; i++)
        if (!is_known_act(words, r->any_act[i]))
            return dw_yaml_wrong(err, routing_name, r->id, "any_act: %s is not in the catalogue",
                                 r->any_act[i]);
    for (size_t i = 0; i < r->only_acts_count; i++)
        if (!is_known_act(words, r->only_acts[i]))
            return dw_yaml_wrong(err, routing_name, r->id, "only_acts: %s is not in the catalogue",
                                 r->only_acts[i]);
    for (size_t i = 0; i < r->complaints_count; i++)
        if (!dw_term_find(words, DW_COMPLAINTS, r->complaints[i]))
            return dw_yaml_wrong(err, routing_name, r->id, "complaints: %s is not in the catalogue",
                                 r->complaints[i]);
    return DW_OK;
}

/* Is it a bureau by its role, or a body of the file; and is that a member? */
static bool is_target(const struct dw_routing *self, const char *to, bool *member)
{
    *member = true;
    if (is_text(to, "district_bureau") || is_text(to, "city_bureau"))
        return true;
    const struct dw_body *body = dw_body_find(self, to);
    *member = body && body->member;
    return body;
}

static enum dw_result check_rule(const struct dw_routing *self, const struct dw_catalogue *words,
                                 const struct route_rule *r, struct dw_error *err)
{
    bool report = is_text(r->kind, "report"), member, receives;
    for (const struct route_rule *other = self->rules->rules; other < r; other++)
        if (is_text(other->id, r->id))
            return dw_yaml_wrong(err, routing_name, r->id, "the id stands twice");
    if (!report && !is_text(r->kind, "complaint"))
        return dw_yaml_wrong(err, routing_name, r->id, "kind: expected report or complaint");
    if (report ? r->complaints_count : r->any_act_count + r->only_acts_count)
        return dw_yaml_wrong(err, routing_name, r->id,
                             "a report has acts, a complaint has a kind of complaint");
    if (!is_target(self, r->to, &member))
        return dw_yaml_wrong(err, routing_name, r->id, "to: %s is not a body", r->to);
    if (!member && !*r->receiver)
        return dw_yaml_wrong(err, routing_name, r->id,
                             "receiver: expected a member, because %s is outside", r->to);
    if (*r->receiver && (!is_target(self, r->receiver, &receives) || !receives))
        return dw_yaml_wrong(err, routing_name, r->id, "receiver: %s is not a member", r->receiver);
    if (!dw_yaml_is_verified(r->verified))
        return dw_yaml_wrong(err, routing_name, r->id, "verified: expected full, secondary or no");
    return check_codes(words, r, err);
}

static bool takes_everything(const struct route_rule *r)
{
    return !r->against_count && !r->any_act_count && !r->only_acts_count && !r->complaints_count;
}

/* Behind a rule that takes everything no other of its kind is ever asked, and without one some
 * filing would belong to nobody. */
static enum dw_result check_last_rule(const struct dw_routing *self, const char *kind,
                                      struct dw_error *err)
{
    const struct route_rule *all = NULL;
    for (size_t i = 0; i < self->rules->rules_count; i++) {
        const struct route_rule *r = &self->rules->rules[i];
        if (!is_text(r->kind, kind))
            continue;
        if (all)
            return dw_yaml_wrong(err, routing_name, r->id, "is never reached: %s takes every %s",
                                 all->id, kind);
        if (takes_everything(r))
            all = r;
    }
    return all ? DW_OK
               : dw_yaml_wrong(err, routing_name, kind, "expected a last rule without conditions");
}

static enum dw_result check_rules(const struct dw_routing *self, const struct dw_catalogue *words,
                                  struct dw_error *err)
{
    const struct routing_file *file = self->rules;
    const struct dw_body *city = dw_body_find(self, file->city_bureau);
    if (!city || !city->member)
        return dw_yaml_wrong(err, routing_name, "city_bureau", "%s is not a member",
                             file->city_bureau);
    if (!dw_body_find(self, file->beyond))
        return dw_yaml_wrong(err, routing_name, "beyond", "%s is not a body", file->beyond);
    enum dw_result result = DW_OK;
    for (size_t i = 0; result == DW_OK && i < file->rules_count; i++)
        result = check_rule(self, words, &file->rules[i], err);
    if (result == DW_OK)
        result = check_last_rule(self, "report", err);
    if (result == DW_OK)
        result = check_last_rule(self, "complaint", err);
    return result;
}

/* ---- loading ---- */

static void fill(struct dw_routing *self)
{
    for (size_t i = 0; i < self->bodies->bodies_count; i++) {
        struct dw_body *b = &self->bodies->bodies[i];
        dw_yaml_fill(&b->superior);
        dw_yaml_fill(&b->district);
        dw_yaml_fill(&b->phone);
        dw_yaml_fill(&b->note);
    }
    for (size_t i = 0; i < self->rules->rules_count; i++)
        dw_yaml_fill(&self->rules->rules[i].receiver);
}

enum dw_result dw_routing_load(const char *data_folder, struct dw_routing **ret,
                               struct dw_error *err)
{
    struct dw_catalogue *words;
    enum dw_result result = dw_catalogue_load(data_folder, &words, err);
    if (result != DW_OK)
        return result;
    struct dw_routing *self = dw_alloc(sizeof *self);
    result = dw_yaml_load(data_folder, bodies_name, &bodies_schema, &self->bodies, err);
    if (result == DW_OK)
        result = dw_yaml_load(data_folder, routing_name, &routing_schema, &self->rules, err);
    if (result == DW_OK) {
        fill(self);
        result = check_bodies(self, words, err);
    }
    if (result == DW_OK)
        result = check_rules(self, words, err);
    dw_catalogue_free(words);
    if (result == DW_OK)
        *ret = self;
    else
        dw_routing_free(self);
    return result;
}

void dw_routing_free(struct dw_routing *self)
{
    if (!self)
        return;
    if (self->bodies)
        dw_yaml_free(&bodies_schema, self->bodies);
    if (self->rules)
        dw_yaml_free(&routing_schema, self->rules);
    dw_free(self);
}

const char *dw_routing_version(const struct dw_routing *self)
{
    return self->rules->version;
}

size_t dw_bodies_count(const struct dw_routing *self)
{
    return self->bodies->bodies_count;
}

const struct dw_body *dw_body_at(const struct dw_routing *self, size_t i)
{
    return &self->bodies->bodies[i];
}

const struct dw_body *dw_body_find(const struct dw_routing *self, const char *id)
{
    for (size_t i = 0; i < self->bodies->bodies_count; i++)
        if (is_text(self->bodies->bodies[i].id, id))
            return &self->bodies->bodies[i];
    return NULL;
}
