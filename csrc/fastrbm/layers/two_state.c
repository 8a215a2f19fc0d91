#include "two_state.h"

#include <math.h>

/* log-odds of high against low: beta (high - low) (bias + x) */
static double scale_of(const frbm_unit_t *unit, double beta) {
    return beta * (unit->high - unit->low);
}

int frbm_two_state_parameter_ok(int k, double value) {
    (void)k, (void)value; /* every finite bias will do */
    return 1;
}

void frbm_two_state_log_weight(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                               const double *states, double *out) {
    for (size_t i = 0; i < n; ++i) out[i] = frbm_parameter(layer, dtype, 0, first + i) * states[i];
}

void frbm_two_state_variance(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                             const double *inputs, double beta, double *out) {
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    const double width = unit->high - unit->low;
    for (size_t i = 0; i < n; ++i) {
        const double z =
            scale_of(unit, beta) * (frbm_parameter(layer, dtype, 0, first + i) + inputs[i]);
        const double e = exp(-fabs(z));
        out[i] = width * width * e / ((1 + e) * (1 + e));
    }
}

void frbm_two_state_field_energy(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                                 const double *inputs, const double *means, double beta,
                                 double *out, double *variances) {
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    (void)beta; /* the means know it */
    for (size_t i = 0; i < n; ++i) {
        const double field = frbm_parameter(layer, dtype, 0, first + i) + inputs[i];
        out[i] = field * means[i];
        variances[i] = field * field * ((means[i] - unit->low) * (unit->high - means[i]));
    }
}

void frbm_two_state_mean(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                         const frbm_tile_t *tile, double beta, double factor, void *out,
                         size_t ldout) {
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    kernels->real[dtype].two_state_mean(
        tile->n_rows, tile->lanes, tile->inputs, frbm_parameters_from(layer, dtype, 0, tile->first),
        scale_of(unit, beta), unit->low, unit->high, factor, out, ldout);
}

void frbm_two_state_sample(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                           const frbm_tile_t *tile, double beta, const frbm_draw_t *draw,
                           const frbm_target_t *target) {
    const frbm_bits_out_t out = {(uint64_t *)target->states, target->stride / sizeof(uint64_t),
                                 target->keep, target->keep_stride, target->half};
    kernels->real[dtype].two_state_sample(tile->n_rows, tile->lanes, tile->inputs,
                                          frbm_parameters_from(layer, dtype, 0, tile->first),
                                          scale_of(frbm_unit(layer->unit), beta), draw, &out);
}
