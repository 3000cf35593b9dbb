#include "progress.h"

#include "dw/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TERMINAL_MS = 100, LINE_MS = 5000, BAR = 24, WHAT_LEN = 36 };

static int percent(const struct progress *p)
{
    return p->total <= 0 ? 0 : p->done >= p->total ? 100 : (int)(p->done * 100 / p->total);
}

/* By what this run has done so far: what an earlier one did says nothing about its speed. */
static void print_rest(const struct progress *p, int64_t now)
{
    int64_t done = p->done - p->first, left = p->total - p->done;
    if (done <= 0 || left <= 0)
        return;
    long long seconds = (long long)((now - p->begun) / 1000.0 * (double)left / (double)done + 0.5);
    fprintf(stderr, ", %lld:%02lld left", seconds / 60, seconds % 60);
}

static void print(struct progress *p, int64_t now)
{
    static const char full[] = "########################", empty[] = "........................";
    if (p->terminal)
        fputc('\r', stderr);
    fprintf(stderr, "%s%-*s", p->phase, WHAT_LEN - (int)strlen(p->phase), p->what);
    if (p->total > 0 && p->terminal) {
        int cells = percent(p) * BAR / 100;
        fprintf(stderr, " [%.*s%.*s]", cells, full, BAR - cells, empty);
    }
    if (p->total > 0)
        fprintf(stderr, " %3d %%  %lld of %lld", percent(p), (long long)p->done,
                (long long)p->total);
    else if (p->done > 0)
        fprintf(stderr, " %lld", (long long)p->done);
    print_rest(p, now);
    fputs(p->terminal ? "\033[K" : "\n", stderr);
    fflush(stderr);
    p->told = now;
    p->shown = true;
}

static void end_line(struct progress *p)
{
    if (!*p->what)
        return;
    if (!p->shown)
        print(p, dw_monotonic_ms());
    if (p->terminal)
        fputc('\n', stderr);
}

static void tell(void *arg, const char *what, int64_t done, int64_t total)
{
    struct progress *p = arg;
    int64_t now = dw_monotonic_ms();
    bool other = strcmp(p->what, what) != 0;
    if (other) {
        end_line(p);
        snprintf(p->what, sizeof p->what, "%s", what);
        p->begun = now;
        p->first = done;
    }
    p->done = done;
    p->total = total;
    p->shown = false;
    if (other || now - p->told >= (p->terminal ? TERMINAL_MS : LINE_MS))
        print(p, now);
}

void progress_begin(struct progress *p)
{
    *p = (struct progress){.progress = {tell, p}, .phase = "", .terminal = isatty(STDERR_FILENO)};
}

void progress_phase(struct progress *p, const char *phase)
{
    progress_end(p);
    p->phase = phase;
}

void progress_end(struct progress *p)
{
    end_line(p);
    *p->what = 0;
}
