/*
 * Unit types behind one table. A unit type says what its states are, how they are stored, and how
 * they follow from inputs; samplers and trainers know nothing else about it. To add one: a file
 * like gaussian.c, a line in units.c, a constant in fastrbm.h.
 *
 * With w(s) the log-weight of state s, the law of a unit with input x at inverse temperature beta
 * is p(s) = exp(beta (w(s) + x s) - cgf(x, beta)), so that cgf' = beta mean, cgf'' = beta^2 variance.
 */
#ifndef FRBM_LAYERS_UNIT_H
#define FRBM_LAYERS_UNIT_H

#include "fastrbm.h"
#include "fastrbm/core/array.h"
#include "fastrbm/kernels/kernels.h"

/* How the states of a layer are stored: bits that stand for 0/1 or for -1/+1, or reals. */
enum frbm_storage { FRBM_STORE_BITS, FRBM_STORE_SIGNS, FRBM_STORE_REALS };

/* A tile: rows of FRBM_TILE inputs of the units first .. first + lanes - 1 of a layer. */
typedef struct {
    size_t first, lanes, n_rows;
    const void *inputs;
} frbm_tile_t;

/* Where sampled states go, and which of them keep their value. */
typedef struct {
    void *states;         /* first row and first unit of the tile */
    size_t stride;        /* bytes of a row */
    const uint64_t *keep; /* first row, the word that the tile is in; or NULL */
    size_t keep_stride;   /* in words; 0: one mask for all rows */
    int half;             /* of bits: only half of each word, see FRBM_HALF_TILE */
} frbm_target_t;

typedef struct {
    const char *name;
    int n_parameters;
    const char *parameter_names[FRBM_MAX_PARAMETERS];
    int n_learned; /* the first so many parameters move in training */
    enum frbm_storage storage;
    double low, high; /* the two states, where storage is not FRBM_STORE_REALS */

    /* Is this value allowed for parameter number k? */
    int (*parameter_ok)(int k, double value);

    /* The n units from first on, one row, in double precision; out may be the input. */
    void (*log_weight)(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                       const double *states, double *out);
    void (*cgf)(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels, size_t first,
                size_t n, const double *inputs, double beta, double *out);
    void (*variance)(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                     const double *inputs, double beta, double *out);
    /* Mean and variance of w(s) + x s, given the inputs x and the means of s. */
    void (*field_energy)(const frbm_layer_t *layer, int dtype, size_t first, size_t n,
                         const double *inputs, const double *means, double beta, double *out,
                         double *variances);

    /* A tile in the model's type. mean: out[r ldout + j] = factor E[s_j]. */
    void (*mean)(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                 const frbm_tile_t *tile, double beta, double factor, void *out, size_t ldout);
    void (*sample)(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                   const frbm_tile_t *tile, double beta, const frbm_draw_t *draw,
                   const frbm_target_t *target);

    /* Gradients of the learned parameters: sums[k n + j] += factor sum_rows (d w / d parameter k)
     * for the states of the units [begin, end), respectively its mean for a tile of inputs whose
     * means, times factor, are given. Bits come transposed, row j the states of unit j; reals by
     * rows of row_stride bytes. */
    void (*state_gradient)(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                           size_t begin, size_t end, const void *states, size_t n_rows,
                           size_t row_stride, double factor, double *sums);
    void (*input_gradient)(const frbm_layer_t *layer, int dtype, const frbm_kernels_t *kernels,
                           const frbm_tile_t *tile, double beta, double factor, const void *means,
                           size_t ldmeans, double *sums);
} frbm_unit_t;

extern const frbm_unit_t frbm_bernoulli, frbm_spin, frbm_gaussian;

/* NULL for an unknown type. */
const frbm_unit_t *frbm_unit(int unit);

/* FRBM_OK if the type is known, the layer not empty and every parameter allowed. */
int frbm_layer_check(const frbm_layer_t *layer, int dtype);

static inline int frbm_unit_is_discrete(const frbm_unit_t *unit) {
    return unit->storage != FRBM_STORE_REALS;
}

/* Is beta allowed where this unit occurs? */
int frbm_beta_ok(const frbm_unit_t *unit, double beta);

/* Can states of this unit be written as out_dtype? int8 for discrete ones, reals for all. */
static inline int frbm_unit_can_store(const frbm_unit_t *unit, int out_dtype) {
    return out_dtype == FRBM_FLOAT32 || out_dtype == FRBM_FLOAT64 ||
           (out_dtype == FRBM_INT8 && frbm_unit_is_discrete(unit));
}

static inline double frbm_real_get(const void *p, int dtype, size_t i) {
    return dtype == FRBM_FLOAT32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

/* Parameter k of unit i. */
static inline double frbm_parameter(const frbm_layer_t *layer, int dtype, int k, size_t i) {
    return frbm_real_get(layer->parameters[k], dtype, i);
}

/* Parameter k from unit first on. */
static inline const void *frbm_parameters_from(const frbm_layer_t *layer, int dtype, int k,
                                               size_t first) {
    return (const char *)layer->parameters[k] + first * frbm_real_size(dtype);
}

/* The sum of the states of a discrete unit that is in its upper one in `ones` of n_rows rows. */
static inline double frbm_sum_of_states(const frbm_unit_t *unit, double ones, double n_rows) {
    return unit->high * ones + unit->low * (n_rows - ones);
}

/* Where the log-weight is linear in the only learned parameter, bias times state: the gradient is
 * the sum of the states, respectively of their means. */
void frbm_state_gradient_of_bias(const frbm_layer_t *layer, int dtype,
                                 const frbm_kernels_t *kernels, size_t begin, size_t end,
                                 const void *states, size_t n_rows, size_t row_stride,
                                 double factor, double *sums);
void frbm_input_gradient_of_bias(const frbm_layer_t *layer, int dtype,
                                 const frbm_kernels_t *kernels, const frbm_tile_t *tile,
                                 double beta, double factor, const void *means, size_t ldmeans,
                                 double *sums);

#endif
