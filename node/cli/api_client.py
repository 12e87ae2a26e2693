"""Asks a running peer over HTTP on this machine, with the standard library alone."""

import http.client
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from node.common.address import Address
from node.common.errors import EXIT_GOAL_NOT_MET, NodeError, NotRunningError
from node.storage.api_address import API_FILE_NAME, PEER_HEADER, read_api_file

ANSWER_SECONDS_MAX = 40.0
"""The node itself gives up on its learner after 30 s."""

ANSWER_BYTES_MAX = 4_400_000_000
"""A model of the most parameters allowed, with its header."""


def fetch_from_folder(folder: Path, path: str) -> bytes:
    """The answer of the peer that runs in this folder. Raises NotRunningError, NodeError as `fetch` does."""
    found = read_api_file(folder)
    return fetch(found.address, path, found.peer_id)


def fetch(api: Address, path: str, peer_id: str | None = None) -> bytes:
    """The answer to GET. Raises NotRunningError when nobody answers, NodeError when the answer is a refusal or cut short.

    With a `peer_id`, an answer of anybody else is nobody's.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # our own machine is never behind a proxy
    try:
        with opener.open(f"http://{api}{path}", timeout=ANSWER_SECONDS_MAX) as response:
            _check_who(response, api, peer_id)
            return _whole(response, api)
    except urllib.error.HTTPError as error:
        with error:
            detail = error.read(1_000).decode("utf-8", "replace").strip()
        raise _refusal(error.code, detail, api, path) from error
    except OSError as error:  # URLError is one, too
        raise NotRunningError(f"no peer answers at {api}: {_reason(error)}", "start the peer, or check the address") from error
    except http.client.HTTPException as error:
        raise NodeError(f"what answers at {api} is no peer's API: {error!r}", "check the address") from error


def _refusal(code: int, detail: str, api: Address, path: str) -> NodeError:
    if code == HTTPStatus.SERVICE_UNAVAILABLE:
        return NodeError(f"the peer at {api} refuses {path}: {code} {detail}", "try again in a moment", EXIT_GOAL_NOT_MET)
    message = f"what answers at {api} is no peer's API: {code} {detail}"
    return NodeError(
        message, f"name the peer's folder, --data-dir DIR, or the address in its {API_FILE_NAME}", EXIT_GOAL_NOT_MET
    )


def _check_who(response: http.client.HTTPResponse, api: Address, peer_id: str | None) -> None:
    found = response.headers.get(PEER_HEADER, "")
    if peer_id not in (None, found):
        who = f"peer {found[:8]}" if found else "no peer"
        message = f"peer {peer_id[:8]} was killed: {who} answers at {api}, where it listened"
        raise NotRunningError(message, "start the peer again")


def _reason(error: OSError) -> str:
    """In words; urllib wraps the system's error."""
    inner = error.reason if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError) else error
    return (inner.strerror or str(inner)).lower()


def _whole(response: http.client.HTTPResponse, api: Address) -> bytes:
    content = response.read(ANSWER_BYTES_MAX)
    promised = int(response.headers.get("Content-Length") or len(content))
    if len(content) != promised:
        raise NodeError(f"the peer at {api} stopped in mid-answer: {len(content)} of {promised} bytes came", "try again")
    return content
