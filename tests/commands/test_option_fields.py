"""Commands made from models: every field is an option, with its text as help."""

from __future__ import annotations

import pydoc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from adapterhub.cli import app
from adapterhub.commands.option_fields import field_options, read_options
from adapterhub.commands.verb_options import (
    AliasOptions,
    DeprecateOptions,
    HubOptions,
    LabelOptions,
    MeasuringOptions,
    NearestArguments,
    OutputOptions,
    PlaceOptions,
    ScoreArguments,
    SearchOptions,
)
from adapterhub.errors import UsageError
from adapterhub.importing.import_options import ImportOptions
from adapterhub.inputs import parse_bytes
from adapterhub.option_models import Options, Part, option_of, parse_options
from adapterhub.probing.options import ProbeOptions
from adapterhub.publishing.publication import BackboneOptions, CommitOptions, PublishOptions
from adapterhub.retrieval.options import EncodeOptions, IndexOptions, QueryOptions
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.scorer import ScorerOptions
from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.options import TrainingOptions
from tests.commands.conftest import Run

MODELS: dict[str, tuple[type[Options], ...]] = {
    "train": (PlaceOptions, TrainingOptions, AdapterOptions, OutputOptions),
    "eval": (HubOptions, MeasuringOptions),
    "nearest": (NearestArguments, QueryOptions, IndexOptions, HubOptions),
    "probe": (ProbeOptions,),
    "score": (ScoreArguments, ScoringOptions, HubOptions),
    "show": (OutputOptions,),
    "import": (ImportOptions,),
    "publish": (PublishOptions,),
    **dict.fromkeys(("rename", "remove"), (CommitOptions,)),
    "alias": (AliasOptions, CommitOptions),
    "deprecate": (DeprecateOptions, CommitOptions),
    "label": (LabelOptions,),
    "publish-backbone": (BackboneOptions,),
    "search": (SearchOptions,),
}
SHARED = {"epochs": "3", "batch_size": "8", "head_dropout": "0.25"}


def options_of(verb: str) -> dict[str, Any]:
    """Returns the options of a verb as Typer has them, by parameter."""
    group: Any = typer.main.get_command(app)
    command = group.commands[verb]
    context: Any = typer.Context(command)
    return {param.name: param for param in command.get_params(context)}


def plain(text: str | None) -> str:
    return " ".join((text or "").split())


def test_every_model_belongs_to_a_verb() -> None:
    direct = [one for one in Options.__subclasses__() if one.__module__.startswith("adapterhub")]
    package = {one for model in direct for one in (model, *model.__subclasses__())}
    assert package - {ScorerOptions, EncodeOptions} == {
        model for models in MODELS.values() for model in models
    }


@pytest.mark.parametrize("verb", MODELS)
def test_every_field_is_an_option_with_its_text_as_help(verb: str) -> None:
    offered = options_of(verb)
    seen: set[str] = set()
    for model in MODELS[verb]:
        marks = {name: option_of(field) for name, field in model.model_fields.items()}
        several = {mark.several for mark in marks.values()}
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} has no text"
            if name in seen or name in several or any(isinstance(m, Part) for m in field.metadata):
                continue
            flags = marks[name].flags or (f"--{name.replace('_', '-')}",)
            assert set("/".join(flags).split("/")) <= {
                *offered[name].opts,
                *offered[name].secondary_opts,
            }
            assert plain(offered[name].help).startswith(plain(field.description))
            assert offered[name].default is None, "defaults are those of the model"
        seen |= model.model_fields.keys()


def test_eval_has_the_columns_of_training_options_only() -> None:
    columns = {"text", "pair", "target", "heads", "tokens", "join_tokens"}
    own = {"name", "data", "registry", "plot", "as_json", "min_confidence", "help"}
    assert options_of("eval").keys() == columns | own | HubOptions.model_fields.keys()


def test_the_help_names_defaults_and_choices() -> None:
    offered = options_of("train")
    fields = TrainingOptions.model_fields
    for name, shown in {
        "text": "text",
        "folds": "5",
        "seed": "0",
        "tolerance": "0.5",
        "mixes": "mixes",
        "poolings": "cls,mean,max,attentive",
        "hidden_widths": "128",
        "weight_decays": "0.03,0.5,5.0",
        "rank": "8",
        "dropout": "0",
        "depths": "all",
    }.items():
        assert offered[name].help.endswith(f"[{shown}]")
    assert not offered["skip_unseen"].help.endswith("]")
    adapted = AdapterOptions.model_fields
    both = f"[{fields['head_dropout'].default:g}; adapters: {adapted['head_dropout'].default};"
    assert both in offered["head_dropout"].help
    assert offered["batch_size"].help.endswith(f"adapters: {adapted['batch_size'].default}]")
    for name in ("cache_max_bytes", "memory_bytes"):
        assert parse_bytes(option_of(fields[name]).shown) == fields[name].default
    assert "One of float16, float32. [float16]" in offered["trunk_dtype"].help
    assert "One of" not in offered["join_tokens"].help, "its text names the choices"
    assert offered["depths"].metavar == "N,N"
    assert offered["learning_rates"].metavar == "X,X"


