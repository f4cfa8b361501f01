"""Muon neutrinos of the decays, weighted to a flux, beside the flux that nuflux tabulates.

The weight of a neutrino is the primary flux at its primary's energy times the primary's share of
the sample times the chance of the decay. Writes histogram.npy: sums over this job, per parent
(pion, kaon), generation and bin of energy.
"""

import argparse

import nuflux
import numpy as np
from airshower import (
    DECAYS,
    KAON,
    MASS_GEV,
    PION,
    SUMS,
    TO_MUON_NEUTRINO,
    load_array,
    note_software,
    primary_flux,
    save_array,
)

REFERENCE = {PION: "H3a_SIBYLL21_pi", KAON: "H3a_SIBYLL21_k"}


def main():
    """Read the arguments, draw neutrino energies, fill the histogram."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--neutrinos", type=int, required=True, help="drawn per decay")
    parser.add_argument("--log-energy-min", type=float, required=True)
    parser.add_argument("--log-energy-max", type=float, required=True)
    parser.add_argument("--cos-zenith", type=float, required=True)
    parser.add_argument("--bins", type=float, nargs=3, required=True, help="log10 min, max, count")
    ask = parser.parse_args()

    table = np.repeat(load_array("decays.npy", DECAYS), ask.neutrinos)
    energy = neutrino_energy(table, np.random.default_rng(ask.seed))
    low, high, count = ask.bins
    edges = np.logspace(low, high, int(count) + 1)
    inside = (energy >= edges[0]) & (energy < edges[-1])  # nuflux' tables begin at 10 GeV
    table, energy = table[inside], energy[inside]
    stratum = np.log(10) * (ask.log_energy_max - ask.log_energy_min) / ask.jobs
    primaries = primary_flux(table["primary_gev"]) * table["primary_gev"] * stratum / ask.events
    branching = np.where(np.abs(table["pid"]) == PION, *TO_MUON_NEUTRINO.values())
    weight = primaries * table["weight"] * branching / ask.neutrinos
    reference = tabulated(table["pid"], energy, ask.cos_zenith)
    bins = np.searchsorted(edges, energy, side="right") - 1
    made = histogram(table, bins, weight, reference, int(count))
    save_array("histogram.npy", made)
    note_software("nuflux", "numpy")
    print(f"{made['neutrinos'].sum()} neutrinos, {made['weight'].sum():.4g} /(cm^2 s sr)")


def neutrino_energy(table, random):
    """Return the lab energies: flat between 0 and 1 - (m_mu/m)^2 of the fast meson's energy."""
    ratio = {kind: 1 - (MASS_GEV["mu"] / MASS_GEV[kind]) ** 2 for kind in (PION, KAON)}
    largest = np.where(np.abs(table["pid"]) == PION, ratio[PION], ratio[KAON])
    return table["energy_gev"] * largest * random.uniform(size=len(table))


def tabulated(pid, energy, cos_zenith):
    """Return nuflux' flux of nu_mu plus nu_mu-bar from the same kind of parent, 1/(GeV cm^2 s sr)."""
    found = np.zeros(len(pid))
    for kind, name in REFERENCE.items():
        model = nuflux.makeFlux(name)
        rows = np.flatnonzero(np.abs(pid) == kind)
        for neutrino in (nuflux.NuMu, nuflux.NuMuBar):
            found[rows] += model.getFlux(neutrino, energy[rows], cos_zenith)
    return found


def histogram(table, bins, weight, reference, count):
    """Sum per parent, generation and bin: neutrinos, weights, weights over the tabulated flux.

    The square is of each primary's sum, as its neutrinos are not independent of each other.
    """
    made = np.zeros((2, 2, count), dtype=SUMS)
    for place, kind in enumerate((PION, KAON)):
        for generation in (1, 2):
            rows = (np.abs(table["pid"]) == kind) & (table["generation"] == generation)
            here, cell = made[place, generation - 1], bins[rows]
            here["neutrinos"] = np.bincount(cell, minlength=count)
            here["weight"] = np.bincount(cell, weight[rows], count)
            here["ratio"] = np.bincount(cell, (weight / reference)[rows], count)
            per_primary = np.zeros((int(table["event"].max(initial=0)) + 1, count))
            np.add.at(per_primary, (table["event"][rows], cell), weight[rows])
            here["square"] = (per_primary**2).sum(axis=0)
    return made


if __name__ == "__main__":
    main()
