#include "tool_data.h"

#include "dw/bytes.h"
#include "dw/config.h"
#include "dw/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct argp_option known[] = {
    {"config", 'c', "FILE", 0,
     "settings that name the data folder (default: DENGWEN_CONFIG, else the installed data)", 90},
    {"format", 'f', "text|json", 0, "how to print the answer (default: text)", 90},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct tool_options *options = state->input;
    switch (key) {
    case 'c':
        options->config = arg;
        return 0;
    case 'f':
        options->json = strcmp(arg, "json") == 0;
        if (!options->json && strcmp(arg, "text") != 0)
            argp_error(state, "--format: expected text or json");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp tool_argp = {known, parse_option, NULL, NULL, NULL, NULL, NULL};

char *tool_data_folder(const struct tool_options *options)
{
    struct dw_config config;
    const char *env = getenv("DENGWEN_CONFIG");
    if (!options->config && !(env && *env))
        dw_config_defaults(&config);
    else if (!dw_config_load(dw_config_path(options->config), &config, dw_config_problem_print,
                             NULL))
        exit(DW_EXIT_CONFIG);
    char *folder = dw_config_data_folder(&config);
    dw_config_free(&config);
    return folder;
}

void tool_bad_data(const char *folder, const struct dw_error *err)
{
    fprintf(stderr, "%s/%s\n", folder, err->text);
    exit(DW_EXIT_DATA);
}

void tool_print_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
}

const char *tool_language(void)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (size_t i = 0; i < DW_COUNT(names); i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strncmp(value, "zh", 2) == 0 ? "zh-CN" : "en";
    }
    return "en";
}
