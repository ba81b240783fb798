"""Any database that speaks OPTIMADE (some 30 do), by its alias or its address, with a filter.

The protocol is that of C. W. Andersen et al., Sci. Data 8, 217 (2021), version 1. Every page is kept as it arrives: an
interrupted run goes on at the next one.
"""

import datetime
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pymatgen.core import Composition, DummySpecies, Structure
from pymatgen.ext.optimade import OptimadeRester
from tqdm import tqdm

from fourdcrystal import downloads
from fourdcrystal.crystal_settings import Optimade
from fourdcrystal.crystals import safe_id
from fourdcrystal.downloads import Downloads
from fourdcrystal.errors import InputError
from fourdcrystal.polite import Session
from fourdcrystal.sources import MISSING, PARTIAL_OCCUPANCY, UNREADABLE, Entry, ordered, origin

IDS = 40  # ids in one filter: addresses longer than some thousand characters are refused
FIELDS = "lattice_vectors,cartesian_site_positions,species,species_at_sites,dimension_types"


def base_url(provider: str) -> str:
    """Address of a provider, without the version.

    Raises:
        InputError: for an alias that nobody knows.
    """
    aliases = OptimadeRester.aliases
    if provider.startswith(("http://", "https://")):
        return provider.rstrip("/").removesuffix("/v1")
    if provider in aliases:
        return aliases[provider].rstrip("/")
    close = difflib.get_close_matches(provider, aliases, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(sorted(aliases))}"
    raise InputError(f"crystals.optimade.provider: '{provider}' is neither a known alias nor an address; {hint}")


class Provider:
    """One OPTIMADE database.

    Attributes:
        url: Its address, without the protocol's version.
        name: Its alias, or the name of its server.
        licence: As the server says.
        version: The database's version; most don't tell one, then the day on which it was asked.
    """

    def __init__(self, provider: str) -> None:
        self.url = base_url(provider)
        self.name = provider if "://" not in provider else str(urlsplit(provider).hostname)
        self._session = Session("crystals.optimade")
        about = self._ask(f"{self.url}/v1/info")
        attributes = (about.get("data") or {}).get("attributes") or {}
        if "api_version" not in attributes:
            raise InputError(
                f"crystals.optimade.provider: {self.url} is no OPTIMADE server (no api_version in /v1/info)"
            )
        if attributes.get("is_index"):
            raise InputError(
                f"crystals.optimade.provider: {self.url} is an index; name one of the databases that it lists"
            )
        meta = about.get("meta") or {}
        self.licence = _licence(attributes, meta)
        stated = (meta.get("database") or {}).get("version")
        self.version = str(stated) if stated else f"as of {datetime.datetime.now(datetime.UTC).date()}"

    def _ask(self, url: str, **parameters: str) -> dict[str, Any]:
        response = self._session.get(url, params=parameters)
        try:
            content = response.json()
        except (ValueError, RecursionError):
            content = {}
        if response.status_code == 200 and isinstance(content, dict) and content:
            return content
        errors = content.get("errors") if isinstance(content, dict) else None
        said = str((errors or [{}])[0].get("detail") or f"status {response.status_code}").splitlines()[0]
        setting = "filter" if response.status_code in (400, 422) and "filter" in parameters else "provider"
        raise InputError(f"crystals.optimade.{setting}: {url} can't answer ({said[:200]})")

    def page(self, criteria: str, following: str) -> tuple[list[dict[str, Any]], str | None]:
        """One page of entries that meet a filter, of the server's own size: it may refuse larger ones.

        Args:
            criteria: The filter; empty: everything.
            following: Address of the page, as the one before it said; empty: the first page.

        Returns:
            Entries, and the address of the next page, None after the last.
        """
        if following:
            content = self._ask(following)
        else:
            parameters = {"response_fields": FIELDS} | ({"filter": criteria} if criteria else {})
            content = self._ask(f"{self.url}/v1/structures", **parameters)
        found = content.get("data") or []
        if not isinstance(found, list) or not all(isinstance(one, dict) and "id" in one for one in found):
            raise InputError(f"crystals.optimade.provider: {self.url} sends what is no list of structures")
        link = (content.get("links") or {}).get("next")
        link = link.get("href") if isinstance(link, dict) else link
        link = link if isinstance(link, str) else None
        return found, (link or None) if found else None


