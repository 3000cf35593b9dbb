/* calendar.h - which days are working days.  Source: workers/domain/calendar.c
 *
 * Data: conf/calendar/CN-YYYY.yaml, from the State Council's yearly holiday notice: days off, and
 * make-up working days (调休) that fall on a weekend.  A year without a file is not known: such days
 * are counted Monday to Friday, and whatever is computed with them is an estimate and says so. */
#ifndef DW_CALENDAR_H
#define DW_CALENDAR_H

#include "dw/clock.h"
#include "dw/result.h"

struct dw_calendar;
/* Reads every CN-*.yaml below FOLDER/calendar. */
enum dw_result dw_calendar_load(const char *data_folder, struct dw_calendar **ret,
                                struct dw_error *err);
void dw_calendar_free(struct dw_calendar *calendar);

struct dw_calendar_day {
    bool works;
    bool known;         /* false: the year's calendar is not known */
    const char *why_zh; /* "国庆节", "调休上班", "周末", "" on ordinary working days */
    const char *why_en; /* "National Day", "make-up working day", "weekend", "" */
};
struct dw_calendar_day dw_calendar_day(const struct dw_calendar *calendar, dw_day day);
/* Last day of the last year that is known without a gap from the first; 0 when nothing is known. */
dw_day dw_calendar_known_until(const struct dw_calendar *calendar);

#endif
