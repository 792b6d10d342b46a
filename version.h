/*
 * The version of everything in this tree: all programs, the module, packages.
 */

#ifndef MS_VERSION_H
#define MS_VERSION_H


#define MS_VERSION  "1.0.0"


#endif /* MS_VERSION_H */
