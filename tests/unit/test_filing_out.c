/* What leaves a checked filing: clear facts, canonical bytes, sealed texts; and the sentences about
 * one that is not right. */
#include "filing_data.h"

static void clear_facts_survive_the_wire(void **state)
{
    static const char *const texts[] = {full_report, short_report, short_complaint};
    for (size_t i = 0; i < DW_COUNT(texts); i++) {
        struct dw_filing f;
        struct dw_facts back;
        struct dw_problems problems;
        struct dw_error err;
        DW_AUTO_ARENA arena = {0};
        DW_AUTO_BUF one, two;
        dw_arena_init(&arena, ROOM);
        dw_buf_init(&one, 65536);
        dw_buf_init(&two, 65536);
        assert_int_equal(parse(texts[i], &arena, &f, &problems), DW_OK);
        dw_encode(&dw_facts_layout, &f.facts, &one);
        assert_int_equal(dw_decode(&dw_facts_layout, dw_buf_slice(&one), &arena, &back, &err),
                         DW_OK);
        dw_encode(&dw_facts_layout, &back, &two);
        assert_int_equal(one.len, two.len);
        assert_memory_equal(one.data, two.data, one.len);
        /* nothing that was sealed stands in the clear facts */
        assert_null(memmem(one.data, one.len, "某某医院", strlen("某某医院")));
        assert_null(memmem(one.data, one.len, "13800138000", 11));
    }
}

static void canonical_of(const char *text, dw_day today, struct dw_buf *out)
{
    struct dw_filing f;
    struct dw_problems problems;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, ROOM);
    dw_buf_init(out, 65536);
    assert_int_equal(dw_filing_parse(dw_slice_of(text), words, routing, "web", today, &arena, &f,
                                     &problems),
                     DW_OK);
    dw_filing_canonical(&f, out);
}

static void order_spacing_and_day_do_not_change_the_canonical_bytes(void **state)
{
    static const char other[] =
        "{\"truthful\":true,\"facts\":\"" FACTS "\",\n\n\"acts\":[\"PU01\"],\"relation\":null,"
        "\"notify\":{},\"identity\":null,\"against\":{\"district\":\"500108\",\"code\":\"\","
        "\"name\":\" 某某医院 \",\"type\":\"hos\\u0070ital\"},\"kind\":\"report\","
        "\"language\":\"zh-CN\"}";
    DW_AUTO_BUF a, b;
    canonical_of(short_report, day_of("2026-09-28"), &a);
    canonical_of(other, day_of("2026-12-31"), &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
}

static void everything_that_is_said_changes_the_canonical_bytes(void **state)
{
    static const char *const table[][2] = {
        {"\"zh-CN\"", "\"en\""},
        {"hospital", "pharmacy"},
        {"500108", "500103"},
        {"某某医院", "某某诊所"},
        {"1号", "2号"},
        {"00123", "00124"},
        {"王某", "张某"},
        {"\"body\": null", "\"body\": \"500108\""},
        {"PF02", "PF03"},
        {"[\"PU01\", \"PF02\"]", "[\"PU01\"]"},
        {"03-01", "03-02"},
        {"06-30", "06-29"},
        {"\"ongoing\": false", "\"ongoing\": true"},
        {"120000", "120001"},
        {"present_staff", "patient"},
        {"李四", "李三"},
        {"138 ", "139 "},
        {"a@", "b@"},
        {"\"11010519491231002X\"", "null"},
        {"\"wants_reward\": true", "\"wants_reward\": false"},
        {"\"sms\": true", "\"sms\": false"},
        {"\"email\": false", "\"email\": true"},
        {"\"call\": false", "\"call\": true"},
        {"未向", "已向"},
        {"\"2026-1\"", "null"},
        {"多次", "经常"},
    };
    DW_AUTO_BUF original = {0};
    canonical_of(full_report, day_of("2026-09-28"), &original);
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        DW_AUTO_BUF other = {0};
        char *text = changed(full_report, table[i][0], table[i][1]);
        canonical_of(text, day_of("2026-09-28"), &other);
        dw_free(text);
        if (other.len == original.len && memcmp(other.data, original.data, other.len) == 0)
            fail_msg("%s", table[i][1]);
    }
}

static void sealed_texts_are_split_by_who_may_read_them(void **state)
{
    struct dw_filing f;
    struct dw_problems problems;
    DW_AUTO_ARENA arena = {0};
    DW_AUTO_BUF body, identity, contact;
    dw_arena_init(&arena, ROOM);
    dw_buf_init(&body, 65536);
    dw_buf_init(&identity, 65536);
    dw_buf_init(&contact, 65536);
    assert_int_equal(parse(full_report, &arena, &f, &problems), DW_OK);
    dw_filing_body_json(&f, &body);
    dw_filing_identity_json(&f, &identity);
    dw_filing_contact_json(&f, &contact);
    assert_string_equal(
        dw_buf_text(&body),
        "{\"against\":{\"name\":\"某某医院\",\"address\":\"南坪街道1号\",\"code\":\"H50010800123\","
        "\"people\":\"院长王某\"},\"when\":{\"from\":\"2026-03-01\",\"to\":\"2026-06-30\"},"
        "\"facts\":\"" FACTS "\",\"amount_yuan\":120000,\"relation\":\"present_staff\","
        "\"elsewhere\":\"未向其他部门反映\",\"privacy_version\":\"2026-1\"}");
    assert_string_equal(dw_buf_text(&identity),
                        "{\"name\":\"李四\",\"id_number\":\"11010519491231002X\"}");
    assert_string_equal(dw_buf_text(&contact),
                        "{\"phone\":\"+8613800138000\",\"email\":\"a@example.org\"}");
}

