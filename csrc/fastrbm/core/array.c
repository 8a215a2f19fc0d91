#include "array.h"

#include <math.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "bits.h"

/* Every element type once: M(code, C type). */
#define FOR_EACH_REAL(M)                                                                           \
    M(FRBM_FLOAT32, float)                                                                         \
    M(FRBM_FLOAT64, double)

#define FOR_EACH_INTEGER(M)                                                                        \
    M(FRBM_INT8, int8_t)                                                                           \
    M(FRBM_UINT8, uint8_t)                                                                         \
    M(FRBM_INT16, int16_t)                                                                         \
    M(FRBM_UINT16, uint16_t)                                                                       \
    M(FRBM_INT32, int32_t)                                                                         \
    M(FRBM_UINT32, uint32_t)                                                                       \
    M(FRBM_INT64, int64_t)                                                                         \
    M(FRBM_UINT64, uint64_t)

#define FOR_EACH_DTYPE(M)                                                                          \
    FOR_EACH_REAL(M)                                                                               \
    FOR_EACH_INTEGER(M)

/* What states are written as. */
#define FOR_EACH_OUTPUT(M)                                                                         \
    M(FRBM_FLOAT32, float)                                                                         \
    M(FRBM_FLOAT64, double)                                                                        \
    M(FRBM_INT8, int8_t)

size_t frbm_dtype_size(int dtype) {
    switch (dtype) {
#define CASE(code, type)                                                                           \
    case code:                                                                                     \
        return sizeof(type);
        FOR_EACH_DTYPE(CASE)
#undef CASE
    default:
        return 0;
    }
}

frbm_array_t frbm_array_contiguous(const void *data, int dtype, size_t n_rows, size_t n_cols) {
    const ptrdiff_t size = (ptrdiff_t)frbm_dtype_size(dtype);
    const frbm_array_t a = {data, dtype, n_rows, n_cols, (ptrdiff_t)n_cols * size, size};
    return a;
}

double frbm_array_get(const frbm_array_t *a, size_t row, size_t col) {
    const char *p = frbm_array_row(a, row) + (ptrdiff_t)col * a->col_stride;
    switch (a->dtype) {
#define CASE(code, type)                                                                           \
    case code: {                                                                                   \
        type x;                                                                                    \
        memcpy(&x, p, sizeof x);                                                                   \
        return (double)x;                                                                          \
    }
        FOR_EACH_DTYPE(CASE)
#undef CASE
    default:
        return NAN;
    }
}

/* The loops below read by memcpy, since a caller's strides may leave elements unaligned. */

void frbm_array_load_row(const frbm_array_t *a, size_t row, int dtype, void *out) {
    const char *p = frbm_array_row(a, row);
    const ptrdiff_t stride = a->col_stride;
    const size_t n = a->n_cols;
    if (a->dtype == dtype && stride == (ptrdiff_t)frbm_real_size(dtype)) {
        memcpy(out, p, n * frbm_real_size(dtype));
        return;
    }
    switch (a->dtype) {
#define CASE(code, type)                                                                           \
    case code:                                                                                     \
        for (size_t i = 0; i < n; ++i, p += stride) {                                              \
            type x;                                                                                \
            memcpy(&x, p, sizeof x);                                                               \
            if (dtype == FRBM_FLOAT32)                                                             \
                ((float *)out)[i] = (float)x;                                                      \
            else                                                                                   \
                ((double *)out)[i] = (double)x;                                                    \
        }                                                                                          \
        break;
        FOR_EACH_DTYPE(CASE)
#undef CASE
    default:
        break;
    }
}

void frbm_array_load_part(const frbm_array_t *a, size_t row, size_t first, size_t n, int dtype,
                          void *out) {
    frbm_array_t part = *a;
    part.data = (const char *)a->data + (ptrdiff_t)first * a->col_stride;
    part.n_cols = n;
    frbm_array_load_row(&part, row, dtype, out);
}

/* Contiguous bytes, sixteen at a time, or eight where there is no SSE2: there the low bits of the bytes are
 * gathered into one byte by a multiplication. Little-endian machines only. Returns the elements done. */
#if defined(__SSE2__)
#define PACKS_BYTES 1
/* Which of sixteen bytes are `one`; in good stay those that are that or `other`. */
static inline uint64_t pack_sixteen(const char *p, __m128i one, __m128i other, __m128i *good) {
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i high = _mm_cmpeq_epi8(x, one);
    *good = _mm_and_si128(*good, _mm_or_si128(high, _mm_cmpeq_epi8(x, other)));
    return (uint64_t)(uint32_t)_mm_movemask_epi8(high);
}

