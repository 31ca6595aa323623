"""The reason that a response gives for a refusal, in one line and without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_MOST_LETTERS = 500
_URL = re.compile(r"(https?://)([^\s'\"<>]+)")
_TOKEN = re.compile(r"\b(?:hf|api)_[A-Za-z0-9]{8,}")
_XML = re.compile(r"<Message>([^<]+)</Message>")
_HIDDEN = "hf_…"


def reason_of(headers: Mapping[str, str], body: bytes) -> str:
    """Returns why a request was refused, in the words of the server; empty if it does not say.

    Args:
        headers: Of the response, with any case of letters.
        body: Of the response: JSON of the Hub, XML of a storage, a line of text.
    """
    said = [headers.get("X-Error-Message") or ""]
    text = body.decode("utf-8", "replace").strip()
    try:
        said += _of_json(json.loads(text))
    except ValueError:
        kind = (headers.get("Content-Type") or "").lower()
        if found := _XML.search(text):
            said.append(found[1])
        elif text and "html" not in kind and not text.startswith("<"):
            said.append(text)
    return "; ".join(dict.fromkeys(one.strip() for one in said if one.strip()))


def shown(text: str, token: str | bool | None = None) -> str:
    """Returns text for a message: on one line, without tokens and without signed addresses."""
    if isinstance(token, str) and token:
        text = text.replace(token, _HIDDEN)
    text = _URL.sub(_without_signature, _TOKEN.sub(_HIDDEN, text))
    text = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def is_secret(text: str, token: str | None) -> bool:
    """Returns whether text has a token or a signed address in it."""
    if token and token in text:
        return True
    return any(_without_signature(found) != found[0] for found in _URL.finditer(text))


def _without_signature(found: re.Match[str]) -> str:
    address, host = found[2], re.split(r"[/?#]", found[2].rpartition("@")[2])[0]
    is_signed = "?" in address or "@" in address.partition("/")[0] or "signature" in address.lower()
    return f"{found[1]}{host}/…" if is_signed else found[0]


def _of_json(value: object) -> list[str]:
    if not isinstance(value, dict):
        return []
    found = [value.get("error"), value.get("error_description"), value.get("message")]
    parts = value.get("errors")
    found += parts if isinstance(parts, list) else []
    texts: list[str] = []
    for one in found:
        if isinstance(one, list):
            texts += [part for part in one if isinstance(part, str)]
        elif isinstance(one, dict):
            texts.append(str(one.get("message", "")))
        elif isinstance(one, str):
            texts.append(one)
    return texts
