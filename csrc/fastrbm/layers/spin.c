/*
 * Spin units: states -1 and +1, log-weight bias s.
 *
 *     cgf(x, beta) = log(2 cosh(beta (bias + x))),   p(+1) = sigmoid(2 beta (bias + x))
 *
 * log(2 cosh y) = softplus(2 y) - y, which overflows nowhere.
 */
#include "two_state.h"

static void cgf(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels, size_t first,
                size_t n, const double *inputs, double beta, double *out) {
    double y[FRBM_TILE], z[FRBM_TILE];
    for (size_t i = 0; i < n; i += FRBM_TILE) {
        const size_t m = n - i < FRBM_TILE ? n - i : FRBM_TILE;
        for (size_t j = 0; j < m; ++j) {
            y[j] = beta * (frbm_parameter(layer, dtype, 0, first + i + j) + inputs[i + j]);
            z[j] = 2 * y[j];
        }
        kernels->softplus(m, z, z);
        for (size_t j = 0; j < m; ++j) out[i + j] = z[j] - y[j];
    }
}

const frbm_unit_t frbm_spin = {"spin",
                               1,
                               {"bias", NULL, NULL, NULL},
                               1,
                               FRBM_STORE_SIGNS,
                               -1,
                               1,
                               frbm_two_state_parameter_ok,
                               frbm_two_state_log_weight,
                               cgf,
                               frbm_two_state_variance,
                               frbm_two_state_field_energy,
                               frbm_two_state_mean,
                               frbm_two_state_sample,
                               frbm_state_gradient_of_bias,
                               frbm_input_gradient_of_bias};
