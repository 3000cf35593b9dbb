/* pages_file.c - the start page, the form, and the receipt. */
#include "page.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* ---- start ---- */

void page_start(void *app, struct dw_http_request *request)
{
    struct page p;
    page_begin(&p, app, request, "投诉和举报", "Complaints and reports");
    page_element(&p, "p", "lead",
                 "举报欺诈骗取医疗保障基金的行为，或者投诉您遇到的医保服务问题。可以匿名。",
                 "Report fraud against the medical insurance fund, or complain about how you were "
                 "treated. You may stay anonymous.");
    page_raw(&p, "<p>");
    page_link(&p, "/file", "button", "举报欺诈骗保", "Report fraud");
    page_raw(&p, "</p><p>");
    page_link(&p, "/file?kind=complaint", "button second", "投诉医保服务",
              "Complain about a service");
    page_raw(&p, "</p><p>");
    page_link(&p, "/follow", "", "凭回执查询进度、补充材料", "Follow with your receipt, add something");
    page_raw(&p, "</p>\n");
    page_element(&p, "h2", "", "我们如何保护您", "How you are protected");
    page_raw(&p, "<ul>\n");
    page_element(&p, "li", "",
                 "您写下的内容在到达时立即加密，只有负责办理的医保部门和您本人能够打开。",
                 "What you write is encrypted the moment it arrives. Only the bureau that handles it "
                 "and you can open it.");
    page_element(&p, "li", "", "您的姓名和联系方式另行加密，办案人员看不到。",
                 "Your name and contact are encrypted apart; the inspectors do not see them.");
    page_element(&p, "li", "", "被举报的单位不会收到针对它自己的举报。",
                 "An office that is reported never receives the report about itself.");
    page_element(&p, "li", "",
                 "如果担心被人发现，请不要使用单位的电脑或网络，文件中也可能留有您的信息。",
                 "If being found out would harm you, do not use a computer or network of your employer. "
                 "Files can carry traces of you too.");
    page_raw(&p, "</ul>\n");
    page_element(&p, "h2", "", "其他途径", "Other ways");
    page_element(&p, "p", "",
                 "电话 12393（医保）或 12345（政务热线）。紧急危险请拨 110。",
                 "Telephone 12393 (medical insurance) or 12345 (government). In danger call 110.");
    page_end(&p, 200);
}

/* ---- refused before any page was reached ---- */

void page_refused(void *app, struct dw_http_request *request, int status)
{
    static const struct {
        int status;
        const char *zh, *en;
    } words[] = {
        {403, "请从本网站的页面提交。", "Please send the form from this site's own page."},
        {404, "没有这个页面。", "There is nothing at this address."},
        {413, "内容太大，没有登记任何内容。", "It is too large; nothing was registered."},
        {429, "请求太频繁，请稍后再试。", "Too many requests; please try again later."},
        {503, "系统暂时无法处理，请稍后再试。",
         "This cannot be done just now; please try again later."},
        {0, "请求有误，没有登记任何内容。",
         "The request was not understood; nothing was registered."},
    };
    struct page p;
    size_t i = 0;
    while (words[i].status && words[i].status != status)
        i++;
    page_begin(&p, app, request, "未能完成", "It could not be done");
    page_alert(&p, words[i].zh, words[i].en);
    page_raw(&p, "<p>");
    page_link(&p, "/", "", "回到首页", "To the start page");
    page_raw(&p, "</p>\n");
    page_end(&p, status);
}

/* ---- the privacy notice ---- */

void page_privacy(void *app, struct dw_http_request *request)
{
    struct page p;
    const struct dw_catalogue *catalogue = dw_intake_catalogue(((struct web *)app)->intake);
    page_begin(&p, app, request, "隐私说明", "Privacy notice");
    page_raw(&p, "<p class=\"hint\">");
    page_say(&p, "版本：", "Version: ");
    page_text(&p, dw_catalogue_privacy_version(catalogue));
    page_raw(&p, "</p>\n");
    for (size_t i = 0; i < dw_terms_count(catalogue, DW_PRIVACY); i++) {
        const struct dw_term *t = dw_term_at(catalogue, DW_PRIVACY, i);
        page_element(&p, "h2", "", t->zh, t->en);
        page_element(&p, "p", "", t->note_zh, t->note_en);
        if (!*t->basis)
            continue;
        page_raw(&p, "<p class=\"hint\" lang=\"zh-CN\">");
        page_text(&p, t->basis);
        page_raw(&p, "</p>\n");
    }
    page_end(&p, 200);
}

/* ---- the form ---- */

