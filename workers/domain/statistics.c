/* statistics.c - what an event adds to the counters: tables, and nothing else that decides. */
#include "dw/statistics.h"

#include <stdio.h>
#include <string.h>

enum { MONTH_TEXT = 8, VALUES_MAX = 16, VALUE_TEXT = 40 };

/* ---- the tables ---- */

enum by {
    DAY,
    BODY,
    AGAINST,
    CHANNEL,
    LANGUAGE,
    DISTRICT,
    ACT,
    COMPLAINT,
    SERVICE,
    AMOUNT,
    NAMED,
    REASON,
    OUTCOME,
    RULE,
    BY_COUNT
};
#define BIT(by) (1u << (by))
#define ALWAYS  (BIT(DAY) | BIT(BODY))
#define FACTS                                                                                      \
    (BIT(AGAINST) | BIT(CHANNEL) | BIT(LANGUAGE) | BIT(DISTRICT) | BIT(ACT) | BIT(COMPLAINT) |     \
     BIT(SERVICE) | BIT(AMOUNT) | BIT(NAMED))

/* In whose area it counts. */
enum whose {
    BEFORE, /* the body that was responsible */
    AFTER,  /* the body that is responsible now */
    TOLD,   /* the body whose clock it is */
};

/* Event, what it counts as, and by which things beside day and body. */
static const struct row {
    const char *event, *measure;
    enum whose whose;
    unsigned by;
} rows[] = {
    {"registered", "registered", AFTER, FACTS},
    {"accepted", "accepted", BEFORE, BIT(AGAINST) | BIT(NAMED)},
    {"refused", "refused", BEFORE, BIT(AGAINST) | BIT(NAMED) | BIT(REASON)},
    {"transferred", "transferred", BEFORE, BIT(REASON)},
    {"received", "handed_over", BEFORE, 0},
    {"received", "received", AFTER, 0},
    {"handed_over", "handed_over", BEFORE, 0},
    {"returned", "returned", BEFORE, BIT(REASON)},
    {"asked", "asked", BEFORE, 0},
    {"replied", "replied", BEFORE, 0},
    {"message", "messages", BEFORE, 0},
    {"decided", "decided", BEFORE, BIT(AGAINST) | BIT(NAMED) | BIT(OUTCOME)},
    {"closed", "closed", BEFORE, 0},
    {"archived", "archived", BEFORE, 0},
    {"withdrawn", "withdrawn", BEFORE, BIT(NAMED)},
    {"clock_overdue", "overdue", TOLD, BIT(RULE)},
    {"notice_failed", "notices_failed", BEFORE, 0},
};

/* What there is to count one event. */
struct subject {
    const struct dw_facts *facts;
    const struct dw_event *event;
    const char *body; /* in whose area */
};
struct values {
    const char *items[VALUES_MAX];
    size_t count;
    char made[VALUE_TEXT]; /* one that is no text of the case */
};

static void put(struct values *v, const char *value)
{
    if (value && *value && v->count < VALUES_MAX)
        v->items[v->count++] = value;
}

static void by_day(const struct subject *s, struct values *v)
{
    put(v, dw_day_format(s->event->day, v->made));
}
static void by_body(const struct subject *s, struct values *v)
{
    put(v, s->body);
}
static void by_against(const struct subject *s, struct values *v)
{
    put(v, s->facts->against);
}
static void by_channel(const struct subject *s, struct values *v)
{
    put(v, s->facts->channel);
}
static void by_language(const struct subject *s, struct values *v)
{
    put(v, s->facts->language);
}
static void by_district(const struct subject *s, struct values *v)
{
    put(v, s->facts->district);
}
static void by_act(const struct subject *s, struct values *v)
{
    for (size_t i = 0; i < s->facts->acts_count; i++)
        put(v, s->facts->acts[i]);
}
static void by_complaint(const struct subject *s, struct values *v)
{
    put(v, s->facts->complaint);
}
static void by_service(const struct subject *s, struct values *v)
{
    snprintf(v->made, sizeof v->made, "%d", (int)s->facts->service);
    put(v, s->facts->service ? v->made : NULL);
}
static void by_amount(const struct subject *s, struct values *v)
{
    put(v, s->facts->amount);
}
static void by_named(const struct subject *s, struct values *v)
{
    put(v, s->facts->real_name ? "named" : "anonymous");
}
static void by_reason(const struct subject *s, struct values *v)
{
    put(v, s->event->reason);
}
static void by_outcome(const struct subject *s, struct values *v)
{
    put(v, s->event->outcome);
}

