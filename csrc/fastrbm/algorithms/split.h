/*
 * The inside of frbm_split_t: sums over all states x of a discrete layer of n units, the m units of
 * the other layer summed or integrated in closed form.
 *
 * State number s has unit i high where bit i of s is set: x_i = low + (high - low) bit_i. The low
 * bits are a lane, the others a row; a shard is a range of rows. With a two-state other layer,
 *
 *     weight(x) = exp(constant + sum_i linear_i bit_i) prod_j (1 + exp(t_j)),
 *     t_j = beta (high' - low') (bias_j + sum_i W_ij x_i) = t_j(row) + t_j(lane),
 *
 * and 1 + exp(t) = exp(t_row + s) (u + y) with u = exp(-t_row - s), y = exp(t_lane - s): one add and
 * one multiply per state and unit, all terms positive. The shift s centres the range of u + y about
 * 1, so that the range of a product is known beforehand: units are multiplied in blocks that
 * overflow nowhere, then exponents are taken out. A unit is
 *
 *     narrow  if u + y stays within exp(+-FRBM_SPLIT_REACH): tables of plain numbers
 *     wide    otherwise: tables of mantissas and exponents, of any range
 *     neither if 1 + exp(t) is 1, or exp(t), or constant for all states, to FRBM_SPLIT_NEGLIGIBLE
 *
 * Tables are products over bits, each factor exp(-|T|) relative to the best state of its half, so
 * that an entry that underflows is nothing beside the other term of its sum. Their relative error
 * is some units of rounding, however large the weights.
 *
 * Where the other layer does not factor (Gaussian units), states are taken one by one through the
 * unit's cgf: split_states.c. split_tables.c makes tables, split.c sums, split_moments.c has means.
 */
#ifndef FRBM_ALGORITHMS_SPLIT_H
#define FRBM_ALGORITHMS_SPLIT_H

#include <stdatomic.h>
#include <string.h>

#include "fastrbm/core/share.h"
#include "fastrbm/core/team.h"
#include "fastrbm/core/twofold.h"
#include "fastrbm/core/workspace.h"
#include "fastrbm/kernels/kernels.h"
#include "fastrbm/layers/unit.h"
#include "fastrbm/rbm/check.h"

#define FRBM_SPLIT_MAX_UNITS 60
/* Nats: e^+-300 squared, and times e^80 of sums, are inside the range of double. */
#define FRBM_SPLIT_REACH 300.0
#define FRBM_SPLIT_RANGE 640.0
#define FRBM_SPLIT_NEGLIGIBLE 1e-18
/* Exponents up to it are sums that lose nothing that matters. */
#define FRBM_SPLIT_LARGEST 1e15
#define FRBM_SPLIT_MAX_LANES (1 << (FRBM_FACTOR_BITS - 1))
/* Sums are added up over so many blocks of rows before they go to one that keeps what it rounds
 * off, and so many additions each weight goes through at most. */
#define FRBM_SPLIT_FLUSH 32
#define FRBM_SPLIT_PANELS (FRBM_SPLIT_MAX_LANES / FRBM_FACTOR_LANES)
#define FRBM_SPLIT_SUM_STEPS                                                                       \
    (FRBM_SPLIT_FLUSH * FRBM_FACTOR_ROWS * FRBM_SPLIT_PANELS + FRBM_FACTOR_LANES + 10)
/* The exponent of lanes and rows that do not exist. */
#define FRBM_SPLIT_NOTHING -1e18
/* Units of a block of moments: their prefixes take 16 KiB. */
#define FRBM_SPLIT_PREFIXES 32
/* Rows of states that go through the cgf at a time. */
#define FRBM_SPLIT_STATES 64

enum frbm_split_kind { FRBM_SPLIT_OFF, FRBM_SPLIT_ON, FRBM_SPLIT_CONSTANT, FRBM_SPLIT_ACTIVE };

struct frbm_split_buffers {
    int is_factored;
    size_t n, m, ldm;
    size_t lane_bits, row_bits, n_lanes, n_panels; /* lanes are padded to whole panels */
    uint64_t n_row_blocks;                         /* of FRBM_FACTOR_ROWS rows, padded too */

