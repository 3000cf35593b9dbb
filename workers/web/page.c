#include "page.h"

#include <stdio.h>
#include <string.h>

enum { PAGE_MAX = 4 * 1024 * 1024 };

void page_raw(struct page *p, const char *html)
{
    dw_buf_str(&p->out, html);
}

void page_text(struct page *p, const char *text)
{
    dw_html_text(&p->out, text);
}

void page_say(struct page *p, const char *zh, const char *en)
{
    dw_html_text(&p->out, p->en ? en : zh);
}

static void attribute(struct page *p, const char *name, const char *value)
{
    page_raw(p, " ");
    page_raw(p, name);
    page_raw(p, "=\"");
    page_text(p, value);
    page_raw(p, "\"");
}

static void open_tag(struct page *p, const char *tag, const char *class)
{
    page_raw(p, "<");
    page_raw(p, tag);
    if (*class)
        attribute(p, "class", class);
    page_raw(p, ">");
}

static void close_tag(struct page *p, const char *tag)
{
    page_raw(p, "</");
    page_raw(p, tag);
    page_raw(p, ">\n");
}

void page_element(struct page *p, const char *tag, const char *class, const char *zh,
                  const char *en)
{
    open_tag(p, tag, class);
    page_say(p, zh, en);
    close_tag(p, tag);
}

static void href(struct page *p, const char *path, bool english)
{
    page_raw(p, " href=\"");
    page_text(p, path);
    if (english)
        page_raw(p, strchr(path, '?') ? "&amp;lang=en" : "?lang=en");
    page_raw(p, "\"");
}

void page_link(struct page *p, const char *path, const char *class, const char *zh, const char *en)
{
    page_raw(p, "<a");
    if (*class)
        attribute(p, "class", class);
    href(p, path, p->en);
    page_raw(p, ">");
    page_say(p, zh, en);
    close_tag(p, "a");
}

/* The other language of this page; of one that answers a form, the page with the empty form. */
static void language_link(struct page *p, const char *path)
{
    page_raw(p, "<a class=\"language\"");
    attribute(p, "lang", p->en ? "zh-CN" : "en");
    href(p, path, !p->en);
    page_raw(p, p->en ? ">中文</a>\n" : ">English</a>\n");
}

void page_begin(struct page *p, struct web *web, struct dw_http_request *request,
                const char *title_zh, const char *title_en)
{
    *p = (struct page){.web = web, .request = request, .language = web_language(request, "zh-CN")};
    p->en = strcmp(p->language, "en") == 0;
    dw_buf_init(&p->out, PAGE_MAX);
    page_raw(p, "<!doctype html>\n<html");
    attribute(p, "lang", p->language);
    page_raw(p, ">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"robots\" content=\"noindex\">\n<title>");
    page_say(p, title_zh, title_en);
    page_raw(p, " - ");
    page_text(p, web_portal_name(web, p->language));
    page_raw(p, "</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n"
                "<link rel=\"icon\" href=\"/icon.svg\">\n</head>\n<body>\n"
                "<header><div class=\"width\">");
    page_raw(p, "<a class=\"portal\"");
    href(p, "/", p->en);
    page_raw(p, ">");
    page_text(p, web_portal_name(web, p->language));
    page_raw(p, "</a>\n");
    const char *kind = dw_http_field(request, "kind", 0);
    if (!kind)
        kind = dw_http_query(request, "kind");
    language_link(p, kind && strcmp(kind, "complaint") == 0 ? "/file?kind=complaint"
                                                            : dw_http_path(request));
    page_raw(p, "</div></header>\n<main class=\"width\">\n");
    if (web->config->demo)
        page_element(p, "p", "demo", "演示系统：请勿在此提交真实举报。",
                     "Demonstration: do not file a real report here.");
    page_element(p, "h1", "", title_zh, title_en);
}

void page_privacy_link(struct page *p)
{
    page_raw(p, "<p><a target=\"_blank\" rel=\"noopener\"");
    href(p, "/privacy", p->en);
    page_raw(p, ">");
    page_say(p, "隐私说明（在新窗口打开）", "Privacy notice (opens in a new window)");
    page_raw(p, "</a></p>\n");
}

void page_end(struct page *p, int status)
{
    page_raw(p, "</main>\n<footer><div class=\"width\">");
    page_raw(p, "<p><a class=\"leave\" href=\"https://www.baidu.com/\" rel=\"noreferrer\">");
    page_say(p, "立即离开本页", "Leave this page now");
    page_raw(p, "</a></p><p>");
    page_say(p,
             "本网站不使用 Cookie，也不记录您的网络地址。离开后请同时清除浏览器历史记录。",
             "This site uses no cookies and keeps no record of your address. After leaving, clear "
             "your browser's history too.");
    page_raw(p, "</p>\n");
    page_privacy_link(p);
    page_raw(p, "</div></footer>\n</body>\n</html>\n");
    dw_http_set_header(p->request, "Content-Language", p->language);
    dw_http_html(p->request, status, &p->out);
    dw_buf_free(&p->out);
}

