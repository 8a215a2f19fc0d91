/*
 * Block Gibbs sampling: all hidden units given the visible ones, then all visible units given the
 * hidden ones. O(n_sweeps n_chains N p).
 *
 * Chains are independent, so with enough of them every thread takes its own and runs many sweeps
 * before it meets the others (only to ask the poll); few chains of a large model are advanced by
 * all threads together, each computing part of the units. Which way is taken changes no number.
 */
#include <string.h>

#include "fastrbm/core/bits.h"
#include "fastrbm/core/poll.h"
#include "fastrbm/core/workspace.h"
#include "fastrbm/rbm/check.h"
#include "fastrbm/rbm/conditional.h"

/* A round between two polls aims at this length. */
#define ROUND_SECONDS 0.01
/* Chains that one thread advances at a time. */
#define BLOCK_CHAINS 128
/* Chains that a thread takes for itself at least: fewer would build tables for too few rows. */
#define MIN_CHAINS 16
/* A sweep of more multiply-adds than this takes tens of milliseconds: it is polled between blocks
 * of chains, and undone where it is stopped, so that all chains have made the same sweeps. */
#define LONG_SWEEP 2e9

/* Multiply-adds of a sweep, a draw counted as 64. */
static double sweep_work(const frbm_rbm_t *rbm, size_t n_chains) {
    const double n = (double)rbm->visible.n, p = (double)rbm->hidden.n;
    return (double)n_chains * (2 * n * p + 64 * (n + p));
}

static size_t take_all(frbm_gibbs_t *g, frbm_workspace_t *w) {
    const frbm_rbm_t *rbm = &g->rbm;
    g->visible_stride = frbm_states_stride(&rbm->visible, rbm->dtype);
    g->hidden_stride = frbm_states_stride(&rbm->hidden, rbm->dtype);
    g->weights_t =
        frbm_workspace_take(w, frbm_matrix_size(rbm->hidden.n, rbm->visible.n, rbm->dtype));
    g->visible = frbm_workspace_take(w, g->n_chains * g->visible_stride);
    g->hidden = frbm_workspace_take(w, g->n_chains * g->hidden_stride);
    g->backup = sweep_work(rbm, g->n_chains) > LONG_SWEEP
                    ? frbm_workspace_take(w, g->n_chains * (g->visible_stride + g->hidden_stride))
                    : NULL;
    return frbm_workspace_size(w);
}

size_t frbm_gibbs_workspace_size(const frbm_rbm_t *rbm, size_t n_chains) {
    frbm_gibbs_t g = {.rbm = *rbm, .n_chains = n_chains};
    frbm_workspace_t w = frbm_workspace(NULL);
    return take_all(&g, &w);
}

int frbm_gibbs_init(frbm_gibbs_t *gibbs, const frbm_rbm_t *rbm, size_t n_chains, void *workspace,
                    size_t size) {
    const int rc = frbm_rbm_check_shape(rbm);
    if (rc < 0) return rc;
    if (gibbs == NULL || n_chains == 0 || n_chains >= UINT32_MAX) return FRBM_ERROR_ARGUMENT;
    if (workspace == NULL || size < frbm_gibbs_workspace_size(rbm, n_chains))
        return FRBM_ERROR_WORKSPACE;
    frbm_workspace_t w = frbm_workspace(workspace);
    memset(gibbs, 0, sizeof *gibbs);
    gibbs->rbm = *rbm;
    gibbs->n_chains = n_chains;
    take_all(gibbs, &w);
    frbm_weights_transpose(rbm, gibbs->weights_t);
    memset(gibbs->visible, 0, n_chains * gibbs->visible_stride);
    memset(gibbs->hidden, 0, n_chains * gibbs->hidden_stride);
    return FRBM_OK;
}

size_t frbm_gibbs_clamp_size(const frbm_rbm_t *rbm, size_t n_rows) {
    return n_rows * frbm_bit_words(rbm->visible.n) * sizeof(uint64_t);
}

