/* clock.h - time and legal days.  Source: broker/clock.c
 *
 * Stored times are UTC milliseconds.  A legal day is a day in Asia/Shanghai whatever the machine's
 * zone: UTC+8 without summer time since 1992 (the rules we compute begin in 2018).
 * Everything below the main loops takes its time as an argument; only main loops ask dw_now(). */
#ifndef DW_CLOCK_H
#define DW_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef int64_t dw_time; /* milliseconds since 1970-01-01T00:00Z */
typedef int32_t dw_day;  /* legal days since 1970-01-01 */

dw_time dw_now(void);
int64_t dw_monotonic_ms(void);
int64_t dw_monotonic_us(void);

/* For tests and drills: wall time is shifted by the seconds written in this file, re-read at most
 * every 100 ms.  NULL or "" switches it off. */
void dw_clock_use_file(const char *path);

dw_day dw_day_of(dw_time t);
dw_time dw_day_start(dw_day day); /* its first millisecond */

dw_day dw_day_from_civil(int year, int month, int day);
void dw_day_to_civil(dw_day day, int *year, int *month, int *day_of_month);
int dw_day_weekday(dw_day day); /* 1 Monday ... 7 Sunday */

/* "2026-09-28".  Parsing accepts exactly this form and only days that exist. */
#define DW_DAY_TEXT 12
char *dw_day_format(dw_day day, char out[DW_DAY_TEXT]);
bool dw_day_parse(const char *text, dw_day *ret);

/* "2026-09-28T01:02:03Z" */
#define DW_TIME_TEXT 24
char *dw_time_format(dw_time t, char out[DW_TIME_TEXT]);

#endif
