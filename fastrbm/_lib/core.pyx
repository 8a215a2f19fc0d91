"""The C library as Python sees it.

Every function here takes views of its arrays, releases the GIL, calls one C function and turns the
status code into an exception; none computes. Callers (fastrbm.layers, fastrbm.model, ...) check
names and shapes for users; what is checked here keeps memory safe.

Arrays come in by the buffer protocol, in any strides. Outputs must be writable and have exactly the
shape and element type that the docstring names.
"""
from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cimport fastrbm._lib.frbm as frbm
from fastrbm._lib.frbm cimport (
    frbm_array_t,
    frbm_data_t,
    frbm_exec_t,
    frbm_gibbs_t,
    frbm_layer_t,
    frbm_moments_t,
    frbm_pairwise_t,
    frbm_partial_t,
    frbm_rbm_t,
    frbm_rng_t,
    frbm_split_t,
    frbm_train_options_t,
    frbm_train_t,
    frbm_where_t,
)
from fastrbm._lib.internal cimport *

import threading

import numpy as np


class StatusError(ValueError):
    """A negative status code of the C library."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class StateError(StatusError):
    """A value that is not a state of its unit, with its place."""

    def __init__(self, code, message, row, column, value):
        super().__init__(code, message)
        self.row, self.column, self.value = row, column, value


cdef int check_status(int rc) except? -1:
    if rc < 0:
        raise StatusError(rc, frbm.frbm_strerror(rc).decode())
    return rc


cdef int check_states(int rc, frbm_where_t *where) except? -1:
    if rc == frbm.FRBM_ERROR_STATE:
        raise StateError(rc, frbm.frbm_strerror(rc).decode(), where.row, where.col, where.value)
    return check_status(rc)


# ------------------------------------------------------------------------------------ arrays

cdef int code_of_format(const char *format, Py_ssize_t itemsize):
    """The library's element type for a buffer's format; -1 for none."""
    cdef char kind = format[0]
    if kind == b"@" or kind == b"=" or kind == b"<":
        format += 1
        kind = format[0]
    if kind == 0 or format[1] != 0:
        return -1
    if kind == b"f":
        return frbm.FRBM_FLOAT32
    if kind == b"d":
        return frbm.FRBM_FLOAT64
    if kind == b"?":
        return frbm.FRBM_UINT8
    if kind in (b"b", b"h", b"i", b"l", b"q"):
        return {1: frbm.FRBM_INT8, 2: frbm.FRBM_INT16, 4: frbm.FRBM_INT32,
                8: frbm.FRBM_INT64}[itemsize]
    if kind in (b"B", b"H", b"I", b"L", b"Q"):
        return {1: frbm.FRBM_UINT8, 2: frbm.FRBM_UINT16, 4: frbm.FRBM_UINT32,
                8: frbm.FRBM_UINT64}[itemsize]
    return -1


cdef class View:
    """A 1-D or 2-D buffer held for the length of a call; 1-D is one row."""

    cdef Py_buffer buffer
    cdef frbm_array_t c
    cdef bint held

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)


cdef View view(object array, bint writable=False):
    cdef View v = View.__new__(View)
    cdef int flags = PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0)
    PyObject_GetBuffer(array, &v.buffer, flags)
    v.held = True
    v.c.dtype = code_of_format(v.buffer.format, v.buffer.itemsize)
    if v.c.dtype < 0:
        raise TypeError(f"arrays of type {array.dtype} are not supported")
    if v.buffer.ndim == 2:
        v.c.n_rows = v.buffer.shape[0]
        v.c.n_cols = v.buffer.shape[1]
        v.c.row_stride = v.buffer.strides[0]
        v.c.col_stride = v.buffer.strides[1]
    elif v.buffer.ndim == 1:
        v.c.n_rows = 1
        v.c.n_cols = v.buffer.shape[0]
        v.c.row_stride = 0
        v.c.col_stride = v.buffer.strides[0]
    else:
        raise ValueError("an array of one or two dimensions is needed")
    v.c.data = v.buffer.buf
    return v


cdef View states_view(object array, size_t n_cols):
    cdef View v = view(array)
    if v.c.n_cols != n_cols:
        raise ValueError(f"{n_cols} columns are needed, got {v.c.n_cols}")
    return v


cdef View matrix(object array, size_t n_cols, int dtype, bint writable=False):
    """A C-contiguous array of this width; dtype < 0: any element type."""
    cdef View v = view(array, writable)
    if v.c.n_cols != n_cols or (dtype >= 0 and v.c.dtype != dtype):
        raise ValueError("an array has another width or element type than it must have")
    if (n_cols > 1 and v.c.col_stride != v.buffer.itemsize) or (
            v.c.n_rows > 1 and v.c.row_stride != <Py_ssize_t>n_cols * v.buffer.itemsize):
        raise ValueError("an array must be C-contiguous")
    return v


cdef View output(object array, size_t n_rows, size_t n_cols, int dtype):
    """A writable C-contiguous array of exactly this shape."""
    cdef View v = matrix(array, n_cols, dtype, True)
    if v.c.n_rows != n_rows:
        raise ValueError("an output has another number of rows than it must have")
    return v


cdef class Memory:
    """A block that is freed with its owner."""

    cdef void *p
    cdef readonly size_t size

    def __cinit__(self, size_t size):
        self.p = PyMem_RawMalloc(size if size > 0 else 1)
        if self.p == NULL:
            raise MemoryError(f"{size} bytes could not be had")
        self.size = size

    def __dealloc__(self):
        PyMem_RawFree(self.p)


# -------------------------------------------------------------------------------- how to run

def version():
    return frbm.frbm_version().decode()


def compiler():
    return FASTRBM_COMPILER.decode()


def openmp_threads():
    """Threads that OpenMP would take by default (OMP_NUM_THREADS or all); 0 without OpenMP."""
    return fastrbm_openmp_threads()


def simd_levels():
    """Names of the SIMD levels that this machine can run, plain first."""
    cdef int i = 0
    names = []
    while frbm.frbm_simd_level(i) != NULL:
        names.append(frbm.frbm_simd_level(i).decode())
        i += 1
    return tuple(names)


cdef class Exec:
    """A SIMD level, a number of threads, and the way that products of bits are made."""

    def __init__(self, str simd, int n_threads, str kernel="auto"):
        frbm.frbm_exec_init(&self.c)
        check_status(frbm.frbm_exec_set_simd(&self.c, simd.encode()))
        check_status(frbm.frbm_exec_set_kernel(&self.c, kernel.encode()))
        self.c.n_threads = n_threads

    @property
    def n_threads(self):
        return self.c.n_threads

    @property
    def simd(self):
        return frbm.frbm_exec_simd(&self.c).decode()

    @property
    def kernel(self):
        return frbm.frbm_exec_kernel(&self.c).decode()


cdef class Poll:
    """One long call's poll: what signal handlers raise stops it, and is kept."""

    cdef object error

    cdef int ask(self) noexcept:
        try:
            PyErr_CheckSignals()
            return 0
        except BaseException as error:
            self.error = error
            return 1


