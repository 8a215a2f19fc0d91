/*
 * fastrbm.h - Restricted Boltzmann Machines: sampling, energies and training from plain C.
 *
 * The model is
 *
 *     E(v, h) = - sum_{i,mu} v_i W_{i,mu} h_mu - sum_i a_i(v_i) - sum_mu b_mu(h_mu),
 *     p(v, h) = exp(-beta E(v, h)) / Z(beta),
 *
 * with a_i and b_mu the log-weights of the units (see FRBM_BERNOULLI and its siblings below).
 *
 * How to use it: copy csrc/ into your program and compile all of it,
 *
 *     cc -O3 -fopenmp -Icsrc prog.c csrc/fastrbm/<all folders>/<all files>.c -lm
 *
 * Rules of the library
 *   - A function that can fail returns an int: negative is an error (frbm_strerror says which),
 *     zero is success, FRBM_STOPPED says that the poll function asked to stop.
 *   - Nothing is allocated, printed or kept: you own all memory, including workspaces, and there is
 *     no global state. The functions may be called from several threads on separate workspaces.
 *   - States are int8 for discrete units (0/1 or -1/+1) and the model's own type for continuous
 *     ones, row by row. Packing into bits is internal.
 *   - Randomness is a value: frbm_rng_t holds a key and the number of steps done. One key gives the
 *     same numbers for every number of threads, and the same numbers as the Python package.
 *
 * Three tiers follow: Simple (what most programs need), Advanced (plans that keep their packed
 * weights between calls, single layers, training), and at the end the format of byte blocks.
 * Every symbol here is stable within one major version; internal headers are not.
 *
 * Licence: BSD-3-Clause.
 */
#ifndef FASTRBM_H
#define FASTRBM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FRBM_VERSION "0.1.0"

#if defined(__GNUC__) || defined(__clang__)
#define FRBM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define FRBM_MUST_CHECK
#endif

/* ------------------------------------------------------------------------------ status codes */

enum {
    FRBM_OK = 0,
    FRBM_STOPPED = 1, /* the poll function asked to stop; the state is usable */

    FRBM_ERROR_ARGUMENT = -1,  /* an argument is NULL or outside its range */
    FRBM_ERROR_WORKSPACE = -2, /* the workspace is NULL or too small */
    FRBM_ERROR_SIMD = -3,      /* unknown SIMD level, or one this machine lacks */
    FRBM_ERROR_BETA = -4, /* beta must be at most 1e30; >= 0 for discrete pairs, > 0 otherwise */

    FRBM_ERROR_UNIT = -20,      /* unknown unit type */
    FRBM_ERROR_DTYPE = -21,     /* unknown or unsuitable element type */
    FRBM_ERROR_PARAMETER = -22, /* a parameter is not finite, or a precision is not positive */
    FRBM_ERROR_STATE = -23,     /* a value is not a state of its unit */

    FRBM_ERROR_TRUNCATED = -40,  /* the byte block ends too early */
    FRBM_ERROR_MAGIC = -41,      /* not a byte block of this library */
    FRBM_ERROR_FORMAT = -42,     /* a format version this library does not know */
    FRBM_ERROR_ALIGNMENT = -43,  /* the byte block is not aligned to 8 bytes */
    FRBM_ERROR_CORRUPT = -44,    /* sizes or checksum of the byte block do not agree */
    FRBM_ERROR_BYTE_ORDER = -45, /* byte blocks are little-endian, this machine is not */

    FRBM_ERROR_DIVERGED = -60, /* training diverged; the model holds the last good state */
    FRBM_ERROR_RANGE = -61 /* log-weights pass 1e15: double precision cannot tell states apart */
};

/* One English sentence for every code; never NULL. */
const char *frbm_strerror(int code);

/* FRBM_VERSION of the compiled library. */
const char *frbm_version(void);

/* ------------------------------------------------------------------------------- the model */

/*
 * Unit types: states, log-weight, parameters in the order of frbm_layer_t.parameters.
 *
 *   FRBM_BERNOULLI  0, 1    bias v                      bias
 *   FRBM_SPIN      -1, +1   bias s                      bias
 *   FRBM_GAUSSIAN   R       bias h - precision h^2/2    bias, precision
 */
enum { FRBM_BERNOULLI = 0, FRBM_SPIN = 1, FRBM_GAUSSIAN = 2 };