static void an_anonymous_filing_seals_no_identity(void **state)
{
    struct dw_filing f;
    struct dw_problems problems;
    DW_AUTO_ARENA arena = {0};
    DW_AUTO_BUF out = {0};
    dw_arena_init(&arena, ROOM);
    dw_buf_init(&out, 65536);
    assert_int_equal(parse(short_report, &arena, &f, &problems), DW_OK);
    dw_filing_identity_json(&f, &out);
    dw_filing_contact_json(&f, &out);
    assert_int_equal(out.len, 0);
}

static void problem_texts_are_kind_and_say_nothing_back(void **state)
{
    static const struct {
        struct dw_problem problem;
        const char *zh, *en;
    } table[] = {
        {{"against.name", DW_P_MISSING, 0, ""},
         "请填写“被反映对象的名称”。",
         "Please tell us the name of the place or person this is about."},
        {{"facts", DW_P_TOO_SHORT, 20, ""},
         "“事情经过”请至少写 20 个字，写得具体一些有助于核查。",
         "Please write at least 20 characters on what happened. Details help us to check."},
        {{"notify.sms", DW_P_NEEDS, 0, "identity.phone"},
         "选择“短信通知”时，请同时填写“手机号码”。",
         "For notice by SMS we need a mobile number. Please add it."},
        {{"identity.wants_reward", DW_P_NEEDS, 0, "identity.name"},
         "选择“申请举报奖励”时，请同时填写“您的真实姓名”。",
         "For a reward we need your real name. Please add it."},
        {{"when.from", DW_P_FORM, 0, ""},
         "请检查“开始日期”：开始日期的写法如 2026-03-01。",
         "Please check this. We expect the first day in the form 2026-03-01."},
        {{"acts[3]", DW_P_CHOICE, 0, ""},
         "请从列表中选择“违法行为”。",
         "Please choose what was done from the list."},
        {{"truthful", DW_P_MISSING, 0, ""},
         "请确认所填内容属实后再提交。",
         "Please confirm that what you wrote is true before you send it."},
        {{"notify", DW_P_TYPE, 3, ""},
         "“通知方式”的数据类型不对，这里应为一组字段。",
         "Please send the way to tell you as an object."},
        {{"when.to", DW_P_ORDER, 0, "when.from"},
         "“结束日期”不能早于“开始日期”。",
         "Please check the dates: the last day lies before the first day."},
    };
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        char text[400];
        dw_problem_text(&table[i].problem, "zh-CN", text, sizeof text);
        assert_string_equal(text, table[i].zh);
        dw_problem_text(&table[i].problem, "en", text, sizeof text);
        assert_string_equal(text, table[i].en);
    }
}

static void every_kind_of_problem_has_a_sentence(void **state)
{
    for (int kind = DW_P_SYNTAX; kind <= DW_P_TEXT; kind++) {
        struct dw_problem p = {"facts", (enum dw_problem_kind)kind, 3, "acts"};
        char zh[400], en[400], cut[400];
        dw_problem_text(&p, "zh-CN", zh, sizeof zh);
        dw_problem_text(&p, "en", en, sizeof en);
        assert_true(strlen(zh) > 15 && strlen(en) > 15);
        assert_null(strchr(zh, '{'));
        assert_null(strchr(en, '{'));
        assert_string_not_equal(zh, en);
        for (size_t room = 0; room <= strlen(zh); room++) {
            cut[0] = 0;
            dw_problem_text(&p, "zh-CN", cut, room);
            assert_true(dw_text_is_clean(cut, strlen(cut), ""));
            assert_true(room == 0 || strlen(cut) < room);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clear_facts_survive_the_wire),
        cmocka_unit_test(order_spacing_and_day_do_not_change_the_canonical_bytes),
        cmocka_unit_test(everything_that_is_said_changes_the_canonical_bytes),
        cmocka_unit_test(sealed_texts_are_split_by_who_may_read_them),
        cmocka_unit_test(an_anonymous_filing_seals_no_identity),
        cmocka_unit_test(problem_texts_are_kind_and_say_nothing_back),
        cmocka_unit_test(every_kind_of_problem_has_a_sentence),
    };
    return cmocka_run_group_tests(tests, load_filing_data, unload_filing_data);
}
