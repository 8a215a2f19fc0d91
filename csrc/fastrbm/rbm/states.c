#include "states.h"

#include <float.h>
#include <math.h>

#include "fastrbm/core/bits.h"

size_t frbm_states_stride(const frbm_layer_t *layer, int dtype) {
    return frbm_unit_is_discrete(frbm_unit(layer->unit))
               ? frbm_bit_words(layer->n) * sizeof(uint64_t)
               : frbm_padded(layer->n) * frbm_real_size(dtype);
}

size_t frbm_states_offset(const frbm_layer_t *layer, int dtype, size_t first) {
    return frbm_unit_is_discrete(frbm_unit(layer->unit)) ? first / FRBM_TILE * sizeof(uint64_t)
                                                         : first * frbm_real_size(dtype);
}

int frbm_states_check_row(const frbm_layer_t *layer, int dtype, const frbm_array_t *array,
                          size_t row, frbm_where_t *where) {
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    if (frbm_unit_is_discrete(unit) && frbm_array_row_is(array, row, unit->low, unit->high))
        return FRBM_OK;
    for (size_t i = 0; i < layer->n; ++i) { /* the first that is not */
        const double x = frbm_array_get(array, row, i);
        const double largest = dtype == FRBM_FLOAT32 ? FLT_MAX : DBL_MAX;
        const int ok =
            frbm_unit_is_discrete(unit) ? x == unit->low || x == unit->high : fabs(x) <= largest;
        if (!ok) {
            if (where != NULL) {
                where->row = row;
                where->col = i;
                where->value = x;
            }
            return FRBM_ERROR_STATE;
        }
    }
    return FRBM_OK;
}

int frbm_states_load(const frbm_layer_t *layer, int dtype, const frbm_array_t *array, size_t first,
                     size_t n_rows, void *states, frbm_where_t *where) {
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    const size_t stride = frbm_states_stride(layer, dtype);
    for (size_t r = first; r < first + n_rows; ++r) {
        char *row = (char *)states + (r - first) * stride;
        int ok;
        if (frbm_unit_is_discrete(unit)) {
            ok = frbm_array_pack_row(array, r, unit->low, unit->high, (uint64_t *)(void *)row);
        } else {
            frbm_array_load_row(array, r, dtype, row);
            ok = frbm_all_finite(row, dtype, layer->n);
        }
        if (!ok) {
            const int rc = frbm_states_check_row(layer, dtype, array, r, where);
            if (rc < 0) return rc;
            return FRBM_ERROR_STATE;
        }
    }
    return FRBM_OK;
}

void frbm_states_store(const frbm_layer_t *layer, int dtype, size_t n_rows, const void *states,
                       void *out, int out_dtype, ptrdiff_t row_stride, ptrdiff_t col_stride) {
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    const size_t stride = frbm_states_stride(layer, dtype);
    for (size_t r = 0; r < n_rows; ++r) {
        const char *row = (const char *)states + r * stride;
        char *to = (char *)out + (ptrdiff_t)r * row_stride;
        if (frbm_unit_is_discrete(unit))
            frbm_array_unpack_row((const uint64_t *)(const void *)row, layer->n, unit->low,
                                  unit->high, out_dtype, to, col_stride);
        else
            frbm_array_store_row(row, dtype, layer->n, out_dtype, to, col_stride);
    }
}

frbm_operand_t frbm_states_operand(const frbm_layer_t *layer, int dtype, const void *states) {
    const enum frbm_storage storage = frbm_unit(layer->unit)->storage;
    const size_t stride = frbm_states_stride(layer, dtype);
    const frbm_operand_t a = {
        storage, states,
        stride / (storage == FRBM_STORE_REALS ? frbm_real_size(dtype) : sizeof(uint64_t)), 1};
    return a;
}

frbm_operand_t frbm_operand_from(frbm_operand_t a, int dtype, size_t row) {
    const size_t size = a.storage == FRBM_STORE_REALS ? frbm_real_size(dtype) : sizeof(uint64_t);
    a.data = (const char *)a.data + row * a.row_stride * size;
    return a;
}

void frbm_multiply(const frbm_kernels_t *kernels, int dtype, frbm_operand_t a, size_t n_rows,
                   size_t depth, const void *m, size_t ldm, size_t lanes, int add, void *tile) {
    const frbm_real_kernels_t *k = &kernels->real[dtype];
    if (a.storage == FRBM_STORE_REALS)
        k->product_values(a.data, a.row_stride, a.col_stride, n_rows, depth, m, ldm, lanes, add,
                          tile);
    else
        k->product_bits((const uint64_t *)a.data, a.row_stride, a.storage == FRBM_STORE_SIGNS,
                        n_rows, depth, m, ldm, lanes, add, tile);
}
