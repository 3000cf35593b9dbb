#include "dw/rule.h"

#include "yaml.h"

#include <string.h>

enum { LENGTH_MAX = 3660 };

/* The file, as written. */
struct rule_entry {
    const char *id, *zh, *en;
    enum dw_unit unit;
    int32_t length, extension;
    const char *article, *source;
    enum dw_verified verified;
    const char *from, *until; /* where the rule's own source differs from the pack's days */
    const char **starts, **stops;
    size_t starts_count, stops_count;
    bool real_name_only;
    int32_t soon;
};
struct pack_file {
    const char *pack, *zh, *en, *from, *until;
    struct rule_entry *rules;
    size_t rules_count;
};

static const cyaml_strval_t units[] = {
    {"working_days", DW_WORKING_DAYS},
    {"calendar_days", DW_CALENDAR_DAYS},
    {"months", DW_MONTHS},
    {"hours", DW_HOURS},
};
static const cyaml_strval_t verified_marks[] = {
    {"full", DW_VERIFIED_FULL},
    {"secondary", DW_VERIFIED_SECONDARY},
    {"no", DW_VERIFIED_NO},
};

static const cyaml_schema_field_t rule_fields[] = {
    DW_Y_TEXT(struct rule_entry, id),
    DW_Y_TEXT(struct rule_entry, zh),
    DW_Y_TEXT(struct rule_entry, en),
    CYAML_FIELD_ENUM("unit", CYAML_FLAG_STRICT, struct rule_entry, unit, units, DW_COUNT(units)),
    CYAML_FIELD_INT("length", 0, struct rule_entry, length),
    CYAML_FIELD_INT("extension", CYAML_FLAG_OPTIONAL, struct rule_entry, extension),
    DW_Y_TEXT(struct rule_entry, article),
    DW_Y_TEXT(struct rule_entry, source),
    CYAML_FIELD_ENUM("verified", CYAML_FLAG_STRICT, struct rule_entry, verified, verified_marks,
                     DW_COUNT(verified_marks)),
    DW_Y_MAYBE(struct rule_entry, from),
    DW_Y_MAYBE(struct rule_entry, until),
    DW_Y_LIST(struct rule_entry, starts, &dw_yaml_code, 1, 16),
    DW_Y_LIST(struct rule_entry, stops, &dw_yaml_code, 1, 16),
    DW_Y_FLAG(struct rule_entry, real_name_only),
    CYAML_FIELD_INT("soon", 0, struct rule_entry, soon),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t rule_schema = {
    CYAML_VALUE_MAPPING(0, struct rule_entry, rule_fields)};
static const cyaml_schema_field_t pack_fields[] = {
    DW_Y_TEXT(struct pack_file, pack),
    DW_Y_TEXT(struct pack_file, zh),
    DW_Y_TEXT(struct pack_file, en),
    DW_Y_TEXT(struct pack_file, from),
    DW_Y_MAYBE(struct pack_file, until),
    DW_Y_LIST(struct pack_file, rules, &rule_schema, 1, 200),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t pack_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct pack_file, pack_fields)};

struct dw_rules {
    struct pack_file **packs; /* own the texts */
    size_t packs_count;
    struct dw_rule *items;
    size_t count;
};

const char *dw_verified_name(enum dw_verified v)
{
    return (unsigned)v < DW_COUNT(verified_marks) ? verified_marks[v].str : "no";
}

static bool is_event_name(const char *text)
{
    return *text && strspn(text, "abcdefghijklmnopqrstuvwxyz_") == strlen(text);
}

static enum dw_result check_events(const char *name, const char *id, const char *key,
                                   const char **events, size_t count, struct dw_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!is_event_name(events[i]))
            return dw_yaml_wrong(err, name, id, "%s: expected names of events like `registered`",
                                 key);
    return DW_OK;
}

static enum dw_result check_entry(const char *name, const struct rule_entry *e,
                                  struct dw_error *err)
{
    if (e->length < 1 || e->length > LENGTH_MAX)
        return dw_yaml_wrong(err, name, e->id, "length: expected 1 to %d", LENGTH_MAX);
    if (e->extension < 0 || e->extension > LENGTH_MAX)
        return dw_yaml_wrong(err, name, e->id, "extension: expected 0 to %d", LENGTH_MAX);
    if (e->soon < 0 || e->soon > LENGTH_MAX)
        return dw_yaml_wrong(err, name, e->id, "soon: expected 0 to %d", LENGTH_MAX);
    enum dw_result result = check_events(name, e->id, "starts", e->starts, e->starts_count, err);
    if (result == DW_OK)
        result = check_events(name, e->id, "stops", e->stops, e->stops_count, err);
    return result;
}

/* A rule may begin later or end earlier than its pack, never the other way round. */
static enum dw_result find_days(const char *name, const struct pack_file *pack,
                                const struct rule_entry *e, struct dw_rule *rule,
                                struct dw_error *err)
{
    if (!dw_yaml_day(pack->from, name, "from", "from", &rule->from, err) ||
        (pack->until && !dw_yaml_day(pack->until, name, "until", "until", &rule->until, err)))
        return DW_INVALID;
    dw_day from = rule->from, until = rule->until;
    if ((e->from && !dw_yaml_day(e->from, name, e->id, "from", &from, err)) ||
        (e->until && !dw_yaml_day(e->until, name, e->id, "until", &until, err)))
        return DW_INVALID;
    if (from < rule->from || (rule->until && until > rule->until))
        return dw_yaml_wrong(err, name, e->id, "expected days within those of the pack");
    if (until && until < from)
        return dw_yaml_wrong(err, name, e->id, "until: expected a day after `from`");
    rule->from = from;
    rule->until = until;
    return DW_OK;
}

