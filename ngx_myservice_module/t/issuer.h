/*
 * An issuer of keys on 127.0.0.1:harness_port(8082), one HTTP connection after
 * the other, so that a test decides what is answered and when.  The clients of
 * the test are served meanwhile.
 */

#ifndef MODULE_T_ISSUER_H
#define MODULE_T_ISSUER_H


#include <stddef.h>


void issuer_listen(void);
void issuer_gone(void);

/* A connection, -1 if there is none at the moment. */
int issuer_try(void);

/* Waits for one. */
int issuer_accept(void);

/* The request, static. */
const char *issuer_read(int fd);

void issuer_write(int fd, const char *text, size_t len);

/* Reads the request, answers with "200 OK" or so, and closes. */
void issuer_answer(int fd, const char *status, const char *body);


#endif /* MODULE_T_ISSUER_H */
