"""What `fastrbm bench` runs, and what the scripts of bench/ share with it.

machine      the description of the machine that goes with every number
timing       medians of interleaved rounds
fits         exponents with confidence intervals, and where two curves cross
naive        exact sums by their definition, in NumPy: what exact methods are compared with
complexity   how long exact and contrastive-divergence training take, by size
report       its table
picture      its picture (needs matplotlib)
"""
