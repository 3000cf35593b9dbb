/* What a citizen sends as JSON.  What is taken can be written down and read again; what is not has
 * a problem that can be said in both languages. */
#include "fuzz.h"

#include "dw/filing.h"

enum { ROOM = 512 * 1024, TEXT = 256 * 1024 };

static struct dw_catalogue *words;
static struct dw_routing *routing;

static void is_json(void (*write)(const struct dw_filing *, struct dw_buf *),
                    const struct dw_filing *f)
{
    json_error_t error;
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, TEXT);
    write(f, &out);
    must(!out.overflow);
    if (!out.len)
        return;
    json_t *json = json_loadb((const char *)out.data, out.len, JSON_REJECT_DUPLICATES, &error);
    must(json_is_object(json));
    json_decref(json);
}

static void taken(const struct dw_filing *f)
{
    struct dw_facts again;
    struct dw_error err;
    DW_AUTO_BUF canonical = {0}, facts = {0};
    DW_AUTO_ARENA arena = {0};
    dw_buf_init(&canonical, TEXT);
    dw_filing_canonical(f, &canonical);
    must(canonical.len && !canonical.overflow);
    is_json(dw_filing_body_json, f);
    is_json(dw_filing_identity_json, f);
    is_json(dw_filing_contact_json, f);
    dw_buf_init(&facts, TEXT);
    dw_encode(&dw_facts_layout, &f->facts, &facts);
    dw_arena_init(&arena, ROOM);
    must(dw_decode(&dw_facts_layout, dw_buf_slice(&facts), &arena, &again, &err) == DW_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dw_filing f;
    struct dw_problems problems = {.count = 0};
    struct dw_error err;
    DW_AUTO_ARENA arena = {0};
    if (!words)
        must(dw_catalogue_load(DW_SOURCE_FOLDER "/conf", &words, &err) == DW_OK &&
             dw_routing_load(DW_SOURCE_FOLDER "/conf", &routing, &err) == DW_OK);
    dw_arena_init(&arena, ROOM);
    if (dw_filing_parse(DW_SLICE(data, len), words, routing, "web", 20718, &arena, &f, &problems) ==
        DW_OK) {
        must(problems.count == 0);
        taken(&f);
        return 0;
    }
    must(problems.count > 0 && problems.count <= DW_PROBLEMS_MAX);
    for (size_t i = 0; i < problems.count; i++) {
        char text[400] = "";
        dw_problem_text(&problems.items[i], i % 2 ? "en" : "zh-CN", text, sizeof text);
        must(text[0] && dw_text_is_clean(text, strlen(text), ""));
    }
    return 0;
}
