/* What peers send: frames of a message, the clear header of an item, a lease, a status. */
#include "fuzz.h"

#include "dw/mdp.h"

/* What was understood lies within what was given, and says the same again. */
static void header(struct dw_slice bytes)
{
    struct dw_item_header h;
    DW_AUTO_BUF out = {0};
    if (!dw_item_header_decode(bytes, &h))
        return;
    dw_buf_init(&out, 1024);
    dw_item_header_encode(&h, &out);
    must(out.len == bytes.len && memcmp(out.data, bytes.data, out.len) == 0);
}

static void lease(struct dw_slice bytes)
{
    uint8_t id[DW_ID_LEN], out[DW_LEASE_LEN];
    uint64_t fence;
    if (!dw_lease_decode(bytes, id, &fence))
        return;
    dw_lease_encode(out, id, fence);
    must(bytes.len == DW_LEASE_LEN && memcmp(out, bytes.data, DW_LEASE_LEN) == 0);
}

static void message(const struct dw_slice *frames, size_t count)
{
    struct dw_mdp_message m;
    const char *why = NULL;
    if (dw_mdp_parse(frames, count, &m, &why) != DW_OK) {
        must(why != NULL);
        return;
    }
    must(m.version == 1 || m.version == 2);
    must(m.body_count <= count && (!m.body_count || m.body + m.body_count == frames + count));
    must(!m.service.len || dw_mdp_service_name(m.service));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_message m;
    struct dw_reader r = {.rest = DW_SLICE(data, len)};
    fuzz_message_read(&m, &r, FUZZ_FRAMES, NULL, NULL);
    message(m.frames, m.count);
    for (size_t i = 0; i < m.count; i++) {
        int status = dw_status_parse(m.frames[i]);
        must(status >= -1 && status <= 999);
        header(m.frames[i]);
        lease(m.frames[i]);
    }
    header(DW_SLICE(data, len));
    lease(DW_SLICE(data, len));
    fuzz_message_free(&m);
    return 0;
}