/* Element types. Models are FRBM_FLOAT32 or FRBM_FLOAT64; caller's arrays may be any. */
enum {
    FRBM_FLOAT32 = 0,
    FRBM_FLOAT64 = 1,
    FRBM_INT8 = 2,
    FRBM_UINT8 = 3, /* also C and NumPy booleans */
    FRBM_INT16 = 4,
    FRBM_UINT16 = 5,
    FRBM_INT32 = 6,
    FRBM_UINT32 = 7,
    FRBM_INT64 = 8,
    FRBM_UINT64 = 9
};

#define FRBM_MAX_PARAMETERS 4

typedef struct {
    int unit;                                    /* FRBM_BERNOULLI, ... */
    size_t n;                                    /* number of units: rows of weights on its side */
    const void *parameters[FRBM_MAX_PARAMETERS]; /* n values each, of the model's type */
} frbm_layer_t;

/* A view: it owns nothing. weights[i * hidden.n + mu] couples visible unit i to hidden unit mu. */
typedef struct {
    int dtype; /* FRBM_FLOAT32 or FRBM_FLOAT64 */
    frbm_layer_t visible;
    frbm_layer_t hidden;
    const void *weights;
} frbm_rbm_t;

/*
 * Read a block made by RBM.to_bytes() in Python (layout at the end of this file). The model is a
 * view into the block, which must stay in place, be aligned to 8 bytes and not change. Everything
 * is checked: a block that is truncated, foreign or altered gives a code, never a read past its end.
 */
FRBM_MUST_CHECK int frbm_rbm_from_bytes(frbm_rbm_t *rbm, const void *block, size_t size);

/* FRBM_OK if the types are known, sizes positive and all parameters and weights finite. Two
 * continuous layers also need a positive definite joint precision: that is the caller's to know. */
FRBM_MUST_CHECK int frbm_rbm_check(const frbm_rbm_t *rbm);

/* ------------------------------------------------------------------- how to run, what to draw */

typedef struct frbm_kernels_t frbm_kernels_t;

/* poll: NULL, or called at most every 50 ms by the calling thread; non-zero asks to stop. */
typedef struct {
    const frbm_kernels_t *kernels; /* of one SIMD level, and one way of making products */
    int n_threads; /* OpenMP team, less than 1 counts as 1; results do not depend on it */
    int (*poll)(void *poll_context);
    void *poll_context;
} frbm_exec_t;

/* The best SIMD level of this machine, one thread, no poll function. */
void frbm_exec_init(frbm_exec_t *exec);

/* Choose a level by name: "baseline", "v3", "v4" (x86-64) or "neon" (64-bit ARM). */
FRBM_MUST_CHECK int frbm_exec_set_simd(frbm_exec_t *exec, const char *level);
const char *frbm_exec_simd(const frbm_exec_t *exec);

/* How products of binary states are made: "auto" (at first) takes the cheaper way for each, "tables" looks up
 * partial sums of four or two weights, "rows" adds the selected rows of weights. The numbers are the same, bit
 * for bit. */
FRBM_MUST_CHECK int frbm_exec_set_kernel(frbm_exec_t *exec, const char *path);
const char *frbm_exec_kernel(const frbm_exec_t *exec);

/* The names of the levels that this machine can run, plain first; returns NULL past the last. */
const char *frbm_simd_level(int index);

/* Philox4x32-10 (Salmon et al., SC 2011) with counter (block, row, step low, purpose | step high
 * << 8): a draw depends on these and the key alone. first_chain is the global id of row 0. */
typedef struct {
    uint64_t key;
    uint64_t step;
    uint32_t first_chain;
} frbm_rng_t;

void frbm_rng_init(frbm_rng_t *rng, uint64_t key, uint32_t first_chain);

/* ------------------------------------------------------------------------------------ Simple */

/*
 * n_sweeps of block Gibbs sampling: h given v, then v given h. v (n_chains, n_visible) holds the
 * start and receives the end; h (n_chains, n_hidden), or NULL, receives the hidden states that v
 * was drawn from (untouched when n_sweeps is 0). Advances rng->step by the sweeps done.
 * O(n_sweeps n_chains n_visible n_hidden).
 */
