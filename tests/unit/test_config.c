#include "unit.h"

#include "dw/bytes.h"
#include "dw/config.h"
#include "dw/process.h"

#include <sys/stat.h>

struct seen {
    int count;
    int line[20];
    char key[20][80];
    char problem[20][300];
};

static void note(void *arg, const char *file, int line, const char *key, const char *problem)
{
    struct seen *s = arg;
    (void)file;
    if (s->count < 20) {
        s->line[s->count] = line;
        snprintf(s->key[s->count], sizeof s->key[0], "%s", key);
        snprintf(s->problem[s->count], sizeof s->problem[0], "%s", problem);
    }
    s->count++;
}

static bool load(const char *text, struct dw_config *config, struct seen *seen)
{
    char *folder = make_folder();
    char path[300];
    snprintf(path, sizeof path, "%s/dengwen.yaml", folder);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    *seen = (struct seen){0};
    bool good = dw_config_load(path, config, note, seen);
    rm_folder(folder);
    return good;
}

TEST(an_empty_file_gives_the_defaults)
{
    struct dw_config c;
    struct seen seen;
    assert_true(load("", &c, &seen));
    assert_int_equal(c.web.max_files, 10);
    assert_string_equal(c.web.http.listen, "127.0.0.1:8080");
    assert_int_equal(c.broker.bind.count, 1);
    dw_config_free(&c);
}

TEST(values_of_every_kind_are_read)
{
    struct dw_config c;
    struct seen seen;
    assert_true(load("name:\n  zh: 登闻\nweb:\n  max_files: 3\n  keep_alive: false\n"
                     "  trusted_proxies: [10.0.0.1, 10.0.0.2]\nbroker:\n  bind: []\n",
                     &c, &seen));
    assert_string_equal(c.name_zh, "登闻");
    assert_int_equal(c.web.max_files, 3);
    assert_false(c.web.http.keep_alive);
    assert_int_equal(c.web.http.trusted_proxies.count, 2);
    assert_string_equal(c.web.http.trusted_proxies.items[1], "10.0.0.2");
    assert_int_equal(c.broker.bind.count, 0);
    dw_config_free(&c);
}

TEST(each_problem_has_its_line_and_key_and_all_are_told)
{
    struct dw_config c;
    struct seen seen;
    assert_false(load("web:\n  max_files: many\n  colour: red\nqueue:\n  lease_seconds: 0\n"
                      "demo: perhaps\nweb.x: 1\n",
                      &c, &seen));
    assert_int_equal(seen.count, 5);
    static const struct {
        int line;
        const char *key;
        const char *problem;
    } expected[] = {{2, "web.max_files", "whole number from 0 to 100"},
                    {3, "web.colour", "unknown key"},
                    {5, "queue.lease_seconds", "from 1 to 3600"},
                    {6, "demo", "true or false"},
                    {7, "web.x", "unknown key"}};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(seen.line[i], expected[i].line);
        assert_string_equal(seen.key[i], expected[i].key);
        assert_non_null(strstr(seen.problem[i], expected[i].problem));
    }
    dw_config_free(&c);
}

TEST(a_key_twice_a_group_without_keys_and_a_list_for_a_value_are_problems)
{
    static const char *const bad[] = {"demo: true\ndemo: false\n", "web: 5\n", "demo: [true]\n",
                                      "broker:\n  bind: tcp://127.0.0.1:1\n", "- 1\n", "web:\n  - 1\n",
                                      "a: [1\n", "broker:\n  bind: ['a b']\n"};
    struct dw_config c;
    struct seen seen;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(load(bad[i], &c, &seen));
        assert_true(seen.count >= 1);
        dw_config_free(&c);
    }
}

