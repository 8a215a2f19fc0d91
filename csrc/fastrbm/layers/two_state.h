/* What Bernoulli and Spin units share: a state is low or high, with log-odds scale (bias + x). */
#ifndef FRBM_LAYERS_TWO_STATE_H
#define FRBM_LAYERS_TWO_STATE_H

#include "unit.h"

int frbm_two_state_parameter_ok(int k, double value);
void frbm_two_state_log_weight(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                               const double *states, double *out);
void frbm_two_state_variance(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                             const double *inputs, double beta, double *out);
void frbm_two_state_field_energy(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                                 const double *inputs, const double *means, double beta,
                                 double *out, double *variances);
void frbm_two_state_mean(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                         const frbm_tile_t *tile, double beta, double factor, void *out,
                         size_t ldout);
void frbm_two_state_sample(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                           const frbm_tile_t *tile, double beta, const frbm_draw_t *draw,
                           const frbm_target_t *target);

#endif
