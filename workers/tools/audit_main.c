/* audit_main.c - dengwen audit: is what the store says of itself still what was written?
 *
 * Checks the chains of the audit log and the events of each case, with public keys only. */
#include "store_tool.h"

#include "dw/audit.h"
#include "dw/directory.h"
#include "dw/process.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 1000, CHAINS_MAX = 64, CHAIN_TEXT = 64, PROBLEMS_MAX = 100,
       CASE_ARENA_MAX = 48 * 1024 * 1024 };

struct options {
    struct tool_options tool;
    const char *word, *from, *password, *against;
};

static const struct argp_option known[] = {
    {"from", 'F', "URI", 0, "what is checked (default: store.uri of the settings)", 1},
    {"from-password-file", 'p', "FILE", 0, "password of the user in --from", 1},
    {"against", 'a', "FILE", 0, "an earlier answer (--format json): what it saw must still be there", 1},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->tool;
        return 0;
    case 'F':
        o->from = arg;
        return 0;
    case 'p':
        o->password = arg;
        return 0;
    case 'a':
        o->against = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->word || strcmp(arg, "verify") != 0)
            argp_usage(state);
        o->word = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->word)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char help[] =
    "Checks that the record of who did what is whole.\v"
    "verify reads the audit log and each case, while Dengwen runs.  Every entry of the log must hold the "
    "hash of the one before and the signature of a case worker; the events of a case likewise, and they "
    "must give the state that the case shows.  It needs the directory of public keys and no other key.\n\n"
    "What was cut off at the end of a chain leaves no gap.  So keep an answer on another machine,\n"
    "  dengwen audit verify --format json > audit-2026-11-28.json\n"
    "and check against it later: the entry that was the last then must still be there.\n\n"
    "Ends with 0: whole; 1: it is not, and what is wrong stands on standard output; 65: FILE is no such "
    "answer; 69: the server is away; 75: it could not be read to the end, try again; 78: the settings are "
    "wrong.";

struct chain {
    char name[CHAIN_TEXT];
    struct dw_audit_place place;
    int64_t entries;
    /* of the earlier answer; number 0: it did not know this chain */
    int64_t known_seq;
    char known_hash[2 * DW_HASH_LEN + 1];
    bool met;
};

struct audit {
    struct store_tool t;
    struct store_place place;
    struct dw_directory_watch *watch;
    struct dw_directory *dir;
    struct dw_domain domain;
    struct chain chains[CHAINS_MAX];
    size_t chains_count;
    struct chain *at; /* being read */
    int64_t cases, events, problems_count;
    json_t *problems;
};

static void problem(struct audit *a, const char *where, const char *what)
{
    if (a->problems_count++ < PROBLEMS_MAX)
        json_array_append_new(a->problems, json_pack("{s:s, s:s}", "where", where, "what", what));
}

/* A key that was valid on the day, of a program that may write. */
static const uint8_t *writer(void *arg, const uint8_t signer[DW_SIGNER_LEN], dw_day day)
{
    const struct audit *a = arg;
    const struct dw_program *p = dw_directory_by_signer(a->dir, signer, day);
    return p && strcmp(p->role, "case") == 0 ? p->sign : NULL;
}

static struct chain *chain_named(struct audit *a, const char *name)
{
    size_t i = 0;
    while (i < a->chains_count && strcmp(a->chains[i].name, name) != 0)
        i++;
    if (i == CHAINS_MAX)
        store_tool_die(&a->t, DW_EXIT_DATA, name, "there are more chains than any installation has");
    if (i == a->chains_count) {
        snprintf(a->chains[i].name, CHAIN_TEXT, "%s", name);
        a->chains_count++;
    }
    return &a->chains[i];
}

/* ---- the earlier answer ---- */

