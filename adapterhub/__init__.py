"""One frozen encoder, many small text tasks, one pass.

    from adapterhub import Hub

    hub = Hub()
    scores = hub.score(["I loved every minute."], tasks=["sentiment-en", "topic-en"])

Names are imported when they are first used, so `import adapterhub` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapterhub.errors import AdapterHubError as AdapterHubError
    from adapterhub.evaluation.result import Evaluation as Evaluation
    from adapterhub.hub import Hub as Hub
    from adapterhub.importing.convert import Converted as Converted
    from adapterhub.importing.convert import convert as convert
    from adapterhub.importing.import_options import ImportOptions as ImportOptions
    from adapterhub.importing.import_task import import_task as import_task
    from adapterhub.labels.edit import add_labels as add_labels
    from adapterhub.labels.edit import drop_labels as drop_labels
    from adapterhub.labels.edit import rename_label as rename_label
    from adapterhub.model.adapters.freezing import Trainable as Trainable
    from adapterhub.model.adapters.freezing import freeze as freeze
    from adapterhub.model.adapters.freezing import trainable as trainable
    from adapterhub.model.adapters.unrolled import unrolled as unrolled
    from adapterhub.model.backbone.open_backbone import open_backbone as open_backbone
    from adapterhub.model.encoder.encoder import Encoder as Encoder
    from adapterhub.peft.export_folder import export_peft as export_peft
    from adapterhub.plan import Plan as Plan
    from adapterhub.plan import make_plan as make_plan
    from adapterhub.probing.options import ProbeOptions as ProbeOptions
    from adapterhub.probing.probe import probe as probe
    from adapterhub.probing.result import ProbeResult as ProbeResult
    from adapterhub.publishing.backbone import publish_backbone as publish_backbone
    from adapterhub.publishing.publication import Published as Published
    from adapterhub.publishing.publication import PublishedBackbone as PublishedBackbone
    from adapterhub.publishing.task_changes import TaskChange as TaskChange
    from adapterhub.publishing.task_changes import deprecate_task as deprecate_task
    from adapterhub.publishing.task_changes import remove_alias as remove_alias
    from adapterhub.publishing.task_changes import remove_task as remove_task
    from adapterhub.publishing.task_changes import rename_task as rename_task
    from adapterhub.publishing.task_changes import set_alias as set_alias
    from adapterhub.results import Scores as Scores
    from adapterhub.results import TaskScores as TaskScores
    from adapterhub.retrieval.index import Index as Index
    from adapterhub.retrieval.neighbours import Neighbours as Neighbours
    from adapterhub.saving import save_tasks as save_tasks
    from adapterhub.scoring.options import ScoringOptions as ScoringOptions
    from adapterhub.scoring.score_file import ScoredFile as ScoredFile
    from adapterhub.specs import TaskSpec as TaskSpec
    from adapterhub.store.headfile import read_head as read_head
    from adapterhub.store.registry import read_registry as read_registry
    from adapterhub.training.adapter_options import AdapterOptions as AdapterOptions
    from adapterhub.training.evaluation.similarity import cosine_spearman as cosine_spearman
    from adapterhub.training.evaluation.similarity import recall_at_k as recall_at_k
    from adapterhub.training.finalize import TrainedTask as TrainedTask
    from adapterhub.training.options import TrainingOptions as TrainingOptions
    from adapterhub.training.several.train_tasks import train_tasks as train_tasks
    from adapterhub.training.several.trained_tasks import TrainedTasks as TrainedTasks
    from adapterhub.training.train import train as train

_HOMES = {
    "AdapterHubError": "adapterhub.errors",
    "AdapterOptions": "adapterhub.training.adapter_options",
    "Converted": "adapterhub.importing.convert",
    "Encoder": "adapterhub.model.encoder.encoder",
    "Evaluation": "adapterhub.evaluation.result",
    "Hub": "adapterhub.hub",
    "ImportOptions": "adapterhub.importing.import_options",
    "Index": "adapterhub.retrieval.index",
    "Neighbours": "adapterhub.retrieval.neighbours",
    "Plan": "adapterhub.plan",
    "ProbeOptions": "adapterhub.probing.options",
    "ProbeResult": "adapterhub.probing.result",
    "Published": "adapterhub.publishing.publication",
    "PublishedBackbone": "adapterhub.publishing.publication",
    "ScoredFile": "adapterhub.scoring.score_file",
    "Scores": "adapterhub.results",
    "ScoringOptions": "adapterhub.scoring.options",
    "TaskChange": "adapterhub.publishing.task_changes",
    "TaskScores": "adapterhub.results",
    "TaskSpec": "adapterhub.specs",
    "Trainable": "adapterhub.model.adapters.freezing",
    "TrainedTask": "adapterhub.training.finalize",
    "TrainedTasks": "adapterhub.training.several.trained_tasks",
    "TrainingOptions": "adapterhub.training.options",
    "add_labels": "adapterhub.labels.edit",
    "convert": "adapterhub.importing.convert",
    "cosine_spearman": "adapterhub.training.evaluation.similarity",
    "drop_labels": "adapterhub.labels.edit",
    "deprecate_task": "adapterhub.publishing.task_changes",
    "export_peft": "adapterhub.peft.export_folder",
    "freeze": "adapterhub.model.adapters.freezing",
    "import_task": "adapterhub.importing.import_task",
    "make_plan": "adapterhub.plan",
    "open_backbone": "adapterhub.model.backbone.open_backbone",
    "probe": "adapterhub.probing.probe",
    "publish_backbone": "adapterhub.publishing.backbone",
    "read_head": "adapterhub.store.headfile",
    "read_registry": "adapterhub.store.registry",
    "recall_at_k": "adapterhub.training.evaluation.similarity",
    "remove_alias": "adapterhub.publishing.task_changes",
    "remove_task": "adapterhub.publishing.task_changes",
    "rename_label": "adapterhub.labels.edit",
    "rename_task": "adapterhub.publishing.task_changes",
    "save_tasks": "adapterhub.saving",
    "set_alias": "adapterhub.publishing.task_changes",
    "train": "adapterhub.training.train",
    "train_tasks": "adapterhub.training.several.train_tasks",
    "trainable": "adapterhub.model.adapters.freezing",
    "unrolled": "adapterhub.model.adapters.unrolled",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used."""
    if name == "__version__":
        # Takes a tenth of a second to import.
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("adapterhub")
        except PackageNotFoundError:
            return "0+unknown"
    if name not in _HOMES:
        raise AttributeError(f"module 'adapterhub' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
