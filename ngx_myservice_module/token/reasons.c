
/*
 * Outcomes of the token check: the status that the client gets, the name in
 * logs, variable and counters.
 */

#include "token/reasons.h"

#include "core/grpc.h"


/* outcomes after those of the token */

static ms_reason_t  ms_reasons[] = {

    { MS_GRPC_UNAUTHENTICATED, "SESSION_MISSING",
      "missing session-id" },
    { MS_GRPC_INVALID_ARGUMENT, "SESSION_INVALID",
      "invalid session-id" },
    { MS_GRPC_UNAUTHENTICATED, "SESSION_MISMATCH",
      "session-id mismatch" },
    { MS_GRPC_UNAUTHENTICATED, "TOKENS",
      "missing or invalid token" },
    { MS_GRPC_UNAVAILABLE, "NO_KEYS",
      "service unavailable" },
    { MS_GRPC_UNAUTHENTICATED, "REVOKED",
      "token revoked" }
};


ms_reason_t
ms_reason(ngx_uint_t reason)
{
    ms_reason_t  answer;

    if (reason >= MS_TOKEN_REASONS) {
        return ms_reasons[reason - MS_TOKEN_REASONS];
    }

    answer.code = reason == MS_TOKEN_OK ? MS_GRPC_OK
                  : reason == MS_TOKEN_INTERNAL
                    ? MS_GRPC_INTERNAL
                    : MS_GRPC_UNAUTHENTICATED;
    answer.name = ms_token_reasons[reason].name;
    answer.message = ms_token_reasons[reason].message;

    return answer;
}
