#include "case_data.h"

static struct dw_report report_of(const struct world *w, const struct dw_notice *n,
                                  const char *channel, bool accepted, bool final)
{
    struct dw_report r = {.fence = n->fence, .channel = channel, .accepted = accepted,
                          .final = final, .code = "250", .again_ms = 60000};
    memcpy(r.case_id, w->c.id, 16);
    memcpy(r.notice, n->id, 16);
    return r;
}

static struct dw_notice *claim(struct world *w)
{
    return dw_case_claim_notice(&w->domain, &w->c, w->now, 120000, &w->arena);
}

static enum dw_result tell(struct world *w, const struct dw_notice *n, const char *channel,
                           bool accepted, bool final)
{
    struct dw_report r = report_of(w, n, channel, accepted, final);
    bool already;
    enum dw_result result = dw_case_report_notice(&w->domain, &w->c, &r, w->now, &w->arena, &already);
    assert_false(already);
    return result;
}

static uint64_t always_seven(void *arg)
{
    (void)arg;
    return 7;
}

TEST(a_notice_to_a_real_name_leaves_at_once_and_to_an_anonymous_one_after_a_random_delay)
{
    struct world *w = *state;
    world_register(w, true, true);
    assert_non_null(claim(w));
    for (int i = 0; i < 50; i++) {
        world_register(w, false, true);
        int64_t wait = w->c.notices[0].not_before - w->now;
        assert_true(wait >= 1800000 && wait <= 5400000);
    }
    assert_null(claim(w));
    w->now += 5400000;
    struct dw_notice *n = claim(w);
    assert_non_null(n);
    assert_true(n->attempts[0].at == 0); /* only the day */
    assert_int_equal(n->attempts[0].day, dw_day_of(w->now));
}

TEST(the_attempt_is_on_record_before_anything_is_sent)
{
    struct world *w = *state;
    world_register(w, true, true);
    struct dw_notice *n = claim(w);
    assert_string_equal(n->state, "claimed");
    assert_int_equal(n->attempts_count, 1);
    assert_string_equal(n->attempts[0].channel, "sms");
    assert_string_equal(n->attempts[0].outcome, "sending");
    assert_true(n->attempts[0].at == w->now);
}

TEST(an_accepted_notice_is_sent_and_ends_the_duty_to_tell)
{
    struct world *w = *state;
    world_register(w, true, true);
    tell(w, claim(w), "sms", true, false);
    world_do(w, "accept", member_of("500108"));
    assert_int_equal(clock_of(w, "D09")->ended, 0);
    struct dw_notice *n = claim(w);
    assert_int_equal(tell(w, n, "sms", true, false), DW_OK);
    assert_string_equal(last_event(w)->kind, "notice_sent");
    assert_int_not_equal(clock_of(w, "D09")->ended, 0);
    assert_string_equal(w->c.notices[1].state, "sent");
    assert_null(claim(w));
}

TEST(a_failed_notice_waits_and_is_tried_again)
{
    struct world *w = *state;
    world_register(w, true, true);
    struct dw_notice *n = claim(w);
    assert_int_equal(tell(w, n, "sms", false, false), DW_OK);
    assert_null(claim(w));
    w->now += 60000;
    n = claim(w);
    assert_non_null(n);
    assert_int_equal(n->tries, 2);
    assert_int_equal(n->attempts_count, 2);
    assert_string_equal(n->attempts[0].outcome, "failed");
}

TEST(a_claim_that_nobody_answers_runs_out_and_is_made_again_with_another_fence)
{
    struct world *w = *state;
    world_register(w, true, true);
    struct dw_notice *n = claim(w);
    struct dw_report late = report_of(w, n, "sms", true, false);
    bool already;
    assert_null(claim(w));
    w->now += 120000;
    n = claim(w);
    assert_non_null(n);
    assert_int_not_equal(n->fence, late.fence);
    assert_int_equal(dw_case_report_notice(&w->domain, &w->c, &late, w->now, &w->arena, &already),
                     DW_CONFLICT);
    assert_int_equal(tell(w, n, "sms", true, false), DW_OK);
}

TEST(a_fence_is_another_whatever_is_drawn)
{
    struct world *w = *state;
    world_register(w, true, true);
    w->domain.random = always_seven;
    int32_t first = claim(w)->fence;
    w->now += 120000;
    assert_int_not_equal(claim(w)->fence, first);
}

/* Reports; whether that was known already. */
static bool was_told(struct world *w, const struct dw_report *r)
{
    bool already;
    assert_int_equal(dw_case_report_notice(&w->domain, &w->c, r, w->now, &w->arena, &already), DW_OK);
    return already;
}

