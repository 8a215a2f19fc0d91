/* Means under the joint law by the split product: see split_moments.h. */
#include "split_moments.h"

/* ----------------------------------------------------------------------------------- workspace */

/* What a thread needs. Columns are narrow units, then p itself, then wide units. */
typedef struct {
    frbm_split_rows_t rows;
    double *row_scratch;
    double *prefix, *starts, *suffix;
    double *row_sums;    /* of D_j over lanes: [column][FRBM_FACTOR_ROWS][FRBM_FACTOR_SLOTS] */
    double *column_sums; /* of D_j over rows: [panel][column][lanes] */
    double *folded;      /* sum over lanes of D_j, then of p q_j: [FRBM_FACTOR_ROWS][ldt] */
    double *recent;      /* sums of p q_j since the last flush: all, row bits 0 and 1, the block's
                          * own, row bits from 2 on: [2 + RECENT_BITS][ldt] */
    double *cross;       /* sum over lanes of p bit_k: [FRBM_FACTOR_ROWS][FRBM_TILE] */
} thread_t;

/* Row bits that change within one flush. */
#define RECENT_BITS 7

static void carve(frbm_workspace_t *w, const struct frbm_split_buffers *b, size_t ldt,
                  thread_t *t) {
    const size_t d = sizeof(double);
    t->row_scratch = (double *)frbm_workspace_take(w, frbm_split_rows_size(b) * d);
    t->prefix = (double *)frbm_workspace_take(w, FRBM_SPLIT_PREFIXES / 2 * FRBM_FACTOR_TILE * d);
    t->starts = (double *)frbm_workspace_take(w, (b->m + 1) * FRBM_FACTOR_TILE * d);
    t->suffix = (double *)frbm_workspace_take(w, FRBM_FACTOR_TILE * d);
    t->row_sums =
        (double *)frbm_workspace_take(w, (b->m + 1) * FRBM_FACTOR_ROWS * FRBM_FACTOR_SLOTS * d);
    t->column_sums = (double *)frbm_workspace_take(w, b->n_panels * frbm_split_stride(b) * d);
    t->folded = (double *)frbm_workspace_take(w, FRBM_FACTOR_ROWS * ldt * d);
    t->recent = (double *)frbm_workspace_take(w, (2 + RECENT_BITS) * ldt * d);
    t->cross = (double *)frbm_workspace_take(w, FRBM_FACTOR_ROWS * FRBM_TILE * d);
}

size_t frbm_split_moments_scratch(const struct frbm_split_buffers *b) {
    thread_t t;
    frbm_workspace_t w = frbm_workspace(NULL);
    if (b->is_factored) carve(&w, b, frbm_split_columns(b->m), &t);
    return w.used / sizeof(double);
}

void frbm_split_moments_lay_out(frbm_workspace_t *w, struct frbm_split_buffers *b) {
    struct frbm_split_moments here, *m = &here;
    void *at = frbm_workspace_take(w, sizeof *m);
    if (at != NULL) m = b->moments = (struct frbm_split_moments *)at;
    m->ldt = frbm_split_columns(b->m);
    const uint64_t blocks = b->is_factored ? b->n_row_blocks / FRBM_SPLIT_FLUSH
                                           : ((uint64_t)1 << b->n) / FRBM_SPLIT_STATES;
    m->n_pieces = blocks < 1 ? 1 : blocks < FRBM_SPLIT_PIECES ? (size_t)blocks : FRBM_SPLIT_PIECES;
    for (size_t i = 0; i < m->n_pieces; ++i) {
        m->totals[i].products =
            (double *)frbm_workspace_take(w, (b->n + 1) * m->ldt * sizeof(double));
        m->totals[i].pairs = (double *)frbm_workspace_take(w, b->n * b->n * sizeof(double));
    }
    m->blocks = (uint32_t *)frbm_workspace_take(w, (b->m + 1) * sizeof(uint32_t));
    m->lane_bits =
        (double *)frbm_workspace_take(w, b->n_lanes * FRBM_FACTOR_PADDING * sizeof(double));
}

