#include "case_data.h"

static const uint8_t *find_writer(void *arg, const uint8_t signer[DW_SIGNER_LEN], dw_day day)
{
    struct world *w = arg;
    (void)day;
    return memcmp(w->writer.id, signer, DW_SIGNER_LEN) == 0 ? w->writer.public : NULL;
}

static enum dw_result verify(struct world *w, struct dw_error *err)
{
    *err = (struct dw_error){0};
    return dw_case_verify(&w->domain, &w->c, find_writer, w, err);
}

TEST(a_new_case_has_its_first_event_clock_and_notice)
{
    struct world *w = *state;
    world_register(w, true, true);
    assert_string_equal(w->c.state, "received");
    assert_string_equal(w->c.body, "500108");
    assert_int_equal(w->c.events_count, 1);
    assert_int_equal(w->c.revision, 1);
    /* 2026-09-28 + 15 working days, over the National Day week */
    assert_int_equal(clock_of(w, "D08")->due, a_day("2026-10-23"));
    assert_int_equal(w->c.notices_count, 1);
}

TEST(clocks_start_and_end_with_the_events_their_rules_name)
{
    struct world *w = *state;
    world_register(w, true, true);
    assert_int_equal(world_do(w, "accept", member_of("500108")), 200);
    assert_string_equal(clock_of(w, "D08")->ended_by, "accepted");
    assert_int_equal(clock_of(w, "D09")->ended, 0);
    assert_int_equal(clock_of(w, "D10")->due, a_day("2026-12-28")); /* 90 days from 09-28, a Sunday rolled */
    assert_int_equal(world_do(w, "decide", member_of("500108")), 200);
    assert_string_equal(clock_of(w, "D10")->ended_by, "decided");
}

TEST(the_duty_to_tell_a_real_name_reporter_is_not_owed_to_an_anonymous_one)
{
    struct world *w = *state;
    world_register(w, false, false);
    assert_int_equal(world_do(w, "accept", member_of("500108")), 200);
    assert_null(clock_of(w, "D09"));
    assert_non_null(clock_of(w, "D10"));
}

TEST(a_transfer_ends_the_senders_clocks_and_starts_the_receivers)
{
    struct world *w = *state;
    world_register(w, true, true);
    assert_int_equal(world_do(w, "accept", member_of("500108")), 200);
    assert_int_equal(world_do(w, "transfer", member_of("500108")), 200);
    w->now += 3 * 86400000ll;
    assert_int_equal(world_do(w, "receive", member_of("500103")), 200);
    for (size_t i = 0; i < w->c.clocks_count; i++)
        assert_int_equal(strcmp(w->c.clocks[i].body, "500108") == 0, w->c.clocks[i].ended != 0);
    assert_string_equal(clock_of(w, "D08")->body, "500103");
    assert_int_equal(clock_of(w, "D08")->start, a_day("2026-10-01"));
}

static void encode_ix(struct world *w)
{
    struct dw_buf b;
    dw_buf_init(&b, DW_DOC_MAX);
    dw_case_encode(&w->c, &w->arena, &b);
    assert_false(b.overflow);
    dw_buf_free(&b);
}

TEST(a_clock_tells_soon_due_and_overdue_once_each)
{
    static const struct {
        const char *day;
        const char *kind;
    } told[] = {{"2026-10-20", "clock_soon"}, {"2026-10-23", "clock_due"},
                {"2026-10-24", "clock_overdue"}};
    struct world *w = *state;
    world_register(w, true, true);
    for (size_t i = 0; i < DW_COUNT(told); i++) {
        encode_ix(w);
        assert_true(w->c.ix.timer == dw_day_start(a_day(told[i].day)));
        w->now = w->c.ix.timer - 1;
        assert_false(dw_case_tick(&w->domain, &w->c, w->now, &w->arena));
        w->now++;
        assert_true(dw_case_tick(&w->domain, &w->c, w->now, &w->arena));
        assert_string_equal(last_event(w)->kind, told[i].kind);
        assert_string_equal(last_event(w)->reason, "D08");
        for (int again = 0; again < 5; again++)
            assert_false(dw_case_tick(&w->domain, &w->c, w->now, &w->arena));
    }
    encode_ix(w);
    assert_true(w->c.ix.timer == 0);
    assert_int_equal(w->c.revision, 1); /* clocks are no work of people */
}

TEST(a_worker_that_slept_tells_the_latest_stage_only)
{
    struct world *w = *state;
    world_register(w, true, true);
    w->now += 60 * 86400000ll;
    assert_true(dw_case_tick(&w->domain, &w->c, w->now, &w->arena));
    assert_string_equal(last_event(w)->kind, "clock_overdue");
    assert_false(dw_case_tick(&w->domain, &w->c, w->now, &w->arena));
}

