/*
 * Functions that other threads send to the server's thread.
 */

#include "rpc/call.h"

#include <stdlib.h>


struct rpc_post_s {
    rpc_post_t  *next;
    void       (*fn)(void *data);
    void        *data;
};


int
rpc_server_post(rpc_server_t *server, void (*fn)(void *data), void *data)
{
    bool         wake;
    rpc_post_t  *post;

    post = malloc(sizeof(rpc_post_t));
    if (post == NULL) {
        return -1;
    }

    post->next = NULL;
    post->fn = fn;
    post->data = data;

    pthread_mutex_lock(&server->mutex);

    if (server->closed) {
        pthread_mutex_unlock(&server->mutex);
        free(post);
        return -1;
    }

    wake = (server->posts == NULL);
    *server->last = post;
    server->last = &post->next;

    /* under the mutex: nothing may enter the queue after its shutdown */

    if (wake
        && grpc_call_start_batch(server->wake, NULL, 0, &server->wake_tag,
                                 NULL)
           != GRPC_CALL_OK)
    {
        abort();
    }

    pthread_mutex_unlock(&server->mutex);

    return 0;
}


void
rpc_post_event(void *data, bool ok)
{
    rpc_post_t    *post, *next;
    rpc_server_t  *server = data;

    (void) ok;

    pthread_mutex_lock(&server->mutex);
    post = server->posts;
    server->posts = NULL;
    server->last = &server->posts;
    pthread_mutex_unlock(&server->mutex);

    for ( /* void */ ; post != NULL; post = next) {
        next = post->next;
        post->fn(post->data);
        free(post);
    }
}
