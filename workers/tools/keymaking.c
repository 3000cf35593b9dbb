#include "keymaking.h"

#include "dw/process.h"
#include "dw/wire.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAFT_MAX = 16 * 1024 * 1024, ENTRIES_MAX = 4096, FILE_MAX = 4 * 1024 * 1024 };

struct dw_directory *dw_directory_draft(void)
{
    struct dw_directory *draft = dw_alloc(sizeof *draft);
    dw_arena_init(&draft->arena, DRAFT_MAX);
    draft->programs = dw_arena_alloc(&draft->arena, ENTRIES_MAX * sizeof *draft->programs);
    draft->keys = dw_arena_alloc(&draft->arena, ENTRIES_MAX * sizeof *draft->keys);
    return draft;
}

static const char *keep(struct dw_directory *draft, const char *text)
{
    return dw_arena_strndup(&draft->arena, text, strlen(text));
}

enum dw_result dw_directory_reopen(const struct dw_config *config, struct dw_directory **ret,
                                   struct dw_error *err)
{
    struct dw_directory_watch *watch;
    enum dw_result result = dw_directory_watch_new(config, &watch, err);
    if (result != DW_OK)
        return result;
    struct dw_directory *now = dw_directory_take(watch);
    struct dw_directory *draft = dw_directory_draft();
    draft->serial = now->serial;
    memcpy(draft->salt, now->salt, sizeof draft->salt);
    for (size_t i = 0; i < now->programs_count; i++) {
        struct dw_program *p = &draft->programs[draft->programs_count++];
        *p = now->programs[i];
        p->name = keep(draft, p->name);
        p->role = keep(draft, p->role);
    }
    for (size_t i = 0; i < now->keys_count; i++) {
        struct dw_public_key *k = &draft->keys[draft->keys_count++];
        *k = now->keys[i];
        k->id = keep(draft, k->id);
    }
    dw_directory_give(watch, now);
    dw_directory_watch_free(watch);
    *ret = draft;
    return DW_OK;
}

struct dw_program *dw_draft_program(struct dw_directory *draft, const char *name, const char *role)
{
    if (draft->programs_count == ENTRIES_MAX)
        abort(); /* an administrator with four thousand programs has other worries */
    struct dw_program *p = &draft->programs[draft->programs_count++];
    *p = (struct dw_program){.name = keep(draft, name), .role = keep(draft, role)};
    return p;
}

struct dw_public_key *dw_draft_key(struct dw_directory *draft, enum dw_grantee type,
                                   const char *id, int32_t epoch)
{
    if (draft->keys_count == ENTRIES_MAX)
        abort();
    struct dw_public_key *k = &draft->keys[draft->keys_count++];
    *k = (struct dw_public_key){.type = type, .id = keep(draft, id), .epoch = epoch};
    return k;
}

/* ---- files ---- */

bool dw_save_secret(const char *path, const uint8_t *secret, size_t len)
{
    char text[256];
    if (DW_BASE64_LEN(len) + 1 > sizeof text)
        return false;
    dw_base64(text, sizeof text, secret, len);
    size_t text_len = strlen(text);
    text[text_len] = '\n';
    bool good = dw_write_file(path, text, text_len + 1, 0600);
    sodium_memzero(text, sizeof text);
    return good;
}

bool dw_make_secret(const char *path, size_t len, uint8_t *ret)
{
    uint8_t secret[64];
    if (len > sizeof secret)
        return false;
    randombytes_buf(secret, len);
    bool good = dw_save_secret(path, secret, len);
    if (ret)
        memcpy(ret, secret, len);
    sodium_memzero(secret, sizeof secret);
    return good;
}

static char *join(const char *folder, const char *name)
{
    size_t len = strlen(folder) + strlen(name) + 2;
    char *path = dw_alloc(len);
    snprintf(path, len, "%s/%s", folder, name);
    return path;
}

/* ---- site ---- */

static void certificate(uint8_t signature[DW_SIGNATURE_LEN], const struct dw_signer *root,
                        const uint8_t site[DW_KEY_LEN], dw_day until)
{
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, 64);
    dw_buf_put(&bytes, site, DW_KEY_LEN);
    dw_buf_u32(&bytes, (uint32_t)until);
    dw_sign(root, DW_LABEL_SITE, dw_buf_slice(&bytes), signature);
}

bool dw_site_make(const char *admin_folder, const struct dw_signer *root, dw_day until)
{
    uint8_t seed[32], signature[DW_SIGNATURE_LEN];
    char day[DW_DAY_TEXT], text[200], coded[128];
    struct dw_signer site;
    char *key = join(admin_folder, "site.key"), *cert = join(admin_folder, "site.cert");
    bool good = dw_make_secret(key, sizeof seed, seed);
    dw_signer_init(&site, seed);
    sodium_memzero(seed, sizeof seed);
    certificate(signature, root, site.public, until);
    dw_signer_free(&site);
    snprintf(text, sizeof text, "%s %s\n", dw_day_format(until, day),
             dw_base64(coded, sizeof coded, signature, sizeof signature));
    good = good && dw_write_file(cert, text, strlen(text), 0600);
    dw_free(key);
    dw_free(cert);
    return good;
}

