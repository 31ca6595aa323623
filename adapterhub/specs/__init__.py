"""Schemas of backbones, adapters, heads and tasks for head files, registries and model cards.

All models are frozen, strict and refuse unknown fields. Construction checks that a spec is
consistent in itself.
"""

from adapterhub.decoding import Calibration as Calibration
from adapterhub.decoding import Extraction as Extraction
from adapterhub.diagnostics import Metric as Metric
from adapterhub.examples import KnownAnswer as KnownAnswer
from adapterhub.kinds import INSIDE as INSIDE
from adapterhub.kinds import KINDS as KINDS
from adapterhub.kinds import Kind as Kind
from adapterhub.kinds import Role as Role
from adapterhub.schema import Spec as Spec
from adapterhub.specs.abstention import RISK_COLUMNS as RISK_COLUMNS
from adapterhub.specs.abstention import Abstention as Abstention
from adapterhub.specs.abstention import RiskPoint as RiskPoint
from adapterhub.specs.abstention import abstention_lines as abstention_lines
from adapterhub.specs.abstention import check_confidence as check_confidence
from adapterhub.specs.abstention import risk_cells as risk_cells
from adapterhub.specs.adapter import AdapterSpec as AdapterSpec
from adapterhub.specs.backbone import BackboneSpec as BackboneSpec
from adapterhub.specs.backbone import identity as identity
from adapterhub.specs.head import HeadSpec as HeadSpec
from adapterhub.specs.names import APART_POOLINGS as APART_POOLINGS
from adapterhub.specs.names import BLOCK_METHOD as BLOCK_METHOD
from adapterhub.specs.names import FINGERPRINT_PATTERN as FINGERPRINT_PATTERN
from adapterhub.specs.names import MAX_LABELS as MAX_LABELS
from adapterhub.specs.names import MAX_WINDOW as MAX_WINDOW
from adapterhub.specs.names import POOLINGS as POOLINGS
from adapterhub.specs.names import SHA256_PATTERN as SHA256_PATTERN
from adapterhub.specs.names import SITES as SITES
from adapterhub.specs.names import TASK_NAME_PATTERN as TASK_NAME_PATTERN
from adapterhub.specs.names import TEXT_POOLINGS as TEXT_POOLINGS
from adapterhub.specs.names import Activation as Activation
from adapterhub.specs.names import FieldName as FieldName
from adapterhub.specs.names import Fingerprint as Fingerprint
from adapterhub.specs.names import Label as Label
from adapterhub.specs.names import LabelOrder as LabelOrder
from adapterhub.specs.names import Language as Language
from adapterhub.specs.names import Pooling as Pooling
from adapterhub.specs.names import Sha256 as Sha256
from adapterhub.specs.names import Site as Site
from adapterhub.specs.names import TaskName as TaskName
from adapterhub.specs.names import TextPooling as TextPooling
from adapterhub.specs.task import TaskSpec as TaskSpec
from adapterhub.specs.training import EarlierTask as EarlierTask
from adapterhub.specs.training import LabelEdit as LabelEdit
from adapterhub.specs.training import TrainingRecord as TrainingRecord
