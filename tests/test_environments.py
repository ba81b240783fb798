"""Pins agree everywhere: lock file, conda environments, and what the package asks for."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent


def pins(lines) -> dict[str, str]:
    found = (re.fullmatch(r"\s*([A-Za-z0-9._-]+)==([^;\s]+).*", line) for line in lines)
    return {canonicalize_name(m[1]): m[2] for m in found if m}


LOCK = pins((ROOT / "requirements.lock").read_text().splitlines())


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda p: p.stem)
def test_conda_environment_has_the_pins_of_the_lock_file(path):
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    packages = next(d["pip"] for d in dependencies if isinstance(d, dict))
    found = pins(packages)
    assert len(found) == len(packages), "every package is pinned"
    assert found == {name: LOCK[name] for name in found}


def test_lock_file_satisfies_the_ranges_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = project["dependencies"] + extras["dev"] + extras["export"] + extras["services"]
    for requirement in map(Requirement, asked):
        version = Version(LOCK[canonicalize_name(requirement.name)])
        assert version in requirement.specifier, f"{requirement} against the lock's {version}"


def test_torch_is_pinned_to_the_version_that_has_a_cpu_build():
    assert LOCK["torch"] == "2.13.0"


def test_version_is_the_same_in_package_metadata_and_citation():
    import fourdcrystal

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == fourdcrystal.__version__ == citation["version"]
