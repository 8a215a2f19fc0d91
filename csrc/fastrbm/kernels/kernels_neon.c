/* Kernels for 64-bit ARM (NEON). The body is kernels_body.inc; here is what it needs of the level. */
#include <math.h>
#include <string.h>

#include "fastrbm/core/bits.h"
#include "fastrbm/core/numerics.h"
#include "kernels.h"

#ifdef FRBM_HAVE_NEON
#include <arm_neon.h>

#define FN(name) name##_neon
#define LEVEL_NAME "neon"
#define VBYTES 16
#define ROW_BLOCK 4
#define ENTRIES 1
#define vu32 vu32_neon
#define vu64 vu64_neon
typedef uint32_t vu32 __attribute__((vector_size(VBYTES)));
typedef uint64_t vu64 __attribute__((vector_size(VBYTES)));
typedef float vf32_raw __attribute__((vector_size(VBYTES)));
typedef double vf64_raw __attribute__((vector_size(VBYTES)));

static inline vu64 mul_wide_neon(vu64 a, uint32_t m) {
    return (vu64)vmull_n_u32(vmovn_u64((uint64x2_t)a), m);
}

static inline void interleave_neon(vu64 a, vu64 b, vu64 out[2]) {
    out[0] = (vu64)vtrn1q_u64((uint64x2_t)a, (uint64x2_t)b);
    out[1] = (vu64)vtrn2q_u64((uint64x2_t)a, (uint64x2_t)b);
}

static inline void transpose4_neon(vu32 *a, vu32 *b, vu32 *c, vu32 *d) {
    const uint32x4_t ab0 = vtrn1q_u32((uint32x4_t)*a, (uint32x4_t)*b),
                     ab1 = vtrn2q_u32((uint32x4_t)*a, (uint32x4_t)*b),
                     cd0 = vtrn1q_u32((uint32x4_t)*c, (uint32x4_t)*d),
                     cd1 = vtrn2q_u32((uint32x4_t)*c, (uint32x4_t)*d);
    *a = (vu32)vcombine_u32(vget_low_u32(ab0), vget_low_u32(cd0));
    *b = (vu32)vcombine_u32(vget_low_u32(ab1), vget_low_u32(cd1));
    *c = (vu32)vcombine_u32(vget_high_u32(ab0), vget_high_u32(cd0));
    *d = (vu32)vcombine_u32(vget_high_u32(ab1), vget_high_u32(cd1));
}

static inline uint32_t mask_of_neon(uint32x4_t all_ones) {
    const uint32x4_t weight = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(all_ones, weight));
}

static inline uint32_t sign_mask_f32_neon(vf32_raw x) {
    return mask_of_neon(vcltzq_s32((int32x4_t)x));
}

static inline vf32_raw fma_f32_neon(vf32_raw a, vf32_raw b, vf32_raw c) {
    return (vf32_raw)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
static inline vf64_raw fma_f64_neon(vf64_raw a, vf64_raw b, vf64_raw c) {
    return (vf64_raw)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}

typedef uint16_t vu16_neon __attribute__((vector_size(VBYTES)));

static inline vu16_neon narrow_f32_neon(const vf32_raw t[2]) {
    return (vu16_neon)vcombine_u16(vqmovn_u32(vcvtq_u32_f32((float32x4_t)t[0])),
                                   vqmovn_u32(vcvtq_u32_f32((float32x4_t)t[1])));
}
static inline vu16_neon narrow_f64_neon(const vf64_raw t[4]) {
    uint32x2_t whole[4];
    for (int i = 0; i < 4; ++i) whole[i] = vqmovn_u64(vcvtq_u64_f64((float64x2_t)t[i]));
    return (vu16_neon)vcombine_u16(vqmovn_u32(vcombine_u32(whole[0], whole[1])),
                                   vqmovn_u32(vcombine_u32(whole[2], whole[3])));
}

static inline vu16_neon subtract_to_zero_neon(vu16_neon a, vu16_neon b) {
    return (vu16_neon)vqsubq_u16((uint16x8_t)a, (uint16x8_t)b);
}
static inline uint64_t zeros_neon(vu16_neon a, vu16_neon b) {
    const uint16x8_t weight = {1, 2, 4, 8, 16, 32, 64, 128};
    return (uint64_t)vaddvq_u16(vandq_u16(vceqzq_u16((uint16x8_t)a), weight)) |
           (uint64_t)vaddvq_u16(vandq_u16(vceqzq_u16((uint16x8_t)b), weight)) << 8;
}

#include "fallback.inc"
#include "kernels_body.inc"
#else
typedef int frbm_no_neon_on_this_machine; /* ISO C wants a declaration in every file */
#endif
