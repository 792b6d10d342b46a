#ifndef BENCH_SVG_H
#define BENCH_SVG_H


#include <stdio.h>
#include <jansson.h>


/* A picture of the CPU that a call takes, by load and contender. */
void svg_write(FILE *out, const json_t *tables, const char *caption);


#endif /* BENCH_SVG_H */
