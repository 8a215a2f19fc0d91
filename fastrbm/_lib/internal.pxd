# Internals of the C library that Python shows: unit types, random streams, scans of arrays.
from libc.stdint cimport uint32_t, uint64_t

from fastrbm._lib.frbm cimport frbm_array_t, frbm_exec_t, frbm_rbm_t


cdef extern from "fastrbm/layers/unit.h" nogil:
    ctypedef struct frbm_unit_t:
        const char *name
        int n_parameters
        int n_learned
        const char *parameter_names[4]
        double low
        double high

    const frbm_unit_t *frbm_unit(int unit)
    int frbm_unit_is_discrete(const frbm_unit_t *unit)


cdef extern from "fastrbm/core/array.h" nogil:
    ctypedef struct frbm_scan_t:
        double min, max
        int finite, has_minus_one, has_zero, has_one, has_fraction, has_other
        size_t bad_row, bad_col


cdef extern from "fastrbm/algorithms/data.h" nogil:
    size_t frbm_data_sums_size(size_t n_cols)
    int frbm_data_scan(const frbm_array_t *array, const frbm_exec_t *exec, double *workspace,
                       frbm_scan_t *scan, double *sums)


cdef extern from "fastrbm/core/rng.h" nogil:
    enum frbm_purpose:
        FRBM_PURPOSE_GIBBS_HIDDEN
        FRBM_PURPOSE_GIBBS_VISIBLE
        FRBM_PURPOSE_START
        FRBM_PURPOSE_TRAIN_HIDDEN
        FRBM_PURPOSE_TRAIN_VISIBLE
        FRBM_PURPOSE_TRAIN_DATA
        FRBM_PURPOSE_TRAIN_STATISTIC
        FRBM_PURPOSE_SHUFFLE
        FRBM_PURPOSE_CHAINS
        FRBM_PURPOSE_WEIGHTS
        FRBM_PURPOSE_METRIC_ROWS
        FRBM_PURPOSE_METRIC
        FRBM_PURPOSE_PSEUDO
        FRBM_PURPOSE_SAMPLE_HIDDEN
        FRBM_PURPOSE_SAMPLE_VISIBLE
        FRBM_PURPOSE_LAYER
        FRBM_PURPOSE_EXACT
        FRBM_PURPOSE_EXACT_PART

    ctypedef struct frbm_philox_block:
        uint32_t c[4]

    ctypedef struct frbm_stream_t:
        pass

    frbm_philox_block frbm_philox(frbm_philox_block x, uint32_t k0, uint32_t k1)
    frbm_stream_t frbm_stream(uint64_t key, uint64_t step, frbm_purpose purpose,
                              uint32_t first_row)
    void frbm_stream_words(const frbm_stream_t *s, uint32_t row, size_t n, uint32_t *words)
    void frbm_stream_bit_words(const frbm_stream_t *s, uint32_t row, size_t n, uint32_t *words)
    void frbm_stream_normals(const frbm_stream_t *s, size_t n, int dtype, void *out)
    ctypedef void frbm_blocks_t(const frbm_stream_t *s, uint32_t first_row, size_t n_rows,
                                uint32_t first_block, size_t n_blocks, uint32_t *words)
    frbm_blocks_t frbm_stream_blocks
    void frbm_stream_permutation(const frbm_stream_t *s, frbm_blocks_t *blocks, uint32_t n,
                                 uint32_t *order)
    void frbm_stream_choice(const frbm_stream_t *s, frbm_blocks_t *blocks, uint32_t n,
                            uint32_t n_chosen, uint32_t *order)


cdef extern from "fastrbm/algorithms/flips.h" nogil:
    int frbm_flips_fit(const frbm_rbm_t *rbm)


cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static int fastrbm_openmp_threads(void) { return omp_get_max_threads(); }
    #else
    static int fastrbm_openmp_threads(void) { return 0; }
    #endif
    #if defined(__clang__)
    #define FASTRBM_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FASTRBM_COMPILER "gcc " __VERSION__
    #else
    #define FASTRBM_COMPILER "unknown"
    #endif
    /* struct bitgen of numpy/random/bitgen.h, part of NumPy's documented C interface */
    typedef struct {
        void *state;
        uint64_t (*next_uint64)(void *st);
        uint32_t (*next_uint32)(void *st);
        double (*next_double)(void *st);
        uint64_t (*next_raw)(void *st);
    } fastrbm_bitgen_t;
    """
    int fastrbm_openmp_threads() nogil
    const char *FASTRBM_COMPILER
    ctypedef struct fastrbm_bitgen_t:
        void *state
        uint64_t (*next_uint64)(void *st) noexcept nogil
