"""The mesons' way through the air: where each decays or interacts, the latter with UrQMD 3.4.

A meson that interacts makes further mesons. The slow model does a few such interactions, drawn
in proportion to their chance times their energy and weighted back. Writes decays.npy.
"""

import argparse

import chromo
import numpy as np
from airshower import (
    DECAYS,
    HADRONS,
    KAON,
    MESON_INTERACTION,
    NITROGEN,
    NUCLEON_ATTENUATION,
    NUCLEON_INTERACTION,
    PION,
    decay_probability,
    load_array,
    note_software,
    quiet,
    save_array,
)
from chromo.constants import GeV

NAMES = {211: "pi+", -211: "pi-", 321: "K+", -321: "K-"}


def main():
    """Read the arguments; first the mesons of Sibyll, then those of UrQMD."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--interactions", type=int, required=True)
    parser.add_argument("--cos-zenith", type=float, required=True)
    parser.add_argument("--keep-above", type=float, required=True, help="GeV")
    parser.add_argument("--interact-below", type=float, required=True, help="GeV")
    ask = parser.parse_args()

    random = np.random.default_rng(ask.seed)
    first = load_array("hadrons.npy", HADRONS)
    depth = made_at(first, random)
    end = depth + free_path(first["pid"], random)
    chance = decay_probability(first["pid"], first["energy_gev"], depth, end, ask.cos_zenith)
    nucleons = NUCLEON_ATTENUATION / NUCLEON_INTERACTION
    tables = [decays(first, 1, nucleons * chance)]
    chosen, weights = choose(first, 1 - chance, ask, random)
    if len(chosen):
        with quiet():
            rows = list(interact(first[chosen], nucleons * weights, end[chosen], ask, random))
        tables.append(np.array(rows, dtype=DECAYS))
    table = np.concatenate(tables)
    save_array("decays.npy", table)
    note_software("chromo", "numpy", urqmd="3.4")
    print(f"{len(first)} mesons, {len(chosen)} of them interact again: {len(table)} may decay")


def made_at(table, random):
    """Return the depth of each meson's birth; one depth per event, from the nucleons' cascade."""
    events = int(table["event"].max(initial=0)) + 1
    return random.exponential(NUCLEON_ATTENUATION, events)[table["event"]]


def free_path(pid, random):
    """Return how far each meson comes before it interacts, in g/cm^2."""
    kinds = np.abs(pid)
    lengths = np.where(kinds == PION, MESON_INTERACTION[PION], MESON_INTERACTION[KAON])
    return random.exponential(lengths)


def decays(table, generation, weights):
    """Return the mesons with the weight of their decay."""
    made = np.empty(len(table), dtype=DECAYS)
    for name in table.dtype.names:
        made[name] = table[name]
    made["generation"], made["weight"] = generation, weights
    return made


def choose(table, chance, ask, random):
    """Return which mesons interact in the model, and the weight that stands for those that do not."""
    importance = chance * table["energy_gev"]
    importance[table["energy_gev"] >= ask.interact_below] = 0.0
    if not importance.sum():
        return np.empty(0, dtype=int), np.empty(0)
    share = importance / importance.sum()
    chosen = np.sort(random.choice(len(table), ask.interactions, p=share))
    return chosen, chance[chosen] / (ask.interactions * share[chosen])


def interact(table, weights, depths, ask, random):
    """Yield the mesons of each interaction, weighted with their chance to decay."""
    beams = [
        chromo.kinematics.FixedTarget(row["energy_gev"] * GeV, NAMES[int(row["pid"])], NITROGEN)
        for row in table
    ]
    model = chromo.models.UrQMD34(beams[0], seed=ask.seed)
    for row, beam, weight, depth in zip(table, beams, weights, depths):
        model.kinematics = beam
        final = next(iter(model(1))).final_state()
        wanted = np.isin(np.abs(final.pid), (PION, KAON)) & (final.en > ask.keep_above)
        pid, energy = final.pid[wanted], final.en[wanted]
        if not len(pid):
            continue
        end = depth + free_path(pid, random)
        chance = decay_probability(pid, energy, depth, end, ask.cos_zenith)
        for one in zip(pid, energy, weight * chance):
            yield row["event"], one[0], one[1], row["primary_gev"], 2, one[2]


if __name__ == "__main__":
    main()
