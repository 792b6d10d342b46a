#include "authsvc/address.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>


#define ADDRESS_V4  96                  /* bits before an IPv4 address */

static const unsigned char  address_mapped[12] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff
};


static bool
address_parse(const char *text, size_t len, unsigned char bytes[16])
{
    char  copy[ADDRESS_TEXT];

    if (len == 0 || len >= sizeof(copy) || memchr(text, '\0', len) != NULL) {
        return false;
    }

    memcpy(copy, text, len);
    copy[len] = '\0';

    if (inet_pton(AF_INET, copy, bytes + 12) == 1) {
        memcpy(bytes, address_mapped, sizeof(address_mapped));
        return true;
    }

    return inet_pton(AF_INET6, copy, bytes) == 1;
}


static void
address_text(const unsigned char bytes[16], char out[ADDRESS_TEXT])
{
    bool  v4;

    v4 = memcmp(bytes, address_mapped, sizeof(address_mapped)) == 0;

    if (inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? bytes + 12 : bytes, out,
                  ADDRESS_TEXT) == NULL)
    {
        strcpy(out, "unknown");
    }
}


/* The digits behind a '/', or -1. */
static int
address_bits(const char *text, size_t len, unsigned max)
{
    size_t    i;
    unsigned  bits;

    if (len == 0 || len > 3) {
        return -1;
    }

    bits = 0;

    for (i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        bits = bits * 10 + (unsigned) (text[i] - '0');
    }

    return bits <= max ? (int) bits : -1;
}


static int
address_net(const char *text, size_t len, address_nets_t *nets)
{
    int             bits;
    bool            v4;
    size_t          n;
    const char     *slash;
    address_net_t  *net;

    if (len == 4 && memcmp(text, "unix", 4) == 0) {
        nets->local = 1;
        return 0;
    }

    slash = memchr(text, '/', len);
    n = slash != NULL ? (size_t) (slash - text) : len;
    net = &nets->list[nets->n];

    if (nets->n == ADDRESS_NETS || !address_parse(text, n, net->bytes)) {
        return -1;
    }

    v4 = memchr(text, ':', n) == NULL;
    bits = slash == NULL ? (v4 ? 32 : 128)
           : address_bits(slash + 1, len - n - 1, v4 ? 32 : 128);
    if (bits < 0) {
        return -1;
    }

    net->bits = (unsigned) bits + (v4 ? ADDRESS_V4 : 0);
    nets->n++;

    return 0;
}


static void
address_refuse(const address_nets_t *nets, const char *text, int len,
    char *error, size_t size)
{
    if (nets->n == ADDRESS_NETS) {
        snprintf(error, size, "more than %d networks at \"%.*s\"",
                 ADDRESS_NETS, len, text);

    } else {
        snprintf(error, size, "\"%.*s\" is neither an address, nor a network "
                 "as 10.0.0.0/8, nor \"unix\"", len, text);
    }
}


int
address_nets_parse(const char *text, address_nets_t *nets, char *error,
    size_t size)
{
    size_t  len;

    memset(nets, 0, sizeof(address_nets_t));

    for ( ;; ) {
        text += strspn(text, ", ");
        if (*text == '\0') {
            return 0;
        }

        len = strcspn(text, ", ");

        if (address_net(text, len, nets) != 0) {
            address_refuse(nets, text, len > 80 ? 80 : (int) len, error,
                           size);
            return -1;
        }

        text += len;
    }
}


static bool
address_in(const address_net_t *net, const unsigned char bytes[16])
{
    unsigned       whole;
    unsigned char  mask;

    whole = net->bits / 8;
    mask = (unsigned char) (0xff00 >> net->bits % 8);

    return memcmp(net->bytes, bytes, whole) == 0
           && (whole == 16
               || ((net->bytes[whole] ^ bytes[whole]) & mask) == 0);
}


static bool
address_trusted(const address_nets_t *nets, const unsigned char bytes[16])
{
    size_t  i;

    for (i = 0; i < nets->n; i++) {
        if (address_in(&nets->list[i], bytes)) {
            return true;
        }
    }

    return false;
}


/* "ipv4:a.b.c.d:port", "ipv6:[addr]:port", or with %5B and %5D for the
 * brackets, as newer versions of the core write it. */
static bool
address_peer(const char *peer, unsigned char bytes[16])
{
    size_t       open, close;
    const char  *end;

    end = strrchr(peer, ':');

    if (strncmp(peer, "ipv4:", 5) == 0 && end > peer + 5) {
        return address_parse(peer + 5, (size_t) (end - peer - 5), bytes);
    }

    if (strncmp(peer, "ipv6:", 5) != 0 || end <= peer + 5) {
        return false;
    }

    peer += 5;
    open = *peer == '[' ? 1 : strncmp(peer, "%5B", 3) == 0 ? 3 : 0;
    close = open;

    return open != 0 && (size_t) (end - peer) > open + close
           && address_parse(peer + open, (size_t) (end - peer) - open - close,
                            bytes);
}


void
address_client(const address_nets_t *nets, const char *peer, const char *said,
    size_t len, char out[ADDRESS_TEXT])
{
    bool           trusted;
    unsigned char  bytes[16], other[16];

    strcpy(out, "unknown");
    trusted = false;

    if (strncmp(peer, "unix:", 5) == 0) {
        strcpy(out, "unix");
        trusted = nets->local;

    } else if (address_peer(peer, bytes)) {
        address_text(bytes, out);
        trusted = address_trusted(nets, bytes);
    }

    if (trusted && said != NULL && address_parse(said, len, other)) {
        address_text(other, out);
    }
}
