/* Plans of split products, and sums of weights over shards. See split.h for the mathematics. */
#include "split.h"

#include "split_moments.h"

/* -------------------------------------------------------------------------------------- shapes */

/* Lanes: enough that making a row costs little beside using it, few enough that their tables stay
 * in the second-level cache. */
static size_t lane_bits_of(size_t n, size_t m) {
    const size_t most = m <= 256 ? 7 : m <= 1024 ? 6 : 5;
    return n < most ? n : most;
}

/* Shards of about 2^22 factors, a fraction of a millisecond, but no more than 2^16 shards. */
static size_t shard_bits_of(size_t n, size_t m) {
    const size_t lane_bits = lane_bits_of(n, m), row_bits = n - lane_bits;
    const double work = ldexp((double)m, (int)n);
    size_t bits = 0;
    while (bits < 16 && bits + 2 < row_bits && ldexp(work, -(int)bits) > 0x1p22) ++bits;
    return bits;
}

static uint64_t row_blocks_of(size_t row_bits) {
    return row_bits <= 2 ? 1 : (uint64_t)1 << (row_bits - 2);
}

static double *take(frbm_workspace_t *w, size_t n) {
    return (double *)frbm_workspace_take(w, n * sizeof(double));
}

size_t frbm_split_rows_size(const struct frbm_split_buffers *b) {
    return (b->row_bits + 3 + 3 * FRBM_FACTOR_ROWS) * b->ldu + 2 * FRBM_FACTOR_TILE +
           2 * FRBM_FACTOR_LANES;
}

/* Lay out the workspace; sizes only where w has no base. */
static void lay_out(frbm_workspace_t *w, const frbm_rbm_t *rbm, int side, int n_threads,
                    struct frbm_split_buffers *b) {
    memset(b, 0, sizeof *b);
    const frbm_layer_t *layers[2] = {frbm_rbm_layer(rbm, side), frbm_rbm_layer(rbm, 1 - side)};
    b->n = layers[0]->n;
    b->m = layers[1]->n;
    b->ldm = (b->m + FRBM_FACTOR_PADDING - 1) / FRBM_FACTOR_PADDING * FRBM_FACTOR_PADDING;
    b->ldu = frbm_split_columns(b->m);
    b->is_factored = frbm_unit_is_discrete(frbm_unit(layers[1]->unit));
    b->lane_bits = lane_bits_of(b->n, b->m);
    b->row_bits = b->n - b->lane_bits;
    b->n_lanes = ((size_t)1 << b->lane_bits) < FRBM_FACTOR_LANES ? FRBM_FACTOR_LANES
                                                                 : (size_t)1 << b->lane_bits;
    b->n_panels = b->n_lanes / FRBM_FACTOR_LANES;
    b->n_row_blocks = row_blocks_of(b->row_bits);
    b->weights = take(w, b->n * b->ldm);
    for (int s = 0; s < 2; ++s)
        for (int p = 0; p < frbm_unit(layers[s]->unit)->n_parameters; ++p)
            b->parameters[s][p] = take(w, layers[s]->n);
    if (b->is_factored) {
        b->kind = (signed char *)frbm_workspace_take(w, b->m);
        b->unit = (uint32_t *)frbm_workspace_take(w, b->m * sizeof(uint32_t));
        b->wide_unit = (uint32_t *)frbm_workspace_take(w, b->m * sizeof(uint32_t));
        b->blocks = (uint32_t *)frbm_workspace_take(w, (b->m + 1) * sizeof(uint32_t));
        b->constant_mean = take(w, b->m);
        b->half_width = take(w, b->m);
        b->best = take(w, b->ldu);
        b->bit_factors = take(w, 2 * b->row_bits * b->ldu);
        b->low_factors = take(w, FRBM_FACTOR_ROWS * b->ldu);
        b->y = take(w, b->n_panels * frbm_split_stride(b));
        b->wide_u = take(w, b->ldu);
        b->wide_ku = take(w, b->ldu);
        b->wide_bits = take(w, b->row_bits * b->ldu);
        b->wide_kbits = take(w, b->row_bits * b->ldu);
        b->wide_y = take(w, b->n_panels * frbm_split_wide_stride(b));
        b->wide_ky = take(w, b->n_panels * frbm_split_wide_stride(b));
        b->start = take(w, b->n_lanes);
        b->start_exponents = take(w, b->n_lanes);
        b->direct = take(w, b->n_lanes);
    }
    frbm_split_moments_lay_out(w, b);
    const size_t sizes[3] = {b->is_factored ? frbm_split_rows_size(b) : 0,
                             frbm_split_moments_scratch(b), frbm_split_states_scratch()};
    for (int i = 0; i < 3; ++i)
        if (b->thread_scratch < sizes[i]) b->thread_scratch = sizes[i];
    /* Threads do not share cache lines. */
    b->thread_scratch = (b->thread_scratch + 15) / 8 * 8;
    b->scratch = take(w, (size_t)n_threads * b->thread_scratch);
}

