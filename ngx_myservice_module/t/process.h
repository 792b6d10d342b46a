/*
 * Child processes and ports of a test.
 */

#ifndef MODULE_T_PROCESS_H
#define MODULE_T_PROCESS_H


#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/wait.h>


/* $BUILD as an absolute path, static. */
const char *process_build_dir(void);

/* A child in the test's process group; its output goes to the file.  It dies
 * with the test. */
pid_t process_start(const char *const *argv, const char *output);

/* True once the child has ended, and from then on. */
bool process_ended(pid_t pid, int *status);

/* Forgets a child that has ended. */
void process_forget(pid_t pid);

/* SIGKILL to every child that process_start() made and that still runs. */
void process_kill_all(void);

size_t process_children(pid_t parent, pid_t *pids, size_t max);

/* The process is gone, or its title has "text". */
bool process_title_has(pid_t pid, const char *text);

/* Something accepts connections on 127.0.0.1:port. */
bool process_answers(int port);

/* A free port on 127.0.0.1, outside the range that the kernel uses for outgoing
 * connections; 0 if there is none. */
int process_free_port(void);


#endif /* MODULE_T_PROCESS_H */
