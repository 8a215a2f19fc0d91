# Sums over all states in parts, and calls that can be stopped. Included by core.pyx.

PARTIAL = np.dtype([("index", np.uint64), ("exponent", np.float64), ("mantissa", np.float64),
                    ("lost", np.float64)])
"""A partial result: the sum over shard `index` is mantissa exp(exponent), of which underflow may
have lost at most lost exp(exponent)."""


cdef frbm_partial_t *partials_of(object array, uint64_t n) except? NULL:
    """The records of a writable array (n,) of PARTIAL."""
    cdef Py_buffer buffer
    cdef frbm_partial_t *p
    if array.dtype != PARTIAL or array.shape != (n,) or not array.flags.c_contiguous:
        raise ValueError(f"partials must be a C-contiguous array ({n},) of core.PARTIAL")
    PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES | PyBUF_WRITABLE)
    p = <frbm_partial_t *>buffer.buf
    PyBuffer_Release(&buffer)  # the caller keeps the array
    return p


cdef int check_stopped(int rc, Poll poll) except? -1:
    """check_status of a call that was polled: what a signal handler raised is raised again."""
    if poll.error is not None:
        raise poll.error
    return check_status(rc)
