#include "authsvc/keylist.h"

#include <stdio.h>
#include <string.h>
#include <jansson.h>


#define KEYLIST_VERSION  1
#define KEYLIST_SECONDS  (INT64_C(1) << 40)     /* no time is beyond that */


const char *const  keylist_states[KEYLIST_STATES] = {
    [KEYLIST_READY] = "ready",
    [KEYLIST_ACTIVE] = "active",
    [KEYLIST_RETIRED] = "retired"
};


keylist_entry_t *
keylist_active(keylist_t *keys)
{
    size_t  i;

    for (i = 0; i < keys->n; i++) {
        if (keys->list[i].state == KEYLIST_ACTIVE) {
            return &keys->list[i];
        }
    }

    return NULL;
}


keylist_entry_t *
keylist_find(keylist_t *keys, const char *kid)
{
    size_t  i;

    for (i = 0; i < keys->n; i++) {
        if (strcmp(keys->list[i].kid, kid) == 0) {
            return &keys->list[i];
        }
    }

    return NULL;
}


static void
keylist_remove(keylist_t *keys, keylist_entry_t *entry)
{
    size_t  i;

    i = (size_t) (entry - keys->list);
    keys->n--;
    memmove(entry, entry + 1, (keys->n - i) * sizeof(keylist_entry_t));
}


keylist_status_t
keylist_add(keylist_t *keys, const signkey_t *key, int64_t now)
{
    keylist_entry_t  *entry;

    if (keylist_find(keys, signkey_kid(key)) != NULL) {
        return KEYLIST_EXISTS;
    }

    if (keys->n == KEYLIST_MAX) {
        return KEYLIST_FULL;
    }

    entry = &keys->list[keys->n++];
    memset(entry, 0, sizeof(keylist_entry_t));
    strcpy(entry->kid, signkey_kid(key));
    entry->alg = signkey_alg(key);
    entry->state = KEYLIST_READY;
    entry->created = now;

    return KEYLIST_OK;
}


static void
keylist_set_retired(keylist_entry_t *entry, int64_t now, int64_t ttl,
    int64_t grace)
{
    entry->state = KEYLIST_RETIRED;
    entry->retired = now;
    entry->grace = grace;

    if (entry->ttl == 0) {
        entry->ttl = ttl;
    }
}


keylist_status_t
keylist_activate(keylist_t *keys, const char *kid, int64_t now, int64_t ttl,
    int64_t grace)
{
    keylist_entry_t  *entry, *old;

    entry = keylist_find(keys, kid);
    if (entry == NULL) {
        return KEYLIST_MISSING;
    }

    old = keylist_active(keys);
    if (old == entry) {
        return KEYLIST_DONE;
    }

    if (old != NULL) {
        keylist_set_retired(old, now, ttl, grace);
    }

    entry->state = KEYLIST_ACTIVE;
    entry->activated = now;
    entry->retired = 0;

    return KEYLIST_OK;
}


keylist_status_t
keylist_retire(keylist_t *keys, const char *kid, bool at_once)
{
    keylist_entry_t  *entry;

    entry = keylist_find(keys, kid);
    if (entry == NULL) {
        return KEYLIST_MISSING;
    }

    if (entry->state == KEYLIST_ACTIVE) {
        return KEYLIST_IN_USE;
    }

    if (entry->state == KEYLIST_RETIRED && !at_once) {
        return KEYLIST_DONE;
    }

    keylist_remove(keys, entry);

    return KEYLIST_OK;
}


int64_t
keylist_until(const keylist_entry_t *entry)
{
    return entry->state == KEYLIST_RETIRED
           ? entry->retired + entry->ttl + entry->grace : INT64_MAX;
}


bool
keylist_prune(keylist_t *keys, int64_t now)
{
    size_t  i, n;

    n = keys->n;

    for (i = 0; i < keys->n; /* void */ ) {
        if (keylist_until(&keys->list[i]) <= now) {
            keylist_remove(keys, &keys->list[i]);
        } else {
            i++;
        }
    }

    return keys->n != n;
}


bool
keylist_later(keylist_t *keys, const keylist_t *other)
{
    bool                    changed;
    size_t                  i;
    keylist_entry_t        *entry;
    const keylist_entry_t  *later;

    changed = false;

    for (i = 0; i < other->n; i++) {
        later = &other->list[i];
        entry = keylist_find(keys, later->kid);

        if (entry != NULL && entry->state == KEYLIST_RETIRED
            && later->state == KEYLIST_RETIRED
            && entry->retired < later->retired)
        {
            entry->retired = later->retired;
            changed = true;
        }
    }

    return changed;
}