static size_t pack_bytes(const char *p, size_t n, int is_spin, uint64_t *bits, int *ok) {
    const __m128i one = _mm_set1_epi8(1), other = is_spin ? _mm_set1_epi8(-1) : _mm_setzero_si128();
    __m128i good = _mm_set1_epi8(-1);
    if (n < 16) return 0;
    for (size_t first = 0; first < n; first += 64) {
        const size_t end = n - first < 64 ? n : first + 64;
        size_t i = first;
        uint64_t word = 0;
        for (; i + 16 <= end; i += 16)
            word |= pack_sixteen(p + i, one, other, &good) << (i - first);
        if (i < end) /* the last sixteen, some of them once more */
            word |= pack_sixteen(p + end - 16, one, other, &good) >> (16 - (end - i))
                                                                         << (i - first);
        bits[first / 64] = word;
    }
    *ok = _mm_movemask_epi8(good) == 0xFFFF;
    return n;
}
#elif defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define PACKS_BYTES 1
static size_t pack_bytes(const char *p, size_t n, int is_spin, uint64_t *bits, int *ok) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t bad = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t x;
        memcpy(&x, p + i, 8);
        if (is_spin) {
            const uint64_t negative = (x >> 7) & ones;
            bad |= x ^ (negative * 0xFE) ^ ones; /* -1 is 0xFF, +1 is 0x01 */
            x = negative ^ ones;
        } else {
            bad |= x & ~ones;
        }
        bits[i / 64] |= ((x * 0x0102040810204080u) >> 56) << (i % 64);
    }
    *ok = bad == 0;
    return i;
}
#else
#define PACKS_BYTES 0
#endif

int frbm_array_pack_row(const frbm_array_t *a, size_t row, double low, double high,
                        uint64_t *bits) {
    const char *p = frbm_array_row(a, row);
    const ptrdiff_t stride = a->col_stride;
    const size_t n = a->n_cols;
    size_t i = 0;
    int ok = 1;
    if (n <= 64)
        bits[0] = 0; /* without a call, since short rows are many */
    else
        memset(bits, 0, frbm_bit_words(n) * sizeof *bits);
#if PACKS_BYTES
    if (stride == 1 && (a->dtype == FRBM_INT8 || (a->dtype == FRBM_UINT8 && low == 0))) {
        i = pack_bytes(p, n, low != 0, bits, &ok);
        p += i;
    }
#endif
    switch (a->dtype) {
#define CASE(code, type)                                                                           \
    case code:                                                                                     \
        for (; i < n; ++i, p += stride) {                                                          \
            type x;                                                                                \
            memcpy(&x, p, sizeof x);                                                               \
            const int is_high = (double)x == high;                                                 \
            ok &= is_high | ((double)x == low);                                                    \
            bits[i / 64] |= (uint64_t)is_high << (i % 64);                                         \
        }                                                                                          \
        break;
        FOR_EACH_DTYPE(CASE)
#undef CASE
    default:
        ok = 0;
    }
    return ok;
}

void frbm_array_unpack_row(const uint64_t *bits, size_t n, double low, double high, int out_dtype,
                           void *out, ptrdiff_t stride) {
    char *p = (char *)out;
    switch (out_dtype) {
#define CASE(code, type)                                                                           \
    case code: {                                                                                   \
        const type values[2] = {(type)low, (type)high};                                            \
        for (size_t i = 0; i < n; ++i, p += stride)                                                \
            memcpy(p, &values[(bits[i / 64] >> (i % 64)) & 1], sizeof(type));                      \
        break;                                                                                     \
    }
        FOR_EACH_OUTPUT(CASE)
#undef CASE
    default:
        break;
    }
}

void frbm_array_store_row(const void *reals, int dtype, size_t n, int out_dtype, void *out,
                          ptrdiff_t stride) {
    char *p = (char *)out;
    switch (out_dtype) {
#define CASE(code, type)                                                                           \
    case code:                                                                                     \
        for (size_t i = 0; i < n; ++i, p += stride) {                                              \
            const type x = dtype == FRBM_FLOAT32 ? (type)((const float *)reals)[i]                 \
                                                 : (type)((const double *)reals)[i];               \
            memcpy(p, &x, sizeof x);                                                               \
        }                                                                                          \
        break;
        FOR_EACH_OUTPUT(CASE)
#undef CASE
    default:
        break;
    }
}