static const struct {
    const char *name;
    void (*values)(const struct subject *s, struct values *v);
} dimensions[BY_COUNT] = {
    [DAY] = {"day", by_day},
    [BODY] = {"body", by_body},
    [AGAINST] = {"against", by_against},
    [CHANNEL] = {"channel", by_channel},
    [LANGUAGE] = {"language", by_language},
    [DISTRICT] = {"district", by_district},
    [ACT] = {"act", by_act},
    [COMPLAINT] = {"complaint", by_complaint},
    [SERVICE] = {"service", by_service},
    [AMOUNT] = {"amount", by_amount},
    [NAMED] = {"named", by_named},
    [REASON] = {"reason", by_reason},
    [OUTCOME] = {"outcome", by_outcome},
    [RULE] = {"rule", by_reason}, /* of the clock: the reason of its events */
};

/* Counted now, not over time: how many cases are in each state, and how many of each state a body
 * has. */
static const char by_state[] = "state", by_workload[] = "workload";
/* Made of the days. */
static const char by_month[] = "month";

/* ---- adding ---- */

static void add_cell(const char *area, const char *month, const char *by, const char *value,
                     const char *kind, const char *measure, int64_t n, struct dw_tally *tally)
{
    char key[DW_COUNTER_TEXT];
    int len = snprintf(key, sizeof key, "%s/%s %s/%s/%s/%s", area, month, by, value, kind, measure);
    if (len > 0 && (size_t)len < sizeof key) /* it always is: all of it are codes */
        dw_tally_add(tally, key, n);
}

/* The body itself, and all above it. */
static const char *area_above(const struct dw_routing *routing, const char *area)
{
    const struct dw_body *body = dw_body_find(routing, area);
    return body && *body->superior ? body->superior : NULL;
}

static void add_row(const struct dw_routing *routing, const struct row *row,
                    const struct subject *subject, struct dw_tally *tally)
{
    char day[DW_DAY_TEXT], month[MONTH_TEXT];
    snprintf(month, sizeof month, "%.7s", dw_day_format(subject->event->day, day));
    for (int by = 0; by < BY_COUNT; by++) {
        struct values v = {.count = 0};
        if ((row->by | ALWAYS) & BIT(by))
            dimensions[by].values(subject, &v);
        for (size_t i = 0; i < v.count; i++)
            for (const char *area = subject->body; area; area = area_above(routing, area))
                add_cell(area, month, dimensions[by].name, v.items[i], subject->facts->kind,
                         row->measure, 1, tally);
    }
}

static void add_standing(const struct dw_routing *routing, const struct dw_facts *facts,
                         const struct dw_standing *standing, int64_t n, struct dw_tally *tally)
{
    if (!standing->state || !standing->body)
        return;
    for (const char *area = standing->body; area; area = area_above(routing, area)) {
        add_cell(area, "now", by_state, standing->state, facts->kind, "cases", n, tally);
        add_cell(area, "now", by_workload, standing->body, facts->kind, standing->state, n, tally);
    }
}

/* Where the case stands after the event: events say it themselves, without what they follow from.
 */
static void advance(struct dw_standing *standing, const struct dw_event *event)
{
    if (strcmp(event->kind, "registered") == 0)
        standing->body = event->to;
    else if (strcmp(event->kind, "transferred") == 0)
        standing->to = event->to;
    else if (strcmp(event->kind, "received") == 0)
        standing->body = standing->to;
    standing->state = event->state;
}

static bool is_same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

