/* log.h - one line on standard error per thing worth knowing.  Source: broker/log.c
 *
 * A line is: time, level, program, a stable id, then words.  Under systemd's journal each line is
 * preceded by its priority instead of the time.
 * Libraries return errors; the program that decides what to do logs once.
 * Never logged: texts, names, addresses, receipts, keys, references, who asked for what.  Anything
 * a peer said goes through dw_printable() first. */
#ifndef DW_LOG_H
#define DW_LOG_H

#include <stddef.h>

enum dw_level { DW_ERROR, DW_WARN, DW_INFO, DW_DEBUG };

void dw_log_open(const char *program, enum dw_level most);
__attribute__((format(printf, 3, 4))) void dw_log(enum dw_level level, const char *id,
                                                  const char *format, ...);

/* Copies at most out_len-1 bytes, with everything but plain ASCII as '?'. */
const char *dw_printable(char *out, size_t out_len, const void *data, size_t len);

#endif
