#include "dw/catalogue.h"

#include "yaml.h"

#include <string.h>

struct terms {
    struct dw_term *items;
    size_t count;
};
struct dw_catalogue {
    const char *version, *privacy_version;
    struct terms lists[DW_LISTS];
};

static const cyaml_schema_field_t term_fields[] = {
    DW_Y_TEXT(struct dw_term, code),
    DW_Y_TEXT(struct dw_term, zh),
    DW_Y_TEXT(struct dw_term, en),
    DW_Y_MAYBE(struct dw_term, note_zh),
    DW_Y_MAYBE(struct dw_term, note_en),
    DW_Y_MAYBE(struct dw_term, basis),
    DW_Y_MAYBE(struct dw_term, verified),
    DW_Y_MAYBE_LIST(struct dw_term, actors, &dw_yaml_code, 16),
    CYAML_FIELD_INT("from", CYAML_FLAG_OPTIONAL, struct dw_term, from),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t term_schema = {
    CYAML_VALUE_MAPPING(0, struct dw_term, term_fields)};

#define LIST(name, list)                                                                           \
    CYAML_FIELD_SEQUENCE_COUNT(name, CYAML_FLAG_POINTER, struct dw_catalogue, lists[list].items,   \
                               lists[list].count, &term_schema, 1, 500)
static const cyaml_schema_field_t catalogue_fields[] = {
    DW_Y_TEXT(struct dw_catalogue, version),
    DW_Y_TEXT(struct dw_catalogue, privacy_version),
    LIST("acts", DW_ACTS),
    LIST("complaints", DW_COMPLAINTS),
    LIST("services", DW_SERVICES),
    LIST("districts", DW_DISTRICTS),
    LIST("against", DW_AGAINST),
    LIST("relations", DW_RELATIONS),
    LIST("refusals", DW_REFUSALS),
    LIST("transfers", DW_TRANSFERS),
    LIST("returns", DW_RETURNS),
    LIST("outcomes", DW_OUTCOMES),
    LIST("amounts", DW_AMOUNTS),
    LIST("states", DW_STATES),
    LIST("privacy", DW_PRIVACY),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t catalogue_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct dw_catalogue, catalogue_fields)};

static const char file_name[] = "catalogue.yaml";
static const char unknown_amount[] = "unknown";

/* Codes travel in URLs, forms and the clear facts of a case. */
static bool is_code(const char *text)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    return *text && strlen(text) <= 48 && strspn(text, allowed) == strlen(text);
}

static enum dw_result check_term(const struct dw_catalogue *self, enum dw_list list,
                                 const struct dw_term *t, struct dw_error *err)
{
    if (!is_code(t->code))
        return dw_yaml_wrong(err, file_name, t->code, "expected a code of letters, digits and _");
    if (dw_term_find(self, list, t->code) != t)
        return dw_yaml_wrong(err, file_name, t->code, "the code stands twice in one list");
    if (*t->verified && !dw_yaml_is_verified(t->verified))
        return dw_yaml_wrong(err, file_name, t->code, "verified: expected full, secondary or no");
    if (*t->basis && !*t->verified)
        return dw_yaml_wrong(err, file_name, t->code, "a basis needs its mark `verified`");
    if ((list == DW_ACTS) != (t->actors_count > 0))
        return dw_yaml_wrong(err, file_name, t->code, "actors: expected for acts and nothing else");
    for (size_t i = 0; i < t->actors_count; i++)
        if (!dw_term_find(self, DW_AGAINST, t->actors[i]))
            return dw_yaml_wrong(err, file_name, t->code, "actors: %s is not in `against`",
                                 t->actors[i]);
    if (t->from < 0 || (t->from && list != DW_AMOUNTS))
        return dw_yaml_wrong(err, file_name, t->code, "from: expected for amounts, 0 or more");
    return DW_OK;
}

/* "unknown" first, then bands that begin at 0 and ascend: every amount falls into exactly one. */
static enum dw_result check_amounts(const struct terms *amounts, struct dw_error *err)
{
    if (strcmp(amounts->items[0].code, unknown_amount) != 0)
        return dw_yaml_wrong(err, file_name, "amounts", "expected `unknown` as the first band");
    if (amounts->count < 2 || amounts->items[1].from != 0)
        return dw_yaml_wrong(err, file_name, "amounts", "expected a second band from 0");
    for (size_t i = 2; i < amounts->count; i++)
        if (amounts->items[i].from <= amounts->items[i - 1].from)
            return dw_yaml_wrong(err, file_name, amounts->items[i].code,
                                 "from: expected more than the band before");
    return DW_OK;
}

static void fill(struct dw_catalogue *self)
{
    for (size_t i = 0; i < DW_LISTS; i++) {
        for (size_t k = 0; k < self->lists[i].count; k++) {
            struct dw_term *t = &self->lists[i].items[k];
            dw_yaml_fill(&t->note_zh);
            dw_yaml_fill(&t->note_en);
            dw_yaml_fill(&t->basis);
            dw_yaml_fill(&t->verified);
        }
    }
}

enum dw_result dw_catalogue_load(const char *data_folder, struct dw_catalogue **ret,
                                 struct dw_error *err)
{
    struct dw_catalogue *self;
    enum dw_result result = dw_yaml_load(data_folder, file_name, &catalogue_schema, &self, err);
    if (result != DW_OK)
        return result;
    fill(self);
    for (size_t i = 0; i < DW_LISTS; i++)
        for (size_t k = 0; result == DW_OK && k < self->lists[i].count; k++)
            result = check_term(self, (enum dw_list)i, &self->lists[i].items[k], err);
    if (result == DW_OK)
        result = check_amounts(&self->lists[DW_AMOUNTS], err);
    if (result == DW_OK)
        *ret = self;
    else
        dw_catalogue_free(self);
    return result;
}

void dw_catalogue_free(struct dw_catalogue *self)
{
    if (self)
        dw_yaml_free(&catalogue_schema, self);
}

const char *dw_catalogue_version(const struct dw_catalogue *self)
{
    return self->version;
}

const char *dw_catalogue_privacy_version(const struct dw_catalogue *self)
{
    return self->privacy_version;
}

size_t dw_terms_count(const struct dw_catalogue *self, enum dw_list list)
{
    return self->lists[list].count;
}

const struct dw_term *dw_term_at(const struct dw_catalogue *self, enum dw_list list, size_t i)
{
    return &self->lists[list].items[i];
}

const struct dw_term *dw_term_find(const struct dw_catalogue *self, enum dw_list list,
                                   const char *code)
{
    for (size_t i = 0; i < self->lists[list].count; i++)
        if (strcmp(self->lists[list].items[i].code, code) == 0)
            return &self->lists[list].items[i];
    return NULL;
}

const char *dw_term_text(const struct dw_term *term, const char *language)
{
    return strcmp(language, "en") == 0 ? term->en : term->zh;
}

const struct dw_term *dw_amount_band(const struct dw_catalogue *self, int64_t yuan)
{
    const struct terms *amounts = &self->lists[DW_AMOUNTS];
    const struct dw_term *band = &amounts->items[0];
    for (size_t i = 1; i < amounts->count && amounts->items[i].from <= yuan; i++)
        band = &amounts->items[i];
    return band;
}
