"""Every exception of adapterhub.

    AdapterHubError                 exit code 1   root; catch this to catch all of ours
    ├── UsageError                  exit code 2   an argument or option that is not valid
    │   ├── UnknownTaskError                      no such task, version or alias in the registry
    │   │   └── RemovedTaskError                  there was one; its owner removed it
    │   ├── SharedWeightsError                    a partial freeze of weights that depths share
    │   ├── UnsupportedDeviceError                the requested device is not available
    │   └── MissingExtraError                     an optional dependency is not installed
    ├── InputError                  exit code 3   a text, record or row that cannot be scored
    ├── DataError                   exit code 3   a training or scoring file that cannot be used
    ├── TrainingError               exit code 1   a training whose loss is not finite
    ├── BackboneError               exit code 5   a backbone that cannot be opened or trusted
    │   ├── TokenizerError                        its tokenizer files are missing or do not fit
    │   └── BackboneMismatchError                 a task made for another backbone
    ├── HeadFileError               exit code 5   a head file that is damaged or unsafe
    │   ├── IntegrityError                        its bytes do not have the sha256 of the registry
    │   └── KnownAnswersError                     it does not reproduce its known answers
    ├── AdapterError                exit code 5   an adapter or checkpoint that cannot be used
    ├── RegistryError               exit code 5   registry.yaml is not valid, or cannot be written
    │   └── SaveError                             a trained task that cannot be saved; holds it
    ├── ResidentError               exit code 1   a task that cannot be made or kept resident
    │   └── NonFiniteError                        the logits of a task have NaN or infinity
    ├── ClusterError                exit code 1   Ray that cannot be started, or ends
    └── RemoteError                 exit code 4   a call to the Hugging Face Hub that failed
        ├── RemoteUnavailableError                the Hub is unreachable, too slow or failing
        ├── RemoteAccessError                     the token is missing or may not do this
        ├── RemoteNotFoundError                   no such repository, revision or file
        └── RemoteContentError      exit code 5   the content of a repository is refused

Wording: subject, what was found, what was expected, what to do. Fields hold the parts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class AdapterHubError(Exception):
    """Root of all errors of adapterhub; the message is one line."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        # Messages of other libraries and names from users may have line breaks.
        super().__init__(" ".join(line.strip() for line in message.splitlines()))

    def __reduce__(self) -> tuple[object, ...]:
        """Returns how to unpickle the error, whatever the parameters of its __init__."""
        return _restore, (type(self), self.args, self.__dict__)


class UsageError(AdapterHubError):
    """An argument or option is not valid."""

    exit_code = 2


class UnknownTaskError(UsageError):
    """There is no such task, version or alias."""

    def __init__(
        self,
        name: str,
        known: Iterable[str],
        what: str = "task",
        *,
        written: Mapping[str, str] | None = None,
        place: str = "",
    ) -> None:
        """Makes the message, which has the nearest known name.

        Args:
            name: The name.
            known: The names that there are.
            what: What it should be a name of.
            written: How to write a known name where that takes more than the name.
            place: The options of `adapterhub list` that show them all.
        """
        names = {one: (written or {}).get(one, one) for one in known}
        self.name = name
        self.known = tuple(names.values())
        self.nearest = names.get(nearest(name, names) or "")
        if self.nearest is not None:
            hint = f"Did you mean '{self.nearest}'?"
        elif self.known:
            hint = f"Known: {', '.join(self.known[:8])}{', …' if len(self.known) > 8 else ''}."
        else:
            made = "There is none yet; `adapterhub train` makes one."
            hint = made if what == "task" else "It has none."
        super().__init__(f"Unknown {what} '{name}'. {hint} `adapterhub list{place}` shows all.")


class RemovedTaskError(UnknownTaskError):
    """There was such a task or version; its owner removed it.

    Attributes:
        reason: Why; may be empty.
        use: The task to use instead, or None.
    """

    def __init__(
        self, name: str, what: str, reason: str, use: str | None = None, back: str = ""
    ) -> None:
        self.name = name
        self.known = ()
        self.nearest = None
        self.reason = reason
        self.use = use
        why = f": {reason.rstrip().rstrip('.')}" if reason.strip() else ""
        instead = f" Use '{use}' instead." if use else ""
        text = f"{what} was removed by its owner{why}.{instead} {back}"
        UsageError.__init__(self, text.rstrip())


