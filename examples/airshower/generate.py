"""Primary protons on nitrogen with Sibyll 2.1: the hadrons of the first interaction.

Each job has its own stratum of the primary energy, so that every decade is filled however steep
the spectrum: job j of J covers one J-th of log10(E) between the limits. Writes hadrons.npy.
"""

import argparse

import chromo
import numpy as np
from airshower import HADRONS, KAON, NITROGEN, PION, note_software, quiet, save_array
from chromo.constants import GeV

EVENTS_PER_ENERGY = 20


def main():
    """Read the arguments, draw the energies, run the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--job", type=int, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--log-energy-min", type=float, required=True, help="log10(E/GeV)")
    parser.add_argument("--log-energy-max", type=float, required=True, help="log10(E/GeV)")
    parser.add_argument("--keep-above", type=float, required=True, help="GeV")
    ask = parser.parse_args()

    random = np.random.default_rng(ask.seed)
    width = (ask.log_energy_max - ask.log_energy_min) / ask.jobs
    draws = random.uniform(size=-(-ask.events // EVENTS_PER_ENERGY))
    energies = 10 ** (ask.log_energy_min + width * (ask.job + draws))
    with quiet():
        rows = list(hadrons(energies, ask))
    table = np.array(rows, dtype=HADRONS)
    save_array("hadrons.npy", table)
    note_software("chromo", "numpy", sibyll="2.1")
    print(
        f"{ask.events} p+N events, {energies.min():.4g} to {energies.max():.4g} GeV: "
        f"{len(table)} charged pions and kaons above {ask.keep_above:g} GeV"
    )


def hadrons(energies, ask):
    """Yield a row for each charged pion and kaon above the threshold."""
    kinematics = [chromo.kinematics.FixedTarget(e * GeV, "p", NITROGEN) for e in energies]
    model = chromo.models.Sibyll21(kinematics[-1], seed=ask.seed)
    for event in range(ask.events):
        place = event // EVENTS_PER_ENERGY
        if event % EVENTS_PER_ENERGY == 0:
            model.kinematics = kinematics[place]
            left = min(EVENTS_PER_ENERGY, ask.events - event)
            stream = iter(model(left))
        final = next(stream).final_state()
        wanted = np.isin(np.abs(final.pid), (PION, KAON)) & (final.en > ask.keep_above)
        for pid, energy in zip(final.pid[wanted], final.en[wanted]):
            yield event, pid, energy, energies[place]


if __name__ == "__main__":
    main()
