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
typedef uint32_t vu32 __attribute__((vector_size(VBYTES)));

static inline void mul_hi_lo_v3(vu32 a, uint32_t m, vu32 *hi, vu32 *lo) {
    const __m256i x = (__m256i)a, factor = _mm256_set1_epi64x(m);
    const __m256i even = _mm256_mul_epu32(x, factor);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), factor);
    *lo = (vu32)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
    *hi = (vu32)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
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

typedef float vf32_raw __attribute__((vector_size(VBYTES)));
typedef double vf64_raw __attribute__((vector_size(VBYTES)));

static inline uint32_t sign_mask_f32_v3(vf32_raw x) {
    return (uint32_t)_mm256_movemask_ps((__m256)x);
}
static inline uint32_t sign_mask_f64_v3(vf64_raw x) {
    return (uint32_t)_mm256_movemask_pd((__m256d)x);
}

/* AVX2 compares signed integers only: move both by 2^31. */
static inline uint32_t less_mask_v3(vu32 a, vu32 b) {
    const __m256i top = _mm256_set1_epi32(INT32_MIN);
    return sign_mask_f32_v3((vf32_raw)_mm256_cmpgt_epi32(_mm256_xor_si256((__m256i)b, top),
                                                         _mm256_xor_si256((__m256i)a, top)));
}

static inline vf32_raw fma_f32_v3(vf32_raw a, vf32_raw b, vf32_raw c) {
    return (vf32_raw)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
static inline vf64_raw fma_f64_v3(vf64_raw a, vf64_raw b, vf64_raw c) {
    return (vf64_raw)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}

static inline void store_thresholds_f32_v3(vf32_raw t, uint32_t *out) {
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_cvttps_epi32((__m256)t));
}
static inline void store_thresholds_f64_v3(vf64_raw t, uint32_t *out) {
    _mm_storeu_si128((__m128i *)(void *)out, _mm256_cvttpd_epi32((__m256d)t));
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
