/* The public functions of one layer by itself. */
#include <string.h>

#include "fastrbm/core/bits.h"
#include "unit.h"

static int check(const frbm_layer_t *layer, int dtype, double beta, const frbm_unit_t **unit) {
    if (layer == NULL) return FRBM_ERROR_ARGUMENT;
    *unit = frbm_unit(layer->unit);
    if (*unit == NULL) return FRBM_ERROR_UNIT;
    const int rc = frbm_layer_check(layer, dtype);
    if (rc < 0) return rc;
    return frbm_beta_ok(*unit, beta) ? FRBM_OK : FRBM_ERROR_BETA;
}

int frbm_layer_log_weight(const frbm_layer_t *layer, int dtype, size_t n_rows, const double *states,
                          double *out) {
    const frbm_unit_t *unit;
    const int rc = check(layer, dtype, 1, &unit);
    for (size_t r = 0; rc == FRBM_OK && r < n_rows; ++r)
        unit->log_weight(layer, dtype, 0, layer->n, states + r * layer->n, out + r * layer->n);
    return rc;
}

int frbm_layer_cgf(const frbm_layer_t *layer, int dtype, size_t n_rows, const double *inputs,
                   double beta, const frbm_exec_t *exec, double *out) {
    const frbm_unit_t *unit;
    const int rc = exec == NULL ? FRBM_ERROR_ARGUMENT : check(layer, dtype, beta, &unit);
    for (size_t r = 0; rc == FRBM_OK && r < n_rows; ++r)
        unit->cgf(layer, dtype, exec->kernels, 0, layer->n, inputs + r * layer->n, beta,
                  out + r * layer->n);
    return rc;
}

int frbm_layer_variance(const frbm_layer_t *layer, int dtype, size_t n_rows, const double *inputs,
                        double beta, double *out) {
    const frbm_unit_t *unit;
    const int rc = check(layer, dtype, beta, &unit);
    for (size_t r = 0; rc == FRBM_OK && r < n_rows; ++r)
        unit->variance(layer, dtype, 0, layer->n, inputs + r * layer->n, beta, out + r * layer->n);
    return rc;
}

/* Rows of a tile that are worked on at a time. */
enum { ROWS = 8 };

/* Inputs of ROWS rows of a caller's matrix as a tile. */
static frbm_tile_t load_tile(const frbm_layer_t *layer, int dtype, size_t n_rows, size_t row,
                             size_t first, const void *inputs, double buffer[ROWS * FRBM_TILE]) {
    const size_t size = frbm_real_size(dtype);
    const size_t left = layer->n - first, lanes = left < FRBM_TILE ? left : FRBM_TILE;
    const frbm_tile_t tile = {first, lanes, n_rows - row < ROWS ? n_rows - row : ROWS, buffer};
    memset(buffer, 0, ROWS * FRBM_TILE * sizeof(double));
    for (size_t r = 0; r < tile.n_rows; ++r)
        memcpy((char *)buffer + r * FRBM_TILE * size,
               (const char *)inputs + ((row + r) * layer->n + first) * size, lanes * size);
    return tile;
}

int frbm_layer_mean(const frbm_layer_t *layer, int dtype, size_t n_rows, const void *inputs,
                    double beta, const frbm_exec_t *exec, void *out) {
    const frbm_unit_t *unit;
    const int rc = check(layer, dtype, beta, &unit);
    if (rc < 0) return rc;
    if (exec == NULL) return FRBM_ERROR_ARGUMENT;
    double buffer[ROWS * FRBM_TILE];
    for (size_t row = 0; row < n_rows; row += ROWS)
        for (size_t first = 0; first < layer->n; first += FRBM_TILE) {
            const frbm_tile_t tile = load_tile(layer, dtype, n_rows, row, first, inputs, buffer);
            unit->mean(layer, dtype, exec->kernels, &tile, beta, 1,
                       (char *)out + (row * layer->n + first) * frbm_real_size(dtype), layer->n);
        }
    return FRBM_OK;
}

int frbm_layer_sample(const frbm_layer_t *layer, int dtype, size_t n_rows, const void *inputs,
                      double beta, const frbm_exec_t *exec, frbm_rng_t *rng, void *out,
                      int out_dtype) {
    const frbm_unit_t *unit;
    const int rc = check(layer, dtype, beta, &unit);
    if (rc < 0) return rc;
    if (exec == NULL || rng == NULL || n_rows >= UINT32_MAX) return FRBM_ERROR_ARGUMENT;
    const size_t out_size = frbm_dtype_size(out_dtype);
    const int is_discrete = frbm_unit_is_discrete(unit);
    if (!frbm_unit_can_store(unit, out_dtype)) return FRBM_ERROR_DTYPE;
    const frbm_stream_t stream =
        frbm_stream(rng->key, rng->step, FRBM_PURPOSE_LAYER, rng->first_chain);
    double buffer[ROWS * FRBM_TILE], drawn[ROWS * FRBM_TILE];
    for (size_t row = 0; row < n_rows; row += ROWS)
        for (size_t first = 0; first < layer->n; first += FRBM_TILE) {
            const frbm_tile_t tile = load_tile(layer, dtype, n_rows, row, first, inputs, buffer);
            const frbm_draw_t draw = {stream, (uint32_t)first, (uint32_t)row};
            const size_t stride = FRBM_TILE * (is_discrete ? 1 : frbm_real_size(dtype));
            const frbm_target_t target = {drawn, stride, NULL, 0, 0};
            unit->sample(layer, dtype, exec->kernels, &tile, beta, &draw, &target);
            for (size_t r = 0; r < tile.n_rows; ++r) {
                const char *from = (const char *)drawn + r * stride;
                char *to = (char *)out + ((row + r) * layer->n + first) * out_size;
                if (is_discrete)
                    frbm_array_unpack_row((const uint64_t *)(const void *)from, tile.lanes,
                                          unit->low, unit->high, out_dtype, to,
                                          (ptrdiff_t)out_size);
                else
                    frbm_array_store_row(from, dtype, tile.lanes, out_dtype, to,
                                         (ptrdiff_t)out_size);
            }
        }
    rng->step++;
    return FRBM_OK;
}
