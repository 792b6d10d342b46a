/*
 * Sources of keys, and what a worker has of each.
 */

#ifndef MS_TOKEN_KEY_STORE_H
#define MS_TOKEN_KEY_STORE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* where keys come from, as configured */

typedef enum {
    MS_KEY_SOURCE_SECRET = 0,
    MS_KEY_SOURCE_FILE,
    MS_KEY_SOURCE_URI
} ms_key_source_e;


typedef struct {
    ms_key_source_e  type;
    ngx_str_t        name;                      /* path or URI, with NUL */
    ngx_msec_t       interval;                  /* of a URI */
    ngx_msec_t       timeout;
} ms_key_source_t;


/* a file as it was at the last look; all zero: missing */

typedef struct {
    dev_t                       device;
    ino_t                       inode;
    off_t                       size;
    struct timespec             changed;
} ms_key_stamp_t;


typedef struct ms_fetch_s  ms_fetch_t;


/* what a source holds, in this process */

typedef struct {
    ms_key_source_t  *source;
    u_char           *text;                     /* the last that was good */
    size_t            len;
    ngx_atomic_t     *updated;                  /* shared: by some worker */
    ngx_atomic_t     *changed;                  /* shared: when its text became
                                                   what it is, in seconds; 0:
                                                   there was none */

    ms_key_stamp_t    stamp;                    /* of a file */
    ngx_err_t         err;                      /* why it was not read */
    unsigned          fresh:1;                  /* may change unnoticed */
    unsigned          failed:1;                 /* to be read again */

    ms_fetch_t       *fetch;                    /* of a URI, in a worker */
} ms_key_store_t;


#endif /* MS_TOKEN_KEY_STORE_H */
