/*
 * The service of the fake instance: its descriptor, and its file as reflection
 * shows it.
 */

#ifndef BACKENDCHECK_T_DESCRIBE_H
#define BACKENDCHECK_T_DESCRIBE_H


#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>


extern const ProtobufCServiceDescriptor  describe_fake;

/* A serialized FileDescriptorSet, to be freed. */
uint8_t *describe(size_t *len);


#endif /* BACKENDCHECK_T_DESCRIBE_H */