def _licence(attributes: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """What the server says about its licence, in whichever of the places that the standard allows."""
    for where in (attributes, meta):
        for key in ("available_licenses_for_entries", "available_licenses", "license"):
            if said := where.get(key):
                said = said.get("href") if isinstance(said, dict) else said
                return ", ".join(said) if isinstance(said, list) else str(said)
    return "unspecified"


def _structure(attributes: Mapping[str, Any]) -> Structure:
    """The crystal that an entry's attributes describe.

    Raises:
        KeyError, ValueError, TypeError: if they don't describe one.
    """
    compositions = {}
    for species in attributes["species"]:
        parts: dict[Any, float] = {}
        for symbol, share in zip(species["chemical_symbols"], species["concentration"], strict=True):
            if symbol == "vacancy":
                continue  # what is missing to 1 makes the site a partly empty one
            parts[DummySpecies("X") if symbol == "X" else symbol] = share
        compositions[species["name"]] = Composition(parts)
    return Structure(
        attributes["lattice_vectors"],
        [compositions[name] for name in attributes["species_at_sites"]],
        attributes["cartesian_site_positions"],
        coords_are_cartesian=True,
    )


def _entry(document: Mapping[str, Any], provider: Provider, name: str | None) -> Entry:
    id = str(document["id"])
    own = id if id.startswith(provider.name) else f"{provider.name}-{id}"
    identity = name or safe_id(own)
    citation = f"{provider.url}/v1/structures/{id}"
    source = origin(f"OPTIMADE {provider.name}", id, provider.version, provider.licence, citation)
    attributes = document.get("attributes") or {}
    try:
        if (attributes.get("dimension_types") or [1, 1, 1]) != [1, 1, 1]:
            return Entry(identity, None, source, UNREADABLE, f"{id} is not periodic in three dimensions")
        structure, problem = ordered(_structure(attributes))
    except (KeyError, ValueError, TypeError) as error:
        return Entry(identity, None, source, UNREADABLE, f"{id} describes no crystal ({error})")
    return Entry(
        identity, structure, source, problem, f"{id} has partial occupancy" if problem == PARTIAL_OCCUPANCY else ""
    )


def _listed(provider: Provider, cache: Downloads, options: Optimade) -> list[str]:
    """Ids of the entries that meet the filter, at most as many as are wanted; their pages are in the cache then."""
    listing = cache.listing(options.filter)
    with tqdm(total=options.max_structures, initial=len(listing.ids), desc=provider.name, unit="crystal") as bar:
        while listing.following is not None and len(listing.ids) < options.max_structures:
            found, following = provider.page(options.filter, listing.following)
            documents = {str(document["id"]): document for document in found}
            cache.add_page(options.filter, listing.pages, list(documents), following, documents)
            listing = cache.listing(options.filter)
            bar.update(len(documents))
    return listing.ids[: options.max_structures]


def _fetch(provider: Provider, cache: Downloads, ids: Sequence[str]) -> None:
    """Fetch entries by their ids, in batches; each is kept as soon as it is here."""
    for start in tqdm(range(0, len(ids), IDS), desc=provider.name, unit="batch"):
        batch = ids[start : start + IDS]
        criteria = " OR ".join(f'id="{id}"' for id in batch)
        documents: dict[str, dict[str, Any] | None] = dict.fromkeys(batch)
        following: str | None = ""
        for _ in batch:  # a page has one of them at least, or is the last
            if following is None:
                break
            found, following = provider.page(criteria, following)
            documents |= {id: document for document in found if (id := str(document["id"])) in documents}
        cache.add(documents)


def entries(options: Optimade, only: Mapping[str, str] | None = None) -> Iterator[Entry]:
    """Crystals of an OPTIMADE database.

    Args:
        options: Provider, filter, the largest number of structures, and cache.
        only: Crystals of a sample sheet, ids by what the database calls them; none: those that meet the filter.

    Raises:
        InputError: for an unknown alias, a refused filter, a server that can't be reached or is none of OPTIMADE's, or
            a cache that can't be written. What was fetched before is kept.
    """
    if not options.provider:
        raise InputError(f"crystals.optimade.provider: is empty; known are {', '.join(sorted(OptimadeRester.aliases))}")
    provider = Provider(options.provider)
    names = None if only is None else {source_id: id for id, source_id in only.items()}
    kept = downloads.path(options.cache, provider.url, provider.version)
    with Downloads(kept, "crystals.optimade.cache") as cache:
        if names is None:
            ids = _listed(provider, cache, options)
        else:
            ids = sorted(names)
            _fetch(provider, cache, cache.absent(ids))
        for id in ids:
            document, name = cache.document(id), None if names is None else names[id]
            if document is None:
                source = origin(f"OPTIMADE {provider.name}", id, provider.version, provider.licence)
                yield Entry(name or safe_id(id), None, source, MISSING, f"{id} is not in {provider.name}")
            else:
                yield _entry(document, provider, name)