void page_hidden(struct page *p, const char *name, const char *value)
{
    page_raw(p, "<input type=\"hidden\"");
    attribute(p, "name", name);
    attribute(p, "value", value);
    page_raw(p, ">\n");
}

void page_button(struct page *p, const char *class, const char *zh, const char *en)
{
    page_raw(p, "<p><button");
    if (*class)
        attribute(p, "class", class);
    page_raw(p, ">");
    page_say(p, zh, en);
    page_raw(p, "</button></p>\n");
}

/* ---- problems ---- */

static const struct dw_problem *problem_of(const struct page *p, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; p->problems && i < p->problems->count; i++) {
        const struct dw_problem *problem = &p->problems->items[i];
        /* "acts[2]" stands at "acts" */
        if (strncmp(problem->field, name, len) == 0 &&
            (problem->field[len] == 0 || problem->field[len] == '['))
            return problem;
    }
    return NULL;
}

static void say_file_problem(struct page *p)
{
    if (*p->file_name) {
        page_text(p, p->file_name);
        page_raw(p, p->en ? ": " : "：");
    }
    page_say(p, p->file_problem->zh, p->file_problem->en);
}

static bool is_wrong(const struct page *p, const char *name)
{
    return problem_of(p, name) || (p->file_problem && strcmp(name, "file") == 0);
}

void page_problem_at(struct page *p, const char *name)
{
    char text[320];
    const struct dw_problem *problem = problem_of(p, name);
    if (!is_wrong(p, name))
        return;
    page_raw(p, "<p class=\"problem\" id=\"problem-");
    page_text(p, name);
    page_raw(p, "\">");
    if (problem) {
        dw_problem_text(problem, p->language, text, sizeof text);
        page_text(p, text);
    } else {
        say_file_problem(p);
    }
    page_raw(p, "</p>\n");
}

void page_problems(struct page *p)
{
    char text[320];
    size_t count = p->problems ? p->problems->count : 0;
    if (!count && !p->file_problem)
        return;
    page_raw(p, "<div class=\"alert\" role=\"alert\" tabindex=\"-1\">\n");
    page_element(p, "h2", "", "请检查以下内容", "Please look at these again");
    page_raw(p, "<ul>\n");
    for (size_t i = 0; i < count; i++) {
        dw_problem_text(&p->problems->items[i], p->language, text, sizeof text);
        char field[64];
        snprintf(field, sizeof field, "%s", p->problems->items[i].field);
        field[strcspn(field, "[")] = 0;
        page_raw(p, "<li><a href=\"#");
        page_text(p, field);
        page_raw(p, "\">");
        page_text(p, text);
        page_raw(p, "</a></li>\n");
    }
    if (p->file_problem) {
        page_raw(p, "<li><a href=\"#file\">");
        say_file_problem(p);
        page_raw(p, "</a></li>\n");
    }
    page_raw(p, "</ul>\n</div>\n");
}

void page_alert(struct page *p, const char *zh, const char *en)
{
    page_raw(p, "<div class=\"alert\" role=\"alert\"><p>");
    page_say(p, zh, en);
    page_raw(p, "</p></div>\n");
}

/* ---- fields ---- */

const char *page_value(const struct page *p, const char *name)
{
    const char *value = dw_http_field(p->request, name, 0);
    return value ? value : "";
}

bool page_has_value(const struct page *p, const char *name, const char *value)
{
    const char *got;
    for (size_t i = 0; (got = dw_http_field(p->request, name, i)); i++)
        if (strcmp(got, value) == 0)
            return true;
    return false;
}

static void label_words(struct page *p, const struct page_field *f)
{
    page_say(p, f->zh, f->en);
    if (f->optional) {
        page_raw(p, "<span class=\"optional\">");
        page_say(p, "（选填）", " (optional)");
        page_raw(p, "</span>");
    }
}

static void hint(struct page *p, const struct page_field *f)
{
    if (!f->hint_zh)
        return;
    page_raw(p, "<p class=\"hint\" id=\"hint-");
    page_text(p, f->name);
    page_raw(p, "\">");
    page_say(p, f->hint_zh, f->hint_en);
    page_raw(p, "</p>\n");
}

static void describe(struct page *p, const struct page_field *f)
{
    bool wrong = problem_of(p, f->name) != NULL;
    if (wrong)
        page_raw(p, " aria-invalid=\"true\"");
    if (!wrong && !f->hint_zh)
        return;
    page_raw(p, " aria-describedby=\"");
    if (f->hint_zh) {
        page_raw(p, "hint-");
        page_text(p, f->name);
    }
    if (wrong) {
        page_raw(p, f->hint_zh ? " problem-" : "problem-");
        page_text(p, f->name);
    }
    page_raw(p, "\"");
}

