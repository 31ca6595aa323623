"""A page of sections, each of which can be rewritten without the others."""

from __future__ import annotations

from pathlib import Path

from adapterhub.specs import BackboneSpec
from adapterhub.store.atomic import write_atomic


def write_section(path: Path, name: str, text: str) -> None:
    """Replaces what stands between the marks of `name`, or adds it at the end of the page."""
    start, end = f"<!-- quality:{name} -->", f"<!-- /quality:{name} -->"
    block = f"{start}\n\n{text.strip()}\n\n{end}"
    page = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, mark, rest = page.partition(start)
    _, other, after = rest.partition(end)
    if mark and other:
        whole = f"{before}{block}{after}"
    else:
        whole = f"{page.rstrip()}\n\n{block}\n".lstrip()
    write_atomic(path, whole.encode(), replace=True)


def described_backbone(backbone: BackboneSpec) -> str:
    """Returns name, fingerprint and shape of a backbone in words."""
    return (
        f"`{backbone.name}` ({backbone.fingerprint[:19]}…), {backbone.num_hidden_layers} depths of "
        f"width {backbone.hidden_size}"
    )