size_t frbm_gibbs_workspace_size(const frbm_rbm_t *rbm, size_t n_chains);
FRBM_MUST_CHECK int frbm_gibbs_sample(const frbm_rbm_t *rbm, size_t n_chains, size_t n_sweeps,
                                      double beta, void *workspace, size_t size,
                                      const frbm_exec_t *exec, frbm_rng_t *rng, void *v, void *h);

/* energies[c] = E(v_c, h_c), without beta, in double precision. */
FRBM_MUST_CHECK int frbm_rbm_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v,
                                    const void *h, const frbm_exec_t *exec, double *energies);

/* energies[c] = - log of the integral over h of exp(-beta E(v_c, h)), in double precision. */
FRBM_MUST_CHECK int frbm_rbm_free_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v,
                                         double beta, const frbm_exec_t *exec, double *energies);

/* ---------------------------------------------------------------------------------- Advanced */

enum { FRBM_VISIBLE = 0, FRBM_HIDDEN = 1 };

/* A caller's array (n_rows, n_cols) of any element type and any strides, in bytes. */
typedef struct {
    const void *data;
    int dtype;
    size_t n_rows, n_cols;
    ptrdiff_t row_stride, col_stride;
} frbm_array_t;

/* Where FRBM_ERROR_STATE happened. */
typedef struct {
    size_t row, col;
    double value;
} frbm_where_t;

/* As above for any array; where may be NULL. */
FRBM_MUST_CHECK int frbm_rbm_energy_of(const frbm_rbm_t *rbm, const frbm_array_t *v,
                                       const frbm_array_t *h, const frbm_exec_t *exec,
                                       double *energies, frbm_where_t *where);
FRBM_MUST_CHECK int frbm_rbm_free_energy_of(const frbm_rbm_t *rbm, const frbm_array_t *v,
                                            double beta, const frbm_exec_t *exec, double *energies,
                                            frbm_where_t *where);

/*
 * The units of one side given states of the other: out (rows, n) receives E[unit | given]
 * (rng NULL) or a draw (rng not NULL; out is then int8 or real, as out_dtype says, and rng->step
 * goes on by one). side is the side that is computed.
 */
size_t frbm_rbm_conditional_workspace_size(const frbm_rbm_t *rbm, int side, size_t n_rows);
FRBM_MUST_CHECK int frbm_rbm_conditional(const frbm_rbm_t *rbm, int side, const frbm_array_t *given,
                                         double beta, void *workspace, size_t size,
                                         const frbm_exec_t *exec, frbm_rng_t *rng, void *out,
                                         int out_dtype, frbm_where_t *where);

/* One layer by itself: values (n_rows, n) of the given inputs or states, in C order. A draw takes
 * rng->step on by one. */
FRBM_MUST_CHECK int frbm_layer_log_weight(const frbm_layer_t *layer, int dtype, size_t n_rows,
                                          const double *states, double *out);
FRBM_MUST_CHECK int frbm_layer_cgf(const frbm_layer_t *layer, int dtype, size_t n_rows,
                                   const double *inputs, double beta, const frbm_exec_t *exec,
                                   double *out);
FRBM_MUST_CHECK int frbm_layer_variance(const frbm_layer_t *layer, int dtype, size_t n_rows,
                                        const double *inputs, double beta, double *out);
FRBM_MUST_CHECK int frbm_layer_mean(const frbm_layer_t *layer, int dtype, size_t n_rows,
                                    const void *inputs, double beta, const frbm_exec_t *exec,
                                    void *out);
FRBM_MUST_CHECK int frbm_layer_sample(const frbm_layer_t *layer, int dtype, size_t n_rows,
                                      const void *inputs, double beta, const frbm_exec_t *exec,
                                      frbm_rng_t *rng, void *out, int out_dtype);

/*
 * A Gibbs chain that keeps its packed weights and states between calls: for programs that take a
 * few sweeps at a time. Set it up once, load or start, then run and store as often as you like.
 * The model must not change while the plan lives (call frbm_gibbs_init again if it does).
 */
typedef struct {
    frbm_rbm_t rbm;
    size_t n_chains;
    void *weights_t;        /* (n_hidden, n_visible), in strips */
    void *visible, *hidden; /* packed states */
    void *keep;             /* clamped units, one bit each, or NULL */
    void *backup;           /* visible, then hidden states before a sweep that takes long */
    size_t visible_stride, hidden_stride, keep_stride;
} frbm_gibbs_t;

