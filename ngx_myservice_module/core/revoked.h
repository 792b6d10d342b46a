/*
 * What the rooms beside the room of the tokens ask it: whether the token of a
 * request was revoked after the request began, and the list of revoked tokens,
 * which gateways tell each other.
 */

#ifndef MS_CORE_REVOKED_H
#define MS_CORE_REVOKED_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define MS_REVOKED_ID    32                     /* bytes */
#define MS_REVOKED_TEXT  3584


/* an entry of the list, in a text that another gateway reads */

typedef struct {
    u_char       id[MS_REVOKED_ID];
    uint64_t     stamp;                         /* the later counts */
    int64_t      until;                         /* seconds since 1970 */
    size_t       len;
    u_char       text[MS_REVOKED_TEXT];
} ms_revoked_entry_t;

typedef struct {
    ngx_uint_t  (*revoked)(ngx_http_request_t *r);

    /* a number that changes with the list, and is never 0 */
    ngx_uint_t  (*generation)(void);

    /* up to "n" entries that changed after that generation (0: all), from the
     * place "from" on, which is moved; 0: the end */
    ngx_uint_t  (*changed)(uint64_t *from, ngx_uint_t since,
                           ms_revoked_entry_t *entries, ngx_uint_t n);

    /* the text is another gateway's entry; what is wrong with it is logged */
    void        (*hear)(const u_char *text, size_t len);
} ms_revoked_list_t;


/* From here on this worker asks "list"; NULL: no token is revoked. */
void ms_revoked_open(const ms_revoked_list_t *list);

/* the list, or NULL */
const ms_revoked_list_t *ms_revoked_list(void);

/* Costs a comparison as long as nobody revokes a token. */
ngx_uint_t ms_revoked(ngx_http_request_t *r);


#endif /* MS_CORE_REVOKED_H */