class SharedWeightsError(UsageError):
    """Some depths of a model cannot be frozen or trained alone, since others have their weights.

    Attributes:
        depths: The depths in question.
        shared: All depths that have the same weights.
    """

    def __init__(
        self, depths: Iterable[int], shared: Iterable[int], model: str, action: str = "freeze"
    ) -> None:
        """Makes the message, which says what to do instead.

        Args:
            depths: The depths in question.
            shared: All depths that have the same weights.
            model: Name of its class.
            action: What was tried, `freeze` or `train`.
        """
        self.depths = tuple(depths)
        self.shared = tuple(shared)
        others = tuple(depth for depth in self.shared if depth not in self.depths)
        frozen = list(self.depths if action == "freeze" else others)
        super().__init__(
            f"The weights of {_depths(self.depths)} of this {model} are those of "
            f"{_depths(others)}, too: to {action} some is to {action} all {len(self.shared)}. "
            f"For weights of their own: model = adapterhub.freeze(model, depths={frozen}, "
            f"untie=True). Adapters change single depths and leave the weights alone: "
            f"`adapterhub train --at-depths`, or PEFT's layers_to_transform on "
            f"adapterhub.unrolled(model)."
        )


class UnsupportedDeviceError(UsageError):
    """The requested device is not available."""

    def __init__(self, device: str, problem: str) -> None:
        self.device = device
        super().__init__(f"Device '{device}' cannot be used: {problem}")


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        # Without the option, pip before 23.1 cannot build seqeval of the extra `train`.
        command = f"pip install --use-pep517 'adapterhub[{extra}]'"
        super().__init__(f"'{package}' is not installed; install it with: {command}")


class InputError(AdapterHubError):
    """A text, record or row cannot be scored.

    Attributes:
        row: Index of the first bad row, or None for the whole input.
    """

    exit_code = 3

    def __init__(self, problem: str, row: int | None = None) -> None:
        self.row = row
        self.problem = problem
        super().__init__(problem if row is None else f"Row {row}: {problem}")


class DataError(AdapterHubError):
    """A training or scoring file cannot be used."""

    exit_code = 3

    def __init__(self, source: str | Path, problem: str, line: int | None = None) -> None:
        self.source = str(source)
        self.problem = problem
        self.line = line
        place = self.source if line is None else f"{self.source}, line {line}"
        super().__init__(f"{place}: {problem}")


class TrainingError(AdapterHubError):
    """The loss of a training became NaN or infinite."""

    def __init__(self, epoch: int, step: int, learning_rate: float) -> None:
        self.epoch = epoch
        self.step = step
        self.learning_rate = learning_rate
        super().__init__(
            f"The loss became NaN or infinite in epoch {epoch}, step {step}, with the learning "
            f"rate {learning_rate:g}. Train with a lower learning rate, a longer warm-up or "
            f"precision='float32'."
        )


class BackboneError(AdapterHubError):
    """A backbone cannot be opened or trusted."""

    exit_code = 5

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        self.problem = problem
        super().__init__(f"Backbone '{source}': {problem}")


class TokenizerError(BackboneError):
    """The tokenizer files are missing or do not match the backbone."""


class BackboneMismatchError(BackboneError):
    """A task or a registry entry was made for another backbone."""

    def __init__(self, task: str, expected: str, found: str, problem: str | None = None) -> None:
        self.task = task
        self.expected = expected
        self.found = found
        made_for = (
            f"task '{task}' was made for the backbone {expected}; the weights or the tokenizer "
            f"here differ. Open the hub with that backbone, as Hub.from_hub does for tasks on the "
            f"Hub, or train the task again on this one."
        )
        super().__init__(found, problem or made_for)


