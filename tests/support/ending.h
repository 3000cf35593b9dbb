/* ending.h - code that ends its process, inside a test that goes on.
 *
 * Linked with -Wl,--wrap=_exit,--wrap=dw_log: `_exit` of the code under test comes back here instead,
 * and what it logs on its way, thousands of times, is not written. */
#ifndef DW_TESTS_ENDING_H
#define DW_TESTS_ENDING_H

/* Runs it; 0 when it returned, else the code with which it wanted to end the process. */
int ending_of(void (*run)(void *arg), void *arg);

#endif