int frbm_gibbs_clamp(frbm_gibbs_t *gibbs, const frbm_array_t *mask, void *mask_workspace,
                     size_t size) {
    if (gibbs == NULL) return FRBM_ERROR_ARGUMENT;
    gibbs->keep = NULL;
    gibbs->keep_stride = 0;
    if (mask == NULL) return FRBM_OK;
    const size_t words = frbm_bit_words(gibbs->rbm.visible.n);
    const int rc = frbm_array_check(mask, gibbs->rbm.visible.n);
    if (rc < 0) return rc;
    if (mask->n_rows != 1 && mask->n_rows != gibbs->n_chains) return FRBM_ERROR_ARGUMENT;
    if (mask_workspace == NULL || (uintptr_t)mask_workspace % sizeof(uint64_t) != 0 ||
        size < frbm_gibbs_clamp_size(&gibbs->rbm, mask->n_rows))
        return FRBM_ERROR_WORKSPACE;
    for (size_t r = 0; r < mask->n_rows; ++r)
        if (!frbm_array_pack_row(mask, r, 0, 1, (uint64_t *)mask_workspace + r * words))
            return FRBM_ERROR_STATE;
    gibbs->keep = mask_workspace;
    gibbs->keep_stride = mask->n_rows == 1 ? 0 : words;
    return FRBM_OK;
}

int frbm_gibbs_load(frbm_gibbs_t *gibbs, const frbm_array_t *visible, frbm_where_t *where) {
    if (gibbs == NULL || visible == NULL) return FRBM_ERROR_ARGUMENT;
    const int rc = frbm_array_check(visible, gibbs->rbm.visible.n);
    if (rc < 0) return rc;
    if (visible->n_rows != gibbs->n_chains) return FRBM_ERROR_ARGUMENT;
    return frbm_states_load(&gibbs->rbm.visible, gibbs->rbm.dtype, visible, 0, gibbs->n_chains,
                            gibbs->visible, where);
}

int frbm_gibbs_start(frbm_gibbs_t *gibbs, double beta, const frbm_exec_t *exec,
                     const frbm_rng_t *rng) {
    if (gibbs == NULL || exec == NULL || rng == NULL) return FRBM_ERROR_ARGUMENT;
    const frbm_layer_t *layer = &gibbs->rbm.visible;
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    if (!frbm_beta_ok(unit, beta)) return FRBM_ERROR_BETA;
    const frbm_stream_t stream =
        frbm_stream(rng->key, rng->step, FRBM_PURPOSE_START, rng->first_chain);
    enum { ROWS = 8 };
    const double zeros[ROWS * FRBM_TILE] = {0}; /* no inputs: as many zero bytes in any type */
    const int n_threads =
        frbm_team_size(exec->n_threads, 64.0 * (double)gibbs->n_chains * (double)layer->n);
    (void)n_threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
#endif
    for (size_t row = 0; row < gibbs->n_chains; row += ROWS)
        for (size_t first = 0; first < layer->n; first += FRBM_TILE) {
            const size_t left = layer->n - first, rows = gibbs->n_chains - row;
            const frbm_tile_t tile = {first, left < FRBM_TILE ? left : FRBM_TILE,
                                      rows < ROWS ? rows : ROWS, zeros};
            const frbm_draw_t draw = {stream, (uint32_t)first, (uint32_t)row};
            const frbm_target_t target = {(char *)gibbs->visible + row * gibbs->visible_stride +
                                              frbm_states_offset(layer, gibbs->rbm.dtype, first),
                                          gibbs->visible_stride, NULL, 0, 0};
            unit->sample(layer, gibbs->rbm.dtype, exec->kernels, &tile, beta, &draw, &target);
        }
    return FRBM_OK;
}