static int check_shape(const frbm_rbm_t *rbm, int side, int n_threads) {
    const int rc = frbm_rbm_check_shape(rbm);
    if (rc < 0) return rc;
    if ((side != FRBM_VISIBLE && side != FRBM_HIDDEN) || n_threads < 1) return FRBM_ERROR_ARGUMENT;
    const frbm_layer_t *layer = frbm_rbm_layer(rbm, side);
    if (!frbm_unit_is_discrete(frbm_unit(layer->unit))) return FRBM_ERROR_UNIT;
    return layer->n > FRBM_SPLIT_MAX_UNITS ? FRBM_ERROR_ARGUMENT : FRBM_OK;
}

size_t frbm_split_workspace_size(const frbm_rbm_t *rbm, int side, int n_threads) {
    if (check_shape(rbm, side, n_threads) < 0) return 0;
    frbm_workspace_t w = frbm_workspace(NULL);
    struct frbm_split_buffers b;
    frbm_workspace_take(&w, sizeof b);
    lay_out(&w, rbm, side, n_threads, &b);
    return frbm_workspace_size(&w);
}

int frbm_split_init(frbm_split_t *split, const frbm_rbm_t *rbm, int side, int n_threads,
                    void *workspace, size_t size) {
    if (split == NULL) return FRBM_ERROR_ARGUMENT;
    const int rc = check_shape(rbm, side, n_threads);
    if (rc < 0) return rc;
    if (workspace == NULL || size < frbm_split_workspace_size(rbm, side, n_threads))
        return FRBM_ERROR_WORKSPACE;
    memset(split, 0, sizeof *split);
    split->rbm = *rbm;
    split->side = side;
    split->n_threads = n_threads;
    frbm_workspace_t w = frbm_workspace(workspace);
    split->buffers = (struct frbm_split_buffers *)frbm_workspace_take(&w, sizeof *split->buffers);
    lay_out(&w, rbm, side, n_threads, split->buffers);
    const size_t n = split->buffers->n, m = split->buffers->m;
    split->n_shards = (uint64_t)1 << shard_bits_of(n, m);
    split->n_state_units = ldexp((double)m, (int)n);
    return FRBM_OK;
}

/* ---------------------------------------------------------------------------------------- rows */

void frbm_split_rows_start(const struct frbm_split_buffers *b, double *scratch,
                           frbm_split_rows_t *rows) {
    const size_t block = FRBM_FACTOR_ROWS * b->ldu;
    rows->levels = scratch;
    rows->u = scratch + (b->row_bits + 3) * b->ldu;
    rows->wide_u = rows->u + block;
    rows->wide_ku = rows->wide_u + block;
    rows->tile = rows->wide_ku + block;
    rows->exponents = rows->tile + FRBM_FACTOR_TILE;
    rows->sums = rows->exponents + FRBM_FACTOR_TILE;
    rows->references = rows->sums + FRBM_FACTOR_LANES;
    rows->block = 0;
    rows->is_first = 1;
}

/* Products over the row bits of mantissas, and sums of exponents, for one row. */
static void linear_of_row(const struct frbm_split_buffers *b, uint64_t row, double *f, double *kf) {
    const frbm_scaled_t *linear = b->linear + b->lane_bits;
    *f = 1;
    *kf = 0;
    for (; row != 0; row &= row - 1) {
        const frbm_scaled_t s = linear[__builtin_ctzll(row)];
        *f *= s.mantissa;
        *kf += s.exponent;
    }
}

static void wide_rows(const struct frbm_split_buffers *b, uint64_t row, double *u, double *ku) {
    memcpy(u, b->wide_u, b->n_wide * sizeof *u);
    memcpy(ku, b->wide_ku, b->n_wide * sizeof *ku);
    for (; row != 0; row &= row - 1) {
        const size_t at = (size_t)__builtin_ctzll(row) * b->ldu;
        for (size_t j = 0; j < b->n_wide; ++j) {
            u[j] *= b->wide_bits[at + j];
            ku[j] += b->wide_kbits[at + j];
        }
    }
}

