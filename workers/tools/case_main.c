/* case_main.c - dengwen case: a member of staff at the terminal, through the desk's API.
 *
 * User and password come from the environment (DENGWEN_USER, DENGWEN_PASSWORD) or from a file of two
 * lines (--login), never from arguments; the session lasts as long as the command. */
#include "tool_data.h"

#include "dw/bytes.h"
#include "dw/config.h"
#include "dw/process.h"

#include <curl/curl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MAX = 64 * 1024 * 1024, WORDS_MAX = 24, TIMEOUT_SECONDS = 60, PATH_LEN = 1024 };

struct options {
    struct tool_options tool;
    const char *login, *desk, *worklist, *out, *key, *limit;
    const char *words[WORDS_MAX];
    size_t count;
};

static const struct argp_option known[] = {
    {"login", 'l', "FILE", 0, "first line the user, second the password (default: DENGWEN_USER and "
                              "DENGWEN_PASSWORD)", 1},
    {"desk", 'd', "URL", 0, "address of the staff portal (default: from the settings)", 1},
    {"worklist", 'w', "NAME", 0, "mine, unassigned, due, overdue or all (default)", 1},
    {"limit", 'n', "ROWS", 0, "rows of a list (default 50)", 1},
    {"output", 'o', "FILE", 0, "where a file goes", 1},
    {"key", 'k', "KEY", 0, "Idempotency-Key, to repeat a command whose answer was lost", 1},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case 'l':
        o->login = arg;
        return 0;
    case 'd':
        o->desk = arg;
        return 0;
    case 'w':
        o->worklist = arg;
        return 0;
    case 'n':
        o->limit = arg;
        return 0;
    case 'o':
        o->out = arg;
        return 0;
    case 'k':
        o->key = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->count == WORDS_MAX)
            argp_usage(state);
        o->words[o->count++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->count)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- HTTP ---- */

struct desk {
    CURL *curl;
    const char *url;
    char token[128];
    struct dw_buf answer;
    long status;
};

static size_t keep(char *data, size_t size, size_t count, void *arg)
{
    dw_buf_put(arg, data, size * count);
    return size * count;
}

static struct curl_slist *header(struct curl_slist *list, const char *name, const char *value)
{
    char line[512];
    snprintf(line, sizeof line, "%s: %s", name, value);
    list = curl_slist_append(list, line);
    dw_wipe(line, sizeof line);
    return list;
}

/* `form` with each %s replaced by the next word, whatever it holds: it stays one part of the path. */
static void path_of(const struct desk *d, char ret[PATH_LEN], const char *form, ...)
{
    DW_AUTO_BUF path = {0};
    va_list words;
    dw_buf_init(&path, PATH_LEN - 1);
    va_start(words, form);
    for (; *form; form++) {
        if (form[0] != '%') {
            dw_buf_put(&path, form, 1);
            continue;
        }
        char *escaped = curl_easy_escape(d->curl, va_arg(words, const char *), 0);
        dw_buf_str(&path, escaped);
        curl_free(escaped);
        form++;
    }
    va_end(words);
    if (path.overflow) {
        fprintf(stderr, "case: a word is too long\n");
        exit(DW_EXIT_DATA);
    }
    snprintf(ret, PATH_LEN, "%s", dw_buf_text(&path));
}

