/*
 * The table of hand-written inner loops, one per SIMD level.
 *
 * Every kernel is a pure function of its arguments and works on a tile: rows of TILE lanes, a lane
 * being one unit of the layer that is computed. The products are
 *
 *     tile[r][j] = sum_k s(r, k) m[k][j],    or += with `add`, depth >= 1,
 *
 * with s(r, k) a bit (0/1), a sign (-1/+1) or a real. One kernel serves all five products of a CD
 * update: inputs in both directions and both outer products of the gradient.
 *
 * Bits are taken four at a time. product_bits adds, for each group of four in order of k, the
 * partial sum (w0 + w1) + (w2 + w3) of the selected rows (signs: all four rows, each + or -). For
 * many rows the sixteen partial sums of a group come from a table, for few ones its two halves do;
 * for sparse ones, or the fewest, the selected rows are added. All give the same bits, as does every
 * SIMD level, since the lanes of a tile never mix: so the path may be chosen by what is fastest, and
 * results do not depend on how work is cut into tiles.
 * Four bits cost one add per lane: 64 multiply-adds per 512-bit instruction, against 16 for an FMA.
 *
 * product_values is a register-blocked matrix product, in order of k too (FMA where the level has
 * it, so levels agree to rounding).
 */
#ifndef FRBM_KERNELS_KERNELS_H
#define FRBM_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "fastrbm.h"
#include "fastrbm/core/rng.h"

/* Lanes of a tile: one 64-bit word of units, and sixteen Philox blocks of words, or eight of halves. */
#define FRBM_TILE 64

/* Half a tile: two threads may compute the halves of a word, each of which is then written alone. */
#define FRBM_HALF_TILE 32

/* Where the units of a tile are on their layer, and the random words they use. */
typedef struct {
    frbm_stream_t stream;
    uint32_t first_unit; /* of the tile; a multiple of FRBM_HALF_TILE */
    uint32_t first_row;  /* of the tile, relative to stream.first_row */
} frbm_draw_t;

/* Sampled bits: words (one per row) and which of them keep their old value. */
typedef struct {
    uint64_t *words;
    size_t stride;        /* in words */
    const uint64_t *keep; /* or NULL */
    size_t keep_stride;   /* in words; 0 when all rows share one mask */
    int half;             /* write only the half of each word that the tile is */
} frbm_bits_out_t;

typedef struct {
    double momentum, weight_decay, learning_rate, gradient_scale;
} frbm_update_t;

/* g[r][j] = sum over two phases and their rows k of s_phase(r, k) m_phase[k][j], of so few rows that the bits
 * of a unit are in one word and the tables in L1: for each phase, and group of four of its rows, 16 entries of
 * FRBM_TILE lanes. */
#define FRBM_FEW_BYTES 32768 /* of tables, at most */
typedef struct {
    const uint64_t *bits[2]; /* a word of each unit */
    size_t n_groups[2];
    int is_signed;
    const void *tables;
} frbm_few_t;

static inline size_t frbm_few_bytes(size_t n_groups, size_t real) {
    return n_groups * 16 * FRBM_TILE * real;
}

/* Small layers of two-state units: so few units that the tables of all products of an update stay in L1, and that
 * rows of reals are as narrow as FRBM_SMALL_WIDTH says. See kernels_small.inc. */
#define FRBM_SMALL_UNITS 32 /* of a layer, at most */
#define FRBM_SMALL_ROWS 16  /* at a time, at most */
#define FRBM_SMALL_WIDTH(n) ((n) <= 16 ? (size_t)16 : (size_t)32)
/* Bytes of tables, aligned to 64: of whole words of bits. */
#define FRBM_SMALL_BYTES(real) ((FRBM_SMALL_UNITS * 256 + FRBM_TILE) * (real))

/* One layer given the other, its source. */
typedef struct {
    size_t n, n_source;
    double scale, low, high; /* see two_state_sample and two_state_mean */
    int is_signed;           /* the source */
    const void *bias;
    const void *couplings; /* row k: of source unit k with all units, FRBM_SMALL_WIDTH(n) reals */
    void *tables;
} frbm_small_t;

