/* case_verify.c - is this case what its events say? */
#include "case_private.h"

#include <string.h>

static enum dw_result check_chain(const struct dw_case *c, dw_find_signer *writer, void *arg,
                                  struct dw_error *err)
{
    for (size_t i = 0; i < c->events_count; i++) {
        const struct dw_event *e = &c->events[i];
        uint8_t hash[DW_HASH_LEN];
        DW_AUTO_BUF bytes = {0};
        dw_buf_init(&bytes, DW_DOC_MAX);
        dw_event_signed_bytes(e, &bytes);
        dw_hash(hash, dw_buf_slice(&bytes));
        const uint8_t *key = writer(arg, e->writer, e->day);
        if (e->seq != (int32_t)i + 1)
            return dw_invalid(err, "events", "event %zu has number %d", i + 1, e->seq);
        if (memcmp(hash, e->hash, DW_HASH_LEN) != 0)
            return dw_invalid(err, "events", "event %d was altered", e->seq);
        if (i ? memcmp(e->before, c->events[i - 1].hash, DW_HASH_LEN) != 0
              : !dw_all_zero(e->before, DW_HASH_LEN))
            return dw_invalid(err, "events", "event %d does not follow the one before", e->seq);
        if (!key || !dw_verify(key, DW_LABEL_EVENT, dw_buf_slice(&bytes), e->signature))
            return dw_invalid(err, "events", "event %d is not signed by a case worker", e->seq);
    }
    return c->events_count ? DW_OK : dw_invalid(err, "events", "a case without events");
}

static enum dw_result replay(const struct dw_domain *domain, const struct dw_case *c,
                             struct dw_arena *arena, struct dw_case *ret, struct dw_error *err)
{
    *ret = (struct dw_case){.version = c->version, .reference = c->reference, .state = ""};
    for (size_t i = 0; i < c->events_count; i++) {
        const struct dw_event *e = &c->events[i];
        struct dw_said said = {0};
        struct dw_sealed_filing filing;
        struct dw_command command;
        enum dw_result result = DW_OK;
        if (i == 0) {
            result = dw_decode(&dw_sealed_filing_layout, e->said, arena, &filing, err);
            said.filing = &filing;
        } else if (e->said.len) {
            result = dw_decode(&dw_command_layout, e->said, arena, &command, err);
            said.command = &command;
        }
        if (result != DW_OK)
            return result;
        dw_case_apply(domain, ret, e, &said, arena);
    }
    return DW_OK;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static const char *first_difference(const struct dw_case *a, const struct dw_case *b)
{
    if (!same_text(a->state, b->state))
        return "state";
    if (a->revision != b->revision)
        return "revision";
    if (!same_text(a->body, b->body))
        return "body";
    if (!same_text(a->assignee, b->assignee))
        return "assignee";
    if (!same_text(a->transfer_to, b->transfer_to) ||
        !same_text(a->transfer_from, b->transfer_from) ||
        !same_text(a->state_before, b->state_before) ||
        a->transfer_received != b->transfer_received)
        return "transfer";
    if (!same_text(a->outcome, b->outcome))
        return "outcome";
    if (memcmp(a->id, b->id, 16) != 0 || memcmp(a->handle, b->handle, 16) != 0 ||
        memcmp(a->auth_hash, b->auth_hash, 32) != 0 || memcmp(a->reporter, b->reporter, 32) != 0)
        return "id, handle or reporter";
    if (a->roots_count != b->roots_count || a->grants_count != b->grants_count)
        return "grants";
    for (size_t i = 0; i < a->grants_count; i++)
        if (memcmp(a->grants[i].box, b->grants[i].box, DW_GRANT_LEN) != 0 ||
            !same_text(a->grants[i].id, b->grants[i].id))
            return "grants";
    for (size_t i = 0; i < a->roots_count; i++)
        if (memcmp(a->roots[i].commitment, b->roots[i].commitment, DW_HASH_LEN) != 0)
            return "root keys";
    if (a->clocks_count != b->clocks_count)
        return "clocks";
    /* Due days may have been computed with a calendar that knew less. */
    for (size_t i = 0; i < a->clocks_count; i++)
        if (!same_text(a->clocks[i].rule, b->clocks[i].rule) ||
            a->clocks[i].start != b->clocks[i].start || a->clocks[i].ended != b->clocks[i].ended ||
            a->clocks[i].stage != b->clocks[i].stage)
            return "clocks";
    return NULL;
}

enum dw_result dw_case_verify(const struct dw_domain *domain, const struct dw_case *c,
                              dw_find_signer *writer, void *arg, struct dw_error *err)
{
    struct dw_case again;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 8 * DW_DOC_MAX);
    if (check_chain(c, writer, arg, err) != DW_OK ||
        replay(domain, c, &arena, &again, err) != DW_OK)
        return DW_INVALID;
    const char *difference = first_difference(c, &again);
    if (difference)
        return dw_invalid(err, difference, "the events say something else about the %s", difference);
    return DW_OK;
}