enum dw_result dw_site_load(const struct dw_config *config, struct dw_site *ret,
                            struct dw_error *err)
{
    char *folder = dw_config_resolve(config, config->keys.admin);
    char *key = join(folder, "site.key"), *cert = join(folder, "site.cert");
    char day[16] = "", coded[128] = "";
    size_t len;
    enum dw_result result = dw_signer_load(&ret->signer, key, err);
    if (result == DW_OK) {
        char *text = (char *)dw_read_file(cert, 1024, true, &len);
        if (!text || sscanf(text, "%15s %127s", day, coded) != 2 ||
            !dw_day_parse(day, &ret->until) ||
            !dw_unbase64(ret->root_signature, sizeof ret->root_signature, coded)) {
            result = dw_invalid(err, "keys.admin", "%s: expected a day and the root's signature",
                                cert);
            dw_signer_free(&ret->signer);
        }
        dw_free(text);
    }
    dw_free(key);
    dw_free(cert);
    dw_free(folder);
    return result;
}

void dw_site_free(struct dw_site *site)
{
    dw_signer_free(&site->signer);
}

/* ---- writing the directory ---- */

static json_t *coded(const uint8_t *bytes, size_t len)
{
    char text[128];
    return json_string(dw_base64(text, sizeof text, bytes, len));
}

static json_t *day_text(dw_day day)
{
    char text[DW_DAY_TEXT];
    return json_string(dw_day_format(day, text));
}

static json_t *program_json(const struct dw_program *p)
{
    json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", p->name, "role", p->role, "curve",
                          coded(p->curve, DW_KEY_LEN), "from", day_text(p->from), "until",
                          day_text(p->until));
    if (!dw_all_zero(p->sign, DW_KEY_LEN))
        json_object_set_new(o, "sign", coded(p->sign, DW_KEY_LEN));
    return o;
}

static json_t *key_json(const struct dw_public_key *k)
{
    static const char *const types[] = {[DW_TO_BODY] = "body",
                                        [DW_TO_ESCROW] = "escrow",
                                        [DW_TO_REPORTER] = "reporter",
                                        [DW_TO_NOTIFIER] = "notifier",
                                        [DW_TO_CUSTODIAN] = "custodian"};
    return json_pack("{s:s, s:s, s:i, s:o, s:o, s:o}", "type", types[k->type], "id", k->id, "epoch",
                     k->epoch, "key", coded(k->key, DW_KEY_LEN), "from", day_text(k->from),
                     "until", day_text(k->until));
}

enum dw_result dw_directory_publish(const struct dw_config *config, const struct dw_site *site,
                                    const struct dw_directory *draft, struct dw_error *err)
{
    uint8_t signature[DW_SIGNATURE_LEN];
    char pk[64], by_root[128], by_site[128], day[DW_DAY_TEXT];
    json_t *root = json_pack("{s:I, s:o, s:[], s:[]}", "serial", (json_int_t)draft->serial + 1,
                             "salt", coded(draft->salt, DW_SALT_LEN), "programs", "keys");
    for (size_t i = 0; i < draft->programs_count; i++)
        json_array_append_new(json_object_get(root, "programs"),
                              program_json(&draft->programs[i]));
    for (size_t i = 0; i < draft->keys_count; i++)
        json_array_append_new(json_object_get(root, "keys"), key_json(&draft->keys[i]));
    char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    dw_sign(&site->signer, DW_LABEL_DIRECTORY, dw_slice_of(text), signature);

    DW_AUTO_BUF file = {0};
    dw_buf_init(&file, FILE_MAX);
    dw_buf_printf(&file, "dengwen-directory 1 %s %s %s %s\n",
                  dw_base64(pk, sizeof pk, site->signer.public, DW_KEY_LEN),
                  dw_day_format(site->until, day),
                  dw_base64(by_root, sizeof by_root, site->root_signature, DW_SIGNATURE_LEN),
                  dw_base64(by_site, sizeof by_site, signature, DW_SIGNATURE_LEN));
    dw_buf_str(&file, text);
    free(text);
    char *path = dw_config_resolve(config, config->keys.directory);
    bool good = !file.overflow && dw_write_file(path, file.data, file.len, 0644);
    if (!good)
        dw_error_set(err, "keys.directory", "%s: %s", path, strerror(errno));
    dw_free(path);
    return good ? DW_OK : DW_INVALID;
}

/* ---- notifier ---- */

static bool has_month(const struct dw_directory *draft, int32_t month)
{
    for (size_t i = 0; i < draft->keys_count; i++)
        if (draft->keys[i].type == DW_TO_NOTIFIER && draft->keys[i].epoch == month)
            return true;
    return false;
}

enum dw_result dw_make_months(const struct dw_config *config, struct dw_directory *draft,
                              dw_day today, int months, struct dw_error *err)
{
    int year, month, day;
    dw_day_to_civil(today, &year, &month, &day);
    char *folder = dw_config_state(config, "notify");
    enum dw_result result = DW_OK;
    for (int i = 0; i < months && result == DW_OK; i++, month++) {
        int y = year + (month - 1) / 12, m = (month - 1) % 12 + 1;
        int32_t epoch = y * 100 + m;
        if (has_month(draft, epoch))
            continue;
        uint8_t secret[32];
        char name[32];
        snprintf(name, sizeof name, "month-%d.key", epoch);
        char *path = join(folder, name);
        if (!dw_make_secret(path, sizeof secret, secret))
            result = dw_invalid(err, "notify", "%s: %s", path, strerror(errno));
        struct dw_public_key *k = dw_draft_key(draft, DW_TO_NOTIFIER, "", epoch);
        crypto_scalarmult_base(k->key, secret);
        k->from = dw_day_from_civil(y, m, 1);
        k->until = dw_day_from_civil(m == 12 ? y + 1 : y, m == 12 ? 1 : m + 1, 1) - 1;
        sodium_memzero(secret, sizeof secret);
        dw_free(path);
    }
    dw_free(folder);
    return result;
}
