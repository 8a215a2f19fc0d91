/* Kernels for x86-64-v4 (AVX-512 F, BW, DQ, VL). The body is kernels_body.inc; here is what it needs of the level. */
#include <math.h>
#include <string.h>

#include "fastrbm/core/bits.h"
#include "fastrbm/core/numerics.h"
#include "kernels.h"

#ifdef FRBM_HAVE_X86_LEVELS
#include <immintrin.h>

#if defined(__clang__)
#define FEATURES                                                                                   \
    "avx2,fma,bmi,bmi2,popcnt,"                                                                    \
    "avx512f,avx512bw,avx512cd,avx512dq,avx512vl"
#pragma clang attribute push(__attribute__((target(FEATURES))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi,bmi2,popcnt")
#pragma GCC target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,prefer-vector-width=512")
#endif

#define FN(name) name##_v4
#define LEVEL_NAME "v4"
#define VBYTES 64
#define ROW_BLOCK 8
#define ENTRIES 2
#define WIDE_TABLES frbm_wide_tables
/* Tables are stores, and looking up is loads: the first costs are for Intel processors with two loads and a store of 64
 * bytes a cycle (table, look_up and signed_group are fitted to one, the others estimated from it), the second are fitted
 * to AMD's Zen 4, with one load a cycle and a store in two. */
#define COSTS (frbm_wide_tables ? &two_loads_v4 : &one_load_v4)
static const frbm_product_costs_t two_loads_v4 = {.table = 52,
                                                  .look_up = 4,
                                                  .pair_tables = 28,
                                                  .pair_look_up = 8,
                                                  .sum = 12,
                                                  .word = 80,
                                                  .group = {4, 6},
                                                  .signed_group = {24, 16}},
                                  one_load_v4 = {.table = 130,
                                                 .look_up = 5,
                                                 .pair_tables = 56,
                                                 .pair_look_up = 10,
                                                 .sum = 22,
                                                 .word = 92,
                                                 .group = {3, 11},
                                                 .signed_group = {24, 26}};
#define vu32 vu32_v4
#define vu64 vu64_v4
typedef uint32_t vu32 __attribute__((vector_size(VBYTES)));

typedef uint64_t vu64 __attribute__((vector_size(VBYTES)));

static inline vu64 mul_wide_v4(vu64 a, uint32_t m) {
    return (vu64)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(m));
}

static inline void interleave_v4(vu64 a, vu64 b, vu64 out[2]) {
    out[0] = (vu64)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b);
    out[1] = (vu64)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b);
}

static inline void transpose4_v4(vu32 *a, vu32 *b, vu32 *c, vu32 *d) {
    const __m512i ab_low = _mm512_unpacklo_epi32((__m512i)*a, (__m512i)*b),
                  ab_high = _mm512_unpackhi_epi32((__m512i)*a, (__m512i)*b),
                  cd_low = _mm512_unpacklo_epi32((__m512i)*c, (__m512i)*d),
                  cd_high = _mm512_unpackhi_epi32((__m512i)*c, (__m512i)*d);
    *a = (vu32)_mm512_unpacklo_epi64(ab_low, cd_low);
    *b = (vu32)_mm512_unpackhi_epi64(ab_low, cd_low);
    *c = (vu32)_mm512_unpacklo_epi64(ab_high, cd_high);
    *d = (vu32)_mm512_unpackhi_epi64(ab_high, cd_high);
}

/* Quarters of rows are loaded to where their columns will be, so that two steps within quarters are left. */
#define TRANSPOSE16 1
static inline __attribute__((always_inline)) __m512 quarters_v4(const float *w, size_t ldw) {
    __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(w));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(w + 4 * ldw), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(w + 8 * ldw), 2);
    return _mm512_insertf32x4(x, _mm_loadu_ps(w + 12 * ldw), 3);
}
static inline __attribute__((always_inline)) void transpose16_v4(const float *w, size_t ldw,
                                                                 size_t lanes, float *w_t,
                                                                 size_t ldwt) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 16; j += 4) {
        vu32 x[4];
#pragma GCC unroll 4
        for (size_t r = 0; r < 4; ++r) x[r] = (vu32)quarters_v4(w + r * ldw + j, ldw);
        transpose4_v4(&x[0], &x[1], &x[2], &x[3]);
#pragma GCC unroll 4
        for (size_t q = 0; q < 4; ++q)
            if (j + q < lanes) _mm512_storeu_ps(w_t + (j + q) * ldwt, (__m512)x[q]);
    }
}

