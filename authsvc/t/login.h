/*
 * Logins from outside, for the session "s".
 */

#ifndef AUTHSVC_T_LOGIN_H
#define AUTHSVC_T_LOGIN_H


#include "rpc/client.h"


#define LOGIN_TIMEOUT  60000            /* ms */


/* The status code.  "address" is what a trusted proxy says, or NULL; "message"
 * gets the text of the status, or is NULL.  Asserts nothing: from any
 * thread. */
int login_code(rpc_client_t *client, const char *address, const char *user,
    const char *password, char message[256]);


#endif /* AUTHSVC_T_LOGIN_H */