TEST(rules_across_keys_are_checked)
{
    static const struct {
        const char *text;
        const char *key;
    } cases[] = {
        {"notify:\n  delay_min_minutes: 9\n  delay_max_minutes: 3\n", "notify.delay_max_minutes"},
        {"store:\n  uri: oracle:x\n", "store.uri"},
        {"broker:\n  heartbeat_ms: 10000\n", "queue.lease_seconds"},
        {"queue:\n  retry_min_seconds: 200\n", "queue.retry_min_seconds"},
        {"notify:\n  lease_seconds: 60\n", "notify.lease_seconds"},
        {"notify:\n  sms_driver: pigeon\n", "notify.sms_driver"},
        {"notify:\n  smtp_url: http://x\n", "notify.smtp_url"},
        {"log_level: loud\n", "log_level"},
    };
    struct dw_config c;
    struct seen seen;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(load(cases[i].text, &c, &seen));
        assert_string_equal(seen.key[0], cases[i].key);
        dw_config_free(&c);
    }
}

TEST(a_written_file_reads_back_the_same)
{
    struct dw_config c, again;
    struct seen seen;
    char *text = NULL;
    size_t len;
    dw_config_defaults(&c);
    assert_true(dw_config_set(&c, "web.max_files", "7"));
    assert_true(dw_config_set(&c, "name.en", "A \"quoted\" \\ name"));
    assert_true(dw_config_set(&c, "web.trusted_proxies", "10.0.0.1 10.0.0.2"));
    assert_false(dw_config_set(&c, "web.max_files", "seven"));
    assert_false(dw_config_set(&c, "web.nothing", "7"));
    FILE *f = open_memstream(&text, &len);
    dw_config_write(&c, f);
    fclose(f);
    assert_true(load(text, &again, &seen));
    assert_int_equal(again.web.max_files, 7);
    assert_string_equal(again.name_en, "A \"quoted\" \\ name");
    assert_int_equal(again.web.http.trusted_proxies.count, 2);
    free(text);
    dw_config_free(&c);
    dw_config_free(&again);
}

TEST(a_missing_file_is_a_problem_that_says_what_to_do)
{
    struct dw_config c;
    struct seen seen = {0};
    assert_false(dw_config_load("/nonexistent/dengwen.yaml", &c, note, &seen));
    assert_non_null(strstr(seen.problem[0], "dengwen init"));
    dw_config_free(&c);
}

static void assert_secret(const struct dw_config *c, const char *value, const char *expected)
{
    size_t len;
    uint8_t *secret = dw_config_secret(c, value, 20, &len);
    if (!expected) {
        assert_null(secret);
        return;
    }
    assert_non_null(secret);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(secret, expected, len);
    free(secret);
}

TEST(a_secret_is_a_file_of_ones_own_or_a_credential)
{
    struct dw_config c;
    char *folder = make_folder(), path[400];
    dw_config_defaults(&c);
    snprintf(path, sizeof path, "%s/password", folder);
    assert_true(dw_write_file(path, "secret", 6, 0600));
    assert_secret(&c, path, "secret");
    assert_int_equal(chmod(path, 0640), 0);
    assert_secret(&c, path, NULL);
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_secret(&c, "credential:password", NULL);
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    assert_secret(&c, "credential:password", "secret");
    assert_secret(&c, "credential:other", NULL);
    assert_secret(&c, "credential:", NULL);
    assert_secret(&c, "credential:../password", NULL);
    unsetenv("CREDENTIALS_DIRECTORY");
    dw_config_free(&c);
    rm_folder(folder);
}

RUN(cmocka_unit_test(an_empty_file_gives_the_defaults),
    cmocka_unit_test(values_of_every_kind_are_read),
    cmocka_unit_test(each_problem_has_its_line_and_key_and_all_are_told),
    cmocka_unit_test(a_key_twice_a_group_without_keys_and_a_list_for_a_value_are_problems),
    cmocka_unit_test(rules_across_keys_are_checked),
    cmocka_unit_test(a_written_file_reads_back_the_same),
    cmocka_unit_test(a_missing_file_is_a_problem_that_says_what_to_do),
    cmocka_unit_test(a_secret_is_a_file_of_ones_own_or_a_credential))
