/* due_main.c - dengwen due: when is a rule's time up, and why then. */
#include "tool_data.h"

#include "dw/process.h"
#include "dw/rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    struct tool_options tool;
    const char *rule;
    const char *start_text, *on_text;
    dw_day start, on;
    bool extended;
};

enum { ON = 256, EXTENDED };
static const struct argp_option known[] = {
    {"on", ON, "DATE", 0, "use the rule that is in force on DATE (default: START)", 1},
    {"extended", EXTENDED, NULL, 0, "with the one extension that the law allows", 1},
    {0}};

static void take_day(struct argp_state *state, const char *name, const char *text, dw_day *ret)
{
    if (strlen(text) != 10 || !dw_day_parse(text, ret))
        argp_error(state, "%s: expected a date like 2026-09-28", name);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case ON:
        o->on_text = arg;
        return 0;
    case EXTENDED:
        o->extended = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1)
            argp_error(state, "expected RULE and START");
        *(state->arg_num ? &o->start_text : &o->rule) = arg;
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num < 2)
            argp_error(state, "expected RULE and START");
        take_day(state, "START", o->start_text, &o->start);
        o->on = o->start;
        if (o->on_text)
            take_day(state, "--on", o->on_text, &o->on);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char *pick(const char *zh, const char *en)
{
    return strcmp(tool_language(), "en") == 0 ? en : zh;
}

static void set(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, json_string(text));
}

static void set_day(json_t *object, const char *key, dw_day day)
{
    char text[DW_DAY_TEXT];
    set(object, key, dw_day_format(day, text));
}

static void print_json(const struct dw_rule *rule, const struct dw_due *due)
{
    json_t *all = json_object(), *steps = json_array();
    set_day(all, "due", due->due);
    set(all, "rule", rule->id);
    set(all, "what", pick(rule->what_zh, rule->what_en));
    set(all, "pack", rule->pack);
    set(all, "article", rule->article);
    set(all, "source", rule->source);
    set(all, "verified", dw_verified_name(rule->verified));
    set_day(all, "start", due->start);
    json_object_set_new(all, "extended", json_boolean(due->extended));
    json_object_set_new(all, "estimate", json_boolean(due->estimate));
    for (size_t i = 0; i < due->steps_count; i++) {
        json_t *step = json_object();
        set_day(step, "from", due->steps[i].from);
        set_day(step, "to", due->steps[i].to);
        json_object_set_new(step, "counted", json_integer(due->steps[i].counted));
        set(step, "why", pick(due->steps[i].why_zh, due->steps[i].why_en));
        json_array_append_new(steps, step);
    }
    json_object_set_new(all, "steps", steps);
    tool_print_json(all);
}

static const char *verified_text(enum dw_verified v)
{
    static const struct {
        const char *zh, *en;
    } texts[] = {
        [DW_VERIFIED_FULL] = {"已核对原文", "text was read"},
        [DW_VERIFIED_SECONDARY] = {"据转载资料，或只核对了部分原文",
                                   "from secondary sources, or read in part"},
        [DW_VERIFIED_NO] = {"未核对", "not verified"},
    };
    return pick(texts[v].zh, texts[v].en);
}

static void print_text(const struct dw_rule *rule, const struct dw_due *due)
{
    char from[DW_DAY_TEXT], to[DW_DAY_TEXT];
    printf("%s\n", dw_day_format(due->due, to));
    if (due->estimate)
        printf("%s\n", pick("估算：期间涉及放假安排尚未公布的日期。",
                            "Estimate: the holidays of a day in it are not announced yet."));
    printf("%s %s (%s)\n", rule->id, pick(rule->what_zh, rule->what_en), rule->pack);
    printf("%s, %s (%s)\n", rule->article, rule->source, verified_text(rule->verified));
    printf(pick("自 %s 起算，当日不计\n", "from %s, that day not counted\n"),
           dw_day_format(due->start, from));
    for (size_t i = 0; i < due->steps_count; i++) {
        const struct dw_due_step *s = &due->steps[i];
        printf("  %s .. %s  %+4d  %s\n", dw_day_format(s->from, from), dw_day_format(s->to, to),
               s->counted, pick(s->why_zh, s->why_en));
    }
}

static const struct dw_rule *find_rule(const struct dw_rules *rules, const struct options *o)
{
    const struct dw_rule *rule = dw_rule_find(rules, o->rule, o->on);
    char on[DW_DAY_TEXT];
    dw_day_format(o->on, on);
    if (!rule)
        fprintf(stderr,
                pick("dengwen due: %s 没有名为 %s 的规则\n",
                     "dengwen due: on %s no rule %s is in force\n"),
                on, o->rule);
    if (rule && o->extended && !rule->extension) {
        fprintf(stderr,
                pick("dengwen due: 规则 %s 不能延长\n", "dengwen due: %s has no extension\n"),
                o->rule);
        rule = NULL;
    }
    return rule;
}

static int answer(const char *folder, const struct options *o)
{
    struct dw_error err = {{0}, {0}, 0};
    struct dw_rules *rules = NULL;
    struct dw_calendar *calendar = NULL;
    DW_AUTO_ARENA arena = {0};
    struct dw_due due;

    dw_arena_init(&arena, 4 * 1024 * 1024);
    if (dw_rules_load(folder, &rules, &err) != DW_OK ||
        dw_calendar_load(folder, &calendar, &err) != DW_OK)
        tool_bad_data(folder, &err);
    const struct dw_rule *rule = find_rule(rules, o);
    if (rule && dw_rule_due(rule, calendar, o->start, o->extended, &arena, &due) == DW_OK)
        (o->tool.json ? print_json : print_text)(rule, &due);
    dw_calendar_free(calendar);
    dw_rules_free(rules);
    return rule ? DW_EXIT_DONE : DW_EXIT_NO;
}

static const char help[] =
    "The date on which a deadline of the law ends.\v"
    "RULE is an id such as D08, START the day on which the clock starts; dates are written like "
    "2026-09-28.  The answer names the rule, its article, and the days that were counted or "
    "skipped.\n\n"
    "Ends with 0; 1 when no such rule is in force or it cannot be extended; 2 for wrong arguments; "
    "65 for damaged data; 78 for settings that cannot be read.";

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {.options = known,
                                     .parser = parse_option,
                                     .args_doc = "RULE START",
                                     .doc = help,
                                     .children = children};
    struct options options = {0};

    argp_program_version = "dengwen " DW_VERSION;
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    char *folder = tool_data_folder(&options.tool);
    int code = answer(folder, &options);
    dw_free(folder);
    return code;
}