/* ------------------------------------------------------------------------------- a piece's rows */

static void clear(double *p, size_t n) { memset(p, 0, n * sizeof *p); }

/* Pairs of bits of the lanes of a panel, of weights x. */
static void add_lane_pairs(const struct frbm_split_buffers *b, size_t panel, const double *x,
                           double *pairs) {
    for (size_t l = 0; l < FRBM_FACTOR_LANES; ++l) {
        const size_t lane = panel * FRBM_FACTOR_LANES + l;
        for (size_t i = 0; i < b->lane_bits; ++i)
            for (size_t k = 0; lane >> i & 1 && k <= i; ++k)
                if (lane >> k & 1) pairs[i * b->n + k] += x[l];
    }
}

/* Column sums since the last flush to totals of lanes' bits; recent row sums to those of rows'. */
static void flush_columns(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                          thread_t *t, const frbm_split_totals_t *totals) {
    const size_t columns = b->n_narrow + b->n_wide + 1, ldt = b->moments->ldt;
    for (size_t p = 0; b->moments->with_pairs && p < b->n_panels; ++p)
        add_lane_pairs(b, p,
                       t->column_sums + p * frbm_split_stride(b) + b->n_narrow * FRBM_FACTOR_LANES,
                       totals->pairs);
    for (size_t j = 0; j < columns; ++j) {
        double by_bit[FRBM_FACTOR_BITS], *to = totals->products + j;
        const size_t at = j * FRBM_FACTOR_LANES;
        kernels->factors.columns(b->n_panels, frbm_split_stride(b),
                                 j < b->n_narrow ? b->y + at : NULL, t->column_sums + at, by_bit);
        to[0] += by_bit[0];
        for (size_t k = 0; k < b->lane_bits; ++k) to[(1 + k) * ldt] += by_bit[1 + k];
    }
}

static void flush_rows(const struct frbm_split_buffers *b, thread_t *t, uint64_t block,
                       const frbm_split_totals_t *totals) {
    const size_t ldt = b->moments->ldt, columns = b->n_narrow + b->n_wide + 1;
    for (size_t k = 0; k < b->row_bits; ++k) {
        double *to = totals->products + (1 + b->lane_bits + k) * ldt;
        const double *from = t->recent + (k >= RECENT_BITS ? 0 : k < 2 ? 1 + k : 2 + k) * ldt;
        if (k >= RECENT_BITS && !(block >> (k - 2) & 1)) continue;
        for (size_t j = 0; j < columns; ++j) to[j] += from[j];
    }
    clear(t->recent, (2 + RECENT_BITS) * ldt);
}

/* What one block of rows adds: row sums of D_j become those of p q_j. */
static void add_rows(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels, thread_t *t,
                     uint64_t block) {
    const size_t ldt = b->moments->ldt, columns = b->n_narrow + b->n_wide + 1;
    const double *here = t->recent + 3 * ldt;
    kernels->factors.fold(columns, b->n_narrow, t->row_sums, t->rows.u, b->ldu, ldt, t->folded,
                          t->recent);
    for (size_t k = 2; k < RECENT_BITS && k < b->row_bits; ++k) {
        if (!(block >> (k - 2) & 1)) continue;
        double *to = t->recent + (2 + k) * ldt;
        for (size_t j = 0; j < columns; ++j) to[j] += here[j];
    }
}

/* Pairs of row bits, and of a row bit with a lane bit. */
static void add_pairs(const struct frbm_split_buffers *b, const thread_t *t, uint64_t block,
                      const frbm_split_totals_t *totals) {
    for (size_t r = 0; r < FRBM_FACTOR_ROWS; ++r) {
        const double p = t->folded[r * b->moments->ldt + b->n_narrow];
        for (uint64_t row = block * FRBM_FACTOR_ROWS + r, left = row; left != 0; left &= left - 1) {
            const size_t i = (size_t)__builtin_ctzll(left);
            if (i >= b->row_bits) break;
            double *to = totals->pairs + (b->lane_bits + i) * b->n;
            for (size_t k = 0; k < b->lane_bits; ++k) to[k] += t->cross[r * FRBM_TILE + k];
            for (size_t k = 0; k <= i; ++k)
                if (row >> k & 1) to[b->lane_bits + k] += p;
        }
    }
}

