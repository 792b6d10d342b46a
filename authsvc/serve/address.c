/*
 * Parses addresses and networks, and decides whose address a client has.
 */

#include "authsvc/serve/address.h"

#include <arpa/inet.h>
#include <ctype.h>
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


/* One item of the list, which is changed. */
static int
address_net(char *text, address_nets_t *nets)
{
    char            rest, *slash;
    bool            v4;
    unsigned        bits, max;
    address_net_t  *net;

    if (strcmp(text, "unix") == 0) {
        nets->local = 1;
        return 0;
    }

    slash = strchr(text, '/');
    if (slash != NULL) {
        *slash++ = '\0';
    }

    net = &nets->list[nets->n];

    if (nets->n == ADDRESS_NETS
        || !address_parse(text, strlen(text), net->bytes))
    {
        return -1;
    }

    v4 = strchr(text, ':') == NULL;
    max = v4 ? 32 : 128;
    bits = max;

    if (slash != NULL
        && (!isdigit((unsigned char) *slash) || strlen(slash) > 3
            || sscanf(slash, "%u%c", &bits, &rest) != 1 || bits > max))
    {
        return -1;
    }

    net->bits = bits + (v4 ? ADDRESS_V4 : 0);
    nets->n++;

    return 0;
}


int
address_nets_parse(const char *text, address_nets_t *nets, char *error,
    size_t size)
{
    int   len;
    char  item[ADDRESS_TEXT + 4];

    memset(nets, 0, sizeof(address_nets_t));

    for ( ;; ) {
        text += strspn(text, ", ");
        if (*text == '\0') {
            return 0;
        }

        len = (int) strcspn(text, ", ");
        snprintf(item, sizeof(item), "%.*s", len, text);

        if (len >= (int) sizeof(item) || address_net(item, nets) != 0) {
            break;
        }

        text += len;
    }

    len = len > 80 ? 80 : len;

    if (nets->n == ADDRESS_NETS) {
        snprintf(error, size, "more than %d networks at \"%.*s\"",
                 ADDRESS_NETS, len, text);

    } else {
        snprintf(error, size, "\"%.*s\" is neither an address, nor a network "
                 "as 10.0.0.0/8, nor \"unix\"", len, text);
    }

    return -1;
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
address_client(const address_nets_t *nets, const char *peer,
    const char *forwarded, size_t len, char out[ADDRESS_TEXT])
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

    if (trusted && forwarded != NULL && address_parse(forwarded, len, other)) {
        address_text(other, out);
    }
}
