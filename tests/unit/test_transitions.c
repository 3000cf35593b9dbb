/* Every command in every state by every actor: what the table allows, and nothing else. */
#include "case_data.h"

static const char *const states[] = {"received",    "reviewing", "accepted", "not_accepted",
                                     "transferred", "decided",   "closed",   "archived",
                                     "withdrawn"};
static const char *const commands[] = {"accept", "refuse", "transfer", "receive", "return",
                                       "assign", "note",   "ask",      "reply",   "decide",
                                       "close",  "archive", "message", "withdraw"};

/* Brings a new case into a state by the commands that lead there. */
static void bring_to(struct world *w, const char *state)
{
    static const struct {
        const char *state;
        const char *path[4];
    } ways[] = {{"received", {NULL}},
                {"reviewing", {"assign", NULL}},
                {"accepted", {"accept", NULL}},
                {"not_accepted", {"refuse", NULL}},
                {"transferred", {"transfer", NULL}},
                {"decided", {"accept", "decide", NULL}},
                {"closed", {"accept", "decide", "close", NULL}},
                {"archived", {"accept", "decide", "close", "archive"}},
                {"withdrawn", {"withdraw", NULL}}};
    world_register(w, true, true);
    for (size_t i = 0; i < DW_COUNT(ways); i++)
        for (size_t j = 0; strcmp(ways[i].state, state) == 0 && j < 4 && ways[i].path[j]; j++) {
            bool reporter = strcmp(ways[i].path[j], "withdraw") == 0;
            assert_int_equal(
                world_do(w, ways[i].path[j], reporter ? the_reporter() : member_of("500108")), 200);
        }
    assert_string_equal(w->c.state, state);
}

/* The same matrix written by hand from the procedure, not from the table. */
static bool inspector_may(const char *state, const char *command)
{
    static const struct {
        const char *command;
        const char *states;
    } rows[] = {{"accept", "received reviewing"},
                {"refuse", "received reviewing"},
                {"transfer", "received reviewing accepted"},
                {"assign", "received reviewing accepted decided"},
                {"note", "received reviewing accepted not_accepted transferred decided withdrawn"},
                {"ask", "received reviewing accepted"},
                {"reply", "received reviewing accepted not_accepted transferred decided"},
                {"decide", "accepted"},
                {"close", "decided not_accepted withdrawn"},
                {"archive", "closed"}};
    for (size_t i = 0; i < DW_COUNT(rows); i++)
        if (strcmp(rows[i].command, command) == 0) {
            const char *at = strstr(rows[i].states, state);
            /* "accepted" also ends "not_accepted" */
            while (at && !((at == rows[i].states || at[-1] == ' ') &&
                           (at[strlen(state)] == ' ' || !at[strlen(state)])))
                at = strstr(at + 1, state);
            return at != NULL;
        }
    return false;
}

static bool reporter_may(const char *state, const char *command)
{
    if (strcmp(command, "message") == 0)
        return strcmp(state, "archived") != 0 && strcmp(state, "withdrawn") != 0;
    return strcmp(command, "withdraw") == 0 &&
           (strcmp(state, "received") == 0 || strcmp(state, "reviewing") == 0 ||
            strcmp(state, "accepted") == 0);
}

TEST(an_inspector_of_the_responsible_body_may_what_the_procedure_says)
{
    for (size_t s = 0; s < DW_COUNT(states); s++)
        for (size_t c = 0; c < DW_COUNT(commands); c++) {
            struct world *w = *state;
            bring_to(w, states[s]);
            int status = world_do(w, commands[c], member_of("500108"));
            if ((status == 200) != inspector_may(states[s], commands[c]))
                fail_msg("%s in %s: %d", commands[c], states[s], status);
            if (status != 200)
                assert_true(status == 403 || status == 422);
            world_teardown(state);
            world_setup(state);
        }
}

TEST(a_reporter_may_write_and_withdraw_and_nothing_else)
{
    for (size_t s = 0; s < DW_COUNT(states); s++)
        for (size_t c = 0; c < DW_COUNT(commands); c++) {
            struct world *w = *state;
            bring_to(w, states[s]);
            int status = world_do(w, commands[c], the_reporter());
            if ((status == 200) != reporter_may(states[s], commands[c]))
                fail_msg("%s in %s: %d", commands[c], states[s], status);
            world_teardown(state);
            world_setup(state);
        }
}

TEST(another_body_and_another_role_may_nothing)
{
    for (size_t s = 0; s < DW_COUNT(states); s++)
        for (size_t c = 0; c < DW_COUNT(commands); c++) {
            struct world *w = *state;
            bring_to(w, states[s]);
            assert_int_not_equal(world_do(w, commands[c], member_of("500112")), 200);
            struct dw_actor manager = member_of("500108");
            manager.inspector = false;
            assert_int_not_equal(world_do(w, commands[c], manager), 200);
            world_teardown(state);
            world_setup(state);
        }
}

TEST(only_the_receiver_may_receive_or_return)
{
    struct world *w = *state;
    bring_to(w, "transferred");
    assert_int_equal(world_do(w, "receive", member_of("500108")), 403);
    assert_int_equal(world_do(w, "accept", member_of("500103")), 422);
    assert_int_equal(world_do(w, "return", member_of("500103")), 200);
    assert_string_equal(w->c.state, "received");
    assert_string_equal(w->c.body, "500108");
}

