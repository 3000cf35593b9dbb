#include "dw/directory.h"

#include "dw/config.h"
#include "dw/log.h"
#include "dw/process.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 4 * 1024 * 1024, ENTRIES_MAX = 4096, LABEL_MAX = 64 };

void dw_signer_id(uint8_t signer[DW_SIGNER_LEN], const uint8_t sign[DW_KEY_LEN])
{
    uint8_t hash[32];
    crypto_generichash(hash, sizeof hash, sign, DW_KEY_LEN, NULL, 0);
    memcpy(signer, hash, DW_SIGNER_LEN);
}

bool dw_verify(const uint8_t sign[DW_KEY_LEN], const char *label, struct dw_slice bytes,
               const uint8_t signature[DW_SIGNATURE_LEN])
{
    /* The multi-part form is Ed25519ph: it needs no copy of the bytes. */
    crypto_sign_state state;
    crypto_sign_init(&state);
    crypto_sign_update(&state, (const uint8_t *)label, strlen(label) + 1);
    crypto_sign_update(&state, bytes.data, bytes.len);
    return crypto_sign_final_verify(&state, signature, sign) == 0;
}

/* ---- parsing ---- */

struct parser {
    struct dw_directory *dir;
    struct dw_error *err;
    const char *where;
    bool failed;
};

static void fail(struct parser *p, const char *name, const char *expected)
{
    if (!p->failed)
        dw_error_set(p->err, name, "directory: %s.%s: expected %s", p->where, name, expected);
    p->failed = true;
}

static const char *text_of(struct parser *p, json_t *object, const char *name, size_t max)
{
    json_t *v = json_object_get(object, name);
    const char *text = json_string_value(v);
    if (!text || json_string_length(v) > max) {
        fail(p, name, "a text");
        return "";
    }
    char *copy = dw_arena_strndup(&p->dir->arena, text, strlen(text));
    return copy ? copy : "";
}

static dw_day day_of(struct parser *p, json_t *object, const char *name)
{
    dw_day day = 0;
    const char *text = json_string_value(json_object_get(object, name));
    if (!text || !dw_day_parse(text, &day))
        fail(p, name, "a day as 2026-09-28");
    return day;
}

static void bytes_of(struct parser *p, json_t *object, const char *name, uint8_t *out, size_t len)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (!text || !dw_unbase64(out, len, text))
        fail(p, name, "base64url of the right length");
}

static int64_t number_of(struct parser *p, json_t *object, const char *name)
{
    json_t *v = json_object_get(object, name);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
        fail(p, name, "a whole number");
    return json_integer_value(v);
}

static json_t *array_of(struct parser *p, json_t *root, const char *name)
{
    json_t *array = json_object_get(root, name);
    p->where = name;
    if (!json_is_array(array) || json_array_size(array) > ENTRIES_MAX) {
        fail(p, name, "an array of reasonable size");
        return NULL;
    }
    return array;
}

static void parse_programs(struct parser *p, json_t *root)
{
    json_t *array = array_of(p, root, "programs"), *item;
    size_t i;
    struct dw_directory *dir = p->dir;
    dir->programs = dw_arena_alloc(&dir->arena, json_array_size(array) * sizeof *dir->programs);
    json_array_foreach(array, i, item) {
        struct dw_program *program = &dir->programs[i];
        *program = (struct dw_program){.name = text_of(p, item, "name", 64),
                                       .role = text_of(p, item, "role", 80),
                                       .from = day_of(p, item, "from"),
                                       .until = day_of(p, item, "until")};
        bytes_of(p, item, "curve", program->curve, DW_KEY_LEN);
        if (json_object_get(item, "sign")) {
            bytes_of(p, item, "sign", program->sign, DW_KEY_LEN);
            dw_signer_id(program->signer, program->sign);
        }
    }
    dir->programs_count = json_array_size(array);
}

