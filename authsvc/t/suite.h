/*
 * The end of a test program's main().
 */

#ifndef AUTHSVC_T_SUITE_H
#define AUTHSVC_T_SUITE_H


#include <check.h>


/* Runs the suite and frees it; returns the exit code. */
int suite_run(Suite *suite);


#endif /* AUTHSVC_T_SUITE_H */
