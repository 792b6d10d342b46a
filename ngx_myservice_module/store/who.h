/*
 * Whose a session is, and for whom it counts, as the store has it: "subject",
 * "subject:user" or "subject:~", where "-" is a subject that is not known, and
 * "~" says that the session counts for its subject until a call says for whom.
 */

#ifndef MS_STORE_WHO_H
#define MS_STORE_WHO_H


#include "store/store.h"


/*
 * Writes MS_STORE_WHO bytes at most, and returns how many.  "subject" is NULL
 * if it is not known, "user" 0.  Without a limit there are no users.
 */
size_t ms_store_who(ms_store_t *store, u_char *text, const uint8_t *subject,
    uint64_t user);

/* Sets "terms->subject", for which "subject" has room, and "terms->user". */
void ms_store_who_of(const ngx_str_t *text, uint8_t subject[MS_POOL_SUBJECT],
    ms_pool_terms_t *terms);


#endif /* MS_STORE_WHO_H */
