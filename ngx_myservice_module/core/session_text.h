/*
 * How session ids are shown to people: as they are, or, with
 * "myservice_session_ids hash", as "sha256:" and the first 16 hex digits of
 * SHA-256 of the id.  Without a key: the services write the same, and an
 * operator finds a session whose id is known.
 */

#ifndef MS_CORE_SESSION_TEXT_H
#define MS_CORE_SESSION_TEXT_H


#include <ngx_config.h>
#include <ngx_core.h>


#define MS_SESSION_HASH_PREFIX  "sha256:"

/* bytes of a hashed id */
#define MS_SESSION_HASH         (sizeof(MS_SESSION_HASH_PREFIX) - 1 + 16)

/* a session id, each byte as "%22" */
#define MS_SESSION_LOG          (3 * 256)


/* what ms_session_log() writes */

typedef struct {
    ngx_str_t  text;
    u_char     buf[MS_SESSION_LOG];
} ms_session_log_t;


/* for this process, and those that it starts */
void ms_session_hide(ngx_uint_t hide);
ngx_uint_t ms_session_hidden(void);

/* the hash of an id, in MS_SESSION_HASH bytes of "out" */
void ms_session_hash(ngx_str_t *session, u_char *out);

/* For variables and the API: "session" itself, or "hash" with its text in
 * "out" of MS_SESSION_HASH bytes.  Not under the lock of a zone. */
ngx_str_t *ms_session_shown(ngx_str_t *session, ngx_str_t *hash, u_char *out);

/*
 * For a log line: the same with spaces, quotes, "%" and bytes outside of
 * visible ASCII as "%22"; ids over 256 bytes are cut.  Returns &log->text.  Not
 * under the lock of a zone.
 */
ngx_str_t *ms_session_log(ngx_str_t *session, ms_session_log_t *log);

/* Writes text for a log line in that way, with its spaces, up to "size" bytes;
 * returns the end. */
u_char *ms_session_escape(u_char *p, size_t size, ngx_str_t *text,
    ngx_uint_t spaces);


#endif /* MS_CORE_SESSION_TEXT_H */
