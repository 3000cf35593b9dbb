/* pages_follow.c - following with the receipt: progress, due dates, the dialogue. */
#include "page.h"

#include <stdio.h>
#include <string.h>

static void begin(struct page *p, struct web *web, struct dw_http_request *request)
{
    page_begin(p, web, request, "查询进度", "Follow your case");
}

static void ask_receipt(struct page *p, const char *value)
{
    page_raw(p, "<form method=\"post\" action=\"/follow\">\n");
    page_hidden(p, "lang", p->language);
    page_raw(p, "<div class=\"field\"><label for=\"receipt\">");
    page_say(p, "回执号码（24 位数字）", "Receipt (24 digits)");
    page_raw(p, "</label>\n<input id=\"receipt\" name=\"receipt\" inputmode=\"numeric\" "
                "autocomplete=\"off\" maxlength=\"40\" class=\"digits\" value=\"");
    page_text(p, value);
    page_raw(p, "\"></div>\n");
    page_button(p, "", "查询", "Show");
    page_raw(p, "</form>\n");
}

void page_follow(void *app, struct dw_http_request *request)
{
    struct page p;
    begin(&p, app, request);
    ask_receipt(&p, "");
    page_end(&p, 200);
}

/* ---- the case ---- */

static void row(struct page *p, const char *zh, const char *en, const char *value)
{
    page_raw(p, "<dt>");
    page_say(p, zh, en);
    page_raw(p, "</dt><dd>");
    page_text(p, value);
    page_raw(p, "</dd>\n");
}

static void show_steps(struct page *p, const struct dw_due *due)
{
    page_raw(p, "<details><summary>");
    page_say(p, "如何计算", "How it is counted");
    page_raw(p, "</summary><ul>\n");
    for (size_t i = 0; i < due->steps_count; i++) {
        const struct dw_due_step *s = &due->steps[i];
        char from[DW_DAY_TEXT], to[DW_DAY_TEXT], line[400];
        dw_day_format(s->from, from);
        dw_day_format(s->to, to);
        const char *why = p->en ? s->why_en : s->why_zh;
        if (s->counted)
            snprintf(line, sizeof line, p->en ? "%s to %s: %d counted%s%s" : "%s 至 %s：计 %d 天%s%s",
                     from, to, (int)s->counted, *why ? p->en ? ", " : "，" : "", why);
        else
            snprintf(line, sizeof line, p->en ? "%s to %s: not counted, %s" : "%s 至 %s：不计，%s", from,
                     to, why);
        page_raw(p, "<li>");
        page_text(p, line);
        page_raw(p, "</li>\n");
    }
    page_raw(p, "</ul></details>\n");
}

static void show_clock(struct page *p, const struct dw_clock *clock, struct dw_arena *arena)
{
    const struct dw_rule *rule;
    struct dw_due due;
    char day[DW_DAY_TEXT];
    dw_day today = dw_day_of(dw_now());
    if (clock->ended || !web_due(p->web, clock, arena, &rule, &due))
        return;
    page_raw(p, clock->due < today ? "<li class=\"overdue\"><strong>" : "<li><strong>");
    page_text(p, dw_day_format(clock->due, day));
    page_raw(p, "</strong> ");
    page_say(p, rule->what_zh, rule->what_en);
    if (clock->due < today)
        page_say(p, "（已超过期限）", " (overdue)");
    if (clock->estimate || due.estimate)
        page_say(p, "（估算：节假日安排尚未公布）",
                 " (estimate: the holidays are not published yet)");
    page_raw(p, "<br><span class=\"hint\" lang=\"zh-CN\">");
    page_text(p, rule->article);
    page_raw(p, "</span>");
    show_steps(p, &due);
    page_raw(p, "</li>\n");
}

static void show_clocks(struct page *p, const struct dw_followed *f)
{
    DW_AUTO_ARENA arena = {0};
    bool any = false;
    dw_arena_init(&arena, 4 * 1024 * 1024);
    for (size_t i = 0; i < f->view.clocks_count; i++)
        any |= !f->view.clocks[i].ended;
    if (!any)
        return;
    page_element(p, "h2", "", "法定期限", "What the law asks of the office");
    page_raw(p, "<ul class=\"clocks\">\n");
    for (size_t i = 0; i < f->view.clocks_count; i++)
        show_clock(p, &f->view.clocks[i], &arena);
    page_raw(p, "</ul>\n");
}

static void show_text(struct page *p, const char *text)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        char *copy = dw_alloc(len + 1);
        memcpy(copy, line, len);
        page_text(p, copy);
        dw_wipe_free(copy, len + 1);
        line += len;
        if (*line == '\n') {
            page_raw(p, "<br>");
            line++;
        }
    }
}