/* Who is not answered reports again. */
TEST(a_report_that_comes_twice_is_taken_once)
{
    struct world *w = *state;
    world_register(w, true, true);
    w->c.notices[0].email = true;
    struct dw_notice *n = claim(w);
    struct dw_report failed = report_of(w, n, "sms", false, false);
    struct dw_report sent = report_of(w, n, "email", true, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(was_told(w, &failed), i > 0);
    assert_string_equal(w->c.notices[0].state, "claimed"); /* e-mail is still out */
    for (int i = 0; i < 3; i++)
        assert_int_equal(was_told(w, &sent), i > 0);
    assert_string_equal(w->c.notices[0].state, "waiting");
    int64_t version = w->c.version;
    w->now += 60000;
    failed = report_of(w, claim(w), "sms", true, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(was_told(w, &failed), i > 0);
    assert_string_equal(w->c.notices[0].state, "sent");
    assert_int_equal(w->c.version, version + 2);
}

/* Only so many attempts are on record. */
TEST(a_notice_that_was_claimed_very_often_still_ends)
{
    struct world *w = *state;
    world_register(w, true, true);
    for (int i = 0; i < DW_CASE_ATTEMPTS_MAX; i++) {
        assert_int_equal(tell(w, claim(w), "sms", false, false), DW_OK);
        w->now += 60000;
    }
    struct dw_notice *n = claim(w);
    assert_int_equal(n->attempts_count, DW_CASE_ATTEMPTS_MAX);
    assert_int_equal(tell(w, n, "sms", true, false), DW_OK);
    assert_null(claim(w));
    w->now += 86400000;
    assert_null(claim(w));
}

TEST(a_notice_that_is_given_up_is_on_record_as_failed)
{
    struct world *w = *state;
    world_register(w, true, true);
    assert_int_equal(tell(w, claim(w), "sms", false, true), DW_OK);
    assert_string_equal(w->c.notices[0].state, "failed");
    assert_string_equal(last_event(w)->kind, "notice_failed");
    assert_string_equal(w->c.notices[0].attempts[0].outcome, "failed");
}

TEST(what_a_provider_will_never_take_is_on_record_as_refused)
{
    struct world *w = *state;
    world_register(w, true, true);
    struct dw_report r = report_of(w, claim(w), "sms", false, true);
    bool already;
    r.refused = true;
    assert_int_equal(dw_case_report_notice(&w->domain, &w->c, &r, w->now, &w->arena, &already), DW_OK);
    assert_string_equal(w->c.notices[0].attempts[0].outcome, "refused");
}

TEST(two_channels_are_reported_apart_and_only_the_open_one_is_tried_again)
{
    struct world *w = *state;
    world_register(w, true, true);
    w->c.notices[0].email = true;
    struct dw_notice *n = claim(w);
    assert_int_equal(n->attempts_count, 2);
    assert_int_equal(tell(w, n, "sms", true, false), DW_OK);
    assert_string_equal(w->c.notices[0].state, "claimed");
    n = &w->c.notices[0];
    assert_int_equal(tell(w, n, "email", false, false), DW_OK);
    assert_string_equal(w->c.notices[0].state, "waiting");
    w->now += 60000;
    n = claim(w);
    assert_int_equal(n->attempts_count, 3);
    assert_string_equal(n->attempts[2].channel, "email");
    assert_int_equal(tell(w, n, "email", false, true), DW_OK);
    assert_string_equal(w->c.notices[0].state, "sent"); /* reached by SMS */
}

TEST(who_left_no_contact_is_told_on_the_follow_page)
{
    struct world *w = *state;
    world_register(w, false, false);
    assert_string_equal(w->c.notices[0].state, "page");
    assert_string_equal(last_event(w)->kind, "notice_sent");
    w->now += 86400000;
    assert_null(claim(w));
}

RUN(T(a_notice_to_a_real_name_leaves_at_once_and_to_an_anonymous_one_after_a_random_delay),
    T(the_attempt_is_on_record_before_anything_is_sent),
    T(an_accepted_notice_is_sent_and_ends_the_duty_to_tell),
    T(a_failed_notice_waits_and_is_tried_again),
    T(a_claim_that_nobody_answers_runs_out_and_is_made_again_with_another_fence),
    T(a_fence_is_another_whatever_is_drawn), T(a_report_that_comes_twice_is_taken_once),
    T(a_notice_that_was_claimed_very_often_still_ends),
    T(a_notice_that_is_given_up_is_on_record_as_failed),
    T(what_a_provider_will_never_take_is_on_record_as_refused),
    T(two_channels_are_reported_apart_and_only_the_open_one_is_tried_again),
    T(who_left_no_contact_is_told_on_the_follow_page))