/* Reals are read as integers here: tell the compiler that they may be the same memory. */
#if defined(__GNUC__) || defined(__clang__)
#define MAY_ALIAS __attribute__((may_alias))
#else
#define MAY_ALIAS
#endif
typedef uint32_t MAY_ALIAS bits32_t;
typedef uint64_t MAY_ALIAS bits64_t;

int frbm_all_finite(const void *reals, int dtype, size_t n) {
    if (dtype == FRBM_FLOAT32) {
        const uint32_t exponent = 0x7F800000u;
        const bits32_t *bits = (const bits32_t *)reals;
        uint32_t bad = 0;
        for (size_t i = 0; i < n; ++i) bad |= (bits[i] & exponent) == exponent;
        return bad == 0;
    }
    const uint64_t exponent = 0x7FF0000000000000u;
    const bits64_t *bits = (const bits64_t *)reals;
    uint64_t bad = 0;
    for (size_t i = 0; i < n; ++i) bad |= (bits[i] & exponent) == exponent;
    return bad == 0;
}

int frbm_array_row_is(const frbm_array_t *a, size_t row, double low, double high) {
    const char *p = frbm_array_row(a, row);
    int bad = 0;
    switch (a->dtype) {
#define CASE(code, type)                                                                           \
    case code:                                                                                     \
        if (a->col_stride == (ptrdiff_t)sizeof(type) && ((type) - 1 < (type)1 || low >= 0)) {      \
            /* without a jump, and in the type itself, this vectorises */                          \
            const type l = (type)low, h = (type)high;                                              \
            type different = 0;                                                                    \
            for (size_t i = 0; i < a->n_cols; ++i) {                                               \
                type x;                                                                            \
                memcpy(&x, p + i * sizeof x, sizeof x);                                            \
                different |= (type)((x != l) & (x != h));                                          \
            }                                                                                      \
            return different == 0;                                                                 \
        }                                                                                          \
        break;
        FOR_EACH_INTEGER(CASE)
#undef CASE
    default:
        break;
    }
    for (size_t i = 0; i < a->n_cols; ++i) {
        const double x = frbm_array_get(a, row, i);
        bad |= !(x == low || x == high);
    }
    return !bad;
}

/* Integers: extremes, and whether -1, 0 and 1 occur; the rest follows. Without jumps, which random data
 * mispredict, and in the type itself, so that the loop over contiguous columns vectorises. */
#define SCAN_INTEGERS(name, type)                                                                  \
    static inline void name##_by(const char *p, ptrdiff_t stride, size_t n, frbm_scan_t *scan) {   \
        type least, most, x, minus_ones = 0, zeros = 0, ones = 0;                                  \
        const type minus_one = (type) - 1;                                                         \
        memcpy(&least, p, sizeof least);                                                           \
        most = least;                                                                              \
        for (size_t i = 0; i < n; ++i) {                                                           \
            memcpy(&x, p + (ptrdiff_t)i * stride, sizeof x);                                       \
            least = x < least ? x : least;                                                         \
            most = x > most ? x : most;                                                            \
            minus_ones |= (type)(x == minus_one);                                                  \
            zeros |= (type)(x == 0);                                                               \
            ones |= (type)(x == 1);                                                                \
        }                                                                                          \
        if ((double)least < scan->min) scan->min = (double)least;                                  \
        if ((double)most > scan->max) scan->max = (double)most;                                    \
        scan->has_minus_one |= minus_ones != 0 && (double)minus_one == -1;                         \
        scan->has_zero |= zeros != 0;                                                              \
        scan->has_one |= ones != 0;                                                                \
        scan->has_other |= (double)least < -1 || (double)most > 1;                                 \
    }                                                                                              \
    static void name(const char *p, ptrdiff_t stride, size_t n, frbm_scan_t *scan) {               \
        if (stride == (ptrdiff_t)sizeof(type)) /* a constant here */                               \
            name##_by(p, (ptrdiff_t)sizeof(type), n, scan);                                        \
        else                                                                                       \
            name##_by(p, stride, n, scan);                                                         \
    }
/* Contiguous bytes that are all 0 or 1, or all -1 or 1: from what some and what all of their bits are, sixteen or
 * more bytes at a time. Returns 0, and says nothing, if they are neither. */