    /* the model in double: row k of weights has the couplings of enumerated unit k */
    frbm_layer_t enumerated, other;
    double *weights, *parameters[2][FRBM_MAX_PARAMETERS];

    /* the factored form: exp(linear bit i), and what is left of all exponents */
    frbm_scaled_t linear[FRBM_SPLIT_MAX_UNITS];
    double reach[FRBM_SPLIT_MAX_UNITS]; /* |linear| in nats */
    frbm_twofold_t constant;
    double error;                 /* rounding of the log-weight of any state, in nats */
    signed char *kind;            /* of each unit, enum frbm_split_kind */
    double *constant_mean;        /* of a FRBM_SPLIT_CONSTANT unit: probability of its high state */
    uint32_t *unit, *wide_unit;   /* which unit a column of the tables is */
    size_t n_narrow, n_wide, ldu; /* rows of ldu units */
    double *half_width;           /* by narrow column: |log(u + y)| at most */
    double width;                 /* their sum */
    double *best;                 /* u at its largest */
    double *bit_factors;          /* of row bit k at value b: [k][b][ldu] */
    double *low_factors;          /* of the rows of a block: [FRBM_FACTOR_ROWS][ldu] */
    double *y;                    /* [panel][m + 1][lanes]; after the last unit u = 0, y = 1 */
    double *wide_u, *wide_ku;     /* where no bit is set */
    double *wide_bits, *wide_kbits;  /* row bit k set: [k][ldu] */
    double *wide_y, *wide_ky;        /* [panel][m][lanes] */
    double *start, *start_exponents; /* exp(linear) of the lanes */
    double *direct;                  /* the same as plain numbers, times 2^-direct_shift */
    double direct_shift;
    int is_direct;    /* sums over lanes need no exponents */
    uint32_t *blocks; /* ends of blocks of narrow units */
    size_t n_blocks;

    double *scratch; /* of all threads */
    size_t thread_scratch;
    struct frbm_split_moments *moments;
};

/* What a thread knows of a block of FRBM_FACTOR_ROWS rows. */
typedef struct {
    double *levels; /* products of the factors of the row bits k and up: [k][ldu] */
    double *u;      /* [FRBM_FACTOR_ROWS][ldu] */
    double *wide_u, *wide_ku;
    double f[FRBM_FACTOR_ROWS], kf[FRBM_FACTOR_ROWS]; /* exp(linear) of the row */
    double *tile, *exponents, *sums, *references;
    uint64_t block;
    int is_first;
} frbm_split_rows_t;

/* Distances between the panels of y and of wide_y. */
static inline size_t frbm_split_stride(const struct frbm_split_buffers *b) {
    return (b->m + 1) * FRBM_FACTOR_LANES;
}
static inline size_t frbm_split_wide_stride(const struct frbm_split_buffers *b) {
    return b->m * FRBM_FACTOR_LANES;
}

/* The columns of the tables of rows: narrow units, the one that follows them, and padding. */
static inline size_t frbm_split_columns(size_t n_units) {
    return (n_units + FRBM_FACTOR_PADDING) / FRBM_FACTOR_PADDING * FRBM_FACTOR_PADDING;
}

/* Blocks of rows between two looks at the clock: some tens of microseconds. */
static inline uint64_t frbm_split_poll_interval(const struct frbm_split_buffers *b) {
    const double work = (double)(FRBM_FACTOR_ROWS * b->n_lanes) * (double)(b->m + 1);
    return work > 0x1p17 ? 1 : (uint64_t)(0x1p18 / work);
}

/* Read the model and make all tables for beta. */
int frbm_split_prepare(frbm_split_t *split, double beta, const frbm_kernels_t *kernels);
/* Ends of blocks of consecutive columns, at most so many in each, with half_width adding up to no
 * more than range; returns how many. */
size_t frbm_split_cut(const struct frbm_split_buffers *b, size_t n_columns, size_t most,
                      double range, uint32_t *blocks);