/* One sweep of the chains [begin, end) by a team. */
static void sweep(const frbm_gibbs_t *g, size_t begin, size_t end, double beta, uint64_t step,
                  const frbm_exec_t *exec, const frbm_rng_t *rng, const frbm_team_t *team,
                  void *scratch) {
    const frbm_rbm_t *rbm = &g->rbm;
    char *visible = (char *)g->visible + begin * g->visible_stride;
    char *hidden = (char *)g->hidden + begin * g->hidden_stride;
    const uint32_t first_row = rng->first_chain + (uint32_t)begin;
    const frbm_stream_t streams[2] = {
        frbm_stream(rng->key, step, FRBM_PURPOSE_GIBBS_HIDDEN, first_row),
        frbm_stream(rng->key, step, FRBM_PURPOSE_GIBBS_VISIBLE, first_row)};
    const uint64_t *keep = (const uint64_t *)g->keep;

    const frbm_conditional_t up = frbm_hidden_given_visible(rbm, exec->kernels, NULL);
    const frbm_conditional_job_t draw_hidden = {
        .source = frbm_states_operand(&rbm->visible, rbm->dtype, visible),
        .n_rows = end - begin,
        .beta = beta,
        .stream = &streams[0],
        .states = hidden,
        .stride = g->hidden_stride};
    frbm_conditional_run(&up, &draw_hidden, team, scratch);
    frbm_team_barrier(team);

    const frbm_conditional_t down = frbm_visible_given_hidden(rbm, exec->kernels, g->weights_t);
    const frbm_conditional_job_t draw_visible = {
        .source = frbm_states_operand(&rbm->hidden, rbm->dtype, hidden),
        .n_rows = end - begin,
        .beta = beta,
        .stream = &streams[1],
        .states = visible,
        .stride = g->visible_stride,
        .keep = keep == NULL ? NULL : keep + begin * g->keep_stride,
        .keep_stride = g->keep_stride};
    frbm_conditional_run(&down, &draw_visible, team, scratch);
    frbm_team_barrier(team);
}

/* What the threads of a run share. */
typedef struct {
    frbm_barrier_t barrier;
    frbm_poll_t poll;
    size_t done, round; /* sweeps done, and sweeps of the coming round */
    atomic_int stopped; /* inside a long sweep, or between rounds */
    int undo;           /* the sweep was not finished */
} progress_t;

/* The states before a long sweep, and back. */
static void back_up(const frbm_gibbs_t *g) {
    const size_t visible = g->n_chains * g->visible_stride;
    memcpy(g->backup, g->visible, visible);
    memcpy((char *)g->backup + visible, g->hidden, g->n_chains * g->hidden_stride);
}

static void undo(const frbm_gibbs_t *g) {
    const size_t visible = g->n_chains * g->visible_stride;
    memcpy(g->visible, g->backup, visible);
    memcpy(g->hidden, (char *)g->backup + visible, g->n_chains * g->hidden_stride);
}

/* Between rounds, one thread for all. */
static void after_round(const frbm_gibbs_t *g, size_t n_sweeps, double seconds, progress_t *p) {
    if (p->undo) {
        undo(g);
        return;
    }
    p->done += p->round;
    /* Long sweeps are rounds of their own. */
    if (seconds < ROUND_SECONDS && g->backup == NULL) p->round *= 2;
    if (p->round > n_sweeps - p->done) p->round = n_sweeps - p->done;
    if (frbm_poll(&p->poll)) atomic_store(&p->stopped, 1);
    if (g->backup != NULL && !atomic_load(&p->stopped)) back_up(g);
}

static void run_team(const frbm_gibbs_t *g, size_t n_sweeps, double beta, const frbm_exec_t *exec,
                     const frbm_rng_t *rng, int together, frbm_team_t team, progress_t *p) {
    const frbm_team_t alone = frbm_team_alone();
    _Alignas(FRBM_ALIGNMENT) char scratch[BLOCK_CHAINS * FRBM_TILE * sizeof(double)];
    const size_t first = together ? 0 : frbm_team_begin(&team, g->n_chains);
    const size_t last = together ? g->n_chains : frbm_team_end(&team, g->n_chains);
    while (p->done < n_sweeps && !atomic_load(&p->stopped)) {
        const size_t round = p->round, done = p->done;
        const double start = frbm_seconds();
        for (size_t begin = first; begin < last; begin += BLOCK_CHAINS) {
            const size_t end = last - begin < BLOCK_CHAINS ? last : begin + BLOCK_CHAINS;
            for (size_t s = 0; s < round; ++s)
                sweep(g, begin, end, beta, rng->step + done + s, exec, rng,
                      together ? &team : &alone, scratch);
            if (g->backup == NULL || together) continue;
            if (team.thread == 0 && end < last && frbm_poll(&p->poll)) {
                p->undo = 1;
                atomic_store(&p->stopped, 1);
            }
            if (atomic_load(&p->stopped)) break;
        }
        frbm_team_barrier(&team); /* everybody has read the round and finished it */
        if (team.thread == 0) after_round(g, n_sweeps, frbm_seconds() - start, p);
        frbm_team_barrier(&team);
    }
}

