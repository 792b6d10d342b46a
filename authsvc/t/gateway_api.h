/*
 * A gateway's API for tests: a thread that answers each request in the same
 * way, and keeps what it was asked.
 */

#ifndef AUTHSVC_T_GATEWAY_API_H
#define AUTHSVC_T_GATEWAY_API_H


/* A free port of this machine, which nobody else gets during the test. */
int gateway_api_port(void);

/* Listens there from now on, until the test ends. */
void gateway_api_start(int port, int status);

/* Answers with another status from now on. */
void gateway_api_status(int status);

/* How many requests came, and the last one, valid until the next. */
int gateway_api_requests(void);
const char *gateway_api_last(void);


#endif /* AUTHSVC_T_GATEWAY_API_H */
