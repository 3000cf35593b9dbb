/* Forms: a line with the content type, then the body.  Whatever the cuts, the same parts come out.
 */
#include "fuzz.h"

#include "http_private.h"

static bool on_begin(void *arg, const struct dw_http_part *part)
{
    struct dw_buf *out = arg;
    must(part->name && part->type && strlen(part->name) <= DW_NAME_MAX);
    dw_buf_printf(out, "[%s|%s|%s=", part->name, part->filename ? part->filename : "", part->type);
    return true;
}

static bool on_data(void *arg, const void *data, size_t len)
{
    must(len > 0);
    dw_buf_put(arg, data, len);
    return true;
}

static bool on_end(void *arg)
{
    dw_buf_str(arg, "]");
    return true;
}

/* What came out; false when it was refused. */
static bool parts_of(const char *type, struct dw_slice body, size_t piece, struct dw_buf *out)
{
    static const struct dw_http_form_events events = {on_begin, on_data, on_end};
    struct dw_http_form *form = dw_http_form_new(type, &events, out);
    bool good = form != NULL;
    for (size_t at = 0; good && at < body.len; at += piece) {
        size_t n = body.len - at < piece ? body.len - at : piece;
        char *own = fuzz_text(DW_SLICE(body.data + at, n));
        good = dw_http_form_feed(form, own, n);
        free(own);
    }
    good = good && dw_http_form_finish(form);
    dw_http_form_free(form);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    DW_AUTO_BUF whole = {0}, pieces = {0};
    const uint8_t *end = len ? memchr(data, '\n', len) : NULL;
    if (!end || end == data)
        return 0;
    size_t line = (size_t)(end - data);
    char *type = fuzz_text(DW_SLICE(data + 1, line - 1));
    struct dw_slice body = DW_SLICE(end + 1, len - line - 1);
    dw_http_content_of(type);
    dw_buf_init(&whole, 1 << 20);
    dw_buf_init(&pieces, 1 << 20);
    bool good = parts_of(type, body, body.len ? body.len : 1, &whole);
    bool same = parts_of(type, body, data[0] % 16 + 1, &pieces);
    must(good == same);
    must(!good ||
         (whole.len == pieces.len &&
          !memcmp(whole.data ? whole.data : data, pieces.data ? pieces.data : data, whole.len)));
    free(type);
    return 0;
}
