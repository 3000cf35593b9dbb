/* statistics_main.c - dengwen statistics: the counters of the store, shown, and made anew from its cases.
 *
 * Works at the store itself, so it wants the rights of the case worker, and none of its keys. */
#include "tool_data.h"

#include "dw/log.h"
#include "dw/process.h"
#include "dw/statistics.h"
#include "dw/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARENA_MAX = 64 * 1024 * 1024, PAUSE_MS = 60000, TELL_EVERY = 100000, CODE_TEXT = 64 };

struct options {
    struct tool_options tool;
    const char *word, *area, *by, *from, *to;
    bool check;
};

enum { AREA = 256, BY, FROM, TO, CHECK };
static const struct argp_option known[] = {
    {"area", AREA, "BODY", 0, "show: a body with all below it, such as 500108 (default: 500000)", 1},
    {"by", BY, "THING", 0, "show: month (default), day, body, against, act, state, workload, ...", 1},
    {"from", FROM, "DAY", 0, "show: first day, such as 2026-11-01 (default: of this month)", 1},
    {"to", TO, "DAY", 0, "show: last day (default: of this month)", 1},
    {"check", CHECK, NULL, 0, "rebuild: only say what is wrong", 1},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case AREA:
        o->area = arg;
        return 0;
    case BY:
        o->by = arg;
        return 0;
    case FROM:
        o->from = arg;
        return 0;
    case TO:
        o->to = arg;
        return 0;
    case CHECK:
        o->check = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->word)
            argp_usage(state);
        o->word = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What both commands need. */
struct place {
    struct dw_config config;
    struct dw_routing *routing;
};

static struct dw_store *open_store(const struct place *p, enum dw_store_use use)
{
    struct dw_store *store;
    struct dw_error err = {0};
    enum dw_result result = dw_store_open_for(p->config.store.uri, use, &p->config, &store, &err);
    if (result == DW_OK)
        return store;
    fprintf(stderr, "dengwen statistics: %s\n", err.text);
    exit(result == DW_RETRY ? DW_EXIT_AWAY : DW_EXIT_CONFIG);
}

static int tell_failure(enum dw_result result)
{
    static const struct {
        enum dw_result result;
        int code;
        const char *text;
    } failures[] = {
        {DW_CONFLICT, DW_EXIT_RETRY, "somebody counted meanwhile, or another rebuild is at work; again"},
        {DW_RETRY, DW_EXIT_AWAY, "the store is away"},
        {DW_UNCERTAIN, DW_EXIT_RETRY, "the store did not say whether it was done; again"},
        {DW_INVALID, DW_EXIT_DATA, "a document of statistics, or a case, cannot be read or written"}};
    for (size_t i = 0; i < DW_COUNT(failures); i++)
        if (failures[i].result == result) {
            fprintf(stderr, "dengwen statistics: %s\n", failures[i].text);
            return failures[i].code;
        }
    return DW_EXIT_DONE;
}

/* ---- show ---- */

static bool read_day(const char *option, const char *text, dw_day *ret)
{
    if (!text || dw_day_parse(text, ret))
        return true;
    fprintf(stderr, "dengwen statistics: --%s: expected a day such as 2026-11-01\n", option);
    return false;
}

static void print_rows(const struct dw_statistics_view *view, bool json)
{
    json_t *list = json_array();
    for (size_t i = 0; i < view->cells_count; i++) {
        char value[CODE_TEXT], kind[CODE_TEXT], measure[CODE_TEXT];
        if (sscanf(view->cells[i], "%63[^/]/%63[^/]/%63s", value, kind, measure) != 3)
            continue;
        if (json)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i}", "value", value, "kind", kind,
                                                  "measure", measure, "count", (int)view->counts[i]));
        else
            printf("%-24s %-10s %-16s %8d\n", value, kind, measure, (int)view->counts[i]);
    }
    if (json)
        tool_print_json(json_pack("{s:s, s:s, s:b, s:o}", "area", view->area, "by", view->by, "behind",
                                  view->behind, "rows", list));
    else
        json_decref(list);
}

