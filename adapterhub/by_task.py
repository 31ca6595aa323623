"""Results by the name of their task, as a read-only mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from adapterhub.errors import UnknownTaskError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class ByTask(Mapping[str, Result]):
    """What a call returns of each of its tasks, in their order.

    Attributes:
        tasks: The results by name of the task.
        what: What a name should be one of, for messages.
    """

    tasks: Mapping[str, Result]

    what: ClassVar[str] = "task in these results"

    def __post_init__(self) -> None:
        """Makes the mapping read-only."""
        object.__setattr__(self, "tasks", MappingProxyType(dict(self.tasks)))

    def __reduce__(self) -> tuple[object, ...]:
        """Returns how to unpickle the results; a read-only mapping cannot be pickled."""
        others = (getattr(self, field.name) for field in fields(self)[1:])
        return type(self), (dict(self.tasks), *others)

    def __getitem__(self, task: str) -> Result:
        """Returns the result of one task.

        Raises:
            UnknownTaskError: The call did not request that task.
        """
        if task not in self.tasks:
            raise UnknownTaskError(task, self.tasks, what=self.what)
        return self.tasks[task]

    # Those of Mapping wait for a KeyError.
    def get(self, task: str, default: Any = None, /) -> Any:
        """Returns the result of one task, or `default` if the call did not request it."""
        return self.tasks.get(task, default)

    def __contains__(self, task: object) -> bool:
        """Returns whether the call requested that task."""
        return task in self.tasks

    def __iter__(self) -> Iterator[str]:
        """Returns the names of the tasks, in the order of the call."""
        return iter(self.tasks)

    def __len__(self) -> int:
        """Returns the number of tasks."""
        return len(self.tasks)
