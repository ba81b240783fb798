"""Other people's servers are asked again when they stumble, as late as they want, and given up in one sentence."""

import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from fourdcrystal import polite, source_mp, sources
from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.errors import InputError


@pytest.fixture
def script():
    """A server on loopback that answers with the given (status, headers, body), one after another."""
    answers: list[tuple[int, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", answers
    server.shutdown()
    server.server_close()


@pytest.fixture
def waits(monkeypatch):
    """Seconds that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr(polite.time, "sleep", waited.append)
    return waited


GOOD = (200, {}, b'{"fine": true}')


def test_faults_that_may_pass_are_waited_out_with_growing_pauses(script, waits):
    address, answers = script
    answers += [(status, {}, b"") for status in (500, 502, 429, 503)] + [(200, {}, b'{"cut'), GOOD]
    assert polite.Session("here").get(address).json() == {"fine": True}
    assert len(waits) == 5
    assert all(1 <= wait / polite.FIRST_WAIT / 2**n <= 1.25 for n, wait in enumerate(waits))


@pytest.mark.parametrize("as_a_date", [False, True])
def test_retry_after_is_honoured_in_seconds_and_as_a_date(script, waits, as_a_date):
    address, answers = script
    asked = formatdate(time.time() + 8, usegmt=True) if as_a_date else "7"
    answers += [(429, {"retry-after": asked}, b""), GOOD]
    polite.Session("here").get(address)
    assert len(waits) == 1 and 5 <= waits[0] <= 10


def test_a_server_that_keeps_failing_is_given_up_in_one_sentence(script, waits):
    address, answers = script
    answers += [(500, {}, b"")]
    with pytest.raises(
        InputError, match=r"here: .* answered with status 500 8 times; what was fetched is kept"
    ) as caught:
        polite.Session("here").get(address + "?key=1")
    assert "\n" not in str(caught.value) and "key=1" not in str(caught.value)
    assert len(waits) == polite.ATTEMPTS - 1


def test_a_server_that_asks_for_a_very_long_pause_is_left_alone(script, waits):
    address, answers = script
    answers += [(503, {"retry-after": "86400"}, b"")]
    with pytest.raises(InputError, match="asks to wait 86400 s"):
        polite.Session("here").get(address)
    assert waits == []


@pytest.mark.parametrize(
    "source", [{"mp": {"endpoint": "http://127.0.0.1:9/"}}, {"optimade": {"provider": "http://127.0.0.1:9"}}]
)
def test_a_dead_server_is_said_in_one_sentence(waits, monkeypatch, tmp_path, source):
    monkeypatch.setenv("MP_API_KEY", "k" * 32)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9/\S* can't be reached 3 times") as caught:
        list(sources.entries(Crystals(source=next(iter(source)), **source)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "said"),
    [("", "no key of the Materials Project; set"), ("short", "the key has 5 characters, but keys have 32")],
)
def test_a_missing_or_short_key_is_refused_before_anything_is_asked(monkeypatch, tmp_path, key, said):
    monkeypatch.setenv("MP_API_KEY", key)
    monkeypatch.setattr(source_mp, "SETTINGS", {})
    with pytest.raises(InputError, match=said) as caught:
        list(sources.entries(Crystals(source="mp", mp={"cache": tmp_path})))
    assert "short" not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "said"),
    [("oqmdb", "did you mean 'oqmd'?"), ("qqqqqqqq", "known are aflow, "), ("", "is empty; known are aflow")],
)
def test_an_unknown_alias_is_refused_with_the_known_ones(provider, said):
    with pytest.raises(InputError) as caught:
        list(sources.entries(Crystals(source="optimade", optimade={"provider": provider})))
    assert said in str(caught.value)


def test_a_server_that_is_no_optimade_server_is_refused(script, waits):
    address, answers = script
    answers += [(200, {}, b'{"data": {}}')]
    with pytest.raises(InputError, match="is no OPTIMADE server"):
        list(sources.entries(Crystals(source="optimade", optimade={"provider": address})))


WRITTEN = {
    "mp-149": "mp-149",
    "mp-aaaaaaft": "mp-149",
    "mp-ft": "mp-149",
    "mp-aaahilzd": "mp-3347529",  # the last that has a number, and the first that has letters only
    "mp-aaahilze": "mp-aaahilze",
    "mp-3347530": "mp-aaahilze",
    "mp-1-GGA": None,
    "149": None,
    "": None,
}


@pytest.mark.parametrize("written", WRITTEN)
def test_materials_project_ids_have_one_normal_form(written):
    assert source_mp.normal_id(written) == WRITTEN[written]


def test_a_key_is_not_carried_to_another_server_that_an_answer_leads_to(script, waits):
    address, answers = script
    seen = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("x-api-key"))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    other = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    session = polite.Session("here")
    session.headers["x-api-key"] = "a key"
    try:
        session.get(f"http://127.0.0.1:{other.server_port}/")
        answers += [(302, {"location": f"http://127.0.0.1:{other.server_port}/"}, b"")]
        session.get(address)
    finally:
        other.shutdown()
        other.server_close()
    assert seen == ["a key", None]
