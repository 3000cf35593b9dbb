#include "store_tool.h"

#include "dw/clock.h"
#include "dw/log.h"
#include "dw/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

void store_tool_begin(struct store_tool *t, const char *name, const struct tool_options *options)
{
    *t = (struct store_tool){.name = name, .json = options->json, .lock_fd = -1};
    dw_process_harden();
    dw_log_open(name, DW_ERROR);
    if (!dw_config_load(dw_config_path(options->config), &t->config, dw_config_problem_print, NULL))
        exit(DW_EXIT_CONFIG);
    if (*t->config.clock_file) {
        char *path = dw_config_resolve(&t->config, t->config.clock_file);
        dw_clock_use_file(path);
        dw_free(path);
    }
    progress_begin(&t->progress);
}

void store_tool_end(struct store_tool *t)
{
    if (t->lock_fd >= 0)
        close(t->lock_fd);
    dw_config_free(&t->config);
}

void store_tool_die(struct store_tool *t, int code, const char *what, const char *why)
{
    progress_end(&t->progress);
    fprintf(stderr, "dengwen %s: %s: %s\n", t->name, what, why);
    for (size_t i = 0; i < STORE_PLACES; i++)
        if (t->open[i])
            store_place_close(t, t->open[i]);
    exit(code);
}

int store_tool_exit(enum dw_result result)
{
    static const int codes[] = {[DW_OK] = DW_EXIT_DONE,       [DW_NOT_FOUND] = DW_EXIT_DATA,
                                [DW_CONFLICT] = DW_EXIT_NO,   [DW_INVALID] = DW_EXIT_DATA,
                                [DW_RETRY] = DW_EXIT_RETRY,   [DW_UNCERTAIN] = DW_EXIT_RETRY};
    return codes[result];
}

/* ---- places ---- */

/* Where it lies, whatever links lead there; it need not be there yet, but its folder. */
static void name_file(struct store_place *p, const char *path)
{
    char *absolute = dw_config_resolve(&p->config, path);
    char *file = realpath(absolute, NULL), *slash = strrchr(absolute, '/');
    if (!file && slash) {
        *slash = 0;
        char *folder = realpath(slash == absolute ? "/" : absolute, NULL);
        snprintf(p->name, sizeof p->name, "sqlite:%s/%s", folder ? folder : absolute, slash + 1);
        free(folder);
    } else {
        snprintf(p->name, sizeof p->name, "sqlite:%s", file ? file : absolute);
    }
    free(file);
    dw_free(absolute);
}

/* Without user and options. */
static void name_server(struct store_place *p, const char *rest)
{
    const char *at = memrchr(rest, '@', strcspn(rest, "/")), *hosts = at ? at + 1 : rest;
    snprintf(p->name, sizeof p->name, "mongodb://%.*s", (int)strcspn(hosts, "?"), hosts);
}

static const char sqlite_scheme[] = "sqlite:", mongodb_scheme[] = "mongodb://";

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

void store_place_set(struct store_tool *t, struct store_place *p, const char *uri,
                     const char *password_file)
{
    static char none[] = "";
    *p = (struct store_place){.uri = uri ? uri : t->config.store.uri, .config = t->config};
    bool of_settings = strcmp(p->uri, t->config.store.uri) == 0;
    if (password_file)
        p->config.store.password_file = (char *)password_file;
    else if (!of_settings)
        p->config.store.password_file = none;
    if (begins(p->uri, sqlite_scheme))
        name_file(p, p->uri + strlen(sqlite_scheme));
    else if (begins(p->uri, mongodb_scheme))
        name_server(p, p->uri + strlen(mongodb_scheme));
    else
        store_tool_die(t, DW_EXIT_USAGE, "URI", /* not repeated: there may be a password in it */
                       "expected sqlite:FILE or mongodb://HOST/DATABASE");
}

void store_place_open(struct store_tool *t, struct store_place *p, enum dw_store_use use)
{
    struct dw_error err = {0};
    enum dw_result result = dw_store_open_for(p->uri, use, &p->config, &p->store, &err);
    if (result != DW_OK)
        store_tool_die(t, result == DW_RETRY ? DW_EXIT_AWAY : DW_EXIT_CONFIG, p->name, err.text);
    size_t free_one = t->open[0] ? 1 : 0;
    t->open[free_one] = p;
}

void store_place_close(struct store_tool *t, struct store_place *p)
{
    dw_store_close(p->store);
    p->store = NULL;
    for (size_t i = 0; i < STORE_PLACES; i++)
        if (t->open[i] == p)
            t->open[i] = NULL;
}

/* ---- the case worker ---- */

void store_tool_keep_worker_out(struct store_tool *t, const struct store_place *p)
{
    struct store_place served;
    store_place_set(t, &served, NULL, NULL);
    if (t->lock_fd >= 0 || strcmp(served.name, p->name) != 0)
        return;
    char *state = dw_config_state(&t->config, "case");
    t->lock_fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->lock_fd < 0 && errno != ENOENT)
        store_tool_die(t, DW_EXIT_CONFIG, state, strerror(errno));
    if (t->lock_fd >= 0 && flock(t->lock_fd, LOCK_EX | LOCK_NB) != 0)
        store_tool_die(t, DW_EXIT_RETRY, p->name,
                       "the case worker is using it: stop Dengwen first");
    dw_free(state);
}

/* ---- what there is ---- */

static json_t *sum_json(const struct dw_copy_sum *sum)
{
    char hash[65];
    return json_pack("{s:I, s:I, s:s}", "count", (json_int_t)sum->count, "bytes",
                     (json_int_t)sum->bytes, "hash", dw_hex(hash, sum->hash, sizeof sum->hash));
}

static void print_json(const char *done, const char *name, const struct dw_copy_sums *sums)
{
    json_t *all = json_object();
    for (size_t i = 0; i < DW_TABLES; i++)
        json_object_set_new(all, dw_table_names[i], sum_json(&sums->tables[i]));
    tool_print_json(json_pack("{s:s, s:s, s:o}", "done", done, "store", name, "holds", all));
}

void store_tool_print(const struct store_tool *t, const char *done, const char *name,
                      const struct dw_copy_sums *sums)
{
    char hash[65];
    if (t->json) {
        print_json(done, name, sums);
        return;
    }
    printf("%s: %s\n", done, name);
    for (size_t i = 0; i < DW_TABLES; i++) {
        const struct dw_copy_sum *sum = &sums->tables[i];
        printf("  %-10s %10lld  %14lld bytes  %.16s\n", dw_table_names[i], (long long)sum->count,
               (long long)sum->bytes, dw_hex(hash, sum->hash, sizeof sum->hash));
    }
}
