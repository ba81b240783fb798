"""The Materials Project's own server code, with faults, and its own unmodified client."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from services import environments, mp_server

from fourdcrystal import downloads, polite, source_mp, sources
from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.errors import InputError

pytest.importorskip("mp_api", reason="mp-api is not installed")

COUNT = 40  # of which one is deprecated and one may not be used commercially


@pytest.fixture(scope="module")
def interpreter():
    """The server's, which doesn't depend on the client's line."""
    return os.environ.get("MP_SERVER_PYTHON") or environments.python("mp", environments.MATERIALS_PROJECT)


@pytest.fixture(autouse=True)
def a_key_short_waits_and_small_pages(monkeypatch):
    monkeypatch.setenv("MP_API_KEY", mp_server.KEY)
    monkeypatch.setattr(polite, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(source_mp, "PAGE", 10)


@pytest.fixture(scope="module")
def running(interpreter):
    port = environments.free_port()
    with environments.serving([interpreter, mp_server.__file__, port, "--count", COUNT], port, "/heartbeat") as address:
        yield address


@pytest.fixture
def server(running):
    """Address of the server, without faults unless a test asks for them."""
    gate(running)
    return running


def gate(address, **options):
    """Set the server's faults, delay and version, and forget what it has served."""
    requests.get(f"{address}/gate", params=options, timeout=30).raise_for_status()


def settings(address, folder, **options) -> Crystals:
    return Crystals(source="mp", mp={"endpoint": address, "cache": folder / "cache", "batch": 5} | options)


def served(address) -> list[list[str]]:
    """Ids of the structures that went out, request by request."""
    batches = requests.get(f"{address}/served", timeout=30).json()
    return [[source_mp.normal_id(id) for id in batch] for batch in batches]


def test_everything_arrives_once_through_thirty_percent_faults(server, tmp_path):
    gate(server, fault="500:0.08,502:0.07,429:0.05,cut:0.1")
    found = list(sources.entries(settings(server, tmp_path)))
    assert len(found) == COUNT - 2  # neither deprecated nor non-commercial ones are listed
    assert all(e.structure is not None and e.source["licence"] == "CC BY 4.0" for e in found)
    assert sorted(id for batch in served(server) for id in batch) == sorted({e.id for e in found})
    offline = list(sources.entries(settings(server, tmp_path, offline=True)))
    assert [e.id for e in offline] == [e.id for e in found]


def kept_in(folder) -> downloads.Downloads:
    """What a download has kept, whether or not it ended well."""
    return downloads.Downloads(next((folder / "cache").rglob("*.sqlite")), "cache")


DOWNLOAD = """
import sys
from fourdcrystal import sources
from fourdcrystal.crystal_settings import Crystals
list(sources.entries(Crystals(source="mp", mp={"endpoint": sys.argv[1], "cache": sys.argv[2], "batch": 5})))
"""


def test_a_killed_download_goes_on_and_fetches_nothing_again_that_it_kept(server, tmp_path):
    gate(server, delay=0.25)
    process = subprocess.Popen([sys.executable, "-c", DOWNLOAD, server, tmp_path / "cache"], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while len(served(server)) < 3:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    cache = kept_in(tmp_path)
    ids = {f"mp-{n}" for n in range(1, COUNT + 1)}
    kept = ids - set(cache.absent(ids))
    assert len(kept) >= 10
    gate(server)
    found = list(sources.entries(settings(server, tmp_path)))
    again = {id for batch in served(server) for id in batch}
    assert len(found) == COUNT - 2
    assert kept | again == {e.id for e in found}
    assert not kept & again


def test_letters_from_the_server_become_the_numbers_that_people_know(server, tmp_path):
    found = list(sources.entries(settings(server, tmp_path)))
    assert [e.id for e in found][:2] == ["mp-1", "mp-2"]
    assert {e.source["id"] for e in found} == {e.id for e in found}


def test_missing_deprecated_and_non_commercial_ids_of_a_sheet_become_rows(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", mp_server.KEY_NON_COMMERCIAL)
    deprecated, non_commercial = f"mp-{mp_server.DEPRECATED}", f"mp-{mp_server.NON_COMMERCIAL}"
    asked = ["mp-1", "mp-aaaaaaac", deprecated, non_commercial, "mp-777777", "pyrite"]
    found = {e.id: e for e in sources.entries(settings(server, tmp_path), dict.fromkeys(asked, ""))}
    assert {id: e.problem for id, e in found.items()} == {
        "mp-1": "",
        "mp-aaaaaaac": "",  # as the sheet has it, which is mp-2
        deprecated: sources.DEPRECATED,
        non_commercial: sources.NON_COMMERCIAL,
        "mp-777777": sources.MISSING,
        "pyrite": sources.MISSING,
    }
    assert "mp-777777 is not in version 2025.02.12.post" in found["mp-777777"].detail


def test_non_commercial_crystals_come_on_request_with_their_licence(server, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"crystals\.mp\.gnome: .* accept the non-commercial terms"):
        list(sources.entries(settings(server, tmp_path, gnome=True)))
    monkeypatch.setenv("MP_API_KEY", mp_server.KEY_NON_COMMERCIAL)
    found = {e.id: e for e in sources.entries(settings(server, tmp_path, gnome=True))}
    assert len(found) == COUNT - 1
    assert found[f"mp-{mp_server.NON_COMMERCIAL}"].source["licence"] == "CC BY-NC 4.0"
    assert len(list(sources.entries(settings(server, tmp_path)))) == COUNT - 2


def test_only_crystals_with_the_wanted_elements_are_listed(server, tmp_path):
    found = list(sources.entries(settings(server, tmp_path, elements=["Zn", "S"])))
    assert found and all({"Zn", "S"} <= {el.symbol for el in e.structure.composition} for e in found)


def test_a_pinned_version_that_the_server_no_longer_has_is_refused_unless_it_is_cached(server, tmp_path):
    first = list(sources.entries(settings(server, tmp_path)))
    gate(server, version="2026.01.01")
    pinned = list(sources.entries(settings(server, tmp_path, database_version=mp_server.VERSION)))
    assert {e.source["database_version"] for e in pinned} == {mp_server.VERSION}
    newest = list(sources.entries(settings(server, tmp_path)))
    assert {e.source["database_version"] for e in newest} == {"2026.01.01"}
    assert [e.id for e in first] == [e.id for e in pinned] == [e.id for e in newest]
    with pytest.raises(InputError, match=r"has version 2026\.01\.01, not 2024\.01\.01, of which the cache"):
        list(sources.entries(settings(server, tmp_path, database_version="2024.01.01")))


def test_a_version_that_changes_during_the_download_is_noticed_before_anything_is_kept(server, tmp_path, monkeypatch):
    answers = iter(["2025.02.12.post", "2025.02.12.post", "2026.01.01"])
    monkeypatch.setattr(source_mp.Server, "current_version", lambda self: next(answers))
    with pytest.raises(InputError, match=r"changed from version 2025\.02\.12\.post to 2026\.01\.01"):
        list(sources.entries(settings(server, tmp_path)))
    cache = kept_in(tmp_path)
    assert cache.absent(["mp-1"]) == ["mp-1"]


def test_an_incomplete_cache_is_refused_offline(tmp_path):
    with pytest.raises(InputError, match=r"offline: .* does not hold all the structures of any version"):
        list(sources.entries(settings("http://127.0.0.1:9", tmp_path, offline=True)))


def test_a_refused_key_is_said_in_one_sentence_without_the_key(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", "w" * 32)
    with pytest.raises(InputError, match="refuses the key") as caught:
        list(sources.entries(settings(server, tmp_path)))
    assert "w" * 32 not in str(caught.value) and "\n" not in str(caught.value)


def test_the_key_is_in_no_file(server, tmp_path):
    list(sources.entries(settings(server, tmp_path)))
    assert not any(mp_server.KEY.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_server_that_only_sends_cut_off_json_is_given_up_in_one_sentence(server, tmp_path):
    gate(server, fault="cut:1")
    with pytest.raises(InputError, match="sent JSON that is cut off 8 times; what was fetched is kept") as caught:
        list(sources.entries(settings(server, tmp_path)))
    assert "\n" not in str(caught.value)


def test_on_a_full_disk_the_cache_keeps_what_it_had(server, tmp_path, small_disk_for_caches):
    said = r"cache: .* can't be written or read \(database or disk is full\)"
    with small_disk_for_caches(pages=9), pytest.raises(InputError, match=said) as caught:
        list(sources.entries(settings(server, tmp_path)))
    assert "\n" not in str(caught.value)
    cache = kept_in(tmp_path)
    asked = cache.listing(json.dumps({"deprecated": False, "gnome": False, "elements": []})).ids
    kept = len(asked) - len(cache.absent(asked))
    assert 0 < kept < len(asked) and kept % 5 == 0  # whole batches
    assert len(list(sources.entries(settings(server, tmp_path)))) == COUNT - 2


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this is the newer line already")
def test_the_newer_line_of_the_client_passes_the_same_tests(interpreter):
    client = environments.python("mp-client", environments.NEWER_CLIENT, environments.newer_interpreter())
    tests = Path(__file__).parent
    command = [client, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-c", os.devnull, __file__]
    own = {"PYTHONPATH": f"{tests.parent / 'src'}{os.pathsep}{tests}", "MP_SERVER_PYTHON": str(interpreter)}
    done = subprocess.run(command, env=os.environ | own, cwd=tests, text=True, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"\b1[3-9] passed, 1 skipped\b", done.stdout), done.stdout[-2000:]
