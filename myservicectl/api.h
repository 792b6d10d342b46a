/*
 * Requests to the gateway's API (docs/api.md).
 */

#ifndef MYSERVICECTL_API_H
#define MYSERVICECTL_API_H


#include <stddef.h>
#include <stdint.h>
#include <jansson.h>


typedef enum {
    API_OK = 0,
    API_REFUSED = 1,                    /* by the gateway */
    API_USAGE = 2,
    API_NOT_FOUND = 3,
    API_UNREACHABLE = 4                 /* no answer, or none of the API */
} api_result_t;

typedef struct {
    const char  *url;                   /* "http://127.0.0.1:10080/api" */
    const char  *ca;                    /* files; NULL: the system's */
    const char  *cert;                  /* NULL: none */
    const char  *key;
    int64_t      timeout;               /* ms, of one request */
    char         error[1024];           /* of the last request, one line */
} api_t;


/*
 * Sends a request for the path behind ".../1", which may have a query; "body"
 * may be NULL and stays the caller's.  The answer, NULL if it has none, is the
 * caller's to free.  A result other than API_OK has "error".
 */
api_result_t api_request(api_t *api, const char *method, const char *path,
    const json_t *body, json_t **answer) __attribute__((warn_unused_result));

/* A part of a path, with everything escaped that has a meaning there; the
 * caller's to free.  Never NULL. */
char *api_escape(const char *text);


#endif /* MYSERVICECTL_API_H */
