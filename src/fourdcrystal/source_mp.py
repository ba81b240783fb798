"""The Materials Project: some 170,000 computed crystals, through its own client mp-api.

Ids are listed once per database version, structures come in batches, and everything is cached as it arrives: a run that
was interrupted asks only for what it lacks. A search without any filter would make mp-api ignore the endpoint and
download a table of all documents from a cloud store; ours always filters, so it never does (docs/decisions/0012).
"""

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import requests
from pymatgen.core import SETTINGS, Structure
from tqdm import tqdm

from fourdcrystal import downloads
from fourdcrystal.crystal_settings import MaterialsProject
from fourdcrystal.downloads import Downloads
from fourdcrystal.errors import InputError
from fourdcrystal.polite import Session
from fourdcrystal.sources import DEPRECATED, MISSING, NON_COMMERCIAL, UNREADABLE, Entry, ordered, origin

ENDPOINT = "https://api.materialsproject.org/"
PAGE = 1000  # ids in one request: the API's limit
LICENCES = {"BY-C": "CC BY 4.0", "BY-NC": "CC BY-NC 4.0"}
CITATION = "A. Jain et al., The Materials Project, APL Mater. 1 (2013) 011002, doi:10.1063/1.4812323"
FIELDS = ["material_id", "structure", "deprecated", "builder_meta"]

_LAST_NUMBER = 3347529  # materials up to this one are known by decimal numbers, later ones by letters
_WIDTH = 8  # letters of an AlphaID
_ID = re.compile(r"(mp|mvc)-(\d+|[a-z]+)")


def normal_id(id: str) -> str | None:
    """The one way to write a Materials Project id, or None for what is no id.

    The server may answer with AlphaIDs: a number in base 26, a = 0, such as mp-aaaaaaft for mp-149.
    """
    found = _ID.fullmatch(id)
    if found is None:
        return None
    prefix, text = found.groups()
    number = int(text) if text.isdecimal() else 0
    if not text.isdecimal():
        for letter in text:
            number = number * 26 + ord(letter) - ord("a")
    if number <= _LAST_NUMBER:
        return f"{prefix}-{number}"
    letters = ""
    while number:
        number, digit = divmod(number, 26)
        letters = chr(ord("a") + digit) + letters
    return f"{prefix}-{letters.rjust(_WIDTH, 'a')}"


def api_key() -> str:
    """The user's key, from the environment or from pymatgen's settings; it goes into request headers and nowhere else.

    Raises:
        InputError: if there is none, or it can't be one.
    """
    where = "set the environment variable MP_API_KEY, or PMG_MAPI_KEY in pymatgen's settings (`pmg config`)"
    key = os.environ.get("MP_API_KEY") or SETTINGS.get("PMG_MAPI_KEY")
    if not key:
        raise InputError(f"crystals.mp: no key of the Materials Project; {where}")
    if len(str(key)) != 32:
        raise InputError(f"crystals.mp: the key has {len(str(key))} characters, but keys have 32; {where}")
    return str(key)