/* The gradient of the weights: the term of the data and that of the chains, whose means carry its sign. */
typedef struct {
    size_t n, p; /* visible and hidden units */
    int is_signed;
    const uint64_t *states[2]; /* visible ones, a word a row */
    const void *means[2];      /* of hidden units, FRBM_SMALL_WIDTH(p) reals a row */
    size_t n_rows[2];
    void *tables;
} frbm_small_gradient_t;

/* The kernels of one real type. x, bias, ... point to float or double; tiles have FRBM_TILE lanes
 * a row, of which the first lanes count. Bits from depth on, in the last word, are zero. */
typedef struct {
    void (*product_bits)(const uint64_t *bits, size_t stride, int is_signed, size_t n_rows,
                         size_t depth, const void *m, size_t ldm, size_t lanes, int add,
                         void *tile);
    /* a(r, k) = a[r row_stride + k col_stride], strides in elements */
    void (*product_values)(const void *a, size_t row_stride, size_t col_stride, size_t n_rows,
                           size_t depth, const void *m, size_t ldm, size_t lanes, int add,
                           void *tile);

    /* Two-state units with log-odds z = scale (bias + x): the bit is 1 with probability
     * sigmoid(z) as frbm_draw_bit says, exact to 2^-32. x is not changed. */
    void (*two_state_sample)(size_t n_rows, size_t lanes, const void *x, const void *bias,
                             double scale, const frbm_draw_t *draw, const frbm_bits_out_t *out);
    /* out = factor (low + (high - low) sigmoid(z)) */
    void (*two_state_mean)(size_t n_rows, size_t lanes, const void *x, const void *bias,
                           double scale, double low, double high, double factor, void *out,
                           size_t ldout);

    /* out = (bias + x) / precision, times factor; and that plus a normal of variance
     * 1 / (beta precision). keep: words of the tile's units, its first one at first_unit % FRBM_TILE. */
    void (*gaussian_mean)(size_t n_rows, size_t lanes, const void *x, const void *bias,
                          const void *precision, double factor, void *out, size_t ldout);
    void (*gaussian_sample)(size_t n_rows, size_t lanes, const void *x, const void *bias,
                            const void *precision, double beta, const frbm_draw_t *draw, void *out,
                            size_t ldout, const uint64_t *keep, size_t keep_stride);

    /* velocity = momentum velocity + gradient_scale g - weight_decay w; w += learning_rate
     * velocity; w_t its transpose. Rows of g, w and velocity are padded to whole vectors, with
     * zeros. Returns the squared norm of the step. */
    double (*update)(size_t n_rows, size_t lanes, const void *g, const frbm_update_t *u, void *w,
                     size_t ldw, void *velocity, size_t ldv, void *w_t, size_t ldwt);
    /* The same for a gradient of few rows, see frbm_few_t: its tables, of depth rows of m; and the update.
     * NULL where tables are not wanted. */
    void (*few_tables)(const void *m, size_t ldm, size_t depth, size_t lanes, int is_signed,
                       void *tables);
    double (*update_few)(size_t n_rows, size_t lanes, const frbm_few_t *few, const frbm_update_t *u,
                         void *w, size_t ldw, void *velocity, size_t ldv, void *w_t, size_t ldwt);
    /* Makes the tables of a small layer; then, for rows of its source, of one word each, factor E[s] into means, in
     * rows of FRBM_SMALL_WIDTH(n) that end with zeros, and draws into words; what is NULL is left out. The gradient
     * into a tile, and how many rows each visible unit is on in. The same bits as product_bits, two_state_mean and
     * two_state_sample. NULL where tables are not wanted. */
    void (*small_prepare)(const frbm_small_t *layer);
    void (*small_run)(const frbm_small_t *layer, const uint64_t *source, size_t n_rows,
                      double factor, void *means, const frbm_draw_t *draw, uint64_t *words);
    void (*small_gradient)(const frbm_small_gradient_t *g, void *tile,
                           uint32_t ones[2][FRBM_SMALL_UNITS]);
    double (*square_norm)(size_t n_rows, size_t lanes, const void *g);
    /* sums[j] += sum_r x[r][j] */
    void (*sum_rows)(size_t n_rows, size_t lanes, const void *x, size_t ldx, double *sums);
    /* out[i] = sum_k x[k stride + i], in order, for i < n, whole 64 bytes of them */
    void (*sum_tiles)(size_t n_tiles, size_t n, const void *x, size_t stride, void *out);

    /* Strips of the exact pairwise product, whole rows of FRBM_TILE lanes:
     * out[h n_lo + l] = hi[h] lo[l] scale[h n_lo + l]; and, f in double whatever the type,
     * dots += sum_r f[r] tile[r], sums += sum_r f[r] and, with keep, f = f tile. */
    void (*panel)(size_t n_hi, size_t n_lo, const void *hi, const void *lo, const void *scale,
                  void *out);
    void (*weigh)(size_t n_rows, double *f, const void *tile, int keep, double *dots, double *sums);
} frbm_real_kernels_t;