void dw_statistics_event(const struct dw_routing *routing, const struct dw_facts *facts,
                         struct dw_standing *standing, const struct dw_event *event,
                         struct dw_tally *tally)
{
    const struct dw_standing before = *standing;
    advance(standing, event);
    if (!tally)
        return;
    const char *const bodies[] = {
        [BEFORE] = before.body, [AFTER] = standing->body, [TOLD] = event->body};
    for (size_t i = 0; i < DW_COUNT(rows); i++) {
        const struct subject subject = {facts, event, bodies[rows[i].whose]};
        if (strcmp(rows[i].event, event->kind) == 0 && subject.body)
            add_row(routing, &rows[i], &subject, tally);
    }
    if (is_same(before.state, standing->state) && is_same(before.body, standing->body))
        return;
    add_standing(routing, facts, &before, -1, tally);
    add_standing(routing, facts, standing, 1, tally);
}

void dw_statistics_events(const struct dw_routing *routing, const struct dw_case *c, int32_t from,
                          int32_t upto, struct dw_tally *tally)
{
    struct dw_standing standing = {0};
    for (int32_t i = 0; i < upto && (size_t)i < c->events_count; i++)
        dw_statistics_event(routing, &c->facts, &standing, &c->events[i], i < from ? NULL : tally);
}

bool dw_statistics_behind(const struct dw_case *c)
{
    for (size_t i = (size_t)c->folded; i < c->events_count; i++) {
        const struct dw_event *event = &c->events[i];
        if (!i || !is_same(event->state, event[-1].state))
            return true;
        for (size_t r = 0; r < DW_COUNT(rows); r++)
            if (strcmp(rows[r].event, event->kind) == 0)
                return true;
    }
    return false;
}

/* ---- bounds ---- */

size_t dw_statistics_most(const struct dw_catalogue *catalogue, const struct dw_routing *routing,
                          size_t rules)
{
    enum { KINDS = 2, DAYS = 31, FEW = 4 };
    const size_t reasons = dw_terms_count(catalogue, DW_REFUSALS) +
                           dw_terms_count(catalogue, DW_TRANSFERS) +
                           dw_terms_count(catalogue, DW_RETURNS);
    const size_t values[BY_COUNT] = {
        [DAY] = DAYS,
        [BODY] = dw_bodies_count(routing),
        [AGAINST] = dw_terms_count(catalogue, DW_AGAINST),
        [CHANNEL] = FEW,
        [LANGUAGE] = FEW,
        [DISTRICT] = dw_terms_count(catalogue, DW_DISTRICTS),
        [ACT] = dw_terms_count(catalogue, DW_ACTS),
        [COMPLAINT] = dw_terms_count(catalogue, DW_COMPLAINTS),
        [SERVICE] = dw_terms_count(catalogue, DW_SERVICES),
        [AMOUNT] = dw_terms_count(catalogue, DW_AMOUNTS),
        [NAMED] = FEW,
        [REASON] = reasons,
        [OUTCOME] = dw_terms_count(catalogue, DW_OUTCOMES),
        [RULE] = rules,
    };
    size_t month = 0;
    size_t now = dw_terms_count(catalogue, DW_STATES) * (1 + dw_bodies_count(routing)) * KINDS;
    for (size_t i = 0; i < DW_COUNT(rows); i++)
        for (int by = 0; by < BY_COUNT; by++)
            month += (rows[i].by | ALWAYS) & BIT(by) ? values[by] * KINDS : 0;
    return month > now ? month : now;
}

/* ---- asking ---- */

static const struct dw_field view_fields[] = {
    DW_F_TEXT(struct dw_statistics_view, area, 32, 0),
    DW_F_TEXT(struct dw_statistics_view, by, DW_STATISTICS_BY_MAX, 0),
    DW_F_I32(struct dw_statistics_view, from, DW_OPTIONAL),
    DW_F_I32(struct dw_statistics_view, to, DW_OPTIONAL),
    DW_F_BOOL(struct dw_statistics_view, behind, DW_OPTIONAL),
    DW_F_TEXTS(struct dw_statistics_view, cells, DW_COUNTERS_MAX, DW_OPTIONAL),
    DW_F_I32S(struct dw_statistics_view, counts, DW_COUNTERS_MAX, DW_OPTIONAL),
};
const struct dw_layout dw_statistics_view_layout =
    DW_LAYOUT("statistics", struct dw_statistics_view, view_fields);

