/* route.h - which body is responsible.  Source: workers/domain/route.c
 *
 * Data: conf/bodies.yaml and conf/routing.yaml.  A pure function of the clear facts of a filing, so
 * that intake and case worker compute the same; nothing a client claims about routing is believed.
 *
 * A body is a member (has staff and keys here) or outside (is written to).  A named institution or
 * office never receives its own report: the report goes one level up.  What belongs to an outside
 * body by law is received by the member that will transfer it (Social Insurance Law art. 82). */
#ifndef DW_ROUTE_H
#define DW_ROUTE_H

#include "dw/result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dw_body {
    const char *id; /* "500108", "500000-health" */
    const char *zh, *en;
    const char *kind;     /* "bureau", "agency", "health", "market", "police", ... */
    const char *superior; /* id, "" at the top */
    const char *district; /* code, "" for the city */
    bool member;
    const char *phone; /* "" where none is verified */
    const char *note;
};

struct dw_routing;
enum dw_result dw_routing_load(const char *data_folder, struct dw_routing **ret,
                               struct dw_error *err);
void dw_routing_free(struct dw_routing *routing);
const char *dw_routing_version(const struct dw_routing *routing);
size_t dw_bodies_count(const struct dw_routing *routing);
const struct dw_body *dw_body_at(const struct dw_routing *routing, size_t i);
const struct dw_body *dw_body_find(const struct dw_routing *routing, const char *id);

/* What routing looks at. */
struct dw_route_facts {
    const char *kind;     /* "report" or "complaint" */
    const char *against;  /* code of DW_AGAINST */
    const char *district; /* district code */
    const char *const *acts;
    size_t acts_count;
    const char *complaint; /* NULL for reports */
    const char *const *excluded; /* bodies that must not receive it */
    size_t excluded_count;
};

struct dw_route {
    const struct dw_body *body;     /* responsible by law */
    const struct dw_body *receiver; /* the member that receives the filing; may equal body */
    const char *rule;               /* "R01" */
    const char *what_zh, *what_en;
    const char *basis;
    const char *verified;
    bool excluded; /* it went one level up because of a conflict of interest */
    bool no_key;   /* it went up because a member has no live key */
};

/* Has this member a live key?  NULL for `live` means all have. */
typedef bool dw_body_is_live(void *arg, const char *body_id);
/* DW_NOT_FOUND when no body is left that may receive it. */
enum dw_result dw_route(const struct dw_routing *routing, const struct dw_route_facts *facts,
                        dw_body_is_live *live, void *arg, struct dw_route *ret,
                        struct dw_error *err);

#endif
