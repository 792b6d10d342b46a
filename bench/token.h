#ifndef BENCH_TOKEN_H
#define BENCH_TOKEN_H


/* The secret of a file without the newline at its end, to be freed with
 * free().  NULL: errno. */
char *token_secret(const char *path);

/* "Bearer " and a token like those of authsvc for the session, good for an
 * hour, to be freed with free().  NULL on error. */
char *token_make(const char *secret, const char *session);


#endif /* BENCH_TOKEN_H */
