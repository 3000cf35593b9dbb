/* Forms in pieces: whatever the cuts, the same parts come out. */
#include "http_private.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

struct seen {
    struct dw_buf out;
    bool stop;
};

static bool on_begin(void *arg, const struct dw_http_part *part)
{
    struct seen *seen = arg;
    dw_buf_printf(&seen->out, "[%s", part->name);
    if (part->filename)
        dw_buf_printf(&seen->out, "|%s", part->filename);
    if (*part->type)
        dw_buf_printf(&seen->out, "|%s", part->type);
    dw_buf_str(&seen->out, "=");
    return !seen->stop;
}

static bool on_data(void *arg, const void *data, size_t len)
{
    struct seen *seen = arg;
    assert_true(len > 0);
    dw_buf_put(&seen->out, data, len);
    return true;
}

static bool on_end(void *arg)
{
    struct seen *seen = arg;
    dw_buf_str(&seen->out, "]");
    return true;
}

static const struct dw_http_form_events events = {on_begin, on_data, on_end};

/* Feeds in pieces of `piece` bytes; NULL when refused. */
static char *parts_of(const char *type, const char *body, size_t len, size_t piece)
{
    struct seen seen = {0};
    dw_buf_init(&seen.out, 1 << 20);
    struct dw_http_form *form = dw_http_form_new(type, &events, &seen);
    bool good = form != NULL;
    for (size_t at = 0; good && at < len; at += piece)
        good = dw_http_form_feed(form, body + at, len - at < piece ? len - at : piece);
    good = good && dw_http_form_finish(form);
    char *text = good ? dw_strdup(dw_buf_text(&seen.out)) : NULL;
    dw_http_form_free(form);
    dw_buf_free(&seen.out);
    return text;
}

static void expect(const char *type, const char *body, const char *parts)
{
    for (size_t piece = 1; piece <= strlen(body) + 1; piece++) {
        char *got = parts_of(type, body, strlen(body), piece);
        if (!parts != !got || (parts && strcmp(parts, got) != 0))
            fail_msg("pieces of %zu: %s gave %s", piece, body, got ? got : "nothing");
        dw_free(got);
    }
}

#define PAIRS "application/x-www-form-urlencoded"

static void pairs_are_told_in_order(void **state)
{
    static const struct {
        const char *body, *parts;
    } cases[] = {
        {"", ""},
        {"a=1", "[a=1]"},
        {"a=1&b=2&a=3", "[a=1][b=2][a=3]"},
        {"a=&b=", "[a=][b=]"},
        {"a=&a=x&a=", "[a=][a=x][a=]"},
        {"a&b=1", "[a=][b=1]"},
        {"&&a=1&&", "[a=1]"},
        {"a=b=c", "[a=b=c]"},
        {"na+me=v+a%20l%2Bue%26%3d", "[na me=v a l+ue&=]"},
        {"%E7%94%B2=%e4%b9%99", "[甲=乙]"},
        {"=1", NULL},
        {"a=%", NULL},
        {"a=%4", NULL},
        {"a=%4x", NULL},
        {"%00=1", NULL},
        {"a%0Ab=1", NULL},
        {"%ff=1", NULL},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++)
        expect(PAIRS, cases[i].body, cases[i].parts);
}

static void a_long_name_is_refused_and_a_long_value_is_not(void **state)
{
    char name[DW_NAME_MAX + 8] = "", value[4096] = "";
    memset(name, 'n', DW_NAME_MAX + 1);
    char *got = parts_of(PAIRS, name, DW_NAME_MAX + 1, 100);
    assert_null(got);
    got = parts_of(PAIRS, name, DW_NAME_MAX, 100);
    assert_int_equal(strlen(got), DW_NAME_MAX + 3);
    dw_free(got);
    memset(value, 'v', sizeof value);
    value[0] = 'n';
    value[1] = '=';
    got = parts_of(PAIRS, value, sizeof value, sizeof value);
    assert_int_equal(strlen(got), sizeof value + 2);
    dw_free(got);
}

#define MULTI   "multipart/form-data; boundary=XX"
#define PART(n) "--XX\r\nContent-Disposition: form-data; name=\"" n "\"\r\n\r\n"
#define FILED(n)                                                                                   \
    "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"" n "\"\r\n"                   \
    "Content-Type: a/b\r\n\r\n"