bool dw_statistics_is_now(const char *by)
{
    return strcmp(by, by_state) == 0 || strcmp(by, by_workload) == 0;
}

static enum dw_result refuse_by(struct dw_error *err)
{
    char names[200] = "";
    size_t len = 0;
    for (int by = 0; by < BY_COUNT && len < sizeof names; by++)
        len += (size_t)snprintf(names + len, sizeof names - len, "%s, ", dimensions[by].name);
    return dw_invalid(err, "by", "expected one of %s%s, %s or %s", names, by_month, by_state,
                      by_workload);
}

static bool is_known(const char *by)
{
    bool known = strcmp(by, by_month) == 0 || dw_statistics_is_now(by);
    for (int i = 0; i < BY_COUNT; i++)
        known |= strcmp(by, dimensions[i].name) == 0;
    return known;
}

/* The first day of the month so many months on. */
static dw_day first_of_month(dw_day day, int on)
{
    int year, month, of_month;
    dw_day_to_civil(day, &year, &month, &of_month);
    month += on;
    return dw_day_from_civil(year + (month - 1) / 12, (month - 1) % 12 + 1, 1);
}

static int64_t months_of(const struct dw_statistics_query *q)
{
    int from_year, from_month, to_year, to_month, day;
    dw_day_to_civil(q->from, &from_year, &from_month, &day);
    dw_day_to_civil(q->to, &to_year, &to_month, &day);
    return (int64_t)(to_year - from_year) * 12 + to_month - from_month + 1;
}

enum dw_result dw_statistics_check(struct dw_statistics_query *q, dw_day today, int64_t months_max,
                                   struct dw_error *err)
{
    if (!q->by)
        q->by = by_month;
    if (!is_known(q->by))
        return refuse_by(err);
    if (dw_statistics_is_now(q->by)) {
        if (q->from || q->to)
            return dw_invalid(err, q->from ? "from" : "to",
                              "expected no days: by=%s tells how it is now", q->by);
        return DW_OK;
    }
    bool days = strcmp(q->by, dimensions[DAY].name) == 0;
    if (!q->from)
        q->from = first_of_month(q->to ? q->to : today, 0);
    if (!q->to)
        q->to = first_of_month(q->from > today ? q->from : today, 1) - 1;
    if (q->to < q->from)
        return dw_invalid(err, "to", "expected a day that is not before from");
    if (days)
        return q->to - q->from < DW_STATISTICS_DAYS_MAX
                   ? DW_OK
                   : dw_invalid(err, "to", "expected at most %d days", DW_STATISTICS_DAYS_MAX);
    if (q->from != first_of_month(q->from, 0))
        return dw_invalid(err, "from",
                          "expected the first day of a month: only by=day counts days");
    if (q->to + 1 != first_of_month(q->to, 1))
        return dw_invalid(err, "to", "expected the last day of a month: only by=day counts days");
    if (months_of(q) > months_max)
        return dw_invalid(err, "to", "expected at most %lld months", (long long)months_max);
    return DW_OK;
}

/* "day/2026-11-24/report/registered" is day, 2026-11-24, report/registered. */
void dw_statistics_select(const struct dw_statistics_query *q, const char *counter, int64_t n,
                          struct dw_tally *ret)
{
    char month[DW_COUNTER_TEXT];
    bool of_months = strcmp(q->by, by_month) == 0;
    const char *by = of_months ? dimensions[DAY].name : q->by;
    size_t len = strlen(by);
    if (strncmp(counter, by, len) != 0 || counter[len] != '/')
        return;
    const char *rest = counter + len + 1;
    if (strcmp(by, dimensions[DAY].name) == 0) {
        char text[DW_DAY_TEXT];
        dw_day day;
        snprintf(text, sizeof text, "%.10s", rest);
        if (!dw_day_parse(text, &day) || day < q->from || day > q->to)
            return;
        if (of_months) {
            snprintf(month, sizeof month, "%.7s%s", rest, rest + 10);
            rest = month;
        }
    }
    dw_tally_add(ret, rest, n);
}
