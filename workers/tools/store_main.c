/* store_main.c - dengwen store copy: all of one store into another. */
#include "store_tool.h"

#include "dw/process.h"

#include <stdio.h>
#include <string.h>

struct options {
    struct tool_options tool;
    const char *from, *to, *from_password, *to_password;
    bool named; /* "copy" was said */
};

static const struct argp_option known[] = {
    {"from", 'F', "URI", 0, "what is copied (default: store.uri of the settings)", 1},
    {"to", 'T', "URI", 0, "an empty place, or an unfinished copy of the same", 1},
    {"from-password-file", 'p', "FILE", 0, "password of the user in --from", 1},
    {"to-password-file", 'P', "FILE", 0, "password of the user in --to", 1},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case 'F':
        o->from = arg;
        return 0;
    case 'T':
        o->to = arg;
        return 0;
    case 'p':
        o->from_password = arg;
        return 0;
    case 'P':
        o->to_password = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->named || strcmp(arg, "copy") != 0)
            argp_usage(state);
        o->named = true;
        return 0;
    case ARGP_KEY_END:
        if (!o->named || !o->to)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char help[] =
    "Copies a store into another, from SQLite to MongoDB, back, or between two of a kind.\v"
    "sqlite:FILE and mongodb://[USER@]HOST[,HOST...]/DATABASE are the places, as in store.uri; a file is "
    "looked for from the folder of the settings.\n\n"
    "Everything goes along: cases, receipts, references, sealed objects, staff with their sealed keys, "
    "statistics, audit.  It goes as it lies there; nothing is opened, and no key is needed.  Filings that "
    "wait in the broker's queue are not in the store: they arrive in whichever store the case worker "
    "serves next.\n\n"
    "Stop every case worker of the source first.  That of these settings is kept out while this command "
    "runs; of others on other machines it knows nothing.  So the source is read a second time at the end: "
    "if it was written meanwhile, the command says so, ends with 1, and the target stays an unfinished "
    "copy that no case worker opens.  Empty the target then, and begin anew.\n\n"
    "Killed, or out of disk, it goes on where it stopped when the same command is given again.  At the end "
    "the target is read too, and the numbers and hashes of all three are compared.  Then set store.uri to "
    "the new one and start Dengwen; keep the old one until you trust the new.\n\n"
    "Ends with 0: all is there, and the same; 1: the target is occupied, or the source was written; 65: a "
    "document is damaged, or the hashes differ; 69: a server is away; 75: in use, full or interrupted, try "
    "again; 78: a URI or the settings are wrong.";

static void compare(struct store_tool *t, const struct store_place *place,
                    const struct dw_copy_sums *copied, int code, const char *why)
{
    struct dw_copy_sums found;
    char text[200];
    enum dw_result result = dw_copy_sums_of(place->store, &t->progress.progress, &found);
    if (result != DW_OK)
        store_tool_die(t, store_tool_exit(result), place->name, "cannot be read to compare");
    const char *table = dw_copy_difference(copied, &found);
    if (!table)
        return;
    snprintf(text, sizeof text, "its %s %s", table, why);
    store_tool_die(t, code, place->name, text);
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, parse_option, "copy --to=URI", help, children, NULL, NULL};
    struct options o = {0};
    struct store_tool t;
    struct store_place from, to;
    struct dw_copy_sums copied;
    struct dw_error err = {0};
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_program_version = "dengwen " DW_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    store_tool_begin(&t, "store copy", &o.tool);
    store_place_set(&t, &from, o.from, o.from_password);
    store_place_set(&t, &to, o.to, o.to_password);
    if (strcmp(from.name, to.name) == 0)
        store_tool_die(&t, DW_EXIT_USAGE, to.name, "is the source itself");
    store_tool_keep_worker_out(&t, &from);
    store_tool_keep_worker_out(&t, &to);
    store_place_open(&t, &from, DW_STORE_LOOK);
    store_place_open(&t, &to, DW_STORE_FILL);
    progress_phase(&t.progress, "copying ");
    enum dw_result result =
        dw_copy(from.store, to.store, from.name, &t.progress.progress, &copied, &err);
    if (result != DW_OK)
        store_tool_die(&t, store_tool_exit(result),
                       strcmp(err.field, "source") == 0 ? from.name : to.name, err.text);
    progress_phase(&t.progress, "target: comparing ");
    compare(&t, &to, &copied, DW_EXIT_DATA, "are not what was copied");
    /* A file is seen as it was when it was opened: as it is now, when it is opened again. */
    store_place_close(&t, &from);
    store_place_open(&t, &from, DW_STORE_LOOK);
    progress_phase(&t.progress, "source: comparing ");
    compare(&t, &from, &copied, DW_EXIT_NO,
            "were written since the copy began: stop every case worker that uses it, empty the target "
            "and begin anew");
    result = dw_copy_finish(to.store, NULL);
    if (result != DW_OK)
        store_tool_die(&t, store_tool_exit(result), to.name, "cannot be written just now");
    progress_end(&t.progress);
    store_tool_print(&t, "copied and compared", to.name, &copied);
    store_place_close(&t, &from);
    store_place_close(&t, &to);
    store_tool_end(&t);
    return DW_EXIT_DONE;
}