static int do_show(const struct place *p, const struct options *o)
{
    struct dw_statistics_query query = {.by = o->by};
    struct dw_statistics_view view;
    struct dw_error err = {0};
    DW_AUTO_ARENA arena = {0};
    const char *area = o->area ? o->area : "500000";
    if (!read_day("from", o->from, &query.from) || !read_day("to", o->to, &query.to))
        return DW_EXIT_USAGE;
    if (dw_statistics_check(&query, dw_day_of(dw_now()), p->config.cases.statistics_months, &err) !=
        DW_OK) {
        fprintf(stderr, "dengwen statistics: --%s: %s\n", err.field, err.text);
        return DW_EXIT_USAGE;
    }
    if (!dw_body_find(p->routing, area)) {
        fprintf(stderr, "dengwen statistics: --area: expected the id of a body\n");
        return DW_EXIT_USAGE;
    }
    dw_arena_init(&arena, ARENA_MAX);
    struct dw_store *store = open_store(p, DW_STORE_LOOK);
    enum dw_result result = dw_statistics_read(store, area, &query, &arena, &view);
    if (result == DW_OK) {
        print_rows(&view, o->tool.json);
        if (view.behind)
            fprintf(stderr, "Events wait to be counted.\n");
    }
    dw_store_close(store);
    return tell_failure(result);
}

/* ---- rebuild ---- */

static void tell_progress(void *arg, int64_t cases)
{
    (void)arg;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%lld cases", (long long)cases);
    else if (cases % TELL_EVERY == 0)
        fprintf(stderr, "%lld cases\n", (long long)cases);
}

static void print_found(const struct dw_rebuild *r, bool json)
{
    const struct {
        const char *name;
        int64_t n;
    } found[] = {{"cases", r->cases},         {"behind", r->behind}, {"unreadable", r->unreadable},
                 {"documents", r->documents}, {"wrong", r->wrong},   {"repaired", r->repaired}};
    json_t *object = json_object();
    for (size_t i = 0; i < DW_COUNT(found); i++) {
        json_object_set_new(object, found[i].name, json_integer(found[i].n));
        if (!json)
            printf("%-12s %lld\n", found[i].name, (long long)found[i].n);
    }
    if (json)
        tool_print_json(object);
    else
        json_decref(object);
}

static int do_rebuild(const struct place *p, const struct options *o)
{
    struct dw_rebuild rebuild = {.store = open_store(p, DW_STORE_SERVE),
                                 .walked = open_store(p, DW_STORE_SERVE),
                                 .routing = p->routing,
                                 .check_only = o->check,
                                 .pause_ms = PAUSE_MS,
                                 .now = dw_now,
                                 .progress = tell_progress};
    enum dw_result result = dw_statistics_rebuild(&rebuild);
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    dw_store_close(rebuild.walked);
    dw_store_close(rebuild.store);
    if (result != DW_OK)
        return tell_failure(result);
    print_found(&rebuild, o->tool.json);
    if (rebuild.unreadable)
        fprintf(stderr, "Cases that cannot be read are counted nowhere.\n");
    return rebuild.wrong > rebuild.repaired || rebuild.unreadable ? DW_EXIT_NO : DW_EXIT_DONE;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *word;
        int (*run)(const struct place *, const struct options *);
    } commands[] = {{"show", do_show}, {"rebuild", do_rebuild}};
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        known, parse_option, "show [--area BODY] [--by THING] [--from DAY --to DAY]\nrebuild [--check]",
        "Shows the counters that managers see, or computes them anew from the events of all cases.\v"
        "rebuild compares each counter with the cases and replaces what is wrong. It may run while "
        "everything runs: new events wait to be counted until it ends. It is for a damaged or restored "
        "store, and for a change of `superior` in bodies.yaml; otherwise it finds nothing.\n\n"
        "Runs as the user who owns the store. Ends with 0; 1 when something is wrong and stays so; 69 when "
        "the store is away; 75 when it has to be run again.",
        children, NULL, NULL};
    struct options o = {.word = NULL};
    struct place place = {.routing = NULL};
    struct dw_error err = {0};
    int code = DW_EXIT_USAGE;
    size_t which = 0;
    argp_program_version = "dengwen " DW_VERSION;
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    while (which < DW_COUNT(commands) && (!o.word || strcmp(commands[which].word, o.word) != 0))
        which++;
    if (which == DW_COUNT(commands)) {
        fprintf(stderr, "dengwen statistics: expected show or rebuild\n");
        return code;
    }
    dw_process_harden();
    dw_log_open("dengwen", DW_WARN);
    if (!dw_config_load(dw_config_path(o.tool.config), &place.config, dw_config_problem_print, NULL))
        exit(DW_EXIT_CONFIG);
    char *clock_file = dw_config_resolve(&place.config, place.config.clock_file);
    dw_clock_use_file(*place.config.clock_file ? clock_file : NULL);
    char *folder = dw_config_data_folder(&place.config);
    if (dw_routing_load(folder, &place.routing, &err) != DW_OK)
        tool_bad_data(folder, &err);
    code = commands[which].run(&place, &o);
    dw_routing_free(place.routing);
    dw_free(folder);
    dw_free(clock_file);
    dw_config_free(&place.config);
    return code;
}
