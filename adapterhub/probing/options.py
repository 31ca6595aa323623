"""The options of a run of probes; each is declared here once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from adapterhub.inputs import parse_bytes
from adapterhub.option_models import Option, Options
from adapterhub.probing.fit_settings import PROBES, FitSettings, Probe
from adapterhub.training.adapter_options import Decay, Depth, Epochs, Several
from adapterhub.training.options import Joining, TrainingOptions, Width, Window, path_or_table

What = Literal["label", "tag", "relation", "head", "order"]

_FIT = FitSettings()
_FILE: Any = Option("FILE", read=Path)
_SIZE = Option("SIZE", "1GiB", read=parse_bytes, expected="a size such as 500MB, 2GB or 1GiB")


class ProbeOptions(Options):
    """Options of one run of probes; the defaults suit some hundred to 10,000 rows."""

    what: Annotated[What | None, Option("TARGET", "by the columns")] = None
    """What is predicted: the label of a text or of a pair; the tag of a word (a part of speech, the
    type of its entity); the relation of a word to its head, which is given; the head of a word;
    order, whether two sentences of a paragraph stand in their order. Without it the columns
    decide: `tokens` with `tags` are tags, other rows have labels."""
    text: Annotated[str, Option("COLUMN", flags=("--text-column", "--text"))] = "text"
    """Column of the text; for order, of paragraphs."""
    pair: Annotated[
        str | None, Option("COLUMN", "text_pair, if any", ("--pair-column", "--pair"))
    ] = None
    """Column of the second text."""
    target: Annotated[
        str | None,
        Option("COLUMN", "label; tags or upos; deprel", ("--target-column", "--target")),
    ] = None
    """Column of the label, the tags or the relations."""
    tokens: Annotated[str, Option("COLUMN", flags=("--tokens-column", "--tokens"))] = "tokens"
    """Column of the words."""
    heads: Annotated[str, Option("COLUMN", flags=("--heads-column", "--heads"))] = "head"
    """Relation and head: column of the heads, whole numbers: the place of each word's head, counted
    from 1, and 0 for the root."""
    join_tokens: Joining = "auto"
    """How words become a text, as in `train`."""
    validation: Annotated[object, BeforeValidator(path_or_table), _FILE] = None
    """File of rows that do not train: a half of them chooses, the other measures, or, with a test
    file, all of them choose. In Python also a table. Without it 60 % of the rows train, 20 % choose
    and 20 % measure."""
    test: Annotated[object, BeforeValidator(path_or_table), _FILE] = None
    """File of rows that measure only; in Python also a table."""
    split_column: Annotated[str | None, Option("COLUMN")] = None
    """Column that says train, validation or test."""
    max_rows: Annotated[int | None, Option(shown="2000")] = Field(default=2_000, ge=2)
    """Maximum number of rows that train, that choose and that measure, each, drawn by the seed; in
    Python None for all."""
    max_length: Annotated[Window | None, Option(shown="the backbone's positions")] = None
    """Window in tokens; what is beyond it is cut."""
    depths: Annotated[tuple[Depth, ...] | None, Option(shown="all"), Several] = None
    """Depths to probe, for instance 0,2,6; 0 are the embeddings."""
    probes: Annotated[tuple[Probe, ...], Several] = PROBES
    """Probes to fit: linear; mlp, with one hidden layer; attention, an own block with the
    architecture of the backbone's, which starts from random weights, below a linear one."""
    mix: bool = True
    """Probe the learned mix of the depths too."""
    control: bool = True
    """Fit the control task too: a random label for each type of word, or for each text."""
    random: bool = True
    """Probe random weights of the backbone's shape too."""
    seed: int = Field(default=_FIT.seed, ge=0, lt=2**32)
    """Seed of the split, the control task, the random and the initial weights."""
    epochs: Epochs = _FIT.epochs
    """Passes over the training items at most, for linear and mlp."""
    attention_epochs: Epochs = _FIT.attention_epochs
    """Passes over the training texts at most, for attention."""
    hidden_width: Width = _FIT.hidden_width
    """Width of the hidden layer of mlp."""
    weight_decays: Annotated[tuple[Decay, ...], Several] = _FIT.weight_decays
    """Weight decays for linear and mlp, of which the choosing rows choose."""
    cache_dir: Annotated[Path | None, Option("FOLDER", "$ADAPTERHUB_CACHE, ~/.cache/…")] = Field(
        default=None, strict=False
    )
    """Folder of the file of hidden states where these do not fit in memory."""
    memory_bytes: Annotated[int, _SIZE] = Field(default=_FIT.memory_bytes, ge=2**20)
    """Size of the hidden states that are held in memory."""

    @model_validator(mode="after")
    def _is_consistent(self) -> ProbeOptions:
        if self.split_column is not None and (self.validation, self.test) != (None, None):
            raise ValueError("give validation and test files or a split column, not both")
        if self.test is not None and self.validation is None:
            raise ValueError("give a validation file beside the test file")
        if len(set(self.probes)) < len(self.probes):
            raise ValueError("probes name one of them twice")
        return self

    def fit_settings(self) -> FitSettings:
        """Returns what the fits need of them; depths ascending, each once."""
        return FitSettings(
            probes=self.probes,
            depths=None if self.depths is None else tuple(sorted(set(self.depths))),
            mix=self.mix,
            random=self.random,
            control=self.control,
            seed=self.seed,
            epochs=self.epochs,
            hidden_width=self.hidden_width,
            weight_decays=self.weight_decays,
            attention_epochs=self.attention_epochs,
            memory_bytes=self.memory_bytes,
        )

    def for_rows(self) -> TrainingOptions:
        """Returns the options by which training reads and splits the same rows."""
        return TrainingOptions(
            text=self.text,
            pair=self.pair,
            target=self.target,
            tokens=self.tokens,
            heads=self.heads,
            join_tokens=self.join_tokens,
            validation=self.validation,
            split_column=self.split_column,
            test_fraction=0.5,
            max_rows=self.max_rows,
            seed=self.seed,
            cache_dir=self.cache_dir,
        )