bool
keylist_ttl(keylist_t *keys, int64_t ttl)
{
    keylist_entry_t  *entry;

    entry = keylist_active(keys);

    if (entry == NULL || entry->ttl >= ttl) {
        return false;
    }

    entry->ttl = ttl;

    return true;
}


char *
keylist_write(const keylist_t *keys)
{
    char                   *text;
    size_t                  i;
    json_t                 *json, *list;
    const keylist_entry_t  *e;

    list = json_array();

    for (i = 0; i < keys->n; i++) {
        e = &keys->list[i];

        if (json_array_append_new(list, json_pack(
                "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}",
                "kid", e->kid, "alg", signkey_algs[e->alg],
                "state", keylist_states[e->state],
                "created", (json_int_t) e->created,
                "activated", (json_int_t) e->activated,
                "retired", (json_int_t) e->retired,
                "ttl", (json_int_t) e->ttl, "grace", (json_int_t) e->grace))
            != 0)
        {
            json_decref(list);
            return NULL;
        }
    }

    json = json_pack("{s:i, s:o}", "version", KEYLIST_VERSION, "keys", list);
    text = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);

    return text;
}


static bool
keylist_kid_valid(const char *kid)
{
    return strlen(kid) == SIGNKEY_KID
           && strspn(kid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                          "0123456789-_") == SIGNKEY_KID;
}


static int
keylist_state_find(const char *name)
{
    int  i;

    for (i = 0; i < KEYLIST_STATES; i++) {
        if (strcmp(keylist_states[i], name) == 0) {
            return i;
        }
    }

    return -1;
}


static bool
keylist_seconds(json_int_t value)
{
    return value >= 0 && value < KEYLIST_SECONDS;
}


/* What is wrong with an entry, or NULL. */
static const char *
keylist_read_entry(keylist_t *keys, json_t *json)
{
    int               alg, state;
    json_int_t        created, activated, retired, ttl, grace;
    const char       *kid, *alg_name, *state_name;
    keylist_entry_t  *entry;

    if (json_unpack(json, "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}",
                    "kid", &kid, "alg", &alg_name, "state", &state_name,
                    "created", &created, "activated", &activated,
                    "retired", &retired, "ttl", &ttl, "grace", &grace)
        != 0)
    {
        return "a member is missing or of the wrong type";
    }

    alg = signkey_alg_find(alg_name);
    state = keylist_state_find(state_name);

    if (!keylist_kid_valid(kid)) {
        return "bad \"kid\"";
    }

    if (alg < 0 || state < 0) {
        return alg < 0 ? "unknown \"alg\"" : "unknown \"state\"";
    }

    if (!keylist_seconds(created) || !keylist_seconds(activated)
        || !keylist_seconds(retired) || !keylist_seconds(ttl)
        || !keylist_seconds(grace))
    {
        return "a time is out of range";
    }

    if (keylist_find(keys, kid) != NULL) {
        return "the same \"kid\" again";
    }

    if (state == KEYLIST_ACTIVE && keylist_active(keys) != NULL) {
        return "a second active key";
    }

    if (keys->n == KEYLIST_MAX) {
        return "too many keys";
    }

    entry = &keys->list[keys->n++];
    strcpy(entry->kid, kid);
    entry->alg = (signkey_alg_t) alg;
    entry->state = (keylist_state_t) state;
    entry->created = created;
    entry->activated = activated;
    entry->retired = retired;
    entry->ttl = ttl;
    entry->grace = grace;

    return NULL;
}


int
keylist_read(keylist_t *keys, const char *text, size_t len, char *error,
    size_t size)
{
    int            version;
    size_t         i;
    json_t        *json, *list, *item;
    const char    *wrong;
    json_error_t   at;

    memset(keys, 0, sizeof(keylist_t));

    json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &at);
    if (json == NULL) {
        snprintf(error, size, "line %d: %s", at.line, at.text);
        return -1;
    }

    if (json_unpack(json, "{s:i, s:o}", "version", &version, "keys", &list)
        != 0
        || version != KEYLIST_VERSION || !json_is_array(list))
    {
        snprintf(error, size, "not a list of keys of version %d",
                 KEYLIST_VERSION);
        json_decref(json);
        return -1;
    }

    wrong = NULL;

    json_array_foreach(list, i, item) {
        wrong = keylist_read_entry(keys, item);
        if (wrong != NULL) {
            snprintf(error, size, "key %zu: %s", i + 1, wrong);
            break;
        }
    }

    json_decref(json);

    return wrong == NULL ? 0 : -1;
}
