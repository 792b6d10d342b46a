/*
 * A client's way to the gateway: TCP, also with TLS, never blocking once it is
 * open. What is written may be held, to go out in one segment, in early data,
 * or byte by byte.
 */

#ifndef MODULE_T_LINK_H
#define MODULE_T_LINK_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


typedef struct link_s  link_t;

typedef enum {
    LINK_PLAIN,
    LINK_SMALL,         /* plain, takes little before it is read */
    LINK_TLS12,
    LINK_TLS13,
    LINK_EARLY          /* resumes what the latest TLS 1.3 link was given; held
                           from the start, the handshake begins with the
                           release of what is held */
} link_kind_t;


/* Fails the test if the server does not answer with "h2". */
link_t *link_open(int port, link_kind_t kind);
void link_close(link_t *link);
int link_fd(const link_t *link);

/* Bytes; 0 at the end, -1 for later, -2 when broken. */
ssize_t link_read(link_t *link, void *buffer, size_t size);
ssize_t link_write(link_t *link, const void *data, size_t len);

/* Keeps what is written; releases it in pieces of "piece" bytes, 0: at once. */
void link_hold(link_t *link);
void link_release(link_t *link, size_t piece);

/* Releases the first "len" bytes of it. */
void link_release_part(link_t *link, size_t len);

/* The server has taken what was released as early data. */
bool link_early(const link_t *link);


#endif /* MODULE_T_LINK_H */