cdef int ask_python(void *context) noexcept nogil:
    with gil:
        return (<Poll>context).ask()


cdef frbm_exec_t polled(Exec exec, Poll poll):
    cdef frbm_exec_t c = exec.c
    c.poll = ask_python
    c.poll_context = <void *>poll
    return c


# ---------------------------------------------------------------------------- what an array holds

class Scan:
    """What values an array holds; see scan()."""

    __slots__ = (
        "bad_index", "column_sums", "finite", "has_fraction", "has_minus_one", "has_one", "has_other",
        "has_zero", "max", "min", "n",
    )


def scan(Exec exec, array, bint sums=False):
    """The values of a 2-D array in one pass, without temporaries.

    With sums, `column_sums` are those over its rows, float64 (n_cols,), else None.
    """
    cdef View v = view(array), out
    cdef frbm_scan_t c
    cdef Poll poll = Poll.__new__(Poll)
    cdef frbm_exec_t how = polled(exec, poll)
    cdef Memory workspace
    cdef double *work = NULL
    cdef double *totals = NULL
    s = Scan()
    s.column_sums = None
    if sums:
        s.column_sums = np.empty(v.c.n_cols)
        out = output(s.column_sums, 1, v.c.n_cols, frbm.FRBM_FLOAT64)
        workspace = Memory(frbm_data_sums_size(v.c.n_cols))
        work, totals = <double *>workspace.p, <double *>out.buffer.buf
    with nogil:
        frbm_data_scan(&v.c, &how, work, &c, totals)
    if poll.error is not None:
        raise poll.error
    s.n = v.c.n_rows * v.c.n_cols
    s.finite = bool(c.finite)
    s.min, s.max = c.min, c.max
    s.has_minus_one, s.has_zero, s.has_one = bool(c.has_minus_one), bool(c.has_zero), bool(c.has_one)
    s.has_fraction, s.has_other = bool(c.has_fraction), bool(c.has_other)
    s.bad_index = None if c.finite else (c.bad_row, c.bad_col)
    return s


# ------------------------------------------------------------------------------ random numbers

def key_from_generator(bit_generator):
    """The next 64 bits, Generator.integers(2**64, dtype=uint64), at a tenth of its cost."""
    cdef fastrbm_bitgen_t *bits = <fastrbm_bitgen_t *>PyCapsule_GetPointer(
        bit_generator.capsule, "BitGenerator")
    with bit_generator.lock:
        return bits.next_uint64(bits.state)


def purposes():
    """Name and number of every use of random numbers."""
    return {
        "GIBBS_HIDDEN": <int>FRBM_PURPOSE_GIBBS_HIDDEN,
        "GIBBS_VISIBLE": <int>FRBM_PURPOSE_GIBBS_VISIBLE,
        "START": <int>FRBM_PURPOSE_START,
        "TRAIN_HIDDEN": <int>FRBM_PURPOSE_TRAIN_HIDDEN,
        "TRAIN_VISIBLE": <int>FRBM_PURPOSE_TRAIN_VISIBLE,
        "TRAIN_DATA": <int>FRBM_PURPOSE_TRAIN_DATA,
        "TRAIN_STATISTIC": <int>FRBM_PURPOSE_TRAIN_STATISTIC,
        "SHUFFLE": <int>FRBM_PURPOSE_SHUFFLE,
        "CHAINS": <int>FRBM_PURPOSE_CHAINS,
        "WEIGHTS": <int>FRBM_PURPOSE_WEIGHTS,
        "METRIC_ROWS": <int>FRBM_PURPOSE_METRIC_ROWS,
        "METRIC": <int>FRBM_PURPOSE_METRIC,
        "PSEUDO": <int>FRBM_PURPOSE_PSEUDO,
        "SAMPLE_HIDDEN": <int>FRBM_PURPOSE_SAMPLE_HIDDEN,
        "SAMPLE_VISIBLE": <int>FRBM_PURPOSE_SAMPLE_VISIBLE,
        "LAYER": <int>FRBM_PURPOSE_LAYER,
        "EXACT": <int>FRBM_PURPOSE_EXACT,
        "EXACT_PART": <int>FRBM_PURPOSE_EXACT_PART,
    }


