/* submit.c - one filing, however it came: JSON body, JSON part with files, or the fields of a form. */
#include "web.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_MAX = 4 * 1024 * 1024, PATH_LEN = 64 };

/* ---- fields of the form ---- */

enum form_kind { TEXT, NUMBER, FLAG, LIST };
static const struct {
    const char *object; /* NULL for the top */
    const char *name;
    enum form_kind kind;
} form[] = {
    {NULL, "kind", TEXT},          {NULL, "language", TEXT},     {"against", "type", TEXT},
    {"against", "name", TEXT},     {"against", "district", TEXT}, {"against", "address", TEXT},
    {"against", "code", TEXT},     {"against", "people", TEXT},  {"against", "body", TEXT},
    {NULL, "acts", LIST},          {NULL, "complaint", TEXT},    {NULL, "service", NUMBER},
    {"when", "from", TEXT},        {"when", "to", TEXT},         {"when", "ongoing", FLAG},
    {NULL, "facts", TEXT},         {NULL, "amount_yuan", NUMBER}, {NULL, "relation", TEXT},
    {"identity", "name", TEXT},    {"identity", "phone", TEXT},  {"identity", "email", TEXT},
    {"identity", "id_number", TEXT}, {"identity", "wants_reward", FLAG},
    {"notify", "sms", FLAG},       {"notify", "email", FLAG},    {"notify", "call", FLAG},
    {NULL, "elsewhere", TEXT},     {NULL, "privacy_version", TEXT}, {NULL, "truthful", FLAG},
};

/* Line ends of a form are CR LF; ours are LF.  Blanks around an answer are no answer. */
static json_t *clean_text(const char *value)
{
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 1024 * 1024);
    size_t len = strlen(value);
    while (len && strchr(" \t\r\n", value[len - 1]))
        len--;
    size_t i = strspn(value, " \t\r\n");
    for (; i < len; i++)
        if (value[i] != '\r' || value[i + 1] != '\n')
            dw_buf_put(&out, &value[i], 1);
    return out.len ? json_stringn_nocheck((const char *)out.data, out.len) : NULL;
}

/* What is no number stays a text, so that the check names the field. */
static json_t *number_or_text(const char *value)
{
    char digits[20];
    size_t n = 0;
    for (const char *p = value; *p; p++) { /* "120,000" is how people write it */
        if (*p == ',' || *p == ' ')
            continue;
        if (*p < '0' || *p > '9' || n == sizeof digits - 1)
            return clean_text(value);
        digits[n++] = *p;
    }
    digits[n] = 0;
    return n ? json_integer(strtoll(digits, NULL, 10)) : NULL;
}

/* A box is ticked or not there; "0" or "false" is neither, and the check names the field. */
static json_t *flag_or_text(const char *value)
{
    return strcmp(value, "1") == 0 ? json_true() : clean_text(value);
}

static json_t *list_of(const struct dw_http_request *request, const char *name)
{
    json_t *list = NULL;
    const char *value;
    for (size_t i = 0; (value = dw_http_field(request, name, i)); i++) {
        if (!list)
            list = json_array();
        json_array_append_new(list, json_string_nocheck(value));
    }
    return list;
}

static void path_of(size_t i, char path[PATH_LEN])
{
    snprintf(path, PATH_LEN, "%s%s%s", form[i].object ? form[i].object : "",
             form[i].object ? "." : "", form[i].name);
}

static bool is_known(const char *name)
{
    char path[PATH_LEN];
    for (size_t i = 0; i < DW_COUNT(form); i++) {
        path_of(i, path);
        if (strcmp(name, path) == 0)
            return true;
    }
    return strcmp(name, "key") == 0 || strcmp(name, "lang") == 0;
}

json_t *web_form_to_json(const struct dw_http_request *request)
{
    json_t *root = json_object();
    for (size_t i = 0; i < dw_http_fields(request); i++)
        if (!is_known(dw_http_field_name(request, i))) /* the check names it too */
            json_object_set_new_nocheck(root, dw_http_field_name(request, i), json_null());
    for (size_t i = 0; i < DW_COUNT(form); i++) {
        char path[PATH_LEN];
        path_of(i, path);
        const char *value = dw_http_field(request, path, 0);
        bool twice = dw_http_field(request, path, 1) != NULL; /* a list where none belongs */
        json_t *v = form[i].kind == LIST || twice ? list_of(request, path)
                    : !value                      ? NULL
                    : form[i].kind == FLAG        ? flag_or_text(value)
                    : form[i].kind == TEXT        ? clean_text(value)
                                                  : number_or_text(value);
        if (!v)
            continue;
        json_t *object = root;
        if (form[i].object) {
            object = json_object_get(root, form[i].object);
            if (!object) {
                object = json_object();
                json_object_set_new(root, form[i].object, object);
            }
        }
        json_object_set_new_nocheck(object, form[i].name, v);
    }
    return root;
}

/* ---- submitting ---- */

bool web_is_page(const struct dw_http_request *request)
{
    return strcmp(dw_http_path(request), "/file") == 0;
}

static enum dw_result read_filing(struct web *web, struct dw_http_request *request,
                                  struct dw_arena *arena, struct dw_filing *filing,
                                  struct dw_problems *problems)
{
    const struct dw_catalogue *catalogue = dw_intake_catalogue(web->intake);
    const struct dw_routing *routing = dw_intake_routing(web->intake);
    dw_day today = dw_day_of(dw_now());
    struct dw_slice text = dw_http_body(request);
    if (web_is_page(request)) {
        json_t *json = web_form_to_json(request);
        enum dw_result result =
            dw_filing_check(json, catalogue, routing, "web", today, arena, filing, problems);
        json_decref(json);
        return result;
    }
    if (dw_http_is_form(request)) {
        const char *part = dw_http_field(request, "filing", 0);
        text = part ? dw_slice_of(part) : web_upload_filing(dw_http_upload_of(request));
    }
    return dw_filing_parse(text, catalogue, routing, "web", today, arena, filing, problems);
}

void web_submit(struct web *web, struct dw_http_request *request, const char *key,
                struct submission *ret)
{
    struct dw_filing filing;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, ARENA_MAX);
    *ret = (struct submission){.status = 400};
    if (!key || !dw_http_is_key(key)) {
        ret->field = "Idempotency-Key";
        ret->detail = "expected a UUID or 22 to 64 characters of base64url, fresh for each filing";
        return;
    }
    if (read_filing(web, request, &arena, &filing, &ret->problems) != DW_OK) {
        ret->status = ret->problems.items[0].kind == DW_P_SYNTAX ? 400 : 422;
        (*web->m_refused)++;
        return;
    }
    const char *name;
    const struct web_file_problem *bad = web_upload_problem(dw_http_upload_of(request), &name);
    if (bad) {
        ret->status = bad->status;
        ret->field = "file";
        ret->detail = bad->detail;
        (*web->m_refused)++;
        return;
    }
    dw_intake_submit(web->intake, &filing, key, web_upload_files(dw_http_upload_of(request)),
                     &ret->done);
    ret->status = ret->done.status;
    if (ret->status == 202) {
        (*web->m_accepted)++;
    } else if (ret->status == 422) {
        ret->field = "Idempotency-Key";
        ret->detail = "the key was used before with another filing";
    } else {
        (*web->m_unavailable)++;
        ret->detail = "the filing could not be made durable now; nothing was registered; try again";
    }
}
