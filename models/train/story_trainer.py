"""Training the story model with PyTorch on rows of token ids. It knows no texts and no model files.

AdamW with a linear warm-up, a constant rate, and a cosine decay at the end; one story per row, rows of like
length together; batches of book passages among the first steps, ever fewer of them. Every step seeds its own
dropout, so a run continued from a checkpoint equals one that was never stopped. The weights kept are those with
the lowest loss on the validation stories.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from .llama import Llama, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Rows = list[list[int]]

IGNORED = -100


@dataclass(frozen=True, slots=True)
class StoryRecipe:
    """Everything that decides the weights, the texts aside.

    `book_share` is the probability that the first step's batch is of books; it falls to 0 at `book_steps`.
    `precision` is what matrix products are computed in; weights, sums and optimizer are float32.
    """

    shape: Shape = field(default_factory=Shape)
    n_steps: int = 1700
    decay_from: int = 600
    warmup_steps: int = 100
    tokens_per_batch: int = 2048
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    dropout: float = 0.15
    book_share: float = 0.3
    book_steps: int = 250
    precision: str = "bfloat16"
    validate_every: int = 100
    seed: int = 1


def rate(recipe: StoryRecipe, step: int) -> float:
    """The learning rate of a step, from 0."""
    if step < recipe.decay_from:
        return recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup_steps)
    done = (step - recipe.decay_from) / (recipe.n_steps - recipe.decay_from)
    return recipe.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def epochs(rows: Rows, recipe: StoryRecipe, salt: int) -> Iterator[list[int]]:
    """Batches of row numbers without end: each epoch all rows, rows of like length together, in random order."""
    generator = torch.Generator().manual_seed(recipe.seed * 1000 + salt)
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        batches: list[list[int]] = []
        for start in range(0, len(order), 128):
            batch: list[int] = []
            for row in sorted(order[start : start + 128], key=lambda row: (len(rows[row]), row)):
                if batch and len(rows[row]) * (len(batch) + 1) > recipe.tokens_per_batch:
                    batches.append(batch)
                    batch = []
                batch.append(row)
            batches.append(batch)
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[index]


def plan(stories: Rows, books: Rows, recipe: StoryRecipe) -> list[tuple[bool, list[int]]]:
    """For each step whether it reads books, and which rows."""
    generator = torch.Generator().manual_seed(recipe.seed)
    of_stories, of_books = epochs(stories, recipe, 1), epochs(books, recipe, 2)
    steps = []
    for step in range(recipe.n_steps):
        share = recipe.book_share * max(0.0, 1 - step / recipe.book_steps)
        reads_books = torch.rand((), generator=generator).item() < share
        steps.append((reads_books, next(of_books if reads_books else of_stories)))
    return steps


def padded(rows: Rows) -> tuple[Tensor, Tensor]:
    """Inputs and targets (rows, tokens): the row without its last id, and without its first."""
    width = max(map(len, rows)) - 1
    inputs = torch.zeros(len(rows), width, dtype=torch.long)
    targets = torch.full((len(rows), width), IGNORED)
    for index, row in enumerate(rows):
        inputs[index, : len(row) - 1] = torch.tensor(row[:-1])
        targets[index, : len(row) - 1] = torch.tensor(row[1:])
    return inputs, targets


@torch.no_grad()
def mean_loss(model: Llama, rows: Rows) -> tuple[float, int]:
    """Nats per token over all rows in float32, and how many tokens were predicted."""
    model.eval()
    total, n_tokens = 0.0, 0
    by_length = sorted(rows, key=len)
    for start in range(0, len(rows), 8):
        inputs, targets = padded(by_length[start : start + 8])
        losses = functional.cross_entropy(
            model(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        total += losses.item()
        n_tokens += int((targets != IGNORED).sum())
    model.train()
    return total / n_tokens, n_tokens


def train(
    recipe: StoryRecipe,
    stories: Rows,
    validation: Rows,
    books: Rows,
    *,
    checkpoint: Path,
    minutes: float = math.inf,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train from the checkpoint, else from the start, to the last step or until `minutes` are over.

    Returns the checkpoint: "step" (steps done), "best" (weights, step and loss), "curve" (rows of step, story
    tokens seen, training loss, validation loss), "seconds" of training.
    """
    torch.manual_seed(recipe.seed)
    model = Llama(recipe.shape, dropout=recipe.dropout)
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        fused=True,
    )
    state: dict[str, Any] = {"step": 0, "n_tokens": 0, "seconds": 0.0, "curve": [], "best": {"loss": math.inf}}
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    steps = plan(stories, books, recipe)
    model.train()
    start, before, losses = time.monotonic(), state["seconds"], []
    for step in range(state["step"], recipe.n_steps):
        reads_books, numbers = steps[step]
        loss, n_tokens = _step(
            model, optimizer, [(books if reads_books else stories)[n] for n in numbers], recipe, step
        )
        state["n_tokens"] += 0 if reads_books else n_tokens
        if not reads_books:
            losses.append(loss)
        done = step + 1
        over = time.monotonic() - start > minutes * 60
        if done % recipe.validate_every == 0 or done == recipe.n_steps or over:
            found, _ = mean_loss(model, validation)
            state["curve"].append([done, state["n_tokens"], sum(losses) / max(1, len(losses)), found])
            losses = []
            if found < state["best"]["loss"]:
                weights = {name: value.clone() for name, value in model.state_dict().items()}
                state["best"] = {"step": done, "loss": found, "weights": weights}
            state |= {"step": done, "seconds": before + time.monotonic() - start}
            report(f"step {done}: {state['curve'][-1]}, {state['seconds']:.0f} s")
            saved = {**state, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(saved, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
        if over:
            break
    return state


def _step(
    model: Llama, optimizer: torch.optim.Optimizer, rows: Rows, recipe: StoryRecipe, step: int
) -> tuple[float, int]:
    torch.manual_seed(recipe.seed + 1000 * (step + 1))
    inputs, targets = padded(rows)
    precision = getattr(torch, recipe.precision)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        logits = model(inputs)
    loss = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)
    for group in optimizer.param_groups:
        group["lr"] = rate(recipe, step)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    return loss.item(), int((targets != IGNORED).sum())
