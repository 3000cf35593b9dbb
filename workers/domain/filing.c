#include "dw/filing.h"

#include <string.h>

/* ---- the clear facts ---- */

static const struct dw_field facts_fields[] = {
    DW_F_TEXT(struct dw_facts, kind, 16, 0),
    DW_F_TEXT(struct dw_facts, against, 48, 0),
    DW_F_TEXT(struct dw_facts, district, 48, 0),
    DW_F_TEXTS(struct dw_facts, acts, 10, DW_OPTIONAL),
    DW_F_TEXT(struct dw_facts, complaint, 48, DW_OPTIONAL),
    DW_F_I32(struct dw_facts, service, DW_OPTIONAL),
    DW_F_TEXT(struct dw_facts, channel, 16, 0),
    DW_F_TEXT(struct dw_facts, language, 16, 0),
    DW_F_I32(struct dw_facts, day, 0),
    DW_F_BOOL(struct dw_facts, real_name, 0),
    DW_F_BOOL(struct dw_facts, wants_reward, 0),
    DW_F_BOOL(struct dw_facts, notify_sms, 0),
    DW_F_BOOL(struct dw_facts, notify_email, 0),
    DW_F_BOOL(struct dw_facts, notify_call, 0),
    DW_F_TEXT(struct dw_facts, amount, 48, 0),
    DW_F_TEXT(struct dw_facts, routing, 32, 0),
    DW_F_TEXTS(struct dw_facts, excluded, 16, DW_OPTIONAL),
};
const struct dw_layout dw_facts_layout = DW_LAYOUT("facts", struct dw_facts, facts_fields);

struct dw_route_facts dw_facts_for_route(const struct dw_facts *facts)
{
    return (struct dw_route_facts){
        .kind = facts->kind,
        .against = facts->against,
        .district = facts->district,
        .acts = (const char *const *)facts->acts,
        .acts_count = facts->acts_count,
        .complaint = facts->complaint,
        .excluded = (const char *const *)facts->excluded,
        .excluded_count = facts->excluded_count,
    };
}

/* ---- canonical bytes ---- */

/* A change of these bytes makes retries of old filings look new: add at the end, never reorder.
 * Derived facts (day, band, routing version, exclusions) are not part of what was said. */
enum { CANONICAL_VERSION = 1 };
#define AT(member) offsetof(struct dw_filing, member)
static const size_t canonical_texts[] = {
    AT(facts.kind),
    AT(facts.language),
    AT(facts.against),
    AT(facts.district),
    AT(facts.complaint),
    AT(name),
    AT(address),
    AT(code),
    AT(people),
    AT(body),
    AT(from),
    AT(to),
    AT(text),
    AT(relation),
    AT(elsewhere),
    AT(privacy_version),
    AT(identity_name),
    AT(id_number),
    AT(phone),
    AT(email),
};

/* Absent and empty are told apart, and no text can run into the next. */
static void put_text(struct dw_buf *out, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    dw_buf_u8(out, text ? 1 : 0);
    dw_buf_u32(out, (uint32_t)len);
    dw_buf_put(out, text, len);
}

void dw_filing_canonical(const struct dw_filing *f, struct dw_buf *out)
{
    dw_buf_u8(out, CANONICAL_VERSION);
    for (size_t i = 0; i < DW_COUNT(canonical_texts); i++)
        put_text(out, *(const char *const *)((const char *)f + canonical_texts[i]));
    dw_buf_u32(out, (uint32_t)f->facts.acts_count);
    for (size_t i = 0; i < f->facts.acts_count; i++)
        put_text(out, f->facts.acts[i]);
    dw_buf_u32(out, (uint32_t)f->facts.service);
    dw_buf_u64(out, (uint64_t)f->amount_yuan);
    dw_buf_u8(out, f->ongoing);
    dw_buf_u8(out, f->facts.wants_reward);
    dw_buf_u8(out, f->facts.notify_sms);
    dw_buf_u8(out, f->facts.notify_email);
    dw_buf_u8(out, f->facts.notify_call);
}

/* ---- what is sealed, as JSON ---- */

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text)
        json_object_set_new(object, key, json_string(text));
}

static void set_object(json_t *object, const char *key, json_t *value)
{
    if (json_object_size(value))
        json_object_set_new(object, key, value);
    else
        json_decref(value);
}

static int append(const char *data, size_t len, void *out)
{
    dw_buf_put(out, data, len);
    return 0;
}

static void write_object(json_t *object, struct dw_buf *out)
{
    if (json_object_size(object))
        json_dump_callback(object, append, out, JSON_COMPACT);
    json_decref(object);
}

void dw_filing_body_json(const struct dw_filing *f, struct dw_buf *out)
{
    json_t *all = json_object(), *against = json_object(), *when = json_object();
    set_text(against, "name", f->name);
    set_text(against, "address", f->address);
    set_text(against, "code", f->code);
    set_text(against, "people", f->people);
    set_text(against, "body", f->body);
    set_object(all, "against", against);
    set_text(when, "from", f->from);
    set_text(when, "to", f->to);
    if (f->ongoing)
        json_object_set_new(when, "ongoing", json_true());
    set_object(all, "when", when);
    set_text(all, "facts", f->text);
    if (f->amount_yuan >= 0)
        json_object_set_new(all, "amount_yuan", json_integer(f->amount_yuan));
    set_text(all, "relation", f->relation);
    set_text(all, "elsewhere", f->elsewhere);
    set_text(all, "privacy_version", f->privacy_version);
    write_object(all, out);
}

void dw_filing_identity_json(const struct dw_filing *f, struct dw_buf *out)
{
    json_t *all = json_object();
    set_text(all, "name", f->identity_name);
    set_text(all, "id_number", f->id_number);
    write_object(all, out);
}

void dw_filing_contact_json(const struct dw_filing *f, struct dw_buf *out)
{
    json_t *all = json_object();
    set_text(all, "phone", f->phone);
    set_text(all, "email", f->email);
    write_object(all, out);
}
