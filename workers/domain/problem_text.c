/* problem_text.c - what is wrong with a filing, in one sentence to its author.
 *
 * A sentence says what is expected and names the field in plain words.  It never repeats what was
 * typed: error pages and error answers end up in more places than filings do. */
#include "dw/filing.h"

#include <stdio.h>
#include <string.h>
#include <unistr.h>

struct words {
    const char *zh, *en;
};

/* How a field is called on the form.  `wants` is the form expected, for DW_P_FORM. */
static const struct {
    const char *field;
    struct words name, wants;
} fields[] = {
    {"", {"提交的内容", "what you sent"}, {NULL, NULL}},
    {"kind", {"是投诉还是举报", "whether this is a complaint or a report"}, {NULL, NULL}},
    {"language", {"语言", "the language"}, {NULL, NULL}},
    {"against", {"被反映的对象", "whom this is about"}, {NULL, NULL}},
    {"against.type",
     {"被反映对象的类型", "what kind of place or person this is about"},
     {NULL, NULL}},
    {"against.name",
     {"被反映对象的名称", "the name of the place or person this is about"},
     {NULL, NULL}},
    {"against.district", {"所在区县", "the district"}, {NULL, NULL}},
    {"against.address", {"地址", "the address"}, {NULL, NULL}},
    {"against.code",
     {"机构代码", "the institution code"},
     {"机构代码只含字母、数字和短横线", "letters, digits and hyphens for the institution code"}},
    {"against.people", {"相关人员", "the people involved"}, {NULL, NULL}},
    {"against.body", {"被反映的部门", "the office this is about"}, {NULL, NULL}},
    {"acts", {"违法行为", "what was done"}, {NULL, NULL}},
    {"complaint", {"投诉事项", "the kind of complaint"}, {NULL, NULL}},
    {"service",
     {"服务事项", "the service"},
     {"服务事项为整数编号", "a whole number for the service"}},
    {"when", {"发生时间", "the time"}, {NULL, NULL}},
    {"when.from",
     {"开始日期", "the first day"},
     {"开始日期的写法如 2026-03-01", "the first day in the form 2026-03-01"}},
    {"when.to",
     {"结束日期", "the last day"},
     {"结束日期的写法如 2026-03-01", "the last day in the form 2026-03-01"}},
    {"when.ongoing", {"是否仍在发生", "whether it is still going on"}, {NULL, NULL}},
    {"facts", {"事情经过", "what happened"}, {NULL, NULL}},
    {"amount_yuan",
     {"涉及金额", "the amount"},
     {"涉及金额为整数，单位为元", "a whole number of yuan for the amount"}},
    {"relation", {"您是如何得知的", "how you know of this"}, {NULL, NULL}},
    {"identity", {"您的信息", "your details"}, {NULL, NULL}},
    {"identity.name", {"您的真实姓名", "your real name"}, {NULL, NULL}},
    {"identity.phone",
     {"联系电话", "your telephone number"},
     {"联系电话为11位手机号码，或带区号的固定电话，如 023-12345678",
      "a Chinese mobile number, or a landline number with its area code such as 023-12345678"}},
    {"identity.email",
     {"电子邮箱", "your e-mail address"},
     {"电子邮箱的写法如 name@example.org", "an e-mail address such as name@example.org"}},
    {"identity.id_number",
     {"身份证号码", "your identity card number"},
     {"身份证号码为18位，请核对每一位数字",
      "the 18 characters of the identity card number; please check each digit"}},
    {"identity.wants_reward", {"申请举报奖励", "a reward"}, {NULL, NULL}},
    {"notify", {"通知方式", "the way to tell you"}, {NULL, NULL}},
    {"notify.sms", {"短信通知", "notice by SMS"}, {NULL, NULL}},
    {"notify.email", {"邮件通知", "notice by e-mail"}, {NULL, NULL}},
    {"notify.call", {"电话回访", "being called back"}, {NULL, NULL}},
    {"elsewhere", {"向其他部门反映的情况", "where else you reported this"}, {NULL, NULL}},
    {"privacy_version", {"隐私说明的版本", "the version of the privacy notice"}, {NULL, NULL}},
    {"truthful", {"内容属实的确认", "the statement that this is true"}, {NULL, NULL}},
};

static const struct words unnamed = {"这一项", "this field"};
static const struct words mobile = {"手机号码", "a mobile number"};

