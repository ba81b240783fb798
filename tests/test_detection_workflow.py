"""A scan listed in the configuration is searched by one job or shared by several, with the same result."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray
import yaml
from conftest import Production
from disk_patterns import disk, lattice_points, pattern

from fourdcrystal import detection, recipe, scan_files, search
from fourdcrystal.detectors import Correlator
from fourdcrystal.errors import InputError

GRID, SHAPE, RADIUS = (34, 34), (48, 48), 2.5  # more positions than one piece of the search holds


def shared_scan(path: Path) -> Production:
    """A scan, its probe, and a configuration that lets two jobs share it; nothing has run yet."""
    rng = np.random.default_rng(0)
    centre, basis = np.array([24.2, 23.7]), np.array([[10.2, 1.1], [-1.3, 10.4]])
    mean = pattern(SHAPE, lattice_points(SHAPE, centre, basis, 4), RADIUS, 2e4)
    np.save(path / "scan.npy", rng.poisson(mean, (*GRID, *SHAPE)).astype(np.uint16))
    np.save(path / "probe.npy", rng.poisson(1e4 * disk(SHAPE, (24, 24), RADIUS)).astype(float))
    listed = {"scan": "scan.npy", "probe": "probe.npy", "sampling": 0.03, "find": "correlation"}
    listed |= {"refine": "none", "chunks": 2}
    (path / "scans.yaml").write_text(yaml.safe_dump({"scans": {"mine": listed}}))
    return Production(path, path / "scans.yaml")


def as_found_by_one_job(made: Production) -> None:
    """Peaks and strain of a shared scan are those of a search in one piece, to the bit, and no pieces are left."""
    where = made.results / "detection" / "mine"
    log = (made.results / "logs" / "detect" / "mine.log").read_text()
    assert "1156 of 1156 patterns were searched before" in log
    assert not (where / "pieces").exists()

    scan = scan_files.read(made.folder / "scan.npy", made.folder / "probe.npy", sampling=0.03)
    assert len(search.pieces(scan)) == 2
    alone = detection.detect(scan, Correlator())
    table = pd.read_parquet(where / "bragg_vectors.parquet")
    np.testing.assert_array_equal(table[["qx_px", "qy_px"]], alone.peaks.positions)
    strain = xarray.open_zarr(where / "strain.zarr", consolidated=False)
    np.testing.assert_array_equal(strain.e_xx.values.ravel(), alone.maps.strain.values[:, 0])


def test_jobs_that_share_a_scan_find_what_one_finds(tmp_path):
    made = shared_scan(tmp_path)
    target = "results/detection/mine/summary.json"
    planned = made.snakemake("-n", target).stdout
    assert dict(re.findall(r"^(detect\w*) +(\d+)$", planned, re.MULTILINE)) == {"detect_chunk": "2", "detect": "1"}
    made.snakemake("--cores", "1", target)
    as_found_by_one_job(made)
    assert not list((made.results / "detection" / "mine").glob("chunks/*")), "the parts' marks are temporary"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"find": "correlation", "experiment": "demo"}, "find: correlation doesn't use; say find: trained"),
        ({"experiment": "demo"}, "find: shipped doesn't use; say find: trained"),
        ({"reference": "crystal"}, "need crystal"),
        ({"zone_axis": [1, 1, 0]}, "need crystal"),
        ({"probe": None}, "needs probe, the file of the vacuum probe, or semiangle"),
    ],
)
def test_what_contradicts_itself_is_refused(more, words):
    with pytest.raises(InputError, match=words):
        recipe.validate({"scans": {"mine": {"scan": "scan.dm4", "probe": "probe.dm4"} | more}}, "config")


def test_a_trained_network_says_which_probes_it_has_seen(production):
    data = json.loads((production.results / "models" / "miniature" / "metrics.json").read_text())["data"]
    wavelength, dq = 0.0250793, 0.05  # of the miniature's 200 keV and detector
    assert data["radius_px"] == pytest.approx([3e-3 / wavelength / dq, 4e-3 / wavelength / dq], rel=1e-5)
