/* store.c - what a store does, as cases grow.
 *
 *   bench_store URI SIZES [IN_FLIGHT]        sizes: "10000,100000", counted up
 *
 * Goes on where an earlier run left this store, so that a large one can be made in portions.
 * Registers cases of the shape of a report with name and contact (three objects), IN_FLIGHT at once as
 * the case worker does, some thousand a day.  Those of earlier days are mostly closed, and counted;
 * those that are measured are as a filing makes them.  At each size it measures one step alone, many
 * in flight, a page of a worklist, the way from a receipt to its case, the rereading of an object, and
 * a manager's page of a whole year.  One line of JSON for each size. */
#include "dw/statistics.h"
#include "dw/store.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BODIES = 39, /* of Chongqing */
    OBJECTS = 3,
    REPORT_BYTES = 4096 + 162, /* as dengwen-web seals them */
    SMALL_BYTES = 1024 + 162,
    DOC_FILLER = 5850, /* events, grants and roots of a case that was registered */
    A_DAY = 2500,      /* cases */
    FIRST_DAY = 20781,
    DAY_MS = 86400000,
    OPEN_DAYS = 60, /* then it is closed, and one in eight is not */
    ALONE = 200,
    ROUNDS = 10,
    BATCHES = 300,
    PAGE = 50,
    MONTHS = 12,
    MEASURES = 12, /* of each value and kind in the counters of a month */
};

struct filler {
    struct dw_slice bytes;
};
static const struct dw_field filler_fields[] = {DW_F_BYTES(struct filler, bytes, 65536, 0)};
static const struct dw_layout filler_layout = DW_LAYOUT("filler", struct filler, filler_fields);

static uint8_t noise[65536];
static struct dw_store *store;

static void fail(const char *why)
{
    fprintf(stderr, "bench_store: %s\n", why);
    exit(1);
}

