#include "intake_private.h"

#include "dw/process.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MS = 2000 };

static char *state_file(const struct dw_config *config, const char *role, const char *name)
{
    char *folder = dw_config_state(config, role);
    size_t len = strlen(folder) + strlen(name) + 2;
    char *path = dw_alloc(len);
    snprintf(path, len, "%s/%s", folder, name);
    dw_free(folder);
    return path;
}

static enum dw_result load_keys(struct dw_intake *in, struct dw_error *err)
{
    char *sign = state_file(in->config, in->role, "sign.key");
    char *secret = state_file(in->config, in->role, "intake.key");
    char *curve = state_file(in->config, in->role, "curve.key");
    enum dw_result result = dw_signer_load(&in->signer, sign, err);
    if (result == DW_OK) {
        in->secret = dw_secret_load(secret, DW_INTAKE_SECRET_LEN, err);
        result = in->secret ? DW_OK : DW_INVALID;
    }
    if (result == DW_OK)
        result = dw_directory_watch_new(in->config, &in->directory, err);
    if (result == DW_OK) {
        struct dw_directory *dir = dw_directory_take(in->directory);
        result = dw_bus_new(in->config, dir, curve, &in->bus, err);
        dw_directory_give(in->directory, dir);
    }
    dw_free(sign);
    dw_free(secret);
    dw_free(curve);
    return result;
}

static enum dw_result load_data(struct dw_intake *in, struct dw_error *err)
{
    char *data = dw_config_data_folder(in->config);
    enum dw_result result = dw_calendar_load(data, &in->calendar, err);
    if (result == DW_OK)
        result = dw_rules_load(data, &in->rules, err);
    if (result == DW_OK)
        result = dw_catalogue_load(data, &in->catalogue, err);
    if (result == DW_OK)
        result = dw_routing_load(data, &in->routing, err);
    dw_free(data);
    return result;
}

/* The step takes 8 MiB and nothing but time of a core: more at once than cores only push each other
 * out of the caches. */
static int64_t stretches_at_once(const struct dw_config *config)
{
    int64_t wanted = config->web.stretches ? config->web.stretches : (int64_t)dw_cores();
    return wanted < STRETCHES_MAX ? wanted : STRETCHES_MAX;
}

static enum dw_result make_memory(struct dw_intake *in, struct dw_error *err)
{
    for (int64_t i = 0; i < in->stretching.at_once; i++)
        if (!(in->memory[i] = dw_stretch_memory_new())) {
            dw_error_set(err, "web.stretches", "expected fewer: there is no memory for so many");
            return DW_RETRY;
        }
    return DW_OK;
}

enum dw_result dw_intake_new(const struct dw_config *config, const char *role,
                             struct dw_intake **ret, struct dw_error *err)
{
    struct dw_intake *in = dw_alloc(sizeof *in);
    in->config = config;
    in->role = role;
    in->keyd = dw_keyd_new(config);
    dw_gate_init(&in->stretching, stretches_at_once(config), INT64_MAX);
    enum dw_result result = make_memory(in, err);
    if (result == DW_OK)
        result = load_keys(in, err);
    if (result == DW_OK)
        result = load_data(in, err);
    if (result != DW_OK) {
        dw_intake_free(in);
        return result;
    }
    *ret = in;
    return DW_OK;
}

void dw_intake_free(struct dw_intake *in)
{
    if (!in)
        return;
    dw_bus_free(in->bus);
    dw_keyd_free(in->keyd);
    dw_gate_end(&in->stretching);
    for (size_t i = 0; i < STRETCHES_MAX; i++)
        dw_stretch_memory_free(in->memory[i]);
    dw_directory_watch_free(in->directory);
    if (in->signer.secret)
        dw_signer_free(&in->signer);
    sodium_free(in->secret);
    if (in->calendar)
        dw_calendar_free(in->calendar);
    if (in->rules)
        dw_rules_free(in->rules);
    if (in->catalogue)
        dw_catalogue_free(in->catalogue);
    if (in->routing)
        dw_routing_free(in->routing);
    dw_free(in);
}

const char *dw_intake_tick(struct dw_intake *in)
{
    uint8_t index[DW_INDEX_LEN], handle[DW_ID_LEN] = {0};
    struct dw_bus_answer answer;
    dw_directory_watch_tick(in->directory);
    if (dw_keyd_index(in->keyd, DW_INDEX_PROVIDER, "ready?", index) != DW_OK)
        return "keyd does not answer";
    handle[0] = 1; /* nobody's */
    struct dw_slice payload = DW_SLICE(handle, sizeof handle);
    /* Also finds the broker that the next filing goes to. */
    enum dw_result result =
        dw_bus_call_any(in->bus, true, "queue.pending", &payload, 1, ANSWER_MS, &answer);
    dw_bus_answer_free(&answer);
    return result == DW_OK ? NULL : "no broker answers";
}

const struct dw_catalogue *dw_intake_catalogue(const struct dw_intake *in)
{
    return in->catalogue;
}

const struct dw_routing *dw_intake_routing(const struct dw_intake *in)
{
    return in->routing;
}

const struct dw_rules *dw_intake_rules(const struct dw_intake *in)
{
    return in->rules;
}

const struct dw_calendar *dw_intake_calendar(const struct dw_intake *in)
{
    return in->calendar;
}

struct secrets *secrets_new(void)
{
    struct secrets *s = sodium_malloc(sizeof *s);
    if (s)
        memset(s, 0, sizeof *s);
    return s;
}

void secrets_free(struct secrets *s)
{
    sodium_free(s); /* which wipes it */
}

static bool stretch(struct dw_intake *in, const struct dw_directory *dir, const char *digits,
                    uint8_t y[DW_Y_LEN])
{
    size_t i = 0;
    void *memory;
    dw_gate_enter(&in->stretching); /* so one of them is free */
    while (!(memory = atomic_exchange(&in->memory[i], NULL)))
        i = (i + 1) % (size_t)in->stretching.at_once;
    bool good = dw_receipt_stretch(y, digits, dir->salt, memory);
    atomic_store(&in->memory[i], memory);
    dw_gate_leave(&in->stretching);
    return good;
}

enum dw_result open_receipt(struct dw_intake *in, const struct dw_directory *dir,
                            const char *digits, struct secrets *s)
{
    if (!stretch(in, dir, digits, s->y))
        return DW_RETRY;
    dw_receipt_question(s->asked, s->y);
    enum dw_result result = dw_keyd_receipt(in->keyd, s->asked, s->h);
    if (result == DW_OK)
        dw_receipt_keys(&s->receipt, s->y, s->h);
    return result;
}
