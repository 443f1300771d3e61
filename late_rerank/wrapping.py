"""What framework wrappers import beside `late_rerank`: names that stay, whatever changes below. `wrappers/` holds them."""

from late_rerank.arguments.given import finite
from late_rerank.arguments.numbers import whole_number
from late_rerank.codecs import Codec
from late_rerank.context.layout import Order
from late_rerank.encode import Encoder
from late_rerank.errors import MissingDependencyError
from late_rerank.fused import AnyReranker
from late_rerank.maxsim import Kernel, Scoring
from late_rerank.pictures import Picture
from late_rerank.ranking.prior import FoundPrior
from late_rerank.ranking.relevance import Calibration
from late_rerank.stores import Store
from late_rerank.text.words import is_blank
from late_rerank.types import Content, FirstStageWeight
from late_rerank.wrappers.choice import Choice
from late_rerank.wrappers.choosing import asks_nothing, choose
from late_rerank.wrappers.given import any_reranker_from, model_at, read_scoring, reranker_from
from late_rerank.wrappers.pictures import (
    ImageFiles,
    Pictures,
    base64_picture,
    check_root,
    sees_pictures,
)
from late_rerank.wrappers.places import Chosen
from late_rerank.wrappers.priors import has_name, prior_numbers, read_prior, written_prior
from late_rerank.wrappers.shown import maxsim_of, unscored

__all__ = [
    "AnyReranker",
    "Calibration",
    "Choice",
    "Chosen",
    "Codec",
    "Content",
    "Encoder",
    "FirstStageWeight",
    "FoundPrior",
    "ImageFiles",
    "Kernel",
    "MissingDependencyError",
    "Order",
    "Picture",
    "Pictures",
    "Scoring",
    "Store",
    "any_reranker_from",
    "asks_nothing",
    "base64_picture",
    "check_root",
    "choose",
    "finite",
    "has_name",
    "is_blank",
    "maxsim_of",
    "model_at",
    "prior_numbers",
    "read_prior",
    "read_scoring",
    "reranker_from",
    "sees_pictures",
    "unscored",
    "whole_number",
    "written_prior",
]
