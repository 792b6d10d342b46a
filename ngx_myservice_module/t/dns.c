/*
 * A name server whose answers a test changes while it runs: UDP, one thread.
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
    unsigned      ttl;
    unsigned      questions;
    unsigned      turn;                 /* the record that comes first */
    size_t        nrecords;
    dns_record_t  records[RECORDS_MAX];
} dns_name_t;

struct dns_s {
    int              fd;
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
dns_answer_locked(dns_t *dns, uint8_t *message, size_t len)
{
    int             code;
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
    dns->questions++;
    n = 0;

    if (name != NULL) {
        name->questions++;
        name->turn++;
    }

    if (code == DNS_SILENT) {
        return 0;
    }

    for (i = 0; code == 0 && i < name->nrecords; i++) {
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
    dns_u16(message + 2, 0x8580u | (unsigned) code);
    dns_u16(message + 6, (unsigned) n);
    memset(message + 8, 0, 4);

    return (size_t) (p - message);
}


static void *
dns_main(void *data)
{
    dns_t               *dns = data;
    size_t               len;
    ssize_t              n;
    uint8_t              message[MESSAGE_MAX + 512];
    socklen_t            socklen;
    struct pollfd        pfd;
    struct sockaddr_in   sin;

    pfd.fd = dns->fd;
    pfd.events = POLLIN;

    while (!atomic_load(&dns->stop)) {
        if (poll(&pfd, 1, 20) != 1) {
            continue;
        }

        socklen = sizeof(sin);
        n = recvfrom(dns->fd, message, 512, 0, (struct sockaddr *) &sin,
                     &socklen);
        if (n <= 0) {
            continue;
        }

        (void) pthread_mutex_lock(&dns->mutex);
        len = dns_answer_locked(dns, message, (size_t) n);
        (void) pthread_mutex_unlock(&dns->mutex);

        if (len > 0) {
            (void) sendto(dns->fd, message, len, 0, (struct sockaddr *) &sin,
                          socklen);
        }
    }

    return NULL;
}


dns_t *
dns_start(int number)
{
    dns_t               *dns;
    struct sockaddr_in   sin;

    dns = calloc(1, sizeof(dns_t));
    ck_assert_ptr_nonnull(dns);

    dns->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(dns->fd, -1);

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) harness_port(number));
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(dns->fd, (struct sockaddr *) &sin, sizeof(sin)), 0);

    ck_assert_int_eq(pthread_mutex_init(&dns->mutex, NULL), 0);
    ck_assert_int_eq(pthread_create(&dns->thread, NULL, dns_main, dns), 0);

    return dns;
}


void
dns_stop(dns_t *dns)
{
    atomic_store(&dns->stop, true);
    (void) pthread_join(dns->thread, NULL);
    (void) pthread_mutex_destroy(&dns->mutex);
    close(dns->fd);
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