FRBM_MUST_CHECK int frbm_gibbs_init(frbm_gibbs_t *gibbs, const frbm_rbm_t *rbm, size_t n_chains,
                                    void *workspace, size_t size);
/* mask (n_chains or 1, n_visible) of 0 and 1, 1 where a unit keeps its value; NULL clears. The packed
 * mask is written to mask_workspace (frbm_gibbs_clamp_size bytes). */
size_t frbm_gibbs_clamp_size(const frbm_rbm_t *rbm, size_t n_rows);
FRBM_MUST_CHECK int frbm_gibbs_clamp(frbm_gibbs_t *gibbs, const frbm_array_t *mask,
                                     void *mask_workspace, size_t size);
/* After an error the states are not defined: load again. */
FRBM_MUST_CHECK int frbm_gibbs_load(frbm_gibbs_t *gibbs, const frbm_array_t *visible,
                                    frbm_where_t *where);
/* Every visible unit from its own bias. Not a step: the first sweep after it is step rng->step. */
FRBM_MUST_CHECK int frbm_gibbs_start(frbm_gibbs_t *gibbs, double beta, const frbm_exec_t *exec,
                                     const frbm_rng_t *rng);
/* Returns FRBM_STOPPED when the poll asked to stop: rng->step tells how many sweeps were done. */
FRBM_MUST_CHECK int frbm_gibbs_run(frbm_gibbs_t *gibbs, size_t n_sweeps, double beta,
                                   const frbm_exec_t *exec, frbm_rng_t *rng);
/* Write the states of one side to out: int8 (discrete units), float32 or float64, any strides. */
FRBM_MUST_CHECK int frbm_gibbs_store(const frbm_gibbs_t *gibbs, int side, void *out, int out_dtype,
                                     ptrdiff_t row_stride, ptrdiff_t col_stride);

/* Two measures of a model. They draw from purposes of their own and leave rng->step alone, so that
 * one rng gives the same numbers at every call.
 *
 * Log pseudo-likelihood sum_i log p(v_i | all other v), nats, per row; discrete visible units.
 * With a rng: one random unit a row, times the number of units (unbiased). O(rows N p). A flip costs a factor for
 * each hidden unit of two states, or a cgf: of Gaussian units, and where a weight times the ranges of both units'
 * states is above 30 log 2. */
size_t frbm_pseudo_likelihood_workspace_size(const frbm_rbm_t *rbm, int n_threads);
FRBM_MUST_CHECK int frbm_pseudo_likelihood(const frbm_rbm_t *rbm, const frbm_array_t *v,
                                           void *workspace, size_t size, const frbm_exec_t *exec,
                                           const frbm_rng_t *rng, double *out, frbm_where_t *where);

/* Mean over units of (v - E[v|h])^2, h drawn given v, per row. O(rows N p). */
size_t frbm_reconstruction_workspace_size(const frbm_rbm_t *rbm, int n_threads);
FRBM_MUST_CHECK int frbm_reconstruction_error(const frbm_rbm_t *rbm, const frbm_array_t *v,
                                              void *workspace, size_t size, const frbm_exec_t *exec,
                                              const frbm_rng_t *rng, double *out,
                                              frbm_where_t *where);

/* ------------------------------------------------------------------------------------- Exact */

/*
 * Exact sums over all states are cut into shards, which model and method alone fix. The sum of a
 * shard is mantissa exp(exponent), and underflow has lost at most lost exp(exponent) of it. Shards
 * may be run in any grouping, order and number of threads: the partial results are the same bits.
 */
typedef struct {
    uint64_t index;
    double exponent, mantissa, lost;
} frbm_partial_t;

/*
 * The three-panel product: sums over the states of n two-state units with pairwise log-weights
 *
 *     linear . x + sum_{i<j} coupling_ij x_i x_j,   x_i = low or high,
 *
 * (any RBM with a Gaussian layer, once that is integrated out). Units 0 .. bits[0] - 1 are group A,
 * then come B and C. One multiply-add a state, no exponential (algorithms/pairwise.c).
 */
