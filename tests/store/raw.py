"""Head files that the library would never write, put together by hand."""

from __future__ import annotations

import json
from typing import Any

from adapterhub.specs import TaskSpec
from adapterhub.store.headfile import encode_head
from tests.builders import head_tensors, task_spec


def raw_file(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def header_and_data(file: bytes) -> tuple[dict[str, Any], bytes]:
    end = 8 + int.from_bytes(file[:8], "little")
    return json.loads(file[8:end]), file[end:]


def with_header(file: bytes, **changes: Any) -> bytes:
    """Returns `file` with entries of its header changed, or removed where None."""
    header, data = header_and_data(file)
    header = {name: entry for name, entry in {**header, **changes}.items() if entry is not None}
    return raw_file(json.dumps(header).encode(), data)


def with_spec(file: bytes, **changes: Any) -> bytes:
    """Returns `file` with fields of the spec in its header changed."""
    header, data = header_and_data(file)
    spec = {**json.loads(header["__metadata__"]["adapterhub"]), **changes}
    header["__metadata__"]["adapterhub"] = json.dumps(spec)
    return raw_file(json.dumps(header).encode(), data)


def good_file(spec: TaskSpec | None = None) -> bytes:
    spec = spec or task_spec()
    return encode_head(spec, head_tensors(spec))
