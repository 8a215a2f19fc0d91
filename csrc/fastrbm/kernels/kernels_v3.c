/* Kernels for x86-64-v3 (AVX2, FMA). The body is kernels_body.inc; here is what it needs of the level. */
#include <math.h>
#include <string.h>

#include "fastrbm/core/bits.h"
#include "fastrbm/core/numerics.h"
#include "kernels.h"

#ifdef FRBM_HAVE_X86_LEVELS
#include <immintrin.h>

#if defined(__clang__)
#define FEATURES "avx2,fma,bmi,bmi2,popcnt"
#pragma clang attribute push(__attribute__((target(FEATURES))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi,bmi2,popcnt")
#endif

#define FN(name) name##_v3
#define LEVEL_NAME "v3"
#define VBYTES 32
#define ROW_BLOCK 4
#define ENTRIES 1
#define vu32 vu32_v3
#define vu64 vu64_v3
typedef uint32_t vu32 __attribute__((vector_size(VBYTES)));

typedef uint64_t vu64 __attribute__((vector_size(VBYTES)));

static inline vu64 mul_wide_v3(vu64 a, uint32_t m) {
    return (vu64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(m));
}

static inline void interleave_v3(vu64 a, vu64 b, vu64 out[2]) {
    out[0] = (vu64)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b);
    out[1] = (vu64)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b);
}

static inline void transpose4_v3(vu32 *a, vu32 *b, vu32 *c, vu32 *d) {
    const __m256i ab_low = _mm256_unpacklo_epi32((__m256i)*a, (__m256i)*b),
                  ab_high = _mm256_unpackhi_epi32((__m256i)*a, (__m256i)*b),
                  cd_low = _mm256_unpacklo_epi32((__m256i)*c, (__m256i)*d),
                  cd_high = _mm256_unpackhi_epi32((__m256i)*c, (__m256i)*d);
    *a = (vu32)_mm256_unpacklo_epi64(ab_low, cd_low);
    *b = (vu32)_mm256_unpackhi_epi64(ab_low, cd_low);
    *c = (vu32)_mm256_unpacklo_epi64(ab_high, cd_high);
    *d = (vu32)_mm256_unpackhi_epi64(ab_high, cd_high);
}

/* The first halves of a and b, or with k = 1 the second ones. */
#define JOIN_HALVES 1
static inline vu32 join_halves_v3(vu32 a, vu32 b, int k) {
    return k == 0 ? (vu32)_mm256_permute2x128_si256((__m256i)a, (__m256i)b, 0x20)
                  : (vu32)_mm256_permute2x128_si256((__m256i)a, (__m256i)b, 0x31);
}

typedef float vf32_raw __attribute__((vector_size(VBYTES)));
typedef double vf64_raw __attribute__((vector_size(VBYTES)));

static inline uint32_t sign_mask_f32_v3(vf32_raw x) {
    return (uint32_t)_mm256_movemask_ps((__m256)x);
}

static inline vf32_raw clamp_f32_v3(vf32_raw x, float limit) {
    const __m256 l = _mm256_set1_ps(limit);
    return (vf32_raw)_mm256_max_ps(_mm256_min_ps((__m256)x, l), -l);
}
static inline vf32_raw reciprocal_f32_v3(vf32_raw x) { return (vf32_raw)_mm256_rcp_ps((__m256)x); }

static inline vf32_raw fma_f32_v3(vf32_raw a, vf32_raw b, vf32_raw c) {
    return (vf32_raw)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
static inline vf64_raw fma_f64_v3(vf64_raw a, vf64_raw b, vf64_raw c) {
    return (vf64_raw)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}

typedef uint16_t vu16_v3 __attribute__((vector_size(VBYTES)));

static inline vu16_v3 narrow_f32_v3(const vf32_raw t[2]) {
    const __m256i a = _mm256_cvttps_epi32((__m256)t[0]), b = _mm256_cvttps_epi32((__m256)t[1]);
    return (vu16_v3)_mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xD8);
}
static inline vu16_v3 narrow_f64_v3(const vf64_raw t[4]) {
    __m128i whole[4];
    for (int i = 0; i < 4; ++i) whole[i] = _mm256_cvttpd_epi32((__m256d)t[i]);
    return (vu16_v3)_mm256_set_m128i(_mm_packus_epi32(whole[2], whole[3]),
                                     _mm_packus_epi32(whole[0], whole[1]));
}

