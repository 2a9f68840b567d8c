"""Turns what was measured into a table, JSON, and the results of the README."""

import json
import statistics
from pathlib import Path

BEGIN, END = "<!-- results: written by run --write-readme -->", "<!-- end of results -->"
# Below this share of its core a gateway was waiting for the load generator or the upstream.
SATURATED = 0.95
NUMBERS = (
    "cpu_us", "rps", "p50_ms", "p99_ms", "paced_rps", "paced_cpu_us",
    "rss_rest_mb", "rss_loaded_mb", "rss_idle_mb", "gateway_busy", "others_busy", "load_core_busy", "stolen",
)


def summary(workload, peer, rounds, version):
    """The rounds of one peer as one cell: median, least and most of each number, and every error."""
    cell = {"workload": workload.name, "peer": peer, "version": version, "rate": workload.rate, "rounds": rounds}
    cell["errors"] = [error for measured in rounds for error in measured["errors"]]
    for name in NUMBERS:
        values = [measured[name] for measured in rounds if name in measured]
        if values:
            cell[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return cell


def add_ratios(workload, cells):
    """Relates each cell to the reference peer, or to the first one measured when that is absent."""
    sound = [cell for cell in cells if "cpu_us" in cell and not cell["errors"]]
    reference = next((c for c in sound if c["peer"] == workload.reference), sound[0] if sound else None)
    for cell in sound:
        cell["reference"] = reference["peer"]
        for name in ("cpu_us", "rps"):
            cell[f"{name}_ratio"] = cell[name]["median"] / reference[name]["median"]


def table(report):
    idle = report["settings"]["idle_connections"]
    header = [
        "workload", "peer", "CPU µs/request", "ratio", "requests/s", "ratio",
        "p50 ms", "p99 ms", "at /s", "MB at rest", f"MB with {idle:,} idle", "remarks",
    ]
    return [header] + [_row(cell) for cell in report["results"]]


def as_text(report):
    rows = table(report)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        fields = [
            value.ljust(width) if column in (0, 1, 11) else value.rjust(width)
            for column, (value, width) in enumerate(zip(row, widths))
        ]
        if number and row[0] != rows[number - 1][0]:
            lines.append("")
        lines.append("  ".join(fields).rstrip())
    return "\n".join([*lines, "", *_footnotes(report)])


def as_markdown(report):
    header, *rows = table(report)
    sides = ["---" if column in (0, 1, 11) else "---:" for column in range(len(header))]
    lines = [f"| {' | '.join(row)} |" for row in (header, sides, *rows)]
    return "\n".join([*lines, "", *(f"- {note}" for note in _footnotes(report))])


def as_json(report):
    return json.dumps(report, indent=2, ensure_ascii=False)


def write_readme(path, report):
    """Replaces what stands between the two markers."""
    text = Path(path).read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} has no place for results: the lines `{BEGIN}` and `{END}`")
    Path(path).write_text(f"{before}{BEGIN}\n\n{as_markdown(report)}\n\n{END}{after}")


def _row(cell):
    def number(name, digits):
        return f"{cell[name]['median']:,.{digits}f}" if name in cell else "–"

    def ratio(name):
        return f"{cell[name]:.2f}" if name in cell else "–"

    waiting = "gateway_busy" in cell and cell["gateway_busy"]["median"] < SATURATED
    rps = ("≥ " if waiting else "") + number("rps", 0)
    return [
        cell["workload"], cell["peer"],
        number("cpu_us", 1), ratio("cpu_us_ratio"), rps, ratio("rps_ratio"),
        number("p50_ms", 2), number("p99_ms", 2), number("paced_rps", 0),
        number("rss_rest_mb", 1), number("rss_idle_mb", 1), _remarks(cell),
    ]


def _remarks(cell):
    remarks = [f"ERROR: {_short(error)}" for error in dict.fromkeys(cell["errors"])]
    if "paced_rps" in cell and cell["paced_rps"]["median"] < 0.8 * cell["rate"]:
        remarks.append(f"does not reach {cell['rate']}/s")
    if "stolen" in cell and cell["stolen"]["max"] > 0.02:
        remarks.append(f"{cell['stolen']['max']:.0%} of the core stolen by the host")
    if "others_busy" in cell and cell["others_busy"]["max"] > 0.05:
        remarks.append(f"{cell['others_busy']['max']:.0%} of the core used by other processes")
    return "; ".join(remarks)


def _short(error):
    first = error.strip().splitlines()
    return " ".join([first[0], *first[1:][-1:]]).replace("|", "/")[:300]


def _footnotes(report):
    settings, machine = report["settings"], report["machine"]
    notes = [
        f"Rounds: {settings['rounds']} of {settings['seconds']} s, of which the median; ratios to the reference: "
        + ", ".join(f"{w} {r}" for w, r in report["references"].items()) + ".",
        "CPU: user and system time of all the gateway's processes, by requests completed at saturation.",
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}; "
        + ", ".join(dict.fromkeys(report["versions"].values())) + ".",
    ]
    if any("≥" in row[4] for row in table(report)):
        notes.append("≥: the gateway's core was not full (the load's was, or others used it): it could do more.")
    if settings["quick"]:
        notes.append("A quick run: it shows that everything works, its figures are not for comparison.")
    notes += [f"Left out: {peer}, because {why}." for peer, why in report["skipped"].items()]
    return notes
