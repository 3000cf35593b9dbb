/* The directory of keys: raw, or with signatures that are good, so that its contents are read. */
#include "fuzz.h"

#include "dw/envelope.h"

#include <sodium.h>
#include <stdio.h>

static const dw_day TODAY = 20718;
static struct dw_signer root, site;

static void sign(const struct dw_signer *who, const char *label, struct dw_slice bytes,
                 char text[100])
{
    uint8_t signature[DW_SIGNATURE_LEN];
    dw_sign(who, label, bytes, signature);
    dw_base64(text, 100, signature, sizeof signature);
}

static void put_first_line(struct dw_buf *out, struct dw_slice json)
{
    char key[64], by_root[100], by_site[100], until[DW_DAY_TEXT];
    DW_AUTO_BUF certificate = {0};
    dw_buf_init(&certificate, 64);
    dw_buf_put(&certificate, site.public, DW_KEY_LEN);
    dw_buf_u32(&certificate, (uint32_t)TODAY + 1);
    sign(&root, DW_LABEL_SITE, dw_buf_slice(&certificate), by_root);
    sign(&site, DW_LABEL_DIRECTORY, json, by_site);
    dw_base64(key, sizeof key, site.public, DW_KEY_LEN);
    dw_buf_printf(out, "dengwen-directory 1 %s %s %s %s\n", key, dw_day_format(TODAY + 1, until),
                  by_root, by_site);
}

static void look(const struct dw_directory *d)
{
    for (size_t i = 0; i < d->programs_count; i++) {
        const struct dw_program *p = &d->programs[i];
        must(p->name && p->role && strlen(p->role) <= 80);
        const struct dw_program *same = dw_directory_by_name(d, p->name, p->from);
        must(p->from > p->until || (same && strcmp(same->name, p->name) == 0));
        must(p->from > p->until || dw_directory_by_curve(d, p->curve, p->from));
    }
    for (size_t i = 0; i < d->keys_count; i++) {
        const struct dw_public_key *k = &d->keys[i];
        must(k->type >= DW_TO_BODY && k->type <= DW_TO_CUSTODIAN);
        must(k->from > k->until || dw_directory_epoch(d, k->type, k->id, k->epoch, k->from));
        must(k->from > k->until || dw_directory_current(d, k->type, k->id, k->from));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dw_directory *dir = NULL;
    struct dw_error err = {0};
    DW_AUTO_BUF file = {0};
    uint8_t seed[32] = {1};
    if (!root.secret) {
        must(sodium_init() >= 0);
        dw_signer_init(&root, seed);
        seed[0] = 2;
        dw_signer_init(&site, seed);
    }
    if (!len)
        return 0;
    dw_buf_init(&file, 1 << 20);
    if (data[0] != 'x')
        put_first_line(&file, DW_SLICE(data, len));
    dw_buf_put(&file, data, len);
    if (dw_directory_parse(dw_buf_slice(&file), root.public, TODAY, 1, &dir, &err) == DW_OK) {
        look(dir);
        dw_directory_free(dir);
    } else {
        must(err.text[0] != 0);
    }
    return 0;
}
