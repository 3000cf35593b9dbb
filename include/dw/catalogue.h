/* catalogue.h - the words of the field, as data.  Source: workers/domain/catalogue.c
 *
 * Data: conf/catalogue.yaml: acts of fraud, kinds of complaint, services, districts, who may be
 * reported, and every coded list that people choose from; each in Chinese and English, with legal
 * basis where there is one. */
#ifndef DW_CATALOGUE_H
#define DW_CATALOGUE_H

#include "dw/result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dw_list {
    DW_ACTS,       /* "PU01" ... */
    DW_COMPLAINTS, /* "CS1" ... */
    DW_SERVICES,   /* "1" ... "35" */
    DW_DISTRICTS,  /* "500101" ... */
    DW_AGAINST,    /* "hospital" ... */
    DW_RELATIONS,  /* "patient" ... */
    DW_REFUSALS,   /* reasons not to accept: "OUT_OF_SCOPE" ... */
    DW_TRANSFERS,  /* reasons to transfer */
    DW_RETURNS,    /* reasons to return a transfer */
    DW_OUTCOMES,   /* of a decision */
    DW_AMOUNTS,    /* bands; `from` yuan */
    DW_STATES,     /* "received" ... with the sentence a reporter reads */
    DW_PRIVACY,    /* sections of the privacy notice: heading, paragraph, basis */
    DW_LISTS
};

struct dw_term {
    const char *code;
    const char *zh, *en;           /* short */
    const char *note_zh, *note_en; /* a sentence, may be "" */
    const char *basis;             /* legal basis, may be "" */
    const char *verified;          /* "full", "secondary", "no" */
    const char **actors;           /* ACTS: who can commit it, codes of DW_AGAINST */
    size_t actors_count;
    int64_t from; /* AMOUNTS: lower end of the band in yuan */
};

struct dw_catalogue;
enum dw_result dw_catalogue_load(const char *data_folder, struct dw_catalogue **ret,
                                 struct dw_error *err);
void dw_catalogue_free(struct dw_catalogue *catalogue);
const char *dw_catalogue_version(const struct dw_catalogue *catalogue);
const char *dw_catalogue_privacy_version(const struct dw_catalogue *catalogue); /* "2026-1" */

size_t dw_terms_count(const struct dw_catalogue *catalogue, enum dw_list list);
const struct dw_term *dw_term_at(const struct dw_catalogue *catalogue, enum dw_list list, size_t i);
const struct dw_term *dw_term_find(const struct dw_catalogue *catalogue, enum dw_list list,
                                   const char *code);
/* "zh-CN" and everything else but "en" is Chinese. */
const char *dw_term_text(const struct dw_term *term, const char *language);
/* The band an amount falls into; amount < 0 means not said: the band "unknown". */
const struct dw_term *dw_amount_band(const struct dw_catalogue *catalogue, int64_t yuan);

#endif
