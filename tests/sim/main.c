/* sim: runs seeds; a seed that fails is printed with what was broken and the last events.
 *
 *   sim --seed N             one seed; its trace ends with a hash, the same each time
 *   sim --trace N            the same, with every line of its trace
 *   sim --seeds FROM-TO      all of them
 *   sim --find BUG MAX       a deliberate bug: ends well when one of MAX seeds finds it */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_failure(const struct sim *s)
{
    long from = s->lines_count > LINES ? s->lines_count - LINES : 0;
    printf("seed %llu: %s\n", (unsigned long long)s->seed, s->failed);
    for (long i = from; i < s->lines_count; i++)
        printf("  %s\n", s->lines[i % LINES]);
}

static bool run(uint64_t seed, bool print, uint64_t *hash, struct sim *s)
{
    bool ok = sim_run(s, seed);
    *hash = (*hash ^ s->hash) * 0x100000001b3u;
    if (!ok && print)
        print_failure(s);
    sim_end(s);
    return ok;
}

static int run_all(uint64_t from, uint64_t to)
{
    static struct sim s;
    uint64_t hash = 0;
    long failed = 0, events = 0, deliveries = 0, crashes = 0, faults = 0, deaths = 0, adoptions = 0;
    long outcomes[DW_UNCERTAIN + 1] = {0}, existed = 0, taken = 0;
    for (uint64_t seed = from; seed <= to; seed++) {
        failed += !run(seed, failed < 3, &hash, &s);
        events += s.lines_count;
        deliveries += s.deliveries;
        crashes += s.crashes;
        faults += s.faults;
        deaths += s.deaths;
        adoptions += s.adoptions;
        existed += s.existed;
        taken += s.taken;
        for (int i = 0; i <= DW_UNCERTAIN; i++)
            outcomes[i] += s.outcomes[i];
    }
    printf("seeds %llu to %llu: %ld failed; %ld lines of trace, %ld deliveries, %ld crashes of the "
           "broker, %ld faults, trace %016llx\n",
           (unsigned long long)from, (unsigned long long)to, failed, events, deliveries, crashes,
           faults, (unsigned long long)hash);
    printf("  store: %ld workers died;", deaths);
    for (int i = 0; i <= DW_UNCERTAIN; i++)
        if (outcomes[i])
            printf(" %s %ld,", dw_result_name((enum dw_result)i), outcomes[i]);
    printf(" case there %ld, reference taken %ld; %ld filings "
           "adopted\n",
           existed, taken, adoptions);
    return failed != 0;
}

static int find(const char *bug, uint64_t max)
{
    static struct sim s;
    uint64_t hash = 0;
    setenv("DENGWEN_BUG", bug, 1);
    for (uint64_t seed = 1; seed <= max; seed++) {
        if (run(seed, false, &hash, &s))
            continue;
        printf("%s: seed %llu, %s\n", bug, (unsigned long long)seed, s.failed);
        return 0;
    }
    printf("%s: not found by %llu seeds\n", bug, (unsigned long long)max);
    return 1;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    disk_install();
    sim_traces = argc == 3 && strcmp(argv[1], "--trace") == 0;
    if (argc == 3 && (sim_traces || strcmp(argv[1], "--seed") == 0)) {
        uint64_t seed = strtoull(argv[2], &end, 10);
        if (!*end)
            return run_all(seed, seed);
    } else if (argc == 3 && strcmp(argv[1], "--seeds") == 0) {
        uint64_t from = strtoull(argv[2], &end, 10);
        if (*end == '-')
            return run_all(from, strtoull(end + 1, &end, 10));
    } else if (argc == 4 && strcmp(argv[1], "--find") == 0) {
        return find(argv[2], strtoull(argv[3], NULL, 10));
    }
    fprintf(stderr, "usage: sim --seed N | --trace N | --seeds FROM-TO | --find BUG MAX\n");
    return 2;
}
