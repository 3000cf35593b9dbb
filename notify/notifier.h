/* notifier.h - notices that are due leave here.  Source: notifier.c
 *
 * The case worker hands out what is due and has written the attempt down before; the notifier opens
 * the contact with this month's key, sends, and reports the provider's answer.  At least once: when a
 * report is lost, the claim runs out and the notice is sent again, under the same Message-ID. */
#ifndef DW_NOTIFIER_H
#define DW_NOTIFIER_H

#include "channel.h"

#include "dw/process.h"
#include "dw/services.h"
#include "dw/template.h"
#include "dw/wire.h"

enum { NOTIFY_MONTHS_MAX = 64 };

struct month_key {
    int32_t month; /* YYYYMM */
    uint8_t *secret;
    uint8_t public[DW_KEY_LEN];
};

struct notifier {
    struct dw_process process;
    const struct dw_config *config;
    struct dw_directory_watch *directory;
    struct dw_bus *bus;
    struct dw_templates *templates;
    char *address; /* where to follow */
    struct month_key months[NOTIFY_MONTHS_MAX];
    size_t months_count;
    dw_metric *m_sent, *m_failed, *m_given_up, *m_unopened;
};

/* Private keys of the months in the state folder. */
enum dw_result notifier_load_months(struct notifier *n, struct dw_error *err);
/* Claims, sends and reports what is due; returns how many there were, or -1 when nobody answered. */
int notifier_work(struct notifier *n);

#endif
