/*
 * Moments of the units of A and B under the law of all three groups:
 *
 *     p(a, b) = F(a,b) P(a,b) / Z,      <x_i x_j> = sum_ab p(a,b) x_i x_j,
 *
 * at the cost of the sum itself: the products P are weighed as in pairwise.c, the weights of a strip
 * are kept and folded over the bits of A, and what remains is one number a lane, bit and pair.
 * States count as 0 or 1 until the end. Shards are shared out in at most N_SLOTS fixed runs, each with
 * one exponent; slots are added in order, so that no bit depends on the threads.
 *
 * The variance of the log-weight of panel A is merged over lanes by weight, mean and sum of squares
 * (Chan, Golub & LeVeque 1979), each lane about its heaviest state, so that nothing cancels at low
 * temperature.
 */
#include <math.h>
#include <string.h>

#include "pairwise.h"

/* Runs of shards: enough for many threads, few enough for memory. */
#define N_SLOTS 1024

/* What a slot has seen, in units of exp(exponent). */
typedef struct {
    double exponent;
    double total;
    double log_mean, log_square; /* of panel A's log-weight; sum of weighted squares about it */
    double *first, *second;      /* K and K x K; of the pairs i < j alone */
} slot_t;

/* One thread's: weights of a shard's states of A, by lane, and folded over their bits. */
typedef struct {
    double *by_a;  /* rows of lanes, in units of the slot's exponent */
    double *fold;  /* scratch of the same shape */
    double *bit_a; /* sums over the states of A with a bit set, a row a bit */
} fold_t;

typedef struct {
    const frbm_pairwise_t *plan;
    const frbm_kernels_t *kernels;
    const uint8_t *block_bits;
    int with_energy;
    slot_t *slots;
    frbm_partial_t *partials;
} moments_t;

typedef struct {
    const frbm_pairwise_t *plan;
    const frbm_kernels_t *kernels;
    const frbm_pairwise_scratch_t *scratch;
    int with_energy;
    uint64_t first_a;
    slot_t *slot;
    frbm_partial_t block; /* the sum of one */
    fold_t fold;
} shard_t;

static size_t n_outer(const frbm_pairwise_t *plan) {
    return (size_t)plan->bits[FRBM_GROUP_A] + plan->bits[FRBM_GROUP_B];
}

static size_t n_rows(const frbm_pairwise_t *plan) {
    return frbm_states_of(plan->tile_bits[FRBM_GROUP_A]);
}

static void rescale(shard_t *s, double exponent) {
    slot_t *slot = s->slot;
    if (!(exponent > slot->exponent)) return;
    const double factor = exp(slot->exponent - exponent);
    const size_t k = n_outer(s->plan);
    slot->exponent = exponent;
    slot->total *= factor;
    slot->log_square *= factor;
    for (size_t i = 0; i < k; ++i) slot->first[i] *= factor;
    for (size_t i = 0; i < k * k; ++i) slot->second[i] *= factor;
    for (size_t i = 0; i < n_rows(s->plan) * FRBM_TILE; ++i) s->fold.by_a[i] *= factor;
}

/* Weight w at this mean with this weighted square about it. */
static void merge_log(slot_t *slot, double total_before, double w, double mean, double square) {
    if (!(w > 0)) return;
    const double all = total_before + w, d = mean - slot->log_mean;
    slot->log_mean += d * (w / all);
    slot->log_square += square + d * d * (total_before * (w / all));
}

/* The variance of panel A's log-weight over the states a of each lane. */
static void add_log(shard_t *s, const frbm_pairwise_strip_t *strip, const double *z) {
    const size_t n = n_rows(s->plan);
    double total = s->slot->total;
    frbm_pairwise_log_panel(s->plan, s->first_a, strip->first_b, s->scratch);
    for (size_t l = 0; l < strip->lanes; ++l) {
        const double *logs = s->scratch->log_strip + l, *w = strip->f + l;
        size_t heaviest = 0;
        for (size_t a = 0; a < n; ++a)
            if (w[a * FRBM_TILE] > w[heaviest * FRBM_TILE]) heaviest = a;
        const double about = logs[heaviest * FRBM_TILE];
        double sum = 0, square = 0;
        for (size_t a = 0; a < n; ++a) {
            const double d = logs[a * FRBM_TILE] - about, wd = w[a * FRBM_TILE] * d;
            sum += wd;
            square += wd * d;
        }
        const double dot = strip->dots[l];
        if (!(dot > 0)) continue;
        merge_log(s->slot, total, z[l] * dot, about + sum / dot,
                  z[l] * (square - sum * (sum / dot)));
        total += z[l] * dot;
    }
}

/* bit_a[i][lane] = sum of the weights of states of A with bit i set, and by_a. */
static void fold_rows(const shard_t *s, const frbm_pairwise_strip_t *strip, const double *z) {
    const unsigned local = s->plan->tile_bits[FRBM_GROUP_A];
    s->kernels->fold(local, strip->f, z, s->fold.by_a, s->fold.fold, s->fold.bit_a);
    for (unsigned i = local; i < s->plan->bits[FRBM_GROUP_A]; ++i)
        for (size_t l = 0; l < FRBM_TILE; ++l)
            s->fold.bit_a[i * FRBM_TILE + l] = (s->first_a >> i & 1) != 0 ? strip->dots[l] : 0;
}

