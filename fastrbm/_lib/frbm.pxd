# What fastrbm.h declares: types, constants and functions of the C library.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "fastrbm.h" nogil:
    int FRBM_OK, FRBM_STOPPED, FRBM_ERROR_STATE, FRBM_ERROR_DIVERGED, FRBM_ERROR_RANGE
    int FRBM_BERNOULLI, FRBM_SPIN, FRBM_GAUSSIAN
    int FRBM_FLOAT32, FRBM_FLOAT64, FRBM_INT8, FRBM_UINT8, FRBM_INT16, FRBM_UINT16
    int FRBM_INT32, FRBM_UINT32, FRBM_INT64, FRBM_UINT64
    int FRBM_VISIBLE, FRBM_HIDDEN
    int FRBM_FREEZE_WEIGHTS
    int FRBM_FREEZE(int side, int k)
    int FRBM_MAX_PARAMETERS

    const char *frbm_strerror(int code)
    const char *frbm_version()

    ctypedef struct frbm_layer_t:
        int unit
        size_t n
        const void *parameters[4]

    ctypedef struct frbm_rbm_t:
        int dtype
        frbm_layer_t visible
        frbm_layer_t hidden
        const void *weights

    ctypedef struct frbm_kernels_t:
        pass

    ctypedef struct frbm_exec_t:
        const frbm_kernels_t *kernels
        int n_threads
        int (*poll)(void *poll_context) noexcept nogil
        void *poll_context

    ctypedef struct frbm_rng_t:
        uint64_t key
        uint64_t step
        uint32_t first_chain

    ctypedef struct frbm_array_t:
        const void *data
        int dtype
        size_t n_rows
        size_t n_cols
        ptrdiff_t row_stride
        ptrdiff_t col_stride

    ctypedef struct frbm_where_t:
        size_t row
        size_t col
        double value

    ctypedef struct frbm_gibbs_t:
        size_t n_chains

    ctypedef struct frbm_partial_t:
        uint64_t index
        double exponent
        double mantissa
        double lost

    ctypedef struct frbm_pairwise_t:
        size_t n
        unsigned int bits[3]
        unsigned int tile_bits[3]
        size_t n_shards

    ctypedef struct frbm_pairwise_powers_t:
        int power[3]
        double centre[3]

    ctypedef struct frbm_data_t:
        int packed
        const uint64_t *bits
        frbm_array_t values
        size_t n_rows

    ctypedef int (*frbm_moments_fn)(void *context, const frbm_rbm_t *rbm, const frbm_exec_t *exec,
                                    double *products, double *visible,
                                    double *hidden) noexcept nogil

    ctypedef struct frbm_train_options_t:
        size_t k
        size_t batch_size
        int persistent
        int samples
        size_t n_chains
        double momentum
        double weight_decay
        double max_norm
        int frozen
        frbm_moments_fn moments
        void *moments_context

    ctypedef struct frbm_train_t:
        uint64_t n_updates
        double step_norm_sum
        size_t epoch_updates
        size_t last_chains

    ctypedef struct frbm_split_t:
        int side
        uint64_t n_shards
        double n_state_units
        double error_bound

    ctypedef struct frbm_moments_t:
        double *products
        double *visible
        double *hidden
        double *enumerated_products
        double *energy

    int frbm_rbm_from_bytes(frbm_rbm_t *rbm, const void *block, size_t size)
    int frbm_rbm_check(const frbm_rbm_t *rbm)
    size_t frbm_rbm_block_size(const frbm_rbm_t *rbm)
    int frbm_rbm_to_bytes(const frbm_rbm_t *rbm, void *block, size_t size)

    void frbm_exec_init(frbm_exec_t *exec)
    int frbm_exec_set_simd(frbm_exec_t *exec, const char *level)
    int frbm_exec_set_kernel(frbm_exec_t *exec, const char *path)
    const char *frbm_exec_kernel(const frbm_exec_t *exec)
    const char *frbm_exec_simd(const frbm_exec_t *exec)
    const char *frbm_simd_level(int index)
    void frbm_rng_init(frbm_rng_t *rng, uint64_t key, uint32_t first_chain)

    size_t frbm_gibbs_workspace_size(const frbm_rbm_t *rbm, size_t n_chains)
    int frbm_gibbs_sample(const frbm_rbm_t *rbm, size_t n_chains, size_t n_sweeps, double beta,
                          void *workspace, size_t size, const frbm_exec_t *exec, frbm_rng_t *rng,
                          void *v, void *h)
    int frbm_rbm_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v, const void *h,
                        const frbm_exec_t *exec, double *energies)
    int frbm_rbm_free_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v, double beta,
                             const frbm_exec_t *exec, double *energies)
    int frbm_rbm_energy_of(const frbm_rbm_t *rbm, const frbm_array_t *v, const frbm_array_t *h,
                           const frbm_exec_t *exec, double *energies, frbm_where_t *where)
    int frbm_rbm_free_energy_of(const frbm_rbm_t *rbm, const frbm_array_t *v, double beta,
                                const frbm_exec_t *exec, double *energies, frbm_where_t *where)
    size_t frbm_rbm_conditional_workspace_size(const frbm_rbm_t *rbm, int side, size_t n_rows)
    int frbm_rbm_conditional(const frbm_rbm_t *rbm, int side, const frbm_array_t *given,
                             double beta, void *workspace, size_t size, const frbm_exec_t *exec,
                             frbm_rng_t *rng, void *out, int out_dtype,
                             frbm_where_t *where)

    int frbm_layer_log_weight(const frbm_layer_t *layer, int dtype, size_t n_rows,
                              const double *states, double *out)
    int frbm_layer_cgf(const frbm_layer_t *layer, int dtype, size_t n_rows, const double *inputs,
                       double beta, const frbm_exec_t *exec, double *out)
    int frbm_layer_variance(const frbm_layer_t *layer, int dtype, size_t n_rows,
                            const double *inputs, double beta, double *out)
    int frbm_layer_mean(const frbm_layer_t *layer, int dtype, size_t n_rows, const void *inputs,
                        double beta, const frbm_exec_t *exec, void *out)
    int frbm_layer_sample(const frbm_layer_t *layer, int dtype, size_t n_rows,
                          const void *inputs, double beta, const frbm_exec_t *exec,
                          frbm_rng_t *rng, void *out, int out_dtype)

    int frbm_gibbs_init(frbm_gibbs_t *gibbs, const frbm_rbm_t *rbm, size_t n_chains,
                        void *workspace, size_t size)
    size_t frbm_gibbs_clamp_size(const frbm_rbm_t *rbm, size_t n_rows)
    int frbm_gibbs_clamp(frbm_gibbs_t *gibbs, const frbm_array_t *mask, void *mask_workspace,
                         size_t size)
    int frbm_gibbs_load(frbm_gibbs_t *gibbs, const frbm_array_t *visible, frbm_where_t *where)
    int frbm_gibbs_start(frbm_gibbs_t *gibbs, double beta, const frbm_exec_t *exec,
                         const frbm_rng_t *rng)
    int frbm_gibbs_run(frbm_gibbs_t *gibbs, size_t n_sweeps, double beta,
                       const frbm_exec_t *exec, frbm_rng_t *rng)
    int frbm_gibbs_store(const frbm_gibbs_t *gibbs, int side, void *out, int out_dtype,
                         ptrdiff_t row_stride, ptrdiff_t col_stride)

    size_t frbm_pseudo_likelihood_workspace_size(const frbm_rbm_t *rbm, int n_threads)
    int frbm_pseudo_likelihood(const frbm_rbm_t *rbm, const frbm_array_t *v, void *workspace,
                               size_t size, const frbm_exec_t *exec, const frbm_rng_t *rng,
                               double *out, frbm_where_t *where)
    size_t frbm_reconstruction_workspace_size(const frbm_rbm_t *rbm, int n_threads)
    int frbm_reconstruction_error(const frbm_rbm_t *rbm, const frbm_array_t *v, void *workspace,
                                  size_t size, const frbm_exec_t *exec, const frbm_rng_t *rng,
                                  double *out, frbm_where_t *where)

    size_t frbm_data_packed_size(const frbm_rbm_t *rbm, size_t n_rows)
    int frbm_data_pack(const frbm_rbm_t *rbm, const frbm_array_t *array, const frbm_exec_t *exec,
                       uint64_t *bits, frbm_where_t *where)
    int frbm_data_leading_eigenvalue(const frbm_rbm_t *rbm, const frbm_data_t *data,
                                     size_t max_rows, double *buffer,
                                     const frbm_exec_t *exec, double *out)
    size_t frbm_train_workspace_size(const frbm_rbm_t *rbm, const frbm_data_t *data,
                                     const frbm_train_options_t *options, int n_threads)
    int frbm_train_init(frbm_train_t *train, const frbm_rbm_t *rbm, const frbm_data_t *data,
                        const frbm_train_options_t *options, int n_threads, void *workspace,
                        size_t size)
    int frbm_train_start_chains(frbm_train_t *train, const frbm_rng_t *rng)
    int frbm_train_load_chains(frbm_train_t *train, const frbm_array_t *visible,
                               frbm_where_t *where)
    int frbm_train_epoch(frbm_train_t *train, uint64_t epoch, double learning_rate,
                         const frbm_exec_t *exec, uint64_t key)
    int frbm_train_data_term(frbm_train_t *train, const frbm_exec_t *exec, double *products,
                             double *visible, double *hidden)
    int frbm_train_store_chains(const frbm_train_t *train, void *out, int out_dtype,
                                ptrdiff_t row_stride, ptrdiff_t col_stride)

    size_t frbm_pairwise_size(size_t n, const unsigned int *bits)
    int frbm_pairwise_init(frbm_pairwise_t *plan, size_t n, double low, double high,
                           const double *linear, const double *coupling, int dtype,
                           const unsigned int *bits, void *memory, size_t size)
    double frbm_pairwise_relative_error(const frbm_pairwise_t *plan)
    size_t frbm_pairwise_workspace_size(const frbm_pairwise_t *plan, int n_threads)
    int frbm_pairwise_run(const frbm_pairwise_t *plan, size_t n_indices, const uint64_t *indices,
                          unsigned int block_bits, const frbm_pairwise_powers_t *powers,
                          void *workspace, size_t size, const frbm_exec_t *exec,
                          frbm_partial_t *partials)
    size_t frbm_pairwise_moments_workspace_size(const frbm_pairwise_t *plan, int n_threads)
    int frbm_pairwise_moments(const frbm_pairwise_t *plan, const uint8_t *block_bits,
                              int with_energy, void *workspace, size_t size,
                              const frbm_exec_t *exec, frbm_partial_t *partials, double *out)
    void frbm_pairwise_place(const frbm_pairwise_t *plan, uint64_t index, uint64_t *first)
    int frbm_pairwise_tile(const frbm_pairwise_t *plan, uint64_t index, unsigned int block_bits,
                           size_t block, void *workspace, size_t size, const frbm_exec_t *exec,
                           double *exponents, double *weights)

    size_t frbm_split_workspace_size(const frbm_rbm_t *rbm, int side, int n_threads)
    int frbm_split_init(frbm_split_t *split, const frbm_rbm_t *rbm, int side, int n_threads,
                        void *workspace, size_t size)
    int frbm_split_run(frbm_split_t *split, double beta, uint64_t n, const uint64_t *indices,
                       const frbm_exec_t *exec, frbm_partial_t *partials)
    int frbm_split_log_weights(frbm_split_t *split, double beta, uint64_t first, uint64_t n,
                               const frbm_exec_t *exec, double *out)
    int frbm_split_moments(frbm_split_t *split, double beta, const frbm_exec_t *exec,
                           const frbm_moments_t *moments, double *log_z)
