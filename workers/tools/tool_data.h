/* tool_data.h - what the commands that only ask the data share: where the data is, which language
 * the person reads, and how an answer leaves.  Source: tool_data.c */
#ifndef DW_TOOLS_TOOL_DATA_H
#define DW_TOOLS_TOOL_DATA_H

#include "dw/result.h"

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>

struct tool_options {
    const char *config; /* -c */
    bool json;          /* --format json */
};
/* -c FILE and --format text|json, as a child of a command's own options; its input is a
 * struct tool_options. */
extern const struct argp tool_argp;

/* The data folder; ends the process with 78 where the settings cannot be read.  Caller frees. */
char *tool_data_folder(const struct tool_options *options);
/* Prints what is wrong with the data and ends the process with 65. */
_Noreturn void tool_bad_data(const char *folder, const struct dw_error *err);
/* Takes the object, prints it on standard output with a line break. */
void tool_print_json(json_t *object);

/* "zh-CN" or "en" by LC_ALL, LC_MESSAGES and LANG. */
const char *tool_language(void);

#endif
