"""The card of a backbone: that of its folder, and between marks how to open it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapterhub.families import FAMILIES
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.publishing.front_matter import CARD_NAME, Card, card_bytes, read_card, with_values
from adapterhub.publishing.hub_metadata import BACKBONE_TAG, LIBRARY, backbone_tag
from adapterhub.publishing.keeping import strings
from adapterhub.publishing.marks import blocks, put

_BLOCK = "backbone"
_KEYS = ("library_name", "pipeline_tag", "license", "language", "tags")


def is_marked(card: bytes | None, repo: str) -> bool:
    """Returns whether a card is of a backbone that adapterhub published.

    Raises:
        RemoteContentError: It cannot be read.
    """
    return _BLOCK in blocks(read_card(card, repo).body)


def write_backbone_card(before: bytes | None, backbone: Backbone, repo: str) -> bytes:
    """Returns the card of a repository.

    What people wrote stays. A card that has no section of ours yet gets what it lacks from the one
    in the folder of the backbone.

    Args:
        before: The current card, or None.
        backbone: The backbone.
        repo: `owner/name`.

    Raises:
        RemoteContentError: The current card, or that of the folder, cannot be read.
    """
    card = read_card(before, repo)
    if _BLOCK not in blocks(card.body):
        path = backbone.root / CARD_NAME
        own = read_card(path.read_bytes() if path.is_file() else None, str(path))
        card = _completed(card if before is not None else own, own, backbone)
        body = card.body if card.body.strip() else own.body
        card = replace(card, body=body.strip() or f"# {repo.partition('/')[2]}")
    card = _with_fingerprint(card, backbone)
    body = put(card.body.strip(), _BLOCK, _section(backbone, repo))
    return card_bytes(replace(card, body=body))


def _completed(card: Card, own: Card, backbone: Backbone) -> Card:
    """Returns a card with the keys that it lacks: those of the folder's card, else the usual."""
    has_vectors = backbone.sentence is not None
    usual: dict[str, Any] = {
        "library_name": "sentence-transformers" if has_vectors else "transformers",
        "pipeline_tag": "sentence-similarity" if has_vectors else "feature-extraction",
        **own.values,
    }
    missing = {key: value for key, value in usual.items() if key not in card.values}
    known = strings(card.values.get("tags") or own.values.get("tags"))
    more = [tag for tag in (backbone.spec.family, LIBRARY) if tag not in known]
    return with_values(card, {**missing, "tags": [*known, *more]}, _KEYS)


def _with_fingerprint(card: Card, backbone: Backbone) -> Card:
    """Returns a card with the tag under which tasks on this backbone are found."""
    tags = strings(card.values.get("tags"))
    tags = [tag for tag in tags if not str(tag).startswith(BACKBONE_TAG)]
    tags.append(backbone_tag(backbone.spec.fingerprint))
    return card if tags == card.values.get("tags") else with_values(card, {"tags": tags}, _KEYS)


def _section(backbone: Backbone, repo: str) -> str:
    spec = backbone.spec
    parameters = sum(weight.numel() for weight in backbone.weights.values())
    return f"""\
A backbone for `adapterhub`: many small tasks, heads and adapters, are trained on its hidden states
while it stays frozen, and share one forward pass. It is an `{FAMILIES[spec.family].title}Model`.

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
