/* filing_fields.h - a table says which fields an object of a filing has; this reads them.
 * Source: filing_fields.c
 *
 * Fields are read in the order of the table, so problems are found in that order whatever the order
 * of the JSON; fields the table does not know come last.  A reader is called with NULL where the
 * field is absent or null, unless the field is required. */
#ifndef DW_DOMAIN_FILING_FIELDS_H
#define DW_DOMAIN_FILING_FIELDS_H

#include "dw/filing.h"

struct dw_reading {
    const struct dw_catalogue *words;
    const struct dw_routing *routing;
    dw_day today;
    struct dw_arena *arena;
    struct dw_problems *problems;
    struct dw_filing *out;
    char path[64]; /* of the field being read */
    bool full;     /* the arena is */
};

struct dw_row;
typedef void dw_row_reader(struct dw_reading *r, const struct dw_row *row, const json_t *value);
/* Text of the right length in, its normal form out (in the arena, or the text itself); NULL where
 * it is not of the form wanted. */
typedef const char *dw_row_form(struct dw_reading *r, const char *text);

struct dw_row {
    const char *name;
    dw_row_reader *read;
    bool required;
    size_t at;        /* offset of the member in struct dw_filing */
    int64_t min, max; /* characters of a text, range of a number */
    enum dw_list list;
    dw_row_form *form;
    const struct dw_row *rows; /* of an object */
    size_t count;
};

void dw_problem_add(struct dw_problems *problems, const char *field, enum dw_problem_kind kind,
                    int64_t limit, const char *other);
/* The same for the field being read. */
void dw_field_wrong(struct dw_reading *r, enum dw_problem_kind kind, int64_t limit,
                    const char *other);
bool dw_field_has_problem(const struct dw_reading *r, const char *field);
/* Copies what stands in `key` and may be repeated to anybody. */
void dw_field_name(char *out, size_t out_len, const char *key);

/* NULL after DW_P_TYPE. */
const char *dw_field_string(struct dw_reading *r, const json_t *value);
char *dw_field_copy(struct dw_reading *r, const char *text);

void dw_read_object(struct dw_reading *r, const struct dw_row *row, const json_t *value);
void dw_read_fields(struct dw_reading *r, const struct dw_row *rows, size_t count,
                    const json_t *object);
void dw_read_line(struct dw_reading *r, const struct dw_row *row, const json_t *value);
void dw_read_lines(struct dw_reading *r, const struct dw_row *row, const json_t *value);
void dw_read_choice(struct dw_reading *r, const struct dw_row *row, const json_t *value);
void dw_read_flag(struct dw_reading *r, const struct dw_row *row, const json_t *value);

#endif
