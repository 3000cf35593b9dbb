/* demo.h - staff of the demonstration: three bodies, known passwords.  Source: demo.c */
#ifndef DW_DEMO_H
#define DW_DEMO_H

#include "keymaking.h"

#include <stdio.h>

/* Enrols the staff in the store of the settings and puts the bodies' keys into the draft. */
enum dw_result dw_demo_staff(const struct dw_config *config, const struct dw_site *site,
                             struct dw_directory *draft, dw_day today, dw_day until,
                             struct dw_error *err);
void dw_demo_print(FILE *out);

#endif
