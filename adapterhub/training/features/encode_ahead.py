"""Texts of several tasks -> the cache, encoded in one run as far as they are read alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from adapterhub.plan import Reading
from adapterhub.training.features.encoding import FeatureSource, Layout, encode_missing
from adapterhub.training.features.shards import drop_oldest, open_shards, text_key

Inputs = tuple[str, ...]


def encode_ahead(wanted: Mapping[Layout, Iterable[Inputs]], source: FeatureSource) -> None:
    """Encodes all texts that are not cached, so that `read_features` finds them.

    A text that several layouts of one reading need is encoded once for all of them.

    Args:
        wanted: Texts by what is cached of them: pooled features or words.
        source: Encoder and cache.

    Raises:
        UsageError: The cache cannot be written.
    """
    lacking: dict[tuple[Reading, int], dict[bytes, list[Layout]]]
    lacking = defaultdict(lambda: defaultdict(list))
    texts: dict[bytes, Inputs] = {}
    for layout, inputs in wanted.items():
        shards = open_shards(source.folder / layout.folder)
        known = {key for shard in shards for key in shard.keys}
        missing = {key: row for row in inputs if (key := text_key(row)) not in known}
        texts |= missing
        for key in missing:
            lacking[layout.reading, layout.max_windows][key].append(layout)
    for missing_of in lacking.values():
        groups: dict[tuple[Layout, ...], dict[bytes, Inputs]] = defaultdict(dict)
        for key, layouts in missing_of.items():
            groups[tuple(layouts)][key] = texts[key]
        for alike, missing in groups.items():
            for _ in encode_missing(missing, alike, source):
                pass
    drop_oldest(source.cache, source.max_bytes)
