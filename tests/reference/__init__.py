"""A readable NumPy oracle: slow, small, and written from the definitions alone.

Nothing here imports fastrbm, so that the formulas are stated twice and compared.

philox.py      Philox4x32-10 and the counter layout
layers.py      unit types, from sums over their states
exact.py       small models by enumeration and quadrature: log Z, laws, transitions, gradients
wide.py        numbers wider than float64: np.longdouble or double-double
enumeration.py log Z and moments with these, or in mpmath, for the proof of the exact methods
pairs.py       log-weights of pairwise models, state by state, in wide numbers
closed_forms.py  log Z of large models in mpmath: counts, two Gaussian layers, Kaufman's torus
exact_methods.py  the exact methods in float64, and the mutants of them
proof.py       what exact log Z, moments and samples must satisfy: checks that take a function
gibbs.py       block Gibbs sampling on given random words, and the mutants of it
training.py    CD-k and PCD in float64 on the same random words
checks.py      statistical tests that take a sampler as an argument
"""
