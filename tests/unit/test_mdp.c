#include "unit.h"

#include "dw/mdp.h"

static struct dw_slice f(const char *text)
{
    return DW_SLICE(text, strlen(text));
}

TEST(the_messages_of_the_protocol_are_understood)
{
    struct dw_mdp_message m;
    const char *why;
    struct dw_slice request[] = {f(""), f("MDPC01"), f("echo"), f("body"), f("more")};
    assert_int_equal(dw_mdp_parse(request, 5, &m, &why), DW_OK);
    assert_false(m.worker);
    assert_true(dw_slice_is(m.service, "echo"));
    assert_int_equal(m.body_count, 2);

    struct dw_slice ready[] = {f(""), f("MDPW01"), DW_SLICE("\1", 1), f("echo"), f("12")};
    assert_int_equal(dw_mdp_parse(ready, 5, &m, &why), DW_OK);
    assert_int_equal(m.command, DW_MDP_READY);
    assert_int_equal(m.credit, 12);
    assert_int_equal(dw_mdp_parse(ready, 4, &m, &why), DW_OK);
    assert_int_equal(m.credit, 1);

    struct dw_slice reply[] = {f(""), f("MDPW01"), DW_SLICE("\3", 1), f("addr"), f(""), f("x")};
    assert_int_equal(dw_mdp_parse(reply, 6, &m, &why), DW_OK);
    assert_true(dw_slice_is(m.address, "addr"));
    assert_int_equal(m.body_count, 1);

    struct dw_slice heartbeat[] = {f(""), f("MDPW01"), DW_SLICE("\4", 1)};
    assert_int_equal(dw_mdp_parse(heartbeat, 3, &m, &why), DW_OK);
}

