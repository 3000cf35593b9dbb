/* queue_adopt.h - dengwen queue adopt FILE: gives what a broker left behind to the one that runs, as
 * dw/adopt.h says.  Source: queue_adopt.c */
#ifndef DW_TOOLS_QUEUE_ADOPT_H
#define DW_TOOLS_QUEUE_ADOPT_H

#include "admin.h"

/* The exit code: 0 all is adopted, 1 something stays in the file, 65 no file to adopt from, 69 the
 * broker went away: run it again. */
int queue_adopt(struct admin *admin, const char *file);

#endif
