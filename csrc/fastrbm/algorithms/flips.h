/* The log-odds of flips of two-state visible units by products instead of cgfs; see flips.c. */
#ifndef FRBM_ALGORITHMS_FLIPS_H
#define FRBM_ALGORITHMS_FLIPS_H

#include "fastrbm/rbm/energy.h"

/* Rows of a block: what is made of the weights serves all of them. */
#define FRBM_FLIP_ROWS 64

/* Are both layers of two-state units, and the weights small enough for products? */
int frbm_flips_fit(const frbm_rbm_t *rbm);

/* Bytes, aligned to 64, that frbm_flips_log_conditionals works in. */
size_t frbm_flips_bytes(const frbm_rbm_t *rbm);

/* For the rows [row, row + n_rows), at most FRBM_FLIP_ROWS: out[row + r] = sum_i log p(v_i | v_-i), or, with a
 * stream, n log p(v_i | v_-i) of the unit that it draws for the row. */
void frbm_flips_log_conditionals(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                                 const frbm_array_t *v, const frbm_stream_t *stream, size_t row,
                                 size_t n_rows, void *workspace, double *out);

#endif
