/*
 * Puts load on an address.  Prints one line of JSON: the answers, and what the
 * processes in between used.  docs/performance.md explains the options.
 */

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <jansson.h>

#include "bench/calls.h"
#include "bench/proc.h"
#include "bench/token.h"


#define ECHO       "/my_service.MyServiceAPI/MyServiceEcho"
#define SUBSCRIBE  "/my_service.MyServiceAPI/MyServiceSubscribe"
#define LOGIN      "/my_service.MyServiceAPI/Login"

#define BENCH_MESSAGE  105              /* bytes, of bench/backend's streams */
#define SECOND     1000000000.0
#define SETTLE     300000               /* us, for memory to be given back */

/* bytes of the kernel for a socket without data: tcp_sock, inode, dentry, file
 * and the entry of epoll, by /proc/slabinfo of Linux 6 */
#define SOCKET     (2368 + 832 + 192 + 192 + 128)


typedef enum {
    MODE_UNARY = 0,
    MODE_STREAM,
    MODE_LOGIN,
    MODE_FRESH,
    MODE_MEMORY,
    MODES
} load_mode_t;

typedef struct {
    calls_conf_t   calls;
    load_mode_t    mode;
    size_t         size;                /* of the value in a message */
    double         warmup;              /* seconds */
    double         time;                /* seconds, or ... */
    uint64_t       limit;               /* ... calls */
    pid_t          watch;
    bool           probe;
    bool           token;               /* only print one */
    const char    *before;              /* commands */
    const char    *after;
} load_t;


static const char *const  modes[MODES] = {
    "unary", "stream", "login", "fresh", "memory"
};

static const char  usage[] =
"usage: load --target ADDRESS:PORT [option ...]\n"
"  --mode unary|stream|login|fresh|memory\n"
"  --connections N   --streams N    calls at once on each connection\n"
"  --active N        calls at once on all of them\n"
"  --sessions N      --prefix NAME  connection i has session NAME(i mod N)\n"
"  --secret-file F   signs the tokens; without it no session is sent\n"
"  --size BYTES      of a message\n"
"  --warmup SECONDS  --time SECONDS, or --calls N after the warm-up\n"
"  --watch PID       a process that is measured, with its children\n"
"  --before COMMAND  --after COMMAND, around what is measured\n"
"  --probe           find sessions that get an instance of their own\n"
"  --print-token     of the first session, and do nothing else\n"
"  --tls\n";


static void
die(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(1);
}


/* A message with one string as its first field. */

static void
make_body(load_t *load)
{
    char      *body, *p;
    size_t     n, len;
    static const char  login[] = "\x0a\x08TestUser\x12\x0cTestPassword"
                                 "\x1a\x05" "bench";

    if (load->mode == MODE_LOGIN) {
        len = sizeof(login) - 1;

    } else {
        len = load->size;
    }

    body = calloc(1, len + 5);
    if (body == NULL) {
        die("no memory");
    }

    body[1] = (char) (len >> 24);
    body[2] = (char) (len >> 16);
    body[3] = (char) (len >> 8);
    body[4] = (char) len;
    p = body + 5;

    if (load->mode == MODE_LOGIN) {
        memcpy(p, login, len);

    } else if (len > 5) {
        *p++ = 0x0a;

        /* a length that is padded to four bytes is still a length */
        n = len - 5;
        *p++ = (char) ((n & 0x7f) | 0x80);
        *p++ = (char) ((n >> 7 & 0x7f) | 0x80);
        *p++ = (char) ((n >> 14 & 0x7f) | 0x80);
        *p++ = (char) (n >> 21 & 0x7f);
        memset(p, 'v', n);
    }

    load->calls.body = body;
    load->calls.size = len + 5;
}


static void
parse_target(load_t *load, char *text)
{
    char  *colon;

    colon = strrchr(text, ':');
    if (colon == NULL) {
        die("--target is ADDRESS:PORT");
    }

    *colon = '\0';
    load->calls.address.sin_family = AF_INET;
    load->calls.address.sin_port = htons((uint16_t) atoi(colon + 1));

    if (inet_aton(text, &load->calls.address.sin_addr) == 0) {
        die("--target is ADDRESS:PORT");
    }
}


static void
parse_mode(load_t *load, const char *text)
{
    int  i;

    for (i = 0; i < MODES; i++) {
        if (strcmp(text, modes[i]) == 0) {
            load->mode = (load_mode_t) i;
            return;
        }
    }

    die("unknown --mode");
}


