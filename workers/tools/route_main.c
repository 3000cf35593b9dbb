/* route_main.c - dengwen route: which body is responsible for a filing, and by which rule. */
#include "tool_data.h"

#include "dw/bytes.h"
#include "dw/catalogue.h"
#include "dw/process.h"
#include "dw/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 50 };

struct options {
    struct tool_options tool;
    const char *kind, *district, *against, *complaint;
    const char *acts[LIST_MAX], *excluded[LIST_MAX];
    size_t acts_count, excluded_count;
};

enum { KIND = 256, DISTRICT, AGAINST, ACT, COMPLAINT, EXCLUDE };
static const struct argp_option known[] = {
    {"kind", KIND, "report|complaint", 0, "what is filed", 1},
    {"district", DISTRICT, "CODE", 0, "where it took place, such as 500108", 1},
    {"against", AGAINST, "TYPE", 0, "who is reported: hospital, pharmacy, agency, ...", 1},
    {"act", ACT, "CODE", 0, "what was done, such as PU01; may be repeated", 1},
    {"complaint", COMPLAINT, "CODE", 0, "kind of complaint, such as CS2", 1},
    {"exclude", EXCLUDE, "BODY", 0,
     "a body that must not receive it, such as 500108; may be repeated", 1},
    {0}};

static void add(struct argp_state *state, const char **list, size_t *count, const char *text)
{
    if (*count == LIST_MAX)
        argp_error(state, "at most %d of a kind", LIST_MAX);
    else
        list[(*count)++] = text;
}

static error_t finish(struct argp_state *state, const struct options *o)
{
    if (!o->kind || !o->district || !o->against)
        argp_error(state, "expected --kind, --district and --against");
    else if (strcmp(o->kind, "report") != 0 && strcmp(o->kind, "complaint") != 0)
        argp_error(state, "--kind: expected report or complaint");
    else if (*o->kind == 'r' ? !o->acts_count || o->complaint : o->acts_count || !o->complaint)
        argp_error(state, "a report has --act, a complaint has --complaint");
    return 0;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case KIND:
        o->kind = arg;
        return 0;
    case DISTRICT:
        o->district = arg;
        return 0;
    case AGAINST:
        o->against = arg;
        return 0;
    case COMPLAINT:
        o->complaint = arg;
        return 0;
    case ACT:
        add(state, o->acts, &o->acts_count, arg);
        return 0;
    case EXCLUDE:
        add(state, o->excluded, &o->excluded_count, arg);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument: %s", arg);
        return 0;
    case ARGP_KEY_END:
        return finish(state, o);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char *pick(const char *zh, const char *en)
{
    return strcmp(tool_language(), "en") == 0 ? en : zh;
}

static bool is_term(const struct dw_catalogue *words, enum dw_list list, const char *option,
                    const char *code)
{
    if (dw_term_find(words, list, code))
        return true;
    fprintf(stderr, "dengwen route: --%s: %s is not in the catalogue\n", option, code);
    return false;
}

/* Codes are data, so only the data can tell a wrong one; it is a wrong argument all the same. */
static bool check_codes(const struct dw_catalogue *words, const struct dw_routing *routing,
                        const struct options *o)
{
    bool good = is_term(words, DW_DISTRICTS, "district", o->district);
    good &= is_term(words, DW_AGAINST, "against", o->against);
    for (size_t i = 0; i < o->acts_count; i++)
        good &= is_term(words, DW_ACTS, "act", o->acts[i]);
    if (o->complaint)
        good &= is_term(words, DW_COMPLAINTS, "complaint", o->complaint);
    for (size_t i = 0; i < o->excluded_count; i++) {
        if (dw_body_find(routing, o->excluded[i]))
            continue;
        fprintf(stderr, "dengwen route: --exclude: %s is not a body\n", o->excluded[i]);
        good = false;
    }
    return good;
}

static json_t *body_json(const struct dw_body *body)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:s}", "id", body->id, "name", pick(body->zh, body->en),
                     "kind", body->kind, "member", body->member, "phone", body->phone);
}

static void print_json(const struct dw_route *route, const char *version)
{
    tool_print_json(json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:b, s:s}", "body",
                              body_json(route->body), "receiver", body_json(route->receiver),
                              "rule", route->rule, "what", pick(route->what_zh, route->what_en),
                              "basis", route->basis, "verified", route->verified, "excluded",
                              route->excluded, "version", version));
}

static void print_text(const struct dw_route *route, const char *version)
{
    const struct dw_body *body = route->body, *receiver = route->receiver;
    printf("%s %s\n", body->id, pick(body->zh, body->en));
    if (receiver != body)
        printf("%s %s %s\n", pick("接收：", "received by:"), receiver->id,
               pick(receiver->zh, receiver->en));
    if (route->excluded)
        puts(pick("因利害关系，改由上一级处理。",
                  "One level up because of a conflict of interest."));
    printf("%s %s\n", route->rule, pick(route->what_zh, route->what_en));
    printf("%s (%s %s)\n", route->basis, pick("路由版本", "routing"), version);
}

static int answer(const char *folder, const struct options *o)
{
    struct dw_error err = {{0}, {0}, 0};
    struct dw_catalogue *words = NULL;
    struct dw_routing *routing = NULL;
    struct dw_route route;
    int code = DW_EXIT_USAGE;

    if (dw_catalogue_load(folder, &words, &err) != DW_OK ||
        dw_routing_load(folder, &routing, &err) != DW_OK)
        tool_bad_data(folder, &err);
    struct dw_route_facts facts = {
        .kind = o->kind,
        .against = o->against,
        .district = o->district,
        .acts = o->acts,
        .acts_count = o->acts_count,
        .complaint = o->complaint,
        .excluded = o->excluded,
        .excluded_count = o->excluded_count,
    };
    if (check_codes(words, routing, o)) {
        code = dw_route(routing, &facts, NULL, NULL, &route, &err) == DW_OK ? DW_EXIT_DONE
                                                                            : DW_EXIT_NO;
        if (code == DW_EXIT_DONE)
            (o->tool.json ? print_json : print_text)(&route, dw_routing_version(routing));
        else
            fprintf(stderr, "dengwen route: %s\n", err.text);
    }
    dw_routing_free(routing);
    dw_catalogue_free(words);
    return code;
}

static const char help[] =
    "The body that is responsible for a complaint or report.\v"
    "For example: dengwen route --kind report --district 500108 --against hospital --act PU01\n\n"
    "The codes are those of catalogue.yaml, the bodies those of bodies.yaml.  The answer names the "
    "body, the member that receives the filing where that is another one, the rule and its legal "
    "basis.\n\n"
    "Ends with 0; 1 when no body is left that may receive it; 2 for wrong arguments; 65 for "
    "damaged data; 78 for settings that cannot be read.";

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = known, .parser = parse_option, .doc = help, .children = children};
    struct options options = {{0}};

    argp_program_version = "dengwen " DW_VERSION;
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    char *folder = tool_data_folder(&options.tool);
    int code = answer(folder, &options);
    dw_free(folder);
    return code;
}