/* Doubles of scratch that frbm_split_rows_start carves up. */
size_t frbm_split_rows_size(const struct frbm_split_buffers *b);
void frbm_split_rows_start(const struct frbm_split_buffers *b, double *scratch,
                           frbm_split_rows_t *rows);
/* Make u, f, ... of this block; quickest in order. */
void frbm_split_rows_go(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                        uint64_t block, frbm_split_rows_t *rows);

/* tile 2^exponents = weights of a block of rows and a panel of lanes, without f. NULL or room for
 * the tile at the start of every block of narrow units. */
void frbm_split_tile(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                     const frbm_split_rows_t *rows, size_t panel, const uint32_t *blocks,
                     size_t n_blocks, double *starts);

/* Doubles of scratch for the passes over states. */
size_t frbm_split_states_scratch(void);
/* Log-weights of n <= FRBM_SPLIT_STATES states from `first` on, through the cgf. scratch:
 * FRBM_SPLIT_STATES x FRBM_TILE. */
void frbm_split_log_weights_of(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                               double beta, uint64_t first, size_t n, double *scratch, double *out);
/* A bound on the rounding of the log of sums of their exponentials, in nats, and on their size. */
double frbm_split_states_error(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                               double beta, double *largest);
/* Sums that keep what they round off (Knuth's two-sum). */
typedef struct {
    double sum, rest;
} frbm_running_t;

static inline void frbm_running_add(frbm_running_t *r, double x) {
    const double sum = r->sum + x, part = sum - r->sum;
    r->rest += (r->sum - (sum - part)) + (x - part);
    r->sum = sum;
}

/* The same of positive mantissas 2^exponent, of normal numbers; starts at exponent FRBM_SPLIT_NOTHING. */
typedef struct {
    frbm_running_t mantissa;
    double exponent;
} frbm_running_scaled_t;

static inline void frbm_running_scaled_add(frbm_running_scaled_t *r, double mantissa,
                                           double exponent) {
    if (!(mantissa > 0)) return;
    uint64_t bits;
    memcpy(&bits, &mantissa, sizeof bits);
    const double power = (double)(bits >> 52) - 1023;
    mantissa *= frbm_power_of_two(-power);
    exponent += power;
    if (exponent > r->exponent) {
        const double scale = frbm_power_of_two(r->exponent - exponent);
        r->mantissa.sum *= scale;
        r->mantissa.rest *= scale;
        r->exponent = exponent;
    }
    frbm_running_add(&r->mantissa, mantissa * frbm_power_of_two(exponent - r->exponent));
}

/* Sums of weights, for begin .. end of blocks of rows, without constant; or of states through the
 * cgf, times exp(-exponent). Only the calling thread polls; all hear it. */
frbm_running_scaled_t frbm_split_sum_rows(const struct frbm_split_buffers *b,
                                          const frbm_kernels_t *kernels, uint64_t begin,
                                          uint64_t end, double *scratch, frbm_stop_t *stop,
                                          const frbm_team_t *team);
frbm_running_t frbm_split_sum_states(const struct frbm_split_buffers *b,
                                     const frbm_kernels_t *kernels, double beta, uint64_t begin,
                                     uint64_t end, double *scratch, double *exponent,
                                     frbm_stop_t *stop, const frbm_team_t *team);

/* A thread's own scratch. */
static inline double *frbm_split_scratch(const struct frbm_split_buffers *b,
                                         const frbm_team_t *team) {
    return b->scratch + (size_t)team->thread * b->thread_scratch;
}

/* Threads for so many pieces: what was asked, within what the workspace is for. */
static inline int frbm_split_threads(const frbm_split_t *split, const frbm_exec_t *exec,
                                     uint64_t n_pieces) {
    int n = exec->n_threads < split->n_threads ? exec->n_threads : split->n_threads;
    if (n < 1) n = 1;
    return (uint64_t)n > n_pieces && n_pieces > 0 ? (int)n_pieces : n;
}

#endif
