/* restore_main.c - dengwen restore: a backup becomes the store. */
#include "store_tool.h"

#include "dw/clock.h"
#include "dw/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    struct tool_options tool;
    const char *file, *to, *password;
    bool dry;
};

static const struct argp_option known[] = {
    {"to", 'T', "URI", 0, "an empty place (default: store.uri of the settings)", 1},
    {"to-password-file", 'P', "FILE", 0, "password of the user in --to", 1},
    {"dry-run", 'n', NULL, 0, "only read the backup and compare its hashes", 1},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case 'T':
        o->to = arg;
        return 0;
    case 'P':
        o->password = arg;
        return 0;
    case 'n':
        o->dry = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->file)
            argp_usage(state);
        o->file = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->file)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char help[] =
    "Brings what `dengwen backup' has saved into an empty store.\v"
    "The backup is read and its hashes are compared before anything is written; --dry-run ends there, "
    "and is a good thing to do each time one was made, on the machine where it is kept.\n\n"
    "To come back after a loss:\n"
    "  1. stop Dengwen, and carry what is left of the store away: nothing is overwritten here;\n"
    "  2. put the settings, keys/ and state/ back as they were, except the store.  `dengwen backup --help' "
    "says which keys, and why they lie elsewhere; leave state/broker as it is if it is left, for filings "
    "wait there;\n"
    "  3. dengwen restore FILE;\n"
    "  4. dengwen doctor; start Dengwen; open a case.\n\n"
    "What happened after the backup was made is not in it: look for what reporters and other offices have "
    "written down.  A filing that was still in the queue arrives by itself.\n\n"
    "The target may be of the other kind: a backup of SQLite restores into MongoDB.  Killed, it goes on "
    "where it stopped when the same command is given again; until it is finished no case worker opens the "
    "store.  If the backup is of an older Dengwen, copy it and run `dengwen init-db --uri sqlite:COPY' "
    "first; then restore the copy.\n\n"
    "Ends with 0: all is there, and the same; 1: the target is occupied; 65: it is no backup, or is "
    "damaged; 69: the server is away; 75: in use, full or interrupted, try again; 78: the settings are "
    "wrong.";

/* Ends the process unless it is what it was when it was made. */
static void check(struct store_tool *t, struct store_place *backup, struct dw_copy_sums *kept)
{
    struct dw_copy_sums found;
    char text[160];
    progress_phase(&t->progress, "backup: checking ");
    enum dw_result result = dw_copy_kept_sums(backup->store, kept);
    if (result == DW_NOT_FOUND)
        store_tool_die(t, DW_EXIT_DATA, backup->name,
                       "is a store and no backup; to move a store: dengwen store copy");
    if (result == DW_OK)
        result = dw_copy_sums_of(backup->store, &t->progress.progress, &found);
    if (result != DW_OK)
        store_tool_die(t, DW_EXIT_DATA, backup->name, "cannot be read: it is damaged");
    const char *table = dw_copy_difference(kept, &found);
    if (!table)
        return;
    snprintf(text, sizeof text, "its %s are not as they were when it was made: it is damaged", table);
    store_tool_die(t, DW_EXIT_DATA, backup->name, text);
}

static void restore(struct store_tool *t, struct store_place *backup, struct store_place *to,
                    const struct dw_copy_sums *kept)
{
    struct dw_copy_sums copied, found;
    struct dw_error err = {0};
    char source[80], made[DW_TIME_TEXT];
    /* Not its path: the next try may find it elsewhere.  Two may be of one second. */
    snprintf(source, sizeof source, "the backup of %s (and %d ms)", dw_time_format(kept->made, made),
             (int)(kept->made % 1000));
    progress_phase(&t->progress, "restoring ");
    enum dw_result result =
        dw_copy(backup->store, to->store, source, &t->progress.progress, &copied, &err);
    if (result != DW_OK)
        store_tool_die(t, store_tool_exit(result),
                       strcmp(err.field, "source") == 0 ? backup->name : to->name, err.text);
    progress_phase(&t->progress, "comparing ");
    result = dw_copy_sums_of(to->store, &t->progress.progress, &found);
    if (result != DW_OK)
        store_tool_die(t, store_tool_exit(result), to->name, "cannot be read to compare");
    if (dw_copy_difference(kept, &found))
        store_tool_die(t, DW_EXIT_DATA, to->name, "is not what is in the backup: empty it, begin anew");
    result = dw_copy_finish(to->store, NULL);
    if (result != DW_OK)
        store_tool_die(t, store_tool_exit(result), to->name, "cannot be written just now");
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, parse_option, "FILE", help, children, NULL, NULL};
    struct options o = {0};
    struct store_tool t;
    struct store_place backup, to;
    struct dw_copy_sums kept;
    struct dw_error err = {0};
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_program_version = "dengwen " DW_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    store_tool_begin(&t, "restore", &o.tool);
    char *path = realpath(o.file, NULL);
    if (!path)
        store_tool_die(&t, DW_EXIT_DATA, o.file, "there is no such file");
    DW_AUTO_BUF uri = {0};
    dw_buf_init(&uri, 8192);
    dw_buf_printf(&uri, "sqlite:%s", path);
    store_place_set(&t, &backup, dw_buf_text(&uri), NULL);
    /* Not store_place_open(): what is wrong here is the file, and no setting. */
    if (dw_store_open_for(backup.uri, DW_STORE_LOOK, &backup.config, &backup.store, &err) != DW_OK)
        store_tool_die(&t, DW_EXIT_DATA, o.file, err.text);
    check(&t, &backup, &kept);
    if (!o.dry) {
        store_place_set(&t, &to, o.to, o.password);
        store_tool_keep_worker_out(&t, &to);
        store_place_open(&t, &to, DW_STORE_FILL);
        restore(&t, &backup, &to, &kept);
        store_place_close(&t, &to);
    }
    progress_end(&t.progress);
    store_tool_print(&t, o.dry ? "whole" : "restored", o.dry ? path : to.name, &kept);
    store_place_close(&t, &backup);
    free(path);
    store_tool_end(&t);
    return DW_EXIT_DONE;
}
