/* dengwen-init: a new installation in a folder.
 *
 * Keys, the signed directory, one 0700 folder a process, and dengwen.yaml.  Private halves of root
 * and escrow go to offline/ and belong on a medium in a safe.  --demo adds staff of three bodies with
 * known passwords. */
#include "demo.h"
#include "keymaking.h"

#include "dw/log.h"
#include "dw/process.h"

#include <argp.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MONTHS = 13, SETS_MAX = 64 };

struct options {
    bool demo;
    const char *folder;
    const char *sets[SETS_MAX];
    size_t sets_count;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    if (key == 'd') {
        o->demo = true;
    } else if (key == 's') {
        if (o->sets_count == SETS_MAX)
            argp_error(state, "at most %d settings", SETS_MAX);
        o->sets[o->sets_count++] = arg;
    } else if (key == ARGP_KEY_ARG && !o->folder) {
        o->folder = arg;
    } else if (key == ARGP_KEY_END && !o->folder) {
        argp_error(state, "which folder?");
    } else {
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "dengwen init: %s: %s\n", what, why);
    exit(DW_EXIT_NO);
}

static void must(bool good, const char *what)
{
    if (!good)
        die(what, strerror(errno));
}

/* ---- folders and settings ---- */

static const struct {
    const char *name;
    int mode;
} folders[] = {{"", 0755},          {"state", 0755},       {"state/broker", 0700},
               {"state/case", 0700}, {"state/web", 0700},   {"state/desk", 0700},
               {"state/keyd", 0700}, {"state/notify", 0700}, {"run", 0750},
               {"keys", 0755},      {"admin", 0700},       {"offline", 0700}};

static void make_folders(const char *folder)
{
    for (size_t i = 0; i < DW_COUNT(folders); i++) {
        DW_AUTO_BUF path = {0};
        dw_buf_init(&path, 4096);
        dw_buf_printf(&path, "%s/%s", folder, folders[i].name);
        must(dw_make_folder(dw_buf_text(&path), folders[i].mode), dw_buf_text(&path));
    }
}

static void open_demo(struct dw_config *config)
{
    static const char *const settings[][2] = {
        {"demo", "true"},
        {"desk.kdf_memory_mib", "64"},
        {"web.filings_per_hour", "1000000"},
        {"web.filings_burst", "1000000"},
        {"web.lookups_per_minute", "1000000"},
        {"web.lookups_burst", "1000000"},
        {"web.messages_per_hour", "1000000"},
        {"web.messages_burst", "1000000"},
        {"desk.logins_per_minute", "1000000"},
        {"desk.logins_burst", "1000000"},
        {"keyd.per_second", "1000000"},
        {"keyd.burst", "1000000"},
        {"case.messages_per_day", "1000"},
        {"notify.delay_min_minutes", "0"},
        {"notify.delay_max_minutes", "0"},
        {"notify.smtp_tls", "false"},
    };
    for (size_t i = 0; i < DW_COUNT(settings); i++)
        if (!dw_config_set(config, settings[i][0], settings[i][1]))
            abort();
}

static void apply_sets(struct dw_config *config, const struct options *o)
{
    for (size_t i = 0; i < o->sets_count; i++) {
        char key[128];
        const char *equals = strchr(o->sets[i], '=');
        snprintf(key, sizeof key, "%.*s", equals ? (int)(equals - o->sets[i]) : 0, o->sets[i]);
        if (!equals || !dw_config_set(config, key, equals + 1)) {
            fprintf(stderr, "dengwen init: --set %s: expected KEY=VALUE with a key of the settings "
                            "and a value of its kind\n", o->sets[i]);
            exit(DW_EXIT_USAGE);
        }
    }
}

static void write_settings(const struct dw_config *config)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    dw_config_write(config, out);
    fclose(out);
    char *path = dw_config_resolve(config, "dengwen.yaml");
    must(dw_write_file(path, text, len, 0644), path);
    dw_free(path);
    free(text);
}

/* ---- keys ---- */

static char *in(const struct dw_config *config, const char *folder, const char *name)
{
    DW_AUTO_BUF path = {0};
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/%s", folder, name);
    return dw_config_resolve(config, dw_buf_text(&path));
}

static void make_root(const struct dw_config *config, struct dw_signer *root)
{
    uint8_t seed[32];
    char text[64];
    char *secret = in(config, config->keys.offline, "root.key");
    char *public = dw_config_resolve(config, config->keys.root);
    must(dw_make_secret(secret, sizeof seed, seed), secret);
    dw_signer_init(root, seed);
    sodium_memzero(seed, sizeof seed);
    dw_base64(text, sizeof text, root->public, DW_KEY_LEN);
    must(dw_write_file(public, text, strlen(text), 0644), public);
    dw_free(secret);
    dw_free(public);
}

/* The escrow's private half, sealed so that any two of three officers open it together: to A what is
 * sealed to B, and so for A and C, B and C. */
static void make_escrow(const struct dw_config *config, struct dw_directory *draft, dw_day from,
                        dw_day until)
{
    uint8_t secret[32], officers[3][32], officer_secret[32];
    struct dw_public_key *k = dw_draft_key(draft, DW_TO_ESCROW, "", 1);
    crypto_box_keypair(k->key, secret);
    k->from = from;
    k->until = until;
    for (int i = 0; i < 3; i++) {
        char name[64];
        crypto_box_keypair(officers[i], officer_secret);
        snprintf(name, sizeof name, "escrow-officer-%d.key", i + 1);
        char *path = in(config, config->keys.offline, name);
        must(dw_save_secret(path, officer_secret, sizeof officer_secret), path);
        dw_free(path);
    }
    for (int a = 0; a < 3; a++)
        for (int b = a + 1; b < 3; b++) {
            uint8_t inner[32 + 48], outer[32 + 96];
            char text[256], name[64];
            crypto_box_seal(inner, secret, sizeof secret, officers[b]);
            crypto_box_seal(outer, inner, sizeof inner, officers[a]);
            snprintf(name, sizeof name, "escrow-1-officers-%d-%d.sealed", a + 1, b + 1);
            char *path = in(config, config->keys.offline, name);
            dw_base64(text, sizeof text, outer, sizeof outer);
            must(dw_write_file(path, text, strlen(text), 0600), path);
            dw_free(path);
        }
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(officer_secret, sizeof officer_secret);
}