static void parts_are_told_in_order(void **state)
{
    static const struct {
        const char *body, *parts;
    } cases[] = {
        {"--XX--\r\n", ""},
        {"--XX--", ""},
        {PART("a") "1\r\n--XX--\r\n", "[a=1]"},
        {PART("a") "\r\n" PART("a") "x\r\n--XX--\r\n", "[a=][a=x]"},
        {PART("a") "x\r\n" PART("b") "\r\n--XX--", "[a=x][b=]"},
        {"before it\r\n" PART("a") "1\r\n--XX--\r\nafter it", "[a=1]"},
        {"\r\n" PART("a") "1\r\n--XX--\r\n", "[a=1]"},
        {"--XX  \r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--XX--", "[a=1]"},
        {PART("a") "\r\r\n\r\n-\r\n--\r\n--X\r\n--XY\r\n--XX--",
         "[a=\r\r\n\r\n-\r\n--\r\n--X\r\n--XY]"},
        {PART("a") "x--XX\r\n--XX--", "[a=x--XX]"},
        {FILED("t.pdf") "%PDF\r\n--XX--", "[f|t.pdf|a/b=%PDF]"},
        {FILED("") "\r\n--XX--", "[f||a/b=]"},
        {FILED("证据.jpg") "x\r\n--XX--", "[f|证据.jpg|a/b=x]"},
        {FILED("a\\\"b;c.txt") "x\r\n--XX--", "[f|a\"b;c.txt|a/b=x]"},
        {"--XX\r\ncontent-TYPE:a/b\r\nX-Other: 1\r\n"
         "content-disposition:Form-Data ; Name=\"a\";filename*=UTF-8''x\r\n\r\n1\r\n--XX--",
         "[a|a/b=1]"},
        {"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n"
         "Content-Transfer-Encoding: Binary\r\n\r\n1\r\n--XX--",
         "[a=1]"},
        /* truncated at each possible place below; malformed here */
        {"", NULL},
        {"--YY--", NULL},
        {"--XX-x", NULL},
        {"--XXX\r\n", NULL},
        {"--XX\n", NULL},
        {"--XX\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Type: a/b\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Disposition: form-data\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n"
         "Content-Disposition: form-data; name=\"b\"\r\n\r\n1\r\n--XX--",
         NULL},
        {"--XX\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Disposition: form-data; name=\"a\"\nX: 1\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n1\r\n--XX--", NULL},
        {"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n"
         "Content-Transfer-Encoding: base64\r\n\r\n1\r\n--XX--",
         NULL},
        {"--XX\r\nno colon\r\n\r\n1\r\n--XX--", NULL},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++)
        expect(MULTI, cases[i].body, cases[i].parts);
}

static void a_form_cut_short_anywhere_is_refused(void **state)
{
    static const char body[] = PART("a") "some\r\ntext\r\n" FILED("n") "more\r\n--XX--";
    for (size_t len = 0; len < sizeof body - 1; len++)
        assert_null(parts_of(MULTI, body, len, 7));
    char *whole = parts_of(MULTI, body, sizeof body - 1, 7);
    assert_string_equal(whole, "[a=some\r\ntext][f|n|a/b=more]");
    dw_free(whole);
}

static void a_head_of_a_part_without_end_is_refused(void **state)
{
    char body[8192];
    memset(body, 'x', sizeof body);
    memcpy(body, "--XX\r\n", 6);
    assert_null(parts_of(MULTI, body, sizeof body, 1000));
}

static void an_event_can_stop_it(void **state)
{
    struct seen seen = {.stop = true};
    dw_buf_init(&seen.out, 1000);
    struct dw_http_form *form = dw_http_form_new(PAIRS, &events, &seen);
    assert_false(dw_http_form_feed(form, "a=1&b=2", 7));
    assert_false(dw_http_form_finish(form));
    dw_http_form_free(form);
    form = dw_http_form_new(MULTI, &events, &seen);
    assert_false(dw_http_form_feed(form, PART("a") "1\r\n--XX--", strlen(PART("a")) + 9));
    assert_false(dw_http_form_finish(form));
    dw_http_form_free(form);
    assert_string_equal(dw_buf_text(&seen.out), "[a=[a=");
    dw_buf_free(&seen.out);
}

