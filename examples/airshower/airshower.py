"""What the four payloads share: constants, the primary flux, and how files are written."""

import contextlib
import os
import platform
import sys
import warnings
from importlib.metadata import version

import numpy as np

PION, KAON, PROTON, NEUTRON = 211, 321, 2212, 2112
MASS_GEV = {PION: 0.13957, KAON: 0.493677, "mu": 0.1056584}
CRITICAL_GEV = {PION: 115.0, KAON: 850.0}  # m c^2 h0 / (c tau): above it a meson rather interacts
TO_MUON_NEUTRINO = {PION: 0.99988, KAON: 0.6356}  # branching ratios of the two-body decay
NITROGEN = (14, 7)

# The tables that the steps hand on, column by column.
HADRONS = [("event", "<u4"), ("pid", "<i4"), ("energy_gev", "<f8"), ("primary_gev", "<f8")]
DECAYS = [*HADRONS, ("generation", "u1"), ("weight", "<f8")]
SUMS = [("neutrinos", "<u8"), ("weight", "<f8"), ("square", "<f8"), ("ratio", "<f8")]

# Depths in g/cm^2 of air around 100 GeV (T. K. Gaisser, Cosmic Rays and Particle Physics).
NUCLEON_INTERACTION, NUCLEON_ATTENUATION = 86.0, 120.0
MESON_INTERACTION = {PION: 116.0, KAON: 138.0}


def primary_flux(energy_gev):
    """Return the all-nucleon flux of the H3a model, 1/(GeV cm^2 s sr), at an energy per nucleon.

    Five groups of nuclei in three populations, each a power law with an exponential cutoff in
    rigidity: T. K. Gaisser, Astropart. Phys. 35 (2012) 801, table 1.
    """
    charges, masses = (1, 2, 7, 13, 26), (1, 4, 14, 27, 56)
    populations = (
        (4e6, (7860.0, 3550.0, 2200.0, 1430.0, 2120.0), (1.66, 1.58, 1.63, 1.67, 1.63)),
        (3e7, (20.0, 20.0, 13.4, 13.4, 13.4), (1.4,) * 5),
        (2e9, (1.7, 1.7, 1.14, 1.14, 1.14), (1.4,) * 5),
    )
    energy = np.asarray(energy_gev, dtype=float)
    flux = np.zeros_like(energy)
    for cutoff_gv, amplitudes, slopes in populations:
        for charge, mass, amplitude, slope in zip(charges, masses, amplitudes, slopes):
            nucleus = energy * mass
            per_log = amplitude * nucleus**-slope * np.exp(-nucleus / (charge * cutoff_gv))
            flux += mass * per_log / energy  # dN/dlnE of nuclei, A nucleons each
    return flux * 1e-4  # per m^2 -> per cm^2


def decay_probability(pid, energy_gev, depth_from, depth_to, cos_zenith):
    """Return how likely a meson decays between two slant depths of an isothermal atmosphere."""
    power = np.vectorize(CRITICAL_GEV.get)(np.abs(pid)) / (energy_gev * cos_zenith)
    return -np.expm1(power * np.log(depth_from / depth_to))


def load_array(path, columns):
    """Read a table of an earlier step; refuse one with other columns."""
    table = np.load(path, allow_pickle=False)
    if table.dtype != np.dtype(columns):
        sys.exit(f"{path}: has columns {table.dtype}, expected {columns}")
    return table


def save_array(path, table):
    """Write a table as .npy: nothing in it but shape, type and numbers, so equal bytes for equal
    numbers (an .npz holds the time of day)."""
    with open(path, "wb") as file:
        np.save(file, table, allow_pickle=False)


def note_software(*names, **models):
    """Write `name==version` lines to the file in which the pilot looks for provenance."""
    path = os.environ.get("PULK_SOFTWARE")
    if path:
        lines = [f"{name}=={version(name)}" for name in names]
        lines += [f"{name}=={number}" for name, number in models.items()]
        lines.append(f"python=={platform.python_version()}")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(sorted(lines)) + "\n")


@contextlib.contextmanager
def quiet():
    """Keep the models' tables and banners, printed from Fortran, out of the log."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # UrQMD: "pi0 have not been decayed"; it never does
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
