/* What processes say about themselves: datagrams in, JSON and metrics out. */
#include "fuzz.h"

#include "ops_state.h"

#include <jansson.h>

static void look(const struct dw_ops *ops, int64_t now)
{
    json_error_t error;
    DW_AUTO_BUF text = {0}, metrics = {0};
    dw_buf_init(&text, 1 << 20);
    dw_ops_readiness(ops, now, &text);
    json_t *json = json_loadb((const char *)text.data, text.len, 0, &error);
    must(!text.overflow && json_is_object(json_object_get(json, "parts")));
    json_decref(json);
    dw_buf_init(&metrics, 4 << 20);
    dw_ops_metrics(ops, now, &metrics);
    must(!metrics.overflow && dw_text_is_clean((const char *)metrics.data, metrics.len, "\n"));
    must(!metrics.len || metrics.data[metrics.len - 1] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct dw_ops ops;
    struct dw_reader r = {.rest = DW_SLICE(data, len)};
    int64_t now = 1000;
    dw_ops_init(&ops, 5000);
    while (r.rest.len && now < 40000) { /* each ends with a zero, which no datagram has */
        const uint8_t *end = memchr(r.rest.data, 0, r.rest.len);
        size_t n = end ? (size_t)(end - r.rest.data) : r.rest.len;
        char *own = fuzz_text(DW_SLICE(dw_read_bytes(&r, n), n));
        dw_ops_take(&ops, own, n, now);
        free(own);
        dw_read_u8(&r);
        now += 1000;
    }
    must(ops.count <= DW_OPS_PROGRAMS);
    look(&ops, now);
    look(&ops, now + 6000);
    return 0;
}