def philox(counter, key):
    """Philox4x32-10 of a counter of four and a key of two 32-bit words."""
    cdef frbm_philox_block block
    for i in range(4):
        block.c[i] = counter[i]
    block = frbm_philox(block, key[0], key[1])
    return tuple(block.c[i] for i in range(4))


cdef frbm_stream_t stream_of(uint64_t key, int purpose, uint64_t step):
    return frbm_stream(key, step, <frbm_purpose>purpose, 0)


def uniform_bits(uint64_t key, int purpose, uint64_t step, uint32_t row, size_t n):
    """The words of units 0 .. n - 1 of a row, uint32 (n,)."""
    cdef frbm_stream_t stream = stream_of(key, purpose, step)
    out = np.empty(n, np.uint32)
    cdef View v = output(out, 1, n, frbm.FRBM_UINT32)
    frbm_stream_words(&stream, row, n, <uint32_t *>v.buffer.buf)
    return out


def bit_words(uint64_t key, int purpose, uint64_t step, uint32_t row, size_t n):
    """The words of two-state units 0 .. n - 1 of a row, two halves each, uint32 (n,)."""
    cdef frbm_stream_t stream = stream_of(key, purpose, step)
    out = np.empty(n, np.uint32)
    cdef View v = output(out, 1, n, frbm.FRBM_UINT32)
    frbm_stream_bit_words(&stream, row, n, <uint32_t *>v.buffer.buf)
    return out


def normals(uint64_t key, int purpose, size_t n, dtype):
    """n standard normals by inversion, in the given real type."""
    cdef frbm_stream_t stream = stream_of(key, purpose, 0)
    out = np.empty(n, dtype)
    cdef View v = output(out, 1, n, -1)
    if v.c.dtype != frbm.FRBM_FLOAT32 and v.c.dtype != frbm.FRBM_FLOAT64:
        raise TypeError("normals come in float32 or float64")
    with nogil:
        frbm_stream_normals(&stream, n, v.c.dtype, v.buffer.buf)
    return out


def permutation(uint64_t key, int purpose, uint64_t step, uint32_t n):
    """A random order of 0 .. n - 1, uint32 (n,)."""
    cdef frbm_stream_t stream = stream_of(key, purpose, step)
    out = np.empty(n, np.uint32)
    cdef View v = output(out, 1, n, frbm.FRBM_UINT32)
    with nogil:
        frbm_stream_permutation(&stream, frbm_stream_blocks, n, <uint32_t *>v.buffer.buf)
    return out


def choice(uint64_t key, int purpose, uint64_t step, uint32_t n, uint32_t n_chosen):
    """n_chosen different numbers below n in random order, uint32 (n_chosen,)."""
    cdef frbm_stream_t stream = stream_of(key, purpose, step)
    if n_chosen > n:
        raise ValueError("cannot choose more than there are")
    order = np.empty(n, np.uint32)
    cdef View v = output(order, 1, n, frbm.FRBM_UINT32)
    with nogil:
        frbm_stream_choice(&stream, frbm_stream_blocks, n, n_chosen, <uint32_t *>v.buffer.buf)
    return order[n - n_chosen :].copy()


# ------------------------------------------------------------------------------------- layers

cdef dict UNITS = {
    "bernoulli": frbm.FRBM_BERNOULLI,
    "spin": frbm.FRBM_SPIN,
    "gaussian": frbm.FRBM_GAUSSIAN,
}


def unit_states(str unit):
    """(low, high) of a two-state unit type, None for a continuous one."""
    cdef const frbm_unit_t *u = frbm_unit(UNITS[unit])
    return (u.low, u.high) if frbm_unit_is_discrete(u) else None