void frbm_split_rows_go(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                        uint64_t block, frbm_split_rows_t *rows) {
    const size_t columns = frbm_split_columns(b->n_narrow);
    const uint64_t n_rows = (uint64_t)1 << b->row_bits;
    /* Levels of bits above the highest one that changed are still right. */
    size_t k = b->row_bits < 2 ? 2 : b->row_bits;
    if (rows->is_first)
        memcpy(rows->levels + k * b->ldu, b->best, columns * sizeof(double));
    else if (block != rows->block)
        k = 3 + (size_t)(63 - __builtin_clzll(block ^ rows->block));
    else
        k = 2;
    while (k-- > 2)
        kernels->factors.rows(columns, rows->levels + (k + 1) * b->ldu,
                              b->bit_factors + (2 * k + (block >> (k - 2) & 1)) * b->ldu,
                              rows->levels + k * b->ldu);
    rows->is_first = 0;
    rows->block = block;
    for (size_t r = 0; r < FRBM_FACTOR_ROWS; ++r) {
        const uint64_t row = block * FRBM_FACTOR_ROWS + r;
        const uint64_t real = row < n_rows ? row : 0;
        kernels->factors.rows(columns, rows->levels + 2 * b->ldu, b->low_factors + r * b->ldu,
                              rows->u + r * b->ldu);
        linear_of_row(b, real, &rows->f[r], &rows->kf[r]);
        if (b->n_wide > 0)
            wide_rows(b, real, rows->wide_u + r * b->ldu, rows->wide_ku + r * b->ldu);
        if (row >= n_rows) {
            rows->f[r] = 0;
            rows->kf[r] = FRBM_SPLIT_NOTHING;
        }
    }
}

void frbm_split_tile(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                     const frbm_split_rows_t *rows, size_t panel, const uint32_t *blocks,
                     size_t n_blocks, double *starts) {
    const double *y = b->y + panel * frbm_split_stride(b);
    const size_t lane = panel * FRBM_FACTOR_LANES, wide = panel * frbm_split_wide_stride(b);
    for (size_t r = 0; r < FRBM_FACTOR_ROWS; ++r) {
        memcpy(rows->tile + r * FRBM_FACTOR_LANES, b->start + lane,
               FRBM_FACTOR_LANES * sizeof(double));
        memcpy(rows->exponents + r * FRBM_FACTOR_LANES, b->start_exponents + lane,
               FRBM_FACTOR_LANES * sizeof(double));
    }
    for (size_t i = 0, j = 0; i < n_blocks; j = blocks[i++]) {
        if (starts != NULL)
            memcpy(starts + i * FRBM_FACTOR_TILE, rows->tile, FRBM_FACTOR_TILE * sizeof(double));
        kernels->factors.block(blocks[i] - j, rows->u + j, b->ldu, y + j * FRBM_FACTOR_LANES,
                               rows->tile, rows->exponents);
    }
    if (b->n_wide > 0)
        kernels->factors.wide(b->n_wide, rows->wide_u, rows->wide_ku, b->ldu, b->wide_y + wide,
                              b->wide_ky + wide, rows->tile, rows->exponents);
}

/* ---------------------------------------------------------------------------------------- sums */

static void reset(const frbm_split_rows_t *rows) {
    for (size_t l = 0; l < FRBM_FACTOR_LANES; ++l) {
        rows->sums[l] = 0;
        rows->references[l] = FRBM_SPLIT_NOTHING;
    }
}

static void flush(const frbm_split_rows_t *rows, frbm_running_scaled_t *total) {
    for (size_t l = 0; l < FRBM_FACTOR_LANES; ++l)
        frbm_running_scaled_add(total, rows->sums[l], rows->references[l]);
    reset(rows);
}

/* The sum of a block of rows: at once where no exponents are needed, else lane by lane. */
static void sum_block(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                      const frbm_split_rows_t *rows, frbm_running_scaled_t *total) {
    if (b->is_direct) {
        double sums[FRBM_FACTOR_ROWS];
        kernels->factors.sum(b->n_narrow, rows->u, b->ldu, b->y, frbm_split_stride(b), b->n_panels,
                             b->direct, sums);
        for (size_t r = 0; r < FRBM_FACTOR_ROWS; ++r)
            frbm_running_scaled_add(total, rows->f[r] * sums[r], rows->kf[r] + b->direct_shift);
        return;
    }
    for (size_t p = 0; p < b->n_panels; ++p) {
        frbm_split_tile(b, kernels, rows, p, b->blocks, b->n_blocks, NULL);
        kernels->factors.add(rows->tile, rows->exponents, rows->f, rows->kf, rows->sums,
                             rows->references);
    }
}