TEST(responsibility_and_grants_pass_with_the_receipt)
{
    struct world *w = *state;
    bring_to(w, "transferred");
    assert_string_equal(w->c.body, "500108"); /* until the receipt */
    assert_true(dw_case_visible(&w->c, "500108") && dw_case_visible(&w->c, "500103"));
    assert_int_equal(world_do(w, "receive", member_of("500103")), 200);
    assert_string_equal(w->c.body, "500103");
    assert_string_equal(w->c.state, "reviewing");
    assert_false(dw_case_visible(&w->c, "500108"));
    assert_int_equal(world_do(w, "note", member_of("500108")), 403);
    assert_int_equal(world_do(w, "accept", member_of("500103")), 200);
    assert_int_equal(world_do(w, "transfer", member_of("500103")), 200); /* and back again */
    assert_int_equal(world_do(w, "receive", member_of("500108")), 200);
    assert_false(dw_case_visible(&w->c, "500103"));
}

TEST(a_returned_transfer_leaves_the_receiver_without_grants)
{
    struct world *w = *state;
    bring_to(w, "accepted");
    assert_int_equal(world_do(w, "transfer", member_of("500108")), 200);
    assert_int_equal(world_do(w, "return", member_of("500103")), 200);
    assert_string_equal(w->c.state, "accepted");
    assert_false(dw_case_visible(&w->c, "500103"));
    assert_int_equal(world_do(w, "decide", member_of("500108")), 200);
}

TEST(a_transfer_to_an_outside_body_is_received_by_hand_and_then_closed)
{
    struct world *w = *state;
    struct dw_actor actor = member_of("500108");
    bool already;
    struct dw_error err;
    bring_to(w, "received");
    struct dw_command *c = world_command(w, "transfer", &actor);
    c->to = "500000-health";
    c->roots_count = c->grants_count = 0; /* it has no keys here */
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 200);
    assert_int_equal(world_do(w, "close", actor), 422); /* not before the receipt */
    assert_int_equal(world_do(w, "receive", member_of("500103")), 403);
    assert_int_equal(world_do(w, "receive", actor), 200);
    assert_string_equal(w->c.body, "500108");
    assert_int_equal(world_do(w, "close", actor), 200);
    assert_string_equal(w->c.state, "closed");
}

TEST(a_command_without_what_it_needs_names_the_field)
{
    static const struct {
        const char *command, *field;
        int drop; /* 1 objects, 2 reason, 3 to, 4 outcome, 5 grants, 6 roots, 7 unknown reason */
    } cases[] = {{"refuse", "text", 1},     {"refuse", "reason", 2}, {"transfer", "reason", 2},
                 {"transfer", "to", 3},     {"transfer", "grants", 5}, {"transfer", "grants", 6},
                 {"reply", "text", 1},      {"note", "text", 1},     {"assign", "to", 3},
                 {"refuse", "reason", 7}};
    struct world *w = *state;
    struct dw_actor actor = member_of("500108");
    bring_to(w, "received");
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        bool already;
        struct dw_error err = {0};
        struct dw_command *c = world_command(w, cases[i].command, &actor);
        if (cases[i].drop == 1)
            c->objects_count = 0;
        else if (cases[i].drop == 2)
            c->reason = NULL;
        else if (cases[i].drop == 3)
            c->to = NULL;
        else if (cases[i].drop == 5)
            c->grants_count--;
        else if (cases[i].drop == 6)
            c->roots_count = 0;
        else
            c->reason = "BECAUSE";
        assert_int_equal(world_do_command(w, c, &actor, &already, &err), 422);
        if (strcmp(err.field, cases[i].field) != 0)
            fail_msg("%s: %s instead of %s", cases[i].command, err.field, cases[i].field);
        assert_string_equal(w->c.state, "received"); /* nothing has changed */
    }
}

TEST(grants_to_others_than_the_command_is_about_are_refused)
{
    struct world *w = *state;
    struct dw_actor actor = member_of("500108");
    bool already;
    struct dw_error err;
    bring_to(w, "received");
    struct dw_command *c = world_command(w, "transfer", &actor);
    c->grants[c->grants_count++] = (struct dw_grant){
        .kind = DW_ROOT_R, .epoch = 1, .to = DW_TO_BODY, .id = "500112", .to_epoch = 1};
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 422);
    c = world_command(w, "accept", &actor);
    c->grants[c->grants_count++] = (struct dw_grant){
        .kind = DW_ROOT_R, .epoch = 1, .to = DW_TO_BODY, .id = "500103", .to_epoch = 1};
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 422);
    c = world_command(w, "note", &actor);
    c->grants[c->grants_count++] = (struct dw_grant){
        .kind = DW_ROOT_I, .epoch = 1, .to = DW_TO_REPORTER, .id = "", .to_epoch = 0};
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 422);
}

TEST(a_body_that_is_reported_cannot_be_given_the_case)
{
    struct world *w = *state;
    static const char *excluded[] = {"500103"};
    bring_to(w, "received");
    w->c.facts.excluded = excluded;
    w->c.facts.excluded_count = 1;
    assert_int_equal(world_do(w, "transfer", member_of("500108")), 422);
}

RUN(T(an_inspector_of_the_responsible_body_may_what_the_procedure_says),
    T(a_reporter_may_write_and_withdraw_and_nothing_else), T(another_body_and_another_role_may_nothing),
    T(only_the_receiver_may_receive_or_return), T(responsibility_and_grants_pass_with_the_receipt),
    T(a_returned_transfer_leaves_the_receiver_without_grants),
    T(a_transfer_to_an_outside_body_is_received_by_hand_and_then_closed),
    T(a_command_without_what_it_needs_names_the_field),
    T(grants_to_others_than_the_command_is_about_are_refused),
    T(a_body_that_is_reported_cannot_be_given_the_case))