TEST(everything_else_is_refused_with_a_reason)
{
    static const char *const bad[][7] = {
        {NULL},
        {""},
        {"x", "MDPC01", "echo", "b", NULL},
        {"", "MDPC02", "echo", "b", NULL},
        {"", "MDPC01", "echo", NULL},
        {"", "MDPC01", "", "b", NULL},
        {"", "MDPC01", "Echo", "b", NULL},
        {"", "MDPW01", NULL},
        {"", "MDPW01", "\7", NULL},
        {"", "MDPW01", "\2", "echo", NULL},
        {"", "MDPW01", "\1", NULL},
        {"", "MDPW01", "\1", "echo", "0", NULL},
        {"", "MDPW01", "\1", "echo", "x", NULL},
        {"", "MDPW01", "\1", "echo", "1", "1", NULL},
        {"", "MDPW01", "\3", "addr", "", NULL},
        {"", "MDPW01", "\3", "addr", "x", "b", NULL},
        {"", "MDPW01", "\3", "", "", "b", NULL},
        {"", "MDPW01", "\4", "x", NULL},
        {"MDPC01", "echo", "b", NULL},
        {"MDPC01", "x", "echo", "b", NULL},
        {"MDPW01", "\4", NULL},
        {"MDPW01", "\4", "x", NULL},
        {"", "MDPC02", "\1", "echo", "b", NULL},
        {"", "MDPW02", "\5", NULL},
        {"MDPC02", NULL},
        {"MDPC02", "echo", "b", NULL},
        {"MDPC02", "\1", NULL},
        {"MDPC02", "\1", "echo", NULL},
        {"MDPC02", "\1", "Echo", "b", NULL},
        {"MDPC02", "\4", "echo", "b", NULL},
        {"MDPC02", "\1\1", "echo", "b", NULL},
        {"MDPC03", "\1", "echo", "b", NULL},
        {"MDPW02", NULL},
        {"MDPW02", "", NULL},
        {"MDPW02", "\1", NULL},
        {"MDPW02", "\1", "echo", "0", NULL},
        {"MDPW02", "\1", "echo", "1", "1", NULL},
        {"MDPW02", "\3", "addr", "", NULL},
        {"MDPW02", "\4", "addr", "x", "b", NULL},
        {"MDPW02", "\4", "", "", "b", NULL},
        {"MDPW02", "\5", "x", NULL},
        {"MDPW02", "\7", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dw_slice frames[7];
        size_t count = 0;
        struct dw_mdp_message m;
        const char *why = NULL;
        while (count < 7 && bad[i][count]) {
            frames[count] = f(bad[i][count]);
            count++;
        }
        assert_int_equal(dw_mdp_parse(frames, count, &m, &why), DW_INVALID);
        assert_non_null(why);
    }
}

/* What each row makes is understood as that row, whoever may say it. */
TEST(every_command_of_both_versions_goes_there_and_back)
{
    static const char *const rests[][3] = {[DW_MDP_NOTHING] = {NULL},
                                           [DW_MDP_SERVICE_CREDIT] = {"echo", "7", NULL},
                                           [DW_MDP_SERVICE_BODY] = {"echo", "b", NULL},
                                           [DW_MDP_ADDRESS_BODY] = {"addr", "", "b"}};
    for (size_t i = 0; i < dw_mdp_rows; i++) {
        const struct dw_mdp_row *row = &dw_mdp_table[i];
        struct dw_slice frames[DW_MDP_HEAD_MAX + 3];
        struct dw_mdp_message m;
        const char *why = NULL;
        size_t n = dw_mdp_head(frames, row->version, row->worker, row->command);
        assert_int_equal(n, (row->version == 1) + 1 + (row->octet != 0));
        assert_true(dw_slice_is(frames[row->version == 1], row->protocol));
        for (size_t j = 0; j < 3 && rests[row->layout][j]; j++)
            frames[n++] = f(rests[row->layout][j]);
        assert_int_equal(dw_mdp_parse(frames, n, &m, &why), DW_OK);
        assert_int_equal(m.version, row->version);
        assert_int_equal(m.worker, row->worker);
        if (!row->octet) { /* a reply of MDPC01 looks like a request */
            assert_int_equal(m.command, DW_MDP_REQUEST);
            continue;
        }
        assert_int_equal(m.command, row->command);
        assert_int_equal(m.unexpected, row->ways == DW_MDP_TO_PEER);
        assert_int_equal(m.credit, row->layout == DW_MDP_SERVICE_CREDIT ? 7 : 0);
        if (row->layout == DW_MDP_ADDRESS_BODY)
            assert_true(dw_slice_is(m.address, "addr"));
        if (row->layout >= DW_MDP_SERVICE_BODY)
            assert_true(m.body_count == 1 && dw_slice_is(m.body[0], "b"));
        for (size_t cut = 0; cut + 1 < n; cut++) /* and less of it is nothing, or the message without credit */
            if (dw_mdp_parse(frames, cut, &m, &why) == DW_OK)
                fail_msg("%s %s of %zu frames", row->protocol, row->name, cut);
    }
}

/* ---- the page for people ---- */

/* "| a | b | c |" -> cells without their blanks; how many. */
static size_t cells_of(char *line, char *cells[8])
{
    size_t count = 0;
    for (char *at = strtok(line, "|"); at && count < 8; at = strtok(NULL, "|")) {
        at += strspn(at, " ");
        size_t len = strlen(at);
        while (len && (at[len - 1] == ' ' || at[len - 1] == '\n'))
            at[--len] = 0;
        cells[count++] = at;
    }
    return count;
}

TEST(the_page_has_the_same_commands)
{
    static const char *const layouts[] = {[DW_MDP_NOTHING] = "",
                                          [DW_MDP_SERVICE_CREDIT] = "service [credit]",
                                          [DW_MDP_SERVICE_BODY] = "service body+",
                                          [DW_MDP_ADDRESS_BODY] = "address empty body+"};
    static const char *const ways[] = {"", "peer", "broker", "both"};
    FILE *page = fopen(DW_SOURCE_FOLDER "/broker/PROTOCOL.md", "r");
    char line[300], octet[4];
    size_t row = 0;
    assert_non_null(page);
    while (fgets(line, sizeof line, page)) {
        char *cells[8] = {0};
        if (strncmp(line, "| MDP", 5) != 0)
            continue;
        size_t count = cells_of(line, cells);
        assert_true(row < dw_mdp_rows && count >= 5);
        const struct dw_mdp_row *r = &dw_mdp_table[row++];
        snprintf(octet, sizeof octet, r->octet ? "%02x" : "-", r->octet);
        assert_string_equal(cells[0], r->protocol);
        assert_string_equal(cells[1], r->name);
        assert_string_equal(cells[2], octet);
        assert_string_equal(cells[3], ways[r->ways]);
        assert_string_equal(cells[4], layouts[r->layout]);
    }
    fclose(page);
    assert_int_equal(row, dw_mdp_rows);
}

TEST(headers_and_leases_go_there_and_back)
{
    struct dw_item_header h = {.parts = 3, .klass = 1, .service = "filing"}, again;
    struct dw_buf b;
    memset(h.id, 1, sizeof h.id);
    memset(h.attempt, 2, sizeof h.attempt);
    memset(h.handle, 3, sizeof h.handle);
    memset(h.tok, 4, sizeof h.tok);
    memset(h.fp, 5, sizeof h.fp);
    dw_buf_init(&b, 1000);
    dw_item_header_encode(&h, &b);
    assert_true(dw_item_header_decode(dw_buf_slice(&b), &again));
    assert_memory_equal(&h, &again, sizeof h);
    for (size_t len = 0; len < b.len; len++)
        assert_false(dw_item_header_decode(DW_SLICE(b.data, len), &again));
    dw_buf_u8(&b, 0);
    assert_false(dw_item_header_decode(dw_buf_slice(&b), &again));
    dw_buf_free(&b);

    uint8_t lease[DW_LEASE_LEN], id[DW_ID_LEN];
    uint64_t fence;
    dw_lease_encode(lease, h.id, 0x0102030405060708ull);
    assert_true(dw_lease_decode(DW_SLICE(lease, sizeof lease), id, &fence));
    assert_memory_equal(id, h.id, sizeof id);
    assert_true(fence == 0x0102030405060708ull);
    assert_false(dw_lease_decode(DW_SLICE(lease, 23), id, &fence));
}

TEST(a_header_that_contradicts_itself_is_refused)
{
    struct dw_item_header h = {.parts = 0, .service = "filing"}, again;
    struct dw_buf b;
    memset(h.id, 1, sizeof h.id);
    memset(h.attempt, 2, sizeof h.attempt); /* an attempt without parts */
    dw_buf_init(&b, 1000);
    dw_item_header_encode(&h, &b);
    assert_false(dw_item_header_decode(dw_buf_slice(&b), &again));
    dw_buf_clear(&b);
    memset(h.attempt, 0, sizeof h.attempt);
    h.klass = 2;
    dw_item_header_encode(&h, &b);
    assert_false(dw_item_header_decode(dw_buf_slice(&b), &again));
    dw_buf_free(&b);
}

TEST(statuses_are_three_digits)
{
    assert_int_equal(dw_status_parse(f("200")), 200);
    assert_int_equal(dw_status_parse(f("422 what")), 422);
    assert_int_equal(dw_status_parse(f("20")), -1);
    assert_int_equal(dw_status_parse(f("2000")), -1);
    assert_int_equal(dw_status_parse(f("OK!")), -1);
}

RUN(cmocka_unit_test(the_messages_of_the_protocol_are_understood),
    cmocka_unit_test(everything_else_is_refused_with_a_reason),
    cmocka_unit_test(every_command_of_both_versions_goes_there_and_back),
    cmocka_unit_test(the_page_has_the_same_commands),
    cmocka_unit_test(headers_and_leases_go_there_and_back),
    cmocka_unit_test(a_header_that_contradicts_itself_is_refused),
    cmocka_unit_test(statuses_are_three_digits))
