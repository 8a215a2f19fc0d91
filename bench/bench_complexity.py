"""The complexity table at its quick sizes: what `fastrbm bench complexity --quick` measures.

Exponents with their intervals and the crossovers stand in the results.
"""

from fastrbm.benchmarks import complexity


def test_complexity(benchmark, tmp_path):
    result, _ = benchmark.pedantic(complexity.run, (tmp_path,), {"quick": True}, rounds=1)
    for series in result["series"]:
        names = (series[name] for name in ("experiment", "method", "pair", "variable"))
        benchmark.extra_info[" ".join(names)] = series["exponent"]
    benchmark.extra_info["crossovers"] = result["crossovers"]
