#include "rate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

void rate_fail(const char *what)
{
    fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, what, errno ? ": " : "",
            errno ? strerror(errno) : "");
    exit(1);
}

int64_t rate_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void make_room(struct rate *rate, size_t count)
{
    if (count <= rate->room)
        return;
    while (rate->room < count)
        rate->room = rate->room ? 2 * rate->room : 65536;
    rate->samples = realloc(rate->samples, rate->room * sizeof *rate->samples);
    if (!rate->samples)
        rate_fail("memory");
}

void rate_add(struct rate *rate, int64_t us)
{
    make_room(rate, rate->count + 1);
    rate->samples[rate->count++] = (uint32_t)us;
}

void rate_take(struct rate *into, struct rate *from)
{
    if (from->count) {
        make_room(into, into->count + from->count);
        memcpy(into->samples + into->count, from->samples, from->count * sizeof *from->samples);
        into->count += from->count;
    }
    free(from->samples);
    *from = (struct rate){0};
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(const struct rate *rate, double p)
{
    return rate->count ? rate->samples[(size_t)(p * (double)(rate->count - 1))] / 1000.0 : 0;
}

void rate_print(struct rate *rate, double seconds)
{
    if (rate->count)
        qsort(rate->samples, rate->count, sizeof *rate->samples, compare);
    printf("\"per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f",
           (double)rate->count / seconds, percentile_ms(rate, 0.5), percentile_ms(rate, 0.99),
           percentile_ms(rate, 1));
}

double rate_cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
