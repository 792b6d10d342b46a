/*
 * What nginx -t says of a configuration.
 */

#ifndef MODULE_T_VERDICT_H
#define MODULE_T_VERDICT_H


/* It must be refused, with [emerg] and the text that says why. */
void refused(const char *conf, const char *text);

/* It must pass, without a warning. */
void accepted(const char *conf);


#endif /* MODULE_T_VERDICT_H */
