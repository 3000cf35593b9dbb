#include "queue_watch.h"

#include "dw/clock.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { EVERY_MS = 1000 };

/* What the broker told, and when. */
struct told {
    bool there;
    int64_t at;
    long long ready, leased, delayed, behind, dead, bytes, max_bytes, items, max_items;
    long long oldest, accepted, done, commit_p50;
};

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

static struct told ask(struct admin *admin)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {{"ready", offsetof(struct told, ready)},
                  {"leased", offsetof(struct told, leased)},
                  {"delayed", offsetof(struct told, delayed)},
                  {"behind", offsetof(struct told, behind)},
                  {"dead", offsetof(struct told, dead)},
                  {"bytes", offsetof(struct told, bytes)},
                  {"max_bytes", offsetof(struct told, max_bytes)},
                  {"items", offsetof(struct told, items)},
                  {"max_items", offsetof(struct told, max_items)},
                  {"oldest_seconds", offsetof(struct told, oldest)},
                  {"accepted", offsetof(struct told, accepted)},
                  {"done", offsetof(struct told, done)},
                  {"commit_p50_microseconds", offsetof(struct told, commit_p50)}};
    static const char *const words[] = {"stats"};
    struct told t = {.at = dw_monotonic_ms()};
    json_error_t why;
    char *text = admin_try_queue(admin, words, 1);
    json_t *json = text ? json_loads(text, 0, &why) : NULL;
    for (size_t i = 0; json && i < DW_COUNT(fields); i++)
        *(long long *)((char *)&t + fields[i].offset) =
            (long long)json_integer_value(json_object_get(json, fields[i].name));
    t.there = json != NULL;
    json_decref(json);
    free(text);
    return t;
}

/* A second; 0 when it was the first look, or the broker has started anew meanwhile. */
static double rate(long long now, long long before, const struct told *t, const struct told *last)
{
    int64_t ms = t->at - last->at;
    return last->there && ms > 0 && now >= before ? (double)(now - before) * 1000 / (double)ms : 0;
}

static const char *clock_text(char out[16])
{
    time_t now = time(NULL);
    struct tm tm;
    strftime(out, 16, "%H:%M:%S", localtime_r(&now, &tm));
    return out;
}

static void print_line(const struct told *t, const struct told *last)
{
    char at[16];
    clock_text(at);
    if (t->there)
        printf("%s ready %lld leased %lld delayed %lld behind %lld dead %lld accepted/s %.1f "
               "done/s %.1f oldest-s %lld bytes %lld of %lld commit-p50-us %lld\n",
               at, t->ready, t->leased, t->delayed, t->behind, t->dead,
               rate(t->accepted, last->accepted, t, last), rate(t->done, last->done, t, last),
               t->oldest, t->bytes, t->max_bytes, t->commit_p50);
    else
        printf("%s the broker does not answer\n", at);
    fflush(stdout);
}

static int percent(long long part, long long whole)
{
    return whole > 0 ? (int)((double)part * 100 / (double)whole) : 0;
}

/* From the upper left corner; what an earlier picture left in a line is wiped with it. */
static void draw(const struct told *t, const struct told *last)
{
    static const char eol[] = "\033[K\n";
    char at[16];
    printf("\033[Hdengwen queue  %s  (q ends)%s%s", clock_text(at), eol, eol);
    if (!t->there) {
        printf("the broker does not answer\033[J");
        fflush(stdout);
        return;
    }
    const struct {
        const char *name;
        long long count;
    } states[] = {{"ready", t->ready}, {"leased", t->leased}, {"delayed", t->delayed},
                  {"behind", t->behind}, {"dead", t->dead}};
    for (size_t i = 0; i < DW_COUNT(states); i++)
        printf("%-10s %12lld%s", states[i].name, states[i].count, eol);
    printf("%s", eol);
    printf("%-10s %12.1f a second%s", "accepted", rate(t->accepted, last->accepted, t, last), eol);
    printf("%-10s %12.1f a second%s", "done", rate(t->done, last->done, t, last), eol);
    printf("%-10s %12lld seconds%s", "oldest", t->oldest, eol);
    printf("%-10s %12lld of %lld (%d %%)%s", "items", t->items, t->max_items,
           percent(t->items, t->max_items), eol);
    printf("%-10s %12lld of %lld (%d %%)%s", "bytes", t->bytes, t->max_bytes,
           percent(t->bytes, t->max_bytes), eol);
    printf("%-10s %12lld microseconds at most, half of them\033[J", "commits", t->commit_p50);
    fflush(stdout);
}

/* Until the next look, a signal, or the letter q. */
static void wait_for_key(bool keys, int64_t until)
{
    struct pollfd in = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};
    int64_t now;
    while (!ended && (now = dw_monotonic_ms()) < until) {
        char c;
        if (poll(&in, 1, (int)(until - now)) <= 0)
            continue;
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n == 1 && (c == 'q' || c == 'Q'))
            ended = 1;
        else if (n <= 0)
            in.fd = -1;
    }
}

void queue_watch(struct admin *admin)
{
    struct sigaction act = {.sa_handler = end};
    struct termios kept;
    struct told last = {.there = false};
    bool terminal = isatty(STDOUT_FILENO);
    bool keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &kept) == 0;
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    if (keys) {
        struct termios raw = kept;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    if (terminal)
        fputs("\033[?1049h\033[?25l\033[2J", stdout); /* a screen of its own, no cursor */
    while (!ended) {
        int64_t next = dw_monotonic_ms() + EVERY_MS;
        struct told now = ask(admin);
        (terminal ? draw : print_line)(&now, &last);
        last = now;
        wait_for_key(keys, next);
    }
    if (terminal)
        fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    if (keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &kept);
}
