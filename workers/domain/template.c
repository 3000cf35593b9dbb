#include "dw/template.h"

#include "yaml.h"

#include <string.h>

struct dw_templates {
    struct dw_template *notices;
    size_t notices_count;
};

static const cyaml_schema_field_t template_fields[] = {
    DW_Y_TEXT(struct dw_template, id),         DW_Y_TEXT(struct dw_template, sms_zh),
    DW_Y_TEXT(struct dw_template, sms_en),     DW_Y_TEXT(struct dw_template, subject_zh),
    DW_Y_TEXT(struct dw_template, subject_en), DW_Y_TEXT(struct dw_template, email_zh),
    DW_Y_TEXT(struct dw_template, email_en),   DW_Y_TEXT(struct dw_template, page_zh),
    DW_Y_TEXT(struct dw_template, page_en),    CYAML_FIELD_END,
};
static const cyaml_schema_value_t template_schema = {
    CYAML_VALUE_MAPPING(0, struct dw_template, template_fields)};
static const cyaml_schema_field_t file_fields[] = {
    DW_Y_LIST(struct dw_templates, notices, &template_schema, 1, 100),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t file_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct dw_templates, file_fields)};

static const char file_name[] = "templates/notices.yaml";
static const char *const names[] = {"{{portal}}", "{{address}}"};

/* Only the two names; an SMS must fit into few parts and one line. */
static enum dw_result check_text(const struct dw_template *t, const char *text, bool one_line,
                                 struct dw_error *err)
{
    for (const char *p = strstr(text, "{{"); p; p = strstr(p + 2, "{{")) {
        bool known = false;
        for (size_t i = 0; i < DW_COUNT(names); i++)
            known |= strncmp(p, names[i], strlen(names[i])) == 0;
        if (!known)
            return dw_yaml_wrong(err, file_name, t->id, "expected {{portal}} or {{address}}");
    }
    if (one_line && strpbrk(text, "\r\n"))
        return dw_yaml_wrong(err, file_name, t->id, "an SMS and a subject are one line");
    return DW_OK;
}

enum dw_result dw_templates_load(const char *data_folder, struct dw_templates **ret,
                                 struct dw_error *err)
{
    struct dw_templates *self;
    enum dw_result result = dw_yaml_load(data_folder, file_name, &file_schema, &self, err);
    if (result != DW_OK)
        return result;
    for (size_t i = 0; i < self->notices_count && result == DW_OK; i++) {
        const struct dw_template *t = &self->notices[i];
        const struct {
            const char *text;
            bool one_line;
        } texts[] = {{t->sms_zh, true},      {t->sms_en, true},      {t->subject_zh, true},
                     {t->subject_en, true},  {t->email_zh, false},   {t->email_en, false},
                     {t->page_zh, false},    {t->page_en, false}};
        for (size_t j = 0; j < DW_COUNT(texts) && result == DW_OK; j++)
            result = check_text(t, texts[j].text, texts[j].one_line, err);
        if (result == DW_OK && dw_template_find(self, t->id) != t)
            result = dw_yaml_wrong(err, file_name, t->id, "the id stands twice");
    }
    if (result != DW_OK) {
        dw_templates_free(self);
        return result;
    }
    *ret = self;
    return DW_OK;
}

void dw_templates_free(struct dw_templates *self)
{
    dw_yaml_free(&file_schema, self);
}

const struct dw_template *dw_template_find(const struct dw_templates *self, const char *id)
{
    for (size_t i = 0; i < self->notices_count; i++)
        if (strcmp(self->notices[i].id, id) == 0)
            return &self->notices[i];
    return NULL;
}

void dw_template_render(const char *text, const char *portal, const char *address,
                        struct dw_buf *out)
{
    const char *const values[] = {portal, address};
    while (*text) {
        size_t i = 0;
        while (i < DW_COUNT(names) && strncmp(text, names[i], strlen(names[i])) != 0)
            i++;
        if (i < DW_COUNT(names)) {
            dw_buf_str(out, values[i]);
            text += strlen(names[i]);
        } else {
            dw_buf_put(out, text++, 1);
        }
    }
}