static void make_programs(const struct dw_config *config, struct dw_directory *draft, dw_day from,
                          dw_day until)
{
    static const struct {
        const char *name;
        bool signs;
    } programs[] = {{"broker", false}, {"web", true},     {"desk", false}, {"case", true},
                    {"notify", false}, {"admin", false}};
    for (size_t i = 0; i < DW_COUNT(programs); i++) {
        uint8_t secret[32];
        struct dw_signer signer;
        bool admin = strcmp(programs[i].name, "admin") == 0;
        char *folder = admin ? dw_config_resolve(config, config->keys.admin)
                             : dw_config_state(config, programs[i].name);
        char *curve = in(config, folder, "curve.key"), *sign = in(config, folder, "sign.key");
        struct dw_program *p = dw_draft_program(draft, programs[i].name, programs[i].name);
        p->from = from;
        p->until = until;
        must(dw_make_secret(curve, sizeof secret, secret), curve);
        crypto_scalarmult_base(p->curve, secret);
        if (programs[i].signs) {
            must(dw_make_secret(sign, sizeof secret, secret), sign);
            dw_signer_init(&signer, secret);
            memcpy(p->sign, signer.public, DW_KEY_LEN);
            memcpy(p->signer, signer.id, DW_SIGNER_LEN);
            dw_signer_free(&signer);
        }
        sodium_memzero(secret, sizeof secret);
        dw_free(curve);
        dw_free(sign);
        dw_free(folder);
    }
}

static void make_secrets(const struct dw_config *config)
{
    static const char *const secrets[][2] = {
        {"keyd", "pepper.key"}, {"keyd", "index.key"}, {"web", "intake.key"}};
    for (size_t i = 0; i < DW_COUNT(secrets); i++) {
        char *folder = dw_config_state(config, secrets[i][0]);
        char *path = in(config, folder, secrets[i][1]);
        must(dw_make_secret(path, 32, NULL), path);
        dw_free(path);
        dw_free(folder);
    }
}

/* 13 months ahead: the last day of the twelfth month after this one. */
static dw_day end_of_validity(dw_day today)
{
    int y, m, d;
    dw_day_to_civil(today, &y, &m, &d);
    m += MONTHS;
    return dw_day_from_civil(y + (m - 1) / 12, (m - 1) % 12 + 1, 1) - 1;
}

int main(int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"demo", 'd', NULL, 0, "staff three bodies with known passwords, open the rate limits", 0},
        {"set", 's', "KEY=VALUE", 0, "a setting to write into dengwen.yaml", 0},
        {0}};
    struct argp argp = {known, parse, "DIR",
                        "Makes a new installation in DIR: keys, the signed directory, state folders "
                        "and DIR/dengwen.yaml.", NULL, NULL, NULL};
    struct options o = {0};
    struct dw_config config;
    struct dw_signer root;
    struct dw_site site;
    struct dw_error err = {0};
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    dw_process_harden();
    dw_log_open("init", DW_WARN);

    DW_AUTO_BUF path = {0};
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/dengwen.yaml", o.folder);
    if (access(dw_buf_text(&path), F_OK) == 0)
        die(dw_buf_text(&path), "is there already; nothing was changed");
    make_folders(o.folder);
    dw_config_defaults(&config);
    config.folder = realpath(o.folder, NULL);
    must(config.folder != NULL, o.folder);
    if (o.demo)
        open_demo(&config);
    apply_sets(&config, &o);
    if (*config.clock_file) {
        char *clock_file = dw_config_resolve(&config, config.clock_file);
        dw_clock_use_file(clock_file);
        dw_free(clock_file);
    }

    dw_day today = dw_day_of(dw_now()), until = end_of_validity(today);
    struct dw_directory *draft = dw_directory_draft();
    randombytes_buf(draft->salt, sizeof draft->salt);
    make_root(&config, &root);
    char *admin = dw_config_resolve(&config, config.keys.admin);
    must(dw_site_make(admin, &root, until), admin);
    dw_free(admin);
    dw_signer_free(&root);
    if (dw_site_load(&config, &site, &err) != DW_OK)
        die("site key", err.text);
    make_escrow(&config, draft, today, until);
    make_programs(&config, draft, today, until);
    make_secrets(&config);
    if (dw_make_months(&config, draft, today, MONTHS, &err) != DW_OK ||
        (o.demo && dw_demo_staff(&config, &site, draft, today, until, &err) != DW_OK) ||
        dw_directory_publish(&config, &site, draft, &err) != DW_OK)
        die(err.field, err.text);
    write_settings(&config);
    dw_site_free(&site);
    dw_directory_free(draft);

    printf("%s/dengwen.yaml is written.  Start with: dengwen run -c %s/dengwen.yaml\n",
           config.folder, config.folder);
    if (o.demo)
        dw_demo_print(stdout);
    printf("Carry %s/offline away now: whoever has it can make keys and open reports.\n",
           config.folder);
    dw_config_free(&config);
    return 0;
}
