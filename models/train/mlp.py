"""Training a multilayer perceptron with PyTorch, the same way for every data set. It knows no file formats.

AdamW with a linear warm-up and a cosine decay, label smoothing, dropout on the hidden units, fresh
augmentation every epoch, and an exponential moving average of the weights, which is what is returned.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

from .augment import Augmentation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .datasets import Split

    Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class MlpRecipe:
    """Everything that decides the weights, the data aside.

    `hidden` are the hidden widths, `scale` what raw features are multiplied by before they are normalised,
    `average_decay` the share of the old weights that the moving average keeps at each step.
    """

    hidden: tuple[int, ...]
    n_epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    dropout: float = 0.0
    input_dropout: float = 0.0
    average_decay: float = 0.999
    warmup_epochs: float = 1.0
    scale: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Normalization:
    """x = (raw * scale - mean) / std; `mean` and `std` have one value per channel, or per feature."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def measured(cls, split: Split, input_shape: tuple[int, ...], scale: float) -> Normalization:
        """The training rows' own, rounded to four decimals: per channel for images, else per feature."""
        n_features = math.prod(input_shape)
        n_values = {1: n_features, 2: 1, 3: input_shape[0]}[len(input_shape)]
        values = split.train_features.astype(np.float64).reshape(-1, n_values, n_features // n_values) * scale
        mean, std = values.mean((0, 2)), values.std((0, 2))
        return cls(scale, tuple(mean.round(4).tolist()), tuple(std.round(4).tolist()))

    def __call__(self, raw: torch.Tensor) -> torch.Tensor:
        """raw (n, n_inputs) -> what the first layer takes, same shape."""
        repeats = raw.shape[1] // len(self.mean)
        mean, std = (torch.tensor(v).repeat_interleave(repeats) for v in (self.mean, self.std))
        return (raw * self.scale - mean) / std


class Mlp(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """layer_sizes[0] inputs, ReLU between layers, logits out."""

    def __init__(self, layer_sizes: tuple[int, ...], dropout: float, input_dropout: float) -> None:
        super().__init__()
        pairs = pairwise(layer_sizes)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(n_in, n_out) for n_in, n_out in pairs)
        self.dropout = dropout
        self.input_dropout = input_dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (n, n_inputs) normalised -> logits (n, n_outputs)."""
        x = functional.dropout(x, self.input_dropout, self.training)
        for layer in self.layers[:-1]:
            x = functional.dropout(functional.relu(layer(x)), self.dropout, self.training)
        return self.layers[-1](x)


def train(
    recipe: MlpRecipe,
    split: Split,
    input_shape: tuple[int, ...],
    n_classes: int,
    *,
    report: Callable[[str], None],
) -> tuple[Layers, Normalization]:
    """Train on the split's training rows; nothing here looks at its test rows.

    Returns per layer weight (out, in) f32 and bias (out,) f32, and the normalisation of their inputs.
    """
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    images = torch.from_numpy(split.train_features.astype(np.float32))
    labels = torch.from_numpy(split.train_labels)
    n_rows = len(labels)
    image_shape = (-1, *((1,) * (3 - len(input_shape)) + input_shape)) if len(input_shape) > 1 else None
    normalise = Normalization.measured(split, input_shape, recipe.scale)

    model = Mlp((images.shape[1], *recipe.hidden, n_classes), recipe.dropout, recipe.input_dropout)
    averaged = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    n_batches = -(-n_rows // recipe.batch_size)
    n_steps, step = n_batches * recipe.n_epochs, 0
    started = time.monotonic()
    for epoch in range(recipe.n_epochs):
        model.train()
        order = torch.randperm(n_rows, generator=generator)
        loss_sum = 0.0
        for rows in order.split(recipe.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * schedule(step, n_steps, recipe.warmup_epochs * n_batches)
            x = images[rows]
            if image_shape is not None:
                x = recipe.augmentation(x.reshape(image_shape), generator).flatten(1)
            logits = model(normalise(x))
            loss = functional.cross_entropy(logits, labels[rows], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            decay = min(recipe.average_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(averaged, [p.detach() for p in model.parameters()], 1 - decay)
            loss_sum += loss.item() * len(rows)
        if (epoch + 1) % max(1, recipe.n_epochs // 10) == 0:
            seconds = time.monotonic() - started
            report(f"epoch {epoch + 1}/{recipe.n_epochs}: loss {loss_sum / n_rows:.4f}, {seconds:.0f} s")
    pairs = zip(averaged[::2], averaged[1::2], strict=True)
    return [(weight.numpy(), bias.numpy()) for weight, bias in pairs], normalise


def schedule(step: int, n_steps: int, n_warmup: float) -> float:
    """The learning rate's factor: linear to 1 over `n_warmup` steps, then a half cosine to 0."""
    if step < n_warmup:
        return (step + 1) / n_warmup
    return 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup)))
