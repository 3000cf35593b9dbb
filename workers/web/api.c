/* api.c - the public JSON API. */
#include "web.h"

#include "dw/log.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_MAX_CHARS = 5000, RETRY_SECONDS = 5 };

static void unavailable(struct dw_http_request *request, int seconds, const char *detail)
{
    char text[16];
    snprintf(text, sizeof text, "%d", seconds > 0 ? seconds : RETRY_SECONDS);
    dw_http_set_header(request, "Retry-After", text);
    dw_http_problem(request, 503, "", detail);
}

static void answer_problems(struct dw_http_request *request, const struct submission *s,
                            const char *language)
{
    json_t *errors = json_array();
    char text[320];
    for (size_t i = 0; i < s->problems.count; i++) {
        dw_problem_text(&s->problems.items[i], language, text, sizeof text);
        json_array_append_new(errors, json_pack("{s:s, s:s}", "field", s->problems.items[i].field,
                                                "detail", text));
    }
    dw_problem_text(&s->problems.items[0], language, text, sizeof text);
    dw_http_refuse(request, s->problems.items[0].field, text);
    dw_http_problems(request, s->status, text, errors);
}

/* The part of a form that is too much or missing, or NULL: whoever sends a second filing, or one field
 * beside it, means something that would be lost. */
static const char *wrong_part(const struct dw_http_request *request)
{
    size_t filings = web_upload_filing(dw_http_upload_of(request)).len > 0;
    if (!dw_http_is_form(request))
        return NULL;
    for (size_t i = 0; i < dw_http_fields(request); i++) {
        if (strcmp(dw_http_field_name(request, i), "filing") != 0)
            return dw_http_field_name(request, i);
        filings++;
    }
    return filings == 1 ? NULL : "filing";
}

void api_filings(void *app, struct dw_http_request *request)
{
    struct web *web = app;
    struct submission s;
    char day[DW_DAY_TEXT], receipt[DW_RECEIPT_TEXT];
    const char *wrong = wrong_part(request);
    if (wrong) {
        (*web->m_refused)++;
        dw_http_problem(request, 400, wrong,
                        "expected one part named \"filing\", then files in parts named \"file\"");
        return;
    }
    web_submit(web, request, dw_http_header(request, "Idempotency-Key"), &s);
    if (s.status == 202) {
        dw_receipt_format(s.done.receipt, receipt);
        dw_http_json(request, 202,
                     json_pack("{s:s, s:s}", "receipt", receipt, "filed_on",
                               dw_day_format(s.done.day, day)));
    } else if (s.problems.count) {
        answer_problems(request, &s, web_language(request, "en"));
    } else if (s.status == 503) {
        unavailable(request, s.done.retry_seconds, s.detail);
    } else {
        dw_http_problem(request, s.status, s.field, s.detail);
    }
    dw_wipe(&s, sizeof s);
    dw_wipe(receipt, sizeof receipt);
}

/* ---- with a receipt ---- */

struct asked {
    json_t *json;
    char digits[DW_RECEIPT_DIGITS + 1];
    const char *text;
};

static void free_asked(struct asked *a)
{
    json_decref(a->json);
    dw_wipe(a, sizeof *a);
}

/* Reads {"receipt", "text"}; answers what is wrong and returns false. */
static bool read_asked(struct dw_http_request *request, bool with_text, struct asked *ret)
{
    static const char *const known[] = {"receipt", "text"};
    const char *name;
    json_t *value;
    *ret = (struct asked){.json = dw_http_json_body(request)};
    if (!ret->json)
        return false;
    json_object_foreach(ret->json, name, value)
    {
        bool fine = strcmp(name, known[0]) == 0 || (with_text && strcmp(name, known[1]) == 0);
        if (!fine || !json_is_string(value)) {
            char printable[64];
            dw_http_problem(request, 422,
                            dw_printable(printable, sizeof printable, name, strlen(name)),
                            fine ? "expected a text" : "unknown field");
            return false;
        }
    }
    const char *receipt = json_string_value(json_object_get(ret->json, "receipt"));
    if (!receipt || !dw_receipt_parse(receipt, ret->digits)) {
        dw_http_problem(request, 422, "receipt",
                        "expected the 24 digits of a receipt; the check digits do not fit");
        return false;
    }
    ret->text = json_string_value(json_object_get(ret->json, "text"));
    return true;
}

void api_status(void *app, struct dw_http_request *request)
{
    struct web *web = app;
    struct asked asked;
    struct dw_followed f;
    if (read_asked(request, false, &asked)) {
        dw_intake_follow(web->intake, asked.digits, &f);
        if (f.status == 200)
            dw_http_json(request, 200,
                         web_status_json(web, &f,
                                         web_language(request, f.pending ? "zh-CN"
                                                                         : f.view.facts.language)));
        else if (f.status == 404)
            dw_http_problem(request, 404, "receipt", "there is no filing with this receipt");
        else
            unavailable(request, RETRY_SECONDS, "the filing cannot be looked up now; try again");
        dw_followed_free(&f);
    }
    free_asked(&asked);
}