/* sum 2^exponent exp(constant) as a partial result: what the exponent rounds off goes into the
 * mantissa. */
static frbm_partial_t partial_of(const struct frbm_split_buffers *b, uint64_t index,
                                 const frbm_running_scaled_t *total) {
    frbm_partial_t partial = {index, -INFINITY, 0, 0};
    const double sum = total->mantissa.sum + total->mantissa.rest;
    if (!(sum > 0)) return partial;
    int shift;
    const double mantissa = frexp(sum, &shift);
    const frbm_twofold_t e =
        frbm_twofold_add(b->constant, frbm_twofold_ln2_times(total->exponent + shift));
    partial.exponent = e.hi;
    partial.mantissa = mantissa + mantissa * e.lo;
    return partial;
}

frbm_running_scaled_t frbm_split_sum_rows(const struct frbm_split_buffers *b,
                                          const frbm_kernels_t *kernels, uint64_t begin,
                                          uint64_t end, double *scratch, frbm_stop_t *stop,
                                          const frbm_team_t *team) {
    const uint64_t interval = frbm_split_poll_interval(b);
    frbm_running_scaled_t total = {{0, 0}, FRBM_SPLIT_NOTHING};
    frbm_split_rows_t rows;
    frbm_split_rows_start(b, scratch, &rows);
    reset(&rows);
    for (uint64_t i = begin; i < end; ++i) {
        if (i % interval == interval - 1) {
            if (frbm_stop_asked(stop, team)) break;
        }
        frbm_split_rows_go(b, kernels, i, &rows);
        sum_block(b, kernels, &rows, &total);
        if (!b->is_direct && ((i + 1) % FRBM_SPLIT_FLUSH == 0 || i + 1 == end))
            flush(&rows, &total);
    }
    return total;
}

/* Shards in the order of indices. */
typedef struct {
    const frbm_split_t *split;
    const frbm_kernels_t *kernels;
    double beta;
    const uint64_t *indices;
    frbm_partial_t *partials;
} shards_t;

static void sum_shard(void *context, uint64_t number, const frbm_team_t *team, frbm_stop_t *stop) {
    const shards_t *run = (const shards_t *)context;
    const frbm_split_t *split = run->split;
    const struct frbm_split_buffers *b = split->buffers;
    const uint64_t index = run->indices[number];
    double *scratch = frbm_split_scratch(b, team);
    if (b->is_factored) {
        const uint64_t n = b->n_row_blocks / split->n_shards;
        const frbm_running_scaled_t total =
            frbm_split_sum_rows(b, run->kernels, n * index, n * index + n, scratch, stop, team);
        run->partials[number] = partial_of(b, index, &total);
        return;
    }
    const uint64_t n = ((uint64_t)1 << b->n) / split->n_shards;
    frbm_partial_t partial = {index, 0, 0, 0};
    const frbm_running_t total =
        frbm_split_sum_states(b, run->kernels, run->beta, n * index, n * index + n, scratch,
                              &partial.exponent, stop, team);
    partial.mantissa = total.sum + total.rest;
    run->partials[number] = partial;
}

int frbm_split_run(frbm_split_t *split, double beta, uint64_t n, const uint64_t *indices,
                   const frbm_exec_t *exec, frbm_partial_t *partials) {
    if (split == NULL || split->buffers == NULL || exec == NULL) return FRBM_ERROR_ARGUMENT;
    if (n > 0 && (indices == NULL || partials == NULL)) return FRBM_ERROR_ARGUMENT;
    for (uint64_t i = 0; i < n; ++i)
        if (indices[i] >= split->n_shards) return FRBM_ERROR_ARGUMENT;
    int rc = frbm_split_prepare(split, beta, exec->kernels);
    if (rc < 0) return rc;
    const double work = split->n_state_units / (double)split->n_shards * (double)n;
    shards_t run = {split, exec->kernels, beta, indices, partials};
    rc = frbm_share(exec, frbm_team_size(frbm_split_threads(split, exec, n), work), n, sum_shard,
                    &run);
    double largest = 1;
    for (uint64_t i = 0; rc == FRBM_OK && i < n; ++i)
        if (fabs(partials[i].exponent) > largest) largest = fabs(partials[i].exponent);
    split->error_bound = split->buffers->error + 2 * 0x1p-53 * largest;
    return rc;
}