static void content_types_are_read_as_the_standard_says(void **state)
{
    static const struct {
        const char *type;
        enum dw_http_content content;
        bool form;
    } cases[] = {
        {"application/json", DW_CONTENT_JSON, false},
        {"Application/JSON ; charset=utf-8", DW_CONTENT_JSON, false},
        {"application/jsonp", DW_CONTENT_NONE, false},
        {"text/plain", DW_CONTENT_NONE, false},
        {NULL, DW_CONTENT_NONE, false},
        {PAIRS, DW_CONTENT_PAIRS, true},
        {PAIRS ";charset=UTF-8", DW_CONTENT_PAIRS, true},
        {MULTI, DW_CONTENT_MULTIPART, true},
        {"Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b?\"; x=y", DW_CONTENT_MULTIPART, true},
        {"multipart/form-data", DW_CONTENT_MULTIPART, false},
        {"multipart/form-data; boundary=", DW_CONTENT_MULTIPART, false},
        {"multipart/form-data; boundary=\"\"", DW_CONTENT_MULTIPART, false},
        {"multipart/form-data; boundary=\"a", DW_CONTENT_MULTIPART, false},
        {"multipart/form-data; boundary=a; boundary=b", DW_CONTENT_MULTIPART, false},
        {"multipart/form-data; boundary=a b", DW_CONTENT_MULTIPART, false},
        {"multipart/form-data; boundary="
         "12345678901234567890123456789012345678901234567890123456789012345678901",
         DW_CONTENT_MULTIPART, false},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        assert_int_equal(dw_http_content_of(cases[i].type), cases[i].content);
        struct dw_http_form *form =
            cases[i].type ? dw_http_form_new(cases[i].type, &events, NULL) : NULL;
        assert_int_equal(form != NULL, cases[i].form);
        dw_http_form_free(form);
    }
}

static void bytes_come_out_as_they_went_in(void **state)
{
    enum { LEN = 200000 };
    static const char type[] = "multipart/form-data; boundary=XXZ";
    static const size_t pieces[] = {1, 2, 3, 5, 8, 13, 1000, 65536, 1 << 20};
    DW_AUTO_BUF body, want;
    dw_buf_init(&body, 1 << 20);
    dw_buf_init(&want, 1 << 20);
    dw_buf_str(&want, "[f|big=");
    dw_buf_str(&body, "--XXZ\r\nContent-Disposition: form-data; name=f; filename=big\r\n\r\n");
    uint32_t seed = 1;
    for (size_t i = 0; i < LEN; i++) { /* all but the last character of a mark, over and over */
        seed = seed * 1664525 + 1013904223;
        uint8_t byte = (uint8_t) "\r\n--XX\rX-\n\r\0\xff-XX"[seed >> 28];
        dw_buf_u8(&want, byte);
        dw_buf_u8(&body, byte);
    }
    dw_buf_str(&want, "]");
    dw_buf_str(&body, "\r\n--XXZ--\r\n");
    for (size_t i = 0; i < DW_COUNT(pieces); i++) {
        struct seen seen = {0};
        dw_buf_init(&seen.out, 1 << 20);
        struct dw_http_form *form = dw_http_form_new(type, &events, &seen);
        for (size_t at = 0; at < body.len; at += pieces[i])
            assert_true(dw_http_form_feed(form, body.data + at,
                                          body.len - at < pieces[i] ? body.len - at : pieces[i]));
        assert_true(dw_http_form_finish(form));
        dw_http_form_free(form);
        assert_int_equal(seen.out.len, want.len);
        assert_memory_equal(seen.out.data, want.data, want.len);
        dw_buf_free(&seen.out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_told_in_order),
        cmocka_unit_test(a_long_name_is_refused_and_a_long_value_is_not),
        cmocka_unit_test(parts_are_told_in_order),
        cmocka_unit_test(a_form_cut_short_anywhere_is_refused),
        cmocka_unit_test(a_head_of_a_part_without_end_is_refused),
        cmocka_unit_test(an_event_can_stop_it),
        cmocka_unit_test(content_types_are_read_as_the_standard_says),
        cmocka_unit_test(bytes_come_out_as_they_went_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
