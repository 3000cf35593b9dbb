#include "unit.h"

#include "dw/config.h"
#include "dw/template.h"

#include <sys/stat.h>

static enum dw_result load(const char *text, struct dw_templates **ret, struct dw_error *err)
{
    char *folder = make_folder();
    char path[300];
    snprintf(path, sizeof path, "%s/templates", folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/templates/notices.yaml", folder);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    *err = (struct dw_error){0};
    enum dw_result result = dw_templates_load(folder, ret, err);
    rm_folder(folder);
    return result;
}

#define REST                                                                                       \
    "    sms_en: s\n    subject_zh: s\n    subject_en: s\n    email_zh: e\n    email_en: e\n"     \
    "    page_zh: p\n    page_en: p\n"

TEST(the_shipped_texts_are_read_and_say_nothing_of_a_case)
{
    struct dw_templates *t;
    struct dw_error err;
    struct dw_buf out;
    struct dw_config c;
    dw_config_defaults(&c);
    assert_int_equal(dw_templates_load(DW_SOURCE_FOLDER "/conf", &t, &err), DW_OK);
    static const char *const ids[] = {"registered", "progress"};
    static const char *const words[] = {"举报", "投诉", "骗保", "report", "complaint", "fraud", "CQ"};
    for (size_t i = 0; i < DW_COUNT(ids); i++) {
        const struct dw_template *n = dw_template_find(t, ids[i]);
        assert_non_null(n);
        const char *texts[] = {n->sms_zh, n->sms_en, n->subject_zh, n->subject_en, n->email_zh,
                               n->email_en};
        for (size_t j = 0; j < DW_COUNT(texts); j++) {
            dw_buf_init(&out, 10000);
            dw_template_render(texts[j], j % 2 ? c.notify.name_en : c.notify.name_zh,
                               "https://example.org/follow", &out);
            for (size_t k = 0; k < DW_COUNT(words); k++)
                if (strcasestr(dw_buf_text(&out), words[k]))
                    fail_msg("%s: says \"%s\"", ids[i], words[k]);
            assert_null(strstr(dw_buf_text(&out), "{{"));
            dw_buf_free(&out);
        }
    }
    dw_templates_free(t);
    dw_config_free(&c);
}

TEST(names_are_filled_in)
{
    struct dw_buf out;
    dw_buf_init(&out, 1000);
    dw_template_render("【{{portal}}】 {{address}} {x}", "登闻", "https://a/follow", &out);
    assert_string_equal(dw_buf_text(&out), "【登闻】 https://a/follow {x}");
    dw_buf_free(&out);
}

TEST(an_unknown_name_a_second_line_and_an_id_twice_are_refused)
{
    static const char *const bad[] = {
        "notices:\n  - id: a\n    sms_zh: \"{{receipt}}\"\n" REST,
        "notices:\n  - id: a\n    sms_zh: \"one\\ntwo\"\n" REST,
        "notices:\n  - id: a\n    sms_zh: s\n" REST "  - id: a\n    sms_zh: s\n" REST,
        "notices:\n  - id: a\n" REST,
    };
    struct dw_templates *t;
    struct dw_error err;
    for (size_t i = 0; i < DW_COUNT(bad); i++) {
        assert_int_equal(load(bad[i], &t, &err), DW_INVALID);
        assert_non_null(strstr(err.text, "notices.yaml"));
    }
}

RUN(cmocka_unit_test(the_shipped_texts_are_read_and_say_nothing_of_a_case),
    cmocka_unit_test(names_are_filled_in),
    cmocka_unit_test(an_unknown_name_a_second_line_and_an_id_twice_are_refused))