cdef class Layer:
    """A view of a layer's parameters, which it keeps alive and sees change."""

    def __init__(self, str unit, tuple parameters):
        cdef const frbm_unit_t *u = frbm_unit(UNITS[unit])
        cdef View v
        if len(parameters) != u.n_parameters:
            raise ValueError(f"{unit} has {u.n_parameters} parameters, got {len(parameters)}")
        self.unit = unit
        self.discrete = frbm_unit_is_discrete(u)
        self.parameters = parameters
        self.dtype = parameters[0].dtype
        self.c.unit = UNITS[unit]
        self.c.n = len(parameters[0])
        for k, array in enumerate(parameters):
            v = output(array, 1, self.c.n, -1)
            if k == 0:
                self.dtype_code = v.c.dtype
            if v.c.dtype != self.dtype_code or self.dtype_code > frbm.FRBM_FLOAT64:
                raise TypeError("parameters are all float32 or all float64")
            self.c.parameters[k] = v.buffer.buf

    @property
    def n(self):
        return self.c.n

    def log_weight(self, states, out):
        """Log-weights of float64 states (rows, n), to float64."""
        cdef View s = matrix(states, self.c.n, frbm.FRBM_FLOAT64)
        cdef View o = output(out, s.c.n_rows, self.c.n, frbm.FRBM_FLOAT64)
        cdef int rc
        with nogil:
            rc = frbm.frbm_layer_log_weight(&self.c, self.dtype_code, s.c.n_rows,
                                            <const double *>s.c.data, <double *>o.buffer.buf)
        check_status(rc)

    def cgf(self, Exec exec, inputs, double beta, out):
        """Cumulant generating function of float64 inputs (rows, n), to float64."""
        cdef View x = matrix(inputs, self.c.n, frbm.FRBM_FLOAT64)
        cdef View o = output(out, x.c.n_rows, self.c.n, frbm.FRBM_FLOAT64)
        cdef int rc
        with nogil:
            rc = frbm.frbm_layer_cgf(&self.c, self.dtype_code, x.c.n_rows,
                                     <const double *>x.c.data, beta, &exec.c,
                                     <double *>o.buffer.buf)
        check_status(rc)

    def variance(self, inputs, double beta, out):
        """Variances at float64 inputs (rows, n), to float64."""
        cdef View x = matrix(inputs, self.c.n, frbm.FRBM_FLOAT64)
        cdef View o = output(out, x.c.n_rows, self.c.n, frbm.FRBM_FLOAT64)
        cdef int rc
        with nogil:
            rc = frbm.frbm_layer_variance(&self.c, self.dtype_code, x.c.n_rows,
                                          <const double *>x.c.data, beta,
                                          <double *>o.buffer.buf)
        check_status(rc)

    def mean(self, Exec exec, inputs, double beta, out):
        """Means at inputs (rows, n) of the layer's type, to the same type."""
        cdef View x = matrix(inputs, self.c.n, self.dtype_code)
        cdef View o = output(out, x.c.n_rows, self.c.n, self.dtype_code)
        cdef int rc
        with nogil:
            rc = frbm.frbm_layer_mean(&self.c, self.dtype_code, x.c.n_rows, x.c.data, beta,
                                      &exec.c, o.buffer.buf)
        check_status(rc)

    def sample(self, Exec exec, inputs, double beta, uint64_t key, out):
        """Draws at inputs (rows, n) of the layer's type, to float32, float64 or int8."""
        cdef View x = matrix(inputs, self.c.n, self.dtype_code)
        cdef View o = output(out, x.c.n_rows, self.c.n, -1)
        cdef frbm_rng_t rng
        cdef int rc
        frbm.frbm_rng_init(&rng, key, 0)
        with nogil:
            rc = frbm.frbm_layer_sample(&self.c, self.dtype_code, x.c.n_rows, x.c.data, beta,
                                        &exec.c, &rng, o.buffer.buf, o.c.dtype)
        check_status(rc)


# -------------------------------------------------------------------------------------- model

cdef int side_of(str side) except -1:
    if side == "hidden":
        return frbm.FRBM_HIDDEN
    if side == "visible":
        return frbm.FRBM_VISIBLE
    raise ValueError(f"a side is 'visible' or 'hidden', not {side!r}")


# Multiply-adds between two looks at signals: some tens of milliseconds.
cdef double CHUNK_WORK = 2e9


cdef size_t chunk_rows(double work_per_row):
    """Rows of a call that signals need not interrupt, in whole blocks of 64."""
    return 64 * (1 + <size_t>(CHUNK_WORK / work_per_row / 64))


cdef frbm_array_t rows_from(const frbm_array_t *array, size_t first, size_t most) noexcept:
    """At most so many rows of an array from `first` on."""
    cdef frbm_array_t part = array[0]
    part.data = <const char *>array.data + <ptrdiff_t>first * array.row_stride
    part.n_rows = min(most, array.n_rows - first)
    return part


cdef int check_chunk(int rc, frbm_where_t *where, size_t first) except? -1:
    """check_states for rows that start at `first`, and a look at signals."""
    where.row += first
    check_states(rc, where)
    return PyErr_CheckSignals()


