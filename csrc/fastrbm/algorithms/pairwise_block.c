/*
 * One block of the three-panel product (docs/exact.md; R. Williams, "A new algorithm for optimal
 * 2-constraint satisfaction", Theor. Comput. Sci. 348 (2005); Scott & Sorkin, cs/0604079).
 *
 * With the units in three groups A, B, C and e_A, e_AB, ... the log-weights within and between them,
 *
 *     sum_{abc} F(a,b) G(b,c) H(c,a),   F = exp(e_A + e_AB), G = exp(e_B + e_BC), H = exp(e_C + e_CA).
 *
 * Every panel is a product of factors of single bits: for a state b the exponent e_BC is linear in
 * the bits of c. Each factor is taken relative to the larger of its two, so that entries are at
 * most 1 and each lane has one logarithm, its shift. Two tables of half the bits, multiplied, are a
 * strip; an entry costs two multiplications, a strip some hundred exponentials.
 *
 *     P(a,b) = sum_c G(b,c) H(c,a)          product_values: FMAs of the panels' type
 *     dots(b) = sum_a F(a,b) P(a,b)         weigh: in double
 *
 * Range. Entries below the smallest normal number `tiny` become 0 (as do products). With at most
 * FLUSHES flushes behind each term, each of them worth at most tiny times factors of at most 1,
 *
 *     lost(b) <= FLUSHES n_c (tiny_T sum_a F(a,b) + tiny_64 n_a)
 *
 * in units of the lane's exponent. A block of one c is summed by its largest term instead: nothing
 * is lost there.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "pairwise.h"

/* Factors of an entry: at most nine bits and a scale for each panel, the tables' and the panels'
 * products, the product over c and that with F. */
#define FLUSHES 64

#define LANE_BITS 6 /* FRBM_TILE lanes; they start at a state whose lowest bits are 0 */

/* Bits of the hi table; the lo table has the rest. */
static unsigned hi_bits(unsigned bits) { return bits - bits / 2; }

static double state_of(const frbm_pairwise_t *plan, uint64_t number, unsigned bit) {
    return (number >> bit & 1) != 0 ? plan->high : plan->low;
}

static size_t first_unit(const frbm_pairwise_t *plan, int group) {
    size_t first = 0;
    for (int g = 0; g < group; ++g) first += plan->bits[g];
    return first;
}

/* The lanes' side and the rows' side of a strip. */
typedef struct {
    int from, to;
    uint64_t first_from, first_to;
    unsigned to_bits; /* rows: states first_to ... of the lowest bits of group `to` */
} panel_t;

/* field[lane] of unit j of group `to`: what its states are multiplied with. The lanes differ in the
 * lowest bits of their states alone, so that they too are a table by doubling. */
static void lane_fields(const frbm_pairwise_t *plan, const panel_t *p, unsigned j,
                        double field[FRBM_TILE]) {
    const double *coupling =
        plan->coupling + (first_unit(plan, p->to) + j) * plan->n + first_unit(plan, p->from);
    field[0] = 0;
    for (unsigned i = LANE_BITS; i < plan->bits[p->from]; ++i)
        field[0] += coupling[i] * state_of(plan, p->first_from, i);
    for (unsigned i = 0; i < LANE_BITS; ++i) {
        const double k = i < plan->bits[p->from] ? coupling[i] : 0;
        const double low = k * plan->low, high = k * plan->high;
        const size_t filled = frbm_states_of(i);
        for (size_t l = 0; l < filled; ++l) {
            field[filled + l] = field[l] + high;
            field[l] += low;
        }
    }
}

/* Extend a table of 2^bit rows by a bit whose two states multiply lanes by `low` and `high`, or,
 * with logs, add to them. */
static void extend(double *table, unsigned bit, int logs, const double *low, const double *high) {
    const size_t filled = frbm_states_of(bit) * FRBM_TILE;
    for (size_t e = 0; e < filled; e += FRBM_TILE)
        for (size_t l = 0; l < FRBM_TILE; ++l) {
            double *here = table + e + l;
            here[filled] = logs ? *here + high[l] : *here * high[l];
            *here = logs ? *here + low[l] : *here * low[l];
        }
}

