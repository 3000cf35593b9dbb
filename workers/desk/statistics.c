/* statistics.c - counters of the own area, for managers. */
#include "desk.h"

#include "dw/statistics.h"

#include <string.h>

/* False: not a day. */
static bool read_day(const char *text, int32_t *ret)
{
    dw_day day = 0;
    if (text && !dw_day_parse(text, &day))
        return false;
    *ret = day;
    return true;
}

/* "hospital/report/accepted": the counters of a value follow one another. */
static bool split(const char *cell, char value[DW_COUNTER_TEXT], char kind[DW_COUNTER_TEXT],
                  const char **measure)
{
    const char *first = strchr(cell, '/'), *second = first ? strchr(first + 1, '/') : NULL;
    if (!second || second - cell >= DW_COUNTER_TEXT)
        return false;
    memcpy(value, cell, (size_t)(first - cell));
    value[first - cell] = 0;
    memcpy(kind, first + 1, (size_t)(second - first - 1));
    kind[second - first - 1] = 0;
    *measure = second + 1;
    return true;
}

static json_t *rows_json(const struct dw_statistics_view *view)
{
    char value[DW_COUNTER_TEXT], kind[DW_COUNTER_TEXT];
    const char *measure;
    json_t *rows = json_array(), *row = NULL;
    for (size_t i = 0; i < view->cells_count && i < view->counts_count; i++) {
        if (!split(view->cells[i], value, kind, &measure))
            continue;
        if (!row || strcmp(json_string_value(json_object_get(row, "value")), value) != 0) {
            row = json_pack("{s:s, s:{}, s:{}}", "value", value, "report", "complaint");
            json_array_append_new(rows, row);
        }
        json_object_set_new(json_object_get(row, kind), measure, json_integer(view->counts[i]));
    }
    return rows;
}

void api_statistics(void *app, struct dw_http_request *request)
{
    struct signed_in who;
    struct dw_statistics_view view;
    struct reply reply;
    struct dw_desk_request ask = {.by = dw_http_query(request, "by")};
    if (!who_begin(app, request, &who))
        return;
    if (!read_day(dw_http_query(request, "from"), &ask.from)) {
        dw_http_problem(request, 422, "from", "expected a day such as 2026-11-01");
    } else if (!read_day(dw_http_query(request, "to"), &ask.to)) {
        dw_http_problem(request, 422, "to", "expected a day such as 2026-11-30");
    } else if (ask.by && strlen(ask.by) > DW_STATISTICS_BY_MAX) {
        dw_http_problem(request, 422, "by", "expected the name of what to count by");
    } else {
        call_signed(&who, "statistics", &ask, NULL, 0, &reply);
        if (reply_decode(&reply, &who.arena, &dw_statistics_view_layout, &view))
            dw_http_json(request, 200,
                         json_pack("{s:s, s:s, s:o, s:o, s:b, s:o}", "area", view.area, "by",
                                   view.by, "from", day_json(view.from), "to", day_json(view.to),
                                   "behind", view.behind, "rows", rows_json(&view)));
        else
            reply_refuse(request, &reply);
        reply_free(&reply);
    }
    who_end(&who);
}
