/*
 * Between a gateway and its store: answers come in pieces, end in the middle, or
 * are others.  One thread.
 */

#ifndef MODULE_T_STORE_PROXY_H
#define MODULE_T_STORE_PROXY_H


#include <stdbool.h>
#include <stddef.h>


/* Listens on 127.0.0.1:harness_port(number), and passes everything on to
 * harness_port(store).  It ends with the test. */
void store_proxy_start(int number, int store);

/* From now on answers come in pieces of 1 to 7 bytes. */
void store_proxy_pieces(bool on);

/* Each connection that there is ends after "bytes" more of answers; those that
 * come later do not. */
void store_proxy_cut(size_t bytes);

/* Connections that ended so. */
unsigned store_proxy_cuts(void);

/* From now on this comes in place of the answers of the script; "": the connection
 * ends; NULL: they come. */
void store_proxy_instead(const char *text);

/* While it is away the connections that there are end, and new ones at once. */
void store_proxy_away(bool on);


#endif /* MODULE_T_STORE_PROXY_H */
