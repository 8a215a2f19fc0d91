# Sums over all states of one discrete layer: frbm_split_t. Included by core.pyx.

cdef class Split:
    """The split product of a model: every state of the discrete layer on `side` (0 visible,
    1 hidden). Keeps a workspace; the model's arrays are read at every call."""

    cdef frbm_split_t c
    cdef Memory memory
    cdef readonly Rbm rbm
    cdef object lock  # the workspace serves one call at a time

    def __init__(self, Rbm rbm, int side, int n_threads):
        cdef size_t size = frbm.frbm_split_workspace_size(&rbm.c, side, n_threads)
        if size == 0:
            raise ValueError("the split product enumerates a layer of 1 to 60 two-state units")
        self.rbm = rbm
        self.lock = threading.Lock()
        self.memory = Memory(size)
        check_status(frbm.frbm_split_init(&self.c, &rbm.c, side, n_threads, self.memory.p, size))

    @staticmethod
    def bytes(Rbm rbm, int side, int n_threads):
        """The workspace that such an object would keep; 0 where there is none."""
        return frbm.frbm_split_workspace_size(&rbm.c, side, n_threads)

    @property
    def n_shards(self):
        return self.c.n_shards

    @property
    def n_state_units(self):
        """States times units of the other layer, a float."""
        return self.c.n_state_units

    @property
    def workspace_bytes(self):
        return self.memory.size

    @property
    def error_bound(self):
        """Rounding of log Z at most, in nats, of the last call."""
        return self.c.error_bound

    def run(self, Exec exec, double beta, indices, partials):
        """partials (n,) of PARTIAL receives the sums over the shards of indices (n,), uint64."""
        cdef View i = view(indices)
        cdef uint64_t n = i.c.n_cols
        cdef frbm_partial_t *p = partials_of(partials, n)
        cdef Poll poll = Poll.__new__(Poll)
        cdef frbm_exec_t c = polled(exec, poll)
        cdef int rc
        if i.buffer.ndim != 1:
            raise ValueError("shard indices are one-dimensional")
        matrix(indices, n, frbm.FRBM_UINT64)
        with self.lock, nogil:
            rc = frbm.frbm_split_run(&self.c, beta, n, <const uint64_t *>i.c.data, &c, p)
        check_stopped(rc, poll)

    def log_weights(self, Exec exec, double beta, uint64_t first_state, out):
        """out (m,) float64 receives the log-weights of the states first_state, ...: unit i is
        high where bit i of the state's number is set."""
        cdef View o = output(out, 1, len(out), frbm.FRBM_FLOAT64)
        cdef Poll poll = Poll.__new__(Poll)
        cdef frbm_exec_t c = polled(exec, poll)
        cdef int rc
        with self.lock, nogil:
            rc = frbm.frbm_split_log_weights(&self.c, beta, first_state, o.c.n_cols, &c,
                                             <double *>o.buffer.buf)
        check_stopped(rc, poll)

    def moments(self, Exec exec, double beta, products, visible, hidden,
                enumerated_products=None, energy=None):
        """Means under the joint law, and log Z, which is returned. Outputs are float64.

        products (n_visible, n_hidden): <v_i h_mu>; visible, hidden: <v_i>, <h_mu>;
        enumerated_products (n, n): <x_i x_k> of the enumerated layer; energy (3,): <E>, Var(E) and
        what of it comes from the other layer given the enumerated one.
        """
        cdef size_t n_visible = self.rbm.c.visible.n, n_hidden = self.rbm.c.hidden.n
        cdef size_t n = n_hidden if self.c.side == frbm.FRBM_HIDDEN else n_visible
        cdef frbm_moments_t out
        cdef double log_z
        cdef View w = output(products, n_visible, n_hidden, frbm.FRBM_FLOAT64)
        cdef View v = output(visible, 1, n_visible, frbm.FRBM_FLOAT64)
        cdef View h = output(hidden, 1, n_hidden, frbm.FRBM_FLOAT64)
        cdef View x = None if enumerated_products is None else output(
            enumerated_products, n, n, frbm.FRBM_FLOAT64)
        cdef View e = None if energy is None else output(energy, 1, 3, frbm.FRBM_FLOAT64)
        cdef Poll poll = Poll.__new__(Poll)
        cdef frbm_exec_t c = polled(exec, poll)
        cdef int rc
        out.products, out.visible = <double *>w.buffer.buf, <double *>v.buffer.buf
        out.hidden = <double *>h.buffer.buf
        out.enumerated_products = NULL if x is None else <double *>x.buffer.buf
        out.energy = NULL if e is None else <double *>e.buffer.buf
        with self.lock, nogil:
            rc = frbm.frbm_split_moments(&self.c, beta, &c, &out, &log_z)
        check_stopped(rc, poll)
        return log_z
