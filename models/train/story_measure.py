"""What a story model reaches: perplexity of held-out rows, and the text it goes on with.

Perplexity is exp of the mean loss over every token of the rows but each row's first. Measured twice: with the
package's engine on the file, and with PyTorch in float32 on the file's unpacked weights, which the engine must
agree with.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from realizar_lambda.language_model import LanguageModel

from .bpe import END_OF_TEXT_ID
from .story_files import read_back
from .story_trainer import mean_loss

if TYPE_CHECKING:
    from pathlib import Path

    from .bpe import Vocabulary
    from .llama import Llama, Shape

    Rows = list[list[int]]

PROMPTS = (
    "Once upon a time",
    "One day, a girl named Lily found a red ball",
    "The dog was sad because",
    '"Can we play?" asked',
)
N_NEW = 60


def engine_perplexity(path: Path, rows: Rows) -> float:
    """The perplexity that the package's engine measures."""
    model = LanguageModel.open(str(path))
    total, n_tokens = 0.0, 0
    for row in rows:
        logits = np.asarray(model.logits(row[:-1]), dtype=np.float64)
        highest = logits.max(axis=1)
        normalizers = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        total += float((normalizers - logits[np.arange(len(logits)), row[1:]]).sum())
        n_tokens += len(logits)
    return math.exp(total / n_tokens)


def torch_perplexity(model: Llama, rows: Rows) -> tuple[float, int]:
    """The perplexity in PyTorch's float32, and how many tokens it is of."""
    loss, n_tokens = mean_loss(model.eval(), rows)
    model.eval()
    return math.exp(loss), n_tokens


@torch.no_grad()
def greedy(model: Llama, prompt: list[int], n_new: int) -> tuple[list[int], list[float]]:
    """The `n_new` most probable ids after the prompt, fewer where the text ends, and each one's lead in logits."""
    ids = list(prompt)
    leads: list[float] = []
    while len(leads) < n_new:
        best = torch.topk(model(torch.tensor([ids]))[0, -1], 2)
        ids.append(int(best.indices[0]))
        leads.append(round(float(best.values[0] - best.values[1]), 4))
        if ids[-1] == END_OF_TEXT_ID:
            break
    return ids[len(prompt) :], leads


def continuations(path: Path, shape: Shape, words: Vocabulary) -> list[dict[str, Any]]:
    """For each prompt what PyTorch goes on with, in float32 with the weights that the file holds."""
    model = read_back(path, shape)
    found = []
    for prompt in PROMPTS:
        ids = [END_OF_TEXT_ID, *words.encode(prompt)]
        new, leads = greedy(model, ids, N_NEW)
        found.append({"prompt": prompt, "prompt_ids": ids, "ids": new, "text": words.decode(new), "leads": leads})
    return found
