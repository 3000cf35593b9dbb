#include "dw/log.h"

#include "dw/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int priority; /* syslog(3) */
} levels[] = {[DW_ERROR] = {"ERROR", 3}, [DW_WARN] = {"WARN", 4}, [DW_INFO] = {"INFO", 6},
              [DW_DEBUG] = {"DEBUG", 7}};

static const char *program = "dengwen";
static enum dw_level most = DW_INFO;
static int to_journal;

void dw_log_open(const char *name, enum dw_level level)
{
    program = name;
    most = level;
    to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void dw_log(enum dw_level level, const char *id, const char *format, ...)
{
    char line[1024], stamp[DW_TIME_TEXT];
    if (level > most)
        return;
    int used = to_journal
                   ? snprintf(line, sizeof line, "<%d>%s %s ", levels[level].priority, program, id)
                   : snprintf(line, sizeof line, "%s %-5s %s %s ",
                              dw_time_format(dw_now(), stamp), levels[level].name, program, id);
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line + used, sizeof line - (size_t)used - 1, format, args);
    va_end(args);
    size_t total = (size_t)used + (len < 0 ? 0 : (size_t)len);
    if (total > sizeof line - 2)
        total = sizeof line - 2;
    for (size_t i = 0; i < total; i++)
        if (line[i] == '\n' || line[i] == '\r')
            line[i] = ' ';
    line[total] = '\n';
    /* One write, so that lines of several processes on one terminal do not mix. */
    if (write(STDERR_FILENO, line, total + 1) < 0)
        return; /* nowhere left to complain */
}

const char *dw_printable(char *out, size_t out_len, const void *data, size_t len)
{
    const unsigned char *p = data;
    size_t n = len < out_len - 1 ? len : out_len - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '?');
    out[n] = 0;
    return out;
}