class HeadFileError(AdapterHubError):
    """A head file is damaged, unsafe or inconsistent."""

    exit_code = 5

    def __init__(self, path: str | Path, problem: str) -> None:
        self.path = str(path)
        self.problem = problem
        super().__init__(f"Head file {self.path}: {problem}")


class IntegrityError(HeadFileError):
    """The sha256 of a head file is not that of the registry."""


class KnownAnswersError(HeadFileError):
    """A head file does not reproduce its known answers."""


class AdapterError(AdapterHubError):
    """An adapter, or a checkpoint to import, cannot be used."""

    exit_code = 5

    def __init__(self, source: str | Path, problem: str) -> None:
        self.source = str(source)
        self.problem = problem
        super().__init__(f"Adapter {self.source}: {problem}")


class RegistryError(AdapterHubError):
    """registry.yaml is not valid, or cannot be read or written."""

    exit_code = 5

    def __init__(self, path: str | Path, problem: str, line: int | None = None) -> None:
        self.path = str(path)
        self.problem = problem
        self.line = line
        place = self.path if line is None else f"{self.path}, line {line}"
        super().__init__(f"Registry {place}: {problem}")


class SaveError(RegistryError):
    """A task was trained and cannot be saved; it is not lost.

    Attributes:
        trained: The `TrainedTask`; `error.trained.save(registry)` saves it elsewhere.
    """

    def __init__(self, path: str | Path, problem: str, trained: Any) -> None:
        self.trained = trained
        super().__init__(path, problem)


class ResidentError(AdapterHubError):
    """A task cannot be made or kept resident."""


class NonFiniteError(ResidentError):
    """The logits of a task have NaN or infinity, which would give wrong labels silently."""

    def __init__(self, task: str, row: int) -> None:
        self.task = task
        self.row = row
        super().__init__(
            f"Task '{task}' returned NaN or infinity for row {row}. Use dtype='float32', "
            f"or check the file with `adapterhub doctor`."
        )


class ClusterError(AdapterHubError):
    """Ray cannot be started or joined, or has ended."""


class RemoteError(AdapterHubError):
    """A call to the Hugging Face Hub failed."""

    exit_code = 4

    def __init__(self, place: str, problem: str) -> None:
        self.place = place
        self.problem = problem
        super().__init__(f"Hub {place}: {problem}")


class RemoteUnavailableError(RemoteError):
    """The Hub cannot be reached, is too slow, or returns a server error."""


class RemoteAccessError(RemoteError):
    """The token is missing, not valid, or does not allow the request.

    Attributes:
        reason: `no-token`, `expired`, `read-only`, `namespace`, `gated`, `hidden` or `forbidden`.
    """

    def __init__(self, place: str, problem: str, reason: str) -> None:
        self.reason = reason
        super().__init__(place, problem)


class RemoteNotFoundError(RemoteError):
    """There is no such repository, revision or file."""


class RemoteContentError(RemoteError):
    """The content of a repository is damaged, unsafe or not as expected."""

    exit_code = 5


class ConstantHeadWarning(UserWarning):
    """The head of a task returns the same logits for every text."""

    def __init__(self, task: str, source: str) -> None:
        self.task = task
        self.source = source
        super().__init__(
            f"Task '{task}' predicts the same for every text: all weights of {source} are zero. "
            f"Train it again, with more or other rows."
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Returns how to unpickle the warning."""
        return type(self), (self.task, self.source)


def _restore(
    kind: type[AdapterHubError], args: tuple[object, ...], fields: dict[str, object]
) -> AdapterHubError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


def _depths(depths: tuple[int, ...]) -> str:
    return f"depth{'s' if len(depths) > 1 else ''} {', '.join(map(str, depths))}"


def check_type(value: object, kind: type | tuple[type, ...], what: str, expected: str) -> None:
    """Checks the type of an argument; True and False are no numbers.

    Raises:
        UsageError: It is of another type.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        found = " ".join(repr(value)[:80].split())
        raise UsageError(f"{what} is {found}, of type {type(value).__name__}; expected {expected}.")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name most similar to `name`, or None if none is similar."""
    matches = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
