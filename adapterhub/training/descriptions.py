"""Descriptions of labels, read from a file."""

from __future__ import annotations

from pathlib import Path

from adapterhub.errors import DataError, RegistryError
from adapterhub.store.atomic import reason
from adapterhub.store.jsonsafe import shown
from adapterhub.store.yamlsafe import read_yaml


def read_descriptions(path: Path | str) -> dict[str, str]:
    """Returns the descriptions of a YAML or JSON file: one sentence by label.

    Raises:
        DataError: It cannot be read, or holds something else.
    """
    try:
        content = read_yaml(Path(path).read_bytes(), Path(path)).value
    except OSError as error:
        raise DataError(path, f"it cannot be read: {reason(error)}") from error
    except RegistryError as error:
        problem = f"it is no YAML or JSON of sentences by label: {error.problem}"
        raise DataError(path, problem, error.line) from error
    if not isinstance(content, dict) or not content:
        raise DataError(path, "it holds no sentences by label; write a line `label: sentence` each")
    sentences: dict[str, str] = {}
    for label, sentence in content.items():
        if not isinstance(sentence, str):
            problem = f"the description of '{label}' is {shown(sentence)}, not a sentence"
            raise DataError(path, f"{problem}; write it in quotes")
        sentences[str(label)] = sentence
    return sentences