class Server:
    """The Materials Project's API through mp-api, with patience."""

    def __init__(self, endpoint: str, key: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from mp_api.client import MPRester
        except ImportError as error:
            raise InputError(
                "crystals.source: mp needs the package mp-api; `pip install 'fourdcrystal[services]'`"
            ) from error
        self.endpoint = endpoint
        self._session = Session("crystals.mp")
        self._session.headers["x-api-key"] = key
        self.version = self.current_version()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rester = MPRester(
                    key, endpoint=endpoint, session=self._session, use_document_model=False, mute_progress_bars=True
                )
                self._search = rester.materials.summary.search
        except (requests.RequestException, ValueError, KeyError) as error:
            raise InputError(f"crystals.mp: {endpoint} can't be used by mp-api ({type(error).__name__})") from error

    def current_version(self) -> str:
        """Version of the database that the server has now.

        Raises:
            InputError: if it doesn't say, or can't be reached.
        """
        response = self._session.get(self.endpoint + "heartbeat")
        try:
            return str(response.json()["db_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"crystals.mp.endpoint: {self.endpoint} is no API of the Materials Project "
                f"(status {response.status_code})"
            ) from error

    def search(self, **criteria: Any) -> list[dict[str, Any]]:
        """Documents that meet criteria, as mp-api's ``materials.summary.search``.

        Raises:
            InputError: if the key is refused, or the server keeps failing.
        """
        from mp_api.client import MPRestError

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._search(**criteria)
        except MPRestError as error:
            said = str(error).splitlines()
            if any(code in said[0] for code in ("status code 401", "status code 403")):
                raise InputError(
                    f"crystals.mp: {self.endpoint} refuses the key; get one from the Materials Project's dashboard"
                ) from error
            reason = re.sub(r" on URL \S+ with message:", "", said[0]) + (f": {said[1]}" if len(said) > 1 else "")
            raise InputError(f"crystals.mp: {self.endpoint} refuses a search ({reason[:200]})") from error

    def check_non_commercial(self) -> None:
        """Whether GNoME's structures come at all: the server leaves them out unless the account has accepted its terms.

        Raises:
            InputError: if they don't.
        """
        parameters = {"batch_id": "gnome_r2scan_statics", "_fields": "material_id", "_limit": "1"}
        answer = self._session.get(self.endpoint + "materials/summary/", params=parameters)
        if answer.status_code != 200 or not answer.json().get("meta", {}).get("total_doc"):
            raise InputError(
                f"crystals.mp.gnome: {self.endpoint} gives this key none of GNoME's structures; accept the "
                "non-commercial terms in the account's settings, or set gnome: false"
            )


def _listed(server: Server, cache: Downloads, options: MaterialsProject, query: str) -> list[str]:
    """All ids that are not deprecated, from the cache as far as they are there."""
    criteria: dict[str, Any] = {"deprecated": False, "include_gnome": options.gnome}
    if options.elements:
        criteria["elements"] = options.elements
    while not (listing := cache.listing(query)).complete:
        found = server.search(
            **criteria,
            fields=["material_id"],
            _page=listing.pages + 1,
            _sort_fields="material_id",
            chunk_size=PAGE,
            num_chunks=1,
        )
        _same_version(server)
        listed = [id for one in found if (id := normal_id(str(one["material_id"])))]
        following = None if len(found) < PAGE else str(listing.pages + 2)
        cache.add_page(query, listing.pages, listed, following)
    return listing.ids


def _same_version(server: Server) -> None:
    """Refuse what came in while the database changed: before a page or batch is kept."""
    if (now := server.current_version()) != server.version:
        raise InputError(
            f"crystals.mp: the database changed from version {server.version} to {now} during the download; "
            "run again to fetch the new version, or ask for the old one with crystals.mp.database_version"
        )


def _fetch(server: Server, cache: Downloads, ids: Sequence[str], size: int, known: int) -> None:
    """Fetch documents in batches; each is kept as soon as it is here."""
    with tqdm(total=known + len(ids), initial=known, desc="Materials Project", unit="crystal") as bar:
        for start in range(0, len(ids), size):
            batch = list(ids[start : start + size])
            found = server.search(material_ids=batch, fields=FIELDS)
            absent = set(batch) - {normal_id(str(one["material_id"])) for one in found}
            if absent:  # the server leaves deprecated ones out unless it is asked for nothing else
                found += server.search(material_ids=sorted(absent), deprecated=True, fields=FIELDS)
            _same_version(server)
            documents: dict[str, dict[str, Any] | None] = dict.fromkeys(batch)
            for one in found:
                id = normal_id(str(one["material_id"]))
                if id in documents:
                    licence = (one.get("builder_meta") or {}).get("license") or ""
                    documents[id] = {
                        "structure": one["structure"],
                        "deprecated": bool(one.get("deprecated")),
                        "licence": LICENCES.get(licence, licence),
                    }
            cache.add(documents)
            bar.update(len(batch))


def _entry(id: str, document: dict[str, Any] | None, version: str, gnome: bool) -> Entry:
    source = origin("Materials Project", id, version, (document or {}).get("licence", ""), CITATION)
    if document is None:
        return Entry(id, None, source, MISSING, f"{id} is not in version {version} of the Materials Project")
    if document["deprecated"]:
        return Entry(id, None, source, DEPRECATED, f"{id} is deprecated in version {version} of the Materials Project")
    if document["licence"] == LICENCES["BY-NC"] and not gnome:
        return Entry(id, None, source, NON_COMMERCIAL, f"{id} is not for commercial use; crystals.mp.gnome allows such")
    try:
        structure, problem = ordered(Structure.from_dict(document["structure"]))
    except (ValueError, KeyError, TypeError) as error:
        return Entry(id, None, source, UNREADABLE, f"{id}: {error}")
    return Entry(id, structure, source, problem)


def entries(options: MaterialsProject, only: Mapping[str, str] | None = None) -> Iterator[Entry]:
    """The crystals of one version of the Materials Project's database.

    Args:
        options: Server, version, cache, and which crystals.
        only: Crystals of a sample sheet; none: all that are not deprecated and pass the options' filters.

    Raises:
        InputError: for a missing or refused key, a server that can't be reached, another database version than asked
            for, an incomplete cache when offline, or a cache that can't be written. What was fetched before is kept.
    """
    endpoint = (options.endpoint or ENDPOINT).rstrip("/") + "/"
    query = json.dumps({"deprecated": False, "gnome": options.gnome, "elements": sorted(options.elements)})
    given = None if only is None else {normal_id(id) or id: id for id in sorted(only)}
    version = options.database_version
    if options.offline and version is None:
        version = next(iter(reversed(downloads.versions(options.cache, endpoint))), None)
    if version is not None and downloads.path(options.cache, endpoint, version).exists():
        with Downloads(downloads.path(options.cache, endpoint, version), "crystals.mp.cache") as cache:
            listing = cache.listing(query)
            ids = list(given) if given is not None else listing.ids
            complete = given is not None or listing.complete
            if complete and not cache.absent((i for i in ids if normal_id(i)), listed=given is None):
                yield from _read(cache, ids, given, version, options.gnome)
                return
    if options.offline:
        raise InputError(
            f"crystals.mp.offline: {options.cache} does not hold all the structures of "
            f"{'any version' if version is None else f'version {version}'}; run once with offline: false"
        )
    server = Server(endpoint, api_key())
    if version not in (None, server.version):
        raise InputError(
            f"crystals.mp.database_version: {endpoint} has version {server.version}, not {version}, of which the cache "
            "does not hold all that is asked for"
        )
    if options.gnome:
        server.check_non_commercial()
    with Downloads(downloads.path(options.cache, endpoint, server.version), "crystals.mp.cache") as cache:
        ids = list(given) if given is not None else _listed(server, cache, options, query)
        asked = [i for i in ids if normal_id(i)]
        missing = cache.absent(asked, listed=given is None)
        _fetch(server, cache, missing, options.batch, len(asked) - len(missing))
        yield from _read(cache, ids, given, server.version, options.gnome)


def _read(
    cache: Downloads, ids: Sequence[str], given: dict[str, str] | None, version: str, gnome: bool
) -> Iterator[Entry]:
    """Entries from the cache, in the order of their ids, under the names that the sample sheet has for them."""
    for id in sorted(ids, key=lambda i: (len(i), i)):
        entry = _entry(id, cache.document(id), version, gnome)
        name = id if given is None else given[id]
        yield Entry(name, entry.structure, entry.source, entry.problem, entry.detail)
