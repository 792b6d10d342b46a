/*
 * What a Login is: the checks in the order of the contract, then the user, the
 * password and the token.  Knows nothing of gRPC.
 */

#ifndef AUTHSVC_LOGIN_LOGIN_H
#define AUTHSVC_LOGIN_LOGIN_H


#include <stdint.h>

#include "authsvc/keys/issue.h"
#include "authsvc/store/store.h"


typedef enum {
    LOGIN_OK = 0,
    LOGIN_NO_USERNAME,
    LOGIN_NO_SESSION,
    LOGIN_BAD_SESSION,                  /* the gateway would refuse it */
    LOGIN_DENIED,                       /* unknown user or wrong password */
    LOGIN_HELD,                         /* too many failures: no hash */
    LOGIN_STORE,                        /* or no memory for the hash */
    LOGIN_SIGN,
    LOGIN_QUEUE_FULL,
    LOGIN_CANCELLED,                    /* nobody waits for the answer */
    LOGIN_STATUSES
} login_status_t;

extern const char *const  login_messages[LOGIN_STATUSES];

typedef struct {
    const char  *username;
    const char  *password;
    const char  *session;
} login_request_t;

typedef struct {
    issue_t  token;                     /* its text is to be freed */
    char     role[LIMIT_ROLE + 1];
    bool     disabled;                  /* the user is; LOGIN_DENIED */
} login_answer_t;


/* The checks that cost nothing; LOGIN_OK: login_run() comes next. */
login_status_t login_check(const login_request_t *request)
    __attribute__((warn_unused_result));

/* Takes the time of one password hash.  "answer" is set when LOGIN_OK. */
login_status_t login_run(store_t *store, const issuer_t *issuer,
    const login_request_t *request, int64_t now, login_answer_t *answer)
    __attribute__((warn_unused_result));


#endif /* AUTHSVC_LOGIN_LOGIN_H */
