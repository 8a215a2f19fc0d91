/* Inputs and energies in double precision whatever the model's type, from a caller's arrays. */
#ifndef FRBM_RBM_ENERGY_H
#define FRBM_RBM_ENERGY_H

#include "check.h"
#include "conditional.h"
#include "states.h"

/* Rows that are worked on at a time. */
#define FRBM_WIDE_ROWS 16

/* inputs[r][j] = sum_i v[row + r][i] W[i][first + j], rows of FRBM_TILE. */
void frbm_wide_inputs(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                      const frbm_array_t *visible, size_t row, size_t n_rows, size_t first,
                      size_t lanes, double *inputs);

/* sum over the units of log-weights of one row. */
double frbm_row_log_weight(const frbm_layer_t *layer, int dtype, const frbm_array_t *states,
                           size_t row);

#endif
