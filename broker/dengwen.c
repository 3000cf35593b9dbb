/* dengwen: the front command.  `dengwen NAME ...` becomes dengwen-NAME, which does the work. */
#include "programs.h"

#include "dw/bytes.h"
#include "dw/process.h"
#include "dw/result.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum group { RUN, CASES, ADMINISTRATION, LOOK_UP, PARTS };

static const char *const groups[] = {
    [RUN] = "run it",
    [CASES] = "work with cases",
    [ADMINISTRATION] = "administration",
    [LOOK_UP] = "look things up",
    [PARTS] = "programs started by run",
};

static const struct command {
    const char *name;
    enum group group;
    const char *does;
} commands[] = {
    {"init", RUN, "make keys, folders and settings of a new installation"},
    {"run", RUN, "start all parts, watch them, end them in order"},
    {"check-config", RUN, "say what is wrong with the settings"},
    {"doctor", RUN, "say what is wrong with this machine and what to do"},
    {"case", CASES, "list, show and handle cases, as a member of staff"},
    {"staff", ADMINISTRATION, "add, list, reset and disable members of staff"},
    {"key", ADMINISTRATION, "add, list, revoke and renew keys of programs"},
    {"queue", ADMINISTRATION, "look at the broker's queue and its dead letters"},
    {"init-db", ADMINISTRATION, "make the store, or bring an older one up to date"},
    {"store", ADMINISTRATION, "copy a store, from SQLite to MongoDB or back"},
    {"backup", ADMINISTRATION, "save the store in a file"},
    {"restore", ADMINISTRATION, "bring a backup into an empty store, or check it"},
    {"statistics", ADMINISTRATION, "show the counters for managers, or compute them anew"},
    {"audit", ADMINISTRATION, "check that the record of who did what is whole"},
    {"due", LOOK_UP, "compute a due date and explain it"},
    {"route", LOOK_UP, "tell which body is responsible, and why"},
    {"states", LOOK_UP, "print what can happen to a case in which state"},
    {"ops", PARTS, "health and metrics"},
    {"keyd", PARTS, "secrets of receipts and blind indexes"},
    {"broker", PARTS, "messages and the durable queue"},
    {"casework", PARTS, "cases, legal clocks, the store"},
    {"notify", PARTS, "e-mail and SMS"},
    {"desk", PARTS, "pages and API of the staff"},
    {"web", PARTS, "public pages and API"},
};

/* ---- words ---- */

static char *command_list(void)
{
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 16384);
    dw_buf_str(&out, "Commands:\n");
    for (size_t g = 0; g < DW_COUNT(groups); g++) {
        dw_buf_printf(&out, "\n %s\n", groups[g]);
        for (size_t i = 0; i < DW_COUNT(commands); i++)
            if (commands[i].group == (enum group)g)
                dw_buf_printf(&out, "  %-13s %s\n", commands[i].name, commands[i].does);
    }
    dw_buf_str(&out, "\n`dengwen help COMMAND' tells more.  Settings: -c FILE, else "
                     "DENGWEN_CONFIG, else /etc/dengwen/dengwen.yaml.");
    return strdup(dw_buf_text(&out));
}

static char *help_text(int key, const char *text, void *input)
{
    (void)input;
    return key == ARGP_KEY_HELP_POST_DOC ? command_list() : (char *)text;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters must be changed, put in, taken out or swapped with their neighbour. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 24 };
    size_t rows[MAX + 1][MAX + 1], m = strlen(a), n = strlen(b);
    if (m > MAX || n > MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= m; i++) {
        for (size_t j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            rows[i][j] = least(rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
                               least(rows[i - 1][j], rows[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                rows[i][j] = least(rows[i][j], rows[i - 2][j - 2] + 1);
        }
    }
    return rows[m][n];
}

/* NULL when nothing is near enough to be meant. */
static const char *nearest(const char *name)
{
    const char *best = NULL;
    size_t best_distance = strlen(name) / 2 + 1;
    for (size_t i = 0; i < DW_COUNT(commands); i++) {
        size_t d = distance(name, commands[i].name);
        if (strlen(name) >= 3 && strncmp(commands[i].name, name, strlen(name)) == 0)
            d = 0; /* the beginning of a name is a better guess than any typing error */
        if (d < best_distance) {
            best = commands[i].name;
            best_distance = d;
        }
    }
    return best;
}

/* ---- becoming the other program ---- */

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < DW_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static _Noreturn void refuse(const char *name)
{
    const char *meant = nearest(name);
    fprintf(stderr, "dengwen: there is no command \"%s\".%s%s%s\n", name,
            meant ? "  Did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
    fputs("`dengwen --help' lists them.\n", stderr);
    exit(DW_EXIT_USAGE);
}

/* argv[0] is replaced by the name. */
static _Noreturn void become(char **argv, const char *name)
{
    const struct command *command = find(name);
    char title[64];
    if (!command)
        refuse(name);
    char *path = dw_program_path(command->name);
    if (!path) {
        fprintf(stderr, "dengwen: dengwen-%s lies neither beside dengwen nor in " DW_LIBEXEC "\n",
                command->name);
        exit(DW_EXIT_AWAY);
    }
    snprintf(title, sizeof title, "dengwen %s", command->name); /* as its usage line shows it */
    argv[0] = title;
    execv(path, argv);
    fprintf(stderr, "dengwen: %s: %s\n", path, strerror(errno));
    exit(DW_EXIT_AWAY);
}

struct options {
    int command; /* index in argv; 0 for none */
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'c':
        if (setenv("DENGWEN_CONFIG", arg, 1) != 0)
            argp_failure(state, DW_EXIT_AWAY, errno, "-c");
        return 0;
    case ARGP_KEY_ARG:
        options->command = state->next - 1;
        state->next = state->argc; /* the rest is for the other program */
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"config", 'c', "FILE", 0, "settings, for the command", 0}, {0}};
    static const struct argp argp = {
        known, parse_option, "COMMAND [ARGUMENT...]",
        "Dengwen tracks complaints and reports of medical-insurance fraud.\v ",
        NULL, help_text, NULL};
    struct options options = {0};

    argp_err_exit_status = DW_EXIT_USAGE;
    argp_program_version = "dengwen " DW_VERSION;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &options);
    if (!options.command) {
        argp_help(&argp, stderr, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, "dengwen");
        return DW_EXIT_USAGE;
    }
    char **rest = argv + options.command;
    if (strcmp(*rest, "help") != 0)
        become(rest, *rest);
    if (rest[1])
        become((char *[]){NULL, "--help", NULL}, rest[1]);
    argp_parse(&argp, 2, (char *[]){"dengwen", "--help", NULL}, 0, NULL, &options);
    return DW_EXIT_DONE; /* not reached: --help exits */
}
