/* admin.h - what the administrator's commands share: the settings, and a line to the broker with the
 * administrator's key.  Source: admin.c */
#ifndef DW_TOOLS_ADMIN_H
#define DW_TOOLS_ADMIN_H

#include "tool_data.h"

#include "dw/config.h"
#include "dw/directory.h"
#include "dw/layout.h"
#include "dw/wire.h"

struct admin {
    struct dw_config config;
    struct dw_directory_watch *watch;
    struct dw_directory *dir;
    struct dw_bus *bus;
    struct dw_arena arena;
};

/* Loads settings and directory; ends the process with 78 where that fails. */
void admin_begin(struct admin *admin, const struct tool_options *options);
void admin_end(struct admin *admin);

/* Asks and decodes the answer's document; ends the process with 69 when nobody answers, and prints
 * the error and ends with 1 (or 75: try again) when the answer is no. */
void admin_ask(struct admin *admin, const char *method, const struct dw_layout *layout,
               const void *in, const struct dw_layout *answer_layout, void *ret);
/* A service of the broker itself: words in, text out. The caller frees the text. */
char *admin_ask_queue(struct admin *admin, const char *const *words, size_t count);
/* The same without ending the process: NULL when nobody answers, or the answer is no. */
char *admin_try_queue(struct admin *admin, const char *const *words, size_t count);

/* Any service, once; ends the process only where there is no line to a broker at all. */
enum dw_result admin_call(struct admin *admin, const char *service, const struct dw_slice *payload,
                          size_t count, struct dw_bus_answer *ret);

/* Reads one line without echo from the terminal, or from standard input. Wipe it. */
bool admin_read_secret(const char *prompt, char *out, size_t len);

#endif