static void add_cross(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                      thread_t *t, size_t panel, const double *p) {
    kernels->real[FRBM_FLOAT64].product_values(
        p, FRBM_FACTOR_LANES, 1, FRBM_FACTOR_ROWS, FRBM_FACTOR_LANES,
        b->moments->lane_bits + panel * FRBM_FACTOR_LANES * FRBM_FACTOR_PADDING,
        FRBM_FACTOR_PADDING, b->lane_bits, 1, t->cross);
}

/* One tile where all numbers stay in range: the suffix starts as the row's own factor. */
static void tile_direct(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                        thread_t *t, size_t panel) {
    const double *y = b->y + panel * frbm_split_stride(b);
    double *tile = t->rows.tile;
    kernels->factors.prefix(b->n_narrow + 1, t->rows.u, b->ldu, y,
                            b->direct + panel * FRBM_FACTOR_LANES, 0, t->prefix,
                            b->moments->with_pairs ? tile : NULL);
    kernels->factors.backward(b->n_narrow + 1, t->rows.u, b->ldu, y, t->prefix, t->suffix,
                              t->row_sums, t->column_sums + panel * frbm_split_stride(b));
    if (b->moments->with_pairs) {
        for (size_t i = 0; i < FRBM_FACTOR_TILE; ++i) tile[i] *= t->suffix[i];
        add_cross(b, kernels, t, panel, tile);
    }
}

/* One tile of any range. Its weights p need all factors, with their exponents; each block of units
 * is then taken again from where it started, and p over its last product is its suffix. */
static void tile_scaled(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                        thread_t *t, size_t panel) {
    const struct frbm_split_moments *m = b->moments;
    const double *y = b->y + panel * frbm_split_stride(b);
    double *columns = t->column_sums + panel * frbm_split_stride(b), p[FRBM_FACTOR_TILE];
    frbm_split_tile(b, kernels, &t->rows, panel, m->blocks, m->n_blocks, t->starts);
    memcpy(p, t->rows.tile, sizeof p);
    kernels->factors.weigh(t->rows.exponents, t->rows.f, t->rows.kf, p);
    for (size_t i = 0, j = 0; i < m->n_blocks; j = m->blocks[i++]) {
        double *tile = t->starts + i * FRBM_FACTOR_TILE;
        const size_t n = m->blocks[i] - j;
        kernels->factors.prefix(n, t->rows.u + j, b->ldu, y + j * FRBM_FACTOR_LANES, tile,
                                FRBM_FACTOR_LANES, t->prefix, tile);
        for (size_t k = 0; k < FRBM_FACTOR_TILE; ++k) t->suffix[k] = p[k] / tile[k];
        kernels->factors.backward(n, t->rows.u + j, b->ldu, y + j * FRBM_FACTOR_LANES, t->prefix,
                                  t->suffix, t->row_sums + j * FRBM_FACTOR_ROWS * FRBM_FACTOR_SLOTS,
                                  columns + j * FRBM_FACTOR_LANES);
    }
    if (b->n_wide > 0) {
        const size_t at = panel * frbm_split_wide_stride(b), j = b->n_narrow + 1;
        kernels->factors.wide_backward(b->n_wide, t->rows.wide_u, t->rows.wide_ku, b->ldu,
                                       b->wide_y + at, b->wide_ky + at, p,
                                       t->row_sums + j * FRBM_FACTOR_ROWS * FRBM_FACTOR_SLOTS,
                                       columns + j * FRBM_FACTOR_LANES);
    }
    if (m->with_pairs) add_cross(b, kernels, t, panel, p);
}

