/*
 * When logins would be done if each was hashed, in the order in which they
 * came, by so many threads.  Some are not hashed: their answers wait for that
 * time, so that it does not tell which.  Pure; all times are microseconds.
 */

#ifndef AUTHSVC_TURNS_H
#define AUTHSVC_TURNS_H


#include <stddef.h>
#include <stdint.h>


#define TURNS_THREADS  64

typedef struct {
    size_t   n;
    size_t   queue;
    int64_t  free[TURNS_THREADS];       /* when each thread is done */
} turns_t;


/* "n" up to TURNS_THREADS; no more than "queue" wait for them. */
void turns_init(turns_t *turns, size_t n, size_t queue);

/* When a login begins that comes now and takes so long. */
int64_t turns_take(turns_t *turns, int64_t now, int64_t took);


#endif /* AUTHSVC_TURNS_H */
