"""Loads the tokenizer of a folder.

transformers 5 silently loads a 5-token tokenizer when a folder lacks the files of the class that
it guesses (every text becomes `[CLS] <unk> [SEP]`). So the class is chosen here, in this order:

1. the class that `tokenizer_config.json` or `config.json` names, else
2. `tokenizer.json` as PreTrainedTokenizerFast, else
3. `spiece.model` as AlbertTokenizer, else
4. `sentencepiece.bpe.model` as XLMRobertaTokenizer, else
5. `vocab.txt` as BertTokenizer, else
6. `vocab.json` with `merges.txt` as RobertaTokenizer, else refused.

It also builds the tokenizer anew from the vocabulary, with the defaults of the class in place of
the rules of `tokenizer.json`: a cased vocabulary gets lower case, pieces of SentencePiece become
WordPieces. So where `tokenizer.json` is there, its rules hold; what `tokenizer_config.json` sets
besides, such as `do_lower_case`, goes before them, as in transformers 4 and 5.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import Unigram
from transformers import (
    AlbertTokenizer,
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from adapterhub.errors import TokenizerError
from adapterhub.model.tokenizers.described import (
    apply_settings,
    is_cased,
    settings_of_bert,
)
from adapterhub.model.tokenizers.special_tokens import (
    SPECIAL_TOKENS,
    add_special_tokens_of_roberta,
)
from adapterhub.model.tokenizers.tokenizer_checks import check_fit

TOKENIZER_FILE = "tokenizer.json"
_CONFIGS = ("tokenizer_config.json", "config.json")
CLASS_OF_FILE = {
    TOKENIZER_FILE: "PreTrainedTokenizerFast",
    "spiece.model": "AlbertTokenizer",
    "sentencepiece.bpe.model": "XLMRobertaTokenizer",
    "vocab.txt": "BertTokenizer",
    "vocab.json": "RobertaTokenizer",
}
"""The class of a folder that names none: that of the first of these files that it has."""
VOCABULARY_FILES = tuple(CLASS_OF_FILE)
MERGES_FILE = "merges.txt"
TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    MERGES_FILE,
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)

_CLASSES: dict[str, type[PreTrainedTokenizerFast]] = {
    "AlbertTokenizer": AlbertTokenizer,
    "AlbertTokenizerFast": AlbertTokenizer,
    "BertTokenizer": BertTokenizer,
    "BertTokenizerFast": BertTokenizer,
    "DistilBertTokenizer": BertTokenizer,
    "DistilBertTokenizerFast": BertTokenizer,
    "ElectraTokenizer": BertTokenizer,
    "ElectraTokenizerFast": BertTokenizer,
    "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
    "RobertaTokenizer": RobertaTokenizer,
    "RobertaTokenizerFast": RobertaTokenizer,
    "TokenizersBackend": PreTrainedTokenizerFast,
    "XLMRobertaTokenizer": XLMRobertaTokenizer,
    "XLMRobertaTokenizerFast": XLMRobertaTokenizer,
}
_CLASS_OF_FAMILY: Mapping[str, type[PreTrainedTokenizerFast]] = {
    "bert": BertTokenizer,
    "distilbert": BertTokenizer,
    "electra": BertTokenizer,
    "roberta": RobertaTokenizer,
    "xlm-roberta": XLMRobertaTokenizer,
}
"""The class whose settings `tokenizer_config.json` has where it names none."""

# Classes of encoders that would open, were it not for their tokenizer.
_REFUSED: Mapping[str, str] = {
    "BertJapaneseTokenizer": "it splits Japanese into words with MeCab before its WordPieces",
    "BertweetTokenizer": "it rewrites user names, links and emoji before its merges",
    "CamembertTokenizer": "its ids are shifted against those of its SentencePiece model",
    "HerbertTokenizer": "it splits words by rules of its own before its merges",
    "PhobertTokenizer": "it needs texts whose Vietnamese words were joined by VnCoreNLP",
}
_NEEDED_BY_CLASS: dict[type[PreTrainedTokenizerFast], tuple[tuple[str, ...], ...]] = {
    AlbertTokenizer: ((TOKENIZER_FILE,), ("spiece.model",)),
    BertTokenizer: ((TOKENIZER_FILE,), ("vocab.txt",)),
    PreTrainedTokenizerFast: ((TOKENIZER_FILE,),),
    # Without merges, transformers makes a token of every byte and says nothing.
    RobertaTokenizer: ((TOKENIZER_FILE,), ("vocab.json", MERGES_FILE)),
    XLMRobertaTokenizer: ((TOKENIZER_FILE,), ("sentencepiece.bpe.model",)),
}
"""The files of each class: any of these groups, whole."""


def load_tokenizer(
    folder: Path, *, vocab_size: int, type_vocab_size: int = 2, padding: int | None = None
) -> PreTrainedTokenizerFast:
    """Returns the checked tokenizer of a folder; it neither truncates nor pads by itself.

    Args:
        folder: The folder of the tokenizer files.
        vocab_size: Rows of the backbone's token table; every id must be below it, and more than
            half of them must be in use.
        type_vocab_size: Rows of its table of token types.
        padding: Id of the padding token behind which its positions start, if they do.

    Raises:
        TokenizerError: The files are missing, damaged, or do not match the backbone.
    """
    name = tokenizer_class_name(folder)
    with _failures(name, folder):
        tokenizer = _load(name, folder)
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        _name_special_tokens(tokenizer, vocabulary)
        if _settings_class(name, folder) in (RobertaTokenizer, XLMRobertaTokenizer):
            add_special_tokens_of_roberta(tokenizer)
        misfit = check_fit(
            tokenizer,
            vocabulary,
            missing=_made_up_token(tokenizer, folder),
            vocab_size=vocab_size,
            type_vocab_size=type_vocab_size,
            padding=padding,
        )
    if misfit is not None:
        raise TokenizerError(str(folder), misfit)
    return tokenizer


@contextmanager
def _failures(name: str, folder: Path) -> Iterator[None]:
    """Turns what the tokenizers library raises for damaged files into an error that names them."""
    read = _files_of(name, folder)
    try:
        yield
    except TokenizerError:
        raise
    except BaseException as error:
        # It raises plain Exception, and for some damage a panic, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        problem = f"{read} is damaged or no such file, {name} cannot read it"
        if not read.endswith(".model"):
            problem += f": {error}"
        # Without `error` for SentencePiece: it only names another library that is missing.
        raise TokenizerError(str(folder), f"{problem}. Fetch it again.") from error


def tokenizer_class_name(folder: Path) -> str:
    """Returns the name of the tokenizer class of `folder`, in the order of the module docstring.

    Raises:
        TokenizerError: The folder names an unknown class, or has no vocabulary file.
    """
    for config in _CONFIGS:
        name = read_json(folder / config).get("tokenizer_class")
        if isinstance(name, str):
            if name not in _CLASSES:
                reason = _REFUSED.get(name.removesuffix("Fast"))
                known = ", ".join(sorted(_CLASSES))
                raise TokenizerError(
                    str(folder),
                    f"{config} names the tokenizer {name[:80]}"
                    + (f", which cannot be used: {reason}" if reason else f"; known are {known}"),
                )
            return name
    for file in VOCABULARY_FILES:
        if (folder / file).is_file():
            return CLASS_OF_FILE[file]
    raise TokenizerError(
        str(folder), f"no tokenizer; expected one of {', '.join(VOCABULARY_FILES)} in the folder"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Returns the content of a JSON file, {} if there is none.

    Raises:
        TokenizerError: It cannot be read, or is not an object.
    """
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(str(path.parent), f"{path.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise TokenizerError(str(path.parent), f"{path.name} is not a JSON object")
    return value


def _files_of(name: str, folder: Path) -> str:
    """Returns the files of a class that a folder has, for messages.

    Raises:
        TokenizerError: It has none of them whole.
    """
    groups = _NEEDED_BY_CLASS[_CLASSES[name]]
    for files in groups:
        if all((folder / file).is_file() for file in files):
            return " with ".join(files)
    needed = " or ".join(" with ".join(files) for files in groups)
    raise TokenizerError(
        str(folder), f"its tokenizer is of class {name}, which needs {needed}; add that file"
    )


def _load(name: str, folder: Path) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of a folder as its files describe it."""
    kind = _CLASSES[name]
    given = read_json(folder / "tokenizer_config.json")
    if not (folder / TOKENIZER_FILE).is_file():
        # Its default is lower case, with which most of a cased vocabulary would never be found.
        keeps_case = kind is BertTokenizer and "do_lower_case" not in given and is_cased(folder)
        return _from_pretrained(kind, folder, {"do_lower_case": False} if keeps_case else {})
    if kind in (AlbertTokenizer, BertTokenizer):
        described = FastTokenizer.from_file(str(folder / TOKENIZER_FILE))
        if kind is AlbertTokenizer and isinstance(described.model, Unigram):
            return _from_pretrained(kind, folder, {})
        settings = settings_of_bert(described) if kind is BertTokenizer else None
        if settings is not None:
            left = {key: value for key, value in settings.items() if key not in given}
            return _from_pretrained(kind, folder, left)
    tokenizer = _from_pretrained(PreTrainedTokenizerFast, folder, {})
    settled = _settings_class(name, folder)
    if settled is not None:
        apply_settings(tokenizer.backend_tokenizer, given)
        tokenizer.model_input_names = list(settled.model_input_names)
    return tokenizer


def _from_pretrained(
    kind: type[PreTrainedTokenizerFast], folder: Path, settings: Mapping[str, Any]
) -> PreTrainedTokenizerFast:
    found: PreTrainedTokenizerFast
    found = kind.from_pretrained(str(folder), local_files_only=True, **settings)
    found.backend_tokenizer.no_truncation()
    found.backend_tokenizer.no_padding()
    return found


def _settings_class(name: str, folder: Path) -> type[PreTrainedTokenizerFast] | None:
    """Returns the class whose settings and special tokens a tokenizer has; None if of no class."""
    kind = _CLASSES[name]
    if kind is not PreTrainedTokenizerFast:
        return kind
    configs = [read_json(folder / file) for file in _CONFIGS]
    if any(isinstance(config.get("tokenizer_class"), str) for config in configs):
        return None
    return _CLASS_OF_FAMILY.get(str(configs[-1].get("model_type")))


def _name_special_tokens(tokenizer: PreTrainedTokenizerFast, vocabulary: Mapping[str, int]) -> None:
    for role, names in SPECIAL_TOKENS.items():
        name = next((name for name in names if name in vocabulary), None)
        if getattr(tokenizer, f"{role}_token") is None and name is not None:
            setattr(tokenizer, f"{role}_token", name)


def _made_up_token(tokenizer: PreTrainedTokenizerFast, folder: Path) -> str | None:
    """Returns a special token that a class added because the vocabulary lacks it, or None."""
    if (
        not isinstance(tokenizer, (BertTokenizer, RobertaTokenizer))
        or (folder / TOKENIZER_FILE).is_file()
    ):
        return None
    known = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False).keys()
    added = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder")
    if added or (folder / "added_tokens.json").is_file():
        return None
    tokens = [getattr(tokenizer, f"{role}_token") for role in ("cls", "sep", "unk")]
    return next((token for token in tokens if token is not None and token not in known), None)
