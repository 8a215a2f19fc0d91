/* Which SIMD levels this build has and this machine can run. */
#include <string.h>

#include "kernels.h"

static const frbm_kernels_t *const levels[] = {frbm_kernels_baseline,
#ifdef FRBM_HAVE_X86_LEVELS
                                               frbm_kernels_v3, frbm_kernels_v4,
#endif
#ifdef FRBM_HAVE_NEON
                                               frbm_kernels_neon,
#endif
                                               NULL};

#ifdef FRBM_HAVE_X86_LEVELS
int frbm_wide_tables = 1;
/* "amdfam19h" is Zen 3 and Zen 4, of which only the second has level v4; older compilers know neither, and Apple's count
 * their versions for themselves. */
#if defined(__apple_build_version__)
#elif defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
static __attribute__((constructor)) void choose_tables(void) {
    __builtin_cpu_init();
    frbm_wide_tables = !__builtin_cpu_is("amdfam19h");
}
#endif
#endif

/* Levels come plain first and each needs the one before it, so a machine runs a prefix of them. */
static int n_runnable(void) {
    int n = 1;
#ifdef FRBM_HAVE_X86_LEVELS
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
          __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
          __builtin_cpu_supports("popcnt")))
        return n;
    ++n;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512vl")))
        return n;
    ++n;
#endif
#ifdef FRBM_HAVE_NEON
    ++n; /* part of every 64-bit ARM */
#endif
    return n;
}

const char *frbm_simd_level(int index) {
    return index >= 0 && index < n_runnable() ? levels[index]->name : NULL;
}

void frbm_exec_init(frbm_exec_t *exec) {
    exec->kernels = levels[n_runnable() - 1];
    exec->n_threads = 1;
    exec->poll = NULL;
    exec->poll_context = NULL;
}

int frbm_exec_set_simd(frbm_exec_t *exec, const char *level) {
    if (exec == NULL || level == NULL) return FRBM_ERROR_ARGUMENT;
    for (int i = 0; i < n_runnable(); ++i)
        if (strcmp(levels[i]->name, level) == 0) {
            const char *path = exec->kernels->path;
            exec->kernels = levels[i];
            return frbm_exec_set_kernel(exec, path);
        }
    return FRBM_ERROR_SIMD;
}

const char *frbm_exec_simd(const frbm_exec_t *exec) { return exec->kernels->name; }

int frbm_exec_set_kernel(frbm_exec_t *exec, const char *path) {
    if (exec == NULL || path == NULL) return FRBM_ERROR_ARGUMENT;
    for (int i = 0; i < n_runnable(); ++i)
        for (int p = 0; p < FRBM_N_PATHS; ++p)
            if (strcmp(levels[i]->name, exec->kernels->name) == 0 &&
                strcmp(levels[i][p].path, path) == 0) {
                exec->kernels = &levels[i][p];
                return FRBM_OK;
            }
    return FRBM_ERROR_ARGUMENT;
}

const char *frbm_exec_kernel(const frbm_exec_t *exec) { return exec->kernels->path; }
