/*
 * A name server whose answers a test changes while it runs: UDP and TCP, one
 * thread.
 * Records come in another order with every answer, as round-robin DNS gives
 * them.  A name that was not set does not exist.
 */

#ifndef MODULE_T_DNS_H
#define MODULE_T_DNS_H


#include <stdbool.h>


/* RFC 1035 4.1.1, and no answer at all */
#define DNS_SERVFAIL  2
#define DNS_NXDOMAIN  3
#define DNS_REFUSED   5
#define DNS_SILENT    16


typedef struct dns_s  dns_t;


/* Listens on 127.0.0.1:harness_port(number). */
dns_t *dns_start(int number);
void dns_stop(dns_t *dns);

/* A and AAAA records: addresses separated by spaces, valid for "ttl" seconds.
 * Without any the name exists, and has no records. */
void dns_addresses(dns_t *dns, const char *name, const char *addresses,
    unsigned ttl);

/* SRV records "priority weight port target", separated by commas.  A port of
 * 8080 to 8119 is that of harness_port(). */
void dns_services(dns_t *dns, const char *name, const char *records,
    unsigned ttl);

void dns_alias(dns_t *dns, const char *name, const char *target,
    unsigned ttl);

void dns_fail(dns_t *dns, const char *name, int code);

/* Answers over UDP are truncated, without a record: TCP has them. */
void dns_truncate(dns_t *dns, const char *name);

/* Questions for the name so far, of any type; NULL: for all. */
unsigned dns_questions(dns_t *dns, const char *name);

/* Waits for "more" questions without serving clients meanwhile. */
void dns_await_questions(dns_t *dns, const char *name, unsigned more);


#endif /* MODULE_T_DNS_H */
