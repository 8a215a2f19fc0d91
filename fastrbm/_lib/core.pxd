# What the extension module defines for others: views of Python's objects, and the C API that
# fastrbm.capi hands on to Cython users.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint64_t

from fastrbm._lib.frbm cimport (
    frbm_array_t,
    frbm_exec_t,
    frbm_layer_t,
    frbm_rbm_t,
    frbm_rng_t,
)

cdef class Exec:
    cdef frbm_exec_t c

cdef class Layer:
    cdef frbm_layer_t c
    cdef readonly int dtype_code
    cdef readonly str unit
    cdef readonly object dtype
    cdef readonly bint discrete
    cdef readonly tuple parameters

cdef class Rbm:
    cdef frbm_rbm_t c
    cdef readonly Layer visible
    cdef readonly Layer hidden
    cdef readonly object weights
    cdef Layer layer(self, int side)
    cdef double work(self)
    cdef one_side(self, Exec exec, str side, given, double beta, const frbm_rng_t *rng, out,
                  int dtype)

cdef const char *frbm_strerror(int code) noexcept nogil
cdef int frbm_rbm_from_bytes(frbm_rbm_t *rbm, const void *block, size_t size) noexcept nogil
cdef int frbm_rbm_check(const frbm_rbm_t *rbm) noexcept nogil
cdef void frbm_exec_init(frbm_exec_t *exec) noexcept nogil
cdef int frbm_exec_set_simd(frbm_exec_t *exec, const char *level) noexcept nogil
cdef const char *frbm_exec_simd(const frbm_exec_t *exec) noexcept nogil
cdef int frbm_exec_set_kernel(frbm_exec_t *exec, const char *path) noexcept nogil
cdef const char *frbm_exec_kernel(const frbm_exec_t *exec) noexcept nogil
cdef void frbm_rng_init(frbm_rng_t *rng, uint64_t key, unsigned int first_chain) noexcept nogil
cdef size_t frbm_gibbs_workspace_size(const frbm_rbm_t *rbm, size_t n_chains) noexcept nogil
cdef int frbm_gibbs_sample(const frbm_rbm_t *rbm, size_t n_chains, size_t n_sweeps, double beta,
                           void *workspace, size_t size, const frbm_exec_t *exec,
                           frbm_rng_t *rng, void *v, void *h) noexcept nogil
cdef int frbm_rbm_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v, const void *h,
                         const frbm_exec_t *exec, double *energies) noexcept nogil
cdef int frbm_rbm_free_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v, double beta,
                              const frbm_exec_t *exec, double *energies) noexcept nogil
