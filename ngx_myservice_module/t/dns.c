/*
 * A name server whose answers a test changes while it runs: UDP and TCP, one
 * thread.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns.h"
#include "harness.h"


#define NAMES_MAX    32
#define RECORDS_MAX  200
#define MESSAGE_MAX  4096               /* nginx reads as much */
#define QUERY_MAX    512
#define CONNS_MAX    8

#define TYPE_A      1
#define TYPE_CNAME  5
#define TYPE_AAAA   28
#define TYPE_SRV    33


typedef struct {
    uint16_t  type;
    uint16_t  len;
    uint8_t   data[6 + 256];
} dns_record_t;

typedef struct {
    char          name[256];
    int           code;
    bool          truncated;            /* over UDP */
    unsigned      ttl;
    unsigned      questions;
    unsigned      turn;                 /* the record that comes first */
    size_t        nrecords;
    dns_record_t  records[RECORDS_MAX];
} dns_name_t;

typedef struct {
    int      fd;                        /* -1: none */
    size_t   len;
    uint8_t  query[2 + QUERY_MAX];
} dns_conn_t;

struct dns_s {
    int              fd;
    int              listener;
    dns_conn_t       conns[CONNS_MAX];
    pthread_t        thread;
    atomic_bool      stop;

    pthread_mutex_t  mutex;             /* of all below */
    unsigned         questions;
    size_t           nnames;
    dns_name_t       names[NAMES_MAX];
};


static uint8_t *
dns_u16(uint8_t *p, unsigned n)
{
    *p++ = (uint8_t) (n >> 8);
    *p++ = (uint8_t) n;

    return p;
}


/* RFC 1035 4.1.2 */
static uint8_t *
dns_labels(uint8_t *p, const char *name)
{
    size_t  n;

    for ( ;; ) {
        n = strcspn(name, ".");
        *p++ = (uint8_t) n;
        memcpy(p, name, n);
        p += n;

        if (name[n] == '\0') {
            *p++ = 0;
            return p;
        }

        name += n + 1;
    }
}


/* Reads the name of a question; returns its end, NULL if it is malformed. */
static const uint8_t *
dns_question(const uint8_t *p, const uint8_t *end, char *name, size_t size)
{
    size_t  n, len;

    for (len = 0; p < end && *p != 0; p += n + 1) {
        n = *p;

        if (n > 63 || p + n + 1 >= end || len + n + 2 > size) {
            return NULL;
        }

        if (len > 0) {
            name[len++] = '.';
        }

        memcpy(name + len, p + 1, n);
        len += n;
    }

    name[len] = '\0';

    return p + 5 <= end ? p + 1 : NULL;
}


static dns_name_t *
dns_find_locked(dns_t *dns, const char *name)
{
    size_t  i;

    for (i = 0; i < dns->nnames; i++) {
        if (strcmp(dns->names[i].name, name) == 0) {
            return &dns->names[i];
        }
    }

    return NULL;
}


/* The length of the response in "message", which has the query; 0: silence. */
static size_t
dns_answer_locked(dns_t *dns, uint8_t *message, size_t len, bool tcp)
{
    int             code;
    bool            truncated;
    char            text[256];
    size_t          i, n;
    uint8_t        *p;
    unsigned        type;
    dns_name_t     *name;
    dns_record_t   *record;
    const uint8_t  *q;

    q = len > 12 ? dns_question(message + 12, message + len, text,
                                sizeof(text))
                 : NULL;
    if (q == NULL) {
        return 0;
    }

    type = (unsigned) q[0] << 8 | q[1];
    p = message + (q - message) + 4;
    name = dns_find_locked(dns, text);
    code = name != NULL ? name->code : DNS_NXDOMAIN;
    truncated = name != NULL && name->truncated && !tcp;
    dns->questions++;
    n = 0;

    if (name != NULL) {
        name->questions++;
        name->turn++;
    }

    if (code == DNS_SILENT) {
        return 0;
    }

    for (i = 0; code == 0 && !truncated && i < name->nrecords; i++) {
        record = &name->records[(name->turn + i) % name->nrecords];

        if (record->type == type || record->type == TYPE_CNAME) {
            p = dns_u16(p, 0xc00c);
            p = dns_u16(p, record->type);
            p = dns_u16(p, 1);
            p = dns_u16(p, name->ttl >> 16);
            p = dns_u16(p, name->ttl & 0xffff);
            p = dns_u16(p, record->len);
            memcpy(p, record->data, record->len);
            p += record->len;
            n++;
        }
    }

    /* a response to a standard query, authoritative, recursion available */
    dns_u16(message + 2, 0x8580u | (truncated ? 0x0200u : 0)
                         | (unsigned) code);
    dns_u16(message + 6, (unsigned) n);
    memset(message + 8, 0, 4);

    return (size_t) (p - message);
}


