/* Who could connect to a port, by the kernel's tables. */

#ifndef ITESTS_T_LISTENING_H
#define ITESTS_T_LISTENING_H


/* How many addresses "port" is listened to on: all of them, and those that are
 * not the loopback's. */
int listening(int port, int *all);


#endif /* ITESTS_T_LISTENING_H */
