/*
 * The three-panel product over all states: how the space is cut, and its sum.
 *
 * A shard is 2^tile_bits states of each of A, B and C: panels that fit the caches, so that memory
 * does not grow with n, and a few milliseconds of work. Shards know nothing of each other; threads
 * take whole ones. Within a shard everything has one order.
 *
 * Expected, against a dense matrix product of as many multiply-adds in float64: panels cost
 * 2 / 512 + 1 / 1024 entries a multiply-add, weighing 1 / 256, so 3% above the product itself.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "fastrbm/core/flush.h"
#include "fastrbm/layers/unit.h"
#include "pairwise.h"

/* Shards to have, for threads to share out evenly, before tiles are as large as they may be. */
#define ENOUGH_SHARDS 64
/* Log-weights beyond this are further apart than double precision can tell. */
#define LARGEST 1e15

/* Even groups; B fills the lanes of a strip first. */
static void cut(size_t n, unsigned bits[3]) {
    const unsigned units = (unsigned)n, third = (units + 2) / 3;
    const unsigned full = units < 6 ? units : 6;
    bits[FRBM_GROUP_B] = third > full ? third : full;
    bits[FRBM_GROUP_C] = (units - bits[FRBM_GROUP_B] + 1) / 2;
    bits[FRBM_GROUP_A] = units - bits[FRBM_GROUP_B] - bits[FRBM_GROUP_C];
}

static unsigned at_most(unsigned x, unsigned most) { return x < most ? x : most; }

static size_t n_shards(const frbm_pairwise_t *plan) {
    unsigned bits = 0;
    for (int g = 0; g < 3; ++g) bits += plan->bits[g] - plan->tile_bits[g];
    return frbm_states_of(bits);
}

static int lay_out(frbm_pairwise_t *plan, size_t n, const unsigned *bits) {
    if (n < 1 || n > FRBM_PAIRWISE_MAX_UNITS) return FRBM_ERROR_ARGUMENT;
    plan->n = n;
    cut(n, plan->bits);
    if (bits != NULL) memcpy(plan->bits, bits, sizeof plan->bits);
    for (int g = 0; g < 3; ++g)
        if (plan->bits[g] > FRBM_PAIRWISE_MAX_UNITS / 2) return FRBM_ERROR_ARGUMENT;
    if (plan->bits[0] + plan->bits[1] + plan->bits[2] != n) return FRBM_ERROR_ARGUMENT;
    unsigned *tile = plan->tile_bits;
    tile[FRBM_GROUP_A] = at_most(plan->bits[FRBM_GROUP_A], FRBM_ROWS_BITS);
    tile[FRBM_GROUP_B] = at_most(plan->bits[FRBM_GROUP_B], FRBM_COLUMNS_BITS);
    tile[FRBM_GROUP_C] = at_most(plan->bits[FRBM_GROUP_C], FRBM_BLOCK_BITS);
    while (n_shards(plan) < ENOUGH_SHARDS) {
        const int g = tile[FRBM_GROUP_B] >= tile[FRBM_GROUP_A] ? FRBM_GROUP_B : FRBM_GROUP_A;
        if (tile[g] <= 6) break;
        --tile[g];
    }
    plan->n_shards = n_shards(plan);
    return FRBM_OK;
}

static void take_own(frbm_pairwise_t *plan, frbm_workspace_t *w) {
    for (int g = 0; g < 3; ++g)
        plan->own[g] =
            (double *)frbm_workspace_take(w, frbm_states_of(plan->bits[g]) * sizeof(double));
}

size_t frbm_pairwise_size(size_t n, const unsigned *bits) {
    frbm_pairwise_t plan;
    frbm_workspace_t w = frbm_workspace(NULL);
    if (lay_out(&plan, n, bits) < 0) return 0;
    take_own(&plan, &w);
    return frbm_workspace_size(&w);
}

/* own[state] = linear . x + sum_{i<j} coupling_ij x_i x_j within one group. */
static void own_log_weights(const frbm_pairwise_t *plan, size_t first, unsigned bits, double *own) {
    for (size_t state = 0; state < frbm_states_of(bits); ++state) {
        double sum = 0;
        for (unsigned i = 0; i < bits; ++i) {
            const double *row = plan->coupling + (first + i) * plan->n + first;
            double field = plan->linear[first + i];
            for (unsigned j = 0; j < i; ++j)
                field += row[j] * ((state >> j & 1) != 0 ? plan->high : plan->low);
            sum += field * ((state >> i & 1) != 0 ? plan->high : plan->low);
        }
        own[state] = sum;
    }
}

