"""Random variations of training images, drawn from one seeded generator. It knows no data set.

Images are (n, channels, height, width) f32 on the raw 0..255 scale; what moves in from outside is 0 or, for
reflected borders, the mirrored edge. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far an image may change. Zero turns a change off.

    `rotation_degrees`, `zoom` and `shear` bound uniform draws (a zoom of 0.1 is 0.9..1.1, in each direction on
    its own), `shift_pixels` is the bound in each direction, `elastic_pixels` the typical local displacement,
    `mirror` the chance to flip left-right, `brightness` and `contrast` relative bounds, `erase_pixels` the
    largest side of a box that is filled with the image's mean.
    """

    rotation_degrees: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    shift_pixels: float = 0.0
    elastic_pixels: float = 0.0
    mirror: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erase_pixels: int = 0
    reflect: bool = False

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return changed copies of `images`, same shape."""
        if self.rotation_degrees or self.zoom or self.shear or self.shift_pixels or self.elastic_pixels:
            images = self._moved(images, generator)
        if self.mirror:
            flipped = torch.rand(len(images), 1, 1, 1, generator=generator) < self.mirror
            images = torch.where(flipped, images.flip(3), images)
        if self.brightness or self.contrast:
            images = self._recoloured(images, generator)
        if self.erase_pixels:
            images = self._erased(images, generator)
        return images

    def _moved(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n, _, height, width = images.shape

        def draw(bound: float) -> torch.Tensor:
            return (torch.rand(n, generator=generator) * 2 - 1) * bound

        angle = torch.deg2rad(draw(self.rotation_degrees))
        zoom_x, zoom_y, shear = 1 + draw(self.zoom), 1 + draw(self.zoom), draw(self.shear)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        rows = (
            (zoom_x * cosine, shear - zoom_x * sine, draw(2 * self.shift_pixels / width)),
            (zoom_y * sine, zoom_y * cosine, draw(2 * self.shift_pixels / height)),
        )
        theta = torch.stack([torch.stack(row, 1) for row in rows], 1)
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        if self.elastic_pixels:
            coarse = torch.randn(n, 2, 5, 5, generator=generator) * (2 * self.elastic_pixels / width)
            bend = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
            grid = grid + bend.permute(0, 2, 3, 1)
        border = "reflection" if self.reflect else "zeros"
        return functional.grid_sample(images, grid, padding_mode=border, align_corners=False)

    def _recoloured(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        light, contrast = (torch.rand(2, len(images), 1, 1, 1, generator=generator) * 2 - 1).unbind()
        mean = images.mean((1, 2, 3), keepdim=True)
        changed = (images - mean) * (1 + contrast * self.contrast) + mean * (1 + light * self.brightness)
        return changed.clamp(0, 255)

    def _erased(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n, _, height, width = images.shape
        size = torch.randint(0, self.erase_pixels + 1, (n, 2), generator=generator)
        centre = (torch.rand(n, 2, generator=generator) * torch.tensor([height, width])).long()
        inside_y = (torch.arange(height) - centre[:, :1]).abs() * 2 < size[:, :1]
        inside_x = (torch.arange(width) - centre[:, 1:]).abs() * 2 < size[:, 1:]
        box = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
        return torch.where(box, images.mean((2, 3), keepdim=True), images)
