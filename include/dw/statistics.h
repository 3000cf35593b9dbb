/* statistics.h - how many of what: counters for managers, that equal their events.
 * Sources: workers/domain/statistics.c tally.c, workers/store/counters.c fold.c rebuild.c
 *
 * WHAT IS COUNTED.  A counter is a number in a small document of one AREA (a body with all below
 * it, by `superior` of bodies.yaml) and one month, or "now":
 *
 *   key of the document   500000/2026-11                          500000/now
 *   counter in it         against/hospital/report/accepted = 12   state/accepted/report/cases = 7
 *                         by / value / kind / measure
 *
 * Each event adds to its measures by one thing at a time and never by two: no counter says
 * "anonymous AND this act AND this day", so that none narrows down to a person.  All values are
 * clear, signed facts of the case or codes of its events.  Days are Shanghai days, those of the
 * events.  The tables in statistics.c are the whole of it: which event counts as what, for whose
 * area, and by which things.
 *
 * What an event adds follows from where the case stood before it and from the event alone
 * (dw_statistics_event, a pure function), so an event adds the same whenever and by whomever it is
 * counted.  A change of `superior` in bodies.yaml wants a rebuild.
 *
 * HOW OFTEN.  Every event exactly once, whatever dies, with several case workers at one store,
 * where only one document at a time is written atomically.  There are three kinds of documents:
 *
 *   a case     `folded`: its events up to this number are counted
 *   JOURNAL    one record: batch n, which says {case, up to which event} and what all that adds
 *   counters   many records, each with the number of the last batch that was added to it
 *
 * and these steps, each guarded by the version of the document that it replaces:
 *
 *   1. read the journal.  Finish batch n: add it to each of its counter documents that has a batch
 * below n, and write n there with it; then raise `folded` of each of its cases to what the batch
 * says
 *   2. read cases whose `folded` is behind, compute what the events behind it add
 *   3. replace the journal of batch n by batch n+1 that says so; then finish it as in 1
 *
 * Why this is right.  (a) Batches follow one another: the journal is one document and its version
 * lets one writer win, so there is one batch n+1, and it is written by somebody who has finished
 * batch n. (b) A batch is added to a counter document once: number and counters are one document;
 * who finds a number below n has not added n, because batches come in order and n+1 does not begin
 * before n is in all its documents; who finds n or more leaves it.  (c) An event is in one batch
 * only: `folded` is changed by step 1 alone and never falls; when the cases for batch n+1 are read,
 * all earlier batches are marked, so every event up to `folded` is in an earlier batch and none
 * behind it is; and if somebody else wrote a batch n+1 with the same case meanwhile, ours is
 * refused by (a).  (d) No event is left out: a case with something behind `folded` stands in an
 * index of the store (dw_case_index.fold, written with the case) until it is marked.  Whoever dies
 * between two steps leaves a batch that the next one to come finishes; doing any part of step 1
 * twice, or by two at once, changes nothing. So counters = sum over all cases of what
 * events 1..folded add (+ the unfinished part of one batch).
 *
 * REBUILD computes that sum from all cases and replaces each counter document that says otherwise.
 * It runs beside the workers: it finishes the batch, and writes into the journal until when nobody
 * shall begin another.  Meanwhile events happen and wait, and no `folded` moves, so every case that
 * is read, early or late, gives the same.  The pause is extended while the rebuild lives and ends
 * by itself when it dies.  If somebody begins a batch all the same, the journal's version tells and
 * the rebuild ends. A document it replaces is one whose version it knows from within the pause, so
 * what it replaces is right whenever it ends.
 *
 * Memory: a batch is bounded by `case.fold_batch` cases and DW_FOLD_CELLS_MAX additions, a document
 * of counters by the catalogue (a test adds it up: below DW_COUNTERS_MAX), a rebuild by bodies x
 * months, never by the number of cases. */
#ifndef DW_STATISTICS_H
#define DW_STATISTICS_H

#include "dw/case.h"

enum {
    DW_COUNTER_TEXT = 192,       /* key of a document, space, counter */
    DW_COUNTERS_MAX = 16384,     /* of one document, and of an answer */
    DW_STATISTICS_DAYS_MAX = 92, /* of an answer by day */
    DW_STATISTICS_BY_MAX = 32,
    DW_FOLD_CELLS_MAX = 8192,
    DW_FOLD_BATCH_MAX = 1000,
};

/* ---- adding up: tally.c ---- */

