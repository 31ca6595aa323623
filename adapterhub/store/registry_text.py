"""How the registry looks as text: flat, sorted by name, one line for each value."""

from __future__ import annotations

import yaml

from adapterhub.store.entries import RegistryContent, TaskEntry, VersionRecord

_COMMENT = (
    "# adapterhub registry: written by `adapterhub`, which keeps values but no comments. "
    "Format: docs/head-file.md\n"
)


class _Line(list[object]):
    """A list that is written on one line."""


class _LineMap(dict[object, object]):
    """A mapping that is written on one line."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes what any YAML reader would take for something else than text."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML names it
        return True


_Dumper.add_representer(
    _Line,
    lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True),
)
_Dumper.add_representer(
    _LineMap,
    lambda dumper, data: dumper.represent_mapping(
        "tag:yaml.org,2002:map", data.items(), flow_style=True
    ),
)


def render_registry(content: RegistryContent) -> bytes:
    """Returns registry.yaml as UTF-8; equal content gives equal bytes."""
    plain = {
        "schema": content.version,
        "backbones": {
            key: {"source": b.source, "revision": b.revision, "fingerprint": b.fingerprint}
            for key, b in sorted(content.backbones.items())
        },
        "tasks": {name: _plain_task(entry) for name, entry in sorted(content.tasks.items())},
    }
    text = yaml.dump(
        plain,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=1_000_000,
    )
    return (_COMMENT + text).encode()


def _plain_task(entry: TaskEntry) -> dict[str, object]:
    plain: dict[str, object] = {
        "kind": entry.kind,
        "backbone": entry.backbone,
        "description": entry.description,
        "languages": _Line(entry.languages),
        "license": entry.license,
        "aliases": _LineMap(sorted(entry.aliases.items())),
        "versions": {
            version: _plain_record(record) for version, record in sorted(entry.versions.items())
        },
    }
    return {key: value for key, value in plain.items() if value not in ("", None, [], {})}


def _plain_record(record: VersionRecord) -> dict[str, object]:
    plain: dict[str, object] = {
        "file": record.file,
        "size": record.size,
        "sha256": record.sha256,
        "depths": _Line(record.depths),
        "pooling": record.pooling,
        "metrics": _LineMap(record.metrics),
        "data_digest": record.data_digest,
        "seed": record.seed,
        "origin": _LineMap(record.origin.model_dump(exclude_defaults=True))
        if record.origin
        else None,
    }
    return {key: value for key, value in plain.items() if value is not None and value != {}}
