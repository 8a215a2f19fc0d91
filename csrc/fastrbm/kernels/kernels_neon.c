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
typedef uint32_t vu32 __attribute__((vector_size(VBYTES)));
typedef float vf32_raw __attribute__((vector_size(VBYTES)));
typedef double vf64_raw __attribute__((vector_size(VBYTES)));

static inline void mul_hi_lo_neon(vu32 a, uint32_t m, vu32 *hi, vu32 *lo) {
    const uint32x4_t x = (uint32x4_t)a;
    const uint32x4_t low = vreinterpretq_u32_u64(vmull_n_u32(vget_low_u32(x), m)),
                     high = vreinterpretq_u32_u64(vmull_n_u32(vget_high_u32(x), m));
    *lo = (vu32)vuzp1q_u32(low, high);
    *hi = (vu32)vuzp2q_u32(low, high);
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

static inline uint32_t less_mask_neon(vu32 a, vu32 b) {
    return mask_of_neon(vcltq_u32((uint32x4_t)a, (uint32x4_t)b));
}

static inline uint32_t sign_mask_f32_neon(vf32_raw x) {
    return mask_of_neon(vcltzq_s32((int32x4_t)x));
}
static inline uint32_t sign_mask_f64_neon(vf64_raw x) {
    const uint64x2_t sign = vshrq_n_u64((uint64x2_t)x, 63);
    return (uint32_t)(vgetq_lane_u64(sign, 0) | vgetq_lane_u64(sign, 1) << 1);
}

static inline vf32_raw fma_f32_neon(vf32_raw a, vf32_raw b, vf32_raw c) {
    return (vf32_raw)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
static inline vf64_raw fma_f64_neon(vf64_raw a, vf64_raw b, vf64_raw c) {
    return (vf64_raw)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}

static inline void store_thresholds_f32_neon(vf32_raw t, uint32_t *out) {
    vst1q_u32(out, vcvtq_u32_f32((float32x4_t)t));
}
static inline void store_thresholds_f64_neon(vf64_raw t, uint32_t *out) {
    vst1_u32(out, vmovn_u64(vcvtq_u64_f64((float64x2_t)t)));
}

#include "fallback.inc"
#include "kernels_body.inc"
#else
typedef int frbm_no_neon_on_this_machine; /* ISO C wants a declaration in every file */
#endif
