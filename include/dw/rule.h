/* rule.h - deadlines of the law as data.  Source: workers/domain/rule.c
 *
 * Data: one YAML file a rule pack in conf/rules.  Each rule carries its article, its source and
 * whether that source was read in full, in part, or is a design default.  No number of the law
 * stands in C.
 *
 * Counting (Civil Code arts. 201-203): the day of the start is not counted; a period in working days
 * ends on its last working day; a period in calendar days that ends on a day off ends on the next
 * working day. */
#ifndef DW_RULE_H
#define DW_RULE_H

#include "dw/bytes.h"
#include "dw/calendar.h"

enum dw_unit { DW_WORKING_DAYS, DW_CALENDAR_DAYS, DW_MONTHS, DW_HOURS };
enum dw_verified { DW_VERIFIED_FULL, DW_VERIFIED_SECONDARY, DW_VERIFIED_NO };

struct dw_rule {
    const char *id, *pack; /* "D08", "MED-2022" */
    const char *what_zh, *what_en;
    enum dw_unit unit;
    int32_t length;
    int32_t extension; /* one lawful extension, same unit; 0 for none */
    const char *article, *source;
    enum dw_verified verified;
    dw_day from, until;      /* the pack is in force; until 0 means without end */
    const char **starts;     /* events that start the clock */
    size_t starts_count;
    const char **stops;      /* events that meet it */
    size_t stops_count;
    bool real_name_only;
    int32_t soon; /* working days before the due day at which it counts as "due soon" */
};

struct dw_rules;
enum dw_result dw_rules_load(const char *data_folder, struct dw_rules **ret, struct dw_error *err);
void dw_rules_free(struct dw_rules *rules);
/* The rule of the pack in force on that day; NULL when none is.  A pack that was superseded still
 * answers for its own days. */
const struct dw_rule *dw_rule_find(const struct dw_rules *rules, const char *id, dw_day on);
/* By id and pack, whatever the day: for clocks that were started under it. */
const struct dw_rule *dw_rule_of_pack(const struct dw_rules *rules, const char *id,
                                      const char *pack);
size_t dw_rules_count(const struct dw_rules *rules);
const struct dw_rule *dw_rules_at(const struct dw_rules *rules, size_t i);

/* One line of the explanation: days from..to (inclusive) were counted, or skipped and why. */
struct dw_due_step {
    dw_day from, to;
    int32_t counted; /* how many of them, 0 for skipped ones */
    const char *why_zh, *why_en;
};
struct dw_due {
    dw_day start, due;
    bool extended;
    bool estimate; /* a day in it lies beyond the known calendar */
    struct dw_due_step *steps;
    size_t steps_count;
};
/* Steps live in the arena. DW_INVALID only for an arena that is too small. */
enum dw_result dw_rule_due(const struct dw_rule *rule, const struct dw_calendar *calendar,
                           dw_day start, bool extended, struct dw_arena *arena,
                           struct dw_due *ret);
/* The day on which "due soon" begins: `rule->soon` working days before due, never before start. */
dw_day dw_rule_soon(const struct dw_rule *rule, const struct dw_calendar *calendar,
                    const struct dw_due *due);
const char *dw_verified_name(enum dw_verified v); /* "full", "secondary", "no" */

#endif