static bool check_text(struct dw_http_request *request, const char *text, bool required)
{
    size_t len = text ? strlen(text) : 0;
    if (required && (!text || strspn(text, " \t\n") == len))
        dw_http_problem(request, 422, "text", "expected a text");
    else if (len && (!dw_text_is_clean(text, len, "\n\t") ||
                     dw_text_chars(text, len) > TEXT_MAX_CHARS))
        dw_http_problem(request, 422, "text", "expected at most 5000 characters of plain text");
    else
        return true;
    return false;
}

static void say(struct web *web, struct dw_http_request *request, const char *command,
                bool required)
{
    struct asked asked;
    struct dw_said_result said;
    const char *key = dw_http_header(request, "Idempotency-Key");
    if (!key || !dw_http_is_key(key)) {
        dw_http_problem(request, 400, "Idempotency-Key",
                        "expected a UUID or 22 to 64 characters of base64url, fresh for each call");
        return;
    }
    if (read_asked(request, true, &asked) && check_text(request, asked.text, required)) {
        dw_intake_say(web->intake, asked.digits, command, asked.text ? asked.text : "", key, &said);
        if (said.status == 200)
            dw_http_json(request, 200,
                         json_pack("{s:s, s:s}", "state", said.state, "state_text",
                                   web_state_text(web, said.state, web_language(request, "zh-CN"))));
        else if (said.status == 404)
            dw_http_problem(request, 404, "receipt", "there is no filing with this receipt");
        else if (said.status == 503)
            unavailable(request, RETRY_SECONDS, "the filing is not yet stored, or the store is away; "
                                                "nothing was added; try again");
        else
            dw_http_problem(request, said.status, said.error.field, said.error.text);
    }
    free_asked(&asked);
}

void api_messages(void *app, struct dw_http_request *request)
{
    say(app, request, "message", true);
}

void api_withdraw(void *app, struct dw_http_request *request)
{
    say(app, request, "withdraw", false);
}

/* ---- catalogue ---- */

static json_t *terms_json(const struct dw_catalogue *catalogue, enum dw_list list,
                          const char *language)
{
    json_t *array = json_array();
    for (size_t i = 0; i < dw_terms_count(catalogue, list); i++) {
        const struct dw_term *t = dw_term_at(catalogue, list, i);
        json_t *o = json_pack("{s:s, s:s}", "code", t->code, "name", dw_term_text(t, language));
        if (*t->basis)
            json_object_set_new(o, "basis", json_string(t->basis));
        if (*t->verified)
            json_object_set_new(o, "verified", json_string(t->verified));
        if (t->actors_count) {
            json_t *actors = json_array();
            for (size_t j = 0; j < t->actors_count; j++)
                json_array_append_new(actors, json_string(t->actors[j]));
            json_object_set_new(o, "actors", actors);
        }
        if (list == DW_AMOUNTS)
            json_object_set_new(o, "from", json_integer(t->from));
        json_array_append_new(array, o);
    }
    return array;
}

static json_t *bodies_json(const struct dw_routing *routing, const char *language)
{
    json_t *array = json_array();
    for (size_t i = 0; i < dw_bodies_count(routing); i++) {
        const struct dw_body *b = dw_body_at(routing, i);
        json_array_append_new(
            array, json_pack("{s:s, s:s, s:s, s:b, s:s, s:s}", "id", b->id, "name",
                             strcmp(language, "en") == 0 ? b->en : b->zh, "kind", b->kind, "member",
                             b->member, "district", b->district, "phone", b->phone));
    }
    return array;
}

void api_catalogue(void *app, struct dw_http_request *request)
{
    static const struct {
        const char *name;
        enum dw_list list;
    } lists[] = {{"acts", DW_ACTS},           {"complaints", DW_COMPLAINTS},
                 {"services", DW_SERVICES},   {"districts", DW_DISTRICTS},
                 {"against", DW_AGAINST},     {"relations", DW_RELATIONS},
                 {"amounts", DW_AMOUNTS},     {"states", DW_STATES},
                 {"refusals", DW_REFUSALS},   {"transfers", DW_TRANSFERS},
                 {"returns", DW_RETURNS},     {"outcomes", DW_OUTCOMES},
                 {"privacy", DW_PRIVACY}};
    struct web *web = app;
    const struct dw_catalogue *catalogue = dw_intake_catalogue(web->intake);
    const char *language = web_language(request, "zh-CN");
    json_t *o = json_pack("{s:s, s:s}", "version", dw_catalogue_version(catalogue),
                          "privacy_version", dw_catalogue_privacy_version(catalogue));
    for (size_t i = 0; i < DW_COUNT(lists); i++)
        json_object_set_new(o, lists[i].name, terms_json(catalogue, lists[i].list, language));
    json_object_set_new(o, "bodies", bodies_json(dw_intake_routing(web->intake), language));
    json_object_set_new(o, "routing", json_string(dw_routing_version(dw_intake_routing(web->intake))));
    dw_http_json(request, 200, o);
}
