/* transitions.c - the one table of what can happen to a case, and who may make it happen.
 *
 * `dengwen states` prints it; the diagram in ARCHITECTURE.md is that output. */
#include "dw/case.h"

#include <stdio.h>
#include <string.h>

#define NONE DW_LISTS
static const struct dw_transition table[] = {
    /* command    from            by              to              event         notice */
    {"register", "", DW_BY_INTAKE, "received", "registered", "registered", 0, NONE},

    {"assign", "received", DW_BY_BODY, "reviewing", "assigned", "", DW_NEEDS_TO_MEMBER, NONE},
    {"assign", "reviewing", DW_BY_BODY, "", "assigned", "", DW_NEEDS_TO_MEMBER, NONE},
    {"assign", "accepted", DW_BY_BODY, "", "assigned", "", DW_NEEDS_TO_MEMBER, NONE},
    {"assign", "decided", DW_BY_BODY, "", "assigned", "", DW_NEEDS_TO_MEMBER, NONE},

    {"accept", "received", DW_BY_BODY, "accepted", "accepted", "progress", DW_MAY_TEXT, NONE},
    {"accept", "reviewing", DW_BY_BODY, "accepted", "accepted", "progress", DW_MAY_TEXT, NONE},
    {"refuse", "received", DW_BY_BODY, "not_accepted", "refused", "progress",
     DW_NEEDS_REASON | DW_NEEDS_TEXT, DW_REFUSALS},
    {"refuse", "reviewing", DW_BY_BODY, "not_accepted", "refused", "progress",
     DW_NEEDS_REASON | DW_NEEDS_TEXT, DW_REFUSALS},

    {"transfer", "received", DW_BY_BODY, "transferred", "transferred", "progress",
     DW_NEEDS_TO_BODY | DW_NEEDS_REASON | DW_MAY_TEXT, DW_TRANSFERS},
    {"transfer", "reviewing", DW_BY_BODY, "transferred", "transferred", "progress",
     DW_NEEDS_TO_BODY | DW_NEEDS_REASON | DW_MAY_TEXT, DW_TRANSFERS},
    {"transfer", "accepted", DW_BY_BODY, "transferred", "transferred", "progress",
     DW_NEEDS_TO_BODY | DW_NEEDS_REASON | DW_MAY_TEXT, DW_TRANSFERS},
    {"receive", "transferred", DW_BY_RECEIVER, "reviewing", "received", "progress", 0, NONE},
    {"receive", "transferred", DW_BY_SENDER, "", "handed_over", "", 0, NONE},
    {"return", "transferred", DW_BY_RECEIVER, "<", "returned", "", DW_NEEDS_REASON, DW_RETURNS},
    {"return", "transferred", DW_BY_SENDER, "<", "returned", "", DW_NEEDS_REASON, DW_RETURNS},

    {"note", "received", DW_BY_BODY, "", "noted", "", DW_NEEDS_NOTE, NONE},
    {"note", "reviewing", DW_BY_BODY, "", "noted", "", DW_NEEDS_NOTE, NONE},
    {"note", "accepted", DW_BY_BODY, "", "noted", "", DW_NEEDS_NOTE, NONE},
    {"note", "not_accepted", DW_BY_BODY, "", "noted", "", DW_NEEDS_NOTE, NONE},
    {"note", "transferred", DW_BY_BODY, "", "noted", "", DW_NEEDS_NOTE, NONE},
    {"note", "decided", DW_BY_BODY, "", "noted", "", DW_NEEDS_NOTE, NONE},
    {"note", "withdrawn", DW_BY_BODY, "", "noted", "", DW_NEEDS_NOTE, NONE},

    {"ask", "received", DW_BY_BODY, "", "asked", "progress", DW_NEEDS_TEXT, NONE},
    {"ask", "reviewing", DW_BY_BODY, "", "asked", "progress", DW_NEEDS_TEXT, NONE},
    {"ask", "accepted", DW_BY_BODY, "", "asked", "progress", DW_NEEDS_TEXT, NONE},
    {"reply", "received", DW_BY_BODY, "", "replied", "progress", DW_NEEDS_TEXT, NONE},
    {"reply", "reviewing", DW_BY_BODY, "", "replied", "progress", DW_NEEDS_TEXT, NONE},
    {"reply", "accepted", DW_BY_BODY, "", "replied", "progress", DW_NEEDS_TEXT, NONE},
    {"reply", "not_accepted", DW_BY_BODY, "", "replied", "progress", DW_NEEDS_TEXT, NONE},
    {"reply", "transferred", DW_BY_BODY, "", "replied", "progress", DW_NEEDS_TEXT, NONE},
    {"reply", "decided", DW_BY_BODY, "", "replied", "progress", DW_NEEDS_TEXT, NONE},

    {"decide", "accepted", DW_BY_BODY, "decided", "decided", "progress",
     DW_NEEDS_OUTCOME | DW_NEEDS_TEXT, DW_OUTCOMES},
    {"close", "decided", DW_BY_BODY, "closed", "closed", "progress", DW_MAY_TEXT, NONE},
    {"close", "not_accepted", DW_BY_BODY, "closed", "closed", "", DW_MAY_TEXT, NONE},
    {"close", "withdrawn", DW_BY_BODY, "closed", "closed", "", 0, NONE},
    {"close", "transferred", DW_BY_SENDER, "closed", "closed", "progress", DW_MAY_TEXT, NONE},
    {"archive", "closed", DW_BY_BODY, "archived", "archived", "", 0, NONE},

    {"message", "received", DW_BY_REPORTER, "", "message", "", DW_NEEDS_TEXT, NONE},
    {"message", "reviewing", DW_BY_REPORTER, "", "message", "", DW_NEEDS_TEXT, NONE},
    {"message", "accepted", DW_BY_REPORTER, "", "message", "", DW_NEEDS_TEXT, NONE},
    {"message", "not_accepted", DW_BY_REPORTER, "", "message", "", DW_NEEDS_TEXT, NONE},
    {"message", "transferred", DW_BY_REPORTER, "", "message", "", DW_NEEDS_TEXT, NONE},
    {"message", "decided", DW_BY_REPORTER, "", "message", "", DW_NEEDS_TEXT, NONE},
    {"message", "closed", DW_BY_REPORTER, "", "message", "", DW_NEEDS_TEXT, NONE},
    {"withdraw", "received", DW_BY_REPORTER, "withdrawn", "withdrawn", "", DW_MAY_TEXT, NONE},
    {"withdraw", "reviewing", DW_BY_REPORTER, "withdrawn", "withdrawn", "", DW_MAY_TEXT, NONE},
    {"withdraw", "accepted", DW_BY_REPORTER, "withdrawn", "withdrawn", "", DW_MAY_TEXT, NONE},
};

