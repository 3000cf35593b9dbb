/* progress.h - shows on standard error how far something long has come.  Source: progress.c
 *
 * On a terminal one line that moves; elsewhere (a log, a cron job's mail) a line for each kind of work
 * when it begins and ends, and every few seconds between. */
#ifndef DW_TOOLS_PROGRESS_H
#define DW_TOOLS_PROGRESS_H

#include "dw/store.h"

struct progress {
    struct dw_progress progress; /* to be given away */
    bool terminal;
    const char *phase; /* before what, as "copying" */
    char what[64];
    int64_t begun, told; /* milliseconds */
    int64_t first, done, total;
    bool shown; /* what is known now stands there */
};

void progress_begin(struct progress *p);
/* What is told from now on is part of this. */
void progress_phase(struct progress *p, const char *phase);
/* Ends the line; before anything else is printed. */
void progress_end(struct progress *p);

#endif
