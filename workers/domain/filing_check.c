/* filing_check.c - what a filing may and must contain.
 *
 * The tables near the end are the schema, in the order in which problems are told.  Rules between
 * two fields stand with the later one. */
#include "filing_fields.h"

#include <stdio.h>
#include <string.h>

enum { ACTS_MAX = 10, ID_NUMBER_LEN = 18 };

static bool is_text(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* ---- words ---- */

static const char *const kinds[] = {"report", "complaint"};
static const char *const languages[] = {"zh-CN", "en"};

static const char *choose(struct dw_reading *r, const json_t *value, const char *const words[2])
{
    const char *text = dw_field_string(r, value);
    if (!text)
        return NULL;
    for (size_t i = 0; i < 2; i++)
        if (strcmp(text, words[i]) == 0)
            return words[i];
    dw_field_wrong(r, DW_P_CHOICE, 0, "");
    return NULL;
}

static void read_kind(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    (void)row;
    r->out->facts.kind = choose(r, value, kinds);
}

static void read_language(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    (void)row;
    r->out->facts.language = value ? choose(r, value, languages) : languages[0];
}

static void read_body(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    const char *id = value ? dw_field_string(r, value) : NULL;
    (void)row;
    if (id && !dw_body_find(r->routing, id))
        dw_field_wrong(r, DW_P_CHOICE, 0, "");
    else if (id)
        r->out->body = dw_field_copy(r, id);
}

static void read_privacy_version(struct dw_reading *r, const struct dw_row *row,
                                 const json_t *value)
{
    const char *text = value ? dw_field_string(r, value) : NULL;
    (void)row;
    if (text && !is_text(text, dw_catalogue_privacy_version(r->words)))
        dw_field_wrong(r, DW_P_CHOICE, 0, "");
    else if (text)
        r->out->privacy_version = dw_field_copy(r, text);
}

static void read_truthful(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    (void)row;
    if (!json_is_boolean(value))
        dw_field_wrong(r, DW_P_TYPE, 2, "");
    else if (!json_is_true(value))
        dw_field_wrong(r, DW_P_MUST_BE_TRUE, 0, "");
}

/* ---- acts, complaint, service ---- */

static void read_act(struct dw_reading *r, const json_t *value)
{
    struct dw_facts *f = &r->out->facts;
    const char *code = dw_field_string(r, value);
    if (!code)
        return;
    if (!dw_term_find(r->words, DW_ACTS, code)) {
        dw_field_wrong(r, DW_P_CHOICE, 0, "");
        return;
    }
    for (size_t k = 0; k < f->acts_count; k++) {
        if (is_text(f->acts[k], code)) {
            dw_field_wrong(r, DW_P_DUPLICATE, 0, "");
            return;
        }
    }
    const char *copy = dw_field_copy(r, code);
    if (copy)
        f->acts[f->acts_count++] = copy;
}

static void read_acts(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    struct dw_facts *f = &r->out->facts;
    size_t count = json_array_size(value);
    (void)row;
    if (value && !json_is_array(value)) {
        dw_field_wrong(r, DW_P_TYPE, 4, "");
    } else if (count == 0) {
        if (is_text(f->kind, "report"))
            dw_field_wrong(r, DW_P_MISSING, 0, "");
    } else if (is_text(f->kind, "complaint")) {
        dw_field_wrong(r, DW_P_BOTH, 0, "complaint");
    } else if (count > ACTS_MAX) {
        dw_field_wrong(r, DW_P_TOO_MANY, ACTS_MAX, "");
    } else {
        f->acts = dw_arena_alloc(r->arena, sizeof *f->acts * count);
        r->full |= !f->acts;
        for (size_t i = 0; f->acts && i < count; i++) {
            snprintf(r->path, sizeof r->path, "acts[%zu]", i);
            read_act(r, json_array_get(value, i));
        }
    }
}

static void read_complaint(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    const char *kind = r->out->facts.kind;
    if (value && is_text(kind, "report"))
        dw_field_wrong(r, DW_P_BOTH, 0, "acts");
    else if (!value && is_text(kind, "complaint"))
        dw_field_wrong(r, DW_P_MISSING, 0, "");
    else
        dw_read_choice(r, row, value);
}

static void read_service(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    char code[24];
    (void)row;
    if (!value)
        return;
    if (is_text(r->out->facts.kind, "report")) {
        dw_field_wrong(r, DW_P_BOTH, 0, "acts");
        return;
    }
    if (!json_is_integer(value)) {
        dw_field_wrong(r, json_is_real(value) ? DW_P_FORM : DW_P_TYPE, 1, "");
        return;
    }
    snprintf(code, sizeof code, "%lld", (long long)json_integer_value(value));
    if (!dw_term_find(r->words, DW_SERVICES, code))
        dw_field_wrong(r, DW_P_RANGE, (int64_t)dw_terms_count(r->words, DW_SERVICES), "");
    else
        r->out->facts.service = (int32_t)json_integer_value(value);
}

static void read_amount(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    r->out->amount_yuan = -1;
    if (!value)
        return;
    int64_t yuan = json_integer_value(value);
    if (!json_is_integer(value))
        dw_field_wrong(r, json_is_real(value) ? DW_P_FORM : DW_P_TYPE, 1, "");
    else if (yuan < row->min || yuan > row->max)
        dw_field_wrong(r, DW_P_RANGE, row->max, "");
    else
        r->out->amount_yuan = yuan;
}

/* ---- forms of texts ---- */

static const char *form_code(struct dw_reading *r, const char *text)
{
    char *code = dw_field_copy(r, text);
    for (char *p = code; p && *p; p++) {
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
        else if (!((*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '-'))
            return NULL;
    }
    return code;
}

static const char *form_phone(struct dw_reading *r, const char *text)
{
    char phone[20];
    return dw_phone_normalise(text, phone) ? dw_field_copy(r, phone) : NULL;
}

static const char *form_email(struct dw_reading *r, const char *text)
{
    (void)r;
    return dw_email_is_plausible(text) ? text : NULL;
}

/* GB 11643: six digits of a place, the day of birth, three digits, and a check character. */
static const char *form_id_number(struct dw_reading *r, const char *text)
{
    static const int weights[] = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};
    static const char checks[] = "10X98765432";
    char birth[DW_DAY_TEXT];
    dw_day day;
    int sum = 0;

    if (strlen(text) != ID_NUMBER_LEN || strspn(text, "0123456789") < ID_NUMBER_LEN - 1)
        return NULL;
    for (size_t i = 0; i < DW_COUNT(weights); i++)
        sum += weights[i] * (text[i] - '0');
    char *copy = dw_field_copy(r, text);
    if (!copy)
        return NULL;
    if (copy[ID_NUMBER_LEN - 1] == 'x')
        copy[ID_NUMBER_LEN - 1] = 'X';
    snprintf(birth, sizeof birth, "%.4s-%.2s-%.2s", copy + 6, copy + 10, copy + 12);
    bool good =
        copy[ID_NUMBER_LEN - 1] == checks[sum % 11] && dw_day_parse(birth, &day) && day <= r->today;
    return good ? copy : NULL;
}

static const char *form_day(struct dw_reading *r, const char *text)
{
    dw_day day;
    (void)r;
    return strlen(text) == 10 && dw_day_parse(text, &day) ? text : NULL;
}

static void read_day(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    const char **at = (const char **)((char *)r->out + row->at);
    dw_day from, day;
    dw_read_line(r, row, value);
    if (!*at || !dw_day_parse(*at, &day))
        return;
    if (day > r->today)
        dw_field_wrong(r, DW_P_FUTURE, 0, "");
    else if (at == &r->out->to && r->out->from && dw_day_parse(r->out->from, &from) && day < from)
        dw_field_wrong(r, DW_P_ORDER, 0, "when.from");
}

/* ---- choices that need another field ---- */

/* One problem is enough where the other field is there but wrong. */
static void need(struct dw_reading *r, bool given, const char *other)
{
    if (!given && !dw_field_has_problem(r, other))
        dw_field_wrong(r, DW_P_NEEDS, 0, other);
}

static void read_reward(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    dw_read_flag(r, row, value);
    if (r->out->facts.wants_reward)
        need(r, r->out->identity_name, "identity.name");
}

static void read_sms(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    dw_read_flag(r, row, value);
    if (r->out->facts.notify_sms)
        need(r, r->out->phone && dw_phone_is_mobile(r->out->phone), "identity.phone");
}

static void read_notify_email(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    dw_read_flag(r, row, value);
    if (r->out->facts.notify_email)
        need(r, r->out->email, "identity.email");
}

static void read_call(struct dw_reading *r, const struct dw_row *row, const json_t *value)
{
    dw_read_flag(r, row, value);
    if (r->out->facts.notify_call)
        need(r, r->out->phone, "identity.phone");
}

/* ---- the schema ---- */

#define AT(member) .at = offsetof(struct dw_filing, member)

static const struct dw_row against_rows[] = {
    {"type", dw_read_choice, .required = true, AT(facts.against), .list = DW_AGAINST},
    {"name", dw_read_line, .required = true, AT(name), .min = 1, .max = 200},
    {"district", dw_read_choice, .required = true, AT(facts.district), .list = DW_DISTRICTS},
    {"address", dw_read_lines, AT(address), .max = 300},
    {"code", dw_read_line, AT(code), .max = 32, .form = form_code},
    {"people", dw_read_lines, AT(people), .max = 500},
    {"body", read_body},
};
static const struct dw_row when_rows[] = {
    {"from", read_day, AT(from), .max = 40, .form = form_day},
    {"to", read_day, AT(to), .max = 40, .form = form_day},
    {"ongoing", dw_read_flag, AT(ongoing)},
};
static const struct dw_row identity_rows[] = {
    {"name", dw_read_line, AT(identity_name), .min = 1, .max = 60},
    {"phone", dw_read_line, AT(phone), .max = 40, .form = form_phone},
    {"email", dw_read_line, AT(email), .max = 254, .form = form_email},
    {"id_number", dw_read_line, AT(id_number), .max = 40, .form = form_id_number},
    {"wants_reward", read_reward, AT(facts.wants_reward)},
};
static const struct dw_row notify_rows[] = {
    {"sms", read_sms, AT(facts.notify_sms)},
    {"email", read_notify_email, AT(facts.notify_email)},
    {"call", read_call, AT(facts.notify_call)},
};
#define OBJECT(name, table)                                                                        \
    {                                                                                              \
        name, dw_read_object, .rows = table, .count = DW_COUNT(table)                              \
    }
static const struct dw_row filing_rows[] = {
    {"kind", read_kind, .required = true},
    {"language", read_language},
    OBJECT("against", against_rows),
    {"acts", read_acts},
    {"complaint", read_complaint, AT(facts.complaint), .list = DW_COMPLAINTS},
    {"service", read_service},
    OBJECT("when", when_rows),
    {"facts", dw_read_lines, .required = true, AT(text), .min = 20, .max = 5000},
    {"amount_yuan", read_amount, .min = 0, .max = INT64_C(100000000000)},
    {"relation", dw_read_choice, AT(relation), .list = DW_RELATIONS},
    OBJECT("identity", identity_rows),
    OBJECT("notify", notify_rows),
    {"elsewhere", dw_read_lines, AT(elsewhere), .max = 1000},
    {"privacy_version", read_privacy_version},
    {"truthful", read_truthful, .required = true},
};

/* ---- the clear facts that follow ---- */

/* Does the typed name of an office mean this body?  With or without the city's name. */
static bool is_name_of(const struct dw_body *body, const char *name)
{
    static const char city[] = "重庆市";
    const char *zh = body->zh;
    if (is_text(name, zh) || is_text(name, body->en))
        return true;
    return strncmp(zh, city, sizeof city - 1) == 0 && is_text(name, zh + sizeof city - 1);
}

/* The body that is reported must not get its own report, also when its name was typed rather than
 * chosen. */
static const char *reported_body(const struct dw_reading *r)
{
    const struct dw_filing *out = r->out;
    if (out->body)
        return out->body;
    if (!is_text(out->facts.against, "agency") || !out->name)
        return NULL;
    for (size_t i = 0; i < dw_bodies_count(r->routing); i++)
        if (is_name_of(dw_body_at(r->routing, i), out->name))
            return dw_body_at(r->routing, i)->id;
    return NULL;
}

static void derive(struct dw_reading *r, const char *channel)
{
    struct dw_facts *f = &r->out->facts;
    const char *body = reported_body(r);
    f->channel = dw_field_copy(r, channel);
    f->day = r->today;
    f->real_name = r->out->identity_name;
    f->amount = dw_field_copy(r, dw_amount_band(r->words, r->out->amount_yuan)->code);
    f->routing = dw_field_copy(r, dw_routing_version(r->routing));
    if (!r->out->relation)
        r->out->relation = "not_said";
    if (body) {
        f->excluded = dw_arena_alloc(r->arena, sizeof *f->excluded);
        r->full |= !f->excluded;
        if (f->excluded)
            f->excluded[f->excluded_count++] = dw_field_copy(r, body);
    }
}

enum dw_result dw_filing_check(const json_t *json, const struct dw_catalogue *catalogue,
                               const struct dw_routing *routing, const char *channel, dw_day today,
                               struct dw_arena *arena, struct dw_filing *ret,
                               struct dw_problems *problems)
{
    struct dw_filing filing = {.amount_yuan = -1};
    struct dw_reading r = {.words = catalogue,
                           .routing = routing,
                           .today = today,
                           .arena = arena,
                           .problems = problems,
                           .out = &filing};
    problems->count = 0;
    if (!json_is_object(json)) {
        dw_field_wrong(&r, DW_P_TYPE, 3, "");
        return DW_INVALID;
    }
    dw_read_fields(&r, filing_rows, DW_COUNT(filing_rows), json);
    derive(&r, channel);
    if (r.full)
        dw_problem_add(problems, "", DW_P_TOO_LONG, (int64_t)arena->max, "");
    if (problems->count)
        return DW_INVALID;
    *ret = filing;
    return DW_OK;
}
