/* key_guests.h - keys for programs of somebody else's, in the signed directory.  Source:
 * key_guests.c */
#ifndef DW_TOOLS_KEY_GUESTS_H
#define DW_TOOLS_KEY_GUESTS_H

#include "admin.h"

/* Makes a CURVE key, writes it to NAME.yaml in the working folder (mode 0600, never over a file
 * that is there) and signs the directory with its public half.  Ends the process where that fails.
 */
void key_add(struct admin *admin, const char *role, const char *name);
/* Takes it out of the directory: the broker cuts its connections within a second. */
void key_revoke(struct admin *admin, const char *name);

#endif
