/* template.h - texts of notices: neutral, without a word of the case.  Source: workers/domain/template.c
 *
 * Data: conf/templates/notices.yaml.  A text may name {{portal}} (the neutral sender) and {{address}}
 * (where to follow); anything else in double braces is refused when the file is read. */
#ifndef DW_TEMPLATE_H
#define DW_TEMPLATE_H

#include "dw/bytes.h"
#include "dw/result.h"

struct dw_template {
    const char *id; /* "registered", "progress" */
    const char *sms_zh, *sms_en;
    const char *subject_zh, *subject_en;
    const char *email_zh, *email_en;
    const char *page_zh, *page_en; /* on the follow page */
};

struct dw_templates;
enum dw_result dw_templates_load(const char *data_folder, struct dw_templates **ret,
                                 struct dw_error *err);
void dw_templates_free(struct dw_templates *templates);
const struct dw_template *dw_template_find(const struct dw_templates *templates, const char *id);

/* Fills in the two names. */
void dw_template_render(const char *text, const char *portal, const char *address,
                        struct dw_buf *out);

#endif
