/*
 * What myservice_status says: the configuration of the test has it at /status
 * of 127.0.0.1:8090, without HTTP/2.
 */

#ifndef MODULE_T_STATUS_H
#define MODULE_T_STATUS_H


#include <stdbool.h>


#define STATUS_SERVER                                                         \
    "server { listen 127.0.0.1:8090; "                                        \
    "location = /status { myservice_status; } }\n"


/* The JSON text has "text" now; waits until it has, or has not. */
bool status_has(const char *text);
void status_await(const char *text);
void status_await_not(const char *text);

/* The text of a member "address":harness_port(number) in the state, or in any
 * (NULL); valid until the next call. */
const char *status_member(const char *address, int number, const char *state);


#endif /* MODULE_T_STATUS_H */
