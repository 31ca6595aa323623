"""Files that options name: mentions by entity type, descriptions of labels, and trees of them."""

from __future__ import annotations

from pathlib import Path

from adapterhub.errors import DataError, RegistryError
from adapterhub.store.atomic import reason
from adapterhub.store.jsonsafe import read_json_object, shown
from adapterhub.store.yamlsafe import read_yaml


def read_mentions(path: Path | str) -> dict[str, tuple[str, ...]]:
    """Returns the mentions of a JSON file: an object of lists of texts by entity type.

    Raises:
        DataError: It cannot be read, or holds something else.
    """
    try:
        content = read_json_object(Path(path).read_bytes())
    except OSError as error:
        raise DataError(path, f"it cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise DataError(path, f"it is not JSON of mentions by entity type: {error}") from error
    for entity, texts in content.items():
        if not isinstance(texts, list) or not all(isinstance(one, str) and one for one in texts):
            raise DataError(path, f'{shown(entity)} is not a list of texts, such as ["Oslo"]')
    return {entity: tuple(texts) for entity, texts in content.items() if isinstance(texts, list)}


def read_parents(path: Path | str) -> dict[str, str | None]:
    """Returns the label above each label of a YAML or JSON file, None for roots.

    Raises:
        DataError: It cannot be read, or holds something else.
    """
    path = Path(path)
    try:
        content = read_yaml(path.read_bytes(), path).value
    except OSError as error:
        raise DataError(path, f"it cannot be read: {reason(error)}") from error
    except RegistryError as error:
        raise DataError(path, error.problem, error.line) from error
    if not isinstance(content, dict) or not content:
        raise DataError(path, "it is no mapping of labels to the label above, `card.lost: card`")
    parents: dict[str, str | None] = {}
    for label, above in content.items():
        if isinstance(above, bool | float | list | dict):
            raise DataError(
                path,
                f"above {shown(label)} stands {shown(above)}; write a label, in quotes if it "
                f"is a number or a word of YAML, or null for a root",
            )
        parents[str(label)] = None if above is None else str(above)
    return parents


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
