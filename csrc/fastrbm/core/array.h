/* Arrays of any element type and strides, as callers bring them. */
#ifndef FRBM_CORE_ARRAY_H
#define FRBM_CORE_ARRAY_H

#include "fastrbm.h"

static inline size_t frbm_real_size(int dtype) {
    return dtype == FRBM_FLOAT32 ? sizeof(float) : sizeof(double);
}

/* Bytes of one element; 0 for an unknown type. */
size_t frbm_dtype_size(int dtype);

static inline const char *frbm_array_row(const frbm_array_t *a, size_t row) {
    return (const char *)a->data + (ptrdiff_t)row * a->row_stride;
}

/* A contiguous array in C order. */
frbm_array_t frbm_array_contiguous(const void *data, int dtype, size_t n_rows, size_t n_cols);

double frbm_array_get(const frbm_array_t *a, size_t row, size_t col);

/* One row as reals of type dtype (float32 or float64). */
void frbm_array_load_row(const frbm_array_t *a, size_t row, int dtype, void *out);

/* The n elements of a row from column first on. */
void frbm_array_load_part(const frbm_array_t *a, size_t row, size_t first, size_t n, int dtype,
                          void *out);

/* One row as bits: high -> 1, low -> 0. Returns 0 if some element is neither. */
int frbm_array_pack_row(const frbm_array_t *a, size_t row, double low, double high, uint64_t *bits);

/* The inverse, to int8, float32 or float64: n elements, stride bytes apart. */
void frbm_array_unpack_row(const uint64_t *bits, size_t n, double low, double high, int out_dtype,
                           void *out, ptrdiff_t stride);
/* n reals of type dtype to the same element types. */
void frbm_array_store_row(const void *reals, int dtype, size_t n, int out_dtype, void *out,
                          ptrdiff_t stride);

/* Are n reals of type dtype all finite? By their exponent bits, which vectorises. */
int frbm_all_finite(const void *reals, int dtype, size_t n);

/* What values an array holds, in one pass. */
typedef struct {
    double min, max; /* of the finite values */
    int finite, has_minus_one, has_zero, has_one, has_fraction, has_other;
    size_t bad_row, bad_col; /* first value that is not finite */
} frbm_scan_t;

/* Rows [begin, end) into a scan that was started; rows of later scans come after those of earlier ones. */
void frbm_scan_start(frbm_scan_t *scan);
void frbm_array_scan(const frbm_array_t *a, size_t begin, size_t end, frbm_scan_t *scan);
void frbm_scan_merge(const frbm_scan_t *later, frbm_scan_t *scan);

/* Is every element of a row one of two small whole numbers? */
int frbm_array_row_is(const frbm_array_t *a, size_t row, double low, double high);

/* sums[i] += column i of the rows [begin, end) */
void frbm_array_add_rows(const frbm_array_t *a, size_t begin, size_t end, double *sums);

#endif