def read(**values: str | float | bool | None) -> TrainingOptions:
    found = read_options(TrainingOptions, (), {"as_json": False, "alpha": None, **values})
    assert isinstance(found, TrainingOptions)
    return found


def test_texts_become_values() -> None:
    found = read(depths="1, 2,", learning_rates="0.1", hidden_widths="", memory_bytes="2MiB")
    assert (found.depths, found.learning_rates, found.hidden_widths) == ((1, 2), (0.1,), ())
    assert found.memory_bytes == 2 * 2**20
    assert found.adapter is None
    assert found.model_fields_set == {"depths", "learning_rates", "hidden_widths", "memory_bytes"}
    assert read_options(ImportOptions, (), {"fields": True}) == ImportOptions(
        fields=("text", "text_pair")
    )
    assert read_options(ImportOptions, (), {"fields": False}) == ImportOptions()


def test_options_that_heads_and_adapters_share_go_to_the_adapter_where_there_is_one() -> None:
    shared = {"epochs": 3, "batch_size": 8, "head_dropout": 0.25}
    assert read(**shared) == TrainingOptions(epochs=3, batch_size=8, head_dropout=0.25)
    adapter = AdapterOptions(epochs=3, batch_size=8, head_dropout=0.25)
    assert read(**shared, method="lora", seed=2) == TrainingOptions(adapter=adapter, seed=2)
    assert read(continue_from="mood").adapter == AdapterOptions(continue_from="mood")


def test_one_depth_is_no_search_and_several_are() -> None:
    one, more = (read(method="lora", rank=rank).adapter for rank in ("4", "4,16"))
    assert one == AdapterOptions(rank=4)
    assert more == AdapterOptions(ranks=(4, 16))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depths": "1,x"}, "--depths is '1,x'; expected whole numbers such as 1,2."),
        ({"learning_rates": "fast"}, "--learning-rates is 'fast'; expected numbers such as"),
        ({"memory_bytes": "much"}, "--memory-bytes is 'much'; expected a size such as 500MB"),
        ({"pairs": "bothe"}, "--pairs is 'bothe'; .* Did you mean 'both'?"),
        ({"poolings": "mean,tokens"}, "--poolings is 'tokens'; expected cls, mean, max, attent"),
        ({"folds": 1}, "The options: folds are 2 or more"),
        ({"folds": 21}, "Option --folds: Input should be less than or equal to 20, found 21."),
        ({"method": "lora", "rank": "0"}, "Adapter option --rank: .* found 0."),
        ({"method": "lora", "rank": ""}, "Adapter option --rank: Tuple should have at least 1"),
        ({"tie_depths": True}, "--tie-depths is for adapters; name a method"),
    ],
)
def test_what_makes_no_sense_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read(**values)
    assert len(str(caught.value).splitlines()) == 1


def test_models_say_in_their_docstring_what_the_help_says() -> None:
    assert "    folds: Folds of cross-validation; 0 never cross-validates. [5]" in str(
        TrainingOptions.__doc__
    )
    for models in MODELS.values():
        for model in models:
            assert all(f"    {name}: " in str(model.__doc__) for name in model.model_fields)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UsageError, match="Option depth: there is no such option, found 3"):
        parse_options(TrainingOptions, {"depth": 3})


def test_a_part_takes_no_place_of_its_own() -> None:
    assert "adapter" not in field_options(TrainingOptions)
    assert field_options(TrainingOptions, ("text",)).keys() == {"text"}


def test_the_command_line_reads_options_as_one_line_errors(run: Run) -> None:
    ran = run("train", Path("rows.jsonl"), "-t", "x", "--folds", "1")
    assert (ran.code, ran.err) == (
        2,
        "adapterhub: The options: folds are 2 or more, or 0 for no cross-validation.\n",
    )
    twice = run("train", Path("rows.jsonl"), "-t", "x", "--alias", "a", "--aliases", "b")
    assert twice.code == 2
    assert "it takes one value and has 2" in twice.err
    assert "'--limit'" in run("search", "--limit", "x").err


def test_the_help_of_all_verbs_needs_no_model() -> None:
    code = (
        "import sys\nfrom adapterhub.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.exit('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("model", [model for models in MODELS.values() for model in models])
def test_help_shows_every_field_and_no_marker(model: type[Options]) -> None:
    text = pydoc.render_doc(model, renderer=pydoc.plaintext)
    shown = text.partition("Method resolution order")[0]
    assert "Option(" not in shown
    for name in model.model_fields:
        assert f"{name}: " in shown