static enum dw_result take_rule(struct dw_rules *self, const char *name,
                                const struct pack_file *pack, const struct rule_entry *e,
                                struct dw_error *err)
{
    struct dw_rule rule = {
        .id = e->id,
        .pack = pack->pack,
        .what_zh = e->zh,
        .what_en = e->en,
        .unit = e->unit,
        .length = e->length,
        .extension = e->extension,
        .article = e->article,
        .source = e->source,
        .verified = e->verified,
        .starts = e->starts,
        .starts_count = e->starts_count,
        .stops = e->stops,
        .stops_count = e->stops_count,
        .real_name_only = e->real_name_only,
        .soon = e->soon,
    };
    enum dw_result result = check_entry(name, e, err);
    if (result == DW_OK)
        result = find_days(name, pack, e, &rule, err);
    if (result != DW_OK)
        return result;
    self->items = dw_realloc(self->items, sizeof *self->items * (self->count + 1));
    self->items[self->count++] = rule;
    return DW_OK;
}

static enum dw_result load_pack(struct dw_rules *self, const char *folder, const char *name,
                                struct dw_error *err)
{
    struct pack_file *pack;
    enum dw_result result = dw_yaml_load(folder, name, &pack_schema, &pack, err);
    if (result != DW_OK)
        return result;
    for (size_t i = 0; i < self->packs_count; i++)
        if (strcmp(self->packs[i]->pack, pack->pack) == 0)
            result = dw_yaml_wrong(err, name, "pack", "%s is the name of another file's pack",
                                   pack->pack);
    self->packs = dw_realloc(self->packs, sizeof *self->packs * (self->packs_count + 1));
    self->packs[self->packs_count++] = pack;
    for (size_t i = 0; result == DW_OK && i < pack->rules_count; i++)
        result = take_rule(self, name, pack, &pack->rules[i], err);
    return result;
}

static bool overlap(const struct dw_rule *a, const struct dw_rule *b)
{
    return (!a->until || a->until >= b->from) && (!b->until || b->until >= a->from);
}

/* On any day at most one rule answers to an id; within a pack an id stands once. */
static enum dw_result check_ids(const struct dw_rules *self, struct dw_error *err)
{
    for (size_t i = 0; i < self->count; i++) {
        const struct dw_rule *a = &self->items[i];
        for (size_t j = 0; j < i; j++) {
            const struct dw_rule *b = &self->items[j];
            if (strcmp(a->id, b->id) != 0)
                continue;
            if (strcmp(a->pack, b->pack) == 0)
                return dw_yaml_wrong(err, "rules", a->id, "stands twice in pack %s", a->pack);
            if (overlap(a, b))
                return dw_yaml_wrong(err, "rules", a->id,
                                     "packs %s and %s are in force on the same days", b->pack,
                                     a->pack);
        }
    }
    return DW_OK;
}

enum dw_result dw_rules_load(const char *data_folder, struct dw_rules **ret, struct dw_error *err)
{
    struct dw_yaml_names names;
    enum dw_result result = dw_yaml_list(data_folder, "rules", "", &names, err);
    if (result != DW_OK)
        return result;
    struct dw_rules *self = dw_alloc(sizeof *self);
    for (size_t i = 0; result == DW_OK && i < names.count; i++)
        result = load_pack(self, data_folder, names.items[i], err);
    if (result == DW_OK && !self->count)
        result = dw_yaml_wrong(err, "rules", "", "expected at least one rule pack");
    if (result == DW_OK)
        result = check_ids(self, err);
    dw_yaml_names_free(&names);
    if (result == DW_OK)
        *ret = self;
    else
        dw_rules_free(self);
    return result;
}

void dw_rules_free(struct dw_rules *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < self->packs_count; i++)
        dw_yaml_free(&pack_schema, self->packs[i]);
    dw_free(self->packs);
    dw_free(self->items);
    dw_free(self);
}

const struct dw_rule *dw_rule_find(const struct dw_rules *self, const char *id, dw_day on)
{
    for (size_t i = 0; i < self->count; i++) {
        const struct dw_rule *rule = &self->items[i];
        if (strcmp(rule->id, id) == 0 && rule->from <= on && (!rule->until || on <= rule->until))
            return rule;
    }
    return NULL;
}

const struct dw_rule *dw_rule_of_pack(const struct dw_rules *self, const char *id, const char *pack)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->items[i].id, id) == 0 && strcmp(self->items[i].pack, pack) == 0)
            return &self->items[i];
    return NULL;
}

size_t dw_rules_count(const struct dw_rules *self)
{
    return self->count;
}

const struct dw_rule *dw_rules_at(const struct dw_rules *self, size_t i)
{
    return &self->items[i];
}