static bool is_complaint(const struct page *p)
{
    const char *kind = dw_http_field(p->request, "kind", 0);
    if (!kind)
        kind = dw_http_query(p->request, "kind");
    return kind && strcmp(kind, "complaint") == 0;
}

static void show_against(struct page *p)
{
    page_fieldset(p, "against", "一、被举报或投诉的对象", "1. Who it is about");
    page_choice(p, &(struct page_field){"against.type", "对象类型", "Kind", NULL, NULL, "", NULL, false},
                DW_AGAINST, false);
    page_field(p, &(struct page_field){"against.name", "名称", "Name",
                                       "医院、药店、单位的名称，或者人的姓名。不清楚的可以描述。",
                                       "Of the hospital, pharmacy, office or person. If you do not "
                                       "know it, describe it.", "text", "maxlength=\"200\"", false});
    page_choice(p, &(struct page_field){"against.district", "发生在哪个区县", "District", NULL, NULL,
                                        "", NULL, false}, DW_DISTRICTS, true);
    page_field(p, &(struct page_field){"against.address", "地址、科室", "Address, department", NULL,
                                       NULL, "text", "maxlength=\"300\"", true});
    page_field(p, &(struct page_field){"against.code", "机构编码", "Institution code",
                                       "如 H50010800123，可在结算单上找到。",
                                       "For example H50010800123; it stands on settlement slips.",
                                       "text", "maxlength=\"32\"", true});
    page_field(p, &(struct page_field){"against.people", "涉及的人员和职务", "People and their posts",
                                       NULL, NULL, "text", "maxlength=\"500\"", true});
    page_fieldset_end(p);
}

/* Acts by who can commit them, so that a phone need not show 46 lines at once. */
static void show_acts(struct page *p)
{
    static const struct {
        const char *prefixes;
        const char *zh, *en;
    } groups[] = {{"PU PF PH", "医院、药店骗取或违规使用基金", "Hospital or pharmacy: fraud and misuse"},
                  {"IN OT", "个人或单位骗取待遇、倒卖药品", "Person or employer: false benefits, resale"},
                  {"PM", "医院、药店管理不规范", "Hospital or pharmacy: rules not kept"},
                  {"AG OF", "经办机构、工作人员", "Insurance office or officials"}};
    const struct dw_catalogue *catalogue = dw_intake_catalogue(p->web->intake);
    page_fieldset(p, "acts", "二、发生了什么（可多选）", "2. What happened (choose all that fit)");
    for (size_t g = 0; g < DW_COUNT(groups); g++) {
        bool open = g == 0;
        for (size_t i = 0; i < dw_terms_count(catalogue, DW_ACTS); i++) {
            const struct dw_term *t = dw_term_at(catalogue, DW_ACTS, i);
            char prefix[3] = {t->code[0], t->code[1], 0};
            open |= strstr(groups[g].prefixes, prefix) && page_has_value(p, "acts", t->code);
        }
        page_raw(p, open ? "<details open><summary>" : "<details><summary>");
        page_say(p, groups[g].zh, groups[g].en);
        page_raw(p, "</summary>\n");
        for (size_t i = 0; i < dw_terms_count(catalogue, DW_ACTS); i++) {
            const struct dw_term *t = dw_term_at(catalogue, DW_ACTS, i);
            char prefix[3] = {t->code[0], t->code[1], 0};
            if (strstr(groups[g].prefixes, prefix))
                page_checkbox(p, "acts", t->code, t->zh, t->en);
        }
        page_raw(p, "</details>\n");
    }
    page_fieldset_end(p);
}

static void show_complaint(struct page *p)
{
    page_fieldset(p, "what", "二、什么问题", "2. What it is about");
    page_choice(p, &(struct page_field){"complaint", "投诉类型", "Kind of complaint", NULL, NULL, "",
                                        NULL, false}, DW_COMPLAINTS, false);
    page_choice(p, &(struct page_field){"service", "涉及的服务事项", "Service concerned", NULL, NULL,
                                        "", NULL, true}, DW_SERVICES, true);
    page_fieldset_end(p);
}

