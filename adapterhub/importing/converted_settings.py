"""What a converted folder has beside its weights: config, fitting tokenizer, documents."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from adapterhub.errors import BackboneError
from adapterhub.families import FAMILIES, FamilyName
from adapterhub.importing.convert_checks import config_name
from adapterhub.importing.pickled_folder import own_file, read_json
from adapterhub.model.backbone.config import CONFIG_FILE
from adapterhub.model.tokenizers.described import is_cased
from adapterhub.model.tokenizers.tokenizer_files import (
    CLASS_OF_FILE,
    TOKENIZER_FILE,
    TOKENIZER_FILES,
)
from adapterhub.store.atomic import open_regular

TOKENIZER_CONFIG = "tokenizer_config.json"
_FILE_OF_CLASS = {
    **{name: file for file, name in CLASS_OF_FILE.items() if file != TOKENIZER_FILE},
    "DistilBertTokenizer": "vocab.txt",
    "ElectraTokenizer": "vocab.txt",
}
_TITLES = {family.title: family.name for family in FAMILIES.values()}
_ARCHITECTURE = re.compile(rf"({'|'.join(_TITLES)})(Model|For[A-Z]\w*)")
_TENSORS: tuple[tuple[str, FamilyName], ...] = (
    (r"(albert\.)?encoder\.albert_layer_groups\.", "albert"),
    (r"(distilbert\.)?transformer\.layer\.\d+\.attention\.q_lin\.", "distilbert"),
    (r"electra\.|embeddings_project\.", "electra"),
    (r"roberta\.", "roberta"),
    (r"bert\.", "bert"),
)
"""Names of tensors that one family alone has; a plain `encoder.layer.` is of several."""
COPIED = (
    *TOKENIZER_FILES,
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "[0-9]*_*/config.json",
    "README*",
    "LICENSE*",
    "LICENCE*",
    "NOTICE*",
)
"""Patterns of what is copied as it is: tokenizer, sentence vectors, documents."""


def write_config(folder: Path, out: Path, tensors: Collection[str]) -> list[str]:
    """Writes the config of a folder, with the family where it says none.

    Args:
        folder: What is converted.
        out: Where to.
        tensors: Names of its tensors, which may be those of one family only.

    Returns:
        What was decided, one line each.

    Raises:
        BackboneError: It is missing or damaged, or nothing says of which family it is.
    """
    name = config_name(folder)
    values = read_json(folder, name)
    notes = [] if name == CONFIG_FILE else [f"{CONFIG_FILE} is {name}"]
    if values.get("model_type") is not None:
        shutil.copyfile(own_file(folder, name), out / CONFIG_FILE)
        return notes
    family, reason = _family(folder / name, values, tensors)
    text = json.dumps({**values, "model_type": family}, indent=2)
    (out / CONFIG_FILE).write_text(f"{text}\n", encoding="utf-8")
    return [*notes, f"{name} names no model_type; it is '{family}' by {reason}"]


def copy_files(folder: Path, out: Path) -> None:
    """Copies tokenizer, settings of sentence vectors and documents.

    Raises:
        BackboneError: One is no file of the folder.
        OSError: One cannot be written.
    """
    for pattern in COPIED:
        for path in sorted(folder.glob(pattern)):
            if path.is_dir():
                continue
            name = path.relative_to(folder)
            (out / name).parent.mkdir(exist_ok=True)
            with open_regular(own_file(folder, str(name))) as file, open(out / name, "xb") as copy:
                shutil.copyfileobj(file, copy)


def fit_tokenizer(out: Path) -> list[str]:
    """Names the tokenizer's class where the files say another one, or none; returns notes.

    An ALBERT with only a vocab.txt has a BertTokenizer; transformers 5 would silently load an
    AlbertTokenizer of 5 tokens.
    """
    has_config = (out / TOKENIZER_CONFIG).exists()
    settings = read_json(out, TOKENIZER_CONFIG) if has_config else {}
    named = settings.get("tokenizer_class") or read_json(out, CONFIG_FILE).get("tokenizer_class")
    file = next((name for name in CLASS_OF_FILE if (out / name).exists()), None)
    needed = _FILE_OF_CLASS.get(str(named).removesuffix("Fast"))
    has_needed = needed is not None and (out / needed).exists()
    if file in (None, TOKENIZER_FILE) or has_needed:
        return []
    if named is not None and needed is None:
        return []  # a class that the loader knows better, or refuses
    fitting = CLASS_OF_FILE[file]
    added: dict[str, object] = {"tokenizer_class": fitting}
    if file == "vocab.txt" and "do_lower_case" not in settings and is_cased(out):
        added["do_lower_case"] = False
    text = json.dumps({**settings, **added}, indent=2)
    (out / TOKENIZER_CONFIG).write_text(f"{text}\n", encoding="utf-8")
    cased = " and do_lower_case false" if "do_lower_case" in added else ""
    instead = "" if named is None else f" instead of {str(named)[:80]}, whose {needed} is missing"
    return [f"{TOKENIZER_CONFIG} has {fitting}{cased} for {file}{instead}"]


def _family(path: Path, values: dict[str, object], tensors: Collection[str]) -> tuple[str, str]:
    """Returns the family of a model whose config names none, and what says so."""
    architectures = values.get("architectures")
    for architecture in architectures if isinstance(architectures, list) else ():
        found = _ARCHITECTURE.fullmatch(str(architecture))
        if found is not None:
            return _TITLES[found[1]], f"its architecture {architecture}"
    for pattern, family in _TENSORS:
        example = next((name for name in sorted(tensors) if re.match(pattern, name)), None)
        if example is not None:
            is_xlm = family == "roberta" and (path.parent / "sentencepiece.bpe.model").exists()
            return "xlm-roberta" if is_xlm else family, f"its tensor {example[:120]}"
    named = re.match(r"(albert|bert)_config", path.name)
    if named is not None:
        return named[1], "the name of that file"
    raise BackboneError(
        str(path.parent),
        f"{path.name} names no model_type, and its tensors may be of several; add it there, for "
        f'instance "model_type": "bert" (one of {", ".join(FAMILIES)})',
    )
