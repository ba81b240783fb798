"""Requests to other people's servers: patient with their faults, and never more often than they ask for."""

import random
import time
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from fourdcrystal import __version__
from fourdcrystal.errors import InputError

ATTEMPTS = 8  # at 30 % faults, one request in 15,000 fails all of them
FIRST_ATTEMPTS = 3  # as long as the server has never answered: it is dead or its address is wrong
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # s; doubled after each failure, with jitter
LONGEST_PAUSE = 900.0  # s; the longest that a server may ask for
TIMEOUT = (10.0, 120.0)  # s, to connect and to read
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # status codes of faults that may pass


class Session(requests.Session):
    """A session that tries again after faults that may pass, with growing waits, as the server's Retry-After asks.

    Faults are status 429 and 5xx, time-outs, broken connections and JSON that is cut off.
    """

    def __init__(self, setting: str) -> None:
        """``setting`` names the source in messages, such as ``crystals.mp``."""
        super().__init__()
        self.setting = setting
        self.headers["user-agent"] = f"4D-Crystal/{__version__} python-requests/{requests.__version__}"
        self.answered = False

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send a request until it succeeds or fails for good.

        Raises:
            InputError: after the last attempt; what has been stored before stays.
        """
        options["timeout"] = TIMEOUT
        attempt = 0
        while True:
            attempt += 1
            pause = 0.0
            try:
                response = super().request(method, url, **options)
            except requests.RequestException as error:
                if not isinstance(
                    error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError
                ):
                    raise InputError(
                        f"{self.setting}: {_place(url)} can't be asked ({type(error).__name__})"
                    ) from error
                said = "did not answer in time" if isinstance(error, requests.Timeout) else "can't be reached"
            else:
                self.answered = True
                if response.status_code not in _PASSING:
                    if _complete(response):
                        return response
                    said = "sent JSON that is cut off"
                else:
                    said = f"answered with status {response.status_code}"
                    pause = _retry_after(response)
            attempts = ATTEMPTS if self.answered else FIRST_ATTEMPTS
            if attempt >= attempts or pause > LONGEST_PAUSE:
                asked = f" and asks to wait {pause:.0f} s" if pause > LONGEST_PAUSE else f" {attempt} times"
                raise InputError(
                    f"{self.setting}: {_place(url)} {said}{asked}; what was fetched is kept, run again to continue"
                )
            grown = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1))
            # at least what the server asked for; spread, so that many clients don't come back at the same moment
            time.sleep(max(pause, grown) * random.uniform(1.0, 1.25))

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Leave keys behind where an answer leads to another server, as requests does with its own header alone."""
        super().rebuild_auth(prepared_request, response)
        if self.should_strip_auth(response.request.url or "", prepared_request.url or ""):
            prepared_request.headers.pop("x-api-key", None)


def _place(url: str) -> str:
    """An address without its query, which can be thousands of characters long."""
    return url.split("?", maxsplit=1)[0]


def _complete(response: requests.Response) -> bool:
    if response.status_code != 200 or "json" not in response.headers.get("content-type", ""):
        return True
    try:
        response.json()
    except ValueError:
        return False
    except RecursionError:
        return True  # brackets in brackets in brackets: as long as it should be, and of no use
    return True


def _retry_after(response: requests.Response) -> float:
    """Seconds that the server asks to wait; 0 where it doesn't say."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return 0.0
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0
