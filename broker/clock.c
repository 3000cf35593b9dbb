#include "dw/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { SHANGHAI_MS = 8 * 3600 * 1000, DAY_MS = 86400000, REREAD_MS = 100 };

static struct {
    pthread_mutex_t lock;
    char *path;
    int64_t read_at;
    int64_t offset_ms;
} drill = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int64_t clock_ms(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t dw_monotonic_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

int64_t dw_monotonic_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void dw_clock_use_file(const char *path)
{
    pthread_mutex_lock(&drill.lock);
    free(drill.path);
    drill.path = path && *path ? strdup(path) : NULL;
    drill.read_at = 0;
    drill.offset_ms = 0;
    pthread_mutex_unlock(&drill.lock);
}

static int64_t drill_offset_ms(void)
{
    int64_t offset = 0;
    pthread_mutex_lock(&drill.lock);
    if (drill.path) {
        int64_t now = dw_monotonic_ms();
        if (drill.read_at == 0 || now - drill.read_at >= REREAD_MS) {
            char text[32] = "";
            int fd = open(drill.path, O_RDONLY | O_CLOEXEC);
            ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
            if (fd >= 0)
                close(fd);
            if (n > 0)
                drill.offset_ms = (int64_t)strtoll(text, NULL, 10) * 1000;
            drill.read_at = now;
        }
        offset = drill.offset_ms;
    }
    pthread_mutex_unlock(&drill.lock);
    return offset;
}

dw_time dw_now(void)
{
    return clock_ms(CLOCK_REALTIME) + drill_offset_ms();
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

dw_day dw_day_of(dw_time t)
{
    return (dw_day)floor_div(t + SHANGHAI_MS, DAY_MS);
}

dw_time dw_day_start(dw_day day)
{
    return (dw_time)day * DAY_MS - SHANGHAI_MS;
}

/* Days from civil and back: the proleptic Gregorian calendar counted in eras of 400 years that
 * begin on 1 March, so that the leap day is the last of its year. */
dw_day dw_day_from_civil(int year, int month, int day)
{
    year -= month <= 2;
    int era = (int)floor_div(year, 400);
    int year_of_era = year - era * 400;
    int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

void dw_day_to_civil(dw_day day, int *year, int *month, int *day_of_month)
{
    int z = day + 719468;
    int era = (int)floor_div(z, 146097);
    int doe = z - era * 146097;
    int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int mp = (5 * doy + 2) / 153;
    *day_of_month = doy - (153 * mp + 2) / 5 + 1;
    *month = mp + (mp < 10 ? 3 : -9);
    *year = yoe + era * 400 + (*month <= 2);
}

int dw_day_weekday(dw_day day)
{
    int w = (int)((day + 3) % 7); /* 1970-01-01 was a Thursday */
    return (w < 0 ? w + 7 : w) + 1;
}

char *dw_day_format(dw_day day, char out[DW_DAY_TEXT])
{
    int y, m, d;
    dw_day_to_civil(day, &y, &m, &d);
    if (y < 0 || y > 9999)
        y = m = d = 0;
    snprintf(out, DW_DAY_TEXT, "%04u-%02u-%02u", (unsigned)y % 10000, (unsigned)m % 100,
             (unsigned)d % 100);
    return out;
}

bool dw_day_parse(const char *text, dw_day *ret)
{
    static const char form[] = "dddd-dd-dd";
    for (size_t i = 0; i < sizeof form; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (form[i] == 'd' ? !digit : text[i] != form[i])
            return false;
    }
    int y = atoi(text), m = atoi(text + 5), d = atoi(text + 8);
    if (y < 1900 || m < 1 || m > 12 || d < 1)
        return false;
    dw_day day = dw_day_from_civil(y, m, d);
    int y2, m2, d2;
    dw_day_to_civil(day, &y2, &m2, &d2);
    if (y2 != y || m2 != m || d2 != d)
        return false;
    *ret = day;
    return true;
}

char *dw_time_format(dw_time t, char out[DW_TIME_TEXT])
{
    time_t seconds = (time_t)floor_div(t, 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, DW_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return out;
}