static void parse_keys(struct parser *p, json_t *root)
{
    static const struct {
        const char *name;
        enum dw_grantee type;
    } types[] = {{"body", DW_TO_BODY},
                 {"custodian", DW_TO_CUSTODIAN},
                 {"escrow", DW_TO_ESCROW},
                 {"notifier", DW_TO_NOTIFIER}};
    json_t *array = array_of(p, root, "keys"), *item;
    size_t i;
    struct dw_directory *dir = p->dir;
    dir->keys = dw_arena_alloc(&dir->arena, json_array_size(array) * sizeof *dir->keys);
    json_array_foreach(array, i, item) {
        struct dw_public_key *key = &dir->keys[i];
        const char *type = text_of(p, item, "type", 16);
        *key = (struct dw_public_key){.id = text_of(p, item, "id", 64),
                                      .epoch = (int32_t)number_of(p, item, "epoch"),
                                      .from = day_of(p, item, "from"),
                                      .until = day_of(p, item, "until")};
        bytes_of(p, item, "key", key->key, DW_KEY_LEN);
        for (size_t t = 0; t < DW_COUNT(types); t++)
            if (strcmp(types[t].name, type) == 0)
                key->type = types[t].type;
        if (!key->type)
            fail(p, "type", "body, custodian, escrow or notifier");
    }
    dir->keys_count = json_array_size(array);
}

/* The first line: who signed, until when.  Leaves `rest` at the JSON document. */
static enum dw_result check_signatures(struct dw_slice file, const uint8_t root[DW_KEY_LEN],
                                       dw_day today, struct dw_directory *dir,
                                       struct dw_slice *rest, struct dw_error *err)
{
    char line[512], site[64], until[16], by_root[128], by_site[128];
    uint8_t root_signature[DW_SIGNATURE_LEN], site_signature[DW_SIGNATURE_LEN];
    const uint8_t *end = memchr(file.data, '\n', file.len);
    if (!end || (size_t)(end - file.data) >= sizeof line)
        return dw_invalid(err, "directory", "directory: expected a first line with signatures");
    memcpy(line, file.data, (size_t)(end - file.data));
    line[end - file.data] = 0;
    if (sscanf(line, "dengwen-directory 1 %63s %15s %127s %127s", site, until, by_root, by_site) !=
            4 ||
        !dw_unbase64(dir->site, DW_KEY_LEN, site) || !dw_day_parse(until, &dir->until) ||
        !dw_unbase64(root_signature, sizeof root_signature, by_root) ||
        !dw_unbase64(site_signature, sizeof site_signature, by_site))
        return dw_invalid(err, "directory", "directory: the first line is not well formed");

    DW_AUTO_BUF certificate = {0};
    dw_buf_init(&certificate, 64);
    dw_buf_put(&certificate, dir->site, DW_KEY_LEN);
    dw_buf_u32(&certificate, (uint32_t)dir->until);
    if (!dw_verify(root, DW_LABEL_SITE, dw_buf_slice(&certificate), root_signature))
        return dw_invalid(err, "directory",
                          "directory: the root key did not sign this site key; expected the root "
                          "that is pinned in keys.root");
    if (today > dir->until)
        return dw_invalid(err, "directory",
                          "directory: the site key ended on %s; run `dengwen key renew` with the "
                          "root key",
                          until);
    *rest = DW_SLICE(end + 1, file.len - (size_t)(end + 1 - file.data));
    if (!dw_verify(dir->site, DW_LABEL_DIRECTORY, *rest, site_signature))
        return dw_invalid(err, "directory", "directory: the site key did not sign these contents");
    return DW_OK;
}