typedef struct {
    size_t n;
    double low, high;
    const double *linear, *coupling; /* (n), (n, n) symmetric; diagonal not read. Must stay. */
    int dtype;                       /* of the panels' product: FRBM_FLOAT32 or FRBM_FLOAT64 */
    unsigned bits[3], tile_bits[3];  /* of the groups; of a shard's share of them */
    size_t n_shards;
    double *own[3]; /* log-weights of the states of each group by itself */
} frbm_pairwise_t;

/* Multiply panel k by (its log-weight - centre[k])^power[k]: moments of the energy. The panels are
 * A with A-B, B with B-C, C with C-A. NULL stands for powers 0. */
typedef struct {
    int power[3];
    double centre[3];
} frbm_pairwise_powers_t;

#define FRBM_PAIRWISE_MAX_UNITS 60

/* bits: sizes of the three groups, or NULL for even ones. */
size_t frbm_pairwise_size(size_t n, const unsigned *bits);
FRBM_MUST_CHECK int frbm_pairwise_init(frbm_pairwise_t *plan, size_t n, double low, double high,
                                       const double *linear, const double *coupling, int dtype,
                                       const unsigned *bits, void *memory, size_t size);

/* Bound of the relative rounding error of a sum over all shards, exponents apart. */
double frbm_pairwise_relative_error(const frbm_pairwise_t *plan);

/*
 * The sums of n_indices shards. The inner index is cut into blocks of 2^block_bits states, each
 * with maxima of its own to guard its range: at most plan->tile_bits[2]; fewer lose less and cost
 * more, 0 loses nothing (an exact log-sum-exp, an exponential a state).
 */
size_t frbm_pairwise_workspace_size(const frbm_pairwise_t *plan, int n_threads);
FRBM_MUST_CHECK int frbm_pairwise_run(const frbm_pairwise_t *plan, size_t n_indices,
                                      const uint64_t *indices, unsigned block_bits,
                                      const frbm_pairwise_powers_t *powers, void *workspace,
                                      size_t size, const frbm_exec_t *exec,
                                      frbm_partial_t *partials);

/*
 * Moments of the K = bits[0] + bits[1] units of A and B over all shards: out holds
 *     log Z, mean and variance of panel A's log-weight (with_energy, else 0), mean[K], second[K][K],
 * partials (n_shards) the sums of the shards. block_bits: one a shard, or NULL for the largest. Two
 * thirds of the pairs: the rest come from plans with the groups in other places.
 */
#define FRBM_PAIRWISE_MOMENTS(K) (3 + (K) + (K) * (K))
size_t frbm_pairwise_moments_workspace_size(const frbm_pairwise_t *plan, int n_threads);
FRBM_MUST_CHECK int frbm_pairwise_moments(const frbm_pairwise_t *plan, const uint8_t *block_bits,
                                          int with_energy, void *workspace, size_t size,
                                          const frbm_exec_t *exec, frbm_partial_t *partials,
                                          double *out);

/* The states of A, B and C that a shard begins with. */
void frbm_pairwise_place(const frbm_pairwise_t *plan, uint64_t index, uint64_t first[3]);

/*
 * What the pairs of states of A and B weigh in block number `block` of a shard: weights[a][b]
 * exp(exponents[b]), for 2^tile_bits[0] states a and 2^tile_bits[1] states b. One thread's
 * workspace.
 */
FRBM_MUST_CHECK int frbm_pairwise_tile(const frbm_pairwise_t *plan, uint64_t index,
                                       unsigned block_bits, size_t block, void *workspace,
                                       size_t size, const frbm_exec_t *exec, double *exponents,
                                       double *weights);

/*
 * The split product: all 2^n states of the discrete layer on `side` (n <= 60), the other layer
 * summed or integrated in closed form. Z(beta) is the sum over all shards. One add and one multiply
 * per state and unit of a two-state other layer, whose m factors are products of tables over
 * half-states; other unit types go through their cgf. O(2^n m).
 *
 * The workspace keeps tables for n_threads threads and serves one call at a time; the model's arrays are read at every call, so
 * they may change between calls, but must stay where they are.
 */
typedef struct {
    frbm_rbm_t rbm;
    int side;
    int n_threads;
    uint64_t n_shards;
    double n_state_units;               /* 2^n m */
    double error_bound;                 /* of the last call: rounding of log Z, in nats */
    struct frbm_split_buffers *buffers; /* inside the workspace */
} frbm_split_t;