TEST(the_index_shows_who_may_see_it_and_what_is_due)
{
    struct world *w = *state;
    world_register(w, true, true);
    encode_ix(w);
    assert_int_equal(w->c.ix.due, a_day("2026-10-23"));
    assert_string_equal(w->c.ix.due_rule, "D08");
    assert_int_equal(w->c.ix.bodies_count, 1);
    assert_true(w->c.ix.open);
    assert_int_equal(world_do(w, "transfer", member_of("500108")), 200);
    encode_ix(w);
    assert_int_equal(w->c.ix.bodies_count, 2);
    assert_int_equal(world_do(w, "receive", member_of("500103")), 200);
    encode_ix(w);
    assert_int_equal(w->c.ix.bodies_count, 1);
    assert_string_equal(w->c.ix.bodies[0], "500103");
}

TEST(the_document_goes_there_and_back)
{
    struct world *w = *state;
    struct dw_buf b, again;
    struct dw_case c;
    struct dw_error err = {0};
    world_register(w, true, true);
    world_do(w, "note", member_of("500108"));
    world_do(w, "accept", member_of("500108"));
    world_do(w, "reply", member_of("500108"));
    world_do(w, "transfer", member_of("500108"));
    dw_buf_init(&b, DW_DOC_MAX);
    dw_buf_init(&again, DW_DOC_MAX);
    dw_case_encode(&w->c, &w->arena, &b);
    if (dw_case_decode(dw_buf_slice(&b), &w->arena, &c, &err) != DW_OK)
        fail_msg("%s", err.text);
    dw_case_encode(&c, &w->arena, &again);
    assert_int_equal(b.len, again.len);
    assert_memory_equal(b.data, again.data, b.len);
    dw_buf_free(&b);
    dw_buf_free(&again);
}

TEST(the_same_step_again_is_the_answer_already_given)
{
    struct world *w = *state;
    struct dw_actor actor = member_of("500108");
    struct dw_error err;
    bool already;
    world_register(w, true, true);
    struct dw_command *c = world_command(w, "accept", &actor);
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 200);
    assert_false(already);
    size_t events = w->c.events_count;
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 200);
    assert_true(already);
    assert_int_equal(w->c.events_count, events);
    c->payload[0] ^= 1;
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 422);
    assert_string_equal(err.field, "Idempotency-Key");
}

TEST(a_command_written_against_an_older_revision_is_a_conflict)
{
    struct world *w = *state;
    struct dw_actor actor = member_of("500108");
    struct dw_error err;
    bool already;
    world_register(w, true, true);
    struct dw_command *c = world_command(w, "accept", &actor);
    assert_int_equal(world_do(w, "assign", actor), 200);
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 409);
    /* but a reporter's message does not depend on what he saw */
    actor = the_reporter();
    c = world_command(w, "message", &actor);
    world_do(w, "accept", member_of("500108"));
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 200);
}

TEST(clocks_and_notices_do_not_conflict_with_people)
{
    struct world *w = *state;
    struct dw_actor actor = member_of("500108");
    struct dw_error err;
    bool already;
    world_register(w, true, true);
    w->now = dw_day_start(a_day("2026-10-20"));
    struct dw_command *c = world_command(w, "accept", &actor);
    assert_true(dw_case_tick(&w->domain, &w->c, w->now, &w->arena));
    assert_non_null(dw_case_claim_notice(&w->domain, &w->c, w->now, 1000, &w->arena));
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 200);
}

