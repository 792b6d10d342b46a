/*
 * TLS in front of a fake: every connection that is accepted gets one to the
 * fake, and ends when that one ends. So a fake need not know of TLS.
 */

#ifndef MODULE_T_TLS_FRONT_H
#define MODULE_T_TLS_FRONT_H


typedef struct tls_front_s  tls_front_t;

typedef enum {
    TLS_FRONT_CUT = 0x01,       /* ends a connection without close_notify */
    TLS_FRONT_OLD = 0x02,       /* TLS 1.2 instead of 1.3 */
    TLS_FRONT_REFUSE = 0x04,    /* fails where a client resumes a session */
    TLS_FRONT_SPOIL = 0x08      /* what the fake answers a request is no TLS */
} tls_front_flag_t;


/* Makes %%DIR%%/<name>, see scripts/dev-certs. */
void tls_front_certs(const char *name);

/* Listens on 127.0.0.1:harness_port(number) for the fake at "backend". The
 * certificate is that of %%DIR%%/<certs>, clients must have one of its
 * authority, too. */
tls_front_t *tls_front_start(int number, int backend, const char *certs,
    unsigned flags);

/* From now on new connections get no answer; the next "n" ones end in the
 * handshake. */
void tls_front_hang(tls_front_t *front);
void tls_front_drop(tls_front_t *front, unsigned n);

unsigned tls_front_accepted(tls_front_t *front);

/* Handshakes that were completed. */
unsigned tls_front_handshakes(tls_front_t *front);

/* Those that resumed a session. */
unsigned tls_front_resumed(tls_front_t *front);

/* Waits until "n" connections have ended, the last byte sent. */
void tls_front_await_ends(tls_front_t *front, unsigned n);


#endif /* MODULE_T_TLS_FRONT_H */
