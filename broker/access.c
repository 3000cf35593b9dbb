/* access.c - the table of who may do what at the broker. */
#include "dw/broker.h"

#include <string.h>

enum { CALL = 1, SERVE = 2 };

static const struct {
    const char *role;
    const char *service; /* a trailing * matches any rest */
    int may;
} table[] = {
    {"web", "queue.put", CALL},       {"web", "queue.pending", CALL},
    {"web", "case.public", CALL},     {"phone", "queue.put", CALL},
    {"phone", "queue.pending", CALL}, {"phone", "case.public", CALL},
    {"email", "queue.put", CALL},     {"email", "queue.pending", CALL},
    {"email", "case.public", CALL},   {"desk", "case.desk", CALL},
    {"notify", "case.notify", CALL},  {"admin", "case.admin", CALL},
    {"admin", "queue.adopt", CALL},   {"admin", "queue.admin", CALL},   {"ops", "queue.admin", CALL},
    {"case", "queue.part", CALL},     {"case", "filing", SERVE},
    {"case", "case.*", SERVE},        {"client", "queue.put", CALL},
    {"client", "titanic.*", CALL},
};

/* Names that are ours: a foreign program may neither call nor serve them. */
static const char *const reserved[] = {"queue.", "case.", "filing", "mmi.", "titanic."};

static bool starts(struct dw_slice s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s.len >= len && memcmp(s.data, prefix, len) == 0;
}

static bool matches(const char *pattern, struct dw_slice service)
{
    size_t len = strlen(pattern);
    if (len && pattern[len - 1] == '*')
        return service.len >= len - 1 && memcmp(service.data, pattern, len - 1) == 0;
    return dw_slice_is(service, pattern);
}

static bool is_reserved(struct dw_slice service)
{
    for (size_t i = 0; i < DW_COUNT(reserved); i++)
        if (starts(service, reserved[i]))
            return true;
    return false;
}

static bool listed(const char *role, struct dw_slice service, int may)
{
    for (size_t i = 0; i < DW_COUNT(table); i++)
        if ((table[i].may & may) && strcmp(table[i].role, role) == 0 &&
            matches(table[i].service, service))
            return true;
    return false;
}

bool dw_is_guest(const char *role)
{
    return strcmp(role, "client") == 0 || strncmp(role, "worker:", 7) == 0;
}

static bool is_known(const char *role)
{
    if (dw_is_guest(role))
        return true;
    for (size_t i = 0; i < DW_COUNT(table); i++)
        if (strcmp(table[i].role, role) == 0)
            return true;
    return false;
}

bool dw_may_call(const char *role, struct dw_slice service)
{
    if (starts(service, "mmi."))
        return is_known(role);
    if (strcmp(role, "client") == 0)
        return !is_reserved(service) || listed(role, service, CALL);
    return listed(role, service, CALL);
}

bool dw_may_serve(const char *role, struct dw_slice service)
{
    if (strncmp(role, "worker:", 7) == 0)
        return !is_reserved(service) && dw_slice_is(service, role + 7);
    return listed(role, service, SERVE);
}

const char *dw_role_word(const char *role)
{
    if (strncmp(role, "worker:", 7) == 0)
        return "worker";
    for (size_t i = 0; i < DW_COUNT(table); i++)
        if (strcmp(table[i].role, role) == 0)
            return table[i].role;
    return "other";
}

const char *dw_service_word(struct dw_slice service)
{
    const char *word = "other";
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        if (dw_slice_is(service, table[i].service))
            return table[i].service;
        if (matches(table[i].service, service))
            word = table[i].service;
    }
    return word;
}

bool dw_is_durable(struct dw_slice service)
{
    return dw_slice_is(service, "filing");
}