int frbm_pairwise_init(frbm_pairwise_t *plan, size_t n, double low, double high,
                       const double *linear, const double *coupling, int dtype,
                       const unsigned *bits, void *memory, size_t size) {
    if (plan == NULL || linear == NULL || coupling == NULL || !(low < high))
        return FRBM_ERROR_ARGUMENT;
    if (dtype != FRBM_FLOAT32 && dtype != FRBM_FLOAT64) return FRBM_ERROR_DTYPE;
    const int rc = lay_out(plan, n, bits);
    if (rc < 0) return rc;
    const double most = fabs(low) > fabs(high) ? fabs(low) : fabs(high);
    double size_of_all = 0;
    for (size_t i = 0; i < n; ++i) {
        if (!isfinite(linear[i])) return FRBM_ERROR_PARAMETER;
        size_of_all += fabs(linear[i]) * most;
        for (size_t j = 0; j < n; ++j) {
            if (i == j) continue;
            if (!isfinite(coupling[i * n + j])) return FRBM_ERROR_PARAMETER;
            size_of_all += 0.5 * fabs(coupling[i * n + j]) * most * most;
        }
    }
    if (!(size_of_all <= LARGEST)) return FRBM_ERROR_RANGE;
    if (memory == NULL || size < frbm_pairwise_size(n, bits)) return FRBM_ERROR_WORKSPACE;
    plan->low = low;
    plan->high = high;
    plan->linear = linear;
    plan->coupling = coupling;
    plan->dtype = dtype;
    frbm_workspace_t w = frbm_workspace(memory);
    take_own(plan, &w);
    for (size_t g = 0, first = 0; g < 3; first += plan->bits[g++])
        own_log_weights(plan, first, plan->bits[g], plan->own[g]);
    return FRBM_OK;
}

double frbm_pairwise_relative_error(const frbm_pairwise_t *plan) {
    /* Lanes, strips, and blocks are summed one level after the other. Of an entry: bits of factors and exponentials (2 units each) and a few products. */
    const unsigned bits = plan->tile_bits[0] + 2 * plan->tile_bits[2];
    const double entry = 3.0 * bits + 16;
    const double sums = (double)frbm_states_of(plan->tile_bits[FRBM_GROUP_A]) +
                        (double)frbm_strips(plan->tile_bits[FRBM_GROUP_B]) + FRBM_TILE +
                        (double)frbm_states_of(FRBM_BLOCK_BITS);
    const double product = (double)frbm_states_of(plan->tile_bits[FRBM_GROUP_C]) + 10;
    const double unit = plan->dtype == FRBM_FLOAT32 ? 0.5 * FLT_EPSILON : 0.5 * DBL_EPSILON;
    return 0.5 * DBL_EPSILON * (entry + sums) + unit * product;
}

/* ---------------------------------------------------------------------------------- workspaces */

frbm_pairwise_scratch_t frbm_pairwise_scratch(const frbm_pairwise_t *plan, frbm_workspace_t *w) {
    const size_t real = frbm_real_size(plan->dtype), row = FRBM_TILE * sizeof(double);
    const size_t n_c = frbm_states_of(plan->tile_bits[FRBM_GROUP_C]);
    const size_t n_a = frbm_strips(plan->tile_bits[FRBM_GROUP_A]) * FRBM_TILE;
    const size_t most = n_a > n_c ? n_a : n_c;
    const unsigned a = plan->tile_bits[FRBM_GROUP_A], c = plan->tile_bits[FRBM_GROUP_C];
    const size_t table = frbm_states_of(((a > c ? a : c) + 1) / 2);
    frbm_pairwise_scratch_t s;
    s.h = frbm_workspace_take(w, n_a * n_c * real);
    s.g = frbm_workspace_take(w, n_c * FRBM_TILE * real);
    s.f = (double *)frbm_workspace_take(w, n_a * row);
    s.tile = frbm_workspace_take(w, FRBM_TILE * FRBM_TILE * real);
    s.hi = (double *)frbm_workspace_take(w, 2 * table * row);
    s.lo = (double *)frbm_workspace_take(w, 2 * table * row);
    s.scale = (double *)frbm_workspace_take(w, 2 * most * sizeof(double));
    s.k_shift = (double *)frbm_workspace_take(w, 2 * n_a * sizeof(double));
    s.log_strip = (double *)frbm_workspace_take(w, most * row);
    s.rest = NULL;
    s.team = NULL;
    s.stop = NULL;
    return s;
}

