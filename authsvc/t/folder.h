/*
 * A folder for one test, and files in it.
 */

#ifndef AUTHSVC_T_FOLDER_H
#define AUTHSVC_T_FOLDER_H


#include <stddef.h>


/* Makes the folder; its path is valid until the program ends. */
const char *folder_create(void);

/* With all that is in it. */
void folder_remove(void);

/* The path of a file in the folder, valid until the program ends. */
const char *folder_path(const char *name);

void folder_write(const char *name, const void *data, size_t len, int mode);


#endif /* AUTHSVC_T_FOLDER_H */
