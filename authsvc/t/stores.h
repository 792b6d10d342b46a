/*
 * An empty store for one test, of either kind, and what is in it without the
 * help of the unit.
 */

#ifndef AUTHSVC_T_STORES_H
#define AUTHSVC_T_STORES_H


#include "authsvc/store/store.h"


typedef enum {
    STORES_SQLITE = 0,
    STORES_POSTGRES,
    STORES_KINDS
} stores_kind_t;


extern stores_kind_t  stores_kind;
extern char           stores_location[256];


/* The fixture; a database per test, in the server that main() has started. */
void stores_sqlite(void);
void stores_postgres(void);
void stores_teardown(void);

/* Creates it if need be. */
store_t *stores_open(void);

void stores_sql(const char *text);

/* The first column of the first row as a number. */
int stores_number(const char *text);


#endif /* AUTHSVC_T_STORES_H */
