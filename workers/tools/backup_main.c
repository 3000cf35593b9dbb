/* backup_main.c - dengwen backup: the store, as a file that is a store. */
#include "store_tool.h"

#include "dw/clock.h"
#include "dw/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_LEN = 4096 };

struct options {
    struct tool_options tool;
    const char *file, *from, *password;
};

static const struct argp_option known[] = {
    {"from", 'F', "URI", 0, "what is saved (default: store.uri of the settings)", 1},
    {"from-password-file", 'p', "FILE", 0, "password of the user in --from", 1},
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
    case 'p':
        o->password = arg;
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
    "Saves the store in a new file, while Dengwen runs.\v"
    "Given a folder, the file in it is called dengwen-DAY-TIME.db, UTC.  It is a SQLite store, whatever "
    "store it was made of, with a count and a hash of everything in it; `dengwen restore' brings it back "
    "into a store of either kind.  It appears under its name when it is whole and on the disk, and never "
    "replaces another.  What an interrupted backup leaves, FILE.unfinished, is made anew by the next one "
    "of that name.\n\n"
    "Of a SQLite store the backup is one moment of it; its log grows meanwhile, as nothing can be moved "
    "out of it that the backup still reads.  Of MongoDB it is not one moment: documents are read one after "
    "the other.  Each case is whole, as it was at some moment of the backup, with all that it names; but "
    "statistics may be a little ahead of their cases: `dengwen statistics rebuild' after a restore.  A "
    "large installation is served better by MongoDB's own means: mongodump --oplog, or snapshots of the "
    "disks.\n\n"
    "IN THE BACKUP: cases, receipts' handles, references, sealed objects, staff with their sealed keys, "
    "statistics, audit.  Whoever takes it can read no report, but sees how many there are, of which kinds, "
    "and who works here; keep it like the store.  The hashes find damage, not forgery; against that the "
    "events are signed.\n\n"
    "NOT IN IT, and on purpose not in one place with it:\n"
    "  the keys: keys/ and state/*/*.key.  Without those of state/keyd/ no receipt is found "
    "again, without state/notify/ no contact can be told, without keys/directory nothing starts.  Copy "
    "them with the settings after each `dengwen key' and `dengwen staff', to a medium of its own, locked "
    "away;\n"
    "  offline/, which should be gone from here anyway, and admin/;\n"
    "  filings that still wait in the broker's queue, state/broker/.  They were acknowledged and go to the "
    "store within a moment, or when it is back.  They are as safe as that disk; with receipt_after: store "
    "none is acknowledged before the store has it.\n\n"
    "Ends with 0 when the backup is whole, read again and compared; 1: the file is there already; 65: a "
    "document is damaged; 69: the server is away; 75: full or interrupted, try again; 78: the settings are "
    "wrong.";

/* ---- names ---- */

/* Of the file asked for, from where we stand and not from the settings. */
static void name_file(struct store_tool *t, const char *asked, char out[PATH_LEN])
{
    struct stat st;
    char here[PATH_LEN] = "", time[DW_TIME_TEXT], stamp[DW_TIME_TEXT];
    if (*asked != '/' && !getcwd(here, sizeof here))
        store_tool_die(t, DW_EXIT_CONFIG, asked, strerror(errno));
    int len = snprintf(out, PATH_LEN, "%s%s%s", here, *here ? "/" : "", asked);
    if (len < PATH_LEN && stat(out, &st) == 0 && S_ISDIR(st.st_mode)) {
        size_t n = 0;
        dw_time_format(dw_now(), time);
        for (const char *c = time; *c && *c != 'Z'; c++) /* 20260928-010203 */
            if (*c != '-' && *c != ':')
                stamp[n++] = *c == 'T' ? '-' : *c;
        stamp[n] = 0;
        len += snprintf(out + len, (size_t)(PATH_LEN - len), "/dengwen-%s.db", stamp);
    }
    if (len >= PATH_LEN - 40)
        store_tool_die(t, DW_EXIT_USAGE, asked, "is too long");
    if (access(out, F_OK) == 0)
        store_tool_die(t, DW_EXIT_NO, out, "is there already; nothing was changed");
}

/* A backup of another moment cannot be gone on with. */
static void remove_unfinished(const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char name[PATH_LEN + 16];
    for (size_t i = 0; i < DW_COUNT(ends); i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

static bool sync_path(const char *path, int how)
{
    int fd = open(path, how | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

/* link() and not rename(), which would replace what came there meanwhile. */
static void give_name(struct store_tool *t, const char *unfinished, const char *path)
{
    char folder[PATH_LEN];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    if (!sync_path(unfinished, O_RDONLY) || link(unfinished, path) != 0 || unlink(unfinished) != 0 ||
        !sync_path(*folder ? folder : "/", O_RDONLY | O_DIRECTORY))
        store_tool_die(t, errno == EEXIST ? DW_EXIT_NO : DW_EXIT_RETRY, path, strerror(errno));
}

/* ---- making it ---- */

static void save(struct store_tool *t, struct store_place *from, struct store_place *to,
                 dw_time made, struct dw_copy_sums *sums)
{
    struct dw_copy_sums found;
    struct dw_error err = {0};
    progress_phase(&t->progress, "saving ");
    enum dw_result result =
        dw_copy(from->store, to->store, from->name, &t->progress.progress, sums, &err);
    if (result != DW_OK)
        store_tool_die(t, store_tool_exit(result),
                       strcmp(err.field, "source") == 0 ? from->name : to->name, err.text);
    progress_phase(&t->progress, "comparing ");
    result = dw_copy_sums_of(to->store, &t->progress.progress, &found);
    if (result != DW_OK || dw_copy_difference(sums, &found))
        store_tool_die(t, DW_EXIT_DATA, to->name, "is not what was read: see the disk");
    sums->made = made;
    result = dw_copy_finish(to->store, sums);
    if (result != DW_OK)
        store_tool_die(t, store_tool_exit(result), to->name, "cannot be written just now");
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, parse_option, "FILE|FOLDER", help, children, NULL, NULL};
    struct options o = {0};
    struct store_tool t;
    struct store_place from, to;
    struct dw_copy_sums sums;
    char path[PATH_LEN], unfinished[PATH_LEN + 16], uri[PATH_LEN + 32];
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_program_version = "dengwen " DW_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    store_tool_begin(&t, "backup", &o.tool);
    name_file(&t, o.file, path);
    snprintf(unfinished, sizeof unfinished, "%s.unfinished", path);
    snprintf(uri, sizeof uri, "sqlite:%s", unfinished);
    remove_unfinished(unfinished);
    store_place_set(&t, &from, o.from, o.password);
    store_place_set(&t, &to, uri, NULL);
    store_place_open(&t, &from, DW_STORE_LOOK);
    dw_time made = dw_now(); /* nothing later than this is promised to be in it */
    store_place_open(&t, &to, DW_STORE_FILL);
    save(&t, &from, &to, made, &sums);
    store_place_close(&t, &from);
    store_place_close(&t, &to);
    give_name(&t, unfinished, path);
    progress_end(&t.progress);
    store_tool_print(&t, "saved", path, &sums);
    store_tool_end(&t);
    return DW_EXIT_DONE;
}
