/* staff_main.c - dengwen staff: invites, lists, resets and disables members.
 *
 * The command signs an invitation with the site key and prints a one-time code.  The member types it
 * at the desk and chooses a password: nobody but the member ever knows the member's keys. */
#include "admin.h"
#include "keymaking.h"

#include "dw/process.h"
#include "dw/services.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    struct tool_options tool;
    const char *words[4];
    size_t count;
    const char *body;
    const char *roles[DW_MEMBER_ROLES_MAX];
    size_t roles_count;
};

static const char *const known_roles[] = {"inspector", "custodian", "manager", "operator"};

static const struct argp_option known[] = {
    {"body", 'b', "ID", 0, "body of the new member, like 500108", 1},
    {"role", 'r', "ROLE", 0, "inspector, custodian, manager or operator; may be given again", 1},
    {0}};

static void add_role(struct argp_state *state, struct options *o, const char *role)
{
    size_t i = 0;
    while (i < DW_COUNT(known_roles) && strcmp(known_roles[i], role) != 0)
        i++;
    if (i == DW_COUNT(known_roles) || o->roles_count == DW_MEMBER_ROLES_MAX)
        argp_error(state, "--role: expected inspector, custodian, manager or operator");
    o->roles[o->roles_count++] = known_roles[i];
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case 'b':
        o->body = arg;
        return 0;
    case 'r':
        add_role(state, o, arg);
        return 0;
    case ARGP_KEY_ARG:
        if (o->count == 3)
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

/* ---- the commands ---- */

static void invite(struct admin *admin, struct dw_member *member)
{
    struct dw_site site;
    struct dw_error err = {0};
    struct dw_done done;
    char code[DW_CODE_TEXT];
    if (dw_site_load(&admin->config, &site, &err) != DW_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(DW_EXIT_CONFIG);
    }
    member->invited = dw_day_of(dw_now());
    dw_member_invite(member, &site.signer, code);
    dw_site_free(&site);
    admin_ask(admin, "invite", &dw_member_layout, member, &dw_done_layout, &done);
    printf("%s %s\none-time code: %s\n", member->user, done.state, code);
    fprintf(stderr, "Give the code to the member, who enrols at the staff portal with a password "
                    "of their own.\n");
    dw_wipe(code, sizeof code);
}

static void find_member(struct admin *admin, const char *user, struct dw_member *ret)
{
    struct dw_ask_user ask = {user};
    struct dw_members_view view;
    admin_ask(admin, "staff", &dw_ask_user_layout, &ask, &dw_members_view_layout, &view);
    for (size_t i = 0; i < view.members_count; i++)
        if (strcmp(view.members[i].user, user) == 0) {
            *ret = view.members[i];
            return;
        }
    fprintf(stderr, "there is no member %s\n", user);
    exit(DW_EXIT_NO);
}

static void do_add(struct admin *admin, const struct options *o)
{
    if (o->count != 3 || !o->body || !o->roles_count || !dw_user_is_valid(o->words[1])) {
        fprintf(stderr, "staff add: expected --body ID --role ROLE USER NAME; USER is 2 to 48 of "
                        "a-z 0-9 . _ -\n");
        exit(DW_EXIT_USAGE);
    }
    struct dw_member member = {.user = o->words[1], .name = o->words[2], .body = o->body,
                               .roles = (const char **)o->roles, .roles_count = o->roles_count};
    struct dw_ask_user ask = {member.user};
    struct dw_members_view view;
    admin_ask(admin, "staff", &dw_ask_user_layout, &ask, &dw_members_view_layout, &view);
    for (size_t i = 0; i < view.members_count; i++)
        if (strcmp(view.members[i].user, member.user) == 0) {
            fprintf(stderr, "%s is there already; `dengwen staff reset` gives a new code\n",
                    member.user);
            exit(DW_EXIT_NO);
        }
    invite(admin, &member);
}

static void do_reset(struct admin *admin, const struct options *o)
{
    struct dw_member member;
    if (o->count != 2) {
        fprintf(stderr, "staff reset: expected USER\n");
        exit(DW_EXIT_USAGE);
    }
    find_member(admin, o->words[1], &member);
    struct dw_member fresh = {.user = member.user, .name = member.name, .body = member.body,
                              .roles = member.roles, .roles_count = member.roles_count};
    invite(admin, &fresh);
    fprintf(stderr, "The old keys are void: a colleague must log in once before the member can open "
                    "cases again.\n");
}

static void do_disable(struct admin *admin, const struct options *o)
{
    struct dw_done done;
    if (o->count != 2) {
        fprintf(stderr, "staff disable: expected USER\n");
        exit(DW_EXIT_USAGE);
    }
    struct dw_ask_user ask = {o->words[1]};
    admin_ask(admin, "disable", &dw_ask_user_layout, &ask, &dw_done_layout, &done);
    printf("%s disabled\n", o->words[1]);
}

static json_t *member_json(const struct dw_member *m)
{
    char day[DW_DAY_TEXT];
    json_t *roles = json_array();
    for (size_t i = 0; i < m->roles_count; i++)
        json_array_append_new(roles, json_string(m->roles[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s}", "user", m->user, "name", m->name, "body",
                     m->body, "roles", roles, "state", m->state, "invited",
                     dw_day_format(m->invited, day));
}

static void do_list(struct admin *admin, const struct options *o)
{
    struct dw_ask_user ask = {""};
    struct dw_members_view view;
    json_t *list = json_array();
    admin_ask(admin, "staff", &dw_ask_user_layout, &ask, &dw_members_view_layout, &view);
    for (size_t i = 0; i < view.members_count; i++) {
        const struct dw_member *m = &view.members[i];
        if (o->body && strcmp(o->body, m->body) != 0)
            continue;
        json_array_append_new(list, member_json(m));
        if (!o->tool.json)
            printf("%-24s %-8s %-9s %-12s %s\n", m->user, m->body, m->state,
                   m->roles_count ? m->roles[0] : "", m->name);
    }
    if (o->tool.json)
        tool_print_json(list);
    else
        json_decref(list);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *word;
        void (*run)(struct admin *, const struct options *);
    } commands[] = {
        {"add", do_add}, {"list", do_list}, {"reset", do_reset}, {"disable", do_disable}};
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        known, parse_option, "add --body ID --role ROLE USER NAME\nlist [--body ID]\nreset USER\n"
                             "disable USER",
        "Invites, lists, resets and disables members of staff.\v"
        "A body can open cases once two of its inspectors are enrolled and `dengwen key renew` has "
        "published its key. reset gives a new one-time code and makes the old keys void.",
        children, NULL, NULL};
    struct options o = {.tool = {0}};
    struct admin admin;
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    for (size_t i = 0; i < DW_COUNT(commands); i++) {
        if (strcmp(commands[i].word, o.words[0]) != 0)
            continue;
        admin_begin(&admin, &o.tool);
        commands[i].run(&admin, &o);
        admin_end(&admin);
        return 0;
    }
    fprintf(stderr, "staff: expected add, list, reset or disable\n");
    return DW_EXIT_USAGE;
}
