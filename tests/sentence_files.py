"""Files of sentence-transformers repositories, as versions 2 to 6 write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
NEW_PLACES = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
}


def write_json(path: Path, content: object) -> None:
    """Writes a file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def change_json(path: Path, **values: object) -> None:
    """Changes fields of a JSON object."""
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **values})


def list_modules(folder: Path, kinds: list[str], *, new: bool = False, first: str = "") -> None:
    """Writes `modules.json` with modules of some kinds."""
    places = NEW_PLACES if new else {}
    entries = [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{kind}" if index else first,
            "type": places.get(kind, f"sentence_transformers.models.{kind}"),
        }
        for index, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", entries)


def write_old(
    folder: Path, pooling: str = "mean", *, normalize: bool = True, max_length: int | None = 32
) -> Path:
    """Writes the files of versions 2 to 4 beside an encoder of width 32."""
    list_modules(folder, ["Transformer", "Pooling", *["Normalize"] * normalize])
    flags = {flag: mode == pooling for mode, flag in FLAGS.items()}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **flags})
    settings = {"max_seq_length": max_length, "do_lower_case": False}
    write_json(folder / "sentence_bert_config.json", settings)
    versions = {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}
    write_json(folder / "config_sentence_transformers.json", {"__version__": versions})
    return folder


def write_new(
    folder: Path, pooling: str = "mean", *, normalize: bool = True, max_length: int = 32
) -> Path:
    """Writes the files of version 6 beside an encoder of width 32."""
    list_modules(folder, ["Transformer", "Pooling", *["Normalize"] * normalize], new=True)
    settings = {"embedding_dimension": 32, "pooling_mode": pooling, "include_prompt": True}
    write_json(folder / "1_Pooling" / "config.json", settings)
    if normalize:
        names = dict.fromkeys(("module_input_name", "module_output_name"), "sentence_embedding")
        write_json(folder / "2_Normalize" / "config.json", names)
    text = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    reads: dict[str, Any] = {"transformer_task": "feature-extraction", "modality_config": text}
    reads["module_output_name"] = "token_embeddings"
    write_json(folder / "sentence_bert_config.json", reads)
    write_prompts(folder, {"query": "", "document": ""})
    # The window stands nowhere else.
    config = folder / "tokenizer_config.json"
    own = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    write_json(config, {**own, "model_max_length": max_length})
    return folder


def write_prompts(folder: Path, prompts: dict[str, str], default: str | None = None) -> None:
    """Writes `config_sentence_transformers.json`."""
    content = {
        "__version__": {"sentence_transformers": "6.2.0"},
        "default_prompt_name": default,
        "model_type": "SentenceTransformer",
        "prompts": prompts,
        "similarity_fn_name": "cosine",
    }
    write_json(folder / "config_sentence_transformers.json", content)
