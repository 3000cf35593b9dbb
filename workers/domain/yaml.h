/* yaml.h - one YAML data file into one C struct, by a libcyaml schema.  Source: yaml.c
 *
 * Private to the domain: calendars, rules, catalogue, bodies and routing are read through it.
 * A file that does not fit its schema is refused as a whole.  err->text is "file:line: key:
 * problem" with the file named from the data folder, err->field the key, err->line the line. */
#ifndef DW_DOMAIN_YAML_H
#define DW_DOMAIN_YAML_H

#include "dw/bytes.h"
#include "dw/clock.h"
#include "dw/result.h"

#include <cyaml/cyaml.h>

/* Reads FOLDER/NAME; `ret` is the address of the pointer to the top struct. */
enum dw_result dw_yaml_load(const char *folder, const char *name,
                            const struct cyaml_schema_value *schema, void *ret,
                            struct dw_error *err);
void dw_yaml_free(const struct cyaml_schema_value *schema, void *data);

/* What a schema cannot see, in the entry of that name: "bodies.yaml: 500112: problem". */
__attribute__((format(printf, 4, 5))) enum dw_result dw_yaml_wrong(struct dw_error *err,
                                                                   const char *name,
                                                                   const char *entry,
                                                                   const char *format, ...);

/* An optional text that is absent becomes "". */
void dw_yaml_fill(const char **text);
/* A date of a file; false sets the error. */
bool dw_yaml_day(const char *text, const char *name, const char *entry, const char *key,
                 dw_day *ret, struct dw_error *err);
/* "full", "secondary" or "no". */
bool dw_yaml_is_verified(const char *text);

/* The names PREFIX*.yaml in FOLDER/SUB, sorted, each as "SUB/NAME". */
struct dw_yaml_names {
    char **items;
    size_t count;
};
enum dw_result dw_yaml_list(const char *folder, const char *sub, const char *prefix,
                            struct dw_yaml_names *ret, struct dw_error *err);
void dw_yaml_names_free(struct dw_yaml_names *names);

/* Rows of a schema table, shorter than libcyaml's own. */
#define DW_Y_TEXT(type, m)  CYAML_FIELD_STRING_PTR(#m, 0, type, m, 1, 2000)
#define DW_Y_MAYBE(type, m) CYAML_FIELD_STRING_PTR(#m, CYAML_FLAG_OPTIONAL, type, m, 0, 2000)
#define DW_Y_LIST(type, m, entry, min, max)                                                        \
    CYAML_FIELD_SEQUENCE(#m, CYAML_FLAG_POINTER, type, m, entry, min, max)
#define DW_Y_MAYBE_LIST(type, m, entry, max)                                                       \
    CYAML_FIELD_SEQUENCE(#m, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, m, entry, 0, max)
/* libcyaml reads any word but "false" as true; as a strict enum a misspelt one is refused. */
#define DW_Y_FLAG(type, m)                                                                         \
    CYAML_FIELD_ENUM(#m, CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL, type, m, dw_yaml_flags, 2)
extern const cyaml_strval_t dw_yaml_flags[2];
extern const struct cyaml_schema_value dw_yaml_code; /* an entry of a list of codes */

#endif
