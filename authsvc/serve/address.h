/*
 * The address of the client of a Login: that of the connection, or the one
 * that a trusted proxy names.
 */

#ifndef AUTHSVC_SERVE_ADDRESS_H
#define AUTHSVC_SERVE_ADDRESS_H


#include <stddef.h>


#define ADDRESS_TEXT  48                /* bytes of an address with its NUL */
#define ADDRESS_NETS  32

typedef struct {
    unsigned char  bytes[16];           /* IPv4 as ::ffff:a.b.c.d */
    unsigned       bits;                /* of the prefix, 0..128 */
} address_net_t;

typedef struct {
    size_t         n;
    int            local;               /* sockets of the file system, too */
    address_net_t  list[ADDRESS_NETS];
} address_nets_t;


/* "127.0.0.0/8,::1,unix"; "" trusts nobody.  -1 with one line in "error". */
int address_nets_parse(const char *text, address_nets_t *nets, char *error,
    size_t size) __attribute__((warn_unused_result));

/*
 * "peer" comes from the gRPC core ("ipv4:127.0.0.1:4711").  "forwarded" (may be
 * NULL, not NUL-terminated) counts if it is an address and the peer is in
 * "nets".  The result has no port, and one spelling: "192.0.2.1",
 * "2001:db8::1", "unix", "unknown".
 */
void address_client(const address_nets_t *nets, const char *peer,
    const char *forwarded, size_t len, char out[ADDRESS_TEXT]);


#endif /* AUTHSVC_SERVE_ADDRESS_H */
