# The three-panel product (csrc/fastrbm/algorithms/pairwise.c), included by core.pyx.

cdef class Pairwise:
    """n two-state units with pairwise log-weights, in three groups A, B and C.

    linear (n,) and coupling (n, n) are float64 and are kept; bits are the sizes of the groups.
    """

    cdef frbm_pairwise_t c
    cdef Memory memory
    cdef readonly object linear, coupling

    def __init__(self, linear, coupling, double low, double high, bint float32=False, bits=None):
        self.linear = np.array(linear, np.float64)
        self.coupling = np.array(coupling, np.float64, order="C")
        cdef size_t n = len(self.linear)
        if self.linear.ndim != 1 or self.coupling.shape != (n, n):
            raise ValueError("linear must be (n,) and coupling (n, n)")
        cdef View fields = output(self.linear, 1, n, frbm.FRBM_FLOAT64)
        cdef View couplings = output(self.coupling, n, n, frbm.FRBM_FLOAT64)
        cdef unsigned int groups[3]
        cdef const unsigned int *cut = NULL
        if bits is not None:
            groups[0], groups[1], groups[2] = bits
            cut = groups
        cdef size_t size = frbm.frbm_pairwise_size(n, cut)
        if size == 0:
            raise ValueError(f"{n} units cannot be cut into groups {bits}")
        self.memory = Memory(size)
        check_status(frbm.frbm_pairwise_init(
            &self.c, n, low, high, <const double *>fields.buffer.buf,
            <const double *>couplings.buffer.buf,
            frbm.FRBM_FLOAT32 if float32 else frbm.FRBM_FLOAT64, cut, self.memory.p, size))

    @property
    def n(self):
        return self.c.n

    @property
    def n_shards(self):
        return self.c.n_shards

    @property
    def n_fma(self):
        """Multiply-adds of a sum over all states."""
        return 2.0 ** self.c.n

    @property
    def bits(self):
        return tuple(self.c.bits[g] for g in range(3))

    @property
    def tile_bits(self):
        return tuple(self.c.tile_bits[g] for g in range(3))

    @property
    def relative_error(self):
        """Bound of the relative rounding error of a sum over all shards, exponents apart."""
        return frbm.frbm_pairwise_relative_error(&self.c)

    def bytes(self, int n_threads):
        """Memory that run() and moments() need, with the records of all shards."""
        return (self.memory.size + self.c.n_shards * PARTIAL.itemsize
                + frbm.frbm_pairwise_moments_workspace_size(&self.c, n_threads))

    def place(self, uint64_t index):
        """The states of A, B and C that a shard begins with."""
        cdef uint64_t first[3]
        frbm.frbm_pairwise_place(&self.c, index, first)
        return first[0], first[1], first[2]

    def run(self, Exec exec, indices, partials, block_bits=None, powers=(0, 0, 0),
            centres=(0.0, 0.0, 0.0)):
        """Fill partials[i] with the sum of shard indices[i]; see fastrbm.h for the options."""
        cdef View chosen = matrix(indices, len(indices), frbm.FRBM_UINT64)
        cdef size_t n = len(indices)
        cdef unsigned int bits = self.c.tile_bits[2] if block_bits is None else block_bits
        cdef frbm.frbm_pairwise_powers_t weights
        cdef const frbm.frbm_pairwise_powers_t *asked = NULL
        if any(powers):
            for k in range(3):
                weights.power[k] = powers[k]
                weights.centre[k] = centres[k]
            asked = &weights
        cdef Memory workspace = Memory(
            frbm.frbm_pairwise_workspace_size(&self.c, exec.c.n_threads))
        cdef frbm_partial_t *out = partials_of(partials, n)
        cdef Poll poll = Poll()
        cdef frbm_exec_t how = polled(exec, poll)
        cdef int rc
        with nogil:
            rc = frbm.frbm_pairwise_run(&self.c, n, <const uint64_t *>chosen.buffer.buf, bits,
                                        asked, workspace.p, workspace.size, &how, out)
        check_stopped(rc, poll)

    def moments(self, Exec exec, block_bits=None, bint with_energy=False):
        """(log Z, mean (K,), second (K, K), mean and variance of panel F's log-weight, partials).

        K units of A and B; block_bits: uint8 (n_shards,), or None for the largest.
        """
        cdef size_t k = self.c.bits[0] + self.c.bits[1], n = self.c.n_shards
        out = np.empty(3 + k + k * k)
        partials = np.empty(n, PARTIAL)
        cdef View numbers = output(out, 1, len(out), frbm.FRBM_FLOAT64)
        cdef View chosen
        cdef const uint8_t *bits = NULL
        if block_bits is not None:
            chosen = output(block_bits, 1, n, frbm.FRBM_UINT8)
            bits = <const uint8_t *>chosen.buffer.buf
        cdef Memory workspace = Memory(
            frbm.frbm_pairwise_moments_workspace_size(&self.c, exec.c.n_threads))
        cdef frbm_partial_t *sums = partials_of(partials, n)
        cdef Poll poll = Poll()
        cdef frbm_exec_t how = polled(exec, poll)
        cdef int rc
        with nogil:
            rc = frbm.frbm_pairwise_moments(&self.c, bits, with_energy, workspace.p,
                                            workspace.size, &how, sums,
                                            <double *>numbers.buffer.buf)
        check_stopped(rc, poll)
        return out[0], out[3:3 + k], out[3 + k:].reshape(k, k), out[1], out[2], partials

    def tile(self, Exec exec, uint64_t index, block_bits=None, size_t block=0):
        """(exponents (2^tB,), weights (2^tA, 2^tB)): pairs (a, b) of a shard, over one block of c,
        weigh weights[a, b] exp(exponents[b])."""
        cdef size_t n_a = 1 << self.c.tile_bits[0], n_b = 1 << self.c.tile_bits[1]
        cdef unsigned int bits = self.c.tile_bits[2] if block_bits is None else block_bits
        exponents, weights = np.empty(n_b), np.empty((n_a, n_b))
        cdef View e = output(exponents, 1, n_b, frbm.FRBM_FLOAT64)
        cdef View w = output(weights, n_a, n_b, frbm.FRBM_FLOAT64)
        cdef Memory workspace = Memory(frbm.frbm_pairwise_workspace_size(&self.c, 1))
        cdef int rc
        with nogil:
            rc = frbm.frbm_pairwise_tile(&self.c, index, bits, block, workspace.p, workspace.size,
                                         &exec.c, <double *>e.buffer.buf, <double *>w.buffer.buf)
        check_status(rc)
        return exponents, weights
