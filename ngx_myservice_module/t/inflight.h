/*
 * Calls in flight: a gateway with two workers, fakes that keep streams and slow
 * calls open, and what a test looks at.
 */

#ifndef MODULE_T_INFLIGHT_H
#define MODULE_T_INFLIGHT_H


#include <stdatomic.h>

#include "client.h"
#include "fake.h"
#include "harness.h"
#include "status.h"


#define CONF(upstream, directives)  CONF_TERMS("", upstream, directives)

#define CONF_TERMS(terms, upstream, directives)                               \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m" terms ";\n"     \
    "        myservice_release MyServiceShutdown;\n"                          \
    upstream                                                                  \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        keepalive_requests 100000;\n"                                    \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

#define ONE      "server 127.0.0.1:8081 fail_timeout=1s;\n"
#define TWO      ONE "server 127.0.0.1:8082 fail_timeout=1s;\n"
#define RESUME   "myservice_resume MyServiceSubscribe;\n"
#define HEALTH   "myservice_health interval=200ms timeout=1s;\n"

#define SLOW     "/my_service.MyServiceAPI/Slow"
/* its ServingStatus */
#define SERVING      1
#define NOT_SERVING  2
#define HANGS        3

#define MOVED        "session moved"
#define UNAVAILABLE  "backend service unavailable"

/* milliseconds: a quarter of a second, and what a busy machine adds */
#define SOON     1500


/* What the fakes do and have seen, all of them together. */
typedef struct {
    const char *_Atomic  conflict;      /* message of the next Echo's refusal */
    const char *_Atomic  names;         /* session that probes report */
    atomic_int           serving;       /* what probes find */
    _Atomic(fake_t *)    leaves;        /* the fake that serves no more */
    atomic_bool          ends;          /* streams end at once */
    atomic_uint          streams;       /* streams and slow calls so far */
    fake_call_t          last;          /* stream */
} inflight_t;

extern inflight_t  inflight;


/* The answer function of the fakes. */
void inflight_play(fake_call_t *call);

/* Calls of the session: a stream with one message; a call that has reached an
 * instance. */
client_call_t *inflight_subscribe(const char *session);
client_call_t *inflight_slow(const char *session);

/* Until so many streams and slow calls have reached instances. */
void inflight_await(unsigned n);

/* The call ends within SOON with status 14 and the message. */
void inflight_ends_soon(client_call_t *call, const char *message);

/* The call does not end within "ms" milliseconds. */
void inflight_goes_on(client_call_t *call, long long ms);


#endif /* MODULE_T_INFLIGHT_H */
