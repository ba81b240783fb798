"""A scan far larger than memory is searched in bounded memory."""

import json
import subprocess
import sys

import numpy as np
import pytest
from disk_patterns import disk, lattice_points, pattern

SHAPE, CENTRE, BASIS = (256, 256), np.array([128.3, 127.8]), np.array([[38.0, 3.0], [-4.0, 41.0]])
PROGRAM = """
import json, resource, sys
import numpy as np, torch
from fourdcrystal import detection, scan_files, search
from fourdcrystal.detectors import Correlator
torch.set_num_threads(1)
scan = scan_files.read("scan.npy", "probe.npy", sampling=0.01)
part = scan.region(slice(None), slice(None), int(sys.argv[1]))
found = detection.detect(part, Correlator(threshold=0.1))
said = {"shape": scan.patterns.shape, "searched": len(part), "peaks": len(found.peaks)}
print(json.dumps(said | {"most": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


@pytest.mark.slow
def test_a_scan_of_twenty_gigabytes_takes_less_than_two(tmp_path):
    """A sparse file: what was never written reads as zeros and takes no disk. Every 24th position along both axes is
    searched, and half of those hold a pattern, so that the test takes seconds.
    """
    grid = (400, 400)
    image = np.random.default_rng(0).poisson(pattern(SHAPE, lattice_points(SHAPE, CENTRE, BASIS, 10), 8.0, 1e5))
    scan = np.lib.format.open_memmap(tmp_path / "scan.npy", "w+", np.uint16, (*grid, *SHAPE))
    scan[::24, ::48] = image
    del scan
    np.save(tmp_path / "probe.npy", 1e4 * disk(SHAPE, (128, 128), 8.0))
    done = subprocess.run([sys.executable, "-c", PROGRAM, "24"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert 2 * np.prod(said["shape"]) > 20e9 and said["searched"] == 17 * 17
    assert said["peaks"] > 20 * 17 * 9 * 0.8
    assert said["most"] < 2e9
