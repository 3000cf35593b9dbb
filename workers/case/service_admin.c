/* service_admin.c - the administrator's commands: staff and keys, never a case. */
#include "casework.h"

#include <string.h>

static const struct dw_body *known_body(struct casework *cw, const char *id)
{
    const struct dw_body *body = dw_body_find(cw->domain.routing, id);
    return body && body->member ? body : NULL;
}

/* The keys of a body were sealed to a key of this member that is void now. */
static void drop_seals(struct casework *cw, struct pending *p, const struct dw_member *member)
{
    struct dw_epoch *epochs;
    size_t count;
    cw_epochs_of(cw, p, member->body, &epochs, &count);
    for (size_t i = 0; i < count; i++) {
        size_t kept = 0;
        char key[64];
        int64_t version = epochs[i].version;
        for (size_t j = 0; j < epochs[i].seals_count; j++)
            if (strcmp(epochs[i].seals[j].user, member->user) != 0)
                epochs[i].seals[kept++] = epochs[i].seals[j];
        if (kept == epochs[i].seals_count)
            continue;
        epochs[i].seals_count = kept;
        dw_epoch_key(&epochs[i], key);
        cw_put_record(p, "epochs", key, version, &dw_epoch_layout, &epochs[i]);
    }
}

static void handle_invite(struct casework *cw, struct pending *p, const struct dw_slice *body,
                          size_t count)
{
    struct dw_member member, old;
    int64_t version = 0;
    if (!cw_decode(p, body, count, 0, &dw_member_layout, &member))
        return;
    struct dw_directory *dir = dw_directory_take(cw->directory);
    bool signed_well = strcmp(member.state, "invited") == 0 && dw_member_verify(&member, dir->site);
    dw_directory_give(cw->directory, dir);
    if (!signed_well) {
        cw_refuse(p, 403, "invitation", "not signed by the site key of the directory");
    } else if (!dw_user_is_valid(member.user) || !known_body(cw, member.body)) {
        cw_refuse(p, 422, "body", "expected a valid user name and a member body");
    } else {
        enum dw_result there = cw_member(cw, p, member.user, &old, &version);
        if (there == DW_RETRY) {
            cw_refuse_result(p, there);
            return;
        }
        /* A new invitation for an existing user is a reset: the old keys and seals are void. */
        cw_done(p, 0, there == DW_OK ? "reset" : "invited", false);
        cw_put_record(p, "staff", member.user, there == DW_OK ? version : 0, &dw_member_layout,
                      &member);
        if (there == DW_OK)
            drop_seals(cw, p, &old);
        cw_audit(p, "admin", there == DW_OK ? "staff reset" : "staff invited", member.user);
    }
}

struct gathering {
    struct pending *p;
    const struct dw_layout *layout;
    char *items;
    size_t count, max;
};

static void gather(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    struct gathering *g = arg;
    (void)key;
    (void)version;
    if (g->count < g->max && dw_decode(g->layout, doc, &g->p->arena,
                                       g->items + g->count * g->layout->size,
                                       &g->p->error) == DW_OK)
        g->count++;
}

static struct gathering gathering_of(struct pending *p, const struct dw_layout *layout, size_t max)
{
    struct gathering g = {.p = p, .layout = layout, .max = max};
    g.items = dw_arena_alloc(&p->arena, max * layout->size);
    return g;
}

static void handle_staff(struct casework *cw, struct pending *p, const struct dw_slice *body,
                         size_t count)
{
    struct dw_ask_user ask;
    if (!cw_decode(p, body, count, 0, &dw_ask_user_layout, &ask))
        return;
    struct gathering g = gathering_of(p, &dw_member_layout, 2000);
    enum dw_result result = dw_store_records(cw->store, "staff", ask.user, gather, &g);
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    struct dw_members_view view = {.members = (struct dw_member *)(void *)g.items,
                                   .members_count = g.count};
    cw_answer(p, &dw_members_view_layout, &view);
}

static void handle_disable(struct casework *cw, struct pending *p, const struct dw_slice *body,
                           size_t count)
{
    struct dw_ask_user ask;
    struct dw_member member;
    int64_t version;
    if (!cw_decode(p, body, count, 0, &dw_ask_user_layout, &ask))
        return;
    enum dw_result result = cw_member(cw, p, ask.user, &member, &version);
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    member.state = "disabled";
    memset(member.wrapped, 0, sizeof member.wrapped);
    memset(member.proof_hash, 0, sizeof member.proof_hash);
    cw_done(p, 0, "disabled", false);
    cw_put_record(p, "staff", member.user, version, &dw_member_layout, &member);
    drop_seals(cw, p, &member);
    cw_audit(p, "admin", "staff disabled", member.user);
}

static void handle_epochs(struct casework *cw, struct pending *p, const struct dw_slice *body,
                          size_t count)
{
    (void)body;
    (void)count;
    struct gathering g = gathering_of(p, &dw_epoch_layout, 1000);
    enum dw_result result = dw_store_records(cw->store, "epochs", "", gather, &g);
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    struct dw_epochs_view view = {.epochs = (struct dw_epoch *)(void *)g.items,
                                  .epochs_count = g.count};
    cw_answer(p, &dw_epochs_view_layout, &view);
}

static void handle_stats(struct casework *cw, struct pending *p, const struct dw_slice *body,
                         size_t count)
{
    (void)body;
    (void)count;
    struct dw_store_counts counts;
    enum dw_result result = dw_store_counts(cw->store, &counts);
    if (result != DW_OK) {
        cw_refuse_result(p, result);
        return;
    }
    struct dw_stats_view view = {counts.cases, counts.objects, counts.audit};
    cw_answer(p, &dw_stats_view_layout, &view);
}

const struct cw_method cw_admin_methods[] = {{"invite", handle_invite},
                                             {"staff", handle_staff},
                                             {"disable", handle_disable},
                                             {"epochs", handle_epochs},
                                             {"stats", handle_stats}};
const size_t cw_admin_methods_count = DW_COUNT(cw_admin_methods);