/* The states of a split product, see kernels_factors.inc: rows (fields u) by lanes (fields y). A
 * tile of them is FRBM_FACTOR_ROWS x FRBM_FACTOR_LANES doubles in C order; u has rows of ldu units,
 * y one row of FRBM_FACTOR_LANES lanes a unit. u, y and their sums are positive. */
#define FRBM_FACTOR_ROWS 4
#define FRBM_FACTOR_LANES 32
#define FRBM_FACTOR_TILE (FRBM_FACTOR_ROWS * FRBM_FACTOR_LANES)
/* Partial sums of a row over its lanes: doubles of the widest vector. */
#define FRBM_FACTOR_SLOTS 8
/* Rows of u have room for whole vectors of units. */
#define FRBM_FACTOR_PADDING 8
/* Sums over lanes: all of them, and those with each bit of the lane, of up to four panels. */
#define FRBM_FACTOR_BITS 8
/* Products below it are 0 in a table: the other term of their sum is at least its square root. */
#define FRBM_FACTOR_TINY 0x1p-800
/* Wide factors that are multiplied before exponents are taken out: each is within 2^+-60. */
#define FRBM_WIDE_UNITS 8
/* The same of mixed factors. */
#define FRBM_MIX_UNITS 32
#define FRBM_MIX_POWER 30

typedef struct {
    /* sums[r] = sum over the lanes of n_panels panels of start times prod_j (u_rj + y_j): panels of
     * y are y_stride apart, those of start follow each other. */
    void (*sum)(size_t n_units, const double *u, size_t ldu, const double *y, size_t y_stride,
                size_t n_panels, const double *start, double *sums);
    /* tile 2^exponents *= prod_j (u_rj + y_j), with 1 <= tile < 2. */
    void (*block)(size_t n_units, const double *u, size_t ldu, const double *y, double *tile,
                  double *exponents);
    /* The same with factors q_rj + p_rj y_j: p and q in [0, 1], p + q = 1, y within 2^+-FRBM_MIX_POWER. */
    void (*mix)(size_t n_units, const double *p, const double *q, size_t ld, const double *y,
                double *tile, double *exponents);
    /* The same with factors u 2^ku + y 2^ky of any size, u and y within 2^+-60. */
    void (*wide)(size_t n_units, const double *u, const double *ku, size_t ldu, const double *y,
                 const double *ky, double *tile, double *exponents);
    /* sums 2^references += sum_r f_r 2^kf_r tile_r 2^exponents_r, lane by lane. */
    void (*add)(const double *tile, const double *exponents, const double *f, const double *kf,
                double *sums, double *references);
    /* tile = f_r tile 2^(exponents + kf_r) */
    void (*weigh)(const double *exponents, const double *f, const double *kf, double *tile);
    /* prefix[j / 2] = start prod_{i < j} (u_ri + y_i) for even j, tile (or NULL) the product with
     * all units; rows of start are start_stride apart. */
    void (*prefix)(size_t n_units, const double *u, size_t ldu, const double *y,
                   const double *start, size_t start_stride, double *prefix, double *tile);
    /* With D_j = prefix_j suffix prod_{i > j} (u_ri + y_i): rows[j][r], in FRBM_FACTOR_SLOTS parts,
     * += sum over lanes, columns[j] += sum over rows of D_j. */
    void (*backward)(size_t n_units, const double *u, size_t ldu, const double *y,
                     const double *prefix, const double *suffix, double *rows, double *columns);
    /* Wide units: rows += sum of p u_j / (u_j + y_j), columns += sum of p y_j / (u_j + y_j). */
    void (*wide_backward)(size_t n_units, const double *u, const double *ku, size_t ldu,
                          const double *y, const double *ky, const double *p, double *rows,
                          double *columns);
    /* out = a b, or 0 where that is below FRBM_FACTOR_TINY; n in whole FRBM_FACTOR_PADDING. */
    void (*rows)(size_t n, const double *a, const double *b, double *out);
    /* With R_j the sum of the parts of rows[j][r], which become 0, and p = R of column n_narrow:
     * means[r][j] = p - u_rj R_j, p itself, and p - R_j for columns after it. sums: four rows of ld,
     * += means of all rows, of odd rows, of the last two rows, and = means of all rows. */
    void (*fold)(size_t n_units, size_t n_narrow, double *rows, const double *u, size_t ldu,
                 size_t ld, double *means, double *sums);
    /* by_bit[0] = the sum over all lanes of n_panels of columns times y (NULL: 1), by_bit[1 + k]
     * the sum over those whose number has bit k. The columns, which are stride apart, become 0. */
    void (*columns)(size_t n_panels, size_t stride, const double *y, double *columns,
                    double by_bit[FRBM_FACTOR_BITS]);
} frbm_factor_kernels_t;

