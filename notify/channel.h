/* channel.h - a way to reach a reporter.  Sources: smtp.c kannel.c
 *
 * A channel sends one message and tells what the provider said.  It keeps nothing, retries nothing
 * and logs nothing: the notifier decides, and writes down without the address. */
#ifndef DW_NOTIFY_CHANNEL_H
#define DW_NOTIFY_CHANNEL_H

#include "dw/config.h"

#include <stdbool.h>

struct dw_message_out {
    const char *to;         /* e-mail address, or phone as +86... */
    const char *subject;    /* e-mail only */
    const char *text;
    const char *message_id; /* the same for every attempt at one notice */
    int64_t now_ms;
};

struct dw_delivery {
    bool accepted;  /* the provider took it */
    bool refused;   /* it never will: no use in trying again */
    char code[120]; /* what it said, printable, without the address */
};

/* Once, before threads. */
void dw_channels_start(void);
void dw_channels_stop(void);

struct dw_channel {
    const char *name; /* "sms", "email" */
    bool (*configured)(const struct dw_config *config);
    void (*send)(const struct dw_config *config, const struct dw_message_out *message,
                 struct dw_delivery *ret);
    /* Goes as far as it can without sending anything; `accepted` when all that worked. */
    void (*reach)(const struct dw_config *config, struct dw_delivery *ret);
};
extern const struct dw_channel dw_channel_email, dw_channel_sms;

/* First line of a password file; empty when there is none. Wipe it. */
void dw_channel_password(const struct dw_config *config, const char *file, char out[256]);

/* The bytes of an e-mail, headers and body, CRLF line ends. */
struct dw_buf;
void dw_email_compose(const struct dw_config *config, const struct dw_message_out *message,
                      struct dw_buf *out);

#endif
