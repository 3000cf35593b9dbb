/* Sessions of staff: a token opens its own keys, for so long and no longer. */
#include "unit.h"

#include "desk.h"

#include <sodium.h>
#include <unistd.h>

enum { IDLE_MS = 400, LONGEST_MS = 1000 };

struct fixture {
    struct sessions *sessions;
    struct dw_member member;
    struct dw_member_keys *keys;
    struct signed_in who;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_true(sodium_init() >= 0);
    f->sessions = sessions_new(2, IDLE_MS, LONGEST_MS);
    f->member = (struct dw_member){.user = "a.user", .name = "A", .body = "500108", .state = "active"};
    f->keys = dw_member_keys_new();
    memset(f->keys->sign_seed, 7, sizeof f->keys->sign_seed);
    f->who.keys = dw_member_keys_new();
    dw_arena_init(&f->who.arena, 1 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sessions_free(f->sessions);
    dw_member_keys_free(f->keys);
    dw_member_keys_free(f->who.keys);
    dw_arena_free(&f->who.arena);
    free(f);
    return 0;
}

typedef char token_text[DW_BASE64_LEN(DESK_TOKEN_LEN)];

static bool opened(struct fixture *f, token_text token)
{
    int64_t expires;
    return session_open(f->sessions, &f->member, f->keys, token, &expires);
}

static bool used(struct fixture *f, const char *token)
{
    return session_use(f->sessions, token, &f->who);
}

TEST(a_token_gives_the_member_and_the_keys_back)
{
    struct fixture *f = *state;
    token_text token;
    assert_true(opened(f, token));
    assert_true(used(f, token));
    assert_string_equal(f->who.member.user, "a.user");
    assert_memory_equal(f->who.keys->sign_seed, f->keys->sign_seed, 32);
}

TEST(a_spoilt_token_gives_nothing)
{
    struct fixture *f = *state;
    token_text token, other;
    assert_true(opened(f, token));
    for (size_t i = 0; token[i]; i++) {
        memcpy(other, token, sizeof other);
        other[i] = other[i] == 'A' ? 'B' : 'A';
        assert_false(used(f, other));
    }
    assert_false(used(f, ""));
    assert_true(used(f, token));
}

TEST(it_ends_without_use_and_makes_room)
{
    struct fixture *f = *state;
    token_text first, second, third;
    assert_true(opened(f, first) && opened(f, second));
    assert_false(opened(f, third)); /* as many as there may be */
    usleep((IDLE_MS + 100) * 1000);
    assert_false(used(f, first));
    assert_true(opened(f, third));
    assert_true(used(f, third));
}

TEST(it_ends_in_any_case)
{
    struct fixture *f = *state;
    token_text token;
    int uses = 0;
    assert_true(opened(f, token));
    for (int64_t until = dw_monotonic_ms() + 2 * LONGEST_MS; dw_monotonic_ms() < until;) {
        uses += used(f, token);
        usleep(20000);
    }
    assert_true(uses > 0);
    assert_false(used(f, token));
}

TEST(closed_it_is_over)
{
    struct fixture *f = *state;
    token_text token;
    assert_true(opened(f, token));
    assert_true(session_close(f->sessions, token));
    assert_false(session_close(f->sessions, token));
    assert_false(used(f, token));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(a_token_gives_the_member_and_the_keys_back), T(a_spoilt_token_gives_nothing),
    T(it_ends_without_use_and_makes_room), T(it_ends_in_any_case), T(closed_it_is_over))
