/*
 * Instances: processes of build/myservice.
 */

#ifndef MODULE_T_INSTANCE_H
#define MODULE_T_INSTANCE_H


#include <stdbool.h>
#include <sys/types.h>


/* Starts one on 127.0.0.1:harness_port(number) and waits until it listens.
 * "args" is NULL, or more of its command line, separated by spaces. */
pid_t instance_start(int number, const char *name, const char *args);

/* Sends the signal and waits for the end. */
void instance_signal(pid_t pid, int signo);
bool instance_running(pid_t pid);


#endif /* MODULE_T_INSTANCE_H */
