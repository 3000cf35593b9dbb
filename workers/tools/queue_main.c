/* queue_main.c - dengwen queue: what waits at the broker.  Envelope facts only. */
#include "admin.h"
#include "queue_adopt.h"
#include "queue_watch.h"

#include "dw/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    struct tool_options tool;
    const char *words[3];
    size_t count;
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    static const struct {
        const char *word;
        size_t least, most;
    } commands[] = {{"list", 1, 2}, {"stats", 1, 1}, {"watch", 1, 1},
                    {"adopt", 2, 2}, {"show", 2, 2}, {"retry", 2, 2},
                    {"drop", 2, 2}};
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case ARGP_KEY_ARG:
        if (o->count == DW_COUNT(o->words))
            argp_usage(state);
        o->words[o->count++] = arg;
        return 0;
    case ARGP_KEY_END:
        for (size_t i = 0; o->count && i < DW_COUNT(commands); i++)
            if (strcmp(commands[i].word, o->words[0]) == 0 && o->count >= commands[i].least &&
                o->count <= commands[i].most)
                return 0;
        argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_row(const json_t *row)
{
    printf("%s  %-8s %-8s attempts %-3lld parts %-4lld %8lld bytes  %s  %s\n",
           json_string_value(json_object_get(row, "id")),
           json_string_value(json_object_get(row, "service")),
           json_string_value(json_object_get(row, "state")),
           (long long)json_integer_value(json_object_get(row, "attempts")),
           (long long)json_integer_value(json_object_get(row, "parts")),
           (long long)json_integer_value(json_object_get(row, "bytes")),
           json_string_value(json_object_get(row, "day")),
           json_string_value(json_object_get(row, "reason")));
}

static void print_text(const json_t *json)
{
    const char *name;
    json_t *value;
    size_t i;
    if (json_is_array(json)) {
        json_array_foreach(json, i, value) print_row(value);
        if (!json_array_size(json))
            printf("nothing\n");
    } else if (json_object_get(json, "id")) {
        print_row(json);
    } else {
        json_object_foreach((json_t *)json, name, value)
            printf("%-16s %lld\n", name, (long long)json_integer_value(value));
    }
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        NULL, parse_option,
        "list [ready|leased|delayed|dead|behind]\nstats\nwatch\nshow ID\nretry ID\ndrop ID\n"
        "adopt FILE",
        "Shows the broker's queue and its dead letters, and revives or drops dead ones.  `watch` shows "
        "the figures once a second, until q or Ctrl-C.\v"
        "A dead letter is a filing that could not be verified or failed too often: its reporter "
        "still reads \"received\". Find out why before you drop one; nothing brings it back.\n\n"
        "adopt takes over the queue file of a broker that never comes back (state/broker/queue.db, "
        "with queue.db-wal beside it if there is one): what waits there, dead letters and kept "
        "replies are put into the queue of the broker that runs, each deleted from FILE only when it "
        "is on that one's disk. It may be killed and run again: nothing is lost or doubled. What was "
        "in the hands of workers is ready again; attempts and days are kept. FILE is empty "
        "afterwards.",
        children, NULL, NULL};
    struct options o = {.tool = {0}};
    struct admin admin;
    json_error_t why;
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    admin_begin(&admin, &o.tool);
    if (strcmp(o.words[0], "watch") == 0) {
        queue_watch(&admin);
        admin_end(&admin);
        return 0;
    }
    if (strcmp(o.words[0], "adopt") == 0) {
        int code = queue_adopt(&admin, o.words[1]);
        admin_end(&admin);
        return code;
    }
    char *text = admin_ask_queue(&admin, o.words, o.count);
    json_t *json = json_loads(text, 0, &why);
    if (!json) {
        fprintf(stderr, "the answer cannot be read\n");
        return DW_EXIT_DATA;
    }
    if (o.tool.json)
        tool_print_json(json_incref(json));
    else
        print_text(json);
    json_decref(json);
    free(text);
    admin_end(&admin);
    return 0;
}