int frbm_gibbs_run(frbm_gibbs_t *gibbs, size_t n_sweeps, double beta, const frbm_exec_t *exec,
                   frbm_rng_t *rng) {
    if (gibbs == NULL || exec == NULL || rng == NULL) return FRBM_ERROR_ARGUMENT;
    const int rc = frbm_rbm_check_beta(&gibbs->rbm, beta);
    if (rc < 0) return rc;
    if (n_sweeps == 0) return FRBM_OK;

    /* Together, the threads meet twice a sweep, which only large models are worth. */
    const int together = gibbs->n_chains < (size_t)exec->n_threads * MIN_CHAINS;
    const double work = sweep_work(&gibbs->rbm, gibbs->n_chains);
    const int n_threads =
        frbm_team_size(exec->n_threads, together ? work : (double)n_sweeps * work);
    progress_t progress = {
        .barrier = {0, 0, 0}, .poll = frbm_poll_start(exec), .round = 1, .stopped = 0};
    if (gibbs->backup != NULL) back_up(gibbs);
    if (n_threads == 1) {
        run_team(gibbs, n_sweeps, beta, exec, rng, 0, frbm_team_alone(), &progress);
    } else {
#ifdef _OPENMP
#pragma omp parallel num_threads(n_threads)
#endif
        run_team(gibbs, n_sweeps, beta, exec, rng, together, frbm_team_here(&progress.barrier),
                 &progress);
    }
    rng->step += progress.done;
    return progress.done < n_sweeps ? FRBM_STOPPED : FRBM_OK;
}

int frbm_gibbs_store(const frbm_gibbs_t *gibbs, int side, void *out, int out_dtype,
                     ptrdiff_t row_stride, ptrdiff_t col_stride) {
    if (gibbs == NULL || out == NULL || (side != FRBM_VISIBLE && side != FRBM_HIDDEN))
        return FRBM_ERROR_ARGUMENT;
    const frbm_layer_t *layer = frbm_rbm_layer(&gibbs->rbm, side);
    if (!frbm_unit_can_store(frbm_unit(layer->unit), out_dtype)) return FRBM_ERROR_DTYPE;
    frbm_states_store(layer, gibbs->rbm.dtype, gibbs->n_chains,
                      side == FRBM_HIDDEN ? gibbs->hidden : gibbs->visible, out, out_dtype,
                      row_stride, col_stride);
    return FRBM_OK;
}

int frbm_gibbs_sample(const frbm_rbm_t *rbm, size_t n_chains, size_t n_sweeps, double beta,
                      void *workspace, size_t size, const frbm_exec_t *exec, frbm_rng_t *rng,
                      void *v, void *h) {
    frbm_gibbs_t gibbs;
    int rc = frbm_gibbs_init(&gibbs, rbm, n_chains, workspace, size);
    if (rc < 0) return rc;
    if (v == NULL) return FRBM_ERROR_ARGUMENT;
    const frbm_array_t start = frbm_array_contiguous(v, frbm_state_dtype(&rbm->visible, rbm->dtype),
                                                     n_chains, rbm->visible.n);
    rc = frbm_gibbs_load(&gibbs, &start, NULL);
    if (rc < 0) return rc;
    if (rng == NULL) return FRBM_ERROR_ARGUMENT;
    const uint64_t before = rng->step;
    rc = frbm_gibbs_run(&gibbs, n_sweeps, beta, exec, rng);
    if (rc < 0) return rc;
    const int sides[2] = {FRBM_VISIBLE, FRBM_HIDDEN};
    void *const outs[2] = {v, h};
    for (int s = 0; s < 2; ++s) {
        const frbm_layer_t *layer = frbm_rbm_layer(rbm, sides[s]);
        const int dtype = frbm_state_dtype(layer, rbm->dtype);
        const ptrdiff_t item = (ptrdiff_t)frbm_dtype_size(dtype);
        if (outs[s] == NULL || rng->step == before) continue; /* no sweep: nothing is new */
        const int stored =
            frbm_gibbs_store(&gibbs, sides[s], outs[s], dtype, (ptrdiff_t)layer->n * item, item);
        if (stored < 0) return stored;
    }
    return rc;
}
