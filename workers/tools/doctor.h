/* doctor.h - what dengwen doctor finds.  Sources: doctor_main.c doctor_machine.c doctor_keys.c
 * doctor_parts.c
 *
 * Each check looks at one thing and says what it saw and, when that is not well, what to do.  It
 * changes nothing. */
#ifndef DW_TOOLS_DOCTOR_H
#define DW_TOOLS_DOCTOR_H

#include "admin.h"

enum finding {
    FINE,
    CARE,  /* works, but somebody should look */
    WRONG, /* something is lost, or will be */
};

struct doctor {
    struct admin *admin;
    const struct dw_config *config;
    json_t *findings;
    int worst;
};

/* `todo` is what to do, "" when it is fine. */
__attribute__((format(printf, 5, 6))) void found(struct doctor *d, enum finding finding,
                                                 const char *what, const char *todo,
                                                 const char *format, ...);

void look_at_clock(struct doctor *d);
void look_at_disks(struct doctor *d);
void look_at_limits(struct doctor *d);

void look_at_directory(struct doctor *d);
void look_at_bodies(struct doctor *d);
void look_at_secrets(struct doctor *d);

void look_at_parts(struct doctor *d);
void look_at_queue(struct doctor *d);
void look_at_store(struct doctor *d);
void look_at_providers(struct doctor *d);

#endif
