"""The card of a backbone: that of its folder, and between marks how to open it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapterhub.families import FAMILIES
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.publishing.front_matter import CARD_NAME, Card, card_bytes, read_card, with_values
from adapterhub.publishing.hub_metadata import BACKBONE_TAG, LIBRARY, backbone_tag
from adapterhub.publishing.keeping import (
    Written,
    digest_of,
    digests,
    dump_record,
    read_record,
    strings,
)
from adapterhub.publishing.marks import blocks, put, without

_BLOCK = "backbone"
_TEXT = "(text)"
"""Key in the record for the text of the card that came from the folder."""
_KEYS = ("library_name", "pipeline_tag", "license", "language", "tags")


def is_marked(card: bytes | None, repo: str) -> bool:
    """Returns whether a card is of a backbone that adapterhub published.

    Raises:
        RemoteContentError: It cannot be read.
    """
    return _BLOCK in blocks(read_card(card, repo).body)


def write_backbone_card(before: bytes | None, backbone: Backbone, repo: str) -> bytes:
    """Returns the card of a repository.

    What people wrote or changed stays. What came from the folder of a backbone is replaced by that
    of the next one: the card records by digest what adapterhub wrote.

    Args:
        before: The current card, or None.
        backbone: The backbone.
        repo: `owner/name`.

    Raises:
        RemoteContentError: The current card, or that of the folder, cannot be read.
    """
    path = backbone.root / CARD_NAME
    own = read_card(path.read_bytes() if path.is_file() else None, str(path))
    card = own if before is None else read_card(before, repo)
    written = read_record(card.record) if before is not None else digests(own.values)
    values = _values(own, backbone)
    card, record = _with_values(card, values, written or {})
    text = own.body.strip() or f"# {repo.partition('/')[2]}"
    around = _words(without(card.body, [_BLOCK]))
    if before is None or not around or digest_of(around) == record.get(_TEXT):
        card = replace(card, body=text)
        record[_TEXT] = digest_of(_words(without(text, [_BLOCK])))
    body = put(card.body.strip(), _BLOCK, _section(backbone, repo))
    return card_bytes(replace(card, body=body, record=dump_record(record)))


def _values(own: Card, backbone: Backbone) -> dict[str, Any]:
    """Returns the front matter of a backbone: of the card in its folder, else the usual."""
    has_vectors = backbone.sentence is not None
    known = strings(own.values.get("tags"))
    known = [tag for tag in known if not str(tag).startswith(BACKBONE_TAG)]
    more = [tag for tag in (backbone.spec.family, LIBRARY) if tag not in known]
    return {
        "library_name": "sentence-transformers" if has_vectors else "transformers",
        "pipeline_tag": "sentence-similarity" if has_vectors else "feature-extraction",
        **own.values,
        "tags": [*known, *more, backbone_tag(backbone.spec.fingerprint)],
    }


def _with_values(
    card: Card, ours: Mapping[str, Any], written: Written
) -> tuple[Card, dict[str, str | Sequence[str]]]:
    """Returns a card with our front matter, and the record of what is ours in it."""
    record, changes = dict(written), {}
    for key in {**ours, **written}:
        if key in ("tags", _TEXT):
            continue
        value, last = ours.get(key), written.get(key)
        is_ours = key in card.values and digest_of(card.values[key]) == last
        if is_ours or (key not in card.values and last is None):
            changes[key] = value
            record.pop(key, None)
            if value is not None:
                record[key] = digest_of(value)
    known = set(written.get("tags", ()))
    theirs = strings(card.values.get("tags"))
    tags = [tag for tag in theirs if tag in ours["tags"] or digest_of(tag) not in known]
    tags += [tag for tag in ours["tags"] if tag not in theirs and digest_of(tag) not in known]
    record["tags"] = digest_of(ours["tags"])
    if tags != theirs:
        changes["tags"] = tags
    return with_values(card, changes, _KEYS), record


def _words(text: str) -> str:
    return " ".join(text.split())


def _section(backbone: Backbone, repo: str) -> str:
    spec, title = backbone.spec, FAMILIES[backbone.spec.family].title
    parameters = sum(weight.numel() for weight in backbone.weights.values())
    return f"""\
A backbone for `adapterhub`: many small tasks, heads and adapters, are trained on its hidden states
while it stays frozen, and share one forward pass. Its class is `{title}Model`.

| depths | hidden size | parameters of the encoder |
| ---: | ---: | ---: |
| {spec.num_hidden_layers} | {spec.hidden_size} | {parameters:,} |

```python
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repo}")
model = AutoModel.from_pretrained("{repo}", dtype="float32")
```

```sh
adapterhub train rows.jsonl --task spam --backbone {repo}
```

A task belongs to one backbone by its fingerprint, a sha256 over weights, settings and tokenizer:
`{spec.fingerprint}`."""
