#include "dw/calendar.h"

#include "yaml.h"

#include <stdlib.h>
#include <string.h>

/* The file, as written. */
struct holiday {
    const char *zh, *en;
    const char *from, *to;
    const char **works; /* make-up working days */
    size_t works_count;
};
struct year_file {
    int32_t year;
    const char *source, *verified;
    struct holiday *holidays;
    size_t holidays_count;
};

static const cyaml_schema_field_t holiday_fields[] = {
    DW_Y_TEXT(struct holiday, zh),
    DW_Y_TEXT(struct holiday, en),
    DW_Y_TEXT(struct holiday, from),
    DW_Y_TEXT(struct holiday, to),
    DW_Y_MAYBE_LIST(struct holiday, works, &dw_yaml_code, 10),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t holiday_schema = {
    CYAML_VALUE_MAPPING(0, struct holiday, holiday_fields)};
static const cyaml_schema_field_t year_fields[] = {
    CYAML_FIELD_INT("year", 0, struct year_file, year),
    DW_Y_TEXT(struct year_file, source),
    DW_Y_TEXT(struct year_file, verified),
    DW_Y_LIST(struct year_file, holidays, &holiday_schema, 1, 20),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t year_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct year_file, year_fields)};

/* The same, as it is asked: one entry for each day that differs from Monday to Friday. */
struct special {
    dw_day day;
    bool works;
    const struct holiday *holiday;
};
struct dw_calendar {
    struct year_file **years; /* ascending */
    size_t years_count;
    struct special *days; /* ascending */
    size_t days_count;
};

static int compare_days(const void *a, const void *b)
{
    const struct special *x = a, *y = b;
    return (x->day > y->day) - (x->day < y->day);
}

static int compare_years(const void *a, const void *b)
{
    const struct year_file *const *x = a, *const *y = b;
    return ((*x)->year > (*y)->year) - ((*x)->year < (*y)->year);
}

static void add_special(struct dw_calendar *self, dw_day day, bool works, const struct holiday *h)
{
    self->days = dw_realloc(self->days, sizeof *self->days * (self->days_count + 1));
    self->days[self->days_count++] = (struct special){day, works, h};
}

/* A holiday may reach into the neighbouring year (a New Year that begins in December). */
static bool is_near_year(dw_day day, int year)
{
    return day >= dw_day_from_civil(year - 1, 12, 1) && day <= dw_day_from_civil(year + 1, 1, 31);
}

static enum dw_result take_holiday(struct dw_calendar *self, const char *name, int year,
                                   const struct holiday *h, struct dw_error *err)
{
    dw_day from, to, day;
    if (!dw_yaml_day(h->from, name, h->zh, "from", &from, err) ||
        !dw_yaml_day(h->to, name, h->zh, "to", &to, err))
        return DW_INVALID;
    if (to < from || to - from > 30)
        return dw_yaml_wrong(err, name, h->zh, "expected `to` within 30 days after `from`");
    if (!is_near_year(from, year) || !is_near_year(to, year))
        return dw_yaml_wrong(err, name, h->zh, "lies outside the year %d", year);
    for (day = from; day <= to; day++)
        add_special(self, day, false, h);
    for (size_t i = 0; i < h->works_count; i++) {
        if (!dw_yaml_day(h->works[i], name, h->zh, "works", &day, err))
            return DW_INVALID;
        if (!is_near_year(day, year))
            return dw_yaml_wrong(err, name, h->zh, "%s lies outside the year %d", h->works[i],
                                 year);
        if (dw_day_weekday(day) < 6)
            return dw_yaml_wrong(err, name, h->zh,
                                 "%s is no weekend day; make-up days lie on weekends", h->works[i]);
        add_special(self, day, true, h);
    }
    return DW_OK;
}