static size_t scratch_bytes(const frbm_pairwise_t *plan) {
    frbm_workspace_t w = frbm_workspace(NULL);
    frbm_pairwise_scratch(plan, &w);
    return w.used;
}

size_t frbm_pairwise_workspace_size(const frbm_pairwise_t *plan, int n_threads) {
    return (size_t)(n_threads < 1 ? 1 : n_threads) * scratch_bytes(plan) + FRBM_ALIGNMENT;
}

/* --------------------------------------------------------------------------------------- shards */

void frbm_pairwise_place(const frbm_pairwise_t *plan, uint64_t index, uint64_t first[3]) {
    for (int g = 2; g >= 0; --g) { /* C runs fastest */
        const unsigned bits = plan->bits[g] - plan->tile_bits[g];
        first[g] = (index & (frbm_states_of(bits) - 1)) << plan->tile_bits[g];
        index >>= bits;
    }
}

frbm_pairwise_block_t frbm_pairwise_block(const frbm_pairwise_t *plan, uint64_t index,
                                          unsigned block_bits, size_t block) {
    frbm_pairwise_block_t b = {{0, 0, 0}, block_bits};
    frbm_pairwise_place(plan, index, b.first);
    b.first[FRBM_GROUP_C] += (uint64_t)block << block_bits;
    return b;
}

typedef struct {
    const frbm_pairwise_t *plan;
    const frbm_workspace_t *w;
    size_t scratch_size;
    frbm_pairwise_one_t one;
    void *context;
} each_t;

static void do_one(void *context, uint64_t number, const frbm_team_t *team, frbm_stop_t *stop) {
    const each_t *each = (const each_t *)context;
    frbm_workspace_t mine = *each->w;
    mine.used += (size_t)team->thread * each->scratch_size;
    frbm_pairwise_scratch_t scratch = frbm_pairwise_scratch(each->plan, &mine);
    scratch.rest = &mine;
    scratch.team = team;
    scratch.stop = stop;
    const unsigned before = frbm_flush_start();
    each->one(each->context, (size_t)number, &scratch);
    frbm_flush_end(before);
}

int frbm_pairwise_for_each(const frbm_pairwise_t *plan, size_t n, double work,
                           const frbm_workspace_t *w, size_t scratch_size, const frbm_exec_t *exec,
                           frbm_pairwise_one_t one, void *context) {
    each_t each = {plan, w, scratch_size, one, context};
    return frbm_share(exec, frbm_team_size(exec->n_threads, work), n, do_one, &each);
}

/* Multiply-adds of a shard: what a block's panels and weights cost counts as 24. */
static double shard_work(const frbm_pairwise_t *plan, unsigned block_bits) {
    const unsigned bits = plan->tile_bits[0] + plan->tile_bits[1] + plan->tile_bits[2];
    return ldexp(1.0, (int)bits) * (1 + 24 / (double)frbm_states_of(block_bits));
}

typedef struct {
    const frbm_pairwise_t *plan;
    const frbm_kernels_t *kernels;
    const uint64_t *indices;
    unsigned block_bits;
    const frbm_pairwise_powers_t *powers;
    frbm_partial_t *partials;
} run_t;

void frbm_pairwise_join(frbm_partial_t *sum, double exponent, double mantissa, double lost) {
    if (exponent > sum->exponent) {
        const double factor = exp(sum->exponent - exponent);
        sum->mantissa *= factor;
        sum->lost *= factor;
        sum->exponent = exponent;
    }
    const double weight = exp(exponent - sum->exponent);
    sum->mantissa += weight * mantissa;
    sum->lost += weight * lost;
}

void frbm_pairwise_add(frbm_partial_t *sum, const frbm_pairwise_strip_t *strip) {
    double most = strip->exponents[0], mantissa = 0, lost = 0;
    for (size_t l = 1; l < strip->lanes; ++l)
        most = strip->exponents[l] > most ? strip->exponents[l] : most;
    for (size_t l = 0; l < strip->lanes; ++l) {
        const double weight = exp(strip->exponents[l] - most);
        mantissa += weight * strip->dots[l];
        lost += weight * strip->lost[l];
    }
    frbm_pairwise_join(sum, most, mantissa, lost);
}

static void add_strip(void *context, const frbm_pairwise_strip_t *strip) {
    frbm_pairwise_add((frbm_partial_t *)context, strip);
}

