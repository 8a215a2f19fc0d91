/* A small model on the heap for tests, every array of exactly its size. */
#ifndef FASTRBM_TESTS_MODEL_H
#define FASTRBM_TESTS_MODEL_H

#include "check.h"
#include "fastrbm.h"

static inline void *floats(size_t n, double scale, double shift) {
    float *p = (float *)block(n * sizeof *p);
    for (size_t i = 0; i < n; ++i) p[i] = (float)(shift + scale * (2 * uniform() - 1));
    return p;
}

static inline frbm_rbm_t make_model(int visible, size_t n, int hidden, size_t p) {
    frbm_rbm_t rbm;
    memset(&rbm, 0, sizeof rbm);
    rbm.dtype = FRBM_FLOAT32;
    rbm.visible.unit = visible;
    rbm.visible.n = n;
    rbm.visible.parameters[0] = floats(n, 0.5, 0);
    rbm.visible.parameters[1] = floats(n, 0.2, 1);
    rbm.hidden.unit = hidden;
    rbm.hidden.n = p;
    rbm.hidden.parameters[0] = floats(p, 0.5, 0);
    rbm.hidden.parameters[1] = floats(p, 0.2, 1);
    rbm.weights = floats(n * p, 0.3 / (double)(n + p), 0);
    return rbm;
}

static inline void free_model(frbm_rbm_t *rbm) {
    for (int k = 0; k < 2; ++k) {
        free((void *)(uintptr_t)rbm->visible.parameters[k]);
        free((void *)(uintptr_t)rbm->hidden.parameters[k]);
    }
    free((void *)(uintptr_t)rbm->weights);
}

#endif