static size_t
dns_answer(dns_t *dns, uint8_t *message, size_t len, bool tcp)
{
    (void) pthread_mutex_lock(&dns->mutex);
    len = dns_answer_locked(dns, message, len, tcp);
    (void) pthread_mutex_unlock(&dns->mutex);

    return len;
}


static void
dns_udp(dns_t *dns)
{
    size_t               len;
    ssize_t              n;
    uint8_t              message[MESSAGE_MAX + QUERY_MAX];
    socklen_t            socklen;
    struct sockaddr_in   sin;

    socklen = sizeof(sin);
    n = recvfrom(dns->fd, message, QUERY_MAX, 0, (struct sockaddr *) &sin,
                 &socklen);
    len = n > 0 ? dns_answer(dns, message, (size_t) n, false) : 0;

    if (len > 0) {
        (void) sendto(dns->fd, message, len, 0, (struct sockaddr *) &sin,
                      socklen);
    }
}


static void
dns_accept(dns_t *dns)
{
    int     fd;
    size_t  i;

    fd = accept4(dns->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd == -1) {
        return;
    }

    for (i = 0; i < CONNS_MAX; i++) {
        if (dns->conns[i].fd == -1) {
            dns->conns[i].fd = fd;
            dns->conns[i].len = 0;
            return;
        }
    }

    close(fd);
}


/* RFC 1035 4.2.2: the length of a message comes first */
static void
dns_tcp(dns_t *dns, dns_conn_t *conn)
{
    size_t   len, end;
    ssize_t  n;
    uint8_t  message[2 + MESSAGE_MAX + QUERY_MAX];

    n = recv(conn->fd, conn->query + conn->len,
             sizeof(conn->query) - conn->len, 0);

    if (n <= 0) {
        close(conn->fd);
        conn->fd = -1;
        return;
    }

    conn->len += (size_t) n;

    while (conn->len > 2) {
        len = (size_t) conn->query[0] << 8 | conn->query[1];
        end = 2 + len;

        if (conn->len < end) {
            return;
        }

        memcpy(message + 2, conn->query + 2, len);
        conn->len -= end;
        memmove(conn->query, conn->query + end, conn->len);

        len = dns_answer(dns, message + 2, len, true);

        if (len > 0) {
            dns_u16(message, (unsigned) len);
            (void) send(conn->fd, message, 2 + len, MSG_NOSIGNAL);
        }
    }
}


static void *
dns_main(void *data)
{
    dns_t          *dns = data;
    size_t          i;
    struct pollfd   fds[2 + CONNS_MAX];

    while (!atomic_load(&dns->stop)) {

        fds[0].fd = dns->fd;
        fds[1].fd = dns->listener;

        for (i = 0; i < CONNS_MAX; i++) {
            fds[2 + i].fd = dns->conns[i].fd;
        }

        for (i = 0; i < 2 + CONNS_MAX; i++) {
            fds[i].events = POLLIN;
            fds[i].revents = 0;
        }

        if (poll(fds, 2 + CONNS_MAX, 20) <= 0) {
            continue;
        }

        for (i = 0; i < CONNS_MAX; i++) {
            if (fds[2 + i].revents != 0) {
                dns_tcp(dns, &dns->conns[i]);
            }
        }

        if (fds[0].revents != 0) {
            dns_udp(dns);
        }

        if (fds[1].revents != 0) {
            dns_accept(dns);
        }
    }

    return NULL;
}


static int
dns_bind(int type, int number)
{
    int                  fd, on;
    struct sockaddr_in   sin;

    on = 1;
    fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on,
                                sizeof(on)), 0);

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) harness_port(number));
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);

    return fd;
}


dns_t *
dns_start(int number)
{
    dns_t   *dns;
    size_t   i;

    dns = calloc(1, sizeof(dns_t));
    ck_assert_ptr_nonnull(dns);

    dns->fd = dns_bind(SOCK_DGRAM, number);
    dns->listener = dns_bind(SOCK_STREAM, number);
    ck_assert_int_eq(listen(dns->listener, CONNS_MAX), 0);

    for (i = 0; i < CONNS_MAX; i++) {
        dns->conns[i].fd = -1;
    }

    ck_assert_int_eq(pthread_mutex_init(&dns->mutex, NULL), 0);
    ck_assert_int_eq(pthread_create(&dns->thread, NULL, dns_main, dns), 0);

    return dns;
}


