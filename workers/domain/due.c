/* due.c - the date on which a rule's time is up, with the days that were counted and skipped.
 *
 * Pure: rule, calendar and start in, date and steps out.  Steps are consecutive and do not overlap:
 * the first begins on the day after the start, the last ends on the due day.  Names of holidays in
 * them belong to the calendar, which must outlive them. */
#include "dw/rule.h"

#include <string.h>

/* Why a stretch of days was counted; why one was skipped is the calendar's to say. */
enum reason { WORKING, MAKE_UP, GUESSED, CALENDAR, MONTH, HOUR, REASONS };
static const struct {
    const char *zh, *en;
} reasons[REASONS] = {
    [WORKING] = {"工作日", "working days"},
    [MAKE_UP] = {"调休上班，计入工作日", "make-up working day, counted"},
    [GUESSED] = {"该年度放假安排尚未公布，暂按周一至周五估算",
                 "holidays of that year not announced yet; Monday to Friday assumed"},
    [CALENDAR] = {"自然日", "calendar days"},
    [MONTH] = {"按月计算，至最后一个月的对应日",
               "months, to the corresponding day of the last one"},
    [HOUR] = {"按小时计算", "hours"},
};

struct counting {
    const struct dw_calendar *calendar;
    struct dw_arena *arena;
    struct dw_due_step *steps;
    size_t count;
    bool estimate;
};

/* Adds days from..to, lengthening the last step where the reason is the same. */
static void add_step(struct counting *c, dw_day from, dw_day to, int32_t counted, const char *zh,
                     const char *en)
{
    struct dw_due_step *last = c->count ? &c->steps[c->count - 1] : NULL;
    if (last && strcmp(last->why_zh, zh) == 0 && !last->counted == !counted) {
        last->to = to;
        last->counted += counted;
        return;
    }
    c->steps = dw_realloc(c->steps, sizeof *c->steps * (c->count + 1));
    c->steps[c->count++] = (struct dw_due_step){from, to, counted, zh, en};
}

static struct dw_calendar_day look_at(struct counting *c, dw_day day)
{
    struct dw_calendar_day known = dw_calendar_day(c->calendar, day);
    c->estimate |= !known.known;
    return known;
}

static dw_day count_working_days(struct counting *c, dw_day day, int32_t length)
{
    while (length > 0) {
        struct dw_calendar_day what = look_at(c, ++day);
        if (!what.works) {
            add_step(c, day, day, 0, what.why_zh, what.why_en);
            continue;
        }
        enum reason why = *what.why_zh ? MAKE_UP : what.known ? WORKING : GUESSED;
        add_step(c, day, day, 1, reasons[why].zh, reasons[why].en);
        length--;
    }
    return day;
}

/* Civil Code art. 203: a period that ends on a day off ends on the next working day. */
static bool roll_forward(struct counting *c, dw_day end, dw_day *ret)
{
    struct dw_calendar_day last = look_at(c, end);
    *ret = end;
    if (last.works)
        return true;
    while (!look_at(c, *ret).works)
        ++*ret;
    const char *zh = dw_arena_printf(c->arena, "最后一日为%s，顺延至下一个工作日", last.why_zh);
    const char *en = dw_arena_printf(c->arena,
                                     "the last day is a day off (%s): moved to the next "
                                     "working day",
                                     last.why_en);
    if (zh && en)
        add_step(c, end + 1, *ret, 0, zh, en);
    return zh && en;
}

static bool count_calendar_days(struct counting *c, dw_day start, int32_t length, dw_day *ret)
{
    add_step(c, start + 1, start + length, length, reasons[CALENDAR].zh, reasons[CALENDAR].en);
    return roll_forward(c, start + length, ret);
}

/* Civil Code art. 202: the corresponding day of the last month, or the last day of a month that
 * has no such day. */
static dw_day add_months(dw_day start, int32_t months)
{
    int year, month, day, got_year, got_month, got_day;
    dw_day_to_civil(start, &year, &month, &day);
    int index = year * 12 + month - 1 + months;
    dw_day end = dw_day_from_civil(index / 12, index % 12 + 1, day);
    dw_day_to_civil(end, &got_year, &got_month, &got_day);
    return got_day == day ? end : end - got_day; /* ran over: back to the last day of the month */
}

static bool count_months(struct counting *c, dw_day start, int32_t length, dw_day *ret)
{
    dw_day end = add_months(start, length);
    add_step(c, start + 1, end, end - start, reasons[MONTH].zh, reasons[MONTH].en);
    return roll_forward(c, end, ret);
}

/* Hours run through days off.  We keep days only: the day in which the last hour falls at the
 * latest. */
static dw_day count_hours(struct counting *c, dw_day start, int32_t length)
{
    int32_t days = (length + 23) / 24;
    add_step(c, start + 1, start + days, days, reasons[HOUR].zh, reasons[HOUR].en);
    return start + days;
}

enum dw_result dw_rule_due(const struct dw_rule *rule, const struct dw_calendar *calendar,
                           dw_day start, bool extended, struct dw_arena *arena, struct dw_due *ret)
{
    struct counting c = {.calendar = calendar, .arena = arena};
    int32_t length = rule->length + (extended ? rule->extension : 0);
    dw_day due = start;
    bool done = true;

    switch (rule->unit) {
    case DW_WORKING_DAYS:
        due = count_working_days(&c, start, length);
        break;
    case DW_CALENDAR_DAYS:
        done = count_calendar_days(&c, start, length, &due);
        break;
    case DW_MONTHS:
        done = count_months(&c, start, length, &due);
        break;
    case DW_HOURS:
        due = count_hours(&c, start, length);
        break;
    }
    struct dw_due_step *steps = dw_arena_memdup(arena, c.steps, sizeof *c.steps * c.count);
    dw_free(c.steps);
    if (!done || !steps)
        return DW_INVALID;
    *ret = (struct dw_due){.start = start,
                           .due = due,
                           .extended = extended && rule->extension > 0,
                           .estimate = c.estimate,
                           .steps = steps,
                           .steps_count = c.count};
    return DW_OK;
}

dw_day dw_rule_soon(const struct dw_rule *rule, const struct dw_calendar *calendar,
                    const struct dw_due *due)
{
    dw_day day = due->due;
    for (int32_t left = rule->soon; left > 0 && day > due->start;) {
        day--;
        left -= dw_calendar_day(calendar, day).works;
    }
    return day < due->start ? due->start : day;
}