static void read_earlier(struct audit *a, const char *file)
{
    json_error_t why;
    json_t *answer = json_load_file(file, 0, &why), *chains = json_object_get(answer, "chains"), *row;
    size_t i;
    if (!json_is_array(chains))
        store_tool_die(&a->t, DW_EXIT_DATA, file, "expected an answer of dengwen audit verify --format json");
    json_array_foreach(chains, i, row) {
        const char *name = json_string_value(json_object_get(row, "chain"));
        const char *hash = json_string_value(json_object_get(row, "hash"));
        int64_t seq = json_integer_value(json_object_get(row, "last"));
        if (!name || !hash || strlen(hash) != 2 * DW_HASH_LEN || seq < 1)
            store_tool_die(&a->t, DW_EXIT_DATA, file, "a chain in it wants chain, last and hash");
        struct chain *c = chain_named(a, name);
        c->known_seq = seq;
        memcpy(c->known_hash, hash, sizeof c->known_hash);
    }
    json_decref(answer);
}

/* ---- chains ---- */

static void check_entry(void *arg, const char *key, int64_t seq, struct dw_slice doc)
{
    struct audit *a = arg;
    struct chain *c = a->at;
    struct dw_error err;
    char hash[2 * DW_HASH_LEN + 1];
    (void)key;
    if (dw_audit_follows(&c->place, seq, doc, writer, a, &err) != DW_OK)
        problem(a, c->name, err.text);
    c->entries++;
    if (seq == c->known_seq)
        c->met = strcmp(dw_hex(hash, c->place.hash, DW_HASH_LEN), c->known_hash) == 0;
}

static void check_chain(struct audit *a, struct chain *c)
{
    int64_t before;
    char what[160];
    a->at = c;
    do {
        before = c->entries;
        enum dw_result result =
            dw_store_audit_read(a->place.store, c->name, c->place.seq + 1, PAGE, check_entry, a);
        if (result != DW_OK)
            store_tool_die(&a->t, store_tool_exit(result), a->place.name, "the log cannot be read");
        a->t.progress.progress.tell(a->t.progress.progress.arg, c->name, c->entries, 0);
    } while (c->entries > before);
    if (c->known_seq && !c->met) {
        snprintf(what, sizeof what,
                 c->place.seq < c->known_seq ? "it ends with entry %lld, and there was an entry %lld"
                                             : "it has %lld entries, and entry %lld is another than it was",
                 (long long)c->place.seq, (long long)c->known_seq);
        problem(a, c->name, what);
    }
}

static bool take_name(void *arg, const struct dw_store_entry *entry)
{
    snprintf(arg, CHAIN_TEXT, "%s", entry->name);
    return false;
}

/* One look behind the end of each finds the next. */
static void find_chains(struct audit *a)
{
    struct dw_store_entry after = {.name = "", .number = INT64_MAX};
    char name[CHAIN_TEXT];
    for (;;) {
        *name = 0;
        enum dw_result result = dw_store_walk(a->place.store, DW_TABLE_AUDIT,
                                              *after.name ? &after : NULL, 1, take_name, name);
        if (result != DW_OK)
            store_tool_die(&a->t, store_tool_exit(result), a->place.name, "the log cannot be read");
        if (!*name)
            return;
        after.name = chain_named(a, name)->name;
    }
}

/* ---- cases ---- */

static void check_case(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    struct audit *a = arg;
    struct dw_case c = {.reference = NULL};
    struct dw_error err = {0};
    DW_AUTO_ARENA arena = {0};
    (void)version;
    dw_arena_init(&arena, CASE_ARENA_MAX);
    if (dw_case_decode(doc, &arena, &c, &err) != DW_OK ||
        dw_case_verify(&a->domain, &c, writer, a, &err) != DW_OK)
        problem(a, c.reference ? c.reference : key, err.text);
    a->cases++;
    a->events += (int64_t)c.events_count;
    a->t.progress.progress.tell(a->t.progress.progress.arg, "cases", a->cases, 0);
}

/* ---- the answer ---- */

