/* programs.h - the parts of a running Dengwen, and where their executables lie.  Source: programs.c
 *
 * A part has a name (its state folder, its CURVE role, what it calls itself to ops) and a program,
 * dengwen-PROGRAM.  They are the same but once: `dengwen case` is the client of the staff, so the
 * part "case" is run by dengwen-casework. */
#ifndef DW_PROGRAMS_H
#define DW_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>

struct dw_part {
    const char *name;
    const char *program;
    int nice;             /* who waits for a receipt goes before what is durable already */
    const char *restarts; /* the metric that counts how often the supervisor started it again */
};

enum { DW_PARTS = 7 };
/* In the order of starting: each may need those before it. */
extern const struct dw_part dw_parts[DW_PARTS];

/* dengwen-PROGRAM beside the running executable, else among the installed ones.  NULL when neither
 * can be executed.  Caller frees. */
char *dw_program_path(const char *program);

#endif
