"""The demo's picture: the neutrino spectrum that the example's fan-in step wrote, drawn."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

ENERGY_POWER = 3  # the flux falls with about E^-3.7: times E^3 its features can be seen
COLOURS = {"pion": "#c8702b", "kaon": "#2b6ca3", "total": "#222222"}
LABELS = {"pion": "pions", "kaon": "kaons", "total": "both"}


def draw(spectrum_json: Path, png: Path) -> None:
    """Draw spectrum.json of examples/airshower as a PNG: fluxes, and their ratio to nuflux'."""
    import matplotlib as mpl

    mpl.use("Agg", force=True)
    from matplotlib import pyplot as plt

    spectrum = json.loads(spectrum_json.read_text())
    edges = spectrum["edges"]
    middles = [(low * high) ** 0.5 for low, high in pairwise(edges)]
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(8, 6.5), sharex=True, height_ratios=[3, 1], layout="constrained"
    )
    components = spectrum["parents"] | {"total": spectrum["total"]}
    for name, columns in components.items():
        _draw_component(above, below, name, columns, middles)
    _dress(above, below, spectrum)
    figure.savefig(png, dpi=150)
    plt.close(figure)


def _draw_component(
    above: Any, below: Any, name: str, columns: dict[str, list[float]], middles: list[float]
) -> None:
    rows = [
        (energy, flux, error, reference)
        for energy, flux, error, reference in zip(
            middles, columns["flux"], columns["error"], columns["reference"], strict=True
        )
        if flux > 0 and reference > 0
    ]
    if not rows:
        return
    energies = [row[0] for row in rows]
    powers = [energy**ENERGY_POWER for energy in energies]
    points = {"fmt": "o", "markersize": 4, "color": COLOURS[name], "elinewidth": 1}
    above.errorbar(
        energies,
        [row[1] * power for row, power in zip(rows, powers, strict=True)],
        [row[2] * power for row, power in zip(rows, powers, strict=True)],
        label=f"this run: {LABELS[name]}",
        **points,
    )
    above.plot(
        energies,
        [row[3] * power for row, power in zip(rows, powers, strict=True)],
        color=COLOURS[name],
        linewidth=1.2,
        alpha=0.7,
        label=f"nuflux: {LABELS[name]}",
    )
    if name == "total":
        ratios = [row[1] / row[3] for row in rows]
        below.errorbar(energies, ratios, [row[2] / row[3] for row in rows], **points)


def _dress(above: Any, below: Any, spectrum: dict[str, Any]) -> None:
    models = spectrum["models"]
    above.set_xscale("log")
    above.set_yscale("log")
    above.set_ylabel(r"$E^3\,\Phi$  [GeV$^2$ cm$^{-2}$ s$^{-1}$ sr$^{-1}$]")
    above.set_title(
        f"Atmospheric $\\nu_\\mu+\\bar\\nu_\\mu$ at cos$\\,\\theta$ = {spectrum['cos_zenith']:g}, "
        f"{spectrum['primaries']:,} primaries in {spectrum['jobs']} jobs\n"
        f"{models['primaries']} primaries, {models['first']}, {models['again']}; "
        f"lines: {spectrum['reference_model']}",
        fontsize=10,
    )
    above.legend(ncols=2, fontsize=8, frameon=False, loc="lower left")
    below.axhline(1.0, color="#888888", linewidth=0.8)
    below.set_ylim(0.0, 1.6)
    below.set_ylabel("both / nuflux")
    below.set_xlabel("neutrino energy [GeV]")
    for axes in (above, below):
        axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