static double seconds_of(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

/* Bytes that this process gave to its disks, 0 where nobody counts them. */
static double written(void)
{
    char line[80];
    long long bytes = 0;
    FILE *io = fopen("/proc/self/io", "r");
    while (io && fgets(line, sizeof line, io))
        sscanf(line, "write_bytes: %lld", &bytes);
    if (io)
        fclose(io);
    return (double)bytes;
}

/* ---- cases ---- */

struct made {
    struct dw_store_step step;
    struct dw_case_index ix;
    struct dw_store_object objects[OBJECTS];
    struct dw_buf doc;
    char reference[24], body[8];
    const char *bodies[1];
};

/* Ids are random, and found again by their number; those of objects are like dw_object_id(). */
static void id_of(uint8_t id[16], uint64_t n, uint8_t what)
{
    uint8_t in[9];
    memcpy(in, &n, 8);
    in[8] = what;
    crypto_generichash(id, 16, in, sizeof in, NULL, 0);
}

static void object_id(uint8_t id[16], uint64_t n, int which)
{
    uint8_t of[16];
    id_of(of, n, 0);
    id_of(id, n, (uint8_t)(2 + which));
    memcpy(id, of, 5);
}

/* What a filing makes of it, or what has become of it since. */
static void fill_index(struct made *m, uint64_t n, uint32_t draw, bool fresh)
{
    int32_t day = FIRST_DAY + (int32_t)(n / A_DAY);
    bool open = fresh || draw % 8 == 0;
    m->ix = (struct dw_case_index){.bodies = m->bodies, .bodies_count = 1, .reference = m->reference,
                                   .state = "received", .kind = "report", .against = "hospital",
                                   .district = m->body, .day = day, .open = open, .revision = 1,
                                   .assignee = !fresh && draw % 3 ? "li" : "", .body = m->body,
                                   .due = open ? day + (draw % 5 ? 7 : OPEN_DAYS) : 0,
                                   .due_rule = open ? "D08" : "",
                                   .timer = open ? (day + 5ll) * DAY_MS : 0,
                                   .notice = fresh ? day * (int64_t)DAY_MS + draw % 3600000 : 0,
                                   .fold = fresh};
}

static void fill(struct made *m, uint64_t n, bool fresh)
{
    uint32_t draw;
    uint64_t drawn;
    struct filler filler = {DW_SLICE(noise + n % 1000, DOC_FILLER)};
    memset(m, 0, sizeof *m);
    id_of(m->step.case_id, n, 0);
    id_of(m->step.handle, n, 1);
    memcpy(&draw, m->step.case_id, sizeof draw);
    memcpy(&drawn, m->step.handle, sizeof drawn);
    snprintf(m->reference, sizeof m->reference, "CQ26-%012llX", (unsigned long long)(drawn >> 16));
    snprintf(m->body, sizeof m->body, "5001%02u", draw % BODIES);
    m->bodies[0] = m->body;
    fill_index(m, n, draw, fresh);
    for (int i = 0; i < OBJECTS; i++) {
        object_id(m->objects[i].id, n, i);
        m->objects[i].bytes = DW_SLICE(noise + n % 977 + (uint64_t)i * 5000,
                                       i ? SMALL_BYTES : REPORT_BYTES);
    }
    dw_buf_init(&m->doc, DW_DOC_MAX);
    dw_encode(&filler_layout, &filler, &m->doc);
    m->step.objects = m->objects;
    m->step.objects_count = OBJECTS;
    m->step.with_receipt = m->step.with_case = true;
    m->step.reference = m->reference;
    m->step.version = 1;
    m->step.doc = dw_buf_slice(&m->doc);
    m->step.ix = &m->ix;
}

/* Cases from..from+count-1 in one call. */
static void put(uint64_t from, size_t count, bool fresh)
{
    struct made *all = calloc(count, sizeof *all);
    struct dw_store_step **steps = calloc(count, sizeof *steps);
    for (size_t i = 0; i < count; i++) {
        fill(&all[i], from + i, fresh);
        steps[i] = &all[i].step;
    }
    dw_store_apply(store, steps, count);
    for (size_t i = 0; i < count; i++) {
        if (steps[i]->outcome != DW_OK || steps[i]->existed)
            fail(dw_result_name(steps[i]->outcome));
        dw_buf_free(&all[i].doc);
    }
    free(steps);
    free(all);
}

/* ---- counters ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* As many as the city has in a month with every act, every district and every day. */
static size_t name_counters(const char **cells, char (*texts)[40], int month)
{
    static const struct {
        const char *by;
        int values;
    } things[] = {{"day", 31}, {"body", BODIES}, {"district", BODIES}, {"act", 49}, {"service", 35}};
    size_t count = 0;
    for (size_t t = 0; t < DW_COUNT(things); t++)
        for (int v = 1; v <= things[t].values; v++)
            for (int m = 0; m < 2 * MEASURES; m++, count++) {
                const char *kind = m % 2 ? "report" : "complaint";
                if (t)
                    snprintf(texts[count], 40, "%s/%d/%s/m%02d", things[t].by, v, kind, m / 2);
                else
                    snprintf(texts[count], 40, "day/2026-%02d-%02d/%s/m%02d", month, v, kind, m / 2);
                cells[count] = texts[count];
            }
    qsort(cells, count, sizeof *cells, by_text);
    return count;
}

static bool has_counters(void)
{
    struct dw_store_case found;
    DW_AUTO_BUF buf = {0};
    dw_buf_init(&buf, DW_DOC_MAX);
    return dw_store_record(store, DW_STATISTICS, "500000/2026-01", &buf, &found) == DW_OK;
}

static void put_counters(void)
{
    enum { ROOM = (31 + 2 * BODIES + 49 + 35) * 2 * MEASURES };
    const char **cells = calloc(ROOM, sizeof *cells);
    char(*texts)[40] = calloc(ROOM, sizeof *texts);
    int32_t *counts = calloc(ROOM, sizeof *counts);
    for (int i = 0; i < ROOM; i++)
        counts[i] = 1000 + i;
    for (int month = 1; month <= MONTHS; month++) {
        char key[40];
        DW_AUTO_BUF doc = {0};
        struct dw_counters counters = {.batch = 1, .cells = cells, .counts = counts};
        dw_buf_init(&doc, DW_DOC_MAX);
        snprintf(key, sizeof key, "500000/2026-%02d", month);
        counters.cells_count = counters.counts_count = name_counters(cells, texts, month);
        dw_encode(&dw_counters_layout, &counters, &doc);
        struct dw_store_record record = {.collection = DW_STATISTICS, .key = key, .version = 1,
                                         .doc = dw_buf_slice(&doc)};
        struct dw_store_step step = {.records = &record, .records_count = 1}, *steps[] = {&step};
        dw_store_apply(store, steps, 1);
        if (step.outcome != DW_OK)
            fail("counters could not be written");
    }
    free(counts);
    free(texts);
    free(cells);
}

/* ---- measuring ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, double *times, size_t count)
{
    qsort(times, count, sizeof *times, by_size);
    printf(", \"%s\": {\"p50_ms\": %.3f, \"p99_ms\": %.3f}", name, times[count / 2] * 1000,
           times[count * 99 / 100] * 1000);
}

static void ask_worklist(uint64_t n)
{
    char body[8];
    struct dw_store_row *rows;
    size_t count;
    DW_AUTO_ARENA arena = {0};
    snprintf(body, sizeof body, "5001%02u", (unsigned)(n % BODIES));
    struct dw_store_query q = {.list = n % 2 ? DW_LIST_ALL : DW_LIST_UNASSIGNED, .body = body,
                               .limit = PAGE};
    dw_arena_init(&arena, 1 << 20);
    if (dw_store_worklist(store, &q, &arena, &rows, &count) != DW_OK)
        fail("a worklist could not be read");
}

static void follow(uint64_t n)
{
    uint8_t handle[16], id[16];
    struct dw_store_case found;
    DW_AUTO_BUF buf = {0};
    dw_buf_init(&buf, DW_DOC_MAX);
    id_of(handle, n, 1);
    if (dw_store_id_of_handle(store, handle, id) != DW_OK ||
        dw_store_case(store, id, &buf, &found) != DW_OK)
        fail("a case was not found");
}

static void reread(uint64_t n)
{
    uint8_t id[16];
    DW_AUTO_BUF buf = {0};
    dw_buf_init(&buf, 65536);
    object_id(id, n, 0);
    if (dw_store_object(store, id, 0, &buf) != DW_OK)
        fail("an object was not found");
}

static void year(uint64_t n)
{
    static const char *const things[] = {"act", "body", "month", "district"};
    struct dw_statistics_view view;
    struct dw_statistics_query q = {things[n % DW_COUNT(things)], dw_day_from_civil(2026, 1, 1),
                                    dw_day_from_civil(2026, MONTHS, 31)};
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 1 << 22);
    if (dw_statistics_read(store, "500000", &q, &arena, &view) != DW_OK || !view.cells_count)
        fail("statistics could not be read");
}

/* What the way to the store and back costs, beside which the others stand. */
static void ping(uint64_t n)
{
    (void)n;
    if (dw_store_ping(store) != DW_OK)
        fail("the store is away");
}

static const struct {
    const char *name;
    void (*ask)(uint64_t n);
    size_t each_round;
} questions[] = {{"ping", ping, 300},
                 {"worklist page", ask_worklist, 300},
                 {"follow by receipt", follow, 1000},
                 {"object", reread, 1000},
                 {"statistics page", year, 30}};

/* In turns, so that a moment in which the machine is slow is not one question's. */
static void ask_all(uint64_t cases)
{
    double *times[DW_COUNT(questions)];
    for (size_t q = 0; q < DW_COUNT(questions); q++)
        times[q] = calloc(ROUNDS * questions[q].each_round, sizeof **times);
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t q = 0; q < DW_COUNT(questions); q++) {
            for (size_t i = 0; i < questions[q].each_round; i++) {
                uint64_t n;
                randombytes_buf(&n, sizeof n);
                double began = seconds();
                questions[q].ask(n % cases);
                times[q][round * questions[q].each_round + i] = seconds() - began;
            }
        }
    }
    for (size_t q = 0; q < DW_COUNT(questions); q++) {
        print_times(questions[q].name, times[q], ROUNDS * questions[q].each_round);
        free(times[q]);
    }
}

