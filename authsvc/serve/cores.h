/*
 * How many cores this process may use: by its affinity, and by the CPU limit
 * of its control groups.
 */

#ifndef AUTHSVC_SERVE_CORES_H
#define AUTHSVC_SERVE_CORES_H


/* At least 1.  "root" is "", or a test's folder with proc/ and sys/. */
int cores_usable(const char *root);

/* The limit of the control groups, rounded up; 0: no limit. */
int cores_quota(const char *root);


#endif /* AUTHSVC_SERVE_CORES_H */
