/* dengwen-check-config: everything that can be said about the settings before anything is started.
 *
 * dw_config_load() judges the file by itself; this adds what lies around it: files, modes, data,
 * addresses.  All problems are printed, one per line, as file:line: key: problem. */
#include "address.h"

#include "dw/bytes.h"
#include "dw/clock.h"
#include "dw/config.h"
#include "dw/directory.h"
#include "dw/process.h"
#include "dw/result.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct check {
    const char *file; /* as it was named to us */
    struct dw_config config;
    int problems;
    bool unreadable; /* the file as a whole: nothing was read that could be judged */
};

static void count_and_print(void *arg, const char *file, int line, const char *key,
                            const char *problem)
{
    struct check *check = arg;
    check->problems++;
    check->unreadable |= !*key;
    dw_config_problem_print(NULL, file, line, key, problem);
}

__attribute__((format(printf, 3, 4))) static void complain(struct check *check, const char *key,
                                                           const char *format, ...)
{
    char text[1400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    count_and_print(check, check->file, dw_config_line(&check->config, key), key, text);
}

/* ---- files ---- */

/* False, and told, unless it is there, of this kind, and none of the bits in `never` is set. */
static bool check_path(struct check *check, const char *key, const char *path, mode_t kind,
                       mode_t never)
{
    struct stat st;
    bool folder = kind == S_IFDIR;
    if (stat(path, &st) != 0)
        complain(check, key, "%s: %s", path, strerror(errno));
    else if ((st.st_mode & S_IFMT) != kind)
        complain(check, key, "%s: expected a %s", path, folder ? "folder" : "file");
    else if (st.st_mode & never)
        complain(check, key, "%s: mode %04o lets others %s it; expected `chmod %s`", path,
                 (unsigned)(st.st_mode & 07777), never & 044 ? "read or change" : "change",
                 never & 044 ? "go-rwx" : "go-w");
    else if (access(path, folder ? R_OK | X_OK : R_OK) != 0)
        complain(check, key, "%s: %s", path, strerror(errno));
    else
        return true;
    return false;
}

static void check_keys(struct check *check)
{
    const struct dw_config *c = &check->config;
    const struct {
        const char *key, *value;
    } files[] = {{"keys.root", c->keys.root}, {"keys.directory", c->keys.directory}};
    bool good = true;
    for (size_t i = 0; i < DW_COUNT(files); i++) {
        char *path = dw_config_resolve(c, files[i].value);
        good &= check_path(check, files[i].key, path, S_IFREG, 022);
        dw_free(path);
    }
    struct dw_directory_watch *watch;
    struct dw_error err = {0};
    if (!good)
        return;
    if (dw_directory_watch_new(c, &watch, &err) == DW_OK)
        dw_directory_watch_free(watch);
    else
        complain(check, strncmp(err.field, "keys.", 5) == 0 ? err.field : "keys.directory", "%s",
                 err.text);
}

static void check_passwords(struct check *check)
{
    const struct dw_config *c = &check->config;
    const struct {
        const char *key, *value;
    } files[] = {{"store.password_file", c->store.password_file},
                 {"notify.smtp_password_file", c->notify.smtp_password_file},
                 {"notify.sms_password_file", c->notify.sms_password_file}};
    for (size_t i = 0; i < DW_COUNT(files); i++) {
        char *path = dw_config_resolve(c, files[i].value);
        /* a credential is there for the service alone */
        if (*files[i].value && strncmp(files[i].value, DW_CREDENTIAL, strlen(DW_CREDENTIAL)) != 0)
            check_path(check, files[i].key, path, S_IFREG, 077);
        dw_free(path);
    }
}

static void check_data(struct check *check)
{
    static const struct {
        const char *name;
        mode_t kind;
    } needed[] = {{"bodies.yaml", S_IFREG},
                  {"routing.yaml", S_IFREG},
                  {"catalogue.yaml", S_IFREG},
                  {"rules", S_IFDIR},
                  {"calendar", S_IFDIR}};
    char *folder = dw_config_data_folder(&check->config);
    bool there = check_path(check, "data", folder, S_IFDIR, 002);
    for (size_t i = 0; there && i < DW_COUNT(needed); i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, needed[i].name);
        check_path(check, "data", path, needed[i].kind, 002);
    }
    dw_free(folder);
}

/* The store may lie where the case worker will make its folder, or in one that is there. */
static void check_store(struct check *check)
{
    const struct dw_config *c = &check->config;
    static const char prefix[] = "sqlite:";
    if (strncmp(c->store.uri, prefix, strlen(prefix)) != 0)
        return;
    char *path = dw_config_resolve(c, c->store.uri + strlen(prefix));
    char *made = dw_config_state(c, "case");
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = 0;
    if (slash && slash > path && strcmp(path, made) != 0)
        check_path(check, "store.uri", path, S_IFDIR, 022);
    dw_free(made);
    dw_free(path);
}