static void add_strip(void *context, const frbm_pairwise_strip_t *strip) {
    shard_t *s = (shard_t *)context;
    slot_t *slot = s->slot;
    const unsigned n_a = s->plan->bits[FRBM_GROUP_A], n_b = s->plan->bits[FRBM_GROUP_B];
    const size_t k = n_outer(s->plan);
    double z[FRBM_TILE] = {0}, most = strip->exponents[0];
    for (size_t l = 0; l < strip->lanes; ++l)
        most = strip->exponents[l] > most ? strip->exponents[l] : most;
    rescale(s, most);
    for (size_t l = 0; l < strip->lanes; ++l) z[l] = exp(strip->exponents[l] - slot->exponent);
    frbm_pairwise_add(&s->block, strip);
    if (s->with_energy) add_log(s, strip, z);
    fold_rows(s, strip, z);
    for (size_t l = 0; l < strip->lanes; ++l) {
        const double weight = z[l] * strip->dots[l];
        const uint64_t b = strip->first_b + l;
        slot->total += weight;
        for (unsigned j = 0; j < n_b; ++j) {
            if ((b >> j & 1) == 0) continue;
            slot->first[n_a + j] += weight;
            for (unsigned i = 0; i < j; ++i)
                if ((b >> i & 1) != 0) slot->second[(n_a + i) * k + n_a + j] += weight;
            for (unsigned i = 0; i < n_a; ++i)
                slot->second[i * k + n_a + j] += z[l] * s->fold.bit_a[i * FRBM_TILE + l];
        }
    }
}

/* The units of A, from the weights of its states in a shard. */
static void add_rows(shard_t *s) {
    slot_t *slot = s->slot;
    const size_t k = n_outer(s->plan);
    for (size_t r = 0; r < n_rows(s->plan); ++r) {
        double weight = 0;
        for (size_t l = 0; l < FRBM_TILE; ++l) weight += s->fold.by_a[r * FRBM_TILE + l];
        for (unsigned i = 0; i < s->plan->bits[FRBM_GROUP_A]; ++i) {
            if (((s->first_a + r) >> i & 1) == 0) continue;
            slot->first[i] += weight;
            for (unsigned j = 0; j < i; ++j)
                if (((s->first_a + r) >> j & 1) != 0) slot->second[j * k + i] += weight;
        }
    }
}

static void take_fold(const frbm_pairwise_t *plan, frbm_workspace_t *w, fold_t *fold) {
    const size_t row = FRBM_TILE * sizeof(double);
    fold->by_a = (double *)frbm_workspace_take(w, n_rows(plan) * row);
    fold->fold = (double *)frbm_workspace_take(w, n_rows(plan) * row);
    fold->bit_a = (double *)frbm_workspace_take(w, (plan->bits[FRBM_GROUP_A] + 1) * row);
}

static size_t thread_bytes(const frbm_pairwise_t *plan) {
    frbm_workspace_t w = frbm_workspace(NULL);
    fold_t fold;
    frbm_pairwise_scratch(plan, &w);
    take_fold(plan, &w, &fold);
    return w.used;
}

static size_t slots_of(const frbm_pairwise_t *plan) {
    return plan->n_shards < N_SLOTS ? plan->n_shards : N_SLOTS;
}

static slot_t *take_slots(const frbm_pairwise_t *plan, frbm_workspace_t *w) {
    const size_t k = n_outer(plan), n = slots_of(plan);
    slot_t *slots = (slot_t *)frbm_workspace_take(w, n * sizeof(slot_t));
    double *first = (double *)frbm_workspace_take(w, n * k * sizeof(double));
    double *second = (double *)frbm_workspace_take(w, n * k * k * sizeof(double));
    if (slots == NULL) return NULL;
    memset(first, 0, n * k * sizeof(double));
    memset(second, 0, n * k * k * sizeof(double));
    for (size_t i = 0; i < n; ++i) {
        const slot_t empty = {-INFINITY, 0, 0, 0, first + i * k, second + i * k * k};
        slots[i] = empty;
    }
    return slots;
}

size_t frbm_pairwise_moments_workspace_size(const frbm_pairwise_t *plan, int n_threads) {
    frbm_workspace_t w = frbm_workspace(NULL);
    take_slots(plan, &w);
    return w.used + (size_t)(n_threads < 1 ? 1 : n_threads) * thread_bytes(plan) + FRBM_ALIGNMENT;
}