static enum dw_result load_year(struct dw_calendar *self, const char *folder, const char *name,
                                struct dw_error *err)
{
    struct year_file *file;
    enum dw_result result = dw_yaml_load(folder, name, &year_schema, &file, err);
    if (result != DW_OK)
        return result;
    self->years = dw_realloc(self->years, sizeof *self->years * (self->years_count + 1));
    self->years[self->years_count++] = file;
    if (file->year < 1950 || file->year > 2200)
        return dw_yaml_wrong(err, name, "year", "expected a year from 1950 to 2200");
    if (!dw_yaml_is_verified(file->verified))
        return dw_yaml_wrong(err, name, "verified", "expected full, secondary or no");
    for (size_t i = 0; result == DW_OK && i < file->holidays_count; i++)
        result = take_holiday(self, name, file->year, &file->holidays[i], err);
    return result;
}

static enum dw_result check_years(struct dw_calendar *self, struct dw_error *err)
{
    char text[DW_DAY_TEXT];
    if (self->years_count)
        qsort(self->years, self->years_count, sizeof *self->years, compare_years);
    if (self->days_count)
        qsort(self->days, self->days_count, sizeof *self->days, compare_days);
    for (size_t i = 1; i < self->years_count; i++)
        if (self->years[i]->year == self->years[i - 1]->year)
            return dw_yaml_wrong(err, "calendar", "year", "%d is given by two files",
                                 self->years[i]->year);
    for (size_t i = 1; i < self->days_count; i++)
        if (self->days[i].day == self->days[i - 1].day)
            return dw_yaml_wrong(err, "calendar", self->days[i].holiday->zh, "%s is given twice",
                                 dw_day_format(self->days[i].day, text));
    return DW_OK;
}

enum dw_result dw_calendar_load(const char *data_folder, struct dw_calendar **ret,
                                struct dw_error *err)
{
    struct dw_yaml_names names;
    enum dw_result result = dw_yaml_list(data_folder, "calendar", "CN-", &names, err);
    if (result != DW_OK)
        return result;
    struct dw_calendar *self = dw_alloc(sizeof *self);
    for (size_t i = 0; result == DW_OK && i < names.count; i++)
        result = load_year(self, data_folder, names.items[i], err);
    if (result == DW_OK)
        result = check_years(self, err);
    dw_yaml_names_free(&names);
    if (result == DW_OK)
        *ret = self;
    else
        dw_calendar_free(self);
    return result;
}

void dw_calendar_free(struct dw_calendar *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < self->years_count; i++)
        dw_yaml_free(&year_schema, self->years[i]);
    dw_free(self->years);
    dw_free(self->days);
    dw_free(self);
}

static bool is_known(const struct dw_calendar *self, dw_day day)
{
    int year, month, day_of_month;
    dw_day_to_civil(day, &year, &month, &day_of_month);
    for (size_t i = 0; i < self->years_count; i++)
        if (self->years[i]->year == year)
            return true;
    return false;
}

struct dw_calendar_day dw_calendar_day(const struct dw_calendar *self, dw_day day)
{
    struct dw_calendar_day ret = {.known = is_known(self, day), .why_zh = "", .why_en = ""};
    struct special wanted = {.day = day};
    const struct special *found = NULL;
    if (self->days_count)
        found = bsearch(&wanted, self->days, self->days_count, sizeof wanted, compare_days);
    if (found) {
        ret.works = found->works;
        ret.why_zh = found->works ? "调休上班" : found->holiday->zh;
        ret.why_en = found->works ? "make-up working day" : found->holiday->en;
    } else if (dw_day_weekday(day) >= 6) {
        ret.why_zh = "周末";
        ret.why_en = "weekend";
    } else {
        ret.works = true;
    }
    return ret;
}

dw_day dw_calendar_known_until(const struct dw_calendar *self)
{
    if (!self->years_count)
        return 0;
    size_t last = 0;
    while (last + 1 < self->years_count &&
           self->years[last + 1]->year == self->years[last]->year + 1)
        last++;
    return dw_day_from_civil(self->years[last]->year, 12, 31);
}
