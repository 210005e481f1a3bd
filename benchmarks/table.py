"""The documents of `benchmarks.grid` and `benchmarks.quality` as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any


def grid(document: dict[str, Any]) -> str:
    """Milliseconds a step, totals, ratios, AuxK's cost, the machine and its floor."""
    names = list(document["grid_cpu_seconds"])
    lines = [f"CPU milliseconds a step of {document['batch_size']} rows, d_in {document['d_in']} (medians)", ""]
    cells = [*document["cells"], *([document["large"]] if "large" in document else [])]
    body = [
        [f"{cell['d_sae']}/{cell['k']}"]
        + [f"{cell['ms'][name]['median']:.1f}" for name in names]
        + [f"{sum(cell['floor_ms'][precision].values()):.1f}" for precision in ("float32", "bfloat16")]
        for cell in cells
    ]
    floors = document["floor_cpu_seconds"]
    total = ["grid, CPU s", *(f"{document['grid_cpu_seconds'][name]:.0f}" for name in names)]
    body.append([*total, *(f"{floors[precision]:.0f}" for precision in ("float32", "bfloat16"))])
    lines += _table(["d_sae/K", *names, "floor float32", "floor bfloat16"], body)

    lines += ["", f"How many times as long as ours ({len(document['cells'])} cells of {document['steps']} steps)", ""]
    kinds = [("grid, float32", document["ratios"]), ("grid, bfloat16", document["ratios_bfloat16"])]
    if "large" in document:
        where = f"{document['large']['d_sae']}/{document['large']['k']}"
        kinds += [
            (f"{where}, float32", document["large"]["ratios"]),
            (f"{where}, bfloat16", document["large"]["ratios_bfloat16"]),
        ]
    others = list(document["ratios"])
    lines += _table(["", *others], [[kind, *(f"{ratios[name]:.2f}" for name in others)] for kind, ratios in kinds])

    lines += ["", "AuxK, CPU milliseconds a step of ours in float32", ""]
    columns = ("ours_off", "ours_nothing_dead", "ours_most_dead")
    auxk = [
        [f"{cell['d_sae']}/{cell['k']}", *(f"{cell['ms'][name]['median']:.1f}" for name in columns)]
        for cell in document["auxk"]
    ]
    lines += _table(["d_sae/K", "off", "on, nothing dead", "on, most dead"], auxk)
    lines += ["", *_machine(document)]
    lines += [f"Left out: {name} ({reason})" for name, reason in document.get("left_out", {}).items()]
    return "\n".join(lines)


def quality(document: dict[str, Any]) -> str:
    """Held-out EV by cell and implementation, and ours less the best peer's."""
    names = list(document["cells"][0]["ev_total"])
    body = [
        [f"{cell['d_sae']}/{cell['k']}", *(f"{cell['ev_total'][name]:.3f}" for name in names)]
        + [f"{cell['above_best_peer'][name]:+.3f}" for name in cell["above_best_peer"]]
        for cell in document["cells"]
    ]
    ahead = [f"{name} less best peer" for name in document["cells"][0]["above_best_peer"]]
    head = f"Held-out EV_total of {document['rows']['validation']} rows after {document['epochs']} epochs"
    lines = [f"{head} on {document['rows']['train']} rows of {document['rows']['d_in']}", ""]
    lines += _table(["d_sae/K", *names, *ahead], body)
    for name, worst in document["worst"].items():
        lines.append(f"{name}: at worst {worst:+.3f} beside the best peer of the cell")
    lines += [f"Left out: {name} ({reason})" for name, reason in document["left_out"].items()]
    return "\n".join(lines)


def _machine(document: dict[str, Any]) -> list[str]:
    machine, shares = document["machine"], document["share_of_floor"]
    lines = [
        f"Machine: {machine['cpu']}, torch {machine['torch']}, Python {machine['python']}, "
        f"{machine['threads']} thread, bfloat16 instructions: {'yes' if machine['bfloat16_instructions'] else 'no'}",
        "Roofline, measured beside each cell (median over the K of a d_sae; encoder's product in GFLOP/s):",
    ]
    cells = [*document["cells"], *([document["large"]] if "large" in document else [])]
    for d_sae in dict.fromkeys(cell["d_sae"] for cell in cells):
        roofs = [cell["roofline"] for cell in cells if cell["d_sae"] == d_sae]
        products = [f"{way} {median(roof['gflops'][way] for roof in roofs):.0f}" for way in roofs[0]["gflops"]]
        bandwidth = median(roof["gb_per_second"] for roof in roofs)
        topk = ", ".join(f"{c['k']}: {c['roofline']['topk_ms']:.2f}" for c in cells if c["d_sae"] == d_sae)
        lines.append(f"  d_sae {d_sae}: {', '.join(products)}; memory {bandwidth:.0f} GB/s; top-k ms by K {topk}")
    for precision, floor in document["floor_cpu_seconds"].items():
        parts: dict[str, float] = {}
        for cell in document["cells"]:
            for part, ms in cell["floor_ms"][precision].items():
                parts[part] = parts.get(part, 0.0) + ms * document["steps"] / 1e3
        said = ", ".join(f"{part} {seconds:.0f}" for part, seconds in parts.items())
        lines.append(
            f"Floor of the grid in {precision}: {floor:.0f} CPU s ({said}); reached: {100 * shares[precision]:.0f} %"
        )
    return lines


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table with columns of equal width."""
    rows = [list(head), *(list(row) for row in body)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |"

    return [line(rows[0]), "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *map(line, rows[1:])]
