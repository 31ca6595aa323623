"""The decoder of every kind."""

from __future__ import annotations

from collections.abc import Mapping

from adapterhub.kinds import Kind
from adapterhub.model.heads.kinds.decoder import Decoder
from adapterhub.model.heads.kinds.embedding import EmbeddingDecoder
from adapterhub.model.heads.kinds.label_tree import LabelTreeDecoder
from adapterhub.model.heads.kinds.multi_label import MultiLabelDecoder
from adapterhub.model.heads.kinds.multiple_choice import MultipleChoiceDecoder
from adapterhub.model.heads.kinds.numbers import NumbersDecoder
from adapterhub.model.heads.kinds.ordinal import OrdinalDecoder
from adapterhub.model.heads.kinds.parsing import ParsingDecoder
from adapterhub.model.heads.kinds.question_answering import QuestionAnsweringDecoder
from adapterhub.model.heads.kinds.regression import RegressionDecoder
from adapterhub.model.heads.kinds.single_label import SingleLabelDecoder
from adapterhub.model.heads.kinds.tagging import TaggingDecoder

DECODERS: Mapping[Kind, Decoder] = {
    "single_label": SingleLabelDecoder(),
    "multi_label": MultiLabelDecoder(),
    "regression": RegressionDecoder(),
    "tagging": TaggingDecoder(),
    "parsing": ParsingDecoder(),
    "multiple_choice": MultipleChoiceDecoder(),
    "question_answering": QuestionAnsweringDecoder(),
    "embedding": EmbeddingDecoder(),
    "prototype": SingleLabelDecoder(),
    "label_tree": LabelTreeDecoder(),
    "ordinal": OrdinalDecoder(),
    "numbers": NumbersDecoder(),
}
