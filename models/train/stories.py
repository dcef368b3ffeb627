"""Train the story model: `python -m models.train.stories --data FOLDER --work FOLDER [--minutes M]`.

Trains the vocabulary, then the model, and leaves both in the work folder: `vocabulary.json` and `checkpoint.pt`,
from which the next call goes on. `python -m models.train.story_build` makes the model files of them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import torch

from . import bpe, story_text, story_trainer
from .story_trainer import StoryRecipe

RECIPE = StoryRecipe()


def vocabulary(texts: story_text.Texts, work: Path) -> bpe.Vocabulary:
    """The vocabulary in the work folder, trained on the training stories and the books when there is none."""
    path = work / "vocabulary.json"
    if not path.exists():
        words = bpe.count_words(texts.train, story_text.STORIES.vocabulary_weight)
        for corpus in story_text.BOOKS:
            words += bpe.count_words(texts.books[corpus.file], corpus.vocabulary_weight)
        path.write_text(bpe.to_json(bpe.train(words, RECIPE.shape.n_vocab)))
    return bpe.from_json(path.read_text())


def story_rows(documents: list[str], words: bpe.Vocabulary, context: int) -> list[list[int]]:
    """One row per document: end of text, ids, end of text; what passes `context` predictions goes on in a new row."""
    rows = []
    for document in documents:
        ids = [bpe.END_OF_TEXT_ID, *words.encode(document), bpe.END_OF_TEXT_ID]
        rows += [ids[start : start + context + 1] for start in range(0, len(ids) - 1, context)]
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.train.stories", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that has corpora/")
    parser.add_argument("--work", type=Path, required=True, help="where vocabulary and checkpoints go")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this time, to be continued")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    texts = story_text.read(options.data)
    words = vocabulary(texts, options.work)
    context = RECIPE.shape.context
    books = [passage for corpus in story_text.BOOKS for passage in texts.books[corpus.file]]
    state = story_trainer.train(
        RECIPE,
        story_rows(texts.train, words, context),
        story_rows(texts.validation, words, context),
        story_rows(books, words, context // 2),
        checkpoint=options.work / "checkpoint.pt",
        minutes=options.minutes,
        report=lambda line: print(line, flush=True),
    )
    print(json.dumps({"steps": state["step"], "best step": state["best"]["step"], "loss": state["best"]["loss"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