/* Folders that are made at the first start may be missing now. */
static void check_places(struct check *check)
{
    const struct dw_config *c = &check->config;
    char *state = dw_config_resolve(c, c->state), *run = dw_config_resolve(c, c->run);
    char *longest = dw_config_run(c, "supervisor.sock");
    struct sockaddr_un unused;
    struct stat st;
    if (stat(state, &st) == 0)
        check_path(check, "state", state, S_IFDIR, 022);
    if (stat(run, &st) == 0)
        /* The group may make sockets there where each process has its own user; others never. */
        check_path(check, "run", run, S_IFDIR, 002);
    if (!dw_unix_address(longest, &unused))
        complain(check, "run", "%s: too long for a socket by %zu bytes; expected a shorter folder",
                 longest, strlen(longest) + 1 - sizeof unused.sun_path);
    dw_free(longest);
    dw_free(run);
    dw_free(state);
}

/* ---- addresses ---- */

static void check_listening(struct check *check)
{
    const struct dw_config *c = &check->config;
    const struct {
        const char *key, *value;
    } listens[] = {{"web.listen", c->web.http.listen},
                   {"desk.listen", c->desk.http.listen},
                   {"ops.listen", c->ops.listen}};
    struct sockaddr_storage address;
    for (size_t i = 0; i < DW_COUNT(listens); i++) {
        if (!dw_address_parse(listens[i].value, &address))
            complain(check, listens[i].key, "expected address:port as 127.0.0.1:8080 or [::1]:8080,"
                                            " found \"%.80s\"", listens[i].value);
        for (size_t j = 0; j < i; j++)
            if (strcmp(listens[i].value, listens[j].value) == 0)
                complain(check, listens[i].key, "expected another address than %s has",
                         listens[j].key);
    }
}

static bool is_endpoint(const char *text)
{
    struct sockaddr_storage address;
    char numeric[32];
    if (strncmp(text, "tcp://", 6) != 0)
        return false;
    text += 6;
    if (dw_address_parse(text, &address))
        return true;
    /* A host name or, for binding, the name of an interface or *. */
    const char *colon = strrchr(text, ':');
    return colon && colon > text &&
           snprintf(numeric, sizeof numeric, "0.0.0.0%s", colon) < (int)sizeof numeric &&
           dw_address_parse(numeric, &address);
}

static void check_endpoints(struct check *check, const char *key, const struct dw_texts *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (!is_endpoint(endpoints->items[i]))
            complain(check, key, "expected tcp://address:port, found \"%.80s\"",
                     endpoints->items[i]);
}

static void check_broker(struct check *check)
{
    const struct dw_config *c = &check->config;
    check_endpoints(check, "broker.bind", &c->broker.bind);
    check_endpoints(check, "broker.guests", &c->broker.guests);
    for (size_t i = 0; i < c->broker.connect.count; i++) {
        const char *item = c->broker.connect.items[i], *equals = strchr(item, '=');
        if (!equals || equals == item || !is_endpoint(equals + 1))
            complain(check, "broker.connect", "expected NAME=tcp://host:port, found \"%.80s\"",
                     item);
    }
}

static void (*const checks[])(struct check *check) = {
    check_keys,   check_passwords, check_data,  check_store,
    check_places, check_listening, check_broker,
};

/* ---- the program ---- */

struct options {
    const char *file;
    bool print_defaults;
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'p':
        options->print_defaults = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            return ARGP_ERR_UNKNOWN;
        /* fall through */
    case 'c':
        options->file = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int print_defaults(void)
{
    struct dw_config config;
    dw_config_defaults(&config);
    dw_config_write(&config, stdout);
    dw_config_free(&config);
    return fflush(stdout) == 0 ? DW_EXIT_DONE : DW_EXIT_AWAY;
}

static int check_file(const char *path)
{
    struct check check = {.file = path};
    dw_config_load(path, &check.config, count_and_print, &check);
    char *clock_file = dw_config_resolve(&check.config, check.config.clock_file);
    dw_clock_use_file(*check.config.clock_file ? clock_file : NULL);
    dw_free(clock_file);
    /* Where a value was refused its default stands in: the rest can be looked at all the same. */
    for (size_t i = 0; !check.unreadable && i < DW_COUNT(checks); i++)
        checks[i](&check);
    dw_config_free(&check.config);
    if (check.problems)
        return DW_EXIT_CONFIG;
    printf("%s: ok\n", path);
    return DW_EXIT_DONE;
}

int main(int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"config", 'c', "FILE", 0,
         "settings (default: DENGWEN_CONFIG, else /etc/dengwen/dengwen.yaml)", 0},
        {"print-defaults", 'p', NULL, 0, "print the annotated file of all defaults, check nothing",
         0},
        {0}};
    static const struct argp argp = {
        known, parse_option, "[FILE]",
        "says what is wrong with the settings, as file:line: key: problem\v"
        "Ends with 0 when nothing is wrong, else with 78.",
        NULL, NULL, NULL};
    struct options options = {NULL, false};
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_program_version = "dengwen " DW_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    dw_process_harden(); /* sodium, for the signatures of the directory */
    return options.print_defaults ? print_defaults() : check_file(dw_config_path(options.file));
}
