/*
 * JSON objects from strangers: bounded in depth before jansson reads them.
 */

#include "jwt/json.h"

#include <stdbool.h>


/*
 * jansson recurses up to 2048 levels; this looks before it does.  Text that is
 * not JSON may be counted wrongly here, but only as long as it stays refused
 * there.
 */
static bool
ms_json_depth_ok(const unsigned char *text, size_t len)
{
    bool    string;
    size_t  i, depth;

    string = false;
    depth = 0;

    for (i = 0; i < len; i++) {

        if (string) {
            if (text[i] == '\\') {
                i++;
            } else if (text[i] == '"') {
                string = false;
            }
            continue;
        }

        switch (text[i]) {
        case '"':
            string = true;
            break;
        case '{':
        case '[':
            if (++depth > MS_JSON_DEPTH) {
                return false;
            }
            break;
        case '}':
        case ']':
            if (depth-- == 0) {
                return false;
            }
            break;
        }
    }

    return true;
}


json_t *
ms_json_object(const unsigned char *text, size_t len)
{
    json_t  *json;

    if (!ms_json_depth_ok(text, len)) {
        return NULL;
    }

    json = json_loadb((const char *) text, len, JSON_REJECT_DUPLICATES, NULL);

    if (json != NULL && !json_is_object(json)) {
        json_decref(json);
        return NULL;
    }

    return json;
}