/* Sums by text.  Zeroed is empty. */
struct dw_tally {
    struct dw_tally_cell {
        char *key;
        int64_t n;
    } * cells;
    size_t count, room;
    uint32_t *slots; /* 1 + number of the cell, 0 for none; twice as many as there is room */
};
void dw_tally_add(struct dw_tally *tally, const char *key, int64_t n);
/* Puts the cells in the order of their texts, without those that are zero; it can still be added
 * to. */
void dw_tally_sort(struct dw_tally *tally);
void dw_tally_free(struct dw_tally *tally);
#define DW_AUTO_TALLY __attribute__((cleanup(dw_tally_free))) struct dw_tally

/* ---- what an event adds: statistics.c ---- */

/* Where a case stands, as far as counting goes; zeroed before its first event. */
struct dw_standing {
    const char *state, *body;
    const char *to; /* where it is being transferred */
};
/* Adds what this event adds ("500000/2026-11 against/hospital/report/accepted"), and brings the
 * standing up to date.  `tally` NULL: only that. */
void dw_statistics_event(const struct dw_routing *routing, const struct dw_facts *facts,
                         struct dw_standing *standing, const struct dw_event *event,
                         struct dw_tally *tally);
/* Adds events from+1 to upto of the case. */
void dw_statistics_events(const struct dw_routing *routing, const struct dw_case *c, int32_t from,
                          int32_t upto, struct dw_tally *tally);
/* Is anything behind `folded` that counts? */
bool dw_statistics_behind(const struct dw_case *c);
/* The most counters that one document can have, by the tables and the catalogue. */
size_t dw_statistics_most(const struct dw_catalogue *catalogue, const struct dw_routing *routing,
                          size_t rules);

struct dw_statistics_query {
    const char *by;  /* NULL: "month" */
    dw_day from, to; /* 0: the first and the last day of this month */
};
/* Fills in what is missing; DW_INVALID with what was expected.  Only "day" counts single days; what
 * is counted "now" has no days. */
enum dw_result dw_statistics_check(struct dw_statistics_query *query, dw_day today,
                                   int64_t months_max, struct dw_error *err);
bool dw_statistics_is_now(const char *by);
/* Adds to `ret`, as "value/kind/measure", what of a document's counter answers the query. */
void dw_statistics_select(const struct dw_statistics_query *query, const char *counter, int64_t n,
                          struct dw_tally *ret);

struct dw_statistics_view {
    const char *area, *by;
    int32_t from, to;   /* 0 for what is counted now */
    bool behind;        /* events wait to be counted */
    const char **cells; /* "hospital/report/accepted", in order */
    size_t cells_count;
    int32_t *counts;
    size_t counts_count;
};
extern const struct dw_layout dw_statistics_view_layout;

/* ---- documents: counters.c ---- */

#define DW_STATISTICS "statistics" /* collection of their records */

struct dw_counters {
    int64_t batch; /* the last that was added */
    const char **cells;
    size_t cells_count;
    int32_t *counts;
    size_t counts_count; /* as many */
};
extern const struct dw_layout dw_counters_layout;

struct dw_store;
/* The query is one that was checked.  Reads one document for each month, however many cases. */
enum dw_result dw_statistics_read(struct dw_store *store, const char *area,
                                  const struct dw_statistics_query *query, struct dw_arena *arena,
                                  struct dw_statistics_view *ret);

/* ---- counting: fold.c ---- */

struct dw_fold {
    struct dw_store *store;
    const struct dw_routing *routing;
    size_t cases_max;
    int64_t finished; /* version of the journal whose batch we know to be finished */
};
/* Counts one batch.  OK with the number of its cases: 0, there is nothing to count, or counting
 * pauses. CONFLICT: somebody else was faster.  RETRY, UNCERTAIN: call again, later. */
enum dw_result dw_fold_step(struct dw_fold *fold, dw_time now, size_t *cases);

/* ---- rebuilding: rebuild.c ---- */

struct dw_rebuild {
    struct dw_store *store,
        *walked; /* two, at the same place: one is written while the other is read */
    const struct dw_routing *routing;
    bool check_only;
    int64_t pause_ms; /* extended while it goes on */
    dw_time (*now)(void);
    void (*progress)(void *arg, int64_t cases); /* now and then */
    void *arg;
    /* Found: */
    int64_t cases, behind; /* cases with events that wait to be counted */
    int64_t unreadable;    /* cases; they count for nothing */
    int64_t documents, wrong, repaired;
};
/* OK: what was wrong is repaired, or only told.  CONFLICT: somebody counted meanwhile; again. */
enum dw_result dw_statistics_rebuild(struct dw_rebuild *rebuild);

#endif
