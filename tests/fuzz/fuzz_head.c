/* The head of a request, as libmicrohttpd leaves it, and where it leads. */
#include "fuzz.h"

#include "http_private.h"

#include <arpa/inet.h>

enum { LINES = 40 };

static const struct dw_http_route routes[] = {
    {.method = "GET", .path = "/"},
    {.method = "GET", .path = "/follow"},
    {.method = "POST", .path = "/api/v1/filings"},
    {.method = "GET", .path = "/api/v1/cases/:reference/files/:file"},
};

/* In place, each line's end zeroed, each value after its blanks; false for what it would not call
 * us with. */
static bool cut(char *text, size_t len, struct dw_http_head *head)
{
    char *at = text, *end;
    if (strlen(text) != len || !(end = strchr(at, ' ')))
        return false;
    head->method = at;
    *end = 0;
    head->uri = head->uri_at = at = end + 1;
    if (!(end = strchr(at, ' ')))
        return false;
    *end = 0;
    head->version = at = end + 1;
    while ((end = strchr(at, '\n'))) {
        end[end > at && end[-1] == '\r' ? -1 : 0] = 0;
        end[0] = 0;
        char *colon = strchr(at, ':');
        if (at != head->version && *at) {
            if (!colon || head->count == LINES)
                return false;
            *colon = 0;
            char *value = colon + 1 + strspn(colon + 1, " \t");
            head->lines[head->count++] =
                (struct dw_http_head_line){at, value, (size_t)(colon - at), strlen(value)};
        }
        at = end + 1;
    }
    return at != head->version;
}

static void where_it_leads(const char *uri)
{
    struct dw_http_target target;
    const char *params[DW_PARAMS_MAX];
    char allow[64];
    DW_AUTO_ARENA memory = {0};
    dw_arena_init(&memory, 65536);
    if (!dw_http_target_parse(uri, &memory, &target))
        return;
    must(target.count <= DW_SEGMENTS_MAX && target.pairs <= DW_QUERY_MAX);
    for (size_t i = 0; i < target.count; i++)
        must(target.segments[i] != NULL);
    for (size_t i = 0; i < target.pairs; i++)
        must(target.names[i] && target.values[i]);
    dw_http_target_find(&target, "GET", routes, DW_COUNT(routes), params, allow);
}

static void let_through(struct dw_http_head *head)
{
    struct dw_http_peer here, trusted;
    DW_AUTO_ARENA memory = {0};
    dw_arena_init(&memory, 65536);
    if (!dw_http_head_keep(head, &memory))
        return;
    must(dw_http_head_length(head) >= 0);
    for (size_t i = 0; i < head->count; i++)
        must(strlen(head->lines[i].name) == head->lines[i].name_len &&
             strlen(head->lines[i].value) == head->lines[i].value_len);
    must(dw_http_peer_parse("127.0.0.1", 9, &here) && dw_http_peer_parse("10.0.0.1", 8, &trusted));
    dw_http_peer_behind(here, head, &here, 1);
    dw_http_peer_behind(here, head, &trusted, 1);
    dw_http_same_origin(head, "https://report.example.org");
    dw_http_same_origin(head, "");
    const char *type = dw_http_head_value(head, "content-type");
    dw_http_content_of(type ? type : "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dw_http_head_line lines[LINES];
    struct dw_http_head head = {.lines = lines, .bytes = len};
    struct dw_http_head_problem problem = {NULL, NULL};
    char *text = fuzz_text(DW_SLICE(data, len));
    if (cut(text, len, &head)) {
        int status = dw_http_head_check(&head, 30, &problem);
        must(status == 0 || (status >= 400 && status <= 599 && problem.detail));
        if (status == 0)
            let_through(&head);
        where_it_leads(head.uri);
    }
    free(text);
    return 0;
}
