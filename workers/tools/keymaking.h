/* keymaking.h - what the administrator's commands make and sign.  Source: keymaking.c
 *
 * No server links this: the site key lies in the administrator's folder and signs here only. */
#ifndef DW_KEYMAKING_H
#define DW_KEYMAKING_H

#include "dw/config.h"
#include "dw/directory.h"
#include "dw/envelope.h"

/* A new directory under construction, in an arena of its own. */
struct dw_directory *dw_directory_draft(void);
/* A draft with what is in force, to be changed and signed again. */
enum dw_result dw_directory_reopen(const struct dw_config *config, struct dw_directory **ret,
                                   struct dw_error *err);
struct dw_program *dw_draft_program(struct dw_directory *draft, const char *name, const char *role);
struct dw_public_key *dw_draft_key(struct dw_directory *draft, enum dw_grantee type,
                                   const char *id, int32_t epoch);

/* 32 random bytes to a file of mode 0600; `ret` may be NULL. False with errno. */
bool dw_make_secret(const char *path, size_t len, uint8_t *ret);
bool dw_save_secret(const char *path, const uint8_t *secret, size_t len);

/* admin/site.key and admin/site.cert: what the first line of the directory says about the site. */
struct dw_site {
    struct dw_signer signer;
    dw_day until;
    uint8_t root_signature[DW_SIGNATURE_LEN];
};
/* Makes a site key, certified by the root until that day. */
bool dw_site_make(const char *admin_folder, const struct dw_signer *root, dw_day until);
enum dw_result dw_site_load(const struct dw_config *config, struct dw_site *ret,
                            struct dw_error *err);
void dw_site_free(struct dw_site *site);

/* Signs the draft and puts it where the settings say, for all programs to see. */
enum dw_result dw_directory_publish(const struct dw_config *config, const struct dw_site *site,
                                    const struct dw_directory *draft, struct dw_error *err);

/* Months of notifier keys, from the month of `today` on: private halves to state/notify. */
enum dw_result dw_make_months(const struct dw_config *config, struct dw_directory *draft,
                              dw_day today, int months, struct dw_error *err);

#endif
