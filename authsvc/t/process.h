/*
 * Runs the program under test, build/authsvc, and waits for what it does.
 * Everything has a deadline.
 */

#ifndef AUTHSVC_T_PROCESS_H
#define AUTHSVC_T_PROCESS_H


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#define PROCESS_OUTPUT  65536

typedef struct {
    pid_t   pid;
    int     fd;                         /* its standard error, non-blocking */
    size_t  len;
    char    error[PROCESS_OUTPUT];      /* what came from there so far */
    char    output[PROCESS_OUTPUT];     /* standard output, after the end */
} process_t;


/* "argv" starts with the first argument and ends with NULL; "input" is its
 * standard input. */
void process_start(process_t *process, const char *const *argv,
    const char *input);

/* Reads standard error until "text" is in it; the rest of that line, or NULL
 * when it ended or took too long. */
const char *process_expect(process_t *process, const char *text);

/* Takes what is there, does not wait. */
void process_poll(process_t *process);

/* Sends a signal (0: none) and waits for the end: exit code, 1000 + signal,
 * or -1 when it took too long. */
int process_finish(process_t *process, int signo);

/* Start and finish. */
int process_run(process_t *process, const char *const *argv,
    const char *input);

/* The program's path. */
const char *process_program(void);


#endif /* AUTHSVC_T_PROCESS_H */
