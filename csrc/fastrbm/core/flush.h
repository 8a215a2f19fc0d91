/*
 * Numbers below the smallest normal one become zero in this thread until restored: arithmetic on
 * them is a hundred times slower on some processors. Where this is not known how to do, nothing
 * happens; results are then the same within the bounds that are given for lost numbers.
 */
#ifndef FRBM_CORE_FLUSH_H
#define FRBM_CORE_FLUSH_H

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define FRBM_FLUSH_BITS 0x8040u /* flush to zero, and denormals are zero */
static inline unsigned frbm_flush_start(void) {
    const unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before | FRBM_FLUSH_BITS);
    return before;
}
static inline void frbm_flush_end(unsigned before) { __builtin_ia32_ldmxcsr(before); }
/* For the code of others in between; frbm_flush_end with what it returns goes on. */
static inline unsigned frbm_flush_pause(void) {
    const unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before & ~FRBM_FLUSH_BITS);
    return before;
}
#else
static inline unsigned frbm_flush_start(void) { return 0; }
static inline void frbm_flush_end(unsigned before) { (void)before; }
static inline unsigned frbm_flush_pause(void) { return 0; }
#endif

#endif