void
dns_stop(dns_t *dns)
{
    size_t  i;

    atomic_store(&dns->stop, true);
    (void) pthread_join(dns->thread, NULL);
    (void) pthread_mutex_destroy(&dns->mutex);
    close(dns->fd);
    close(dns->listener);

    for (i = 0; i < CONNS_MAX; i++) {
        if (dns->conns[i].fd != -1) {
            close(dns->conns[i].fd);
        }
    }

    free(dns);
}


/* Replaces what is known of the name. */
static void
dns_set(dns_t *dns, const char *text, int code, unsigned ttl,
    const dns_record_t *records, size_t n)
{
    dns_name_t  *name;

    ck_assert_uint_le(n, RECORDS_MAX);
    (void) pthread_mutex_lock(&dns->mutex);

    name = dns_find_locked(dns, text);

    if (name == NULL) {
        ck_assert_uint_lt(dns->nnames, NAMES_MAX);
        name = &dns->names[dns->nnames++];
        snprintf(name->name, sizeof(name->name), "%s", text);
    }

    name->code = code;
    name->ttl = ttl;
    name->nrecords = n;

    if (n > 0) {
        memcpy(name->records, records, n * sizeof(dns_record_t));
    }

    (void) pthread_mutex_unlock(&dns->mutex);
}


void
dns_addresses(dns_t *dns, const char *name, const char *addresses,
    unsigned ttl)
{
    char          copy[4096], *p, *save;
    size_t        n;
    dns_record_t  records[RECORDS_MAX];

    snprintf(copy, sizeof(copy), "%s", addresses);
    n = 0;

    for (p = strtok_r(copy, " ", &save);
         p != NULL;
         p = strtok_r(NULL, " ", &save))
    {
        ck_assert_uint_lt(n, RECORDS_MAX);

        if (inet_pton(AF_INET, p, records[n].data) == 1) {
            records[n].type = TYPE_A;
            records[n].len = 4;

        } else {
            ck_assert_int_eq(inet_pton(AF_INET6, p, records[n].data), 1);
            records[n].type = TYPE_AAAA;
            records[n].len = 16;
        }

        n++;
    }

    dns_set(dns, name, 0, ttl, records, n);
}


void
dns_services(dns_t *dns, const char *name, const char *text, unsigned ttl)
{
    int           port;
    char          copy[4096], target[128], *p, *save;
    size_t        n;
    uint8_t      *data;
    unsigned      priority, weight;
    dns_record_t  records[RECORDS_MAX];

    snprintf(copy, sizeof(copy), "%s", text);
    n = 0;

    for (p = strtok_r(copy, ",", &save);
         p != NULL;
         p = strtok_r(NULL, ",", &save))
    {
        ck_assert_uint_lt(n, RECORDS_MAX);
        ck_assert_int_eq(sscanf(p, "%u %u %d %127s", &priority, &weight,
                                &port, target), 4);

        if (port >= HARNESS_PORT_FIRST && port <= HARNESS_PORT_LAST) {
            port = harness_port(port);
        }

        /* RFC 2782 */
        data = dns_u16(records[n].data, priority);
        data = dns_u16(data, weight);
        data = dns_u16(data, (unsigned) port);
        data = dns_labels(data, target);

        records[n].type = TYPE_SRV;
        records[n].len = (uint16_t) (data - records[n].data);
        n++;
    }

    dns_set(dns, name, 0, ttl, records, n);
}


void
dns_alias(dns_t *dns, const char *name, const char *target, unsigned ttl)
{
    dns_record_t  record;

    record.type = TYPE_CNAME;
    record.len = (uint16_t) (dns_labels(record.data, target) - record.data);

    dns_set(dns, name, 0, ttl, &record, 1);
}


void
dns_fail(dns_t *dns, const char *name, int code)
{
    dns_set(dns, name, code, 0, NULL, 0);
}


void
dns_truncate(dns_t *dns, const char *text)
{
    dns_name_t  *name;

    (void) pthread_mutex_lock(&dns->mutex);

    name = dns_find_locked(dns, text);
    ck_assert_ptr_nonnull(name);
    name->truncated = true;

    (void) pthread_mutex_unlock(&dns->mutex);
}


unsigned
dns_questions(dns_t *dns, const char *text)
{
    unsigned     n;
    dns_name_t  *name;

    (void) pthread_mutex_lock(&dns->mutex);

    name = text != NULL ? dns_find_locked(dns, text) : NULL;
    n = text == NULL ? dns->questions : name != NULL ? name->questions : 0;

    (void) pthread_mutex_unlock(&dns->mutex);

    return n;
}


void
dns_await_questions(dns_t *dns, const char *name, unsigned more)
{
    unsigned   n;
    long long  since;

    n = dns_questions(dns, name) + more;
    since = harness_now();

    while (dns_questions(dns, name) < n) {
        harness_pause(since, "questions");
    }
}
