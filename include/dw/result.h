/* result.h - the six outcomes, and how an error is told.  Source: broker/result.c
 *
 * Every operation that may change something outside the process ends in exactly one of the six.
 * UNCERTAIN is the one that is easy to forget: the write may or may not have taken effect, and the
 * caller must look before it tries again. */
#ifndef DW_RESULT_H
#define DW_RESULT_H

enum dw_result {
    DW_OK,        /* done, and durable where durability was promised */
    DW_NOT_FOUND, /* there is no such thing, or the caller may not know that there is */
    DW_CONFLICT,  /* somebody changed it first: read again and decide again */
    DW_INVALID,   /* the input is wrong: trying again changes nothing */
    DW_RETRY,     /* nothing happened: safe to try later */
    DW_UNCERTAIN, /* it may or may not have happened: look, then decide */
};

/* "ok", "not found", ...; never NULL. */
const char *dw_result_name(enum dw_result result);

/* Status of an answer on our own wire and of HTTP: 200, 404, 409, 422, 503, 504. */
int dw_result_status(enum dw_result result);
enum dw_result dw_result_of_status(int status);

/* What was wrong, where, and what was expected.  `field` names the offending field in the caller's
 * own terms ("against.district", "broker.bind") and may be empty; `text` is one English sentence
 * without anything secret or personal in it. */
struct dw_error {
    char field[96];
    char text[320];
    int line; /* 1-based line of a file, 0 where there is none */
};

__attribute__((format(printf, 3, 4))) void dw_error_set(struct dw_error *err, const char *field,
                                                        const char *format, ...);
/* The same, returning DW_INVALID, so that a check is one line. */
__attribute__((format(printf, 3, 4))) enum dw_result dw_invalid(struct dw_error *err,
                                                                const char *field,
                                                                const char *format, ...);

#define DW_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