cdef class Rbm:
    """A view of a model: two layers and weights (n_visible, n_hidden), kept alive."""

    def __init__(self, Layer visible, Layer hidden, weights):
        cdef View w = output(weights, visible.c.n, hidden.c.n, visible.dtype_code)
        if hidden.dtype_code != visible.dtype_code:
            raise TypeError("both layers have one element type")
        self.visible, self.hidden, self.weights = visible, hidden, weights
        self.c.dtype = visible.dtype_code
        self.c.visible = visible.c
        self.c.hidden = hidden.c
        self.c.weights = w.buffer.buf

    cdef Layer layer(self, int side):
        return self.hidden if side == frbm.FRBM_HIDDEN else self.visible

    def is_finite(self):
        """Whether all weights and parameters are finite and allowed."""
        cdef int rc
        with nogil:
            rc = frbm.frbm_rbm_check(&self.c)
        return rc == frbm.FRBM_OK

    cdef double work(self):
        return <double>self.c.visible.n * <double>self.c.hidden.n

    def energy(self, Exec exec, v, h, out):
        """E(v, h) of every row, to float64 (rows,)."""
        cdef View a = states_view(v, self.c.visible.n)
        cdef View b = states_view(h, self.c.hidden.n)
        cdef View o = output(out, 1, a.c.n_rows, frbm.FRBM_FLOAT64)
        cdef frbm_array_t pa, pb
        cdef frbm_where_t where
        cdef size_t first, most = chunk_rows(self.work())
        cdef int rc
        if a.c.n_rows != b.c.n_rows:
            raise ValueError("visible and hidden states need equally many rows")
        for first in range(0, a.c.n_rows, most):
            pa, pb = rows_from(&a.c, first, most), rows_from(&b.c, first, most)
            with nogil:
                rc = frbm.frbm_rbm_energy_of(&self.c, &pa, &pb, &exec.c,
                                             <double *>o.buffer.buf + first, &where)
            check_chunk(rc, &where, first)

    def free_energy(self, Exec exec, v, double beta, out):
        """-log of the integral over h of exp(-beta E) of every row, to float64 (rows,)."""
        cdef View a = states_view(v, self.c.visible.n)
        cdef View o = output(out, 1, a.c.n_rows, frbm.FRBM_FLOAT64)
        cdef frbm_array_t part
        cdef frbm_where_t where
        cdef size_t first, most = chunk_rows(self.work())
        cdef int rc
        for first in range(0, a.c.n_rows, most):
            part = rows_from(&a.c, first, most)
            with nogil:
                rc = frbm.frbm_rbm_free_energy_of(&self.c, &part, beta, &exec.c,
                                                  <double *>o.buffer.buf + first, &where)
            check_chunk(rc, &where, first)

    cdef one_side(self, Exec exec, str side, given, double beta, const frbm_rng_t *rng, out,
                  int dtype):
        """Means (rng NULL) or draws; row r of the call is row r of the random numbers."""
        cdef int s = side_of(side), rc
        cdef View g = states_view(given, self.layer(1 - s).c.n)
        cdef View o = output(out, g.c.n_rows, self.layer(s).c.n, dtype)
        cdef frbm_array_t part
        cdef frbm_rng_t rows_rng
        cdef frbm_where_t where
        cdef size_t first, most = min(g.c.n_rows, chunk_rows(self.work()))
        cdef Memory memory = Memory(
            frbm.frbm_rbm_conditional_workspace_size(&self.c, s, most))
        for first in range(0, g.c.n_rows, most):
            part = rows_from(&g.c, first, most)
            if rng != NULL:
                rows_rng = rng[0]
                rows_rng.first_chain += first
            with nogil:
                rc = frbm.frbm_rbm_conditional(
                    &self.c, s, &part, beta, memory.p, memory.size, &exec.c,
                    NULL if rng == NULL else &rows_rng,
                    <char *>o.buffer.buf + <ptrdiff_t>first * o.c.row_stride, o.c.dtype, &where)
            check_chunk(rc, &where, first)

    def mean(self, Exec exec, str side, given, double beta, out):
        """E[side | given], to the model's type (rows, n)."""
        self.one_side(exec, side, given, beta, NULL, out, self.c.dtype)

    def sample(self, Exec exec, str side, given, double beta, uint64_t key, out):
        """A draw of one side given the other, to float32, float64 or int8 (rows, n)."""
        cdef frbm_rng_t rng
        frbm.frbm_rng_init(&rng, key, 0)
        self.one_side(exec, side, given, beta, &rng, out, -1)

    def pseudo_likelihood(self, Exec exec, v, bint exact, uint64_t key, uint64_t step=0):
        """Log pseudo-likelihood of every row, nats, float64 (rows,)."""
        cdef View a = states_view(v, self.c.visible.n)
        cdef Memory memory = Memory(
            frbm.frbm_pseudo_likelihood_workspace_size(&self.c, exec.c.n_threads))
        out = np.empty(a.c.n_rows)
        cdef View o = output(out, 1, a.c.n_rows, frbm.FRBM_FLOAT64)
        cdef frbm_array_t part
        cdef frbm_rng_t rng
        cdef frbm_where_t where
        # A flip costs two factors for every hidden unit, or else a cgf: some hundred multiply-adds.
        cdef double flips = 1 if not exact else 4 if frbm_flips_fit(&self.c) else 100
        cdef size_t first, most = chunk_rows(self.work() * flips)
        cdef int rc
        for first in range(0, a.c.n_rows, most):
            part = rows_from(&a.c, first, most)
            frbm.frbm_rng_init(&rng, key, first)
            rng.step = step
            with nogil:
                rc = frbm.frbm_pseudo_likelihood(&self.c, &part, memory.p, memory.size, &exec.c,
                                                 NULL if exact else &rng,
                                                 <double *>o.buffer.buf + first, &where)
            check_chunk(rc, &where, first)
        return out

    def reconstruction_error(self, Exec exec, v, uint64_t key, uint64_t step=0):
        """Mean over units of (v - E[v|h])^2, h drawn given v, of every row, float64 (rows,)."""
        cdef View a = states_view(v, self.c.visible.n)
        cdef Memory memory = Memory(
            frbm.frbm_reconstruction_workspace_size(&self.c, exec.c.n_threads))
        out = np.empty(a.c.n_rows)
        cdef View o = output(out, 1, a.c.n_rows, frbm.FRBM_FLOAT64)
        cdef frbm_array_t part
        cdef frbm_rng_t rng
        cdef frbm_where_t where
        cdef size_t first, most = chunk_rows(2 * self.work())
        cdef int rc
        for first in range(0, a.c.n_rows, most):
            part = rows_from(&a.c, first, most)
            frbm.frbm_rng_init(&rng, key, first)
            rng.step = step
            with nogil:
                rc = frbm.frbm_reconstruction_error(&self.c, &part, memory.p, memory.size,
                                                    &exec.c, &rng,
                                                    <double *>o.buffer.buf + first, &where)
            check_chunk(rc, &where, first)
        return out

    def to_bytes(self):
        """The model as one byte block (layout: fastrbm.h)."""
        cdef size_t size = frbm.frbm_rbm_block_size(&self.c)
        block = PyBytes_FromStringAndSize(NULL, size)
        check_status(frbm.frbm_rbm_to_bytes(&self.c, PyBytes_AS_STRING(block), size))
        return block


cdef parsed_layer(const frbm_layer_t *layer, str unit, dtype, const char *block, bytes copy):
    cdef const frbm_unit_t *u = frbm_unit(layer.unit)
    return unit, tuple(
        np.frombuffer(copy, dtype, layer.n, <const char *>layer.parameters[k] - block).copy()
        for k in range(u.n_parameters))


