/* page.h - writing a page: both languages stand side by side in the code, text is always escaped.
 * Source: page.c */
#ifndef DW_WEB_PAGE_H
#define DW_WEB_PAGE_H

#include "web.h"

struct page {
    struct web *web;
    struct dw_http_request *request;
    struct dw_buf out;
    const char *language; /* "zh-CN" or "en" */
    bool en;
    const struct dw_problems *problems; /* of the form shown, or NULL */
    const struct web_file_problem *file_problem; /* of its files, or NULL */
    const char *file_name;
};

void page_begin(struct page *p, struct web *web, struct dw_http_request *request,
                const char *title_zh, const char *title_en);
/* Ends the page and answers with it. */
/* In a window of its own, so that what is typed in a form stays. */
void page_privacy_link(struct page *p);
void page_end(struct page *p, int status);

void page_raw(struct page *p, const char *html);                  /* markup of ours */
void page_text(struct page *p, const char *text);                 /* escaped */
void page_say(struct page *p, const char *zh, const char *en);    /* escaped, by language */
/* <tag class="...">words</tag>; class may be "". */
void page_element(struct page *p, const char *tag, const char *class, const char *zh,
                  const char *en);
/* A link within the portal that keeps the language. */
void page_link(struct page *p, const char *path, const char *class, const char *zh, const char *en);
void page_hidden(struct page *p, const char *name, const char *value);
void page_button(struct page *p, const char *class, const char *zh, const char *en);

/* A fresh Idempotency-Key for a form. */
void page_new_key(char *key, size_t len);

/* ---- fields of a form; values come from the request, so that nothing typed is lost ---- */

/* What was entered in a field, or "". */
const char *page_value(const struct page *p, const char *name);
bool page_has_value(const struct page *p, const char *name, const char *value);

struct page_field {
    const char *name;
    const char *zh, *en;           /* label */
    const char *hint_zh, *hint_en; /* NULL for none */
    const char *type;              /* text, tel, email, date, number; "area" */
    const char *extra;             /* further attributes, ours */
    bool optional;
};
void page_field(struct page *p, const struct page_field *f);
/* One of a list of the catalogue: radio buttons, or a <select> when `select`. */
void page_choice(struct page *p, const struct page_field *f, enum dw_list list, bool select);
void page_checkbox(struct page *p, const char *name, const char *value, const char *zh,
                   const char *en);
/* A checkbox that stands for itself, with its problem. */
void page_flag(struct page *p, const char *name, const char *zh, const char *en);
void page_fieldset(struct page *p, const char *name, const char *zh, const char *en);
void page_fieldset_end(struct page *p);
/* What is wrong with a field, where it stands. */
void page_problem_at(struct page *p, const char *name);
/* The list at the top, each line leading to its field. */
void page_problems(struct page *p);
/* One sentence instead of a list. */
void page_alert(struct page *p, const char *zh, const char *en);

#endif
