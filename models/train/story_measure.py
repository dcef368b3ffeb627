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

from .story_files import read_back
from .story_trainer import mean_loss

if TYPE_CHECKING:
    from pathlib import Path

    from .bpe import Vocabulary
    from .llama import Llama, Shape

    Rows = list[list[int]]

PROMPTS = ("Once upon a time", "One day, a little girl named Lily", "The dog was sad because")
N_NEW = 60
CLEAR_MARGIN = 0.05
"""Logits by which the best token must lead for two arithmetics to be expected to choose alike."""


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
def greedy(model: Llama, prompt: list[int], n_new: int) -> tuple[list[int], float]:
    """Up to `n_new` most probable ids after the prompt, ending before end of text; the least lead of a chosen id."""
    ids, least = list(prompt), math.inf
    while len(ids) - len(prompt) < n_new:
        best = torch.topk(model(torch.tensor([ids]))[0, -1], 2)
        least = min(least, float(best.values[0] - best.values[1]))
        if int(best.indices[0]) == prompt[0]:
            break
        ids.append(int(best.indices[0]))
    return ids[len(prompt) :], least


def continuations(path: Path, shape: Shape, words: Vocabulary, end_of_text: int) -> list[dict[str, Any]]:
    """For each prompt the ids and text that PyTorch goes on with; cut where two tokens are about as probable."""
    model = read_back(path, shape)
    found = []
    for prompt in PROMPTS:
        ids = [end_of_text, *words.encode(prompt)]
        new, margin = greedy(model, ids, N_NEW)
        while margin < CLEAR_MARGIN:
            new, margin = greedy(model, ids, len(new) - 1)
        found.append({"prompt": prompt, "prompt_ids": ids, "ids": new, "text": words.decode(new), "least_lead": margin})
    return found
