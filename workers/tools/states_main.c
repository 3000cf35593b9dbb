/* states_main.c - dengwen states: the transition table, printed. */
#include "dw/case.h"
#include "dw/process.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

/* Of a diagram: from, to, command. */
struct diagram {
    const char *name, *begin, *arrow, *arrow_back, *create, *end;
};
static const struct diagram diagrams[] = {
    {"dot", "digraph states {\n  rankdir=LR;\n  node [shape=box];\n",
     "  \"%s\" -> \"%s\" [label=\"%s\"];\n",
     "  \"%s\" -> \"%s\" [label=\"%s\", style=dashed];\n", "new", "}\n"},
    {"mermaid", "stateDiagram-v2\n", "    %s --> %s : %s\n", "    %s --> %s : %s\n", "[*]", ""},
};

struct options {
    const struct diagram *diagram; /* NULL: a table */
};

static const struct argp_option known[] = {
    {"format", 'f', "markdown|dot|mermaid", 0,
     "a table (default), or a diagram for Graphviz or Mermaid", 0},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    if (key != 'f')
        return ARGP_ERR_UNKNOWN;
    o->diagram = NULL;
    for (size_t i = 0; i < DW_COUNT(diagrams); i++)
        if (strcmp(arg, diagrams[i].name) == 0)
            o->diagram = &diagrams[i];
    if (!o->diagram && strcmp(arg, "markdown") != 0)
        argp_error(state, "--format: expected markdown, dot or mermaid");
    return 0;
}

static const char *who(enum dw_by by)
{
    static const char *const names[] = {[DW_BY_INTAKE] = "intake",
                                        [DW_BY_REPORTER] = "reporter",
                                        [DW_BY_BODY] = "inspector",
                                        [DW_BY_RECEIVER] = "inspector of the receiver",
                                        [DW_BY_SENDER] = "inspector, receiver outside"};
    return names[by];
}

static const char *target(const struct dw_transition *t)
{
    return strcmp(t->to, "<") == 0 ? "(as before the transfer)" : *t->to ? t->to : t->from;
}

static void print_markdown(void)
{
    printf("| from | command | who | to | event | notice |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < dw_transitions_count(); i++) {
        const struct dw_transition *t = dw_transition_at(i);
        printf("| %s | %s | %s | %s | %s | %s |\n", *t->from ? t->from : "(new)", t->command,
               who(t->by), target(t), t->event, t->notice);
    }
}

static bool stands_above(size_t i)
{
    const struct dw_transition *t = dw_transition_at(i);
    for (size_t j = 0; j < i; j++) {
        const struct dw_transition *u = dw_transition_at(j);
        if (strcmp(u->from, t->from) == 0 && strcmp(u->to, t->to) == 0 &&
            strcmp(u->command, t->command) == 0)
            return true;
    }
    return false;
}

/* Only what changes the state: a diagram of everything is no diagram. */
static void print_diagram(const struct diagram *d)
{
    fputs(d->begin, stdout);
    for (size_t i = 0; i < dw_transitions_count(); i++) {
        const struct dw_transition *t = dw_transition_at(i);
        bool back = strcmp(t->to, "<") == 0;
        if (!*t->to || strcmp(t->to, t->from) == 0 || stands_above(i))
            continue;
        printf(back ? d->arrow_back : d->arrow, *t->from ? t->from : d->create,
               back ? "reviewing" : t->to, t->command);
    }
    fputs(d->end, stdout);
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        known, parse_option, NULL,
        "Prints what can happen to a case, and who may make it happen.", NULL, NULL, NULL};
    struct options o = {0};
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.diagram)
        print_diagram(o.diagram);
    else
        print_markdown();
    return 0;
}
