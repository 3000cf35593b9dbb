/* doctor_keys.c - keys: how long they last, who has one, and who else could read them. */
#include "doctor.h"

#include "dw/clock.h"
#include "dw/process.h"
#include "dw/route.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { WARN_DAYS = 30, PATH_LEN = 4096 };

/* ---- the directory ---- */

void look_at_directory(struct doctor *d)
{
    const struct dw_directory *dir = d->admin->dir;
    dw_day today = dw_day_of(dw_now()), last_month = 0;
    char text[DW_DAY_TEXT];
    if (dir->until - today < WARN_DAYS)
        found(d, dir->until < today ? WRONG : CARE, "site key",
              "make a new one with the root key, then `dengwen key renew`",
              "it ends on %s, and with it everything", dw_day_format(dir->until, text));
    else
        found(d, FINE, "site key", "", "valid until %s", dw_day_format(dir->until, text));
    for (size_t i = 0; i < dir->keys_count; i++)
        if (dir->keys[i].type == DW_TO_NOTIFIER && dir->keys[i].until > last_month)
            last_month = dir->keys[i].until;
    if (last_month - today < WARN_DAYS)
        found(d, last_month < today ? WRONG : CARE, "keys of the notifier", "dengwen key renew",
              "the last month ends on %s; after it nobody can be told anything",
              dw_day_format(last_month, text));
    else
        found(d, FINE, "keys of the notifier", "", "made until %s",
              dw_day_format(last_month, text));
}

/* ---- bodies ---- */

void look_at_bodies(struct doctor *d)
{
    char *folder = dw_config_data_folder(d->config);
    dw_day today = dw_day_of(dw_now());
    struct dw_routing *routing;
    struct dw_error err;
    size_t members = 0, with_key = 0;
    bool top = false;
    if (dw_routing_load(folder, &routing, &err) != DW_OK) {
        found(d, WRONG, "bodies", "mend the file", "%s: %s", folder, err.text);
        dw_free(folder);
        return;
    }
    for (size_t i = 0; i < dw_bodies_count(routing); i++) {
        const struct dw_body *b = dw_body_at(routing, i);
        bool has = dw_directory_current(d->admin->dir, DW_TO_BODY, b->id, today) != NULL;
        members += b->member;
        with_key += b->member && has;
        top |= b->member && has && !*b->superior;
    }
    if (!top)
        found(d, WRONG, "bodies",
              "enrol two inspectors of the city bureau (`dengwen staff add`), then "
              "`dengwen key renew`",
              "no body at the top has a key: reports that nobody below may receive are refused");
    else if (with_key < members)
        found(d, CARE, "bodies", "enrol two inspectors of each, then `dengwen key renew`",
              "%zu of %zu members have a key; the reports of the others go to the body above",
              with_key, members);
    else
        found(d, FINE, "bodies", "", "all %zu members have a key", members);
    dw_routing_free(routing);
    dw_free(folder);
}

/* ---- files ---- */

static void look_for_open_files(struct doctor *d, const char *folder, int *open)
{
    char path[PATH_LEN];
    struct dirent *entry;
    struct stat st;
    DIR *list = opendir(folder);
    while (list && (entry = readdir(list))) {
        size_t len = strlen(entry->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (len < 4 || strcmp(entry->d_name + len - 4, ".key") != 0 || lstat(path, &st) != 0 ||
            !(st.st_mode & 077))
            continue;
        found(d, WRONG, "secrets", "chmod go-rwx, find out who could read it, and make new keys",
              "%s: mode %04o lets others read it", path, (unsigned)(st.st_mode & 07777));
        ++*open;
    }
    if (list)
        closedir(list);
}

static void look_at_offline(struct doctor *d)
{
    char *folder = dw_config_resolve(d->config, d->config->keys.offline);
    struct dirent *entry;
    int files = 0;
    DIR *list = opendir(folder);
    while (list && (entry = readdir(list)))
        files += entry->d_name[0] != '.';
    if (list)
        closedir(list);
    if (files)
        found(d, CARE, "offline keys",
              "carry the folder to two places that are not on a network, and delete it here",
              "%s still lies here: whoever has it can make keys and open every report", folder);
    else
        found(d, FINE, "offline keys", "", "not on this machine");
    dw_free(folder);
}

void look_at_secrets(struct doctor *d)
{
    static const char *const parts[] = {"keyd", "broker", "case", "notify", "desk", "web", "ops"};
    int open = 0;
    for (size_t i = 0; i < DW_COUNT(parts); i++) {
        char *folder = dw_config_state(d->config, parts[i]);
        struct stat st;
        if (stat(folder, &st) == 0 && st.st_mode & 077) {
            found(d, WRONG, "secrets", "chmod 0700", "%s: mode %04o lets others in", folder,
                  (unsigned)(st.st_mode & 07777));
            open++;
        }
        look_for_open_files(d, folder, &open);
        dw_free(folder);
    }
    char *admin = dw_config_resolve(d->config, d->config->keys.admin);
    look_for_open_files(d, admin, &open);
    dw_free(admin);
    if (!open)
        found(d, FINE, "secrets", "", "nobody but their owner can read them");
    if (d->config->demo)
        found(d, CARE, "demo", "for anything real: `dengwen init` without --demo in another folder",
              "passwords are known to everybody, and there are no rate limits");
    look_at_offline(d);
}