/* f 2^(kf - shift) / scale of the rows: as suffixes, or as they are for tile_scaled. */
static void scale_rows(const struct frbm_split_buffers *b, thread_t *t, int is_direct) {
    for (size_t r = 0; r < FRBM_FACTOR_ROWS; ++r) {
        t->rows.f[r] /= b->moments->scale;
        t->rows.kf[r] -= b->moments->shift;
        if (!is_direct) continue;
        const double f = t->rows.f[r] * frbm_power_of_two(t->rows.kf[r]);
        for (size_t l = 0; l < FRBM_FACTOR_LANES; ++l) t->suffix[r * FRBM_FACTOR_LANES + l] = f;
    }
}

static void run_piece(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                      size_t piece, int is_direct, double *scratch, frbm_stop_t *stop,
                      const frbm_team_t *team) {
    const uint64_t begin = frbm_split_piece(b, piece, b->n_row_blocks),
                   end = frbm_split_piece(b, piece + 1, b->n_row_blocks);
    const uint64_t interval = frbm_split_poll_interval(b);
    const size_t ldt = b->moments->ldt, columns = b->n_narrow + b->n_wide + 1;
    const frbm_split_totals_t *totals = &b->moments->totals[piece];
    frbm_workspace_t w = frbm_workspace(scratch);
    thread_t t;
    carve(&w, b, ldt, &t);
    frbm_split_rows_start(b, t.row_scratch, &t.rows);
    clear(totals->products, (b->n + 1) * ldt);
    clear(totals->pairs, b->n * b->n);
    clear(t.row_sums, columns * FRBM_FACTOR_ROWS * FRBM_FACTOR_SLOTS);
    clear(t.column_sums, b->n_panels * frbm_split_stride(b));
    clear(t.recent, (2 + RECENT_BITS) * ldt);
    for (uint64_t block = begin; block < end; ++block) {
        if (block % interval == 0) {
            if (frbm_stop_asked(stop, team)) return;
        }
        frbm_split_rows_go(b, kernels, block, &t.rows);
        scale_rows(b, &t, is_direct);
        if (b->moments->with_pairs) clear(t.cross, FRBM_FACTOR_ROWS * FRBM_TILE);
        for (size_t p = 0; p < b->n_panels; ++p)
            (is_direct ? tile_direct : tile_scaled)(b, kernels, &t, p);
        add_rows(b, kernels, &t, block);
        if (b->moments->with_pairs) add_pairs(b, &t, block, totals);
        if ((block + 1) % FRBM_SPLIT_FLUSH == 0 || block + 1 == end) {
            flush_columns(b, kernels, &t, totals);
            flush_rows(b, &t, block, totals);
        }
    }
}

/* ------------------------------------------------------------------------------------ the passes */

enum pass { SUM, MEANS, STATES_SUM, STATES_MEANS };

typedef struct {
    frbm_split_t *split;
    double beta, log_z;
    int is_direct, with_products;
    const frbm_exec_t *exec;
    enum pass pass;
} run_t;

static void one_piece(void *context, uint64_t number, const frbm_team_t *team, frbm_stop_t *stop) {
    const run_t *run = (const run_t *)context;
    const struct frbm_split_buffers *b = run->split->buffers;
    const frbm_kernels_t *kernels = run->exec->kernels;
    const size_t piece = (size_t)number;
    double *scratch = frbm_split_scratch(b, team);
    frbm_split_totals_t *totals = &b->moments->totals[piece];
    if (run->pass == SUM)
        totals->sum = frbm_split_sum_rows(b, kernels, frbm_split_piece(b, piece, b->n_row_blocks),
                                          frbm_split_piece(b, piece + 1, b->n_row_blocks), scratch,
                                          stop, team);
    else if (run->pass == MEANS)
        run_piece(b, kernels, piece, run->is_direct, scratch, stop, team);
    else if (run->pass == STATES_SUM)
        totals->sum.mantissa = frbm_split_sum_states(
            b, kernels, run->beta, frbm_split_piece(b, piece, (uint64_t)1 << b->n),
            frbm_split_piece(b, piece + 1, (uint64_t)1 << b->n), scratch, &totals->exponent, stop,
            team);
    else
        frbm_split_states_moments(b, kernels, run->beta, piece, run->log_z, run->with_products,
                                  scratch, stop, team);
}

