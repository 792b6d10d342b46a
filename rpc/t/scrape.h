/*
 * A client of a service's metrics.
 */

#ifndef RPC_T_SCRAPE_H
#define RPC_T_SCRAPE_H


/* A connection to 127.0.0.1; fails the test. */
int scrape_connect(int port);

/* Sends the request (NULL: that of a good client); the whole answer, static. */
const char *scrape(int port, const char *request);

/* Fails the test if the text does not have the part. */
#define scrape_has(text, part)                                                \
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in:\n%s", part, text)


#endif /* RPC_T_SCRAPE_H */
