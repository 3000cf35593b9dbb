/* rate.h - what a load generator counts: answers, and how long each took.  Source: tests/bench/rate.c */
#ifndef DW_BENCH_RATE_H
#define DW_BENCH_RATE_H

#include <stddef.h>
#include <stdint.h>

struct rate {
    uint32_t *samples; /* microseconds */
    size_t count, room;
};
int64_t rate_now_us(void); /* monotonic, the same in all processes */
void rate_add(struct rate *rate, int64_t us);
void rate_take(struct rate *into, struct rate *from); /* all of them; `from` is empty then */
/* "per_second": .., "p50_ms": .., "p99_ms": .., "max_ms": ..  Sorts the samples. */
void rate_print(struct rate *rate, double seconds);
/* CPU time of this process so far. */
double rate_cpu_seconds(void);

/* Says what is wrong, with errno where it is set, and ends the process. */
_Noreturn void rate_fail(const char *what);

#endif
