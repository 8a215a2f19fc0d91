/*
 * States of a layer as they are stored: one bit a discrete unit, in whole 64-bit words, or reals of
 * the model's type, padded to whole groups of 16. Rows are stride bytes apart.
 */
#ifndef FRBM_RBM_STATES_H
#define FRBM_RBM_STATES_H

#include "fastrbm.h"
#include "fastrbm/layers/unit.h"

/* Leading dimensions are whole groups of so many reals: a vector never passes the end of a row. */
#define FRBM_PADDING 16
static inline size_t frbm_padded(size_t n) {
    return (n + FRBM_PADDING - 1) / FRBM_PADDING * FRBM_PADDING;
}

size_t frbm_states_stride(const frbm_layer_t *layer, int dtype);

/* Bytes from the start of a row to unit `first`, a multiple of FRBM_HALF_TILE; of bits, to its word. */
size_t frbm_states_offset(const frbm_layer_t *layer, int dtype, size_t first);

/* Rows [first, first + n_rows) of an array to storage. FRBM_ERROR_STATE and where (may be NULL) for
 * the first value that is not a state. */
int frbm_states_load(const frbm_layer_t *layer, int dtype, const frbm_array_t *array, size_t first,
                     size_t n_rows, void *states, frbm_where_t *where);

/* n_rows rows to an array of int8 (discrete units), float32 or float64. */
void frbm_states_store(const frbm_layer_t *layer, int dtype, size_t n_rows, const void *states,
                       void *out, int out_dtype, ptrdiff_t row_stride, ptrdiff_t col_stride);

/* Are all elements of a row states of the layer, and finite in the model's type? FRBM_OK or
 * FRBM_ERROR_STATE. */
int frbm_states_check_row(const frbm_layer_t *layer, int dtype, const frbm_array_t *array,
                          size_t row, frbm_where_t *where);

/* The left operand of a product: states by rows, or, transposed, units by rows. */
typedef struct {
    enum frbm_storage storage;
    const void *data;
    size_t row_stride; /* bits: in words; reals: in elements */
    size_t col_stride; /* reals only */
} frbm_operand_t;

frbm_operand_t frbm_states_operand(const frbm_layer_t *layer, int dtype, const void *states);

/* From row `row` on. */
frbm_operand_t frbm_operand_from(frbm_operand_t a, int dtype, size_t row);

/* Will frbm_multiply build tables for these rows? */
static inline int frbm_uses_tables(const frbm_kernels_t *kernels, frbm_operand_t a, size_t n_rows,
                                   size_t depth, size_t lanes) {
    return a.storage != FRBM_STORE_REALS &&
           !kernels->prefers_rows((const uint64_t *)a.data, a.row_stride,
                                  a.storage == FRBM_STORE_SIGNS, n_rows, depth, lanes);
}

/* tile[r][j] = sum_k a(r, k) m[k ldm + j], or += with add, for j < lanes <= FRBM_TILE. */
void frbm_multiply(const frbm_kernels_t *kernels, int dtype, frbm_operand_t a, size_t n_rows,
                   size_t depth, const void *m, size_t ldm, size_t lanes, int add, void *tile);

#endif
