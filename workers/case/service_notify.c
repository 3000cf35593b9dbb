/* service_notify.c - notices that are due, and what became of them. */
#include "casework.h"

#include <string.h>

enum { CLAIM_MAX = 50 };

static const struct dw_event *registered(const struct dw_case *c)
{
    return &c->events[0];
}

/* What the notifier needs to open the contact; false when the case has none. */
static bool fill(const struct dw_case *c, const struct dw_notice *n, struct dw_claimed *ret)
{
    const struct dw_event *e = registered(c);
    bool contact = false, grant = false, root = false;
    *ret = (struct dw_claimed){.fence = n->fence,
                               .tries = n->tries,
                               .template = n->template,
                               .language = c->facts.language,
                               .sms = n->sms && !n->sms_done,
                               .email = n->email && !n->email_done,
                               .contact_day = e->day};
    memcpy(ret->case_id, c->id, 16);
    memcpy(ret->notice, n->id, 16);
    memcpy(ret->signer, e->said_by, DW_SIGNER_LEN);
    for (size_t i = 0; i < e->objects_count; i++)
        if (e->objects[i].type == DW_OBJECT_CONTACT) {
            ret->contact = e->objects[i];
            contact = true;
        }
    for (size_t i = 0; i < c->grants_count; i++)
        if (c->grants[i].to == DW_TO_NOTIFIER && c->grants[i].kind == DW_ROOT_C) {
            ret->grant = c->grants[i];
            grant = true;
        }
    for (size_t i = 0; i < c->roots_count; i++)
        if (c->roots[i].kind == DW_ROOT_C) {
            memcpy(ret->commitment, c->roots[i].commitment, DW_HASH_LEN);
            root = true;
        }
    return contact && grant && root;
}

static const struct dw_notice *notice_of(const struct dw_case *c, const uint8_t id[16])
{
    for (size_t i = 0; i < c->notices_count; i++)
        if (memcmp(c->notices[i].id, id, 16) == 0)
            return &c->notices[i];
    return NULL;
}

/* The case with the claim of this change in it, or NULL when it is not in the store, or cannot be looked
 * for just now: then it runs out. */
static const struct dw_case *with_claim(struct casework *cw, struct pending *p, const struct change *change,
                                        struct dw_case *looked_at)
{
    const struct dw_notice *mine = notice_of(&change->c, change->notice), *there;
    if (change->step.outcome == DW_OK)
        return &change->c;
    if (change->step.outcome != DW_UNCERTAIN || cw_load(cw, p, change->c.id, looked_at) != DW_OK)
        return NULL;
    there = notice_of(looked_at, change->notice);
    return there && strcmp(there->state, "claimed") == 0 && there->fence == mine->fence ? looked_at : NULL;
}

/* Only what was committed is handed out: the attempt is on record before anything leaves. */
static void settle_claim(struct casework *cw, struct pending *p)
{
    struct dw_claim_view view = {.items = NULL};
    view.items = dw_arena_alloc(&p->arena, (p->changes_count + 1) * sizeof *view.items);
    for (size_t i = 0; i < p->changes_count; i++) {
        struct dw_case looked_at;
        struct dw_claimed *item = &view.items[view.items_count];
        const struct dw_case *c = with_claim(cw, p, &p->changes[i], &looked_at);
        DW_AUTO_BUF bytes = {0};
        dw_buf_init(&bytes, DW_OBJECT_MAX);
        if (!c || !fill(c, notice_of(c, p->changes[i].notice), item))
            continue;
        dw_store_object(cw->store, item->contact.id, 0, &bytes);
        dw_pack_put(&p->pack, dw_buf_slice(&bytes));
        view.items_count++;
        (*cw->m_claims)++;
    }
    cw_answer(p, &dw_claim_view_layout, &view);
    p->settle = NULL;
    p->commit = false;
    cw_finish(cw, p);
}

static void handle_claim(struct casework *cw, struct pending *p, const struct dw_slice *body,
                         size_t count)
{
    struct dw_ask_claim ask;
    uint8_t ids[CLAIM_MAX][16];
    size_t found;
    dw_time now = dw_now();
    if (!cw_decode(p, body, count, 0, &dw_ask_claim_layout, &ask))
        return;
    cw_flush(cw);
    size_t limit = ask.limit < 1 ? 1 : ask.limit > CLAIM_MAX ? CLAIM_MAX : (size_t)ask.limit;
    enum dw_result result = dw_store_due(cw->store, DW_DUE_NOTICE, now, limit, ids, &found);
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    for (size_t i = 0; i < found; i++) {
        struct dw_case c;
        if (cw_load(cw, p, ids[i], &c) != DW_OK)
            continue;
        int64_t old_version = c.version;
        const struct dw_notice *n = dw_case_claim_notice(
            &cw->domain, &c, now, cw->config->notify.lease_seconds * 1000, &p->arena);
        if (!n)
            continue;
        struct change *change = cw_change(p, &c, old_version);
        memcpy(change->notice, n->id, sizeof change->notice);
        cw_seal_change(p, change);
    }
    struct dw_claim_view none = {0};
    cw_answer(p, &dw_claim_view_layout, &none);
    if (p->changes_count)
        p->settle = settle_claim;
}

static void handle_report(struct casework *cw, struct pending *p, const struct dw_slice *body,
                          size_t count)
{
    struct dw_report report;
    struct dw_case c;
    bool already = false;
    p->tries_again = true;
    if (!cw_decode(p, body, count, 0, &dw_report_layout, &report))
        return;
    enum dw_result result = cw_load(cw, p, report.case_id, &c);
    int64_t old_version = result == DW_OK ? c.version : 0;
    if (result == DW_OK)
        result = dw_case_report_notice(&cw->domain, &c, &report, dw_now(), &p->arena, &already);
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    cw_done(p, c.revision, c.state, already);
    if (!already)
        cw_seal_change(p, cw_change(p, &c, old_version));
}

const struct cw_method cw_notify_methods[] = {{"claim", handle_claim}, {"report", handle_report}};
const size_t cw_notify_methods_count = DW_COUNT(cw_notify_methods);
