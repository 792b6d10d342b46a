/*
 * How myservicectl shows what the gateway answers.
 */

#ifndef MYSERVICECTL_SHOW_H
#define MYSERVICECTL_SHOW_H


#include <jansson.h>

#include "myservicectl/commands.h"


/* Members of an object: a text, "-" if it has none; a number, or 0. */
const char *show_text(const json_t *object, const char *name);
int64_t show_number(const json_t *object, const char *name);

void show_json(const json_t *answer);

/* An upstream in three lines, and its waiting line if it has one. */
void show_upstream(const json_t *upstream);

/* Instances as a table: its head, and a line of each. */
void show_head(void);
void show_instance(const json_t *i);

/* One instance with all that is known of it, or its JSON. */
void show_one(const ctl_t *ctl, const json_t *answer);

/* An event on a line, and revocations as a table, or their JSON. */
void show_event(const ctl_t *ctl, const json_t *event);
void show_revocations(const ctl_t *ctl, const json_t *all);


#endif /* MYSERVICECTL_SHOW_H */