size_t frbm_split_workspace_size(const frbm_rbm_t *rbm, int side, int n_threads);
FRBM_MUST_CHECK int frbm_split_init(frbm_split_t *split, const frbm_rbm_t *rbm, int side,
                                    int n_threads, void *workspace, size_t size);
/* partials[i] is the sum over shard indices[i]: the same bits in whatever calls shards come. */
FRBM_MUST_CHECK int frbm_split_run(frbm_split_t *split, double beta, uint64_t n,
                                   const uint64_t *indices, const frbm_exec_t *exec,
                                   frbm_partial_t *partials);
/* Log-weights of the states first .. first + n - 1, whose unit i is high where bit i of the number
 * is set: Z = sum of exp(out) over all states. */
FRBM_MUST_CHECK int frbm_split_log_weights(frbm_split_t *split, double beta, uint64_t first,
                                           uint64_t n, const frbm_exec_t *exec, double *out);

/*
 * Means under the joint law of both layers. Members that are NULL are left out. energy needs the
 * cgf of every unit in every state, some twenty times the work of all other means.
 */
typedef struct {
    double *products;            /* <v_i h_mu>, (n_visible, n_hidden) */
    double *visible, *hidden;    /* <v_i>, <h_mu> */
    double *enumerated_products; /* <x_i x_k> of the enumerated layer, (n, n) */
    double *energy; /* 3: <E>, Var(E), and what of it is the other layer's, <Var(E | x)> */
} frbm_moments_t;

FRBM_MUST_CHECK int frbm_split_moments(frbm_split_t *split, double beta, const frbm_exec_t *exec,
                                       const frbm_moments_t *moments, double *log_z);

/* ---------------------------------------------------------------------------------- Training */

/* Rows to learn from: packed bits for discrete visible units, or values used as they are (reals,
 * or probabilities of Bernoulli units). */
typedef struct {
    int packed;
    const uint64_t
        *bits; /* packed: n_rows rows of ceil(n_visible / 64) words, 0 after the last unit */
    frbm_array_t values; /* not packed */
    size_t n_rows;
} frbm_data_t;

size_t frbm_data_packed_size(const frbm_rbm_t *rbm, size_t n_rows);
FRBM_MUST_CHECK int frbm_data_pack(const frbm_rbm_t *rbm, const frbm_array_t *array,
                                   const frbm_exec_t *exec, uint64_t *bits, frbm_where_t *where);

/* Largest eigenvalue of <v v^T> on at most max_rows evenly spaced rows; buffer: 3 n_visible
 * doubles. Power iteration to a relative change of 1e-6, at most 200 rounds, polled after each. */
FRBM_MUST_CHECK int frbm_data_leading_eigenvalue(const frbm_rbm_t *rbm, const frbm_data_t *data,
                                                 size_t max_rows, double *buffer,
                                                 const frbm_exec_t *exec, double *out);

/* What does not move in training: the weights, or learned parameter k of a side's layer. */
#define FRBM_FREEZE_WEIGHTS 1
#define FRBM_FREEZE(side, k) (2 << ((side) * FRBM_MAX_PARAMETERS + (k)))

/*
 * Where the model term of the gradient comes from instead of chains: the exact moments of a model,
 * say. It is called by the thread that called frbm_train_epoch, before every update and outside any
 * team, with the present model, and writes double precision in C order:
 *
 *     products   (n_visible, n_hidden)   <v h>
 *     visible    (n_visible,)            <d w / d parameter>, w the unit's log-weight: <v> for a bias,
 *     hidden     (n_hidden,)             one row for each learned parameter of the layer
 *
 * It returns FRBM_OK, FRBM_STOPPED to end the epoch before this update, or a negative code, which
 * frbm_train_epoch hands on: FRBM_ERROR_DIVERGED if the model cannot be normalised any more.
 */
typedef int (*frbm_moments_fn)(void *context, const frbm_rbm_t *rbm, const frbm_exec_t *exec,
                               double *products, double *visible, double *hidden);

