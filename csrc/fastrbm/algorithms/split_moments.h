/*
 * Means of a split product. All of them are sums over states of the weight p times bits, and times
 * the probability q_j of a unit's high state; with D_j = p / (u_j + y_j), the product of all other
 * factors,
 *
 *     p (1 - q_j) = u_j D_j,     p q_j = y_j D_j,
 *
 * so that sums over lanes of D_j, and over rows, are all that is needed: products of the factors
 * before j and after j, without a division for each unit (reverse-mode differentiation of the
 * product). The states are cut into pieces that follow from the model's shape alone; each piece has
 * its own totals, which are added in order.
 */
#ifndef FRBM_ALGORITHMS_SPLIT_MOMENTS_H
#define FRBM_ALGORITHMS_SPLIT_MOMENTS_H

#include "split.h"

#define FRBM_SPLIT_PIECES 16

/* Totals of a piece. products: row 0 sum p q_j, row 1 + k the same where bit k is set; column
 * m is p itself. Where states go one by one, x_k takes the place of bit k and the mean that of q_j. */
typedef struct {
    double *products; /* (n + 1, ldt) */
    double *pairs;    /* (n, n): sum p bit_i bit_k, or p x_i x_k */
    /* of the energy of a state, given the enumerated layer: weight, mean, spread about the mean
     * times weight, sum p times the variance given the enumerated layer */
    double weight, mean, spread, inner;
    frbm_running_scaled_t sum; /* of the weights */
    double exponent;           /* states: of the weights, in nats */
} frbm_split_totals_t;

struct frbm_split_moments {
    size_t ldt, n_pieces;
    frbm_split_totals_t totals[FRBM_SPLIT_PIECES];
    uint32_t *blocks; /* of narrow units and the column after them */
    size_t n_blocks;
    double *lane_bits; /* (n_lanes, FRBM_FACTOR_PADDING): bit k of each lane */
    int with_pairs, with_energy;
    /* weights are f 2^(exponents - shift) / scale */
    double shift, scale;
};

void frbm_split_moments_lay_out(frbm_workspace_t *w, struct frbm_split_buffers *b);
/* Doubles of scratch that each thread brings for them. */
size_t frbm_split_moments_scratch(const struct frbm_split_buffers *b);

/* The share of a piece in `n` things. */
static inline uint64_t frbm_split_piece(const struct frbm_split_buffers *b, size_t piece,
                                        uint64_t n) {
    return n / b->moments->n_pieces * piece; /* both are powers of two */
}

/* Totals of one piece, states one by one, given log Z. */
void frbm_split_states_moments(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                               double beta, size_t piece, double log_z, int with_products,
                               double *scratch, frbm_stop_t *stop, const frbm_team_t *team);

#endif