def parse_bytes(block):
    """(visible (unit, parameters), hidden (unit, parameters), weights) of a byte block."""
    cdef bytes copy = bytes(block)
    cdef Memory memory = Memory(len(copy))
    cdef frbm_rbm_t rbm
    cdef const char *start = <const char *>memory.p
    memcpy(memory.p, PyBytes_AS_STRING(copy), len(copy))  # malloc aligns, bytes need not
    check_status(frbm.frbm_rbm_from_bytes(&rbm, memory.p, len(copy)))
    dtype = np.float32 if rbm.dtype == frbm.FRBM_FLOAT32 else np.float64
    names = {number: name for name, number in UNITS.items()}
    weights = np.frombuffer(copy, dtype, rbm.visible.n * rbm.hidden.n,
                            <const char *>rbm.weights - start)
    return (parsed_layer(&rbm.visible, names[rbm.visible.unit], dtype, start, copy),
            parsed_layer(&rbm.hidden, names[rbm.hidden.unit], dtype, start, copy),
            weights.reshape(rbm.visible.n, rbm.hidden.n).copy())


# ----------------------------------------------------------------------------------- sampling

cdef class Gibbs:
    """Chains that keep packed weights and states between calls."""

    cdef frbm_gibbs_t c
    cdef Memory memory, mask
    cdef readonly Rbm rbm
    cdef readonly size_t n_chains
    cdef readonly size_t done
    """Whole sweeps of the last run, also where a signal ended it."""

    def __init__(self, Rbm rbm, size_t n_chains, clamp=None):
        cdef View m
        self.rbm, self.n_chains = rbm, n_chains
        self.memory = Memory(frbm.frbm_gibbs_workspace_size(&rbm.c, n_chains))
        check_status(frbm.frbm_gibbs_init(&self.c, &rbm.c, n_chains, self.memory.p,
                                          self.memory.size))
        if clamp is not None:
            m = states_view(clamp, rbm.c.visible.n)
            self.mask = Memory(frbm.frbm_gibbs_clamp_size(&rbm.c, m.c.n_rows))
            check_status(frbm.frbm_gibbs_clamp(&self.c, &m.c, self.mask.p, self.mask.size))

    def load(self, visible):
        """Start from these visible states (n_chains, n_visible)."""
        cdef View v = states_view(visible, self.rbm.c.visible.n)
        cdef frbm_where_t where
        cdef int rc
        with nogil:
            rc = frbm.frbm_gibbs_load(&self.c, &v.c, &where)
        check_states(rc, &where)

    def start(self, Exec exec, uint64_t key, double beta):
        """Start every visible unit from its own bias."""
        cdef frbm_rng_t rng
        frbm.frbm_rng_init(&rng, key, 0)
        check_status(frbm.frbm_gibbs_start(&self.c, beta, &exec.c, &rng))

    def run(self, Exec exec, size_t n_sweeps, double beta, uint64_t key, uint64_t step):
        """Sweeps done: fewer than asked only when the poll said stop. Signals' exceptions rise
        after the sweep they came in, so that the states are whole."""
        cdef Poll poll = Poll.__new__(Poll)
        cdef frbm_exec_t c = polled(exec, poll)
        cdef frbm_rng_t rng
        cdef int rc
        frbm.frbm_rng_init(&rng, key, 0)
        rng.step = step
        with nogil:
            rc = frbm.frbm_gibbs_run(&self.c, n_sweeps, beta, &c, &rng)
        check_status(rc)
        self.done = rng.step - step
        if poll.error is not None:
            raise poll.error
        return self.done

    cdef store(self, int side, out):
        cdef View o = view(out, True)
        cdef size_t n = self.rbm.layer(side).c.n
        if o.c.n_rows != self.n_chains or o.c.n_cols != n:
            raise ValueError("the output has another shape than the chains")
        cdef int rc
        with nogil:
            rc = frbm.frbm_gibbs_store(&self.c, side, o.buffer.buf, o.c.dtype, o.c.row_stride,
                                       o.c.col_stride)
        check_status(rc)

    def store_visible(self, out):
        """Write the visible states to out (n_chains, n_visible), any strides."""
        self.store(frbm.FRBM_VISIBLE, out)

    def store_hidden(self, out):
        """Write the hidden states to out (n_chains, n_hidden), any strides."""
        self.store(frbm.FRBM_HIDDEN, out)


# ----------------------------------------------------------------------------------- training

cdef class Data:
    """Rows to learn from: packed to one bit a unit, or a view of the caller's values."""

    cdef frbm_data_t c
    cdef View values
    cdef Memory memory
    cdef readonly Rbm rbm

    def __init__(self, Exec exec, Rbm rbm, array, bint values=False):
        cdef View v = states_view(array, rbm.c.visible.n)
        cdef frbm_where_t where
        cdef Poll poll = Poll.__new__(Poll)
        cdef frbm_exec_t how = polled(exec, poll)
        cdef int rc
        self.rbm = rbm
        self.c.n_rows = v.c.n_rows
        self.c.packed = rbm.visible.discrete and not values
        if self.c.packed:
            self.memory = Memory(frbm.frbm_data_packed_size(&rbm.c, v.c.n_rows))
            self.c.bits = <const uint64_t *>self.memory.p
            with nogil:
                rc = frbm.frbm_data_pack(&rbm.c, &v.c, &how, <uint64_t *>self.c.bits, &where)
            if poll.error is not None:
                raise poll.error
            check_states(rc, &where)
        else:
            self.values = v  # keeps the buffer
            self.c.values = v.c

    @property
    def n_rows(self):
        return self.c.n_rows

    @property
    def packed(self):
        return bool(self.c.packed)

    def leading_eigenvalue(self, Exec exec, size_t max_rows):
        """Largest eigenvalue of <v v^T> on at most max_rows evenly spaced rows."""
        cdef Memory buffer = Memory(3 * self.rbm.c.visible.n * sizeof(double))
        cdef Poll poll = Poll.__new__(Poll)
        cdef frbm_exec_t c = polled(exec, poll)
        cdef double value
        cdef int rc
        with nogil:
            rc = frbm.frbm_data_leading_eigenvalue(&self.rbm.c, &self.c, max_rows,
                                                   <double *>buffer.p, &c, &value)
        check_status(rc)
        if poll.error is not None:
            raise poll.error
        return value


