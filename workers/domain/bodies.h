/* bodies.h - bodies and routing rules as they were read.  Sources: bodies.c (reads and checks
 * them), route.c (asks them) */
#ifndef DW_DOMAIN_BODIES_H
#define DW_DOMAIN_BODIES_H

#include "dw/route.h"

struct route_rule {
    const char *id, *zh, *en;
    const char *kind;
    const char **against, **any_act, **only_acts, **complaints; /* none: everything fits */
    size_t against_count, any_act_count, only_acts_count, complaints_count;
    const char *to, *receiver; /* "district_bureau", "city_bureau" or the id of a body */
    const char *basis, *verified;
};
struct routing_file {
    const char *version, *city_bureau, *beyond;
    struct route_rule *rules;
    size_t rules_count;
};
struct bodies_file {
    struct dw_body *bodies;
    size_t bodies_count;
};
struct dw_routing {
    struct bodies_file *bodies;
    struct routing_file *rules;
};

/* The bureau of a district; NULL where there is none. */
const struct dw_body *dw_bureau_of_district(const struct dw_routing *self, const char *district);
/* "PU01" fits "PU01", "PU*" and "*". */
bool dw_act_fits(const char *act, const char *pattern);

#endif
