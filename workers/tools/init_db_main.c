/* init_db_main.c - dengwen init-db: a place becomes a store, an older store one of today. */
#include "store_tool.h"

#include "dw/process.h"

#include <stdio.h>

struct options {
    struct tool_options tool;
    const char *uri, *password;
};

static const struct argp_option known[] = {
    {"uri", 'u', "URI", 0, "sqlite:FILE or mongodb://HOST/DATABASE (default: store.uri of the settings)",
     1},
    {"password-file", 'p', "FILE", 0, "password of the user in --uri", 1},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case 'u':
        o->uri = arg;
        return 0;
    case 'p':
        o->password = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char help[] =
    "Makes the store: tables, validators and indexes, and a number for their version.\v"
    "Run again it does no harm: what is there stays, what is missing is made, so it also brings back an "
    "index that was lost.  A store that an older Dengwen has written is brought to this version; make a "
    "backup first, and stop every case worker that uses it.  In a file each step to the next version is "
    "done wholly or not at all; at MongoDB a step that was interrupted is done again.  A store that a newer "
    "Dengwen has written is refused.\n\n"
    "With SQLite nobody needs this command for a new store: the case worker makes its file.  With MongoDB "
    "neither, unless store.init is false, as where the case worker's user may not create collections.  "
    "Then run it as a user who may: --uri mongodb://ADMIN@HOST/DATABASE --password-file FILE.  Shard the "
    "collections by _id, if at all, before the first case.\n\n"
    "A file is looked for from the folder of the settings, as that in store.uri.\n\n"
    "Ends with 0 when the store is one of today; 69 the server is away; 75 a case worker is using an older "
    "store; 78 it is no store, or one of a newer Dengwen, or the "
    "settings are wrong.";

/* One of today may be in use: nothing of it changes. */
static void keep_worker_out_of_an_older_one(struct store_tool *t, struct store_place *place)
{
    struct dw_error err = {0};
    enum dw_result result =
        dw_store_open_for(place->uri, DW_STORE_LOOK, &place->config, &place->store, &err);
    if (result == DW_OK)
        store_place_close(t, place);
    else if (result == DW_RETRY)
        store_tool_die(t, DW_EXIT_AWAY, place->name, err.text);
    else
        store_tool_keep_worker_out(t, place);
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, parse_option, NULL, help, children, NULL, NULL};
    struct options o = {0};
    struct store_tool t;
    struct store_place place;
    struct dw_error err = {0};
    int from, to;
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_program_version = "dengwen " DW_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    store_tool_begin(&t, "init-db", &o.tool);
    store_place_set(&t, &place, o.uri, o.password);
    keep_worker_out_of_an_older_one(&t, &place);
    enum dw_result result =
        dw_store_make(place.uri, &place.config, &t.progress.progress, &from, &to, &err);
    if (result != DW_OK)
        store_tool_die(&t, result == DW_RETRY ? DW_EXIT_AWAY : DW_EXIT_CONFIG, place.name, err.text);
    progress_end(&t.progress);
    if (t.json)
        tool_print_json(json_pack("{s:s, s:i, s:i}", "store", place.name, "found", from, "version", to));
    else if (from == 0)
        printf("%s: made, version %d\n", place.name, to);
    else if (from < to)
        printf("%s: brought from version %d to %d\n", place.name, from, to);
    else
        printf("%s: is of version %d already\n", place.name, to);
    store_tool_end(&t);
    return DW_EXIT_DONE;
}
