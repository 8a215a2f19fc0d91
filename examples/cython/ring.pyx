# cython: boundscheck=False, wraparound=False
"""A learned model proposes, the true energy decides: an Ising ring sampled with an RBM's moves.

The ring has H(s) = -K sum_i s_i s_{i+1}. An RBM that has learned something like exp(-H) moves the
whole ring at once by block Gibbs sweeps, which obey detailed balance with respect to exp(-F(s)), F
being the free energy. The move s -> s' is accepted with probability

    min(1, exp(-[H(s') - H(s)] + [F(s') - F(s)])),

so that exp(-H) is sampled exactly, however crude the RBM (Huang and Wang, Phys. Rev. B 95, 035105,
2017). The loop runs without the GIL.
"""

import numpy as np

from libc.math cimport exp
from libc.stdint cimport int8_t, uint64_t

from fastrbm.capi cimport (
    frbm_exec_init,
    frbm_exec_t,
    frbm_gibbs_sample,
    frbm_gibbs_workspace_size,
    frbm_rbm_free_energy,
    frbm_rbm_from_bytes,
    frbm_rbm_t,
    frbm_rng_init,
    frbm_rng_t,
    frbm_strerror,
)


def sample_ring(const unsigned char[::1] block, uint64_t key, int8_t[:, ::1] spins,
                const double[:, ::1] uniforms, double K, size_t n_sweeps):
    """Advance the rings, one a row of `spins`, by one move for each row of `uniforms`.

    `block` is rbm.to_bytes() of a model with Spin visible units, `uniforms` has shape (n_moves,
    n_rings). Returns the mean energy of all states passed and the fraction of moves accepted.
    """
    cdef frbm_rbm_t rbm
    cdef frbm_exec_t executor
    cdef frbm_rng_t rng
    check(frbm_rbm_from_bytes(&rbm, &block[0], <size_t>block.shape[0]))
    frbm_exec_init(&executor)
    frbm_rng_init(&rng, key, 0)

    cdef size_t n_rings = <size_t>spins.shape[0], n = rbm.visible.n
    if <size_t>spins.shape[1] != n or <size_t>uniforms.shape[1] != n_rings:
        raise ValueError("spins need the model's number of units, uniforms one column a ring")
    cdef size_t size = frbm_gibbs_workspace_size(&rbm, n_rings)
    cdef unsigned char[::1] workspace = bytearray(size)
    cdef int8_t[:, ::1] proposal = np.empty((n_rings, n), np.int8)
    cdef double[::1] before = np.empty(n_rings), after = np.empty(n_rings)
    cdef double energy, change, energy_sum = 0
    cdef size_t move, ring, n_accepted = 0
    cdef int rc = 0
    with nogil:
        for move in range(<size_t>uniforms.shape[0]):
            proposal[...] = spins
            rc = frbm_rbm_free_energy(&rbm, n_rings, &spins[0, 0], 1.0, &executor, &before[0])
            if rc == 0:
                rc = frbm_gibbs_sample(&rbm, n_rings, n_sweeps, 1.0, &workspace[0], size,
                                       &executor, &rng, &proposal[0, 0], NULL)
            if rc == 0:
                rc = frbm_rbm_free_energy(&rbm, n_rings, &proposal[0, 0], 1.0, &executor, &after[0])
            if rc != 0:
                break
            for ring in range(n_rings):
                energy = ring_energy(&spins[ring, 0], n, K)
                change = ring_energy(&proposal[ring, 0], n, K) - energy
                if uniforms[move, ring] < exp(after[ring] - before[ring] - change):
                    spins[ring] = proposal[ring]
                    energy += change
                    n_accepted += 1
                energy_sum += energy
    check(rc)
    n_states = uniforms.shape[0] * uniforms.shape[1]
    return energy_sum / n_states, n_accepted / n_states


cdef double ring_energy(const int8_t *s, size_t n, double K) noexcept nogil:
    cdef size_t i
    cdef int total = s[n - 1] * s[0]
    for i in range(1, n):
        total += s[i - 1] * s[i]
    return -K * total


cdef int check(int rc) except -1:
    if rc != 0:
        raise ValueError(frbm_strerror(rc).decode())
    return 0