static int scan_states(const char *p, size_t n, int has_sign, frbm_scan_t *scan) {
    const unsigned char *x = (const unsigned char *)p;
    unsigned char some = 0, all = 0xFF, some_next = 0, all_next = 0xFF;
    for (size_t i = 0; i < n; ++i) {
        const unsigned char next = (unsigned char)(x[i] + 1); /* 0 for -1, 2 for 1 */
        some |= x[i];
        all &= x[i];
        some_next |= next;
        all_next &= next;
    }
    const int is_bits = some <= 1, is_signs = has_sign && (some_next & 0xFD) == 0;
    if (!is_bits && !is_signs) return 0;
    const int has_one = is_bits ? some == 1 : some_next == 2, has_low = is_bits ? !all : !all_next;
    const double low = is_bits ? 0 : -1;
    scan->has_one |= has_one;
    scan->has_zero |= is_bits && has_low;
    scan->has_minus_one |= is_signs && has_low;
    if ((has_low ? low : 1) < scan->min) scan->min = has_low ? low : 1;
    if ((has_one ? 1 : low) > scan->max) scan->max = has_one ? 1 : low;
    return 1;
}

#define DEFINE(code, type) SCAN_INTEGERS(scan_##type, type)
FOR_EACH_INTEGER(DEFINE)
#undef DEFINE

/* One value of a row of reals. */
static void scan_real(double y, size_t row, size_t col, frbm_scan_t *scan) {
    if (!(y - y == 0)) {
        if (scan->finite) {
            scan->bad_row = row;
            scan->bad_col = col;
        }
        scan->finite = 0;
        return;
    }
    if (y < scan->min) scan->min = y;
    if (y > scan->max) scan->max = y;
    scan->has_zero |= y == 0;
    scan->has_one |= y == 1;
    scan->has_minus_one |= y == -1;
    scan->has_fraction |= y > 0 && y < 1;
    scan->has_other |= !(y >= 0 && y <= 1) && y != -1;
}

void frbm_scan_start(frbm_scan_t *scan) {
    memset(scan, 0, sizeof *scan);
    scan->finite = 1;
    scan->min = INFINITY;
    scan->max = -INFINITY;
}

void frbm_array_scan(const frbm_array_t *a, size_t begin, size_t end, frbm_scan_t *scan) {
    /* Rows of bytes without a gap between them are one long row, unless they turn out not to be states. */
    if (a->col_stride == 1 && a->row_stride == (ptrdiff_t)a->n_cols && begin < end &&
        (a->dtype == FRBM_INT8 || a->dtype == FRBM_UINT8) &&
        scan_states(frbm_array_row(a, begin), (end - begin) * a->n_cols, a->dtype == FRBM_INT8,
                    scan))
        return;
    for (size_t r = begin; r < end && a->n_cols > 0; ++r) {
        const char *p = frbm_array_row(a, r);
        if (a->col_stride == 1 && (a->dtype == FRBM_INT8 || a->dtype == FRBM_UINT8) &&
            scan_states(p, a->n_cols, a->dtype == FRBM_INT8, scan))
            continue;
        switch (a->dtype) {
#define CASE(code, type)                                                                           \
    case code:                                                                                     \
        scan_##type(p, a->col_stride, a->n_cols, scan);                                            \
        break;
            FOR_EACH_INTEGER(CASE)
#undef CASE
#define CASE(code, type)                                                                           \
    case code:                                                                                     \
        for (size_t i = 0; i < a->n_cols; ++i, p += a->col_stride) {                               \
            type x;                                                                                \
            memcpy(&x, p, sizeof x);                                                               \
            scan_real((double)x, r, i, scan);                                                      \
        }                                                                                          \
        break;
            FOR_EACH_REAL(CASE)
#undef CASE
        default:
            break;
        }
    }
}

void frbm_scan_merge(const frbm_scan_t *later, frbm_scan_t *scan) {
    if (later->min < scan->min) scan->min = later->min;
    if (later->max > scan->max) scan->max = later->max;
    if (scan->finite && !later->finite) {
        scan->bad_row = later->bad_row;
        scan->bad_col = later->bad_col;
    }
    scan->finite &= later->finite;
    scan->has_minus_one |= later->has_minus_one;
    scan->has_zero |= later->has_zero;
    scan->has_one |= later->has_one;
    scan->has_fraction |= later->has_fraction;
    scan->has_other |= later->has_other;
}

