"""The card of a backbone: that of its folder, and between marks how to open it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapterhub.errors import RegistryError
from adapterhub.families import FAMILIES
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.publishing.hub_metadata import render_front_matter
from adapterhub.store.yamlsafe import read_yaml

_START = "<!-- adapterhub:backbone (written by adapterhub; text outside of these marks is kept) -->"
_END = "<!-- /adapterhub:backbone -->"
_MARKED = re.compile(rf"<!-- adapterhub:backbone [^\n]*-->.*?{_END}", re.DOTALL)
_FRONT = re.compile(r"\A---\r?\n(.*?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"\s*#[^\n]*\n")


def is_marked(card: bytes | None) -> bool:
    """Returns whether a card is of a backbone that adapterhub published."""
    return card is not None and _MARKED.search(card.decode("utf-8", "replace")) is not None


def write_backbone_card(before: bytes | None, backbone: Backbone, repo: str) -> bytes:
    """Returns the card of a repository; all but the text between the marks is kept.

    Args:
        before: The current card; None takes the one in the folder of the backbone.
        backbone: The backbone.
        repo: `owner/name`.
    """
    if before is not None:
        return _with_section(before.decode("utf-8-sig"), backbone, repo).encode()
    path = backbone.root / "README.md"
    text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    front = _FRONT.match(text)
    body = text[front.end() :] if front else text
    values = _values((front[1] or "") if front else "", path)
    return (
        render_front_matter(_completed(values, backbone))
        + _with_section(body.strip() or f"# {repo.partition('/')[2]}", backbone, repo)
    ).encode()


def _values(front: str, path: Path) -> dict[str, Any]:
    try:
        value = read_yaml(front.encode(), path).value
    except RegistryError:
        # Somebody else's card, whose front matter is no plain YAML; the text below is kept.
        return {}
    return {str(key): one for key, one in value.items()} if isinstance(value, dict) else {}


def _completed(values: Mapping[str, Any], backbone: Backbone) -> dict[str, Any]:
    """Returns front matter with what the folder's own does not say."""
    has_vectors = backbone.sentence is not None
    usual = {
        "library_name": "sentence-transformers" if has_vectors else "transformers",
        "pipeline_tag": "sentence-similarity" if has_vectors else "feature-extraction",
    }
    tags = values.get("tags")
    known = [tags] if isinstance(tags, str) else tags if isinstance(tags, list) else []
    digest = backbone.spec.fingerprint.removeprefix("sha256:")
    own = [backbone.spec.family, "adapterhub", f"adapterhub-backbone:{digest[:16]}"]
    return {**usual, **values, "tags": list(dict.fromkeys([*known, *own]))}


def _with_section(text: str, backbone: Backbone, repo: str) -> str:
    block = f"{_START}\n\n{_section(backbone, repo)}\n\n{_END}"
    if _MARKED.search(text):
        return _MARKED.sub(lambda _: block, text, count=1)
    front = _FRONT.match(text)
    start = front.end() if front else 0
    title = _TITLE.match(text, start)
    cut = title.end() if title else start
    return f"{text[:cut].rstrip()}\n\n{block}\n\n{text[cut:].strip()}".strip() + "\n"


def _section(backbone: Backbone, repo: str) -> str:
    spec = backbone.spec
    parameters = sum(weight.numel() for weight in backbone.weights.values())
    return f"""A frozen {FAMILIES[spec.family].title} for `adapterhub`: small tasks (heads and \
adapters) are trained on its hidden states and
share one forward pass. Depths: {spec.num_hidden_layers}. Hidden size: {spec.hidden_size}. \
Parameters of the encoder: {parameters:,}.

```python
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repo}")
model = AutoModel.from_pretrained("{repo}", dtype="float32")
```

```sh
adapterhub train rows.jsonl --task spam --backbone {repo}
adapterhub publish spam --to OWNER/REPO
```

Tasks belong to this backbone by its fingerprint, a sha256 over weights, settings and tokenizer:
`{spec.fingerprint}`."""