/* The two tables of a strip, as factors of at most 1 with the lanes' shifts, or as logarithms. */
static void tables(const frbm_pairwise_t *plan, const panel_t *p, int logs,
                   const frbm_pairwise_scratch_t *s, double shift[FRBM_TILE]) {
    const unsigned n_lo = p->to_bits / 2;
    double field[FRBM_TILE], low[FRBM_TILE], high[FRBM_TILE];
    for (size_t l = 0; l < FRBM_TILE; ++l) {
        shift[l] = 0;
        s->lo[l] = s->hi[l] = logs ? 0 : 1;
    }
    for (unsigned j = 0; j < plan->bits[p->to]; ++j) {
        lane_fields(plan, p, j, field);
        if (j >= p->to_bits) {
            const double x = state_of(plan, p->first_to, j);
            for (size_t l = 0; l < FRBM_TILE; ++l) shift[l] += field[l] * x;
            continue;
        }
        for (size_t l = 0; l < FRBM_TILE; ++l) {
            low[l] = field[l] * plan->low;
            high[l] = field[l] * plan->high;
            if (logs) continue;
            const double most = low[l] > high[l] ? low[l] : high[l];
            const double less = exp(-fabs(field[l]) * (plan->high - plan->low));
            shift[l] += most;
            const int is_low = low[l] > high[l];
            low[l] = is_low ? 1 : less;
            high[l] = is_low ? less : 1;
        }
        if (j < n_lo)
            extend(s->lo, j, logs, low, high);
        else
            extend(s->hi, j - n_lo, logs, low, high);
    }
}

static void to_float(size_t n, const double *x, float *out) {
    for (size_t i = 0; i < n; ++i) out[i] = (float)x[i];
}

/* scratch->log_strip = log-weights: the panel's, and those of its own rows or lanes. */
static void log_strip(const frbm_pairwise_t *plan, const panel_t *p, const double *own_rows,
                      const double *own_lanes, const frbm_pairwise_scratch_t *s) {
    double shift[FRBM_TILE];
    tables(plan, p, 1, s, shift);
    const size_t n_lo = frbm_states_of(p->to_bits / 2), n = frbm_states_of(p->to_bits);
    const size_t last = frbm_states_of(plan->bits[p->from]) - 1;
    for (size_t l = 0; l < FRBM_TILE && own_lanes != NULL; ++l)
        shift[l] += own_lanes[(p->first_from + l) & last];
    for (size_t r = 0; r < n; ++r) {
        const double *hi = s->hi + r / n_lo * FRBM_TILE, *lo = s->lo + r % n_lo * FRBM_TILE;
        const double own = own_rows == NULL ? 0 : own_rows[p->first_to + r];
        for (size_t l = 0; l < FRBM_TILE; ++l)
            s->log_strip[r * FRBM_TILE + l] = hi[l] + lo[l] + (shift[l] + own);
    }
}

/* out = the strip in the type asked, rows multiplied by scale (at most 1). */
static void strip(const frbm_pairwise_t *plan, const frbm_kernels_t *kernels, const panel_t *p,
                  int dtype, const double *scale, const frbm_pairwise_scratch_t *s,
                  double shift[FRBM_TILE], void *out) {
    tables(plan, p, 0, s, shift);
    const unsigned hi = hi_bits(p->to_bits), lo = p->to_bits - hi;
    const size_t n_hi = frbm_states_of(hi), n_lo = frbm_states_of(lo);
    if (dtype == FRBM_FLOAT64) {
        kernels->real[dtype].panel(n_hi, n_lo, s->hi, s->lo, scale, out);
        return;
    }
    float *hi32 = (float *)(void *)(s->hi + n_hi * FRBM_TILE);
    float *lo32 = (float *)(void *)(s->lo + n_lo * FRBM_TILE);
    float *scale32 = (float *)(void *)(s->scale + n_hi * n_lo);
    to_float(n_hi * FRBM_TILE, s->hi, hi32);
    to_float(n_lo * FRBM_TILE, s->lo, lo32);
    to_float(n_hi * n_lo, scale, scale32);
    kernels->real[dtype].panel(n_hi, n_lo, hi32, lo32, scale32, out);
}

static void multiply_powers(size_t n_rows, int power, double centre, const double *logs,
                            double *out) {
    for (int k = 0; k < power; ++k)
        for (size_t i = 0; i < n_rows * FRBM_TILE; ++i) out[i] *= logs[i] - centre;
}

/* scale[r] = exp(x[r] - max x); returns max x. */
static double scaled(size_t n, const double *x, double *scale) {
    double most = x[0];
    for (size_t r = 1; r < n; ++r) most = x[r] > most ? x[r] : most;
    for (size_t r = 0; r < n; ++r) scale[r] = exp(x[r] - most);
    return most;
}

static panel_t panel_f(const frbm_pairwise_t *plan, uint64_t first_a, uint64_t first_b) {
    const panel_t p = {FRBM_GROUP_B, FRBM_GROUP_A, first_b, first_a, plan->tile_bits[FRBM_GROUP_A]};
    return p;
}

