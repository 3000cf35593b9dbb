/* route.c - from the clear facts of a filing to the body that is responsible and the member that
 * receives it.
 *
 * Responsible.  The first rule that matches names a body.  A body that is excluded, or stands on a
 * lower level than an excluded one (a district cannot look into its city's office), gives way to
 * its superior; from the top it goes to `beyond`, the discipline body.
 *
 * Receives.  The responsible body where it is a member, else the bureau that the rule names (the
 * city bureau once the matter was moved up); from there up until one is neither excluded nor
 * without a live key.  When that leads nowhere - the city bureau itself is reported - the bureau of
 * the filing's district takes it in: only to pass it on, the responsible body stays the one above.
 * Where that bureau is excluded too nobody may have it, and the reporter is told to turn to the
 * responsible body directly. */
#include "bodies.h"

#include "dw/result.h"

#include <string.h>

static bool is_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static bool has(const char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (is_text(list[i], text))
            return true;
    return false;
}

static bool act_fits_one(const char *act, const char **patterns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (dw_act_fits(act, patterns[i]))
            return true;
    return false;
}

static size_t count_fitting(const struct dw_route_facts *f, const char **patterns, size_t count)
{
    size_t fitting = 0;
    for (size_t i = 0; i < f->acts_count; i++)
        fitting += act_fits_one(f->acts[i], patterns, count);
    return fitting;
}

static bool matches(const struct route_rule *r, const struct dw_route_facts *f)
{
    if (!is_text(r->kind, f->kind))
        return false;
    if (r->against_count && !has((const char *const *)r->against, r->against_count, f->against))
        return false;
    if (r->any_act_count && !count_fitting(f, r->any_act, r->any_act_count))
        return false;
    if (r->only_acts_count &&
        (!f->acts_count || count_fitting(f, r->only_acts, r->only_acts_count) < f->acts_count))
        return false;
    if (r->complaints_count && (!f->complaint || !has((const char *const *)r->complaints,
                                                      r->complaints_count, f->complaint)))
        return false;
    return true;
}

static const struct dw_body *target(const struct dw_routing *self, const char *to,
                                    const struct dw_route_facts *f)
{
    if (is_text(to, "district_bureau"))
        return dw_bureau_of_district(self, f->district);
    if (is_text(to, "city_bureau"))
        return dw_body_find(self, self->rules->city_bureau);
    return dw_body_find(self, to);
}

static bool is_excluded(const struct dw_body *body, const struct dw_route_facts *f)
{
    return has(f->excluded, f->excluded_count, body->id);
}

static bool may_handle(const struct dw_routing *self, const struct dw_body *body,
                       const struct dw_route_facts *f)
{
    if (is_excluded(body, f))
        return false;
    for (size_t i = 0; i < f->excluded_count; i++)
        if (*body->district && !*dw_body_find(self, f->excluded[i])->district)
            return false; /* a district against its city */
    return true;
}

static const struct dw_body *superior(const struct dw_routing *self, const struct dw_body *body)
{
    return *body->superior ? dw_body_find(self, body->superior) : NULL;
}

static const struct dw_body *find_responsible(const struct dw_routing *self,
                                              const struct route_rule *rule,
                                              const struct dw_route_facts *f, bool *moved)
{
    const struct dw_body *beyond = dw_body_find(self, self->rules->beyond);
    const struct dw_body *body = target(self, rule->to, f);
    while (body && !may_handle(self, body, f)) {
        const struct dw_body *up = superior(self, body);
        *moved = true;
        body = up ? up : body == beyond ? NULL : beyond;
    }
    return body;
}

struct liveness {
    dw_body_is_live *ask;
    void *arg;
};

static bool is_live(const struct liveness *live, const struct dw_body *body)
{
    return !live->ask || live->ask(live->arg, body->id);
}

static const struct dw_body *find_receiver(const struct dw_routing *self,
                                           const struct route_rule *rule,
                                           const struct dw_route_facts *f,
                                           const struct liveness *live, struct dw_route *route)
{
    const struct dw_body *at = route->body;
    if (!at->member) /* what was moved up is not handed back down to the district */
        at = target(self, *rule->receiver && !route->excluded ? rule->receiver : "city_bureau", f);
    for (; at; at = superior(self, at)) {
        if (is_excluded(at, f))
            route->excluded = true;
        else if (at->member && is_live(live, at))
            return at;
        else if (at->member)
            route->no_key = true;
    }
    const struct dw_body *local = dw_bureau_of_district(self, f->district);
    return !is_excluded(local, f) && is_live(live, local) ? local : NULL;
}

static enum dw_result check_facts(const struct dw_routing *self, const struct dw_route_facts *f,
                                  struct dw_error *err)
{
    if (!is_text(f->kind, "report") && !is_text(f->kind, "complaint"))
        return dw_invalid(err, "kind", "expected report or complaint");
    if (!dw_bureau_of_district(self, f->district))
        return dw_invalid(err, "district", "expected the code of a district");
    for (size_t i = 0; i < f->excluded_count; i++)
        if (!dw_body_find(self, f->excluded[i]))
            return dw_invalid(err, "excluded", "expected ids of bodies in bodies.yaml");
    return DW_OK;
}

enum dw_result dw_route(const struct dw_routing *self, const struct dw_route_facts *facts,
                        dw_body_is_live *live, void *arg, struct dw_route *ret,
                        struct dw_error *err)
{
    struct liveness liveness = {live, arg};
    if (check_facts(self, facts, err) != DW_OK)
        return DW_INVALID;
    const struct route_rule *rule = self->rules->rules; /* the last of each kind takes everything */
    while (!matches(rule, facts))
        rule++;

    struct dw_route route = {
        .rule = rule->id,
        .what_zh = rule->zh,
        .what_en = rule->en,
        .basis = rule->basis,
        .verified = rule->verified,
    };
    route.body = find_responsible(self, rule, facts, &route.excluded);
    if (!route.body) {
        dw_error_set(err, "excluded", "no body is left that could handle this: all are excluded");
        return DW_NOT_FOUND;
    }
    route.receiver = find_receiver(self, rule, facts, &liveness, &route);
    if (!route.receiver) {
        dw_error_set(err, "excluded",
                     "no member is left that may receive this: each is excluded or has no live key;"
                     " the responsible body, %s, must be addressed directly",
                     route.body->id);
        return DW_NOT_FOUND;
    }
    *ret = route;
    return DW_OK;
}
