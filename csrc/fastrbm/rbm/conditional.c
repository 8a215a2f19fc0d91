#include "conditional.h"

#include <string.h>

frbm_conditional_t frbm_hidden_given_visible(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                                             const void *strips) {
    const int in_strips = strips != NULL;
    const frbm_conditional_t c = {&rbm->hidden,
                                  rbm->dtype,
                                  kernels,
                                  rbm->visible.n,
                                  in_strips ? strips : rbm->weights,
                                  in_strips ? frbm_padded(rbm->hidden.n) : rbm->hidden.n,
                                  in_strips,
                                  in_strips};
    return c;
}

frbm_conditional_t frbm_visible_given_hidden(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                                             const void *weights_t) {
    const frbm_conditional_t c = {&rbm->visible,
                                  rbm->dtype,
                                  kernels,
                                  rbm->hidden.n,
                                  weights_t,
                                  frbm_padded(rbm->visible.n),
                                  1,
                                  1};
    return c;
}

size_t frbm_matrix_size(size_t n_rows, size_t n_cols, int dtype) {
    return n_rows * frbm_padded(n_cols) * frbm_real_size(dtype);
}

/* A strip at a time: the rows of the source that it is made of stay in L1 while mu passes over them. */
#define TRANSPOSE(T)                                                                               \
    for (size_t first = 0; first < n; first += FRBM_TILE)                                          \
        for (size_t mu = 0; mu < p; ++mu) {                                                        \
            const T *from = (const T *)rbm->weights + first * p + mu;                              \
            T *to = (T *)weights_t + frbm_strip_at(p, ld, mu, first);                              \
            const size_t width = frbm_strip_width(ld, first);                                      \
            for (size_t i = 0; i < width; ++i) to[i] = first + i < n ? from[i * p] : 0;            \
        }

void frbm_weights_transpose(const frbm_rbm_t *rbm, void *weights_t) {
    const size_t n = rbm->visible.n, p = rbm->hidden.n, ld = frbm_padded(n);
    if (rbm->dtype == FRBM_FLOAT32) {
        TRANSPOSE(float)
    } else {
        TRANSPOSE(double)
    }
}

size_t frbm_conditional_scratch(int dtype) {
    return FRBM_TILE_ROWS * FRBM_TILE * frbm_real_size(dtype);
}

/* One tile: chunks [c0, c1) of the rows, units [first, first + lanes); half: see FRBM_HALF_TILE.
 * States begin with unit `base`. */
static void run_tile(const frbm_conditional_t *c, const frbm_conditional_job_t *job, size_t base,
                     size_t c0, size_t c1, size_t first, size_t lanes, int half, void *scratch) {
    const frbm_unit_t *unit = frbm_unit(c->layer->unit);
    const size_t size = frbm_real_size(c->dtype);
    const size_t row0 = c0 * FRBM_ROW_CHUNK;
    const size_t row1 = c1 * FRBM_ROW_CHUNK < job->n_rows ? c1 * FRBM_ROW_CHUNK : job->n_rows;
    const frbm_tile_t tile = {first, lanes, row1 - row0, scratch};
    const size_t ld = c->in_strips ? frbm_strip_width(c->ld, first) : c->ld;
    const size_t at = c->in_strips ? frbm_strip_at(c->n_source, c->ld, 0, first) : first;
    const size_t readable = c->is_padded ? c->ld - first : lanes;
    const size_t width = half ? FRBM_HALF_TILE : FRBM_TILE;

    frbm_multiply(c->kernels, c->dtype, frbm_operand_from(job->source, c->dtype, row0), tile.n_rows,
                  c->n_source, (const char *)c->couplings + at * size, ld,
                  readable < width ? readable : width, 0, scratch);

    if (job->means != NULL) {
        char *means = (char *)job->means + (row0 * job->ldmeans + first) * size;
        unit->mean(c->layer, c->dtype, c->kernels, &tile, job->beta, job->factor, means,
                   job->ldmeans);
        for (size_t chunk = c0; job->gradient != NULL && chunk < c1; ++chunk) {
            const size_t r = (chunk - c0) * FRBM_ROW_CHUNK;
            const size_t rows = tile.n_rows - r < FRBM_ROW_CHUNK ? tile.n_rows - r : FRBM_ROW_CHUNK;
            const frbm_tile_t part = {first, lanes, rows,
                                      (const char *)scratch + r * FRBM_TILE * size};
            double *sums = job->gradient + chunk * (size_t)unit->n_learned * c->layer->n;
            for (size_t k = 0; k < (size_t)unit->n_learned; ++k)
                memset(sums + k * c->layer->n + first, 0, lanes * sizeof *sums);
            unit->input_gradient(c->layer, c->dtype, c->kernels, &part, job->beta, job->factor,
                                 means + r * job->ldmeans * size, job->ldmeans, sums);
        }
    }
    if (job->states != NULL) {
        const frbm_draw_t draw = {*job->stream, (uint32_t)first, (uint32_t)row0};
        const frbm_target_t target = {
            (char *)job->states + row0 * job->stride +
                frbm_states_offset(c->layer, c->dtype, first - base),
            job->stride,
            job->keep == NULL ? NULL : job->keep + row0 * job->keep_stride + first / FRBM_TILE,
            job->keep_stride, half};
        unit->sample(c->layer, c->dtype, c->kernels, &tile, job->beta, &draw, &target);
    }
}

/* Halves of a word are numbers of their own where the first units come first in memory. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CAN_HALVE 1
#else
#define CAN_HALVE 0
#endif

void frbm_conditional_run(const frbm_conditional_t *c, const frbm_conditional_job_t *job,
                          const frbm_team_t *team, void *scratch) {
    const size_t n = c->layer->n, chunks = frbm_row_chunks(job->n_rows);
    const size_t threads = (size_t)team->n_threads;
    const size_t most = FRBM_TILE_ROWS / FRBM_ROW_CHUNK;
    /* Where there are fewer tiles than threads, rows are split; but each share of rows would build the
     * same tables, so where tables are used, or where rows are too few to share, units are split first. Rows are
     * split too where a tile would grow too long. */
    const int half = CAN_HALVE && frbm_tiles(n) < threads && n > FRBM_HALF_TILE &&
                     (chunks < threads || frbm_uses_tables(c->kernels, job->source, job->n_rows,
                                                           c->n_source, FRBM_TILE));
    const size_t width = half ? FRBM_HALF_TILE : FRBM_TILE, n_tiles = (n + width - 1) / width;
    size_t splits = (threads + n_tiles - 1) / n_tiles;
    if (splits > chunks) splits = chunks;
    if (splits < (chunks + most - 1) / most) splits = (chunks + most - 1) / most;
    const size_t n_jobs = n_tiles * splits;
    for (size_t t = frbm_team_begin(team, n_jobs); t < frbm_team_end(team, n_jobs); ++t) {
        const size_t first = t / splits * width, part = t % splits;
        run_tile(c, job, 0, chunks * part / splits, chunks * (part + 1) / splits, first,
                 n - first < width ? n - first : width, half, scratch);
    }
}

void frbm_conditional_units(const frbm_conditional_t *c, const frbm_conditional_job_t *job,
                            size_t begin, size_t end, void *scratch) {
    for (size_t first = begin; first < end; first += FRBM_TILE)
        run_tile(c, job, begin, 0, frbm_row_chunks(job->n_rows), first,
                 end - first < FRBM_TILE ? end - first : FRBM_TILE, 0, scratch);
}