static void run_shard(void *context, size_t number, const frbm_pairwise_scratch_t *scratch) {
    const run_t *run = (const run_t *)context;
    frbm_partial_t sum = {run->indices[number], -INFINITY, 0, 0};
    for (size_t k = 0; k < frbm_pairwise_n_blocks(run->plan, run->block_bits); ++k) {
        const frbm_pairwise_block_t block =
            frbm_pairwise_block(run->plan, run->indices[number], run->block_bits, k);
        frbm_partial_t part = {0, -INFINITY, 0, 0};
        frbm_pairwise_visit(run->plan, run->kernels, &block, run->powers, 0, scratch, add_strip,
                            &part);
        frbm_pairwise_join(&sum, part.exponent, part.mantissa, part.lost);
        if (frbm_stop_asked(scratch->stop, scratch->team)) return;
    }
    run->partials[number] = sum;
}

int frbm_pairwise_check(const frbm_pairwise_t *plan) {
    const int ok = plan != NULL && plan->linear != NULL && plan->coupling != NULL &&
                   plan->n_shards >= 1 && plan->own[0] != NULL;
    return ok ? FRBM_OK : FRBM_ERROR_ARGUMENT;
}

int frbm_pairwise_run(const frbm_pairwise_t *plan, size_t n_indices, const uint64_t *indices,
                      unsigned block_bits, const frbm_pairwise_powers_t *powers, void *workspace,
                      size_t size, const frbm_exec_t *exec, frbm_partial_t *partials) {
    const int rc = frbm_pairwise_check(plan);
    if (rc < 0) return rc;
    if (indices == NULL || exec == NULL || partials == NULL ||
        block_bits > plan->tile_bits[FRBM_GROUP_C])
        return FRBM_ERROR_ARGUMENT;
    if (powers != NULL && plan->dtype != FRBM_FLOAT64) return FRBM_ERROR_DTYPE;
    for (size_t i = 0; i < n_indices; ++i)
        if (indices[i] >= plan->n_shards) return FRBM_ERROR_ARGUMENT;
    if (workspace == NULL || size < frbm_pairwise_workspace_size(plan, exec->n_threads))
        return FRBM_ERROR_WORKSPACE;
    run_t run = {plan, exec->kernels, indices, block_bits, powers, partials};
    const frbm_workspace_t w = frbm_workspace(workspace);
    return frbm_pairwise_for_each(plan, n_indices, (double)n_indices * shard_work(plan, block_bits),
                                  &w, scratch_bytes(plan), exec, run_shard, &run);
}

/* ------------------------------------------------------------------------------ one block's pairs */

typedef struct {
    uint64_t first_b;
    size_t n_a, n_b;
    double *exponents, *weights;
} tile_t;

static void store_strip(void *context, const frbm_pairwise_strip_t *strip) {
    const tile_t *tile = (const tile_t *)context;
    const size_t column = (size_t)(strip->first_b - tile->first_b);
    memcpy(tile->exponents + column, strip->exponents, strip->lanes * sizeof(double));
    for (size_t a = 0; a < tile->n_a; ++a)
        memcpy(tile->weights + a * tile->n_b + column, strip->f + a * FRBM_TILE,
               strip->lanes * sizeof(double));
}

int frbm_pairwise_tile(const frbm_pairwise_t *plan, uint64_t index, unsigned block_bits,
                       size_t block, void *workspace, size_t size, const frbm_exec_t *exec,
                       double *exponents, double *weights) {
    const int rc = frbm_pairwise_check(plan);
    if (rc < 0) return rc;
    if (exec == NULL || exponents == NULL || weights == NULL || index >= plan->n_shards ||
        block_bits > plan->tile_bits[FRBM_GROUP_C] ||
        block >= frbm_pairwise_n_blocks(plan, block_bits))
        return FRBM_ERROR_ARGUMENT;
    if (workspace == NULL || size < frbm_pairwise_workspace_size(plan, 1))
        return FRBM_ERROR_WORKSPACE;
    frbm_workspace_t w = frbm_workspace(workspace);
    const frbm_pairwise_scratch_t scratch = frbm_pairwise_scratch(plan, &w);
    const frbm_pairwise_block_t b = frbm_pairwise_block(plan, index, block_bits, block);
    tile_t tile = {b.first[FRBM_GROUP_B], frbm_states_of(plan->tile_bits[FRBM_GROUP_A]),
                   frbm_states_of(plan->tile_bits[FRBM_GROUP_B]), exponents, weights};
    const unsigned before = frbm_flush_start();
    frbm_pairwise_visit(plan, exec->kernels, &b, NULL, 1, &scratch, store_strip, &tile);
    frbm_flush_end(before);
    return FRBM_OK;
}
