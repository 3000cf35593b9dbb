/* case_notice.c - notices to the reporter: made, claimed, reported.
 *
 * At least once: claiming writes the attempt down before anything leaves.  Of an anonymous filing
 * only the day of an attempt is kept, and it leaves after a random delay. */
#include "case_private.h"

#include <string.h>

void dw_case_add_notice(const struct dw_domain *domain, struct dw_case *c, const char *template,
                        dw_time now, struct dw_arena *arena)
{
    if (!*template || c->notices_count >= DW_CASE_NOTICES_MAX)
        return;
    struct dw_notice *n = dw_append(arena, &c->notices, &c->notices_count, sizeof *n);
    dw_system_step(n->id, c, "notice", (int32_t)c->events_count, (int32_t)c->notices_count);
    n->template = template;
    n->day = dw_day_of(now);
    n->sms = c->facts.notify_sms;
    n->email = c->facts.notify_email;
    n->state = n->sms || n->email ? "waiting" : "page";
    n->not_before = now;
    if (!c->facts.real_name && domain->notice_delay_max_ms > 0) {
        int64_t span = domain->notice_delay_max_ms - domain->notice_delay_min_ms + 1;
        n->not_before += domain->notice_delay_min_ms +
                         (int64_t)(domain->random(domain->random_arg) % (uint64_t)span);
    }
    if (n->sms || n->email)
        return;
    /* Who left no contact reads it on the follow page: there it is served at once. */
    struct dw_said nobody = {0};
    struct dw_event event = {.kind = "notice_sent",
                             .actor = "system",
                             .day = n->day,
                             .state = c->state,
                             .reason = "page"};
    dw_system_step(event.step, c, "notice_sent", (int32_t)c->notices_count, 0);
    dw_case_add_event(domain, c, &event, &nobody, arena);
}

static void add_attempt(struct dw_case *c, struct dw_notice *n, const char *channel, dw_time now,
                        struct dw_arena *arena)
{
    if (n->attempts_count >= DW_CASE_ATTEMPTS_MAX)
        return;
    struct dw_attempt *a = dw_append(arena, &n->attempts, &n->attempts_count, sizeof *a);
    *a = (struct dw_attempt){.n = (int32_t)n->attempts_count,
                             .channel = channel,
                             .at = c->facts.real_name ? now : 0,
                             .day = dw_day_of(now),
                             .outcome = "sending"};
}

static int32_t another_fence(const struct dw_domain *domain, int32_t old)
{
    int32_t drawn = (int32_t)(domain->random(domain->random_arg) & INT32_MAX);
    return drawn == old ? drawn ^ 1 : drawn;
}

struct dw_notice *dw_case_claim_notice(const struct dw_domain *domain, struct dw_case *c,
                                       dw_time now, int64_t lease_ms, struct dw_arena *arena)
{
    for (size_t i = 0; i < c->notices_count; i++) {
        struct dw_notice *n = &c->notices[i];
        bool open = strcmp(n->state, "waiting") == 0 || strcmp(n->state, "claimed") == 0;
        if (!open || n->not_before > now)
            continue;
        n->state = "claimed";
        n->not_before = now + lease_ms;
        n->fence = another_fence(domain, n->fence);
        n->tries++;
        if (n->sms && !n->sms_done)
            add_attempt(c, n, "sms", now, arena);
        if (n->email && !n->email_done)
            add_attempt(c, n, "email", now, arena);
        c->version++;
        return n;
    }
    return NULL;
}

static void finish_notice(const struct dw_domain *domain, struct dw_case *c, struct dw_notice *n,
                          dw_time now, struct dw_arena *arena)
{
    bool reached = false;
    for (size_t i = 0; i < n->attempts_count; i++)
        reached |= strcmp(n->attempts[i].outcome, "accepted") == 0;
    n->state = reached ? "sent" : "failed";
    n->not_before = 0;
    struct dw_said nobody = {0};
    struct dw_event event = {.kind = reached ? "notice_sent" : "notice_failed",
                             .actor = "system",
                             .at = c->facts.real_name ? now : 0,
                             .day = dw_day_of(now),
                             .state = c->state,
                             .reason = n->template};
    dw_system_step(event.step, c, event.kind, (int32_t)(n - c->notices) + 1, 0);
    dw_case_add_event(domain, c, &event, &nobody, arena);
}

/* The attempt of this channel that was made last; NULL for none. */
static struct dw_attempt *last_attempt(struct dw_notice *n, const char *channel)
{
    for (size_t i = n->attempts_count; i-- > 0;)
        if (strcmp(n->attempts[i].channel, channel) == 0)
            return &n->attempts[i];
    return NULL;
}

enum dw_result dw_case_report_notice(const struct dw_domain *domain, struct dw_case *c,
                                     const struct dw_report *report, dw_time now,
                                     struct dw_arena *arena, bool *already)
{
    struct dw_notice *n = NULL;
    for (size_t i = 0; i < c->notices_count; i++)
        if (memcmp(c->notices[i].id, report->notice, 16) == 0)
            n = &c->notices[i];
    *already = false;
    if (!n || n->fence != report->fence)
        return DW_CONFLICT;
    struct dw_attempt *a = last_attempt(n, report->channel);
    bool answered_before = a && strcmp(a->outcome, "sending") != 0;
    bool has_own = n->attempts_count < DW_CASE_ATTEMPTS_MAX; /* else the last may be an earlier claim's */
    if (strcmp(n->state, "claimed") != 0 || (answered_before && has_own)) {
        *already = true;
        return DW_OK;
    }
    if (a && !answered_before) {
        a->outcome = report->accepted ? "accepted" : report->refused ? "refused" : "failed";
        a->code = report->code;
    }
    bool done = report->accepted || report->final;
    if (strcmp(report->channel, "sms") == 0)
        n->sms_done |= done;
    else
        n->email_done |= done;

    bool all_done = (!n->sms || n->sms_done) && (!n->email || n->email_done);
    bool answered = true; /* every attempt of this claim has its outcome */
    for (size_t i = 0; i < n->attempts_count; i++)
        answered &= strcmp(n->attempts[i].outcome, "sending") != 0 ||
                    (strcmp(n->attempts[i].channel, "sms") == 0 ? n->sms_done : n->email_done);
    if (all_done) {
        finish_notice(domain, c, n, now, arena);
    } else if (!done || answered) {
        if (!done && report->again_ms > 0)
            n->not_before = now + report->again_ms;
        if (answered)
            n->state = "waiting";
    }
    c->version++;
    return DW_OK;
}
