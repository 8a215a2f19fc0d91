/* Cheap checks of a model and of arrays that meet it. */
#ifndef FRBM_RBM_CHECK_H
#define FRBM_RBM_CHECK_H

#include "fastrbm.h"
#include "fastrbm/layers/unit.h"

/* Types, sizes and pointers; the values are not read. */
int frbm_rbm_check_shape(const frbm_rbm_t *rbm);

/* beta for both layers. */
int frbm_rbm_check_beta(const frbm_rbm_t *rbm, double beta);

/* Element type and number of columns of an array of states of this layer. */
int frbm_array_check(const frbm_array_t *array, size_t n_cols);

static inline const frbm_layer_t *frbm_rbm_layer(const frbm_rbm_t *rbm, int side) {
    return side == FRBM_HIDDEN ? &rbm->hidden : &rbm->visible;
}

/* The element type of a layer's states in the simple tier. */
static inline int frbm_state_dtype(const frbm_layer_t *layer, int dtype) {
    return frbm_unit_is_discrete(frbm_unit(layer->unit)) ? FRBM_INT8 : dtype;
}

#endif
