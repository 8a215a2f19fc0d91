# The split product as the source of moments of exact training. Included by core.pyx.


cdef class SplitSource(Source):
    """The moments of a core.Split, which must be that of the trainer's model: no Python runs for an
    update."""

    cdef Split split

    def __init__(self, Split split):
        self.split = split
        self.function, self.context = ask_split, <void *>&split.c


cdef int ask_split(void *context, const frbm_rbm_t *rbm, const frbm_exec_t *exec,
                   double *products, double *visible, double *hidden) noexcept nogil:
    cdef frbm_moments_t out
    cdef double log_z
    cdef int rc
    out.products, out.visible, out.hidden = products, visible, hidden
    out.enumerated_products, out.energy = NULL, NULL
    rc = frbm.frbm_split_moments(<frbm_split_t *>context, 1.0, exec, &out, &log_z)
    # Log-weights that double precision cannot tell apart: parameters on their way to infinity.
    return frbm.FRBM_ERROR_DIVERGED if rc == frbm.FRBM_ERROR_RANGE else rc