typedef float vf32_raw __attribute__((vector_size(VBYTES)));
typedef double vf64_raw __attribute__((vector_size(VBYTES)));

static inline uint32_t sign_mask_f32_v4(vf32_raw x) { return _mm512_movepi32_mask((__m512i)x); }

static inline vf32_raw clamp_f32_v4(vf32_raw x, float limit) {
    const __m512 l = _mm512_set1_ps(limit);
    return (vf32_raw)_mm512_max_ps(_mm512_min_ps((__m512)x, l), -l);
}
static inline vf32_raw reciprocal_f32_v4(vf32_raw x) {
    return (vf32_raw)_mm512_rcp14_ps((__m512)x);
}

static inline vf32_raw fma_f32_v4(vf32_raw a, vf32_raw b, vf32_raw c) {
    return (vf32_raw)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
static inline vf64_raw fma_f64_v4(vf64_raw a, vf64_raw b, vf64_raw c) {
    return (vf64_raw)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}

static inline vf32_raw load_partial_f32_v4(const float *p, size_t count) {
    return (vf32_raw)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}
static inline vf64_raw load_partial_f64_v4(const double *p, size_t count) {
    return (vf64_raw)_mm512_maskz_loadu_pd((__mmask8)((1u << count) - 1), p);
}
static inline void store_partial_f32_v4(float *p, vf32_raw x, size_t count) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)x);
}
static inline void store_partial_f64_v4(double *p, vf64_raw x, size_t count) {
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << count) - 1), (__m512d)x);
}

/* A row's bits are the mask of an addition: lanes of 16 bits for at most 16 rows, else of 32 bits for 32 rows at a
 * time. */
#define COLUMNS_OF 1
static inline void columns_of_v4(const uint64_t *rows, size_t stride, size_t n_rows, size_t n_cols,
                                 uint64_t columns[64]) {
    if (n_rows <= 16) {
        __m512i low = _mm512_setzero_si512(), high = low;
        for (size_t r = 0; r < n_rows; ++r) {
            const uint64_t word = rows[r * stride];
            const __m512i bit = _mm512_set1_epi16((short)(1u << r));
            low = _mm512_mask_add_epi16(low, (__mmask32)word, low, bit);
            high = _mm512_mask_add_epi16(high, (__mmask32)(word >> 32), high, bit);
        }
        const __m512i both[2] = {low, high};
        for (size_t j = 0; j < n_cols; j += 8) {
            __m128i eights[4];
            memcpy(eights, &both[j / 32], sizeof both[0]);
            _mm512_storeu_si512(columns + j, _mm512_cvtepu16_epi64(eights[j % 32 / 8]));
        }
        return;
    }
    for (size_t r0 = 0; r0 < n_rows; r0 += 32) {
        const size_t end = n_rows - r0 < 32 ? n_rows : r0 + 32;
        for (size_t j = 0; j < n_cols; j += 32) {
            __m512i low = _mm512_setzero_si512(), high = low;
            for (size_t r = r0; r < end; ++r) {
                const uint32_t word = (uint32_t)(rows[r * stride] >> j);
                const __m512i bit = _mm512_set1_epi32((int)(1u << (r - r0)));
                low = _mm512_mask_add_epi32(low, (__mmask16)word, low, bit);
                high = _mm512_mask_add_epi32(high, (__mmask16)(word >> 16), high, bit);
            }
            const __m256i eights[4] = {
                _mm512_castsi512_si256(low), _mm512_extracti64x4_epi64(low, 1),
                _mm512_castsi512_si256(high), _mm512_extracti64x4_epi64(high, 1)};
            for (size_t q = 0; q < 4; ++q) {
                uint64_t *to = columns + j + 8 * q;
                const __m512i wide = _mm512_cvtepu32_epi64(eights[q]);
                _mm512_storeu_si512(to, r0 == 0 ? wide
                                                : _mm512_or_si512(_mm512_loadu_si512(to),
                                                                  _mm512_slli_epi64(wide, 32)));
            }
        }
    }
}

