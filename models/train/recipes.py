"""Every checked-in model: its data, its recipe, how its weights are stored. A new model is one row here.

Recipes were chosen on a part of the training rows held out for that purpose, never on test rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from .augment import Augmentation
from .logistic import LogisticRecipe
from .mlp import MlpRecipe


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that is trained: `dataset` names a row of DATASETS, `block` how the weights are stored."""

    dataset: str
    recipe: MlpRecipe | LogisticRecipe
    description: str
    block: str = "F32"


@dataclass(frozen=True, slots=True)
class Quantized:
    """A model that is another model's file with its weights stored as `block`."""

    original: str
    block: str

    @property
    def dataset(self) -> str:
        """The data set of the model it was made from."""
        return MODELS[self.original].dataset


_PIXELS = 1 / 255
_DIGITS = Augmentation(rotation_degrees=12, zoom=0.12, shear=0.1, shift_pixels=2)
_CLOTHES = Augmentation(brightness=0.2, contrast=0.2)
_PHOTOS = Augmentation(mirror=0.5, shift_pixels=3, zoom=0.1, rotation_degrees=8, reflect=True)

MODELS: dict[str, Trained | Quantized] = {
    "mnist_784x2": Trained(
        dataset="mnist_zero_one",
        recipe=LogisticRecipe(scale=_PIXELS, inverse_penalty=0.01),
        description="Is a 28 x 28 handwritten digit a 0 or a 1? Logistic regression on pixels 0..255.",
    ),
    "mnist_mlp": Trained(
        dataset="mnist",
        recipe=MlpRecipe(hidden=(128,), n_epochs=100, scale=_PIXELS, augmentation=_DIGITS),
        description="Handwritten digits, 28 x 28 pixels 0..255.",
    ),
    "mnist_mlp-q8_0": Quantized(original="mnist_mlp", block="Q8_0"),
    "cifar10_mlp": Trained(
        dataset="cifar10",
        recipe=MlpRecipe(hidden=(256,), n_epochs=60, average_decay=0.995, scale=_PIXELS, augmentation=_PHOTOS),
        description="Small photos of ten kinds of things, 32 x 32 pixels 0..255, planes red, green, blue.",
        block="F16",
    ),
    "fashion_mnist_mlp": Trained(
        dataset="fashion_mnist",
        recipe=MlpRecipe(
            hidden=(128,),
            n_epochs=150,
            dropout=0.3,
            input_dropout=0.3,
            average_decay=0.99,
            scale=_PIXELS,
            augmentation=_CLOTHES,
        ),
        description="Pieces of clothing, 28 x 28 pixels 0..255; from 700 images.",
    ),
    "iris": Trained(
        dataset="iris",
        recipe=MlpRecipe(
            hidden=(16,),
            n_epochs=200,
            batch_size=30,
            learning_rate=1e-2,
            weight_decay=0.1,
            label_smoothing=0.05,
            average_decay=0.99,
        ),
        description="Iris species from sepal length, sepal width, petal length and petal width in cm.",
    ),
}