static void
parse(load_t *load, int argc, char **argv)
{
    int            c;
    calls_conf_t  *calls = &load->calls;

    static const struct option  options[] = {
        { "target", 1, NULL, 't' }, { "mode", 1, NULL, 'm' },
        { "connections", 1, NULL, 'c' }, { "streams", 1, NULL, 's' },
        { "active", 1, NULL, 'a' }, { "sessions", 1, NULL, 'S' },
        { "prefix", 1, NULL, 'x' }, { "secret-file", 1, NULL, 'k' },
        { "size", 1, NULL, 'b' }, { "warmup", 1, NULL, 'w' },
        { "time", 1, NULL, 'T' }, { "calls", 1, NULL, 'n' },
        { "watch", 1, NULL, 'p' }, { "before", 1, NULL, 'B' },
        { "after", 1, NULL, 'A' }, { "probe", 0, NULL, 'P' },
        { "print-token", 0, NULL, 'K' },
        { "tls", 0, NULL, 'l' }, { NULL, 0, NULL, 0 }
    };

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 't': parse_target(load, optarg); break;
        case 'm': parse_mode(load, optarg); break;
        case 'c': calls->connections = (unsigned) atoi(optarg); break;
        case 's': calls->streams = (unsigned) atoi(optarg); break;
        case 'a': calls->active = (unsigned) atoi(optarg); break;
        case 'S': calls->sessions = (unsigned) atoi(optarg); break;
        case 'x': calls->prefix = optarg; break;
        case 'k': calls->secret = token_secret(optarg); break;
        case 'b': load->size = (size_t) atol(optarg); break;
        case 'w': load->warmup = atof(optarg); break;
        case 'T': load->time = atof(optarg); break;
        case 'n': load->limit = (uint64_t) atoll(optarg); break;
        case 'p': load->watch = (pid_t) atoi(optarg); break;
        case 'B': load->before = optarg; break;
        case 'A': load->after = optarg; break;
        case 'P': load->probe = true; break;
        case 'K': load->token = true; break;
        case 'l': calls->tls = true; break;
        default: fputs(usage, stderr); exit(2);
        }
    }

    if (calls->address.sin_port == 0 || calls->connections == 0
        || calls->streams == 0 || calls->sessions == 0)
    {
        fputs(usage, stderr);
        exit(2);
    }
}


static void
prepare(load_t *load)
{
    calls_conf_t  *calls = &load->calls;

    if (calls->active == 0) {
        calls->active = calls->connections * calls->streams;
    }

    calls->path = ECHO;

    switch (load->mode) {

    case MODE_STREAM:
    case MODE_MEMORY:
        calls->path = SUBSCRIBE;
        calls->endless = true;
        break;

    case MODE_LOGIN:
        calls->path = LOGIN;
        calls->secret = NULL;
        break;

    case MODE_FRESH:
        calls->fresh = true;
        calls->sessions = (unsigned) load->limit;
        break;

    default:
        break;
    }

    make_body(load);
}


static void
run_command(const char *command)
{
    if (command != NULL && system(command) != 0) {
        die(command);
    }
}


static void
print(json_t *result)
{
    char  *text;

    text = json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(6));
    puts(text);
    free(text);
    json_decref(result);
}


/* A measurement in which calls failed is worth nothing. */

static void
judge(const calls_count_t *count)
{
    if (count->failed > 0) {
        fprintf(stderr, "load: %llu calls failed: %s\n",
                (unsigned long long) count->failed, count->error);
        exit(1);
    }

    if (count->done == 0 && count->bytes == 0) {
        die("no call was answered");
    }
}


/* Bytes per idle connection, and per open stream. */

static void
measure_memory(load_t *load, calls_t *calls)
{
    double          sockets;
    proc_use_t      before, idle, open;
    calls_count_t  *count;

    count = calloc(1, sizeof(calls_count_t));
    if (count == NULL) {
        die("no memory");
    }

    run_command(load->before);
    proc_use(load->watch, 1, &before);

    if (calls_connect(calls) == -1) {
        die("cannot connect");
    }

    usleep(SETTLE);
    proc_use(load->watch, 1, &idle);

    calls_run(calls, load->calls.active, 0);
    calls_settle(calls);
    usleep(SETTLE);
    proc_use(load->watch, 1, &open);
    calls_count(calls, count);
    judge(count);

    sockets = ((double) open.sockets - idle.sockets) / load->calls.active;

    print(json_pack("{s:f, s:f, s:f, s:f, s:f}",
                    "memory", (double) before.memory,
                    "memory_per_connection",
                    ((double) idle.memory - (double) before.memory)
                    / load->calls.connections,
                    "memory_per_stream",
                    ((double) open.memory - (double) idle.memory)
                    / load->calls.active,
                    "sockets_per_stream", sockets,
                    "kernel_per_stream", sockets * SOCKET));
    free(count);
}