/* Takes the body.  Ends the process with 69 when the desk is away. */
static void ask(struct desk *d, const char *method, const char *path, json_t *body, const char *key)
{
    char url[PATH_LEN + 300], bearer[160];
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct curl_slist *headers = NULL;
    json_decref(body);
    snprintf(url, sizeof url, "%s%s", d->url, path);
    headers = header(headers, "Content-Type", "application/json");
    if (*d->token) {
        snprintf(bearer, sizeof bearer, "Bearer %s", d->token);
        headers = header(headers, "Authorization", bearer);
        dw_wipe(bearer, sizeof bearer);
    }
    if (key)
        headers = header(headers, "Idempotency-Key", key);
    dw_buf_clear(&d->answer);
    curl_easy_reset(d->curl);
    curl_easy_setopt(d->curl, CURLOPT_URL, url);
    curl_easy_setopt(d->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(d->curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(d->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(d->curl, CURLOPT_TIMEOUT, (long)TIMEOUT_SECONDS);
    curl_easy_setopt(d->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(d->curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(d->curl, CURLOPT_WRITEDATA, &d->answer);
    if (text)
        curl_easy_setopt(d->curl, CURLOPT_POSTFIELDS, text);
    CURLcode code = curl_easy_perform(d->curl);
    curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &d->status);
    curl_slist_free_all(headers);
    if (text)
        dw_forgetful_free(text);
    if (code != CURLE_OK) {
        fprintf(stderr, "%s: %s; is `dengwen run` running?\n", d->url, curl_easy_strerror(code));
        exit(DW_EXIT_AWAY);
    }
}

static json_t *answer_json(const struct desk *d)
{
    json_error_t why;
    return json_loadb((const char *)d->answer.data, d->answer.len, 0, &why);
}

/* Prints the problem; the exit status for it. */
static int refused(const struct desk *d)
{
    json_t *problem = answer_json(d);
    const char *field = json_string_value(json_object_get(problem, "field"));
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    fprintf(stderr, "%ld: %s%s%s\n", d->status, field ? field : "", field ? ": " : "",
            detail ? detail : "refused");
    json_decref(problem);
    return d->status == 503 || d->status == 409 ? DW_EXIT_RETRY : DW_EXIT_NO;
}

/* ---- login ---- */

static bool read_login(const struct options *o, char *user, size_t user_len, char *password,
                       size_t password_len)
{
    const char *env_user = getenv("DENGWEN_USER"), *env_password = getenv("DENGWEN_PASSWORD");
    if (!o->login) {
        snprintf(user, user_len, "%s", env_user ? env_user : "");
        snprintf(password, password_len, "%s", env_password ? env_password : "");
        return *user && *password;
    }
    FILE *in = fopen(o->login, "re");
    bool good = in && fgets(user, (int)user_len, in) && fgets(password, (int)password_len, in);
    if (in)
        fclose(in);
    if (good) {
        user[strcspn(user, "\r\n")] = 0;
        password[strcspn(password, "\r\n")] = 0;
    }
    return good;
}

static int log_in(struct desk *d, const struct options *o)
{
    char user[128], password[512];
    if (!read_login(o, user, sizeof user, password, sizeof password)) {
        fprintf(stderr, "case: expected DENGWEN_USER and DENGWEN_PASSWORD, or --login FILE\n");
        return DW_EXIT_USAGE;
    }
    json_t *both = json_pack("{s:s, s:s}", "user", user, "password", password);
    dw_wipe(password, sizeof password);
    if (!both) {
        fprintf(stderr, "case: user and password: expected UTF-8\n");
        return DW_EXIT_DATA;
    }
    ask(d, "POST", "/api/v1/login", both, NULL);
    if (d->status != 200)
        return refused(d);
    json_t *answer = answer_json(d);
    snprintf(d->token, sizeof d->token, "%s",
             json_string_value(json_object_get(answer, "token")));
    json_decref(answer);
    return 0;
}

/* ---- commands ---- */

static const char *text_in(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text ? text : "-";
}

static int do_list(struct desk *d, const struct options *o)
{
    char path[PATH_LEN];
    size_t i;
    json_t *row;
    path_of(d, path, "/api/v1/cases?worklist=%s&limit=%s", o->worklist ? o->worklist : "all",
            o->limit ? o->limit : "50");
    ask(d, "GET", path, NULL, NULL);
    if (d->status != 200)
        return refused(d);
    json_t *answer = answer_json(d);
    if (o->tool.json) {
        tool_print_json(answer);
        return 0;
    }
    json_array_foreach(json_object_get(answer, "cases"), i, row)
        printf("%-15s %-13s %-9s %-14s %s  due %-10s %-4s %s\n", text_in(row, "reference"),
               text_in(row, "state"), text_in(row, "kind"), text_in(row, "against_type"),
               text_in(row, "district"), text_in(row, "due"), text_in(row, "due_rule"),
               text_in(row, "assignee"));
    if (!json_array_size(json_object_get(answer, "cases")))
        printf("nothing\n");
    json_decref(answer);
    return 0;
}

static void print_lines(const json_t *list, const char *title)
{
    size_t i;
    json_t *line;
    if (json_array_size(list))
        printf("\n%s\n", title);
    json_array_foreach(list, i, line)
        printf("  %s %s (%s): %s\n", text_in(line, "day"), text_in(line, "from"),
               text_in(line, "kind"), text_in(line, "text"));
}

static void print_case(const json_t *c)
{
    size_t i;
    json_t *item;
    char *facts = json_dumps(json_object_get(c, "facts"), JSON_INDENT(2));
    printf("%s  %s  version %lld  %s\n%s\n", text_in(c, "reference"), text_in(c, "state"),
           (long long)json_integer_value(json_object_get(c, "version")),
           text_in(json_object_get(c, "body"), "zh"), facts);
    dw_forgetful_free(facts);
    json_array_foreach(json_object_get(c, "files"), i, item)
        printf("file %s  %s  %s  %lld bytes\n", text_in(item, "id"), text_in(item, "name"),
               text_in(item, "type"),
               (long long)json_integer_value(json_object_get(item, "size")));
    json_array_foreach(json_object_get(c, "clocks"), i, item)
        printf("clock %s  due %s  %s%s  %s\n", text_in(item, "rule"), text_in(item, "due"),
               json_is_null(json_object_get(item, "ended")) ? text_in(item, "stage") : "ended ",
               json_is_null(json_object_get(item, "ended")) ? "" : text_in(item, "ended"),
               text_in(item, "what_en"));
    print_lines(json_object_get(c, "messages"), "messages");
    print_lines(json_object_get(c, "notes"), "notes");
    printf("\ncommands:");
    json_array_foreach(json_object_get(c, "commands"), i, item)
        printf(" %s", json_string_value(item));
    printf("\n");
}

static int do_show(struct desk *d, const struct options *o)
{
    char path[PATH_LEN];
    if (o->count != 2)
        return DW_EXIT_USAGE;
    path_of(d, path, "/api/v1/cases/%s", o->words[1]);
    ask(d, "GET", path, NULL, NULL);
    if (d->status != 200)
        return refused(d);
    json_t *answer = answer_json(d);
    if (o->tool.json) {
        tool_print_json(answer);
    } else {
        print_case(answer);
        json_decref(answer);
    }
    return 0;
}

static int do_file(struct desk *d, const struct options *o)
{
    char path[PATH_LEN];
    if (o->count != 3)
        return DW_EXIT_USAGE;
    path_of(d, path, "/api/v1/cases/%s/files/%s", o->words[1], o->words[2]);
    ask(d, "GET", path, NULL, NULL);
    if (d->status != 200)
        return refused(d);
    bool good = o->out ? dw_write_file(o->out, d->answer.data, d->answer.len, 0600)
                       : fwrite(d->answer.data, 1, d->answer.len, stdout) == d->answer.len;
    return good ? 0 : DW_EXIT_NO;
}

/* `name=value` words into the command; a version is asked for when none was given. */
static json_t *command_of(struct desk *d, const struct options *o, int *status)
{
    json_t *command = json_pack("{s:s}", "command", o->words[2]);
    for (size_t i = 3; i < o->count; i++) {
        char name[32], *end = "";
        const char *equals = strchr(o->words[i], '=');
        snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - o->words[i]) : 0, o->words[i]);
        if (equals && strcmp(name, "version") == 0)
            json_object_set_new(command, name, json_integer(strtoll(equals + 1, &end, 10)));
        if (!equals || *end) {
            fprintf(stderr, "case do: expected NAME=VALUE, found %s\n", o->words[i]);
            *status = DW_EXIT_USAGE;
        } else if (strcmp(name, "with_internal") == 0) {
            json_object_set_new(command, name, json_boolean(strcmp(equals + 1, "true") == 0));
        } else if (strcmp(name, "version") != 0) {
            json_object_set_new(command, name, json_string(equals + 1));
        }
    }
    if (*status == 0 && !json_object_get(command, "version")) {
        char path[PATH_LEN];
        path_of(d, path, "/api/v1/cases/%s", o->words[1]);
        ask(d, "GET", path, NULL, NULL);
        json_t *now = answer_json(d);
        if (d->status != 200)
            *status = refused(d);
        else
            json_object_set(command, "version", json_object_get(now, "version"));
        json_decref(now);
    }
    return command;
}

static int do_do(struct desk *d, const struct options *o)
{
    char path[PATH_LEN], key[40];
    uint8_t random[24];
    int status = 0;
    if (o->count < 3)
        return DW_EXIT_USAGE;
    json_t *command = command_of(d, o, &status);
    if (status) {
        json_decref(command);
        return status;
    }
    randombytes_buf(random, sizeof random);
    dw_base64(key, sizeof key, random, sizeof random);
    path_of(d, path, "/api/v1/cases/%s/commands", o->words[1]);
    ask(d, "POST", path, command, o->key ? o->key : key);
    if (d->status != 200)
        return refused(d);
    json_t *answer = answer_json(d);
    if (o->tool.json) {
        tool_print_json(answer);
    } else {
        printf("%s %s\n", text_in(answer, "reference"), text_in(answer, "state"));
        json_decref(answer);
    }
    return 0;
}

/* Before anything is asked: a text that JSON cannot carry would be left out. */
static bool words_are_clean(const struct options *o)
{
    bool clean = !o->key || dw_text_is_clean(o->key, strlen(o->key), "");
    for (size_t i = 0; i < o->count; i++)
        clean &= dw_text_is_clean(o->words[i], strlen(o->words[i]), "\n\t");
    return clean;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *word;
        int (*run)(struct desk *, const struct options *);
    } commands[] = {{"list", do_list}, {"show", do_show}, {"file", do_file}, {"do", do_do}};
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        known, parse_option,
        "list [-w WORKLIST]\nshow REF\nfile REF ID [-o FILE]\ndo REF COMMAND [NAME=VALUE...]",
        "Works cases as a member of staff.\v"
        "do: accept, refuse reason=CODE text=..., transfer to=BODY reason=CODE, receive, return "
        "reason=CODE, assign to=USER, note text=..., ask text=..., reply text=..., decide "
        "outcome=CODE text=..., close, archive. The codes are in GET /api/v1/catalogue.",
        children, NULL, NULL};
    struct options o = {.tool = {0}};
    struct dw_config config;
    struct desk desk = {0};
    char url[300];
    int status = DW_EXIT_USAGE;
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (!words_are_clean(&o)) {
        fprintf(stderr, "case: expected UTF-8 without control characters\n");
        return DW_EXIT_DATA;
    }
    dw_process_harden();
    json_set_alloc_funcs(dw_alloc_for_library, dw_forgetful_free);
    snprintf(url, sizeof url, "%s", o.desk ? o.desk : "");
    if (!o.desk) {
        bool good = dw_config_load(dw_config_path(o.tool.config), &config, dw_config_problem_print,
                                   NULL);
        snprintf(url, sizeof url, "http://%s", config.desk.http.listen);
        dw_config_free(&config);
        if (!good)
            return DW_EXIT_CONFIG;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    desk.curl = curl_easy_init();
    desk.url = url;
    dw_buf_init(&desk.answer, ANSWER_MAX);
    for (size_t i = 0; i < DW_COUNT(commands); i++)
        if (strcmp(commands[i].word, o.words[0]) == 0) {
            status = log_in(&desk, &o);
            if (status == 0) {
                status = commands[i].run(&desk, &o);
                ask(&desk, "POST", "/api/v1/logout", NULL, NULL);
            }
        }
    if (status == DW_EXIT_USAGE)
        fprintf(stderr, "case: see `dengwen case --help`\n");
    dw_wipe(desk.token, sizeof desk.token);
    dw_buf_free(&desk.answer);
    curl_easy_cleanup(desk.curl);
    curl_global_cleanup();
    return status;
}
