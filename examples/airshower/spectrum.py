"""The fan-in: adds the histograms of all jobs and writes spectrum.json.

Fluxes are of nu_mu plus nu_mu-bar, differential in energy, 1/(GeV cm^2 s sr).
"""

import argparse
import json

import numpy as np
from airshower import SUMS, load_array, note_software

PARENTS = ("pion", "kaon")


def main():
    """Read the arguments, add, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--cos-zenith", type=float, required=True)
    parser.add_argument("--bins", type=float, nargs=3, required=True, help="log10 min, max, count")
    ask = parser.parse_args()

    low, high, count = ask.bins
    edges = np.logspace(low, high, int(count) + 1)
    total = np.zeros((2, 2, int(count)), dtype=SUMS)
    for job in range(ask.jobs):  # in the order of jobs: a sum of floats depends on it
        one = load_array(f"{job}/histogram.npy", SUMS)
        for column, _ in SUMS:
            total[column] += one[column]
    parents = {name: component(total[place], edges) for place, name in enumerate(PARENTS)}
    both = component(total.reshape(-1, int(count)), edges)
    both["reference"] = sum(one["reference"] for one in parents.values())
    spectrum = {
        "what": "atmospheric muon neutrinos (nu_mu + nu_mu-bar) of pions and kaons",
        "flux_unit": "1/(GeV cm^2 s sr)",
        "energy_unit": "GeV",
        "cos_zenith": ask.cos_zenith,
        "jobs": ask.jobs,
        "primaries": ask.jobs * ask.events,
        "edges": edges.tolist(),
        "models": {"primaries": "H3a", "first": "Sibyll 2.1", "again": "UrQMD 3.4"},
        "reference_model": "nuflux H3a_SIBYLL21",
        "parents": {name: plain(one) for name, one in parents.items()},
        "total": plain(both),
    }
    with open("spectrum.json", "w", encoding="utf-8") as file:
        json.dump(spectrum, file, indent=1, sort_keys=True)
        file.write("\n")
    note_software("numpy")
    print(f"{total['neutrinos'].sum()} neutrinos of {ask.jobs * ask.events} primaries")


def component(rows, edges):
    """Return counts, flux, its error, the part of UrQMD and nuflux' flux, per bin.

    Every neutrino was counted once more with its weight over nuflux' flux at its energy: that
    sum, per GeV, is the mean ratio of the two fluxes in the bin, however steep they are.
    """
    width = np.diff(edges)
    flux, ratio = rows["weight"].sum(axis=0) / width, rows["ratio"].sum(axis=0) / width
    return {
        "neutrinos": rows["neutrinos"].sum(axis=0),
        "flux": flux,
        "error": np.sqrt(rows["square"].sum(axis=0)) / width,
        "flux_of_reinteractions": rows["weight"][1::2].sum(axis=0) / width,
        "reference": np.divide(flux, ratio, out=np.zeros_like(flux), where=ratio > 0),
    }


def plain(columns):
    """Return a component's columns as lists."""
    return {name: column.tolist() for name, column in columns.items()}


if __name__ == "__main__":
    main()
