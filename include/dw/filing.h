/* filing.h - what a citizen sends, checked.  Source: workers/domain/filing.c
 *
 * Plaintext: only intake programs hold a struct dw_filing, and only while they seal it.  All texts
 * live in the caller's arena, which is wiped.
 *
 * The JSON form is described in conf/openapi/public.yaml.  Unknown, repeated, missing and ill-typed
 * fields are errors; all problems of one filing are found, not only the first. */
#ifndef DW_FILING_H
#define DW_FILING_H

#include "dw/bytes.h"
#include "dw/catalogue.h"
#include "dw/clock.h"
#include "dw/layout.h"
#include "dw/route.h"

#include <jansson.h>

/* The clear, signed facts of a case, and nothing else: see the layout in filing.c. */
struct dw_facts {
    const char *kind, *against, *district;
    const char **acts;
    size_t acts_count;
    const char *complaint; /* NULL for reports */
    int32_t service;       /* 0 for none */
    const char *channel;   /* "web", "phone", "email" */
    const char *language;  /* "zh-CN" or "en" */
    int32_t day;           /* legal day of filing */
    bool real_name, wants_reward, notify_sms, notify_email, notify_call;
    const char *amount;  /* code of the band */
    const char *routing; /* version of the routing data */
    const char **excluded;
    size_t excluded_count;
};
extern const struct dw_layout dw_facts_layout;
struct dw_route_facts dw_facts_for_route(const struct dw_facts *facts);

struct dw_filing {
    struct dw_facts facts;
    /* Sealed as text: */
    const char *name, *address, *code, *people; /* of the reported; code normalised, upper case */
    const char *body;                           /* against.body, NULL for none */
    const char *from, *to;                      /* days, NULL for none */
    bool ongoing;
    const char *text; /* facts */
    int64_t amount_yuan; /* -1 not said */
    const char *relation, *elsewhere, *privacy_version;
    /* Sealed as identity and contact: */
    const char *identity_name, *id_number;
    const char *phone, *email; /* phone as +86... */
};

enum dw_problem_kind {
    DW_P_SYNTAX,    /* not JSON */
    DW_P_UNKNOWN,   /* a field nobody knows */
    DW_P_DUPLICATE, /* the same field twice */
    DW_P_MISSING,
    DW_P_TYPE,      /* limit: 0 text, 1 number, 2 true/false, 3 object, 4 list */
    DW_P_TOO_LONG,  /* limit: characters */
    DW_P_TOO_SHORT,
    DW_P_TOO_MANY,
    DW_P_CHOICE,    /* not one of the codes */
    DW_P_FORM,      /* not of the form wanted (date, phone, e-mail, code) */
    DW_P_RANGE,
    DW_P_FUTURE,
    DW_P_ORDER,     /* from after to */
    DW_P_BOTH,      /* two fields that exclude each other */
    DW_P_NEEDS,     /* this choice needs the other field */
    DW_P_MUST_BE_TRUE,
    DW_P_TEXT,      /* control characters or broken UTF-8 */
};
struct dw_problem {
    char field[64]; /* "against.district" */
    enum dw_problem_kind kind;
    int64_t limit;
    char other[40]; /* the other field of BOTH and NEEDS */
};
enum { DW_PROBLEMS_MAX = 24 };
struct dw_problems {
    struct dw_problem items[DW_PROBLEMS_MAX];
    size_t count;
};
/* One sentence in the language: what is wrong and what is expected.  Never repeats the value. */
void dw_problem_text(const struct dw_problem *problem, const char *language, char *out,
                     size_t out_len);

/* DW_OK, or DW_INVALID with at least one problem.  `json` may have been built from a form. */
enum dw_result dw_filing_check(const json_t *json, const struct dw_catalogue *catalogue,
                               const struct dw_routing *routing, const char *channel, dw_day today,
                               struct dw_arena *arena, struct dw_filing *ret,
                               struct dw_problems *problems);
/* The same from text, strictly parsed (UTF-8, no repeated fields, depth). */
enum dw_result dw_filing_parse(struct dw_slice text, const struct dw_catalogue *catalogue,
                               const struct dw_routing *routing, const char *channel, dw_day today,
                               struct dw_arena *arena, struct dw_filing *ret,
                               struct dw_problems *problems);

/* Canonical bytes of everything that was said: equal filings give equal bytes, whatever the order
 * and spacing of the JSON.  The day is not part of it. */
void dw_filing_canonical(const struct dw_filing *filing, struct dw_buf *out);

/* What is sealed, as JSON text. contact and identity write nothing when there is nothing. */
void dw_filing_body_json(const struct dw_filing *filing, struct dw_buf *out);
void dw_filing_identity_json(const struct dw_filing *filing, struct dw_buf *out);
void dw_filing_contact_json(const struct dw_filing *filing, struct dw_buf *out);

/* "138 0013 8000", "+86-138...", "023-63892206" -> "+8613800138000", "+862363892206".
 * False for anything that is no Chinese mobile or landline number. */
bool dw_phone_normalise(const char *text, char out[20]);
bool dw_phone_is_mobile(const char *e164);
bool dw_email_is_plausible(const char *text);

/* Reference: "CQ26-" + 8 Crockford base32 + check character (ISO 7064 hybrid MOD 33,32 over the same
 * alphabet).  The n-th candidate of a case is a hash of its id: a second delivery draws the same. */
#define DW_REFERENCE_TEXT 16
void dw_reference_make(const uint8_t case_id[16], dw_day day, uint32_t n,
                       char out[DW_REFERENCE_TEXT]);
/* Accepts lower case, O for 0, I and L for 1, missing hyphens; false when the check fails. */
bool dw_reference_parse(const char *text, char out[DW_REFERENCE_TEXT]);

#endif