enum dw_result dw_directory_parse(struct dw_slice file, const uint8_t root[DW_KEY_LEN],
                                  dw_day today, int64_t at_least, struct dw_directory **ret,
                                  struct dw_error *err)
{
    struct dw_slice rest = {0};
    struct dw_directory *dir = dw_alloc(sizeof *dir);
    dw_arena_init(&dir->arena, FILE_MAX * 2);
    if (check_signatures(file, root, today, dir, &rest, err) != DW_OK) {
        dw_directory_free(dir);
        return DW_INVALID;
    }
    json_error_t why;
    json_t *json = json_loadb((const char *)rest.data, rest.len, JSON_REJECT_DUPLICATES, &why);
    struct parser p = {.dir = dir, .err = err, .where = ""};
    if (!json) {
        dw_error_set(err, "directory", "directory: line %d: %s", why.line + 1, why.text);
        p.failed = true;
    } else {
        dir->serial = number_of(&p, json, "serial");
        bytes_of(&p, json, "salt", dir->salt, DW_SALT_LEN);
        parse_programs(&p, json);
        parse_keys(&p, json);
        json_decref(json);
    }
    if (!p.failed && dir->serial < at_least) {
        dw_error_set(err, "serial", "directory: serial %lld is older than %lld, which was in use",
                     (long long)dir->serial, (long long)at_least);
        p.failed = true;
    }
    if (p.failed) {
        dw_directory_free(dir);
        return DW_INVALID;
    }
    *ret = dir;
    return DW_OK;
}

void dw_directory_free(struct dw_directory *dir)
{
    if (!dir)
        return;
    dw_arena_free(&dir->arena);
    dw_free(dir);
}

/* ---- look-ups ---- */

static bool valid(dw_day from, dw_day until, dw_day day)
{
    return day >= from && day <= until;
}

const struct dw_program *dw_directory_by_curve(const struct dw_directory *dir,
                                               const uint8_t curve[DW_KEY_LEN], dw_day day)
{
    for (size_t i = 0; i < dir->programs_count; i++) {
        const struct dw_program *p = &dir->programs[i];
        if (memcmp(p->curve, curve, DW_KEY_LEN) == 0 && valid(p->from, p->until, day))
            return p;
    }
    return NULL;
}

const struct dw_program *dw_directory_by_signer(const struct dw_directory *dir,
                                                const uint8_t signer[DW_SIGNER_LEN], dw_day day)
{
    for (size_t i = 0; i < dir->programs_count; i++) {
        const struct dw_program *p = &dir->programs[i];
        if (memcmp(p->signer, signer, DW_SIGNER_LEN) == 0 && !dw_all_zero(p->sign, DW_KEY_LEN) &&
            valid(p->from, p->until, day))
            return p;
    }
    return NULL;
}

const struct dw_program *dw_directory_by_name(const struct dw_directory *dir, const char *name,
                                              dw_day day)
{
    for (size_t i = 0; i < dir->programs_count; i++) {
        const struct dw_program *p = &dir->programs[i];
        if (strcmp(p->name, name) == 0 && valid(p->from, p->until, day))
            return p;
    }
    return NULL;
}

const struct dw_public_key *dw_directory_current(const struct dw_directory *dir,
                                                 enum dw_grantee type, const char *id, dw_day day)
{
    const struct dw_public_key *best = NULL;
    for (size_t i = 0; i < dir->keys_count; i++) {
        const struct dw_public_key *k = &dir->keys[i];
        if (k->type == type && strcmp(k->id, id) == 0 && valid(k->from, k->until, day) &&
            (!best || k->epoch > best->epoch))
            best = k;
    }
    return best;
}

const struct dw_public_key *dw_directory_epoch(const struct dw_directory *dir,
                                               enum dw_grantee type, const char *id, int32_t epoch,
                                               dw_day day)
{
    for (size_t i = 0; i < dir->keys_count; i++) {
        const struct dw_public_key *k = &dir->keys[i];
        if (k->type == type && strcmp(k->id, id) == 0 && k->epoch == epoch &&
            valid(k->from, k->until, day))
            return k;
    }
    return NULL;
}

/* ---- kept current ---- */

struct shared {
    struct dw_directory *dir;
    int users;
    struct shared *next;
};

struct dw_directory_watch {
    pthread_mutex_t lock;
    char *path;
    uint8_t root[DW_KEY_LEN];
    struct timespec modified;
    struct shared *all; /* newest first */
};