/* A lane is a group of half a word; the addresses of those that are not zero are moved together. */
#define LIST_MANY_GROUPS 1
static inline size_t list_many_groups_v4(const uint64_t *words, size_t n_words,
                                         const frbm_pairs_t *pairs, uintptr_t *low,
                                         uintptr_t *high) {
    const __m512i lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7),
                  at = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)pairs->at)),
                  step = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)pairs->step)),
                  turn = _mm512_slli_epi64(lane, 2);
    size_t n = 0;
    for (size_t half = 0; half < 2 * n_words; ++half) {
        const uint64_t bits = words[half / 2] >> (half % 2 * 32);
        const __m512i four = _mm512_and_si512(
                          _mm512_srlv_epi64(_mm512_set1_epi64((long long)bits), turn),
                          _mm512_set1_epi64(15)),
                      e[2] = {_mm512_and_si512(four, _mm512_set1_epi64(3)),
                              _mm512_srli_epi64(four, 2)};
        const __mmask8 some = _mm512_test_epi64_mask(four, four);
        uintptr_t *const lists[2] = {low + n, high + n};
        for (int k = 0; k < 2; ++k) {
            const __m512i p = _mm512_add_epi64(_mm512_slli_epi64(lane, 1),
                                               _mm512_set1_epi64((long long)(16 * half) + k)),
                          from = _mm512_add_epi64(
                              _mm512_permutexvar_epi64(e[k], at),
                              _mm512_mullo_epi64(p, _mm512_permutexvar_epi64(e[k], step)));
            _mm512_storeu_si512(lists[k], _mm512_maskz_compress_epi64(some, from));
        }
        n += (size_t)__builtin_popcount(some);
    }
    return n;
}

typedef uint16_t vu16_v4 __attribute__((vector_size(VBYTES)));

static inline vu16_v4 narrow_f32_v4(const vf32_raw t[2]) {
    __m256i half[2];
    for (int i = 0; i < 2; ++i)
        half[i] = _mm512_cvtusepi32_epi16(_mm512_cvttps_epi32((__m512)t[i]));
    return (vu16_v4)_mm512_inserti64x4(_mm512_castsi256_si512(half[0]), half[1], 1);
}
static inline vu16_v4 narrow_f64_v4(const vf64_raw t[4]) {
    __m256i half[2];
    for (int i = 0; i < 2; ++i)
        half[i] =
            _mm256_set_m128i(_mm256_cvtusepi32_epi16(_mm512_cvttpd_epi32((__m512d)t[2 * i + 1])),
                             _mm256_cvtusepi32_epi16(_mm512_cvttpd_epi32((__m512d)t[2 * i])));
    return (vu16_v4)_mm512_inserti64x4(_mm512_castsi256_si512(half[0]), half[1], 1);
}

static inline vu16_v4 subtract_to_zero_v4(vu16_v4 a, vu16_v4 b) {
    return (vu16_v4)_mm512_subs_epu16((__m512i)a, (__m512i)b);
}
static inline uint64_t zeros_v4(vu16_v4 a, vu16_v4 b) {
    return (uint64_t)_mm512_testn_epi16_mask((__m512i)b, (__m512i)b) << 32 |
           _mm512_testn_epi16_mask((__m512i)a, (__m512i)a);
}

/* acc += the entry of table g that the turned word selects, see TFN(add_entries). By hand, since compilers
 * take all offsets out of the word before the first addition, and then spill them. */
#define ADD_ENTRY(suffix, acc, tables, turned, g)                                                  \
    do {                                                                                           \
        uint64_t at;                                                                               \
        __asm__(                                                                                   \
            "rorx %[turn],%[word],%[at]\n\t"                                                       \
            "and $0x3c0,%k[at]\n\t"                                                                \
            "vadd" suffix " %c[low](%[base],%[at]),%[a],%[a]"                                      \
            : [a] "+v"((acc)[0]), [at] "=&r"(at)                                                   \
            : [word] "r"(turned), [base] "r"(tables), [turn] "i"(4 * (g)), [low] "i"(1024 * (g)),  \
              "m"(*(const FN(table_bytes) *)(const void *)(tables)[g])                             \
            : "cc");                                                                               \
    } while (0)

#include "kernels_body.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int frbm_no_v4_on_this_machine; /* ISO C wants a declaration in every file */
#endif