static uint64_t measure(uint64_t cases, size_t in_flight)
{
    double alone[ALONE];
    uint64_t next = cases;
    printf("{\"cases\": %llu", (unsigned long long)cases);
    for (size_t i = 0; i < ALONE; i++) {
        double began = seconds();
        put(next++, 1, true);
        alone[i] = seconds() - began;
    }
    print_times("one step", alone, ALONE);
    double began = seconds(), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), bytes = written();
    double count = (double)(BATCHES * in_flight);
    for (int i = 0; i < BATCHES; i++, next += in_flight)
        put(next, in_flight, true);
    printf(", \"in flight\": %zu, \"registrations_per_second\": %.0f, \"cpu_us\": %.0f,"
           " \"kib_written\": %.1f",
           in_flight, count / (seconds() - began),
           (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / count * 1e6,
           (written() - bytes) / count / 1024);
    ask_all(next);
    printf("}\n");
    fflush(stdout);
    return next;
}

int main(int argc, char **argv)
{
    struct dw_config config;
    struct dw_error err = {0};
    struct dw_store_counts there;
    if (argc < 3 || sodium_init() < 0)
        fail("usage: bench_store URI SIZE,SIZE,... [IN_FLIGHT]");
    size_t in_flight = argc > 3 ? strtoul(argv[3], NULL, 10) : 64;
    dw_config_defaults(&config);
    randombytes_buf(noise, sizeof noise);
    if (dw_store_open(argv[1], &config, &store, &err) != DW_OK)
        fail(err.text);
    if (!has_counters())
        put_counters();
    if (dw_store_counts(store, &there) != DW_OK)
        fail("the store cannot be read");
    uint64_t cases = (uint64_t)there.cases, begun;
    for (char *at = argv[2]; *at; at += *at == ',') {
        uint64_t size = strtoull(at, &at, 10);
        double began = seconds();
        begun = cases;
        for (; cases + in_flight <= size; cases += in_flight) {
            put(cases, in_flight, false);
            if (cases % 65536 < in_flight)
                fprintf(stderr, "  %llu cases, %.0f/s\n", (unsigned long long)cases,
                        (double)(cases - begun) / (seconds() - began + 1e-9));
        }
        cases = measure(cases, in_flight);
    }
    dw_store_close(store);
    dw_config_free(&config);
    return 0;
}