static void show_messages(struct page *p, const struct dw_followed *f)
{
    char day[DW_DAY_TEXT];
    page_element(p, "h2", "", "消息", "Messages");
    if (!f->messages_count && !f->view.notices_count)
        page_element(p, "p", "hint", "还没有消息。", "There are no messages yet.");
    for (size_t i = 0; i < f->view.notices_count; i++) {
        const struct dw_notice *n = &f->view.notices[i];
        const struct dw_template *t = dw_template_find(p->web->templates, n->template);
        if (!t)
            continue;
        page_raw(p, "<p class=\"notice\">");
        page_text(p, dw_day_format(n->day, day));
        page_raw(p, " ");
        page_say(p, t->page_zh, t->page_en);
        page_raw(p, "</p>\n");
    }
    for (size_t i = 0; i < f->messages_count; i++) {
        const struct dw_message *m = &f->messages[i];
        page_raw(p, m->from_reporter ? "<div class=\"message own\"><p class=\"who\">"
                                     : "<div class=\"message\"><p class=\"who\">");
        if (m->from_reporter)
            page_say(p, "您", "You");
        else
            page_say(p, "办理单位", "The office");
        page_raw(p, " ");
        page_text(p, dw_day_format(m->day, day));
        page_raw(p, "</p><p>");
        if (m->text)
            show_text(p, m->text);
        else
            page_say(p, "这条消息无法打开，请联系办理单位。",
                     "This message could not be opened; please ask the office.");
        page_raw(p, "</p></div>\n");
    }
}

/* A message that could not be stored is offered again, under its key: it may have arrived. */
static void show_message_form(struct page *p, const char *receipt, int status)
{
    char fresh[40];
    const char *key = page_value(p, "key");
    bool again = status != 200 && strcmp(page_value(p, "action"), "message") == 0;
    if (!again || status != 503 || !dw_http_is_key(key)) {
        page_new_key(fresh, sizeof fresh);
        key = fresh;
    }
    page_raw(p, "<form method=\"post\" action=\"/follow\">\n");
    page_hidden(p, "lang", p->language);
    page_hidden(p, "receipt", receipt);
    page_hidden(p, "action", "message");
    page_hidden(p, "key", key);
    page_raw(p, "<div class=\"field\"><label for=\"text\">");
    page_say(p, "补充或回复", "Add something or answer");
    page_raw(p, "</label><textarea id=\"text\" name=\"text\" rows=\"5\" maxlength=\"10000\" "
                "autocomplete=\"off\">\n");
    page_text(p, again ? page_value(p, "text") : "");
    page_raw(p, "</textarea></div>\n");
    page_button(p, "", "发送", "Send");
    page_raw(p, "</form>\n");
}

static void show_withdraw_form(struct page *p, const char *receipt, int status)
{
    char key[40];
    bool again = status != 200 && strcmp(page_value(p, "action"), "withdraw") == 0;
    page_new_key(key, sizeof key);
    page_raw(p, again ? "<details class=\"withdraw\" open><summary>"
                      : "<details class=\"withdraw\"><summary>");
    page_say(p, "撤回", "Withdraw");
    page_raw(p, "</summary>\n<form method=\"post\" action=\"/follow\">\n");
    page_hidden(p, "lang", p->language);
    page_hidden(p, "receipt", receipt);
    page_hidden(p, "action", "withdraw");
    page_hidden(p, "key", key);
    page_element(p, "p", "hint", "撤回后我们不再就此与您联系；涉及违法的线索仍可能依法处理。",
                 "After withdrawing you will not be contacted about it; a suspected offence may still "
                 "be followed up by law.");
    page_flag(p, "sure", "我确定要撤回", "I am sure");
    page_button(p, "danger", "撤回", "Withdraw");
    page_raw(p, "</form></details>\n");
}

static void show_forms(struct page *p, const struct dw_followed *f, const char *receipt, int status)
{
    bool may_withdraw = strcmp(f->view.state, "received") == 0 ||
                        strcmp(f->view.state, "reviewing") == 0 ||
                        strcmp(f->view.state, "accepted") == 0;
    bool may_write = strcmp(f->view.state, "withdrawn") != 0 &&
                     strcmp(f->view.state, "archived") != 0;
    if (may_write)
        show_message_form(p, receipt, status);
    if (may_withdraw)
        show_withdraw_form(p, receipt, status);
}