/* {f} the field, {n} the limit, {o} the other field or the form wanted. */
static const struct words sentences[] = {
    [DW_P_SYNTAX] = {"提交的内容不是有效的 JSON，请检查格式后重试。",
                     "This is not valid JSON. Please check it and try again."},
    [DW_P_UNKNOWN] = {"没有这个字段，请删去后重试。",
                      "There is no such field. Please remove it and try again."},
    [DW_P_DUPLICATE] = {"“{f}”重复了，请只保留一个。", "Please give {f} only once."},
    [DW_P_MISSING] = {"请填写“{f}”。", "Please tell us {f}."},
    [DW_P_TYPE] = {"“{f}”的数据类型不对，这里应为{o}。", "Please send {f} as {o}."},
    [DW_P_TOO_LONG] = {"“{f}”请控制在 {n} 个字以内。",
                       "Please shorten {f} to {n} characters or fewer."},
    [DW_P_TOO_SHORT] = {"“{f}”请至少写 {n} 个字，写得具体一些有助于核查。",
                        "Please write at least {n} characters on {f}. Details help us to check."},
    [DW_P_TOO_MANY] = {"“{f}”最多可选 {n} 项，请保留最主要的。",
                       "Please choose at most {n} entries for {f}; the main ones are enough."},
    [DW_P_CHOICE] = {"请从列表中选择“{f}”。", "Please choose {f} from the list."},
    [DW_P_FORM] = {"请检查“{f}”：{o}。", "Please check this. We expect {o}."},
    [DW_P_RANGE] = {"“{f}”请填写有效范围内的数字，最大为 {n}。",
                    "Please give {f} within its range, at most {n}."},
    [DW_P_FUTURE] = {"“{f}”不能晚于今天。", "Please choose today or an earlier day for {f}."},
    [DW_P_ORDER] = {"“{f}”不能早于“{o}”。", "Please check the dates: {f} lies before {o}."},
    [DW_P_BOTH] =
        {"“{f}”与“{o}”不能同时填写：举报填写违法行为，投诉填写投诉事项。",
         "Please give either {f} or {o}: a report says what was done, a complaint its kind."},
    [DW_P_NEEDS] = {"选择“{f}”时，请同时填写“{o}”。", "For {f} we need {o}. Please add it."},
    [DW_P_MUST_BE_TRUE] = {"请确认所填内容属实后再提交。",
                           "Please confirm that what you wrote is true before you send it."},
    [DW_P_TEXT] = {"“{f}”中有无法识别的字符，请删去后重试。",
                   "There are unreadable characters in {f}. Please remove them and try again."},
};
static const struct words types[] = {
    {"文字", "text"},          {"整数", "a whole number"}, {"是或否", "true or false"},
    {"一组字段", "an object"}, {"列表", "a list"},
};

static const char *say(const struct words *w, bool english)
{
    return english ? w->en : w->zh;
}

/* "acts[2]" is called what "acts" is. */
static size_t find_field(const char *field)
{
    size_t len = strcspn(field, "["), i = 0;
    while (i < DW_COUNT(fields) &&
           (strlen(fields[i].field) != len || strncmp(fields[i].field, field, len) != 0))
        i++;
    return i;
}

static const char *name_of(const char *field, bool english)
{
    size_t i = find_field(field);
    return say(i < DW_COUNT(fields) ? &fields[i].name : &unnamed, english);
}

static const char *third(const struct dw_problem *p, bool english)
{
    size_t i = find_field(p->field);
    if (p->kind == DW_P_TYPE)
        return say(&types[p->limit >= 0 && p->limit < (int64_t)DW_COUNT(types) ? p->limit : 0],
                   english);
    if (p->kind == DW_P_FORM)
        return i < DW_COUNT(fields) && fields[i].wants.zh
                   ? say(&fields[i].wants, english)
                   : say(&types[1], english); /* a number too long for any field */
    if (p->kind == DW_P_NEEDS && strcmp(p->field, "notify.sms") == 0)
        return say(&mobile, english);
    return name_of(p->other, english);
}

static const char *format_of(const struct dw_problem *p, bool english)
{
    bool unsaid = p->kind == DW_P_MISSING && strcmp(p->field, "truthful") == 0;
    return say(&sentences[unsaid ? DW_P_MUST_BE_TRUE : p->kind], english);
}

static void write_sentence(const struct dw_problem *p, bool english, struct dw_buf *out)
{
    for (const char *at = format_of(p, english); *at;) {
        size_t plain = strcspn(at, "{");
        dw_buf_put(out, at, plain);
        at += plain;
        if (!*at)
            break;
        if (at[1] == 'f')
            dw_buf_str(out, name_of(p->field, english));
        else if (at[1] == 'n')
            dw_buf_printf(out, "%lld", (long long)p->limit);
        else
            dw_buf_str(out, third(p, english));
        at += 3;
    }
}

/* A sentence cut by a small buffer ends behind a whole character. */
static void cut_cleanly(char *text)
{
    const uint8_t *wrong = u8_check((const uint8_t *)text, strlen(text));
    if (wrong)
        text[wrong - (const uint8_t *)text] = 0;
}

void dw_problem_text(const struct dw_problem *problem, const char *language, char *out,
                     size_t out_len)
{
    DW_AUTO_BUF sentence = {0};
    if (!out_len)
        return;
    dw_buf_init(&sentence, 2000);
    write_sentence(problem, strcmp(language, "en") == 0, &sentence);
    snprintf(out, out_len, "%s", dw_buf_text(&sentence));
    cut_cleanly(out);
}