void frbm_pairwise_log_panel(const frbm_pairwise_t *plan, uint64_t first_a, uint64_t first_b,
                             const frbm_pairwise_scratch_t *scratch) {
    const panel_t f = panel_f(plan, first_a, first_b);
    log_strip(plan, &f, plan->own[FRBM_GROUP_A], NULL, scratch);
}

/* --------------------------------------------------------------------- a block of several states */

/* The strips C x A of a block, and by how much each state of A is shifted. */
static void build_h(const frbm_pairwise_t *plan, const frbm_kernels_t *kernels,
                    const frbm_pairwise_block_t *b, const frbm_pairwise_powers_t *powers,
                    const frbm_pairwise_scratch_t *s) {
    const size_t n_a = frbm_states_of(plan->tile_bits[FRBM_GROUP_A]);
    const size_t n_c = frbm_states_of(b->block_bits), real = frbm_real_size(plan->dtype);
    const uint64_t first_c = b->first[FRBM_GROUP_C];
    const double most = scaled(n_c, plan->own[FRBM_GROUP_C] + first_c, s->scale);
    for (size_t a = 0; a < n_a; a += FRBM_TILE) {
        const panel_t p = {FRBM_GROUP_A, FRBM_GROUP_C, b->first[FRBM_GROUP_A] + a, first_c,
                           b->block_bits};
        double shift[FRBM_TILE];
        char *out = (char *)s->h + a * n_c * real;
        strip(plan, kernels, &p, plan->dtype, s->scale, s, shift, out);
        for (size_t l = 0; l < FRBM_TILE && a + l < n_a; ++l) s->k_shift[a + l] = shift[l] + most;
        if (powers != NULL && powers->power[2] > 0) {
            log_strip(plan, &p, plan->own[FRBM_GROUP_C], NULL, s);
            multiply_powers(n_c, powers->power[2], powers->centre[2], s->log_strip,
                            (double *)(void *)out);
        }
    }
}

static void visit_product(const frbm_pairwise_t *plan, const frbm_kernels_t *kernels,
                          const frbm_pairwise_block_t *b, const frbm_pairwise_powers_t *powers,
                          int keep, const frbm_pairwise_scratch_t *s, frbm_pairwise_visit_t visit,
                          void *context) {
    const size_t n_a = frbm_states_of(plan->tile_bits[FRBM_GROUP_A]);
    const size_t n_b = frbm_states_of(plan->tile_bits[FRBM_GROUP_B]);
    const size_t n_c = frbm_states_of(b->block_bits), real = frbm_real_size(plan->dtype);
    const size_t lanes = n_b < FRBM_TILE ? n_b : FRBM_TILE;
    const double tiny = plan->dtype == FRBM_FLOAT32 ? (double)FLT_MIN : DBL_MIN;
    const frbm_real_kernels_t *k = &kernels->real[plan->dtype];
    build_h(plan, kernels, b, powers, s);
    double *const scale_a = s->k_shift + n_a;
    for (size_t a = 0; a < n_a; ++a)
        s->k_shift[a] += plan->own[FRBM_GROUP_A][b->first[FRBM_GROUP_A] + a];
    const double most = scaled(n_a, s->k_shift, scale_a);
    double *const ones = s->scale;
    for (size_t c = 0; c < n_c; ++c) ones[c] = 1;
    for (size_t b0 = 0; b0 < n_b; b0 += FRBM_TILE) {
        const uint64_t first_b = b->first[FRBM_GROUP_B] + b0;
        const panel_t g = {FRBM_GROUP_B, FRBM_GROUP_C, first_b, b->first[FRBM_GROUP_C],
                           b->block_bits};
        const panel_t f = panel_f(plan, b->first[FRBM_GROUP_A], first_b);
        double g_shift[FRBM_TILE], f_shift[FRBM_TILE], exponents[FRBM_TILE], lost[FRBM_TILE];
        double dots[FRBM_TILE] = {0}, sums[FRBM_TILE] = {0};
        strip(plan, kernels, &g, plan->dtype, ones, s, g_shift, s->g);
        strip(plan, kernels, &f, FRBM_FLOAT64, scale_a, s, f_shift, s->f);
        if (powers != NULL && powers->power[1] > 0) {
            log_strip(plan, &g, NULL, plan->own[FRBM_GROUP_B], s);
            multiply_powers(n_c, powers->power[1], powers->centre[1], s->log_strip, (double *)s->g);
        }
        if (powers != NULL && powers->power[0] > 0) {
            log_strip(plan, &f, plan->own[FRBM_GROUP_A], NULL, s);
            multiply_powers(n_a, powers->power[0], powers->centre[0], s->log_strip, s->f);
        }
        for (size_t a = 0; a < n_a; a += FRBM_TILE) {
            const size_t rows = n_a - a < FRBM_TILE ? n_a - a : FRBM_TILE;
            memset(s->tile, 0, rows * FRBM_TILE * real);
            k->product_values((const char *)s->h + a * n_c * real, 1, FRBM_TILE, rows, n_c, s->g,
                              FRBM_TILE, lanes, 1, s->tile);
            k->weigh(rows, s->f + a * FRBM_TILE, s->tile, keep, dots, sums);
        }
        for (size_t l = 0; l < lanes; ++l) {
            exponents[l] =
                plan->own[FRBM_GROUP_B][first_b + l] + (g_shift[l] + (f_shift[l] + most));
            lost[l] = FLUSHES * (double)n_c * (tiny * sums[l] + DBL_MIN * (double)n_a);
        }
        const frbm_pairwise_strip_t out = {first_b, lanes, exponents, s->f, dots, lost};
        visit(context, &out);
    }
}