static inline vu16_v3 subtract_to_zero_v3(vu16_v3 a, vu16_v3 b) {
    return (vu16_v3)_mm256_subs_epu16((__m256i)a, (__m256i)b);
}
static inline uint64_t zeros_v3(vu16_v3 a, vu16_v3 b) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i both = _mm256_packs_epi16(_mm256_cmpeq_epi16((__m256i)a, zero),
                                            _mm256_cmpeq_epi16((__m256i)b, zero));
    return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(both, 0xD8));
}

/* acc += the entry of table g that the turned word selects, see TFN(add_entries). By hand, since compilers
 * take all offsets out of the word before the first addition, and then spill them. */
#define ADD_ENTRY(suffix, acc, tables, turned, g)                                                  \
    do {                                                                                           \
        uint64_t at;                                                                               \
        __asm__("rorx %[turn],%[word],%[at]\n\t"                                                   \
                "and $0x3c0,%k[at]\n\t"                                                            \
                "vadd" suffix " %c[low](%[base],%[at]),%[a],%[a]\n\t"                              \
                "vadd" suffix " %c[high](%[base],%[at]),%[b],%[b]"                                 \
                : [a] "+x"((acc)[0]), [b] "+x"((acc)[1]), [at] "=&r"(at)                           \
                : [word] "r"(turned), [base] "r"(tables), [turn] "i"(4 * (g)),                     \
                  [low] "i"(1024 * (g)), [high] "i"(1024 * (g) + 32),                              \
                  "m"(*(const FN(table_bytes) *)(const void *)(tables)[g])                         \
                : "cc");                                                                           \
    } while (0)

/* Rows r and r + 1 of n, as far as they are there. */
static inline __m128i pair_of_rows_v3(const uint64_t *rows, size_t stride, size_t n, size_t r) {
    if (r + 1 < n)
        return _mm_set_epi64x((long long)rows[(r + 1) * stride], (long long)rows[r * stride]);
    return _mm_set_epi64x(0, r < n ? (long long)rows[r * stride] : 0);
}

/* columns[j] bit r = bit j of row r, for j < n_cols; at most 64 rows, 32 at a time. Sixteen rows in each 128-bit
 * lane: two of them a vector, so that unpacking pairs, fours and eights leaves byte b of every row in vector b;
 * then the sign bits of the bytes are a column at a time. */
#define COLUMNS_OF 1
static void columns_of_v3(const uint64_t *rows, size_t stride, size_t n_rows, size_t n_cols,
                          uint64_t columns[64]) {
    const __m256i pairs = _mm256_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15, 0,
                                           8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    for (size_t r0 = 0; r0 < n_rows; r0 += 32) {
        const size_t n = n_rows - r0;
        __m256i a[8], b[8];
        for (size_t i = 0; i < 8; ++i)
            a[i] = _mm256_shuffle_epi8(
                _mm256_set_m128i(pair_of_rows_v3(rows + r0 * stride, stride, n, 16 + 2 * i),
                                 pair_of_rows_v3(rows + r0 * stride, stride, n, 2 * i)),
                pairs);
        for (size_t i = 0; i < 4; ++i) { /* four rows: bytes 0 to 3, and 4 to 7 */
            b[i] = _mm256_unpacklo_epi16(a[2 * i], a[2 * i + 1]);
            b[4 + i] = _mm256_unpackhi_epi16(a[2 * i], a[2 * i + 1]);
        }
        for (size_t half = 0; half < 8; half += 4)
            for (size_t i = 0; i < 2; ++i) { /* eight rows: two bytes each */
                a[half + i] = _mm256_unpacklo_epi32(b[half + 2 * i], b[half + 2 * i + 1]);
                a[half + 2 + i] = _mm256_unpackhi_epi32(b[half + 2 * i], b[half + 2 * i + 1]);
            }
        for (size_t i = 0; i < 4; ++i) {
            b[2 * i] = _mm256_unpacklo_epi64(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm256_unpackhi_epi64(a[2 * i], a[2 * i + 1]);
        }
        for (size_t byte = 0; 8 * byte < n_cols; ++byte) {
            __m256i v = b[byte];
            for (size_t bit = 8; bit-- > 0; v = _mm256_add_epi8(v, v)) {
                const uint64_t column = (uint32_t)_mm256_movemask_epi8(v);
                columns[8 * byte + bit] = r0 == 0 ? column : columns[8 * byte + bit] | column << 32;
            }
        }
    }
}

#include "fallback.inc"
#include "kernels_body.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int frbm_no_v3_on_this_machine; /* ISO C wants a declaration in every file */
#endif
