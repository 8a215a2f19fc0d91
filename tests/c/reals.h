/* Numbers of either real type, one by one. */
#ifndef FASTRBM_TESTS_REALS_H
#define FASTRBM_TESTS_REALS_H

#include <stddef.h>

#include "fastrbm.h"

static inline double get(const void *p, int dtype, size_t i) {
    return dtype == FRBM_FLOAT32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static inline void set(void *p, int dtype, size_t i, double x) {
    if (dtype == FRBM_FLOAT32)
        ((float *)p)[i] = (float)x;
    else
        ((double *)p)[i] = x;
}

static inline size_t size_of(int dtype) { return dtype == FRBM_FLOAT32 ? 4 : 8; }

#endif
