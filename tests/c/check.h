/* A failed check says where and ends the program with 1: no test framework is needed. */
#ifndef FASTRBM_TESTS_CHECK_H
#define FASTRBM_TESTS_CHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_CLOSE(a, b, tolerance) CHECK(fabs((double)(a) - (double)(b)) <= (tolerance))

/* Exactly n bytes on the heap, so that a sanitizer sees the first one past the end. */
static inline void *block(size_t n) {
    void *p = malloc(n > 0 ? n : 1);
    CHECK(p != NULL);
    return p;
}

/* A small generator for test inputs (xorshift, Marsaglia 2003). */
static inline double uniform(void) {
    static unsigned long long state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) / 9007199254740992.0;
}

#endif
