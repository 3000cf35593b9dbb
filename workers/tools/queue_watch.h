/* queue_watch.h - dengwen queue watch: the figures of `stats`, once a second, with what happened in
 * between.  In a terminal a picture that stays, else a line each.  Source: queue_watch.c */
#ifndef DW_TOOLS_QUEUE_WATCH_H
#define DW_TOOLS_QUEUE_WATCH_H

#include "admin.h"

/* Until SIGINT, SIGTERM, or q in the terminal. */
void queue_watch(struct admin *admin);

#endif
