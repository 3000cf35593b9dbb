/* store_tool.h - what the commands that move stores share.  Source: store_tool.c
 *
 * They see documents, never what is sealed in them: none of them links what opens an envelope. */
#ifndef DW_TOOLS_STORE_TOOL_H
#define DW_TOOLS_STORE_TOOL_H

#include "progress.h"
#include "tool_data.h"

#include "dw/copy.h"

enum { STORE_PLACES = 2 };
struct store_place;

struct store_tool {
    const char *name; /* of the command, before its errors */
    bool json;
    struct dw_config config;
    struct progress progress;
    int lock_fd;
    struct store_place *open[STORE_PLACES];
};

/* Loads the settings; ends the process with 78 where that fails. */
void store_tool_begin(struct store_tool *t, const char *name, const struct tool_options *options);
void store_tool_end(struct store_tool *t);

/* Prints "dengwen NAME: what: why", closes what is open and ends the process. */
_Noreturn void store_tool_die(struct store_tool *t, int code, const char *what, const char *why);
/* 1, 65 or 75, by what became of work that had begun. */
int store_tool_exit(enum dw_result result);

/* A store that somebody named. */
struct store_place {
    const char *uri;
    char name[512];          /* the same for every way to write it; shows nothing of users and options */
    struct dw_config config; /* the settings, with the password that belongs to this one */
    struct dw_store *store;
};
/* NULL for the store of the settings; a password file only where the URI has a user. */
void store_place_set(struct store_tool *t, struct store_place *p, const char *uri,
                     const char *password_file);
/* Ends the process with 78 when it is not ours, and with 69 when it is away. */
void store_place_open(struct store_tool *t, struct store_place *p, enum dw_store_use use);
void store_place_close(struct store_tool *t, struct store_place *p);

/* No case worker of these settings runs until the end of this process, if this is its store; 75 when
 * one does. */
void store_tool_keep_worker_out(struct store_tool *t, const struct store_place *p);

/* Prints how many there are of each kind, and their hashes. */
void store_tool_print(const struct store_tool *t, const char *done, const char *name,
                      const struct dw_copy_sums *sums);

#endif
