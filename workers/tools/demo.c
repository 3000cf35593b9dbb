#include "demo.h"

#include "dw/member.h"
#include "dw/store.h"

#include <string.h>

static const char *const bodies[] = {"500000", "500108", "500103"};
static const struct {
    const char *user;
    const char *zh;
    const char *role;
} staff[] = {{"inspector1", "李督查", "inspector"}, {"inspector2", "王督查", "inspector"},
             {"custodian1", "赵保管", "custodian"}, {"custodian2", "钱保管", "custodian"},
             {"manager", "周科长", "manager"}};

enum { STAFF = DW_COUNT(staff) };

struct enrolling {
    const struct dw_config *config;
    const struct dw_site *site;
    struct dw_directory *draft;
    struct dw_store *store;
    dw_day today, until;
    struct dw_arena arena;
    struct dw_error *err;
};

static enum dw_result put(struct enrolling *e, const char *collection, const char *key,
                          const struct dw_layout *layout, const void *in)
{
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_encode(layout, in, &doc);
    struct dw_store_record record = {
        .collection = collection, .key = key, .version = 1, .doc = dw_buf_slice(&doc)};
    struct dw_store_step step = {.records = &record, .records_count = 1};
    struct dw_store_step *steps[] = {&step};
    dw_store_apply(e->store, steps, 1);
    return step.outcome == DW_OK ? DW_OK
                                 : dw_invalid(e->err, "store", "%s %s: %s", collection, key,
                                              dw_result_name(step.outcome));
}

static enum dw_result enrol(struct enrolling *e, const char *body, size_t i, struct dw_member *m,
                            struct dw_member_keys *keys)
{
    char code[DW_CODE_TEXT];
    const char **roles = dw_arena_alloc(&e->arena, sizeof *roles);
    roles[0] = staff[i].role;
    *m = (struct dw_member){.user = dw_arena_printf(&e->arena, "%s.%s", body, staff[i].user),
                            .name = staff[i].zh,
                            .body = body,
                            .roles = roles,
                            .roles_count = 1,
                            .invited = e->today};
    char *password = dw_arena_printf(&e->arena, "demo-%s", m->user);
    dw_member_invite(m, &e->site->signer, code);
    enum dw_result result = dw_member_enrol(m, code, password,
                                            (int32_t)e->config->desk.kdf_operations,
                                            (int32_t)e->config->desk.kdf_memory_mib, keys, e->err);
    return result == DW_OK ? put(e, "staff", m->user, &dw_member_layout, m) : result;
}

/* The key pair of a body or of its custodians, sealed to all who have the role. */
static enum dw_result make_epoch(struct enrolling *e, const char *body, enum dw_grantee type,
                                 const char *role, const struct dw_member *members,
                                 struct dw_member_keys *keys)
{
    struct dw_epoch epoch;
    char key[64];
    dw_epoch_make(&epoch, body, type, 1, keys);
    epoch.seals = dw_arena_alloc(&e->arena, STAFF * sizeof *epoch.seals);
    for (size_t i = 0; i < STAFF; i++)
        if (dw_member_has_role(&members[i], role) &&
            dw_epoch_seal(&epoch, keys, &members[i], &epoch.seals[epoch.seals_count]))
            epoch.seals_count++;
    struct dw_public_key *k = dw_draft_key(e->draft, type, body, 1);
    memcpy(k->key, epoch.public, DW_KEY_LEN);
    k->from = e->today;
    k->until = e->until;
    dw_epoch_key(&epoch, key);
    return put(e, "epochs", key, &dw_epoch_layout, &epoch);
}

static enum dw_result staff_body(struct enrolling *e, const char *body, struct dw_member_keys *keys)
{
    struct dw_member members[STAFF];
    enum dw_result result = DW_OK;
    for (size_t i = 0; i < STAFF && result == DW_OK; i++)
        result = enrol(e, body, i, &members[i], keys);
    if (result == DW_OK)
        result = make_epoch(e, body, DW_TO_BODY, "inspector", members, keys);
    if (result == DW_OK)
        result = make_epoch(e, body, DW_TO_CUSTODIAN, "custodian", members, keys);
    return result;
}

enum dw_result dw_demo_staff(const struct dw_config *config, const struct dw_site *site,
                             struct dw_directory *draft, dw_day today, dw_day until,
                             struct dw_error *err)
{
    struct enrolling e = {.config = config, .site = site, .draft = draft, .today = today,
                          .until = until, .err = err};
    dw_arena_init(&e.arena, 1024 * 1024);
    enum dw_result result = dw_store_open(config->store.uri, config, &e.store, err);
    struct dw_member_keys *keys = dw_member_keys_new();
    if (!keys)
        result = dw_invalid(err, "keys", "no locked memory: raise the limit `ulimit -l`");
    for (size_t i = 0; i < DW_COUNT(bodies) && result == DW_OK; i++)
        result = staff_body(&e, bodies[i], keys);
    dw_member_keys_free(keys);
    dw_store_close(e.store);
    dw_arena_free(&e.arena);
    return result;
}

void dw_demo_print(FILE *out)
{
    fprintf(out, "\nDEMONSTRATION: passwords are known to everybody, rate limits are open.\n"
                 "Never file a real report here.  Logins of the staff portal:\n");
    for (size_t b = 0; b < DW_COUNT(bodies); b++)
        for (size_t i = 0; i < STAFF; i++)
            fprintf(out, "  %s.%-11s demo-%s.%s\n", bodies[b], staff[i].user, bodies[b],
                    staff[i].user);
    fputc('\n', out);
}
