/*
 * A child process of a test whose output is kept.  Everything has a deadline.
 */

#ifndef BACKENDCHECK_T_JOB_H
#define BACKENDCHECK_T_JOB_H


#include <stddef.h>
#include <sys/types.h>


typedef struct {
    pid_t  pid;
    int    fd;                          /* a file with all that it printed */
    char   output[131072];
} job_t;


/* Starts argv[0], standard output and error go to the file.  It dies with the
 * test. */
void job_start(job_t *job, const char *const *argv);

/* Reads until "text" was printed; what follows it in its line, cut to
 * "size". */
void job_expect(job_t *job, const char *text, char *rest, size_t size);

/* Waits for the end and reads all; the exit code, 1000 + signal. */
int job_finish(job_t *job);

/* Ends it. */
void job_kill(job_t *job);


#endif /* BACKENDCHECK_T_JOB_H */