cdef int freeze_bits(Rbm rbm, names):
    """Bits of what does not move; parameters that are never learned need none."""
    cdef int bits = frbm.FRBM_FREEZE_WEIGHTS if "weights" in names else 0
    cdef const frbm_unit_t *u
    for side in (frbm.FRBM_VISIBLE, frbm.FRBM_HIDDEN):
        u = frbm_unit(rbm.layer(side).c.unit)
        for k in range(u.n_learned):
            name = ("hidden_" if side == frbm.FRBM_HIDDEN else "visible_") + (
                u.parameter_names[k].decode())
            if name in names:
                bits |= frbm.FRBM_FREEZE(side, k)
    return bits


cdef size_t learned_values(Rbm rbm, int side):
    """Learned parameters of a side's layer times its units."""
    cdef Layer layer = rbm.layer(side)
    return frbm_unit(layer.c.unit).n_learned * layer.c.n


cdef class Source:
    """Where the model term of the gradient comes from; see frbm_moments_fn in fastrbm.h."""

    cdef frbm.frbm_moments_fn function
    cdef void *context
    cdef object error  # what ended an epoch, to be raised where Python runs again


cdef class PythonSource(Source):
    """Moments from Python: ask(products, visible, hidden) fills float64 arrays.

    The shapes are (n_visible, n_hidden), (n_visible,) and (n_hidden,), the last two once more for
    each further learned parameter. What `ask` raises ends the epoch; an ArithmeticError says that
    the model has no moments, and counts as divergence.
    """

    cdef object ask
    cdef tuple arrays

    def __init__(self, Rbm rbm, ask):
        self.function, self.context = ask_python_source, <void *>self
        self.ask = ask
        self.arrays = (
            np.zeros((rbm.c.visible.n, rbm.c.hidden.n)),
            np.zeros(learned_values(rbm, frbm.FRBM_VISIBLE)),
            np.zeros(learned_values(rbm, frbm.FRBM_HIDDEN)),
        )

    cdef int fill(self, double **out) noexcept:
        cdef View v
        try:
            self.ask(*self.arrays)
            for i in range(3):
                v = view(self.arrays[i])
                memcpy(out[i], v.buffer.buf, v.buffer.len)
            return frbm.FRBM_OK
        except ArithmeticError:
            return frbm.FRBM_ERROR_DIVERGED
        except BaseException as error:
            self.error = error
            return frbm.FRBM_STOPPED


cdef int ask_python_source(void *context, const frbm_rbm_t *rbm, const frbm_exec_t *exec,
                           double *products, double *visible, double *hidden) noexcept nogil:
    cdef double *out[3]
    out[0], out[1], out[2] = products, visible, hidden
    with gil:
        return (<PythonSource>context).fill(out)