static const char *const open_states[] = {"received", "reviewing",   "accepted",
                                          "decided",  "transferred", "not_accepted"};

size_t dw_transitions_count(void)
{
    return DW_COUNT(table);
}

const struct dw_transition *dw_transition_at(size_t i)
{
    return &table[i];
}

bool dw_state_is_open(const char *state)
{
    for (size_t i = 0; i < DW_COUNT(open_states); i++)
        if (strcmp(open_states[i], state) == 0)
            return true;
    return false;
}

bool dw_case_visible(const struct dw_case *c, const char *body)
{
    for (size_t i = 0; i < c->grants_count; i++)
        if (c->grants[i].to == DW_TO_BODY && strcmp(c->grants[i].id, body) == 0)
            return true;
    return false;
}

static bool may(const struct dw_case *c, enum dw_by by, const struct dw_actor *actor,
                const struct dw_routing *routing)
{
    if (by == DW_BY_REPORTER)
        return actor->type == DW_ACTOR_REPORTER;
    if (actor->type != DW_ACTOR_MEMBER || !actor->inspector || by == DW_BY_INTAKE)
        return false;
    bool responsible = strcmp(actor->body, c->body) == 0;
    if (by == DW_BY_BODY)
        return responsible;
    const struct dw_body *to = *c->transfer_to ? dw_body_find(routing, c->transfer_to) : NULL;
    if (by == DW_BY_RECEIVER)
        return to && to->member && strcmp(actor->body, to->id) == 0;
    return to && !to->member && responsible;
}

/* Rows that look alike but for what has happened with the transfer. */
static bool fits(const struct dw_case *c, const struct dw_transition *t)
{
    if (t->by != DW_BY_SENDER)
        return true;
    bool closing = strcmp(t->command, "close") == 0;
    return closing == c->transfer_received;
}

/* Says which commands there are for those of this kind. */
static void refuse_command(const struct dw_actor *actor, struct dw_error *err)
{
    char names[256] = "";
    size_t len = 0;
    const char *last = "";
    for (size_t i = 0; i < DW_COUNT(table) && len < sizeof names; i++) {
        bool reporter = table[i].by == DW_BY_REPORTER;
        if (table[i].by == DW_BY_INTAKE || reporter != (actor->type == DW_ACTOR_REPORTER) ||
            strcmp(table[i].command, last) == 0)
            continue;
        last = table[i].command;
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", len ? ", " : "", last);
    }
    dw_error_set(err, "command", "expected one of %s", names);
}

const struct dw_transition *dw_case_transition(const struct dw_case *c, const char *command,
                                               const struct dw_actor *actor,
                                               const struct dw_routing *routing, int *status,
                                               struct dw_error *err)
{
    bool known = false, in_state = false;
    for (size_t i = 0; i < DW_COUNT(table); i++) {
        const struct dw_transition *t = &table[i];
        if (strcmp(t->command, command) != 0 || t->by == DW_BY_INTAKE)
            continue;
        known = true;
        if (strcmp(t->from, c->state) != 0 || !fits(c, t))
            continue;
        in_state = true;
        if (may(c, t->by, actor, routing))
            return t;
    }
    *status = in_state ? 403 : 422;
    if (!known)
        refuse_command(actor, err);
    else if (in_state)
        dw_error_set(err, "command", "your role or body may not do %s with this case",
                     command);
    else
        dw_error_set(err, "command", "%s cannot be done while the case is in the state \"%s\"",
                     command, c->state);
    return NULL;
}
