/*
 * Which methods an instance has: from --method, or by server reflection.
 */

#ifndef BACKENDCHECK_METHODS_H
#define BACKENDCHECK_METHODS_H


#include "backendcheck/peer.h"


#define METHODS_MAX  64

typedef struct {
    target_t  methods[METHODS_MAX];
    size_t    n;
    bool      reflected;                /* the instance described itself */
    char      failure[256];             /* why it did not, or "" */
} methods_t;


/* Those of --method if given, else all that the instance describes, without
 * those of gRPC's own services. */
void methods_find(methods_t *methods, peer_t *peer);

/* One of a list, from "*list" on, which is moved behind it; "stream:" and
 * "bidi:" before it say its kind.  -1 if it is not "/package.Service/Method",
 * with what it is in "target". */
int method_parse(const char **list, target_t *target)
    __attribute__((warn_unused_result));

/* By its name it may end the session or the process: "Shutdown", "Leave". */
bool method_ends(const char *path);


#endif /* BACKENDCHECK_METHODS_H */
