/*
 * The store's script in a real server, called as a gateway calls it; for
 * test_store_script*.c.
 */

#ifndef MODULE_T_STORE_SCRIPT_H
#define MODULE_T_STORE_SCRIPT_H


#include <hiredis/hiredis.h>
#include <stddef.h>
#include <stdint.h>


extern redisContext  *script_store;
extern char           script_sha[41];


/* Starts a server with the script, "find" replaced by "by"; NULL: as it is. */
void script_setup(const char *find, const char *by);

/* the verb and its arguments; the caller frees the answer */
#define ask(...)                                                              \
    store_server_eval(script_store, script_sha,                               \
                      (const char *[]) { __VA_ARGS__, NULL })

/* The text "i" of the answer; static, four of them. */
const char *script_text(redisReply *r, size_t i);

/* The answer says that of the instance: returns the epoch, and frees it. */
uint64_t script_epoch(redisReply *r, const char *what, const char *instance);

/* The answer begins with that text; frees it. */
void script_says(redisReply *r, const char *what);

/* The answer to "operator" differs in nothing ("word" NULL), or says that word
 * of instance "a", with that stamp; frees it. */
void script_word(redisReply *r, const char *word, const char *stamp);

/* Until no lease of the instance is valid. */
void script_await_end(const char *instance);


#endif /* MODULE_T_STORE_SCRIPT_H */
