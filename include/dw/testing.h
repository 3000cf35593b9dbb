/* testing.h - named steps at which a test may kill or stop a process, and deliberate bugs that prove that a
 * check can fail.  Source: broker/testing.c
 *
 * Both are nothing at all unless the build defines DW_TEST_POINTS (test builds do, packages never).
 *   DENGWEN_KILL_AT=queue.committed:3   SIGKILL to itself the third time it comes by
 *   DENGWEN_KILL_FILE=FILE              the same from a file that a running process looks at
 *   DENGWEN_STOP_AT=queue.committed:3   SIGSTOP, the same way
 *   DENGWEN_BUG=ack-before-commit       behaves wrongly on purpose */
#ifndef DW_TESTING_H
#define DW_TESTING_H

#include <stdbool.h>

#ifdef DW_TEST_POINTS
void dw_point(const char *name);
bool dw_bug(const char *name);
#define DW_POINT(name) dw_point(name)
#define DW_BUG(name)   dw_bug(name)
#else
#define DW_POINT(name) ((void)0)
#define DW_BUG(name)   false
#endif

#endif