static void
report(const load_t *load, const calls_count_t *count, double seconds,
    const proc_use_t *from, const proc_use_t *to)
{
    double   n, cpu, ticks;
    json_t  *result;

    /* a proxy may put several messages into one frame */

    n = load->calls.endless
        ? (double) count->bytes / BENCH_MESSAGE : (double) count->done;
    cpu = (double) (to->cpu - from->cpu) / 1000;
    ticks = (double) (to->user + to->system - from->user - from->system);
    ticks *= 1e6 / (double) sysconf(_SC_CLK_TCK);

    result = json_pack("{s:f, s:f, s:I, s:I, s:s}",
                       "seconds", seconds,
                       "rate", n / seconds,
                       "calls", (json_int_t) n,
                       "failed", (json_int_t) count->failed,
                       "error", count->error);

    if (n > 0 && load->watch > 0) {
        json_object_set_new(result, "busy",
                            json_real(cpu / 1e6 / seconds));
        json_object_set_new(result, "cpu", json_real(cpu / n));
        json_object_set_new(result, "cpu_ticks", json_real(ticks / n));
        json_object_set_new(result, "sockets", json_integer(to->sockets));
    }

    if (!load->calls.endless) {
        static const char *const  names[] = { "p50", "p99", "p999" };
        static const double       q[] = { 0.5, 0.99, 0.999 };

        for (int i = 0; i < 3; i++) {
            json_object_set_new(result, names[i],
                json_real((double) histogram_quantile(&count->latency, q[i])
                          / 1000));
        }

        json_object_set_new(result, "max",
                            json_real((double) count->latency.max / 1000));
    }

    print(result);
}


static void
measure(load_t *load, calls_t *calls)
{
    double          seconds;
    uint64_t        start;
    proc_use_t      from, to;
    calls_count_t  *count;

    if (calls_connect(calls) == -1) {
        die("cannot connect");
    }

    if (load->warmup > 0) {
        calls_run(calls, 0,
                  calls_now() + (uint64_t) (load->warmup * SECOND));
        calls_settle(calls);
    }

    count = malloc(sizeof(calls_count_t));
    if (count == NULL) {
        die("no memory");
    }

    run_command(load->before);
    calls_count(calls, NULL);
    proc_use(load->watch, 0, &from);
    start = calls_now();

    if (load->limit > 0) {
        calls_run(calls, load->limit, 0);
        calls_settle(calls);

    } else {
        calls_run(calls, 0, start + (uint64_t) (load->time * SECOND));
    }

    seconds = (double) (calls_now() - start) / SECOND;
    proc_use(load->watch, 0, &to);
    calls_count(calls, count);
    run_command(load->after);

    judge(count);
    report(load, count, seconds, &from, &to);
    free(count);
}


static int
print_token(const load_t *load)
{
    char  session[256], *token;

    snprintf(session, sizeof(session), "%s0", load->calls.prefix);
    token = load->calls.secret != NULL
            ? token_make(load->calls.secret, session) : NULL;

    if (token == NULL) {
        return 1;
    }

    puts(token);
    free(token);

    return 0;
}


int
main(int argc, char **argv)
{
    char            error[256];
    calls_t        *calls;
    static load_t   load = {
        .calls = { .connections = 1, .streams = 1, .sessions = 1,
                   .prefix = "bench-" },
        .size = 100,
        .time = 1,
    };

    parse(&load, argc, argv);
    prepare(&load);

    if (load.token) {
        return print_token(&load);
    }

    calls = calls_create(&load.calls, error, sizeof(error));
    if (calls == NULL) {
        die(error);
    }

    if (load.probe && calls_probe(calls) == -1) {
        die("found too few sessions with an instance of their own");
    }

    if (load.mode == MODE_MEMORY) {
        measure_memory(&load, calls);

    } else {
        measure(&load, calls);
    }

    return 0;
}