static int all_pieces(run_t *run, enum pass pass) {
    const size_t n_pieces = run->split->buffers->moments->n_pieces;
    const int n_threads = frbm_team_size(frbm_split_threads(run->split, run->exec, n_pieces),
                                         4 * run->split->n_state_units);
    run->pass = pass;
    return frbm_share(run->exec, n_threads, n_pieces, one_piece, run);
}

/* Totals of all pieces into those of the first, in order. */
static frbm_split_totals_t *merge(const struct frbm_split_buffers *b) {
    struct frbm_split_moments *m = b->moments;
    frbm_split_totals_t *first = &m->totals[0];
    for (size_t i = 1; i < m->n_pieces; ++i) {
        const frbm_split_totals_t *t = &m->totals[i];
        for (size_t k = 0; k < (b->n + 1) * m->ldt; ++k) first->products[k] += t->products[k];
        for (size_t k = 0; m->with_pairs && k < b->n * b->n; ++k) first->pairs[k] += t->pairs[k];
    }
    return first;
}

/* Sums of pieces to one mantissa 2^exponent. */
static frbm_running_scaled_t merge_sums(const struct frbm_split_buffers *b) {
    frbm_running_scaled_t total = {{0, 0}, FRBM_SPLIT_NOTHING};
    for (size_t i = 0; i < b->moments->n_pieces; ++i) {
        const frbm_running_scaled_t *s = &b->moments->totals[i].sum;
        frbm_running_scaled_add(&total, s->mantissa.sum + s->mantissa.rest, s->exponent);
    }
    return total;
}

/* log(x 2^exponent exp(constant)) */
static double log_of(const struct frbm_split_buffers *b, double x, double exponent) {
    int shift;
    const double mantissa = frexp(x, &shift);
    const frbm_twofold_t e =
        frbm_twofold_add(b->constant, frbm_twofold_ln2_times(exponent + shift));
    return e.hi + (log(mantissa) + e.lo);
}

/* ----------------------------------------------------------------------------------- the results */

/* Where the moments of the two layers go: by enumerated unit and unit of the other layer. */
static void store(const frbm_split_t *split, const frbm_moments_t *out, size_t k, size_t j,
                  double value) {
    const size_t p = split->rbm.hidden.n;
    if (out->products != NULL)
        out->products[split->side == FRBM_VISIBLE ? k * p + j : j * p + k] = value;
}

static double *means_of(const frbm_moments_t *out, int side) {
    return side == FRBM_VISIBLE ? out->visible : out->hidden;
}

