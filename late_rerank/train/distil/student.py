"""The student: the teacher with fewer layers and neurons, and corrected word embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from late_rerank.encode.fingerprint import is_pooler
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.query_side.student import CompiledStudent
from late_rerank.encode.torch.loading import TOKENS, quiet_loading
from late_rerank.errors import ModelError
from late_rerank.train.distil.recipe import DistilRecipe
from late_rerank.train.distil.shrinking import ARCHITECTURES, Architecture, Corrected, default_rank, narrow


class Student:
    """A late-interaction model with few layers.

    Args:
        loaded: sentence-transformers' MultiVectorEncoder of the teacher. It is changed in place.
        recipe: Which layers are kept, how many neurons of each, and the rank of the correction of word embeddings.
        name: The teacher's name, for errors.
        begin_with: A query encoder of the same teacher, whose weights the student takes; None for the teacher's own layers.

    Attributes:
        n_layers: How many layers the student has.
        layers: Which of the teacher's layers these are. With a query encoder to begin with, as the recipe says.
        width: The neurons that each feed-forward part kept.
        correction: The rank of the correction of word embeddings, 0 for none.
        hidden_size: Components of a token vector inside the transformer.
        n_teacher_layers: How many layers the teacher has.

    Raises:
        ModelError: If layers can't be left out of such a model.
        ValueError: If the teacher has no such layer, or fewer neurons; or if the query encoder to begin with has others.
    """

    def __init__(self, loaded: Any, recipe: DistilRecipe, name: str, begin_with: CompiledStudent | None = None) -> None:
        self._model, self._transformer = loaded, loaded[0].model
        config = self._transformer.config
        found = ARCHITECTURES.get(config.model_type)
        if found is None:
            raise ModelError(
                f"{name} is of the architecture {config.model_type!r}, whose layers this version can't leave out. It can of: "
                f"{', '.join(ARCHITECTURES)}"
            )
        self._architecture, self.hidden_size = found, int(config.hidden_size)
        layers, width = recipe.layers, recipe.width
        if begin_with is not None:
            layers, width = _places(begin_with, recipe, config, name), _width(begin_with, recipe, found)
        kept = self._keep_layers(layers, name)
        self.n_layers, self.layers = len(kept), kept if begin_with is None else recipe.layers or ()
        self.width = self._keep_neurons(width, name)
        words = self._transformer.get_input_embeddings()
        self.correction = min(default_rank(words) if recipe.correction is None else recipe.correction, self.hidden_size)
        if self.correction:
            self._transformer.set_input_embeddings(Corrected(words, self.correction, recipe.seed))
        if begin_with is not None:
            self._become(begin_with, name)
        self._freeze()
        if self.device.type == "cpu":
            # For texts as short as queries, the gradient of torch's fused attention takes as long as all the rest of a step.
            self._transformer.set_attn_implementation("eager")

    @property
    def device(self) -> torch.device:
        """Where the student is."""
        device: torch.device = self._model.device
        return device

    @property
    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Give the weights that training changes, by name."""
        return {name: weight for name, weight in self._model.named_parameters() if weight.requires_grad}

    @property
    def n_weights(self) -> int:
        """How many numbers training changes."""
        return sum(weight.numel() for weight in self.trainable.values())

    def vectors(self, inputs: Inputs) -> Tensor:
        """Encode queries.

        Args:
            inputs: As the teacher's layout gives them.

        Returns:
            (n_counted, dim) float32, L2-normalised, one query after the other.
        """
        features: dict[str, Any] = {"input_ids": inputs.ids, "attention_mask": inputs.mask}
        if inputs.filled is not None:
            features["query_expansion_positions"] = inputs.filled
        moved = {name: torch.from_numpy(value).to(self.device) for name, value in features.items()}
        found: Tensor = self._model(moved, task="query")[TOKENS]
        return functional.normalize(found[torch.from_numpy(inputs.counted).to(self.device)].float(), dim=1)

    def save(self, folder: Path) -> None:
        """Write the student as a checkpoint of sentence-transformers' format, with the teacher's prompts, masks and lengths."""
        words = self._transformer.get_input_embeddings()
        if isinstance(words, Corrected):
            self._transformer.set_input_embeddings(words.folded())
        try:
            with quiet_loading():
                self._model.save_pretrained(str(folder), create_model_card=False)
        finally:
            self._transformer.set_input_embeddings(words)

    def fix(self, unseen: Tensor) -> None:
        """Keep the embeddings of some tokens from training.

        Args:
            unseen: (vocabulary,) bool: the tokens that no text has, by id.
        """
        words = self._transformer.get_input_embeddings()
        if isinstance(words, Corrected):
            words.fix(unseen)

    @torch.no_grad()
    def take(self, weights: dict[str, Tensor]) -> None:
        """Take other weights, of the names of `trainable`."""
        for name, weight in self.trainable.items():
            weight.copy_(weights[name])

    @torch.no_grad()
    def _become(self, begin_with: CompiledStudent, name: str) -> None:
        """Take all weights of a query encoder, by their names in the model."""
        held = dict(begin_with.compiled.tensors())
        embeddings = self._transformer.get_input_embeddings()
        words = embeddings.words.weight if isinstance(embeddings, Corrected) else embeddings.weight
        for own, weight in self._model.named_parameters():
            if is_pooler(own) or own.endswith((".codes", ".map")):
                continue
            found = held.get(own.replace(".words.", ".") if weight is words else own)
            if found is None or found.shape != tuple(weight.shape):
                raise ModelError(f"the query encoder to begin with has other weights than layers of {name}: leave it out")
            if weight is words and isinstance(embeddings, Corrected):
                embeddings.become(torch.from_numpy(found))
            else:
                weight.copy_(torch.from_numpy(found))

    def _keep_layers(self, layers: tuple[int, ...] | None, name: str) -> tuple[int, ...]:
        """Leave out all layers but some, and give which these are."""
        config = self._transformer.config
        place, _, last = self._architecture.layers.rpartition(".")
        holder = self._transformer.get_submodule(place)
        has = getattr(holder, last)
        self.n_teacher_layers = len(has)
        if layers is None:
            layers = _default_layers(len(has), narrow=self._architecture.inner is not None)
        _check_layers(layers, len(has), config.model_type, name)
        setattr(holder, last, torch.nn.ModuleList(has[i] for i in layers))
        if config.model_type == "modernbert":  # each layer looks at all tokens or at near ones, as the teacher's does
            config.layer_types = [config.layer_types[i] for i in layers]
        config.num_hidden_layers = len(layers)
        return layers

    def _keep_neurons(self, width: int | None, name: str) -> int:
        """Leave out all neurons of the feed-forward parts but some, and give how many are left."""
        config, kind = self._transformer.config, self._architecture
        has = int(getattr(config, kind.width))
        if kind.inner is None:
            if width not in (None, has):
                raise ValueError(f"the width of {name} stays {has}: its feed-forward parts have gates, got width {width}")
            return has
        width = max(1, has // 2) if width is None else width
        if width > has:
            raise ValueError(f"width must be at most {has}, the neurons of {name}'s feed-forward parts, got {width}")
        if width < has:
            narrow(self._transformer.get_submodule(kind.layers), kind, width, config)
        return width

    def _freeze(self) -> None:
        """Train no weights that student and teacher share, nor a pooler, which no token vector passes.

        Of the embeddings the correction, positions and norm are trained, where the architecture has them.
        """
        self._model.eval()  # without dropout
        trained = (*self._architecture.trained, ".codes", ".map")
        embeddings = {id(weight) for weight in self._transformer.embeddings.parameters()}
        for name, weight in self._model.named_parameters():
            weight.requires_grad_((id(weight) not in embeddings or name.endswith(trained)) and "pooler." not in name)


def groups_of(weights: dict[str, torch.nn.Parameter]) -> Iterator[dict[str, Any]]:
    """Split weights for the optimizer: matrices decay; biases, norms and positions, which no text may have, don't."""
    decays = {name: weight.ndim > 1 and "position_embeddings" not in name for name, weight in weights.items()}
    yield {"params": [weight for name, weight in weights.items() if decays[name]], "weight_decay": 0.01}
    yield {"params": [weight for name, weight in weights.items() if not decays[name]], "weight_decay": 0.0}


def _places(begin_with: CompiledStudent, recipe: DistilRecipe, config: Any, name: str) -> tuple[int, ...]:
    """Choose a layer of the teacher to take the weights of each layer of a query encoder: one of the same kind.

    Raises:
        ModelError: If the teacher lacks such layers.
        ValueError: If the recipe asks for another number of layers.
    """
    n_layers, theirs = begin_with.n_layers or 0, begin_with.settings
    if recipe.layers is not None and len(recipe.layers) != n_layers:
        raise ValueError(
            f"begin_with={str(recipe.begin_with)!r} has {n_layers} layers, and the layers "
            f"{', '.join(map(str, recipe.layers))} were asked for: leave layers out"
        )
    # ModernBERT's first layer is unlike the others, and some look at near tokens alone.
    own = list(getattr(config, "layer_types", None) or [""] * n_layers)
    wanted = list(theirs.get("layer_types") or [""] * n_layers)
    places: list[int] = []
    for kind in wanted:
        fit = [i for i in range(len(own)) if own[i] == kind and i not in places and (i == 0) == (not places)]
        places += fit[:1]
    if theirs.get("model_type") != config.model_type or not n_layers or len(places) != n_layers:
        raise ModelError(f"begin_with={str(recipe.begin_with)!r} has layers of another kind than {name}: leave it out")
    return tuple(places)


def _width(begin_with: CompiledStudent, recipe: DistilRecipe, architecture: Architecture) -> int:
    """Give the width of a query encoder.

    Raises:
        ValueError: If the recipe asks for another.
    """
    width = int(begin_with.settings[architecture.width])
    if recipe.width not in (None, width):
        raise ValueError(f"begin_with={str(recipe.begin_with)!r} has a width of {width}, not {recipe.width}: leave width out")
    return width


def _default_layers(n: int, *, narrow: bool) -> tuple[int, ...]:
    if n > 3 and narrow:
        return (0, n // 2, n - 1)
    return (0, n - 1) if n > 2 else (0,)


def _check_layers(layers: tuple[int, ...], n: int, kind: str, name: str) -> None:
    if layers[-1] >= n:
        raise ValueError(f"layers must be below {n}, the number of layers of {name}, got {', '.join(map(str, layers))}")
    if len(layers) >= n:
        raise ValueError(f"{name} has {n} layers: a student of {len(layers)} is no smaller")
    if kind == "modernbert" and layers[0] != 0:
        raise ValueError(f"layers must begin with 0: {name}'s first layer has no norm before it, unlike the others")
