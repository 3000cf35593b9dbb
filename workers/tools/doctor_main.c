/* doctor_main.c - dengwen doctor: what is wrong with this installation and what to do. */
#include "doctor.h"

#include "channel.h"

#include "dw/process.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const marks[] = {[FINE] = "ok", [CARE] = "care", [WRONG] = "WRONG"};

void found(struct doctor *d, enum finding finding, const char *what, const char *todo,
           const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if ((int)finding > d->worst)
        d->worst = (int)finding;
    json_t *one = json_pack("{s:s, s:s, s:s}", "finding", marks[finding], "what", what, "text", text);
    if (*todo)
        json_object_set_new(one, "todo", json_string(todo));
    json_array_append_new(d->findings, one);
}

static void print(const json_t *findings)
{
    const json_t *one;
    size_t i;
    json_array_foreach(findings, i, one)
    {
        const char *todo = json_string_value(json_object_get(one, "todo"));
        printf("%-6s %-20s %s\n", json_string_value(json_object_get(one, "finding")),
               json_string_value(json_object_get(one, "what")),
               json_string_value(json_object_get(one, "text")));
        if (todo)
            printf("%-6s %-20s -> %s\n", "", "", todo);
    }
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = state->input;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

int main(int argc, char **argv)
{
    static void (*const looks[])(struct doctor *d) = {
        look_at_clock,   look_at_disks, look_at_limits, look_at_directory, look_at_bodies,
        look_at_secrets, look_at_parts, look_at_queue, look_at_store,      look_at_providers,
    };
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        NULL, parse_option, NULL,
        "Says what is wrong with this machine and this installation, and what to do.\v"
        "Changes nothing. Ends with 0 when nothing is wrong, with 1 when something is, with 78 when "
        "the settings cannot be read (`dengwen check-config' tells more).",
        children, NULL, NULL};
    struct tool_options options = {0};
    struct admin admin;
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    admin_begin(&admin, &options);
    dw_channels_start();
    struct doctor d = {&admin, &admin.config, json_array(), FINE};
    for (size_t i = 0; i < DW_COUNT(looks); i++)
        looks[i](&d);
    if (options.json)
        tool_print_json(d.findings);
    else {
        print(d.findings);
        json_decref(d.findings);
    }
    dw_channels_stop();
    admin_end(&admin);
    return d.worst == WRONG ? DW_EXIT_NO : DW_EXIT_DONE;
}