/* From sums with bits to means of states: x = low + width bit, y = low' + width' q. */
static void store_factored(const frbm_split_t *split, const frbm_split_totals_t *totals,
                           const frbm_moments_t *out) {
    const struct frbm_split_buffers *b = split->buffers;
    const frbm_unit_t *x = frbm_unit(b->enumerated.unit), *y = frbm_unit(b->other.unit);
    const double dx = x->high - x->low, dy = y->high - y->low;
    const size_t ldt = b->moments->ldt, p = b->n_narrow;
    const double norm = 1 / totals->products[p];
    double *enumerated = means_of(out, split->side), *other = means_of(out, 1 - split->side);
    double bits[FRBM_SPLIT_MAX_UNITS];
    for (size_t k = 0; k < b->n; ++k) {
        bits[k] = norm * totals->products[(1 + k) * ldt + p];
        if (enumerated != NULL) enumerated[k] = x->low + dx * bits[k];
    }
    size_t narrow = 0, wide = b->n_narrow + 1;
    for (size_t j = 0; j < b->m; ++j) {
        size_t column = p;
        double factor = norm; /* of sums of p where q does not depend on the state */
        if (b->kind[j] == FRBM_SPLIT_ACTIVE)
            column = narrow < b->n_narrow && b->unit[narrow] == j ? narrow++ : wide++;
        else if (b->kind[j] != FRBM_SPLIT_ON)
            factor *= b->kind[j] == FRBM_SPLIT_OFF ? 0 : b->constant_mean[j];
        const double q = factor * totals->products[column];
        if (other != NULL) other[j] = y->low + dy * q;
        for (size_t k = 0; k < b->n; ++k) {
            const double both = factor * totals->products[(1 + k) * ldt + column];
            store(split, out, k, j,
                  x->low * (y->low + dy * q) + dx * (y->low * bits[k] + dy * both));
        }
    }
    for (size_t i = 0; out->enumerated_products != NULL && i < b->n; ++i)
        for (size_t k = 0; k <= i; ++k) {
            const double value = x->low * x->low + x->low * dx * (bits[i] + bits[k]) +
                                 dx * dx * norm * totals->pairs[i * b->n + k];
            out->enumerated_products[i * b->n + k] = value;
            out->enumerated_products[k * b->n + i] = value;
        }
}

static void store_states(const frbm_split_t *split, const frbm_split_totals_t *totals,
                         const frbm_moments_t *out) {
    const struct frbm_split_buffers *b = split->buffers;
    const size_t ldt = b->moments->ldt;
    const double norm = 1 / totals->products[b->m];
    double *enumerated = means_of(out, split->side), *other = means_of(out, 1 - split->side);
    for (size_t j = 0; other != NULL && j < b->m; ++j) other[j] = norm * totals->products[j];
    for (size_t k = 0; k < b->n; ++k) {
        const double *row = totals->products + (1 + k) * ldt;
        if (enumerated != NULL) enumerated[k] = norm * row[b->m];
        for (size_t j = 0; j < b->m; ++j) store(split, out, k, j, norm * row[j]);
    }
    for (size_t i = 0; out->enumerated_products != NULL && i < b->n; ++i)
        for (size_t k = 0; k < b->n; ++k)
            out->enumerated_products[i * b->n + k] = norm * totals->pairs[i * b->n + k];
}

/* Weighted means and spreads of pieces, merged as Chan, Golub and LeVeque (1983) do. */
static void store_energy(const struct frbm_split_buffers *b, double *out) {
    double weight = 0, mean = 0, spread = 0, inner = 0;
    for (size_t i = 0; i < b->moments->n_pieces; ++i) {
        const frbm_split_totals_t *t = &b->moments->totals[i];
        if (!(t->weight > 0)) continue;
        const double sum = weight + t->weight, step = t->mean - mean;
        mean += step * (t->weight / sum);
        spread += t->spread + step * step * (weight * t->weight / sum);
        inner += t->inner;
        weight = sum;
    }
    out[0] = mean;
    out[1] = (spread + inner) / weight;
    out[2] = inner / weight;
}

/* ---------------------------------------------------------------------------------------- calls */

static void fill_lane_bits(const struct frbm_split_buffers *b) {
    for (size_t l = 0; l < b->n_lanes; ++l)
        for (size_t k = 0; k < FRBM_FACTOR_PADDING; ++k)
            b->moments->lane_bits[l * FRBM_FACTOR_PADDING + k] = (double)(l >> k & 1);
}