typedef struct {
    size_t k; /* sweeps of the negative phase */
    size_t batch_size;
    int persistent;  /* PCD: chains go on from update to update */
    int samples;     /* draw h in the model term instead of its mean */
    size_t n_chains; /* persistent only */
    double momentum; /* velocity = momentum velocity + gradient - weight_decay W */
    double weight_decay;
    double max_norm; /* largest Euclidean norm of the gradient; 0: no limit */
    int frozen;      /* FRBM_FREEZE_WEIGHTS | FRBM_FREEZE(...) */

    frbm_moments_fn moments; /* NULL: chains. Else no chains: k, persistent, samples are zero */
    void *moments_context;
} frbm_train_options_t;

/*
 * Contrastive divergence (Hinton 2002) and its persistent form (Tieleman 2008):
 *
 *     gradient = <v E[h|v]>_batch - <v_k E[h|v_k]>_chains,   parameter += learning_rate velocity,
 *
 * or with a source of moments, <v E[h|v]>_batch - <v h>_model: the exact gradient of the likelihood.
 *
 * The model's arrays, which must be writable, receive the current parameters at the end of every
 * epoch, at a stop, and at every divergence check (at most 256 updates apart; with a source of
 * moments at every update), so that they always hold the last good state. frbm_train_epoch reads them
 * at its start.
 */
typedef struct {
    frbm_rbm_t rbm;
    frbm_data_t data;
    frbm_train_options_t options;
    uint64_t n_updates;   /* whole updates that made the model */
    double step_norm_sum; /* sum over this epoch's updates of the squared norm of the step of W */
    size_t epoch_updates; /* whole updates of this epoch */
    size_t last_chains;   /* rows of the last negative phase */
    struct frbm_train_buffers *buffers; /* inside the workspace */
} frbm_train_t;

size_t frbm_train_workspace_size(const frbm_rbm_t *rbm, const frbm_data_t *data,
                                 const frbm_train_options_t *options, int n_threads);
FRBM_MUST_CHECK int frbm_train_init(frbm_train_t *train, const frbm_rbm_t *rbm,
                                    const frbm_data_t *data, const frbm_train_options_t *options,
                                    int n_threads, void *workspace, size_t size);
/* Persistent chains: from data rows drawn by the key, or from the caller's array. */
FRBM_MUST_CHECK int frbm_train_start_chains(frbm_train_t *train, const frbm_rng_t *rng);
FRBM_MUST_CHECK int frbm_train_load_chains(frbm_train_t *train, const frbm_array_t *visible,
                                           frbm_where_t *where);
/* One pass over the data in the random order of (key, epoch). FRBM_STOPPED: the poll asked to stop;
 * FRBM_ERROR_DIVERGED: not finite; in both cases the model holds a usable state. */
FRBM_MUST_CHECK int frbm_train_epoch(frbm_train_t *train, uint64_t epoch, double learning_rate,
                                     const frbm_exec_t *exec, uint64_t key);
/* <v E[h|v]> over all rows at the present model, the data term of the likelihood's gradient, and its
 * parts for the layers' learned parameters; shapes as for frbm_moments_fn. batch_size must not be
 * below the number of rows. Nothing moves. */
FRBM_MUST_CHECK int frbm_train_data_term(frbm_train_t *train, const frbm_exec_t *exec,
                                         double *products, double *visible, double *hidden);
/* Visible states after the last negative phase: last_chains rows; none with a source of moments. */
FRBM_MUST_CHECK int frbm_train_store_chains(const frbm_train_t *train, void *out, int out_dtype,
                                            ptrdiff_t row_stride, ptrdiff_t col_stride);

/* -------------------------------------------------------------------------------- Byte blocks */

/*
 * Little-endian, every array padded with zeros to a multiple of 8 bytes:
 *
 *     0  char[8]   "FRBMRBM" and a zero byte
 *     8  uint32    format version, 1
 *    12  uint32    element type, FRBM_FLOAT32 or FRBM_FLOAT64
 *    16  uint32    visible unit type
 *    20  uint32    hidden unit type
 *    24  uint64    n_visible
 *    32  uint64    n_hidden
 *    40  uint64    size of the whole block in bytes
 *    48  uint64    checksum: FNV-1a over the 64-bit words before and after this one
 *    56  the parameters of the visible layer, of the hidden layer, then the weights
 */
#define FRBM_BLOCK_HEADER 56

size_t frbm_rbm_block_size(const frbm_rbm_t *rbm);
FRBM_MUST_CHECK int frbm_rbm_to_bytes(const frbm_rbm_t *rbm, void *block, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* FASTRBM_H */
