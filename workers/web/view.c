/* view.c - a case as its reporter sees it. */
#include "web.h"

#include <string.h>

const char *web_language(const struct dw_http_request *request, const char *fallback)
{
    const char *lang = dw_http_query(request, "lang");
    if (!lang)
        lang = dw_http_field(request, "lang", 0);
    if (!lang || (strcmp(lang, "en") != 0 && strncmp(lang, "zh", 2) != 0))
        return fallback;
    return strcmp(lang, "en") == 0 ? "en" : "zh-CN";
}

static bool is_english(const char *language)
{
    return strcmp(language, "en") == 0;
}

const char *web_portal_name(const struct web *web, const char *language)
{
    return is_english(language) ? web->config->name_en : web->config->name_zh;
}

const char *web_state_text(struct web *web, const char *state, const char *language)
{
    const struct dw_term *t = dw_term_find(dw_intake_catalogue(web->intake), DW_STATES, state);
    if (!t)
        return "";
    return is_english(language) ? t->note_en : t->note_zh;
}

bool web_due(struct web *web, const struct dw_clock *clock, struct dw_arena *arena,
             const struct dw_rule **rule, struct dw_due *due)
{
    *rule = dw_rule_of_pack(dw_intake_rules(web->intake), clock->rule, clock->pack);
    return *rule && dw_rule_due(*rule, dw_intake_calendar(web->intake), clock->start,
                                clock->extended, arena, due) == DW_OK;
}

static json_t *day_json(dw_day day)
{
    char text[DW_DAY_TEXT];
    return json_string(dw_day_format(day, text));
}

static json_t *body_json(struct web *web, const char *id, const char *language)
{
    const struct dw_body *body = dw_body_find(dw_intake_routing(web->intake), id);
    if (!body)
        return json_pack("{s:s}", "id", id);
    return json_pack("{s:s, s:s, s:s}", "id", body->id, "name",
                     is_english(language) ? body->en : body->zh, "phone", body->phone);
}

static json_t *due_json(struct web *web, const struct dw_clock *clock, struct dw_arena *arena,
                        const char *language)
{
    const struct dw_rule *rule;
    struct dw_due due;
    bool en = is_english(language);
    if (clock->ended || !web_due(web, clock, arena, &rule, &due)) /* met: it no longer runs */
        return NULL;
    json_t *steps = json_array();
    for (size_t i = 0; i < due.steps_count; i++) {
        const struct dw_due_step *s = &due.steps[i];
        json_array_append_new(steps, json_pack("{s:o, s:o, s:i, s:s}", "from", day_json(s->from),
                                               "to", day_json(s->to), "counted", (int)s->counted,
                                               "why", en ? s->why_en : s->why_zh));
    }
    json_t *o = json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:b, s:o}", "what",
                          en ? rule->what_en : rule->what_zh, "date", day_json(clock->due), "start",
                          day_json(clock->start), "rule", rule->id, "article", rule->article,
                          "verified", dw_verified_name(rule->verified), "estimate",
                          clock->estimate || due.estimate, "steps", steps);
    return o;
}

static json_t *messages_json(const struct dw_followed *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->messages_count; i++) {
        const struct dw_message *m = &f->messages[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:o, s:o}", "from", m->from_reporter ? "reporter" : "office",
                            "kind", m->kind, "day", day_json(m->day), "text",
                            m->text ? json_string(m->text) : json_null()));
    }
    return list;
}

static json_t *notices_json(struct web *web, const struct dw_followed *f, const char *language)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->view.notices_count; i++) {
        const struct dw_notice *n = &f->view.notices[i];
        const struct dw_template *t = dw_template_find(web->templates, n->template);
        json_array_append_new(list, json_pack("{s:o, s:s}", "day", day_json(n->day), "text",
                                              !t                       ? ""
                                              : is_english(language) ? t->page_en
                                                                     : t->page_zh));
    }
    return list;
}

json_t *web_status_json(struct web *web, const struct dw_followed *f, const char *language)
{
    const char *state = f->pending ? "received" : f->view.state;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 4 * 1024 * 1024);
    json_t *o = json_pack("{s:s, s:s, s:o}", "state", state, "state_text",
                          web_state_text(web, state, language), "filed_on", day_json(f->day));
    if (f->pending)
        return o;
    json_t *due = json_array();
    for (size_t i = 0; i < f->view.clocks_count; i++) {
        json_t *clock = due_json(web, &f->view.clocks[i], &arena, language);
        if (clock)
            json_array_append_new(due, clock);
    }
    json_object_set_new(o, "reference", json_string(f->view.reference));
    json_object_set_new(o, "body", body_json(web, f->view.body, language));
    json_object_set_new(o, "due", due);
    json_object_set_new(o, "messages", messages_json(f));
    json_object_set_new(o, "notices", notices_json(web, f, language));
    return o;
}