/* Factors: one pass where no weight can leave the range of doubles, else log Z first. */
static int factored(run_t *run, const frbm_moments_t *out, double *log_z) {
    struct frbm_split_buffers *b = run->split->buffers;
    struct frbm_split_moments *m = b->moments;
    double reach = 0, least = 0, most = 0;
    for (size_t k = 0; k < b->n; ++k) {
        reach += b->reach[k];
        if (k < b->lane_bits) continue;
        if (b->linear[k].exponent < 0)
            least += b->linear[k].exponent;
        else
            most += b->linear[k].exponent;
    }
    run->is_direct = b->n_wide == 0 && b->n_narrow < FRBM_SPLIT_PREFIXES &&
                     b->width + reach / 2 <= FRBM_SPLIT_RANGE;
    m->shift = run->is_direct ? rint((least + most) / 2) : 0;
    m->scale = 1;
    m->n_blocks =
        frbm_split_cut(b, b->n_narrow + 1, FRBM_SPLIT_PREFIXES, FRBM_SPLIT_REACH, m->blocks);
    if (m->with_pairs) fill_lane_bits(b);
    if (!run->is_direct) {
        const int rc = all_pieces(run, SUM);
        if (rc != FRBM_OK) return rc;
        const frbm_running_scaled_t total = merge_sums(b);
        const double sum = total.mantissa.sum + total.mantissa.rest;
        *log_z = log_of(b, sum, total.exponent);
        m->shift = total.exponent;
        m->scale = sum;
    }
    const int rc = all_pieces(run, MEANS);
    if (rc != FRBM_OK) return rc;
    const frbm_split_totals_t *totals = merge(b);
    if (run->is_direct)
        *log_z = log_of(b, totals->products[b->n_narrow], m->shift + b->direct_shift);
    store_factored(run->split, totals, out);
    return FRBM_OK;
}

static int by_states(run_t *run, const frbm_moments_t *out, double *log_z) {
    const struct frbm_split_buffers *b = run->split->buffers;
    int rc = all_pieces(run, STATES_SUM);
    if (rc != FRBM_OK) return rc;
    double most = -INFINITY;
    frbm_running_t sum = {0, 0};
    for (size_t i = 0; i < b->moments->n_pieces; ++i)
        most = fmax(most, b->moments->totals[i].exponent);
    for (size_t i = 0; i < b->moments->n_pieces; ++i) {
        const frbm_split_totals_t *t = &b->moments->totals[i];
        frbm_running_add(&sum,
                         (t->sum.mantissa.sum + t->sum.mantissa.rest) * exp(t->exponent - most));
    }
    *log_z = run->log_z = most + log(sum.sum + sum.rest);
    rc = all_pieces(run, STATES_MEANS);
    if (rc != FRBM_OK) return rc;
    if (out->energy != NULL) store_energy(b, out->energy);
    store_states(run->split, merge(b), out);
    return FRBM_OK;
}

int frbm_split_moments(frbm_split_t *split, double beta, const frbm_exec_t *exec,
                       const frbm_moments_t *out, double *log_z) {
    if (split == NULL || split->buffers == NULL || exec == NULL || out == NULL || log_z == NULL)
        return FRBM_ERROR_ARGUMENT;
    struct frbm_split_buffers *b = split->buffers;
    int rc = frbm_split_prepare(split, beta, exec->kernels);
    if (rc < 0) return rc;
    run_t run = {split, beta, 0, 0, 1, exec, SUM};
    b->moments->with_pairs = out->enumerated_products != NULL;
    b->moments->with_energy = out->energy != NULL;
    split->error_bound = b->error;
    if (!b->is_factored) {
        rc = by_states(&run, out, log_z);
    } else {
        rc = factored(&run, out, log_z);
        /* Flushes of a piece, then pieces, are added one after the other. */
        const size_t n_pieces = b->moments->n_pieces;
        const double flushes = (double)b->n_row_blocks / (double)(FRBM_SPLIT_FLUSH * n_pieces);
        split->error_bound += 0x1p-53 * (flushes + 1 + (double)n_pieces);
        if (rc == FRBM_OK && out->energy != NULL) {
            b->moments->with_pairs = 0;
            run.with_products = 0;
            run.log_z = *log_z;
            rc = all_pieces(&run, STATES_MEANS);
            if (rc == FRBM_OK) store_energy(b, out->energy);
        }
    }
    if (rc == FRBM_OK) split->error_bound += 2 * 0x1p-53 * (fabs(*log_z) + 1);
    return rc;
}