static void run_slot(void *context, size_t number, const frbm_pairwise_scratch_t *scratch) {
    const moments_t *m = (const moments_t *)context;
    const frbm_pairwise_t *plan = m->plan;
    const size_t n_slots = slots_of(plan);
    shard_t s = {.plan = plan,
                 .kernels = m->kernels,
                 .scratch = scratch,
                 .with_energy = m->with_energy,
                 .slot = &m->slots[number]};
    frbm_workspace_t w = *scratch->rest;
    take_fold(plan, &w, &s.fold);
    const uint64_t begin = plan->n_shards * number / n_slots;
    const uint64_t end = plan->n_shards * (number + 1) / n_slots;
    for (uint64_t index = begin; index < end; ++index) {
        const unsigned bits =
            m->block_bits == NULL ? plan->tile_bits[FRBM_GROUP_C] : m->block_bits[index];
        frbm_partial_t sum = {index, -INFINITY, 0, 0};
        memset(s.fold.by_a, 0, n_rows(plan) * FRBM_TILE * sizeof(double));
        for (size_t k = 0; k < frbm_pairwise_n_blocks(plan, bits); ++k) {
            const frbm_pairwise_block_t block = frbm_pairwise_block(plan, index, bits, k);
            const frbm_partial_t empty = {index, -INFINITY, 0, 0};
            s.block = empty;
            s.first_a = block.first[FRBM_GROUP_A];
            frbm_pairwise_visit(plan, m->kernels, &block, NULL, 1, scratch, add_strip, &s);
            frbm_pairwise_join(&sum, s.block.exponent, s.block.mantissa, s.block.lost);
            if (frbm_stop_asked(scratch->stop, scratch->team)) return;
        }
        m->partials[index] = sum;
        add_rows(&s);
    }
}

/* All slots, in order, into the first one. */
static void add_slots(const frbm_pairwise_t *plan, slot_t *slots) {
    const size_t k = n_outer(plan), n = slots_of(plan);
    double most = slots[0].exponent;
    for (size_t i = 1; i < n; ++i) most = slots[i].exponent > most ? slots[i].exponent : most;
    slot_t *sum = &slots[0];
    for (size_t i = 0; i < n; ++i) {
        const slot_t *slot = &slots[i];
        const double z = exp(slot->exponent - most), before = i == 0 ? 0 : sum->total;
        merge_log(sum, before, z * slot->total, slot->log_mean, i == 0 ? 0 : z * slot->log_square);
        if (i == 0) sum->log_square *= z;
        for (size_t j = 0; j < k; ++j)
            sum->first[j] = (i == 0 ? 0 : sum->first[j]) + z * slot->first[j];
        for (size_t j = 0; j < k * k; ++j)
            sum->second[j] = (i == 0 ? 0 : sum->second[j]) + z * slot->second[j];
        sum->total = before + z * slot->total;
    }
    sum->exponent = most;
}

/* Means of states from those of bits: x = low + (high - low) bit. */
static void write_out(const frbm_pairwise_t *plan, const slot_t *sum, double *out) {
    const size_t k = n_outer(plan);
    const double low = plan->low, width = plan->high - plan->low;
    double *mean = out + 3, *second = mean + k;
    out[0] = sum->exponent + log(sum->total);
    out[1] = sum->log_mean;
    out[2] = sum->log_square / sum->total;
    for (size_t i = 0; i < k; ++i) {
        const double bit = sum->first[i] / sum->total;
        mean[i] = low + width * bit;
        second[i * k + i] = low * low + width * (low + plan->high) * bit;
        for (size_t j = 0; j < i; ++j) {
            const double both = sum->second[j * k + i] / sum->total;
            second[i * k + j] = second[j * k + i] =
                low * low + low * width * (bit + sum->first[j] / sum->total) + width * width * both;
        }
    }
}

int frbm_pairwise_moments(const frbm_pairwise_t *plan, const uint8_t *block_bits, int with_energy,
                          void *workspace, size_t size, const frbm_exec_t *exec,
                          frbm_partial_t *partials, double *out) {
    int rc = frbm_pairwise_check(plan);
    if (rc < 0) return rc;
    if (exec == NULL || partials == NULL || out == NULL) return FRBM_ERROR_ARGUMENT;
    if (plan->dtype != FRBM_FLOAT64) return FRBM_ERROR_DTYPE;
    for (size_t i = 0; block_bits != NULL && i < plan->n_shards; ++i)
        if (block_bits[i] > plan->tile_bits[FRBM_GROUP_C]) return FRBM_ERROR_ARGUMENT;
    if (workspace == NULL || size < frbm_pairwise_moments_workspace_size(plan, exec->n_threads))
        return FRBM_ERROR_WORKSPACE;
    frbm_workspace_t w = frbm_workspace(workspace);
    moments_t m = {plan, exec->kernels, block_bits, with_energy, take_slots(plan, &w), partials};
    rc = frbm_pairwise_for_each(plan, slots_of(plan), ldexp(1.0, (int)plan->n), &w,
                                thread_bytes(plan), exec, run_slot, &m);
    if (rc != FRBM_OK) return rc;
    add_slots(plan, m.slots);
    write_out(plan, &m.slots[0], out);
    return FRBM_OK;
}
