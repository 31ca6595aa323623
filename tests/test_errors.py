"""Errors: one tree, one line each, and whole in another process."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from adapterhub import errors
from adapterhub.errors import (
    AdapterError,
    AdapterHubError,
    BackboneError,
    BackboneMismatchError,
    ClusterError,
    DataError,
    HeadFileError,
    InputError,
    IntegrityError,
    KnownAnswersError,
    MissingExtraError,
    NonFiniteError,
    RegistryError,
    RemoteAccessError,
    RemoteContentError,
    RemoteError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    RemovedTaskError,
    ResidentError,
    SaveError,
    SharedWeightsError,
    TokenizerError,
    TrainingError,
    UnknownTaskError,
    UnsupportedDeviceError,
    UsageError,
    nearest,
)

TREE = {
    UsageError: (AdapterHubError, 2),
    UnknownTaskError: (UsageError, 2),
    RemovedTaskError: (UnknownTaskError, 2),
    SharedWeightsError: (UsageError, 2),
    UnsupportedDeviceError: (UsageError, 2),
    MissingExtraError: (UsageError, 2),
    InputError: (AdapterHubError, 3),
    DataError: (AdapterHubError, 3),
    TrainingError: (AdapterHubError, 1),
    BackboneError: (AdapterHubError, 5),
    TokenizerError: (BackboneError, 5),
    BackboneMismatchError: (BackboneError, 5),
    HeadFileError: (AdapterHubError, 5),
    IntegrityError: (HeadFileError, 5),
    KnownAnswersError: (HeadFileError, 5),
    AdapterError: (AdapterHubError, 5),
    RegistryError: (AdapterHubError, 5),
    SaveError: (RegistryError, 5),
    ResidentError: (AdapterHubError, 1),
    NonFiniteError: (ResidentError, 1),
    ClusterError: (AdapterHubError, 1),
    RemoteError: (AdapterHubError, 4),
    RemoteUnavailableError: (RemoteError, 4),
    RemoteAccessError: (RemoteError, 4),
    RemoteNotFoundError: (RemoteError, 4),
    RemoteContentError: (RemoteError, 5),
}
SAMPLES = (
    AdapterHubError("it is late"),
    UsageError("top_k is 0"),
    UnknownTaskError("sentimant", ["sentiment", "topics"]),
    RemovedTaskError("spam", "Task 'spam' of acme/heads", "no licence", "ham"),
    SharedWeightsError([3], [0, 3], "AlbertModel", "train"),
    UnsupportedDeviceError("cuda:9", "0 CUDA devices are visible"),
    MissingExtraError("pandas", "pandas"),
    InputError("the text is empty.", row=3),
    DataError("rows.csv", "the quote is not closed", line=7),
    TrainingError(2, 30, 1e-3),
    BackboneError("./tiny", "no config.json"),
    TokenizerError("./tiny", "no tokenizer"),
    BackboneMismatchError("sentiment", "one", "other"),
    HeadFileError("a.safetensors", "it is empty"),
    IntegrityError("a.safetensors", "its sha256 is other"),
    KnownAnswersError("a.safetensors", "gave other logits"),
    AdapterError("./lora", "it holds no factor"),
    RegistryError("registry.yaml", "it is empty", line=1),
    SaveError("registry.yaml", "task 'spam' cannot be saved", "the task"),
    ResidentError("too large"),
    NonFiniteError("sentiment", 4),
    ClusterError("Ray: no cluster can be started here"),
    RemoteError("acme/heads", "the answer makes no sense"),
    RemoteUnavailableError("acme/heads", "no response within 10 s"),
    RemoteAccessError("acme/heads", "there is no token", "no-token"),
    RemoteNotFoundError("acme/heads", "no such repository"),
    RemoteContentError("acme/heads", "it holds a pickle"),
)


def test_the_tree_and_its_exit_codes() -> None:
    found = {
        value
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, AdapterHubError)
    }
    assert found == {AdapterHubError, *TREE}
    assert AdapterHubError.exit_code == 1
    for error, (parent, code) in TREE.items():
        assert error.__bases__ == (parent,)
        assert error.exit_code == code


def test_the_module_shows_the_tree() -> None:
    for error in TREE:
        assert error.__name__ in (errors.__doc__ or "")


def test_there_is_a_sample_of_every_class() -> None:
    assert {type(error) for error in SAMPLES} == {AdapterHubError, *TREE}


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_whole_in_another_process(error: AdapterHubError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x0b"])
def test_a_message_is_one_line_whatever_it_is_made_of(end: str) -> None:
    error = BackboneError(f"./a{end}b", f"cannot be loaded: one{end}  two{end}")
    assert len(str(error).splitlines()) == 1
    assert str(error).endswith("cannot be loaded: one two")
    assert error.source == f"./a{end}b"


def test_a_message_keeps_its_spaces() -> None:
    assert str(HeadFileError("a  b.safetensors", "gone")) == "Head file a  b.safetensors: gone"


def test_an_unknown_task_names_the_nearest() -> None:
    error = UnknownTaskError("sentimnt", iter(["topics", "sentiment"]))
    assert (error.name, error.known, error.nearest) == (
        "sentimnt",
        ("topics", "sentiment"),
        "sentiment",
    )
    assert "Unknown task 'sentimnt'. Did you mean 'sentiment'?" in str(error)


def test_an_unknown_task_lists_a_few_where_none_is_near() -> None:
    error = UnknownTaskError("zzz", [f"task-{index}" for index in range(9)], what="alias of 'x'")
    assert error.nearest is None
    assert "Unknown alias of 'x' 'zzz'. Known: task-0, " in str(error)
    assert "task-7, …" in str(error)
    assert "task-8" not in str(error)


def test_an_unknown_task_says_so_where_there_is_none() -> None:
    assert "There is none yet" in str(UnknownTaskError("a", []))


def test_rows_and_lines_are_in_the_message_only_where_known() -> None:
    assert str(InputError("the text is empty.", row=0)) == "Row 0: the text is empty."
    assert str(InputError("There are no texts.")) == "There are no texts."
    assert str(DataError("a.csv", "bad", line=0)) == "a.csv, line 0: bad"
    assert str(DataError("a.csv", "bad")) == "a.csv: bad"
    assert str(RegistryError("r.yaml", "bad", line=3)) == "Registry r.yaml, line 3: bad"


def test_a_mismatch_names_both_backbones() -> None:
    error = BackboneMismatchError("sentiment", "albert (sha256:aa…)", "tiny (sha256:bb…)")
    for part in ("'sentiment'", "albert (sha256:aa…)", "tiny (sha256:bb…)"):
        assert part in str(error)
    assert (error.task, error.source) == ("sentiment", "tiny (sha256:bb…)")


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("sentimnt", ["topics", "sentiment"], "sentiment"),
        ("zzz", ["topics"], None),
        ("a", [], None),
    ],
)
def test_nearest(name: str, known: list[str], expected: str | None) -> None:
    assert nearest(name, known) == expected
