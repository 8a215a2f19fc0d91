/*
 * Bernoulli units: states 0 and 1, log-weight bias v.
 *
 *     cgf(x, beta) = log(1 + exp(beta (bias + x))),   p(1) = sigmoid(beta (bias + x))
 */
#include "two_state.h"

static void cgf(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels, size_t first,
                size_t n, const double *inputs, double beta, double *out) {
    for (size_t i = 0; i < n; ++i)
        out[i] = beta * (frbm_parameter(layer, dtype, 0, first + i) + inputs[i]);
    kernels->softplus(n, out, out);
}

const frbm_unit_t frbm_bernoulli = {"bernoulli",
                                    1,
                                    {"bias", NULL, NULL, NULL},
                                    1,
                                    FRBM_STORE_BITS,
                                    0,
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