static void begin_field(struct page *p, const struct page_field *f)
{
    open_tag(p, "div", problem_of(p, f->name) ? "field wrong" : "field");
    page_raw(p, "<label");
    attribute(p, "for", f->name);
    page_raw(p, ">");
    label_words(p, f);
    page_raw(p, "</label>\n");
    hint(p, f);
    page_problem_at(p, f->name);
}

void page_field(struct page *p, const struct page_field *f)
{
    bool area = strcmp(f->type, "area") == 0;
    begin_field(p, f);
    page_raw(p, area ? "<textarea rows=\"8\"" : "<input");
    if (!area)
        attribute(p, "type", f->type);
    attribute(p, "id", f->name);
    attribute(p, "name", f->name);
    page_raw(p, " autocomplete=\"off\"");
    describe(p, f);
    if (f->extra) {
        page_raw(p, " ");
        page_raw(p, f->extra);
    }
    if (area) {
        page_raw(p, ">\n"); /* the first line break of a textarea is not part of it */
        page_text(p, page_value(p, f->name));
        page_raw(p, "</textarea>\n");
    } else {
        attribute(p, "value", page_value(p, f->name));
        page_raw(p, ">\n");
    }
    page_raw(p, "</div>\n");
}

static void select_field(struct page *p, const struct page_field *f, enum dw_list list)
{
    const struct dw_catalogue *catalogue = dw_intake_catalogue(p->web->intake);
    begin_field(p, f);
    page_raw(p, "<select");
    attribute(p, "id", f->name);
    attribute(p, "name", f->name);
    describe(p, f);
    page_raw(p, ">\n<option value=\"\">");
    page_say(p, "请选择", "Please choose");
    page_raw(p, "</option>\n");
    for (size_t i = 0; i < dw_terms_count(catalogue, list); i++) {
        const struct dw_term *t = dw_term_at(catalogue, list, i);
        page_raw(p, "<option");
        attribute(p, "value", t->code);
        if (page_has_value(p, f->name, t->code))
            page_raw(p, " selected");
        page_raw(p, ">");
        page_say(p, t->zh, t->en);
        page_raw(p, "</option>\n");
    }
    page_raw(p, "</select>\n</div>\n");
}

void page_choice(struct page *p, const struct page_field *f, enum dw_list list, bool select)
{
    const struct dw_catalogue *catalogue = dw_intake_catalogue(p->web->intake);
    if (select) {
        select_field(p, f, list);
        return;
    }
    page_fieldset(p, f->name, f->zh, f->en);
    hint(p, f);
    for (size_t i = 0; i < dw_terms_count(catalogue, list); i++) {
        const struct dw_term *t = dw_term_at(catalogue, list, i);
        page_raw(p, "<label class=\"choice\"><input type=\"radio\"");
        attribute(p, "name", f->name);
        attribute(p, "value", t->code);
        if (page_has_value(p, f->name, t->code))
            page_raw(p, " checked");
        page_raw(p, "><span>");
        page_say(p, t->zh, t->en);
        page_raw(p, "</span></label>\n");
    }
    page_fieldset_end(p);
}

void page_checkbox(struct page *p, const char *name, const char *value, const char *zh,
                   const char *en)
{
    page_raw(p, "<label class=\"choice\"><input type=\"checkbox\"");
    attribute(p, "name", name);
    attribute(p, "value", value);
    if (page_has_value(p, name, value))
        page_raw(p, " checked");
    page_raw(p, "><span>");
    page_say(p, zh, en);
    page_raw(p, "</span></label>\n");
}

void page_flag(struct page *p, const char *name, const char *zh, const char *en)
{
    bool wrong = problem_of(p, name) != NULL;
    open_tag(p, "div", wrong ? "flag wrong" : "flag");
    page_problem_at(p, name);
    page_raw(p, "<label class=\"choice\"><input type=\"checkbox\" value=\"1\"");
    attribute(p, "id", name);
    attribute(p, "name", name);
    if (wrong) {
        page_raw(p, " aria-invalid=\"true\" aria-describedby=\"problem-");
        page_text(p, name);
        page_raw(p, "\"");
    }
    if (page_has_value(p, name, "1"))
        page_raw(p, " checked");
    page_raw(p, "><span>");
    page_say(p, zh, en);
    page_raw(p, "</span></label></div>\n");
}

void page_fieldset(struct page *p, const char *name, const char *zh, const char *en)
{
    page_raw(p, "<fieldset");
    if (is_wrong(p, name))
        attribute(p, "class", "wrong");
    attribute(p, "id", name);
    page_raw(p, ">\n<legend>");
    page_say(p, zh, en);
    page_raw(p, "</legend>\n");
    page_problem_at(p, name);
}

void page_fieldset_end(struct page *p)
{
    page_raw(p, "</fieldset>\n");
}