/* Bytes, contiguous: 128 of them fit a sum of 16 bits, and a strip of these sums stays in L1. Whole rows of a
 * strip, so that memory is read in order, and four of them at a time. */
#define ADD_BYTES(name, type)                                                                      \
    static void name(const frbm_array_t *a, size_t begin, size_t end, double *sums) {              \
        enum { ROWS = 128, COLUMNS = 2048 };                                                       \
        int16_t part[COLUMNS];                                                                     \
        for (size_t r0 = begin; r0 < end; r0 += ROWS)                                              \
            for (size_t c = 0; c < a->n_cols; c += COLUMNS) {                                      \
                const size_t n = a->n_cols - c < COLUMNS ? a->n_cols - c : COLUMNS;                \
                const size_t last = end - r0 < ROWS ? end : r0 + ROWS;                             \
                size_t r = r0;                                                                     \
                memset(part, 0, n * sizeof *part);                                                 \
                for (; r + 4 <= last; r += 4) {                                                    \
                    const type *p = (const type *)(const void *)frbm_array_row(a, r) + c;          \
                    const type *q = (const type *)(const void *)frbm_array_row(a, r + 1) + c;      \
                    const type *s = (const type *)(const void *)frbm_array_row(a, r + 2) + c;      \
                    const type *t = (const type *)(const void *)frbm_array_row(a, r + 3) + c;      \
                    for (size_t i = 0; i < n; ++i)                                                 \
                        part[i] = (int16_t)(part[i] + p[i] + q[i] + s[i] + t[i]);                  \
                }                                                                                  \
                for (; r < last; ++r) {                                                            \
                    const type *p = (const type *)(const void *)frbm_array_row(a, r) + c;          \
                    for (size_t i = 0; i < n; ++i) part[i] = (int16_t)(part[i] + p[i]);            \
                }                                                                                  \
                for (size_t i = 0; i < n; ++i) sums[c + i] += part[i];                             \
            }                                                                                      \
    }
ADD_BYTES(add_int8, int8_t)
ADD_BYTES(add_uint8, uint8_t)

static void add_bytes_of(const frbm_array_t *a, size_t begin, size_t end, double *sums) {
    if (a->dtype == FRBM_INT8)
        add_int8(a, begin, end, sums);
    else
        add_uint8(a, begin, end, sums);
}

/* Short rows without a gap between them are taken several at a time, as one row. */
#define LONG_ROW 256
static void add_bytes(const frbm_array_t *a, size_t begin, size_t end, double *sums) {
    const size_t n = a->n_cols, together = n > 0 ? LONG_ROW / n : 0;
    if (together > 1 && a->row_stride == (ptrdiff_t)n) {
        const size_t n_long = (end - begin) / together;
        const frbm_array_t rows = {frbm_array_row(a, begin),  a->dtype, n_long, together * n,
                                   (ptrdiff_t)(together * n), 1};
        double parts[LONG_ROW] = {0};
        add_bytes_of(&rows, 0, n_long, parts);
        for (size_t q = 0; q < together; ++q)
            for (size_t i = 0; i < n; ++i) sums[i] += parts[q * n + i];
        begin += n_long * together;
    }
    add_bytes_of(a, begin, end, sums);
}

void frbm_array_add_rows(const frbm_array_t *a, size_t begin, size_t end, double *sums) {
    if (a->col_stride == 1 && (a->dtype == FRBM_INT8 || a->dtype == FRBM_UINT8)) {
        add_bytes(a, begin, end, sums);
        return;
    }
    for (size_t r = begin; r < end; ++r) {
        const char *p = frbm_array_row(a, r);
        switch (a->dtype) {
#define CASE(code, type)                                                                           \
    case code:                                                                                     \
        if (a->col_stride == (ptrdiff_t)sizeof(type))                                              \
            for (size_t i = 0; i < a->n_cols; ++i) {                                               \
                type x;                                                                            \
                memcpy(&x, p + i * sizeof x, sizeof x);                                            \
                sums[i] += (double)x;                                                              \
            }                                                                                      \
        else                                                                                       \
            for (size_t i = 0; i < a->n_cols; ++i, p += a->col_stride) {                           \
                type x;                                                                            \
                memcpy(&x, p, sizeof x);                                                           \
                sums[i] += (double)x;                                                              \
            }                                                                                      \
        break;
            FOR_EACH_DTYPE(CASE)
#undef CASE
        default:
            break;
        }
    }
}
