
/*
 * The mirrors of private structs against the source of the nginx that is
 * built: one that differs ends the build, not a worker.
 */

#include "core/compat.h"


#if (NGX_HTTP_MYSERVICE_GRPC_PRIVATE)

/* made by "config": the types of ngx_http_grpc_module.c */

#include <ngx_http_myservice_grpc_private.h>

#define ms_same(type, member)                                                 \
    _Static_assert(offsetof(ms_compat_##type, member)                         \
                   == offsetof(ngx_http_grpc_##type, member)                  \
                   && sizeof(((ms_compat_##type *) 0)->member)                \
                   == sizeof(((ngx_http_grpc_##type *) 0)->member),           \
                   "ngx_http_grpc_" #type " of this nginx has \"" #member     \
                   "\" elsewhere: correct core/compat.h")

ms_same(ctx_t, state);
ms_same(ctx_t, in);
ms_same(ctx_t, out);
ms_same(ctx_t, free);
ms_same(ctx_t, busy);

ms_same(loc_conf_t, upstream);
#if (NGX_HTTP_SSL)
ms_same(loc_conf_t, ssl);
#endif

#elif (nginx_version < 1022001 || nginx_version > 1031005)

#error "the private structs of this nginx are not known to be those of \
core/compat.h: build with nginx's sources, which are compared"

#endif
