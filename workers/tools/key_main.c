/* key_main.c - dengwen key: what the signed directory says, and changing it. */
#include "admin.h"
#include "key_guests.h"
#include "keymaking.h"

#include "dw/process.h"
#include "dw/services.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MONTHS = 13 };

struct options {
    struct tool_options tool;
    const char *role;
    const char *words[2];
    size_t count;
};

static const struct argp_option known[] = {
    {"role", 'r', "ROLE", 0, "of the program: client, or worker:SERVICE", 1}, {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case 'r':
        o->role = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->count == DW_COUNT(o->words))
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

static const char *type_name(enum dw_grantee type)
{
    static const char *const names[] = {[DW_TO_BODY] = "body",
                                        [DW_TO_ESCROW] = "escrow",
                                        [DW_TO_REPORTER] = "reporter",
                                        [DW_TO_NOTIFIER] = "notifier",
                                        [DW_TO_CUSTODIAN] = "custodian"};
    return (unsigned)type < DW_COUNT(names) && names[type] ? names[type] : "?";
}

static void do_list(struct admin *admin, const struct options *o)
{
    const struct dw_directory *d = admin->dir;
    char from[DW_DAY_TEXT], until[DW_DAY_TEXT];
    json_t *list = json_array();
    for (size_t i = 0; i < d->programs_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "type", d->programs[i].role,
                                              "id", d->programs[i].name, "from",
                                              dw_day_format(d->programs[i].from, from), "until",
                                              dw_day_format(d->programs[i].until, until)));
    for (size_t i = 0; i < d->keys_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:s, s:s}", "type",
                                              type_name(d->keys[i].type), "id", d->keys[i].id,
                                              "epoch", (int)d->keys[i].epoch, "from",
                                              dw_day_format(d->keys[i].from, from), "until",
                                              dw_day_format(d->keys[i].until, until)));
    size_t i;
    json_t *item;
    if (!o->tool.json) {
        printf("directory %lld, site key until %s\n", (long long)d->serial,
               dw_day_format(d->until, until));
        json_array_foreach(list, i, item) printf(
            "%-10s %-16s %6lld  %s to %s\n", json_string_value(json_object_get(item, "type")),
            json_string_value(json_object_get(item, "id")),
            (long long)json_integer_value(json_object_get(item, "epoch")),
            json_string_value(json_object_get(item, "from")),
            json_string_value(json_object_get(item, "until")));
        json_decref(list);
    } else {
        tool_print_json(list);
    }
}

static struct dw_public_key *find(struct dw_directory *draft, const struct dw_epoch *e)
{
    for (size_t i = 0; i < draft->keys_count; i++)
        if (draft->keys[i].type == (enum dw_grantee)e->type && draft->keys[i].epoch == e->epoch &&
            strcmp(draft->keys[i].id, e->body) == 0)
            return &draft->keys[i];
    return NULL;
}

/* Keys of bodies that their members have made since the last signing. */
static size_t publish_epochs(struct admin *admin, struct dw_directory *draft, dw_day today,
                             dw_day until)
{
    struct dw_epochs_view view;
    size_t fresh = 0;
    admin_ask(admin, "epochs", NULL, NULL, &dw_epochs_view_layout, &view);
    for (size_t i = 0; i < view.epochs_count; i++) {
        const struct dw_epoch *e = &view.epochs[i];
        struct dw_public_key *k = find(draft, e);
        if (k && memcmp(k->key, e->public, DW_KEY_LEN) != 0) {
            fprintf(stderr,
                    "the store has another key for %s %d than the directory: not signed; "
                    "find out who changed it\n",
                    e->body, e->epoch);
            exit(DW_EXIT_DATA);
        }
        if (e->seals_count < 2) {
            fprintf(stderr, "the key of %s has fewer than two holders: not published\n", e->body);
            continue;
        }
        if (!k) {
            k = dw_draft_key(draft, (enum dw_grantee)e->type, e->body, e->epoch);
            memcpy(k->key, e->public, DW_KEY_LEN);
            k->from = today;
            fresh++;
        }
        k->until = until;
    }
    return fresh;
}

static void do_renew(struct admin *admin, const struct options *o)
{
    struct dw_site site;
    struct dw_directory *draft;
    struct dw_error err = {0};
    char text[DW_DAY_TEXT];
    dw_day today = dw_day_of(dw_now());
    (void)o;
    if (dw_site_load(&admin->config, &site, &err) != DW_OK ||
        dw_directory_reopen(&admin->config, &draft, &err) != DW_OK ||
        dw_make_months(&admin->config, draft, today, MONTHS, &err) != DW_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(DW_EXIT_CONFIG);
    }
    size_t fresh = publish_epochs(admin, draft, today, site.until);
    if (dw_directory_publish(&admin->config, &site, draft, &err) != DW_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(DW_EXIT_NO);
    }
    printf("directory %lld signed, %zu new keys of bodies, valid until %s\n",
           (long long)draft->serial + 1, fresh, dw_day_format(site.until, text));
    dw_directory_free(draft);
    dw_site_free(&site);
}

static void do_add(struct admin *admin, const struct options *o)
{
    key_add(admin, o->role, o->words[1]);
}

static void do_revoke(struct admin *admin, const struct options *o)
{
    key_revoke(admin, o->words[1]);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *word;
        size_t names; /* words behind it */
        void (*run)(struct admin *admin, const struct options *o);
    } commands[] = {
        {"list", 0, do_list}, {"add", 1, do_add}, {"revoke", 1, do_revoke}, {"renew", 0, do_renew}};
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        known,
        parse_option,
        "list\nadd --role ROLE NAME\nrevoke NAME\nrenew",
        "Shows the signed directory of keys, or signs it anew with the site key.\v"
        "add makes a key for a program of somebody else's and writes it to NAME.yaml (public, "
        "secret, "
        "broker, endpoints). A client may call services that are not ours, a worker:SERVICE may "
        "serve "
        "that one; they connect to the addresses of broker.guests. revoke takes such a key out: "
        "the "
        "broker ends its connections within a second.\n\n"
        "renew publishes keys that bodies have made for themselves and makes the notifier's keys "
        "of "
        "the coming months. The site key itself ends on the day that list shows: a new one wants "
        "the root key.",
        children,
        NULL,
        NULL};
    struct options o = {.tool = {0}};
    struct admin admin;
    size_t which = 0;
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    while (which < DW_COUNT(commands) && strcmp(commands[which].word, o.words[0]) != 0)
        which++;
    if (which == DW_COUNT(commands) || o.count != 1 + commands[which].names ||
        (o.role && commands[which].run != do_add)) {
        fprintf(stderr, "dengwen key: expected list, add --role ROLE NAME, revoke NAME or renew\n");
        return DW_EXIT_USAGE;
    }
    admin_begin(&admin, &o.tool);
    commands[which].run(&admin, &o);
    admin_end(&admin);
    return 0;
}
