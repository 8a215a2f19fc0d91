"""A readable NumPy oracle: slow, small, and written from the definitions alone.

Nothing here imports fastrbm, so that the formulas are stated twice and compared.

philox.py      Philox4x32-10 and the counter layout
layers.py      unit types, from sums over their states
exact.py       small models by enumeration and quadrature: log Z, laws, transitions, gradients
gibbs.py       block Gibbs sampling on given random words, and the mutants of it
training.py    CD-k and PCD in float64 on the same random words
checks.py      statistical tests that take a sampler as an argument
"""