cdef class Trainer:
    """Training of a model in place; see frbm_train_t in fastrbm.h.

    Contrastive divergence, or with `source` (a Source, or a function; see PythonSource) the moments
    that it gives in place of chains; k is then 0.
    """

    cdef frbm_train_t c
    cdef Memory memory
    cdef readonly Rbm rbm
    cdef readonly Data data
    cdef readonly bint interrupted
    cdef Source source

    def __init__(self, Rbm rbm, Data data, size_t k, bint persistent, bint samples,
                 size_t batch_size, size_t n_chains, double momentum, double weight_decay,
                 double max_norm, frozen, int n_threads, source=None):
        cdef frbm_train_options_t o
        o.k, o.batch_size, o.n_chains = k, batch_size, n_chains if persistent else 0
        o.persistent, o.samples = persistent, samples
        o.momentum, o.weight_decay, o.max_norm = momentum, weight_decay, max_norm
        o.frozen = freeze_bits(rbm, frozen)
        o.moments = NULL
        o.moments_context = NULL
        if source is not None:
            if not isinstance(source, Source):
                source = PythonSource(rbm, source)
            self.source = source
            o.moments, o.moments_context = self.source.function, self.source.context
        self.rbm, self.data = rbm, data
        self.memory = Memory(frbm.frbm_train_workspace_size(&rbm.c, &data.c, &o, n_threads))
        check_status(frbm.frbm_train_init(&self.c, &rbm.c, &data.c, &o, n_threads, self.memory.p,
                                          self.memory.size))

    @property
    def n_updates(self):
        """Whole updates so far."""
        return self.c.n_updates

    @property
    def update_norm(self):
        """Root mean square over the epoch's updates of the norm of the step of W."""
        return sqrt(self.c.step_norm_sum / self.c.epoch_updates) if self.c.epoch_updates else 0.0

    @property
    def n_chains(self):
        """Rows of the last negative phase."""
        return self.c.last_chains

    def start_chains(self, uint64_t key):
        """Persistent chains start at data rows drawn by the key."""
        cdef frbm_rng_t rng
        frbm.frbm_rng_init(&rng, key, 0)
        check_status(frbm.frbm_train_start_chains(&self.c, &rng))

    def load_chains(self, visible):
        """Persistent chains start at these visible states."""
        cdef View v = states_view(visible, self.rbm.c.visible.n)
        cdef frbm_where_t where
        check_states(frbm.frbm_train_load_chains(&self.c, &v.c, &where), &where)

    def epoch(self, Exec exec, uint64_t epoch, double learning_rate, uint64_t key):
        """One pass over the data: "done", "stopped" (by the poll or a signal) or "diverged"."""
        cdef Poll poll = Poll.__new__(Poll)
        cdef frbm_exec_t c = polled(exec, poll)
        cdef int rc
        with nogil:
            rc = frbm.frbm_train_epoch(&self.c, epoch, learning_rate, &c, key)
        error = poll.error
        if self.source is not None and self.source.error is not None:
            error, self.source.error = self.source.error, None
        self.interrupted = isinstance(error, KeyboardInterrupt)
        if error is not None and not self.interrupted:
            raise error
        if rc == frbm.FRBM_ERROR_DIVERGED:
            return "diverged"
        return "stopped" if check_status(rc) == frbm.FRBM_STOPPED else "done"

    def data_term(self, Exec exec, products, visible, hidden):
        """<v E[h|v]> over all rows at the present model and its layers' parts, to float64."""
        cdef View o = output(products, self.rbm.c.visible.n, self.rbm.c.hidden.n,
                             frbm.FRBM_FLOAT64)
        cdef View v = output(visible, 1, learned_values(self.rbm, frbm.FRBM_VISIBLE),
                             frbm.FRBM_FLOAT64)
        cdef View h = output(hidden, 1, learned_values(self.rbm, frbm.FRBM_HIDDEN),
                             frbm.FRBM_FLOAT64)
        cdef Poll poll = Poll.__new__(Poll)
        cdef frbm_exec_t c = polled(exec, poll)
        cdef int rc
        with nogil:
            rc = frbm.frbm_train_data_term(&self.c, &c, <double *>o.buffer.buf,
                                           <double *>v.buffer.buf, <double *>h.buffer.buf)
        if poll.error is not None:
            raise poll.error
        check_status(rc)

    def store_chains(self, out):
        """Write the visible states after the last negative phase to out (n_chains, n_visible)."""
        cdef View o = view(out, True)
        if o.c.n_rows != self.c.last_chains or o.c.n_cols != self.rbm.c.visible.n:
            raise ValueError("the output has another shape than the chains")
        check_status(frbm.frbm_train_store_chains(&self.c, o.buffer.buf, o.c.dtype,
                                                  o.c.row_stride, o.c.col_stride))


# ------------------------------------------------------------------------------------- exact

include "partial.pxi"
include "pairwise.pxi"
include "split.pxi"
include "split_source.pxi"

# ----------------------------------------------------------------------- the C API for Cython

cdef const char *frbm_strerror(int code) noexcept nogil:
    return frbm.frbm_strerror(code)

cdef int frbm_rbm_from_bytes(frbm_rbm_t *rbm, const void *block, size_t size) noexcept nogil:
    return frbm.frbm_rbm_from_bytes(rbm, block, size)

cdef int frbm_rbm_check(const frbm_rbm_t *rbm) noexcept nogil:
    return frbm.frbm_rbm_check(rbm)

cdef void frbm_exec_init(frbm_exec_t *exec) noexcept nogil:
    frbm.frbm_exec_init(exec)

cdef int frbm_exec_set_simd(frbm_exec_t *exec, const char *level) noexcept nogil:
    return frbm.frbm_exec_set_simd(exec, level)

cdef const char *frbm_exec_simd(const frbm_exec_t *exec) noexcept nogil:
    return frbm.frbm_exec_simd(exec)

cdef int frbm_exec_set_kernel(frbm_exec_t *exec, const char *path) noexcept nogil:
    return frbm.frbm_exec_set_kernel(exec, path)

cdef const char *frbm_exec_kernel(const frbm_exec_t *exec) noexcept nogil:
    return frbm.frbm_exec_kernel(exec)

cdef void frbm_rng_init(frbm_rng_t *rng, uint64_t key, unsigned int first_chain) noexcept nogil:
    frbm.frbm_rng_init(rng, key, first_chain)

cdef size_t frbm_gibbs_workspace_size(const frbm_rbm_t *rbm, size_t n_chains) noexcept nogil:
    return frbm.frbm_gibbs_workspace_size(rbm, n_chains)

cdef int frbm_gibbs_sample(const frbm_rbm_t *rbm, size_t n_chains, size_t n_sweeps, double beta,
                           void *workspace, size_t size, const frbm_exec_t *exec,
                           frbm_rng_t *rng, void *v, void *h) noexcept nogil:
    return frbm.frbm_gibbs_sample(rbm, n_chains, n_sweeps, beta, workspace, size, exec, rng, v, h)

cdef int frbm_rbm_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v, const void *h,
                         const frbm_exec_t *exec, double *energies) noexcept nogil:
    return frbm.frbm_rbm_energy(rbm, n_chains, v, h, exec, energies)

cdef int frbm_rbm_free_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v, double beta,
                              const frbm_exec_t *exec, double *energies) noexcept nogil:
    return frbm.frbm_rbm_free_energy(rbm, n_chains, v, beta, exec, energies)
