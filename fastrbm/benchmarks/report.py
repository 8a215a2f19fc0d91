"""The complexity table as a page of Markdown."""

import math

from .fits import Exponent

#: What each experiment is called.
NAMES = {
    "log_z": "exact log Z",
    "update": "one update",
    "cd_update": "CD-k, an update",
    "cd_epoch": "CD-k, an epoch",
    "cd_epochs": "CD-k, p epochs",
}

LAWS = {"cd_update": "k B N p", "cd_epoch": "k M N p", "cd_epochs": "k M N p^2"}
EXACT_NAMES = {
    "naive": "naive sum in NumPy",
    "split": "split product",
    "pairwise": "pairwise product",
}
PAIR_NAMES = {"bernoulli-bernoulli": "Bernoulli-Bernoulli", "spin-gaussian": "Spin-Gaussian"}


def page(result):
    """Return the whole page.

    Parameters
    ----------
    result : dict
        As `complexity.measure` returns it.

    Returns
    -------
    str
    """
    sections = [
        "# The complexity table, measured",
        _introduction(result),
        tables(result),
        _chosen(result),
        _left_out(result),
        "![Seconds against N, and the crossover](complexity.png)",
        _machine(result),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def tables(result):
    """Return the three tables: exact methods, crossovers, CD-k.

    Parameters
    ----------
    result : dict

    Returns
    -------
    str
    """
    return "\n\n".join(table(result) for table in (exact_table, crossover_table, cd_table))


def exact_table(result):
    """Return the table of the exact methods.

    Parameters
    ----------
    result : dict

    Returns
    -------
    str
    """
    rows = [
        "| exact: seconds ~ 2^(e N) | log Z: e | N | largest | one update: e | N | largest |",
        "|---|---|---|---|---|---|---|",
    ]
    exact = [s for s in result["series"] if s["method"] in EXACT_NAMES]
    for log_z in (s for s in exact if s["experiment"] == "log_z"):
        cells = [f"{EXACT_NAMES[log_z['method']]}, {PAIR_NAMES[log_z['pair']]}"]
        for experiment in ("log_z", "update"):
            (one,) = [
                s
                for s in exact
                if (s["experiment"], s["method"], s["pair"])
                == (experiment, log_z["method"], log_z["pair"])
            ]
            cells += [_exponent(one), _range(one), _largest(one)]
        rows.append(_row(cells))
    return "\n".join(rows)


def crossover_table(result):
    """Return the table of the N from which on exact training does not pay.

    Parameters
    ----------
    result : dict

    Returns
    -------
    str
    """
    found = result["crossovers"]
    sweeps = sorted({one["k"] for one in found})
    rows = [
        _row(["N at which an exact update costs one of", *(f"CD-{k}" for k in sweeps)]),
        "|---" * (len(sweeps) + 1) + "|",
    ]
    for pair, exact in dict.fromkeys((one["pair"], one["exact"]) for one in found):
        cells = [f"{EXACT_NAMES[exact]}, {PAIR_NAMES[pair]}"]
        for k in sweeps:
            (one,) = [c for c in found if (c["pair"], c["exact"], c["k"]) == (pair, exact, k)]
            cells.append(_crossover(one))
        rows.append(_row(cells))
    return "\n".join(rows)


def cd_table(result):
    """Return the table of CD-k's exponents.

    Parameters
    ----------
    result : dict

    Returns
    -------
    str
    """
    rows = [
        "| CD-k: seconds ~ size^e | source | e in k | in B or M | in N | in p |",
        "|---|---|---|---|---|---|",
    ]
    cd = [s for s in result["series"] if s["experiment"] in LAWS]
    for experiment, law in LAWS.items():
        for pair, pair_name in PAIR_NAMES.items():
            mine = {
                s["variable"]: s for s in cd if (s["experiment"], s["pair"]) == (experiment, pair)
            }
            what = NAMES[experiment].removeprefix("CD-k, ")
            cells = [f"{what}, {pair_name}", law]
            cells += [
                _exponent(mine[name]) for name in ("k", "B" if "B" in mine else "M", "N", "p")
            ]
            rows.append(_row(cells))
    return "\n".join(rows)


def _introduction(result):
    settings = result["settings"]
    confidence, least = 100 * settings["confidence"], settings["least_macs"]
    return (
        f"Exponents with {confidence:.0f}% intervals, from sizes with more than "
        f"10^{math.log10(least):.0f} multiply-adds a call; N visible and p hidden units, B rows a "
        f"mini-batch, M rows of data. Exact methods and their crossover with CD-k: "
        f"p = {settings['n_hidden']}, B = {settings['batch_size']}; in brackets the range over the "
        "rounds."
    )


def _chosen(result):
    """Where exact training chose another method than the row's: small sizes, at most."""
    parts = []
    for series in result["series"]:
        others = {}
        for point in series["points"]:
            if point.get("method", series["method"]) != series["method"]:
                others.setdefault(point["method"], []).append(str(point["size"]))
        parts += [f"{method} at N = {', '.join(n)} ({PAIR_NAMES[series['pair']]})"
                  for method, n in others.items()]  # fmt: skip
    return f"Updates by a cheaper method than the row's: {'; '.join(parts)}." if parts else ""


def _left_out(result):
    """What was timed and not fitted, and what was not run for want of time."""
    lines = []
    for name, what in (
        ("too_small", "too small to be fitted"),
        ("not_run", "not run for want of time"),
    ):
        parts = [
            f"{_name(s)}: {s['variable']} = {', '.join(map(str, s[name]))}"
            for s in result["series"]
            if s[name] and not s["method"].startswith("cd-")
        ]
        if parts:
            lines.append(f"{what[0].upper()}{what[1:]}: {'; '.join(parts)}.")
    return "\n\n".join(lines)


def _name(series):
    method = EXACT_NAMES.get(series["method"], "")
    return ", ".join(
        filter(None, (NAMES[series["experiment"]], method, PAIR_NAMES[series["pair"]]))
    )


def _machine(result):
    shown = (f"{name} {value}" for name, value in result["machine"].items() if value is not None)
    rounds = sorted(set(result["settings"]["n_rounds"].values()))
    return f"Medians of {'-'.join(map(str, rounds))} interleaved rounds. {', '.join(shown)}."


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _exponent(series):
    found = series["exponent"]
    return "too few sizes" if found is None else str(Exponent(**found))


def _range(series):
    sizes = series["fitted"]
    return f"{sizes[0]}-{sizes[-1]}" if sizes else ""


def _largest(series):
    points = series["points"]
    return f"{points[-1]['seconds']:.2g} s at {points[-1]['size']}" if points else ""


def _crossover(one):
    if one["cheaper_up_to"] is not None:
        return f"> {one['cheaper_up_to']}"
    if one["size"] is None:
        return "" if one["dearer_from"] is None else f"< {one['dearer_from']}"
    if one["low"] is None:
        return f"{one['size']:.1f}"
    return f"{one['size']:.1f} ({one['low']:.1f}-{one['high']:.1f})"