static enum dw_result read_current(struct dw_directory_watch *watch, struct dw_error *err)
{
    struct stat st;
    size_t len;
    if (stat(watch->path, &st) != 0)
        return dw_invalid(err, "keys.directory", "%s: %s", watch->path, strerror(errno));
    uint8_t *file = dw_read_file(watch->path, FILE_MAX, false, &len);
    if (!file)
        return dw_invalid(err, "keys.directory", "%s: %s", watch->path, strerror(errno));
    struct dw_directory *dir;
    enum dw_result result =
        dw_directory_parse(DW_SLICE(file, len), watch->root, dw_day_of(dw_now()),
                           watch->all ? watch->all->dir->serial : 0, &dir, err);
    dw_free(file);
    watch->modified = st.st_mtim;
    if (result != DW_OK)
        return result;
    struct shared *shared = dw_alloc(sizeof *shared);
    shared->dir = dir;
    shared->next = watch->all;
    watch->all = shared;
    return DW_OK;
}

enum dw_result dw_directory_watch_new(const struct dw_config *config,
                                      struct dw_directory_watch **ret, struct dw_error *err)
{
    struct dw_directory_watch *watch = dw_alloc(sizeof *watch);
    pthread_mutex_init(&watch->lock, NULL);
    watch->path = dw_config_resolve(config, config->keys.directory);
    char *root_path = dw_config_resolve(config, config->keys.root);
    size_t len;
    char *text = (char *)dw_read_file(root_path, 1024, false, &len);
    enum dw_result result = DW_OK;
    if (text)
        text[strcspn(text, "\r\n")] = 0; /* dw_read_file() leaves a terminator */
    if (!text || !dw_unbase64(watch->root, DW_KEY_LEN, text))
        result = dw_invalid(err, "keys.root", "%s: expected the root's public key in base64url",
                            root_path);
    dw_free(text);
    dw_free(root_path);
    if (result == DW_OK)
        result = read_current(watch, err);
    if (result != DW_OK) {
        dw_directory_watch_free(watch);
        return result;
    }
    *ret = watch;
    return DW_OK;
}

void dw_directory_watch_free(struct dw_directory_watch *watch)
{
    if (!watch)
        return;
    while (watch->all) {
        struct shared *shared = watch->all;
        watch->all = shared->next;
        dw_directory_free(shared->dir);
        dw_free(shared);
    }
    pthread_mutex_destroy(&watch->lock);
    dw_free(watch->path);
    dw_free(watch);
}

/* Old directories go once nobody looks into them any more. */
static void forget_unused(struct dw_directory_watch *watch)
{
    for (struct shared **at = &watch->all->next; *at;) {
        struct shared *old = *at;
        if (old->users) {
            at = &old->next;
            continue;
        }
        *at = old->next;
        dw_directory_free(old->dir);
        dw_free(old);
    }
}

bool dw_directory_watch_tick(struct dw_directory_watch *watch)
{
    struct stat st;
    struct dw_error err = {0};
    bool changed = false;
    pthread_mutex_lock(&watch->lock);
    if (stat(watch->path, &st) == 0 && (st.st_mtim.tv_sec != watch->modified.tv_sec ||
                                        st.st_mtim.tv_nsec != watch->modified.tv_nsec)) {
        changed = read_current(watch, &err) == DW_OK;
        if (!changed) {
            watch->modified = st.st_mtim;
            dw_log(DW_ERROR, "directory.refused", "%s; the one in use is kept", err.text);
        } else {
            dw_log(DW_INFO, "directory.read", "serial %lld", (long long)watch->all->dir->serial);
        }
    }
    forget_unused(watch);
    pthread_mutex_unlock(&watch->lock);
    return changed;
}

struct dw_directory *dw_directory_take(struct dw_directory_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->all->users++;
    struct dw_directory *dir = watch->all->dir;
    pthread_mutex_unlock(&watch->lock);
    return dir;
}

void dw_directory_give(struct dw_directory_watch *watch, struct dw_directory *dir)
{
    pthread_mutex_lock(&watch->lock);
    for (struct shared *s = watch->all; s; s = s->next)
        if (s->dir == dir)
            s->users--;
    pthread_mutex_unlock(&watch->lock);
}
