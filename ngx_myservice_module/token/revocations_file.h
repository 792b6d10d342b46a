/*
 * The file of revoked tokens: read when nginx starts, written by one worker
 * after each change.
 */

#ifndef MS_TOKEN_REVOCATIONS_FILE_H
#define MS_TOKEN_REVOCATIONS_FILE_H


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Adds the entries of the file to the list that is open; "size" is that of its
 * zone.  A file that is not there has none.  NGX_ERROR after what is wrong was
 * logged: no entry may be lost.
 */
ngx_int_t ms_revocations_load_file(ngx_str_t *file, size_t size, ngx_log_t *log);

/*
 * Replaces the file by one with the entries of now: another one is written,
 * flushed and renamed, so that there is a whole one at any time.  NGX_DECLINED
 * if another worker is at it, NGX_ERROR after the cause was logged.
 */
ngx_int_t ms_revocations_save(ngx_str_t *file, ngx_log_t *log);


#endif /* MS_TOKEN_REVOCATIONS_FILE_H */