static void show_facts(struct page *p)
{
    page_fieldset(p, "story", "三、经过", "3. The facts");
    page_field(p, &(struct page_field){"facts", "请写下您知道的情况", "Please write what you know",
                                       "何时、何地、何人、做了什么、您如何得知。20 至 5000 字。",
                                       "When, where, who, what, and how you know. 20 to 5000 "
                                       "characters.", "area", "maxlength=\"10000\"", false});
    page_field(p, &(struct page_field){"when.from", "开始日期", "From", NULL, NULL, "date", NULL, true});
    page_field(p, &(struct page_field){"when.to", "结束日期", "To", NULL, NULL, "date", NULL, true});
    page_flag(p, "when.ongoing", "现在仍在继续", "It is still going on");
    page_field(p, &(struct page_field){"amount_yuan", "涉及金额（元），大致即可",
                                       "Amount in yuan, roughly", NULL, NULL, "text",
                                       "inputmode=\"numeric\" maxlength=\"20\"", true});
    page_choice(p, &(struct page_field){"relation", "您与对方的关系", "You are",
                                        "不影响受理；内部人员举报的奖励标准不同。",
                                        "It does not matter for acceptance; rewards differ for "
                                        "insiders.", "", NULL, true}, DW_RELATIONS, true);
    page_field(p, &(struct page_field){"elsewhere", "是否已向其他部门反映", "Reported elsewhere already?",
                                       NULL, NULL, "text", "maxlength=\"1000\"", true});
    page_fieldset_end(p);
}

static void show_files(struct page *p)
{
    char limits[200];
    const struct dw_config *c = p->web->config;
    page_fieldset(p, "file", "四、证据文件（选填）", "4. Evidence (optional)");
    snprintf(limits, sizeof limits,
             p->en ? "Up to %lld files, %lld MiB each, %lld MiB in all: "
                   : "最多 %lld 个文件，每个不超过 %lld MiB，合计不超过 %lld MiB：",
             (long long)c->web.max_files, (long long)c->web.max_file_bytes / 1048576,
             (long long)c->web.max_files_bytes / 1048576);
    page_raw(p, "<p class=\"hint\">");
    page_text(p, limits);
    page_text(p, file_types_list());
    page_raw(p, "</p>\n<input type=\"file\" name=\"file\" multiple aria-label=\"");
    page_say(p, "选择文件", "Choose files");
    page_raw(p, p->file_problem ? "\" aria-invalid=\"true\" aria-describedby=\"problem-file" : "");
    page_raw(p, "\" accept=\"");
    page_text(p, file_types_list());
    page_raw(p, "\">\n");
    if (p->problems || p->file_problem)
        page_element(p, "p", "hint", "如果您选择过文件，请重新选择。",
                     "If you had chosen files, please choose them again.");
    page_fieldset_end(p);
}

static void show_person(struct page *p)
{
    page_fieldset(p, "identity", "五、您的联系方式（选填）", "5. How to reach you (optional)");
    page_element(p, "p", "hint",
                 "全部留空即为匿名。姓名和联系方式单独加密，只用于通知和奖励。短信和邮件里不会出现任何内容。",
                 "Leave all empty to stay anonymous. Name and contact are sealed apart and used only "
                 "to notify and reward you. No SMS or e-mail will say what it is about.");
    page_field(p, &(struct page_field){"identity.name", "姓名", "Name",
                                       "实名举报才能申请奖励，并会收到是否立案的书面告知。",
                                       "Rewards, and formal notice of the decision, need a real name.",
                                       "text", "maxlength=\"60\"", true});
    page_field(p, &(struct page_field){"identity.phone", "手机号码", "Mobile number", NULL, NULL, "tel",
                                       "maxlength=\"30\"", true});
    page_field(p, &(struct page_field){"identity.email", "电子邮箱", "E-mail", NULL, NULL, "email",
                                       "maxlength=\"254\"", true});
    page_flag(p, "notify.sms", "有进展时用短信通知我", "Send me an SMS when there is news");
    page_flag(p, "notify.email", "有进展时用邮件通知我", "Send me an e-mail when there is news");
    if (!is_complaint(p))
        page_flag(p, "identity.wants_reward", "我希望申请举报奖励", "I want to claim a reward");
    page_fieldset_end(p);
}

static void show_form(struct page *p, const char *key)
{
    const struct dw_catalogue *catalogue = dw_intake_catalogue(p->web->intake);
    page_raw(p, "<form method=\"post\" enctype=\"multipart/form-data\" action=\"/file\" novalidate>\n");
    page_hidden(p, "key", key);
    page_hidden(p, "lang", p->language);
    page_hidden(p, "language", p->language);
    page_hidden(p, "kind", is_complaint(p) ? "complaint" : "report");
    page_hidden(p, "privacy_version", dw_catalogue_privacy_version(catalogue));
    show_against(p);
    if (is_complaint(p))
        show_complaint(p);
    else
        show_acts(p);
    show_facts(p);
    show_files(p);
    show_person(p);
    page_fieldset(p, "send", "六、提交", "6. Send");
    page_privacy_link(p);
    page_flag(p, "truthful",
              "我保证所述属实；我知道捏造事实要承担法律责任。我已阅读并同意隐私说明。",
              "What I say is true to my knowledge; I know that inventing facts is punishable. I have "
              "read and accept the privacy notice.");
    page_fieldset_end(p);
    if (is_complaint(p))
        page_button(p, "", "提交投诉", "Send the complaint");
    else
        page_button(p, "", "提交举报", "Send the report");
    page_raw(p, "</form>\n");
}

