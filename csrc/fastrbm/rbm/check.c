#include "check.h"

/* Units are counted in 32 bits by the random numbers. */
#define MAX_UNITS ((size_t)1 << 31)

int frbm_rbm_check_shape(const frbm_rbm_t *rbm) {
    if (rbm == NULL || rbm->weights == NULL) return FRBM_ERROR_ARGUMENT;
    if (rbm->dtype != FRBM_FLOAT32 && rbm->dtype != FRBM_FLOAT64) return FRBM_ERROR_DTYPE;
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const frbm_layer_t *layer = frbm_rbm_layer(rbm, side);
        const frbm_unit_t *unit = frbm_unit(layer->unit);
        if (unit == NULL) return FRBM_ERROR_UNIT;
        if (layer->n == 0 || layer->n >= MAX_UNITS) return FRBM_ERROR_ARGUMENT;
        for (int k = 0; k < unit->n_parameters; ++k)
            if (layer->parameters[k] == NULL) return FRBM_ERROR_ARGUMENT;
    }
    return FRBM_OK;
}

int frbm_rbm_check(const frbm_rbm_t *rbm) {
    int rc = frbm_rbm_check_shape(rbm);
    if (rc == FRBM_OK) rc = frbm_layer_check(&rbm->visible, rbm->dtype);
    if (rc == FRBM_OK) rc = frbm_layer_check(&rbm->hidden, rbm->dtype);
    if (rc < 0) return rc;
    if (!frbm_all_finite(rbm->weights, rbm->dtype, rbm->visible.n * rbm->hidden.n))
        return FRBM_ERROR_PARAMETER;
    return FRBM_OK;
}

int frbm_rbm_check_beta(const frbm_rbm_t *rbm, double beta) {
    return frbm_beta_ok(frbm_unit(rbm->visible.unit), beta) &&
                   frbm_beta_ok(frbm_unit(rbm->hidden.unit), beta)
               ? FRBM_OK
               : FRBM_ERROR_BETA;
}

int frbm_array_check(const frbm_array_t *array, size_t n_cols) {
    if (array == NULL || (array->data == NULL && array->n_rows > 0)) return FRBM_ERROR_ARGUMENT;
    if (array->n_cols != n_cols || array->n_rows >= UINT32_MAX) return FRBM_ERROR_ARGUMENT;
    return frbm_dtype_size(array->dtype) == 0 ? FRBM_ERROR_DTYPE : FRBM_OK;
}
