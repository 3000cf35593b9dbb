/* filing_data.h - a filing in which everything is said, and the data to check it against. */
#ifndef DW_TEST_FILING_DATA_H
#define DW_TEST_FILING_DATA_H

#include "domain_data.h"

#include "dw/filing.h"

#define FACTS "2026年3月至6月，该院多次让未住院的老人办理住院手续，并按住院结算费用。"

static const char full_report[] =
    "{\"kind\": \"report\", \"language\": \"zh-CN\","
    " \"against\": {\"type\": \"hospital\", \"name\": \"某某医院\", \"district\": \"500108\","
    "  \"address\": \"南坪街道1号\", \"code\": \"h50010800123\", \"people\": \"院长王某\","
    "  \"body\": null},"
    " \"acts\": [\"PU01\", \"PF02\"],"
    " \"when\": {\"from\": \"2026-03-01\", \"to\": \"2026-06-30\", \"ongoing\": false},"
    " \"facts\": \"" FACTS "\", \"amount_yuan\": 120000, \"relation\": \"present_staff\","
    " \"identity\": {\"name\": \"李四\", \"phone\": \"138 0013 8000\", \"email\": \"a@example.org\","
    "  \"id_number\": \"11010519491231002X\", \"wants_reward\": true},"
    " \"notify\": {\"sms\": true, \"email\": false, \"call\": false},"
    " \"elsewhere\": \"未向其他部门反映\", \"privacy_version\": \"2026-1\", \"truthful\": true}";

static const char short_report[] =
    "{\"kind\": \"report\", \"against\": {\"type\": \"hospital\", \"name\": \"某某医院\","
    " \"district\": \"500108\"}, \"acts\": [\"PU01\"], \"facts\": \"" FACTS "\", \"truthful\": true}";

static const char short_complaint[] =
    "{\"kind\": \"complaint\", \"language\": \"en\", \"against\": {\"type\": \"agency\","
    " \"name\": \"counter 3\", \"district\": \"500108\"}, \"complaint\": \"CS2\", \"service\": 26,"
    " \"facts\": \"I handed in my bills in May and have not been paid.\", \"truthful\": true}";

enum { ROOM = 256 * 1024 };

static struct dw_catalogue *words;
static struct dw_routing *routing;

static inline int load_filing_data(void **state)
{
    struct dw_error err;
    return dw_catalogue_load(DATA_FOLDER, &words, &err) == DW_OK &&
                   dw_routing_load(DATA_FOLDER, &routing, &err) == DW_OK
               ? 0
               : -1;
}

static inline int unload_filing_data(void **state)
{
    dw_catalogue_free(words);
    dw_routing_free(routing);
    return 0;
}

static inline enum dw_result parse_bytes(struct dw_slice text, struct dw_arena *arena,
                                         struct dw_filing *ret, struct dw_problems *problems)
{
    return dw_filing_parse(text, words, routing, "web", day_of("2026-09-28"), arena, ret, problems);
}

static inline enum dw_result parse(const char *text, struct dw_arena *arena, struct dw_filing *ret,
                                   struct dw_problems *problems)
{
    return parse_bytes(dw_slice_of(text), arena, ret, problems);
}

/* The text with `new` where `old` stands first; `old` must be there. */
static inline char *changed(const char *text, const char *old, const char *new)
{
    const char *at = strstr(text, old);
    if (!at)
        fail_msg("not in the filing: %s", old);
    char *ret = dw_alloc(strlen(text) + strlen(new) + 1);
    memcpy(ret, text, (size_t)(at - text));
    strcpy(ret + (at - text), new);
    strcat(ret, at + strlen(old));
    return ret;
}

#endif