/* ----------------------------------------------------------------------- a block of one state c */

/* The log-weights of one c with the states of a group: row[state] = own + coupling + own_c. */
static double coupled(const frbm_pairwise_t *plan, int group, uint64_t state, uint64_t c) {
    const size_t from = first_unit(plan, group), to = first_unit(plan, FRBM_GROUP_C);
    double sum = 0;
    for (unsigned i = 0; i < plan->bits[group]; ++i) {
        double field = 0;
        for (unsigned j = 0; j < plan->bits[FRBM_GROUP_C]; ++j)
            field += plan->coupling[(from + i) * plan->n + to + j] * state_of(plan, c, j);
        sum += field * state_of(plan, state, i);
    }
    return sum;
}

static double factor(const frbm_pairwise_powers_t *powers, int k, double log_weight) {
    double x = 1;
    for (int p = 0; powers != NULL && p < powers->power[k]; ++p)
        x *= log_weight - powers->centre[k];
    return x;
}

static void visit_single(const frbm_pairwise_t *plan, const frbm_pairwise_block_t *b,
                         const frbm_pairwise_powers_t *powers, const frbm_pairwise_scratch_t *s,
                         frbm_pairwise_visit_t visit, void *context) {
    const size_t n_a = frbm_states_of(plan->tile_bits[FRBM_GROUP_A]);
    const size_t n_b = frbm_states_of(plan->tile_bits[FRBM_GROUP_B]);
    const size_t lanes = n_b < FRBM_TILE ? n_b : FRBM_TILE;
    const uint64_t c = b->first[FRBM_GROUP_C], first_a = b->first[FRBM_GROUP_A];
    const double own_c = plan->own[FRBM_GROUP_C][c];
    for (size_t a = 0; a < n_a; ++a)
        s->k_shift[a] = own_c + coupled(plan, FRBM_GROUP_A, first_a + a, c);
    if (lanes < FRBM_TILE) memset(s->f, 0, n_a * FRBM_TILE * sizeof *s->f);
    for (size_t b0 = 0; b0 < n_b; b0 += FRBM_TILE) {
        const uint64_t first_b = b->first[FRBM_GROUP_B] + b0;
        double exponents[FRBM_TILE], dots[FRBM_TILE] = {0};
        static const double nothing[FRBM_TILE] = {0};
        frbm_pairwise_log_panel(plan, first_a, first_b, s);
        for (size_t l = 0; l < lanes; ++l) {
            const double g =
                plan->own[FRBM_GROUP_B][first_b + l] + coupled(plan, FRBM_GROUP_B, first_b + l, c);
            double most = -INFINITY;
            for (size_t a = 0; a < n_a; ++a) {
                const double x = s->log_strip[a * FRBM_TILE + l] + s->k_shift[a];
                most = x > most ? x : most;
            }
            for (size_t a = 0; a < n_a; ++a) {
                const double f = s->log_strip[a * FRBM_TILE + l];
                const double w = exp(f + s->k_shift[a] - most) * factor(powers, 0, f) *
                                 factor(powers, 1, g) * factor(powers, 2, s->k_shift[a]);
                s->f[a * FRBM_TILE + l] = w;
                dots[l] += w;
            }
            exponents[l] = g + most;
        }
        const frbm_pairwise_strip_t out = {first_b, lanes, exponents, s->f, dots, nothing};
        visit(context, &out);
    }
}

void frbm_pairwise_visit(const frbm_pairwise_t *plan, const frbm_kernels_t *kernels,
                         const frbm_pairwise_block_t *block, const frbm_pairwise_powers_t *powers,
                         int keep_weights, const frbm_pairwise_scratch_t *scratch,
                         frbm_pairwise_visit_t visit, void *context) {
    if (block->block_bits == 0)
        visit_single(plan, block, powers, scratch, visit, context);
    else
        visit_product(plan, kernels, block, powers, keep_weights, scratch, visit, context);
}
