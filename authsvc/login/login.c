/*
 * Looks up the user, checks the password, renews its hash, issues the token.
 */

#include "authsvc/login/login.h"

#include <string.h>

#include "authsvc/login/password.h"
#include "jwt/token.h"
#include "rpc/log.h"


const char *const  login_messages[LOGIN_STATUSES] = {
    [LOGIN_OK] = "",
    [LOGIN_NO_USERNAME] = "username is required",
    [LOGIN_NO_SESSION] = "session_id is required",
    [LOGIN_BAD_SESSION] = "session_id is invalid",
    [LOGIN_DENIED] = "invalid username or password",
    [LOGIN_HELD] = "invalid username or password",
    [LOGIN_STORE] = "failed to get user",
    [LOGIN_SIGN] = "failed to create token",
    [LOGIN_QUEUE_FULL] = "login queue is full",
    [LOGIN_CANCELLED] = "cancelled"
};


login_status_t
login_check(const login_request_t *request)
{
    if (*request->username == '\0') {
        return LOGIN_NO_USERNAME;
    }

    if (*request->session == '\0') {
        return LOGIN_NO_SESSION;
    }

    if (!ms_session_valid(request->session, strlen(request->session))) {
        return LOGIN_BAD_SESSION;
    }

    return LOGIN_OK;
}


/* Replaces a hash of old costs while the password is at hand.  Not if another
 * program has changed the password meanwhile, and not if the old hash saw only
 * the beginning of this password. */
static void
login_rehash(store_t *store, const login_request_t *request,
    const store_user_t *user)
{
    char            hash[PASSWORD_HASH];
    store_status_t  status;

    if (!password_outdated(user->hash)
        || !password_proved(user->hash, request->password))
    {
        return;
    }

    if (password_hash(request->password, hash) != 0) {
        log_warn("cannot renew a password hash: out of memory");
        return;
    }

    status = store_renew_hash(store, request->username, user->hash, hash);
    if (status == STORE_FAILED || status == STORE_DOWN) {
        log_warn("cannot renew a password hash: %s", store_error(store));
    }
}


/* Logs once that the store went down or came back, not for every login. */
static bool
login_store_good(store_t *store, store_status_t status)
{
    if (store_changed(store, status)) {
        if (status == STORE_DOWN) {
            log_error("store is down: %s, store=\"%s\" (logins fail until it "
                      "is back)", store_error(store), store_name(store));
        } else {
            log_info("store is back, store=\"%s\"", store_name(store));
        }
    }

    if (status == STORE_FAILED) {
        log_error("cannot look up a user: %s", store_error(store));
    }

    return status != STORE_FAILED && status != STORE_DOWN;
}


login_status_t
login_run(store_t *store, const issuer_t *issuer,
    const login_request_t *request, int64_t now, login_answer_t *answer)
{
    store_user_t      user;
    store_status_t    status;
    password_check_t  check;

    memset(answer, 0, sizeof(login_answer_t));

    status = limits_username(request->username)
             ? store_find(store, request->username, &user) : STORE_MISSING;

    if (!login_store_good(store, status)) {
        return LOGIN_STORE;
    }

    /* a disabled user takes as long as an unknown one, and is told the same */

    answer->disabled = status == STORE_OK && user.disabled;
    check = password_check(status == STORE_OK && !user.disabled ? user.hash
                                                                : NULL,
                           request->password);

    if (check == PASSWORD_UNCHECKED) {
        log_error("cannot check a password: out of memory");
        return LOGIN_STORE;
    }

    if (check != PASSWORD_RIGHT) {
        return LOGIN_DENIED;
    }

    login_rehash(store, request, &user);

    if (issue_token(issuer, request->username, user.role, request->session,
                    now, &answer->token)
        != 0)
    {
        log_error("cannot sign a token");
        return LOGIN_SIGN;
    }

    strcpy(answer->role, user.role);

    return LOGIN_OK;
}
