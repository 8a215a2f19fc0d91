/* The table of unit types, and what several of them share. */
#include "unit.h"

#include <math.h>

#include "fastrbm/core/bits.h"

/* Colder than any state can tell from zero temperature, and still finite in single precision. */
#define MAX_BETA 1e30

const frbm_unit_t *frbm_unit(int unit) {
    switch (unit) {
    case FRBM_BERNOULLI:
        return &frbm_bernoulli;
    case FRBM_SPIN:
        return &frbm_spin;
    case FRBM_GAUSSIAN:
        return &frbm_gaussian;
    default:
        return NULL;
    }
}

int frbm_layer_check(const frbm_layer_t *layer, int dtype) {
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    if (unit == NULL) return FRBM_ERROR_UNIT;
    if (dtype != FRBM_FLOAT32 && dtype != FRBM_FLOAT64) return FRBM_ERROR_DTYPE;
    if (layer->n == 0) return FRBM_ERROR_ARGUMENT;
    for (int k = 0; k < unit->n_parameters; ++k) {
        if (layer->parameters[k] == NULL) return FRBM_ERROR_ARGUMENT;
        for (size_t i = 0; i < layer->n; ++i) {
            const double value = frbm_parameter(layer, dtype, k, i);
            if (!isfinite(value) || !unit->parameter_ok(k, value)) return FRBM_ERROR_PARAMETER;
        }
    }
    return FRBM_OK;
}

int frbm_beta_ok(const frbm_unit_t *unit, double beta) {
    return beta <= MAX_BETA && (frbm_unit_is_discrete(unit) ? beta >= 0 : beta > 0);
}

void frbm_state_gradient_of_bias(const frbm_layer_t *layer, int dtype,
                                 const frbm_kernels_t *kernels, size_t begin, size_t end,
                                 const void *states, size_t n_rows, size_t row_stride,
                                 double factor, double *sums) {
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    const size_t words = frbm_bit_words(n_rows);
    for (size_t first = begin; first < end; first += FRBM_TILE) {
        const size_t n = end - first < FRBM_TILE ? end - first : FRBM_TILE;
        if (frbm_unit_is_discrete(unit)) {
            uint32_t ones[FRBM_TILE];
            kernels->count_bits((const uint64_t *)states + first * words, words, n, ones);
            for (size_t j = 0; j < n; ++j)
                sums[first + j] +=
                    factor * frbm_sum_of_states(unit, (double)ones[j], (double)n_rows);
        } else {
            double sum[FRBM_TILE] = {0};
            for (size_t r = 0; r < n_rows; ++r) {
                const char *row = (const char *)states + r * row_stride;
                for (size_t j = 0; j < n; ++j) sum[j] += frbm_real_get(row, dtype, first + j);
            }
            for (size_t j = 0; j < n; ++j) sums[first + j] += factor * sum[j];
        }
    }
}

void frbm_input_gradient_of_bias(const frbm_layer_t *layer, int dtype,
                                 const frbm_kernels_t *kernels, const frbm_tile_t *tile,
                                 double beta, double factor, const void *means, size_t ldmeans,
                                 double *sums) {
    (void)layer, (void)beta, (void)factor; /* the means carry the factor */
    kernels->real[dtype].sum_rows(tile->n_rows, tile->lanes, means, ldmeans, sums + tile->first);
}
