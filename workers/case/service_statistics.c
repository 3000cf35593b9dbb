/* service_statistics.c - counters for managers, and the counting of what has happened. */
#include "casework.h"

#include "dw/log.h"

#include <string.h>

bool cw_count(struct casework *cw)
{
    size_t cases;
    if (cw->store_away)
        return false;
    cw_flush(cw); /* a case that is about to be written would be of an old version then */
    enum dw_result result = dw_fold_step(&cw->fold, dw_now(), &cases);
    if (result == DW_INVALID)
        dw_log(DW_ERROR, "case.statistics", "statistics cannot be counted; dengwen statistics rebuild "
                                            "says more");
    (*cw->m_counted) += (int64_t)cases;
    return result == DW_OK && cases == cw->fold.cases_max;
}

/* A manager sees the own body and what is below it: that is what an area is. */
void cw_desk_statistics(struct casework *cw, struct pending *p, const struct dw_slice *body,
                        size_t count)
{
    struct dw_desk_request request;
    struct dw_member member;
    struct dw_statistics_view view;
    if (!cw_who_asks(cw, p, "statistics", body, count, &request, &member))
        return;
    if (!dw_member_has_role(&member, "manager")) {
        cw_refuse(p, 403, "", "statistics are for managers");
        return;
    }
    struct dw_statistics_query query = {request.by, request.from, request.to};
    if (dw_statistics_check(&query, dw_day_of(dw_now()), cw->config->cases.statistics_months,
                            &p->error) != DW_OK) {
        cw_refuse(p, 422, "", NULL);
        return;
    }
    enum dw_result result =
        dw_statistics_read(cw->store, member.body, &query, &p->arena, &view);
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    cw_answer(p, &dw_statistics_view_layout, &view);
    cw_audit(p, member.user, "statistics", query.by);
}
