/*
 * Gaussian units: real states, log-weight bias h - precision h^2 / 2.
 *
 *     cgf(x, beta) = beta (bias + x)^2 / (2 precision) + log(2 pi / (beta precision)) / 2,
 *     p(h) = N((bias + x) / precision, 1 / (beta precision))
 */
#include <math.h>

#include "fastrbm/core/numerics.h"
#include "unit.h"

enum { BIAS = 0, PRECISION = 1 };

static int parameter_ok(int k, double value) { return k != PRECISION || value > 0; }

static void log_weight(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                       const double *states, double *out) {
    for (size_t i = 0; i < n; ++i)
        out[i] = states[i] * (frbm_parameter(layer, dtype, BIAS, first + i) -
                              0.5 * frbm_parameter(layer, dtype, PRECISION, first + i) * states[i]);
}

static void cgf(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels, size_t first,
                size_t n, const double *inputs, double beta, double *out) {
    (void)kernels;
    for (size_t i = 0; i < n; ++i) {
        const double field = frbm_parameter(layer, dtype, BIAS, first + i) + inputs[i];
        const double precision = frbm_parameter(layer, dtype, PRECISION, first + i);
        out[i] = 0.5 * (beta * field * field / precision + FRBM_LOG_2PI - log(beta * precision));
    }
}

static void variance(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                     const double *inputs, double beta, double *out) {
    (void)inputs;
    for (size_t i = 0; i < n; ++i)
        out[i] = 1 / (beta * frbm_parameter(layer, dtype, PRECISION, first + i));
}

/* w + x h = precision (m^2 - (h - m)^2) / 2, m the mean. */
static void field_energy(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                         const double *inputs, const double *means, double beta, double *out,
                         double *variances) {
    (void)inputs;
    for (size_t i = 0; i < n; ++i) {
        const double precision = frbm_parameter(layer, dtype, PRECISION, first + i);
        out[i] = 0.5 * (precision * means[i] * means[i] - 1 / beta);
        variances[i] = 0.5 / (beta * beta);
    }
}

static void mean(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                 const frbm_tile_t *tile, double beta, double factor, void *out, size_t ldout) {
    (void)beta;
    kernels->real[dtype].gaussian_mean(tile->n_rows, tile->lanes, tile->inputs,
                                       frbm_parameters_from(layer, dtype, BIAS, tile->first),
                                       frbm_parameters_from(layer, dtype, PRECISION, tile->first),
                                       factor, out, ldout);
}

static void sample(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                   const frbm_tile_t *tile, double beta, const frbm_draw_t *draw,
                   const frbm_target_t *target) {
    kernels->real[dtype].gaussian_sample(
        tile->n_rows, tile->lanes, tile->inputs,
        frbm_parameters_from(layer, dtype, BIAS, tile->first),
        frbm_parameters_from(layer, dtype, PRECISION, tile->first), beta, draw, target->states,
        target->stride / frbm_real_size(dtype), target->keep, target->keep_stride);
}

const frbm_unit_t frbm_gaussian = {"gaussian",
                                   2,
                                   {"bias", "precision", NULL, NULL},
                                   1,
                                   FRBM_STORE_REALS,
                                   0,
                                   0,
                                   parameter_ok,
                                   log_weight,
                                   cgf,
                                   variance,
                                   field_energy,
                                   mean,
                                   sample,
                                   frbm_state_gradient_of_bias,
                                   frbm_input_gradient_of_bias};