/* `status` is what became of the form that was sent, if one was. */
static void show_case(struct page *p, const struct dw_followed *f, const char *receipt, int status)
{
    char day[DW_DAY_TEXT];
    const char *state = f->pending ? "received" : f->view.state;
    const struct dw_term *term =
        dw_term_find(dw_intake_catalogue(p->web->intake), DW_STATES, state);
    page_raw(p, "<p class=\"state\"><strong>");
    if (term)
        page_say(p, term->zh, term->en);
    page_raw(p, "</strong><br>");
    page_text(p, web_state_text(p->web, state, p->language));
    page_raw(p, "</p>\n<dl>\n");
    row(p, "提交日期", "Filed on", dw_day_format(f->day, day));
    if (!f->pending) {
        const struct dw_body *body = dw_body_find(dw_intake_routing(p->web->intake), f->view.body);
        row(p, "编号", "Reference", f->view.reference);
        row(p, "办理单位", "Responsible", body ? p->en ? body->en : body->zh : f->view.body);
        if (body && *body->phone)
            row(p, "电话", "Telephone", body->phone);
    }
    page_raw(p, "</dl>\n");
    if (f->pending)
        return;
    show_clocks(p, f);
    show_messages(p, f);
    show_forms(p, f, receipt, status);
}

/* ---- acting ---- */

static const struct {
    int status;
    const char *zh, *en;
} refusals[] = {
    {409, "情况刚刚有变化，请再试一次。", "Something has just changed; please try again."},
    {422, "现在不能这样做。", "This cannot be done now."},
    {429, "今天的消息太多了，请明天再写。", "Too many messages today; please write again tomorrow."},
    {503, "暂时无法保存，没有增加任何内容。请稍后再试。",
     "It could not be stored just now; nothing was added. Please try again later."},
};

static void say_refusal(struct page *p, int status)
{
    for (size_t i = 0; i < DW_COUNT(refusals); i++)
        if (refusals[i].status == status)
            page_alert(p, refusals[i].zh, refusals[i].en);
}

/* Carries out what the form wanted; the status, or 200 when there was nothing to do. */
static int act(struct page *p, const char *digits)
{
    const char *action = page_value(p, "action"), *key = page_value(p, "key");
    struct dw_said_result said = {.status = 200};
    DW_AUTO_BUF clean = {0};
    dw_buf_init(&clean, 65536);
    for (const char *c = page_value(p, "text"); *c; c++) /* line ends of a form are CR LF */
        if (*c != '\r')
            dw_buf_put(&clean, c, 1);
    const char *text = dw_buf_text(&clean);
    bool message = strcmp(action, "message") == 0, withdraw = strcmp(action, "withdraw") == 0;
    if (!message && !withdraw)
        return 200;
    if (dw_text_chars(text, clean.len) > 5000 || (message && !text[strspn(text, " \t\n")])) {
        page_alert(p, "请写下内容，不超过 5000 字。", "Please write something, at most 5000 characters.");
        return 422;
    }
    if (withdraw && !page_has_value(p, "sure", "1")) {
        page_alert(p, "要撤回，请勾选“我确定要撤回”。", "To withdraw, tick \"I am sure\".");
        return 422;
    }
    if (!dw_http_is_key(key) || !dw_text_is_clean(text, clean.len, "\n\t"))
        said.status = 422;
    else
        dw_intake_say(p->web->intake, digits, action, text, key, &said);
    say_refusal(p, said.status);
    if (said.status == 200)
        page_element(p, "p", "done", "已保存。", "Done.");
    return said.status;
}

void page_followed(void *app, struct dw_http_request *request)
{
    struct web *web = app;
    struct page p;
    struct dw_followed f;
    char digits[DW_RECEIPT_DIGITS + 1];
    begin(&p, web, request);
    const char *receipt = page_value(&p, "receipt");
    if (!dw_receipt_parse(receipt, digits)) {
        page_alert(&p, "回执号码不对：应为 24 位数字，请核对是否抄错。",
                   "This is no receipt: expected 24 digits; please check for a slip.");
        ask_receipt(&p, receipt);
        page_end(&p, 422);
        return;
    }
    int status = act(&p, digits);
    dw_intake_follow(web->intake, digits, &f);
    if (f.status == 200) {
        show_case(&p, &f, receipt, status);
    } else if (f.status == 404) {
        page_alert(&p, "没有找到这个回执。", "There is no filing with this receipt.");
        ask_receipt(&p, receipt);
    } else {
        page_alert(&p, "暂时无法查询，请稍后再试。", "It cannot be looked up just now; try again later.");
        ask_receipt(&p, receipt);
        dw_http_set_header(request, "Retry-After", "60");
    }
    page_end(&p, f.status != 200 ? f.status : status);
    dw_followed_free(&f);
    dw_wipe(digits, sizeof digits);
}