static json_t *answer_of(const struct audit *a)
{
    json_t *chains = json_array();
    for (size_t i = 0; i < a->chains_count; i++) {
        const struct chain *c = &a->chains[i];
        char hash[2 * DW_HASH_LEN + 1], at[DW_TIME_TEXT];
        if (c->entries)
            json_array_append_new(
                chains, json_pack("{s:s, s:I, s:I, s:s, s:s}", "chain", c->name, "entries",
                                  (json_int_t)c->entries, "last", (json_int_t)c->place.seq, "hash",
                                  dw_hex(hash, c->place.hash, DW_HASH_LEN), "at",
                                  dw_time_format(c->place.at, at)));
    }
    return json_pack("{s:b, s:o, s:I, s:I, s:I, s:O}", "whole", a->problems_count == 0, "chains", chains,
                     "cases", (json_int_t)a->cases, "events", (json_int_t)a->events, "problems_count",
                     (json_int_t)a->problems_count, "problems", a->problems);
}

static void print_text(const struct audit *a)
{
    size_t i;
    json_t *row;
    for (i = 0; i < a->chains_count; i++)
        printf("chain %s: %lld entries\n", a->chains[i].name, (long long)a->chains[i].entries);
    printf("%lld cases with %lld events\n", (long long)a->cases, (long long)a->events);
    json_array_foreach(a->problems, i, row)
        printf("WRONG  %s: %s\n", json_string_value(json_object_get(row, "where")),
               json_string_value(json_object_get(row, "what")));
    if (a->problems_count > PROBLEMS_MAX)
        printf("WRONG  and %lld more\n", (long long)a->problems_count - PROBLEMS_MAX);
    if (!a->problems_count)
        printf("whole\n");
}

/* ---- what it works with ---- */

static void load(struct audit *a, const struct options *o)
{
    struct dw_error err = {0};
    struct dw_calendar *calendar = NULL;
    struct dw_rules *rules = NULL;
    struct dw_catalogue *catalogue = NULL;
    struct dw_routing *routing = NULL;
    store_tool_begin(&a->t, "audit", &o->tool);
    char *data = dw_config_data_folder(&a->t.config);
    if (dw_calendar_load(data, &calendar, &err) != DW_OK || dw_rules_load(data, &rules, &err) != DW_OK ||
        dw_catalogue_load(data, &catalogue, &err) != DW_OK ||
        dw_routing_load(data, &routing, &err) != DW_OK)
        tool_bad_data(data, &err);
    dw_free(data);
    a->domain = (struct dw_domain){
        .calendar = calendar, .rules = rules, .catalogue = catalogue, .routing = routing};
    if (dw_directory_watch_new(&a->t.config, &a->watch, &err) != DW_OK)
        store_tool_die(&a->t, DW_EXIT_CONFIG, "keys", err.text);
    a->dir = dw_directory_take(a->watch);
    a->problems = json_array();
    if (o->against)
        read_earlier(a, o->against);
    store_place_set(&a->t, &a->place, o->from, o->password);
    store_place_open(&a->t, &a->place, DW_STORE_LOOK);
}

static void unload(struct audit *a)
{
    store_place_close(&a->t, &a->place);
    dw_directory_give(a->watch, a->dir);
    dw_directory_watch_free(a->watch);
    dw_calendar_free((struct dw_calendar *)a->domain.calendar);
    dw_rules_free((struct dw_rules *)a->domain.rules);
    dw_catalogue_free((struct dw_catalogue *)a->domain.catalogue);
    dw_routing_free((struct dw_routing *)a->domain.routing);
    json_decref(a->problems);
    store_tool_end(&a->t);
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&tool_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {known, parse_option, "verify", help, children, NULL, NULL};
    struct options o = {0};
    struct audit a = {.problems = NULL};
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_program_version = "dengwen " DW_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    load(&a, &o);
    progress_phase(&a.t.progress, "reading ");
    find_chains(&a);
    for (size_t i = 0; i < a.chains_count; i++)
        check_chain(&a, &a.chains[i]);
    enum dw_result result = dw_store_each_case(a.place.store, check_case, &a);
    if (result != DW_OK)
        store_tool_die(&a.t, store_tool_exit(result), a.place.name, "the cases cannot be read");
    progress_end(&a.t.progress);
    if (a.t.json)
        tool_print_json(answer_of(&a));
    else
        print_text(&a);
    bool whole = a.problems_count == 0;
    unload(&a);
    return whole ? DW_EXIT_DONE : DW_EXIT_NO;
}
