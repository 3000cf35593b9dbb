/* Documents (BSON) of every layout: the first byte says which.  What is read can be written, and
 * says the same when it is read again. */
#include "fuzz.h"

#include "dw/audit.h"
#include "dw/case.h"
#include "dw/envelope.h"
#include "dw/filing.h"
#include "dw/member.h"
#include "dw/services.h"
#include "dw/statistics.h"

static const struct dw_layout *const layouts[] = {
    &dw_sealed_filing_layout, &dw_command_layout,      &dw_event_layout,
    &dw_case_layout,          &dw_case_index_layout,   &dw_report_layout,
    &dw_facts_layout,         &dw_grant_layout,        &dw_manifest_layout,
    &dw_member_layout,        &dw_epoch_layout,        &dw_epoch_seal_layout,
    &dw_ask_status_layout,    &dw_ask_command_layout,  &dw_done_layout,
    &dw_status_view_layout,   &dw_ask_user_layout,     &dw_ask_login_layout,
    &dw_login_view_layout,    &dw_members_view_layout, &dw_desk_request_layout,
    &dw_list_view_layout,     &dw_case_view_layout,    &dw_ask_claim_layout,
    &dw_claim_view_layout,    &dw_epochs_view_layout,  &dw_stats_view_layout,
    &dw_audit_layout,         &dw_notice_layout,       &dw_statistics_view_layout,
    &dw_kdf_params_layout,
};

enum { ROOM = 1 << 20 };

static bool read_it(const struct dw_layout *layout, struct dw_slice bson, struct dw_buf *out)
{
    struct dw_error err = {0};
    DW_AUTO_ARENA arena = {0};
    void *value = malloc(layout->size);
    dw_arena_init(&arena, ROOM);
    bool good = dw_decode(layout, bson, &arena, value, &err) == DW_OK;
    must(good || err.text[0]);
    if (good)
        dw_encode(layout, value, out);
    free(value);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    DW_AUTO_BUF once = {0}, twice = {0};
    if (len < 2)
        return 0;
    const struct dw_layout *layout = layouts[data[0] % DW_COUNT(layouts)];
    dw_buf_init(&once, ROOM);
    dw_buf_init(&twice, ROOM);
    if (!read_it(layout, DW_SLICE(data + 1, len - 1), &once))
        return 0;
    must(!once.overflow && read_it(layout, dw_buf_slice(&once), &twice));
    must(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    return 0;
}