/* How products of bits are made, see kernels_bits.inc: whichever is cheaper, or always one of the two. */
#define FRBM_N_PATHS 3

/* What the steps of such a product cost, in quarters of a cycle, for float32; what is fitted is so to 1 to 500 rows of
 * density 0.02 to 0.5 (bench/kernels.py shows the choice). */
typedef struct {
    /* By tables, for each group of four bits and entry of 16 lanes: */
    unsigned table, look_up;            /* one table of four bits; looking a row up in it */
    unsigned pair_tables, pair_look_up; /* two of two bits */
    /* Row by row: */
    unsigned sum;      /* of two rows that are selected together, for each entry; */
    unsigned word;     /* of a row's word of bits, whatever the entries; */
    unsigned group[2]; /* of a group in it that is not zero: once, and for each entry; */
    unsigned signed_group[2];
} frbm_product_costs_t;

/* Where the sums of pair p of rows are: from at[e] + p step[e] on that of none of its two, of one, the other, both. */
typedef struct {
    uintptr_t at[4], step[4];
} frbm_pairs_t;

struct frbm_kernels_t {
    const char *name, *path;
    frbm_real_kernels_t real[2]; /* by FRBM_FLOAT32, FRBM_FLOAT64 */
    /* Does product_bits add the selected rows here, instead of building tables? */
    int (*prefers_rows)(const uint64_t *bits, size_t stride, int is_signed, size_t n_rows,
                        size_t depth, size_t lanes);
    void (*softplus)(size_t n, const double *x, double *out);     /* log(1 + exp(x)) */
    void (*exponentials)(size_t n, const double *x, double *out); /* exp(x) for |x| <= 700 */
    /* A strip of 2^n_bits rows f: rows += z f, and bits[i] = sum of f over the rows whose number has
     * bit i. scratch: half as many rows. */
    void (*fold)(unsigned n_bits, const double *f, const double *z, double *rows, double *scratch,
                 double *bits);
    frbm_blocks_t *random_words;
    /* out row j - 64 first_word, bit r = in row r, bit j, for the columns of n_words words from
     * first_word on; rows of in_stride and out_stride words. */
    void (*transpose_bits)(const uint64_t *in, size_t in_stride, size_t n_rows, size_t n_cols,
                           size_t first_word, size_t n_words, uint64_t *out, size_t out_stride);
    /* Ones in each row of stride words. */
    void (*count_bits)(const uint64_t *rows, size_t stride, size_t n_rows, uint32_t *counts);
    frbm_factor_kernels_t factors;
};

/* By path; the levels this build has (not all need run on this machine). */
extern const frbm_kernels_t frbm_kernels_baseline[FRBM_N_PATHS];
#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define FRBM_HAVE_X86_LEVELS 1
extern const frbm_kernels_t frbm_kernels_v3[FRBM_N_PATHS], frbm_kernels_v4[FRBM_N_PATHS];
/* Does this processor make two loads of 64 bytes a cycle, so that level v4 keeps two entries of tables side by side and
 * counts their costs so? Found out when the library is loaded; only speed depends on it. */
extern int frbm_wide_tables;
#endif
#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define FRBM_HAVE_NEON 1
extern const frbm_kernels_t frbm_kernels_neon[FRBM_N_PATHS];
#endif

#endif