TEST(a_reporter_writes_as_often_a_day_as_the_limit_says)
{
    struct world *w = *state;
    world_register(w, true, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(world_do(w, "message", the_reporter()), 200);
    assert_int_equal(world_do(w, "message", the_reporter()), 429);
    w->now += 86400000;
    assert_int_equal(world_do(w, "message", the_reporter()), 200);
}

TEST(a_case_has_no_more_events_than_the_limit)
{
    struct world *w = *state;
    world_register(w, true, true);
    w->domain.max_events = 5;
    int status = 200;
    for (int i = 0; i < 10 && status == 200; i++)
        status = world_do(w, "assign", member_of("500108"));
    assert_int_equal(status, 422);
    assert_true(w->c.events_count <= 6);
}

TEST(a_command_of_another_day_is_refused)
{
    struct world *w = *state;
    struct dw_actor actor = member_of("500108");
    struct dw_error err;
    bool already;
    world_register(w, true, true);
    struct dw_command *c = world_command(w, "accept", &actor);
    w->now += 3 * 86400000ll;
    assert_int_equal(world_do_command(w, c, &actor, &already, &err), 422);
    assert_string_equal(err.field, "day");
}

TEST(of_a_reporter_only_the_day_is_kept)
{
    struct world *w = *state;
    world_register(w, false, false);
    assert_true(w->c.events[0].at == 0);
    world_do(w, "message", the_reporter());
    assert_true(last_event(w)->at == 0);
    world_do(w, "accept", member_of("500108"));
    for (size_t i = 0; i < w->c.events_count; i++)
        if (strcmp(w->c.events[i].kind, "accepted") == 0)
            assert_true(w->c.events[i].at == w->now);
}

static void live_through_much(struct world *w)
{
    world_register(w, true, true);
    world_do(w, "assign", member_of("500108"));
    world_do(w, "note", member_of("500108"));
    w->now = dw_day_start(a_day("2026-10-20"));
    dw_case_tick(&w->domain, &w->c, w->now, &w->arena);
    world_do(w, "accept", member_of("500108"));
    world_do(w, "message", the_reporter());
    world_do(w, "transfer", member_of("500108"));
    world_do(w, "return", member_of("500103"));
    world_do(w, "transfer", member_of("500108"));
    world_do(w, "receive", member_of("500103"));
    world_do(w, "accept", member_of("500103"));
    world_do(w, "decide", member_of("500103"));
    world_do(w, "close", member_of("500103"));
    assert_string_equal(w->c.state, "closed");
}

TEST(replaying_the_events_gives_the_case)
{
    struct world *w = *state;
    struct dw_error err;
    live_through_much(w);
    if (verify(w, &err) != DW_OK)
        fail_msg("%s: %s", err.field, err.text);
}

TEST(altered_dropped_and_reordered_events_are_noticed)
{
    struct world *w = *state;
    struct dw_error err;
    live_through_much(w);
    size_t count = w->c.events_count;
    for (size_t i = 0; i < count; i++) {
        struct dw_event keep = w->c.events[i];
        w->c.events[i].day++;
        assert_int_equal(verify(w, &err), DW_INVALID);
        w->c.events[i] = keep;
        w->c.events[i].reason = "another";
        assert_int_equal(verify(w, &err), DW_INVALID);
        w->c.events[i] = keep;
        w->c.events[i].signature[5] ^= 1;
        assert_int_equal(verify(w, &err), DW_INVALID);
        w->c.events[i] = keep;
        if (i + 1 < count) {
            w->c.events[i] = w->c.events[i + 1];
            w->c.events[i + 1] = keep;
            assert_int_equal(verify(w, &err), DW_INVALID);
            w->c.events[i + 1] = w->c.events[i];
            w->c.events[i] = keep;
        }
    }
    for (size_t n = 0; n < count; n++) { /* cut short: the projection says more than the events */
        w->c.events_count = n;
        assert_int_equal(verify(w, &err), DW_INVALID);
    }
    w->c.events_count = count;
    assert_int_equal(verify(w, &err), DW_OK);
}

TEST(a_projection_that_says_something_else_is_noticed)
{
    struct world *w = *state;
    struct dw_error err;
    live_through_much(w);
    w->c.state = "accepted";
    assert_int_equal(verify(w, &err), DW_INVALID);
    assert_string_equal(err.field, "state");
    w->c.state = "closed";
    w->c.body = "500108";
    assert_int_equal(verify(w, &err), DW_INVALID);
    w->c.body = "500103";
    w->c.grants[0].box[7] ^= 1;
    assert_int_equal(verify(w, &err), DW_INVALID);
    w->c.grants[0].box[7] ^= 1;
    assert_int_equal(verify(w, &err), DW_OK);
}

RUN(T(a_new_case_has_its_first_event_clock_and_notice),
    T(clocks_start_and_end_with_the_events_their_rules_name),
    T(the_duty_to_tell_a_real_name_reporter_is_not_owed_to_an_anonymous_one),
    T(a_transfer_ends_the_senders_clocks_and_starts_the_receivers),
    T(a_clock_tells_soon_due_and_overdue_once_each),
    T(a_worker_that_slept_tells_the_latest_stage_only),
    T(the_index_shows_who_may_see_it_and_what_is_due), T(the_document_goes_there_and_back),
    T(the_same_step_again_is_the_answer_already_given),
    T(a_command_written_against_an_older_revision_is_a_conflict),
    T(clocks_and_notices_do_not_conflict_with_people),
    T(a_reporter_writes_as_often_a_day_as_the_limit_says),
    T(a_case_has_no_more_events_than_the_limit), T(a_command_of_another_day_is_refused),
    T(of_a_reporter_only_the_day_is_kept), T(replaying_the_events_gives_the_case),
    T(altered_dropped_and_reordered_events_are_noticed),
    T(a_projection_that_says_something_else_is_noticed))