static void begin_form(struct page *p, struct web *web, struct dw_http_request *request)
{
    page_begin(p, web, request, "填写", "Tell us");
    page_element(p, "p", "", "不必填写您不知道的内容。提交后您会得到一个回执号码，请务必保存。",
                 "You need not fill in what you do not know. After sending you get a receipt number: "
                 "keep it.");
}

void page_new_key(char *key, size_t len)
{
    uint8_t random[24];
    randombytes_buf(random, sizeof random);
    dw_base64(key, len, random, sizeof random);
}

void page_file(void *app, struct dw_http_request *request)
{
    struct page p;
    char key[40];
    page_new_key(key, sizeof key);
    begin_form(&p, app, request);
    show_form(&p, key);
    page_end(&p, 200);
}

/* ---- the receipt ---- */

enum { RECEIPT_HALF = 15 }; /* "1234-5678-1234-" */

static void show_receipt(struct web *web, struct dw_http_request *request,
                         const struct dw_submitted *done)
{
    struct page p;
    char receipt[DW_RECEIPT_TEXT], half[RECEIPT_HALF + 1], day[DW_DAY_TEXT];
    page_begin(&p, web, request, "已收到", "Received");
    dw_receipt_format(done->receipt, receipt);
    page_element(&p, "p", "lead", "您的材料已经安全保存。这是您的回执：",
                 "What you sent is safely stored. This is your receipt:");
    /* In two halves, so that a narrow screen breaks it in the middle. */
    memcpy(half, receipt, RECEIPT_HALF);
    half[RECEIPT_HALF] = 0;
    page_raw(&p, "<p class=\"receipt\" id=\"receipt\"><span>");
    page_text(&p, half);
    page_raw(&p, "</span><span>");
    page_text(&p, receipt + RECEIPT_HALF);
    page_raw(&p, "</span></p>\n");
    page_element(&p, "p", "warning",
                 "请现在抄下或截图保存。它只显示这一次，我们无法找回。凭它可以查询进度、与办案人员对话。",
                 "Write it down or save a picture now. It is shown only this once and cannot be "
                 "recovered. With it you follow the case and talk with the inspectors.");
    page_element(&p, "p", "warning", "任何人拿到它都能看到您的举报，请妥善保管。",
                 "Whoever has it can read your report: keep it safe.");
    page_raw(&p, "<p>");
    page_say(&p, "提交日期：", "Filed on: ");
    page_text(&p, dw_day_format(done->day, day));
    page_raw(&p, "</p>\n<form method=\"post\" action=\"/follow\">\n");
    page_hidden(&p, "lang", p.language);
    page_hidden(&p, "receipt", receipt);
    page_button(&p, "second", "查看进度", "Follow it");
    page_raw(&p, "</form>\n");
    page_end(&p, 200);
    dw_wipe(receipt, sizeof receipt);
    dw_wipe(half, sizeof half);
}

void page_filed(void *app, struct dw_http_request *request)
{
    struct web *web = app;
    struct page p;
    struct submission s;
    const char *key = dw_http_field(request, "key", 0);
    web_submit(web, request, key, &s);
    if (s.status == 202) {
        show_receipt(web, request, &s.done);
        dw_wipe(&s, sizeof s);
        return;
    }
    begin_form(&p, web, request);
    p.problems = s.problems.count ? &s.problems : NULL;
    p.file_problem = web_upload_problem(dw_http_upload_of(request), &p.file_name);
    if (p.problems || p.file_problem) {
        page_problems(&p);
    } else if (s.status == 422) {
        page_alert(&p, "这份表单已经提交过，内容不同。请从头填写新的表单。",
                   "This form was sent before with other contents. Please start a new one.");
    } else if (s.status == 503) {
        page_alert(&p, "系统暂时无法保存您的材料，没有登记任何内容。请几分钟后再次提交本页。",
                   "Your filing could not be stored just now; nothing was registered. Please send this "
                   "page again in a few minutes.");
        dw_http_set_header(request, "Retry-After", "60");
    } else {
        page_alert(&p, "表单不完整，请重新填写。", "The form is incomplete; please fill it in again.");
    }
    char fresh[40];
    page_new_key(fresh, sizeof fresh);
    show_form(&p, key && dw_http_is_key(key) ? key : fresh);
    page_end(&p, s.status);
}
