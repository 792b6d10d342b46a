/*
 * A request to myservice_api: what it asks for, and how it is answered.
 */

#ifndef MS_OPERATOR_API_H
#define MS_OPERATOR_API_H


#include "operator/page.h"
#include "zone/zone.h"

#include <jansson.h>


/* parts of a path behind "/api/1/" */
#define MS_API_PARTS  5

/* arguments of a path, and NULL */
#define MS_API_ARGUMENTS  4

/* bytes of a value of the body in a problem */
#define MS_API_SHOWN  96

#define MS_API_TIME   sizeof("2026-01-01T00:00:00.000Z")

/* bytes of a body */
#define MS_API_BODY   4096


typedef struct {
    ngx_flag_t           write;
    ngx_str_t            host;                  /* empty: none */
    ngx_str_t            prefix;                /* of the location */
} ms_api_loc_conf_t;


typedef struct {
    ngx_http_request_t  *request;
    ms_api_loc_conf_t   *conf;
    ngx_str_t            parts[MS_API_PARTS];   /* decoded */
    ngx_uint_t           n;
    ms_zone_t           *zone;                  /* of parts[1] */
    ngx_str_t            session;               /* ms_api_session_id() */
    ngx_str_t            caller;                /* once it was asked for */
    ms_page_t            page;
} ms_api_t;

typedef ngx_int_t (*ms_api_handler_pt)(ms_api_t *api, json_t *body);


/*
 * Splits the path as the client sent it, and decodes each part once.  NGX_OK,
 * NGX_DECLINED if it is no path of the API, else NGX_ERROR.
 */
ngx_int_t ms_api_path(ms_api_t *api);

/* the handlers: each answers, and returns what the content handler returns */
ngx_int_t ms_api_gateway(ms_api_t *api, json_t *body);
ngx_int_t ms_api_upstreams(ms_api_t *api, json_t *body);
ngx_int_t ms_api_upstream(ms_api_t *api, json_t *body);
ngx_int_t ms_api_instances(ms_api_t *api, json_t *body);
ngx_int_t ms_api_instance(ms_api_t *api, json_t *body);
ngx_int_t ms_api_session(ms_api_t *api, json_t *body);
ngx_int_t ms_api_events(ms_api_t *api, json_t *body);
ngx_int_t ms_api_drain(ms_api_t *api, json_t *body);
ngx_int_t ms_api_add(ms_api_t *api, json_t *body);
ngx_int_t ms_api_remove(ms_api_t *api, json_t *body);
ngx_int_t ms_api_release(ms_api_t *api, json_t *body);
ngx_int_t ms_api_move(ms_api_t *api, json_t *body);

/*
 * Returns 1 if the request has no other arguments than "names", which end with
 * NULL, and each once and with "=".  Else it has answered with "rc".
 */
ngx_uint_t ms_api_arguments_known(ms_api_t *api, const char *const *names,
    ngx_int_t *rc);

/* "on" is 1 with "?name=1", 0 without it.  Returns 0 if it has answered. */
ngx_uint_t ms_api_switch_argument(ms_api_t *api, const char *name,
    ngx_uint_t *on, ngx_int_t *rc);

/* the value as the client sent it; empty without the argument */
ngx_str_t *ms_api_sent(ms_api_t *api, const char *name, ngx_str_t *value);

/* a value as JSON, or as much of it as there is room for */
u_char *ms_api_shown(json_t *value, u_char text[MS_API_SHOWN]);

/*
 * Who makes this change: the subject of a verified client certificate, else the
 * user of "Authorization: Basic", else "-".  As text for the log: other bytes
 * than visible ASCII, and quotes, are percent-encoded.
 */
ngx_str_t *ms_api_caller(ms_api_t *api);

/*
 * Returns 1 with api->session, which the request names in its path or in the
 * argument "session".  Else it has answered, and the handler returns "rc".
 */
ngx_uint_t ms_api_session_id(ms_api_t *api, ngx_int_t *rc);

/* answers that the session has no instance */
ngx_int_t ms_api_no_session(ms_api_t *api);

ngx_int_t ms_api_revoke(ms_api_t *api, json_t *body);
ngx_int_t ms_api_revocations(ms_api_t *api, json_t *body);
ngx_int_t ms_api_revocation_end(ms_api_t *api, json_t *body);

/* ends the lease of api->session and refuses its tokens; answers */
ngx_int_t ms_api_revoke_session(ms_api_t *api);

/* Writes the time, milliseconds since 1970, as RFC 3339 in MS_API_TIME bytes;
 * returns the end. */
u_char *ms_api_time(u_char *p, uint64_t time);

/* Sends an instance with the last error that the events know of. */
ngx_int_t ms_api_send_instance(ms_api_t *api, ms_member_t *member);

/* sends the page; NGX_ERROR of a writer is an error of the server */
ngx_int_t ms_api_send(ms_api_t *api, ngx_uint_t status, ngx_int_t rc);

/* an answer without a body */
ngx_int_t ms_api_done(ms_api_t *api);

/* RFC 9457: what is wrong, and what would be right; at most 512 bytes */
ngx_int_t ms_api_problem(ms_api_t *api, ngx_uint_t status, const char *format,
    ...);

/* called in the master once for each configuration it loads */
void ms_api_loaded(ngx_cycle_t *cycle);


#endif /* MS_OPERATOR_API_H */
