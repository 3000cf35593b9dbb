/* keys.c - keys of the body: made when two members are there, given on from session to session.
 *
 * No server can do this alone: only a session of a member who holds a key can seal it to another. */
#include "desk.h"

#include "dw/log.h"

#include <string.h>

static const struct {
    enum dw_grantee type;
    const char *role;
} kinds[] = {{DW_TO_BODY, "inspector"}, {DW_TO_CUSTODIAN, "custodian"}};

static bool has_seal(const struct dw_epoch *epoch, const char *user)
{
    for (size_t i = 0; i < epoch->seals_count; i++)
        if (strcmp(epoch->seals[i].user, user) == 0)
            return true;
    return false;
}

/* Active colleagues with the role whose keys are signed as they must be. */
static size_t colleagues(const struct signed_in *who, const struct dw_members_view *view,
                         const char *role, const struct dw_member **ret)
{
    size_t count = 0;
    struct dw_directory *dir = dw_directory_take(who->desk->directory);
    for (size_t i = 0; i < view->members_count; i++) {
        const struct dw_member *m = &view->members[i];
        if (strcmp(m->state, "active") == 0 && strcmp(m->body, who->member.body) == 0 &&
            dw_member_has_role(m, role) && dw_member_verify(m, dir->site))
            ret[count++] = m;
    }
    dw_directory_give(who->desk->directory, dir);
    return count;
}

static bool send_epoch(struct signed_in *who, const struct dw_epoch *epoch)
{
    struct dw_desk_request request = {0};
    struct reply reply;
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_encode(&dw_epoch_layout, epoch, &doc);
    struct dw_slice more = dw_buf_slice(&doc);
    call_signed(who, "epoch", &request, &more, 1, &reply);
    bool good = reply.status == 200;
    reply_free(&reply);
    return good;
}

/* Adds seals for those who lack one; true when there were some. */
static bool add_seals(struct signed_in *who, struct dw_epoch *epoch,
                      const struct dw_member *const *members, size_t count)
{
    struct dw_epoch_seal *seals =
        dw_arena_alloc(&who->arena, (epoch->seals_count + count + 1) * sizeof *seals);
    size_t n = epoch->seals_count;
    if (n)
        memcpy(seals, epoch->seals, n * sizeof *seals);
    for (size_t i = 0; i < count; i++)
        if (!has_seal(epoch, members[i]->user) &&
            dw_epoch_seal(epoch, who->keys, members[i], &seals[n]))
            n++;
    bool added = n > epoch->seals_count;
    epoch->seals = seals;
    epoch->seals_count = n;
    return added;
}

static bool make_epoch(struct signed_in *who, enum dw_grantee type,
                       const struct dw_member *const *members, size_t count)
{
    struct dw_epoch epoch;
    dw_epoch_make(&epoch, who->member.body, type, 1, who->keys);
    add_seals(who, &epoch, members, count);
    if (send_epoch(who, &epoch)) {
        dw_log(DW_INFO, "desk.key-made", "body %s has a key now; `dengwen key renew` publishes it",
               who->member.body);
        return true;
    }
    who->keys->epochs_count--; /* somebody else was first, or nobody took it */
    return false;
}

void share_keys(struct signed_in *who, const char *token)
{
    struct dw_desk_request request = {0};
    struct dw_members_view view;
    struct reply reply;
    bool changed = false;
    call_signed(who, "members", &request, NULL, 0, &reply);
    if (!reply_decode(&reply, &who->arena, &dw_members_view_layout, &view)) {
        reply_free(&reply);
        return; /* the next login does it */
    }
    const struct dw_member **members =
        dw_arena_alloc(&who->arena, (view.members_count + 1) * sizeof *members);
    for (size_t k = 0; k < DW_COUNT(kinds); k++) {
        size_t count = colleagues(who, &view, kinds[k].role, members), epochs = 0;
        for (size_t i = 0; i < view.epochs_count; i++) {
            struct dw_epoch *epoch = &view.epochs[i];
            if (epoch->type != (int32_t)kinds[k].type)
                continue;
            epochs++;
            if (add_seals(who, epoch, members, count))
                send_epoch(who, epoch);
        }
        if (!epochs && count >= 2 && dw_member_has_role(&who->member, kinds[k].role))
            changed |= make_epoch(who, kinds[k].type, members, count);
    }
    if (changed)
        session_update(who->desk->sessions, token, who->keys);
    reply_free(&reply);
}
