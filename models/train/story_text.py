"""The texts that the story model learns from, cleaned and split into documents; it knows no tokens."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEPARATOR = "<|endoftext|>"
HELD_OUT_SHARE = 0.05
VALIDATION_SHARE = 0.025
PASSAGE_CHARACTERS = 1200
"""A passage of a book ends at the first empty line after so many."""

TYPOGRAPHY = str.maketrans(
    {"“": '"', "”": '"', "’": "'", "‘": "'", "–": "-", "—": " - ", "…": "...", "\xa0": " ", "\ufeff": ""}
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """One text file: where it lies under the data folder, how often its words count for the vocabulary."""

    file: str
    title: str
    licence: str
    vocabulary_weight: int


STORIES = Corpus(
    "corpora/tinystories_sample_2MiB.txt",
    "TinyStories (Eldan and Li, 2023), the first 2 MiB of a sample, written by GPT-3.5 and GPT-4",
    "CDLA-Sharing-1.0",
    4,
)
BOOKS = (
    Corpus("corpora/alice29.txt", "Alice's Adventures in Wonderland, Lewis Carroll", "public domain", 1),
    Corpus("corpora/pride_and_prejudice.txt", "Pride and Prejudice, Jane Austen", "public domain", 1),
    Corpus("corpora/tinyshakespeare.txt", "plays of William Shakespeare, an excerpt", "public domain", 1),
)


@dataclass(frozen=True, slots=True)
class Texts:
    """Documents: `train`, `validation` and `held_out` are stories in the file's order, `books` passages by file."""

    train: list[str]
    validation: list[str]
    held_out: list[str]
    books: dict[str, list[str]]


def clean(text: str) -> str:
    """Typographic quotes and dashes as ASCII, single spaces, none at the ends of lines."""
    text = re.sub(r"[ \t]+", " ", text.replace("\r\n", "\n").translate(TYPOGRAPHY))
    return re.sub(r" ?\n ?", "\n", text).strip()


def stories(text: str) -> list[str]:
    """The documents between separators, one line break between paragraphs; the last, cut one is left out."""
    documents = [re.sub(r"\n+", "\n", clean(document)) for document in text.split(SEPARATOR)[:-1]]
    return [document for document in documents if document]


def passages(text: str) -> list[str]:
    """A book cut at empty lines into passages of at least 1,200 characters; the last may be shorter."""
    paragraphs = [paragraph for paragraph in re.split(r"\n\n+", clean(text)) if paragraph.strip()]
    found, current = [], ""
    for paragraph in paragraphs:
        current = f"{current}\n{paragraph}" if current else paragraph
        if len(current) >= PASSAGE_CHARACTERS:
            found.append(current)
            current = ""
    return [*found, current] if current else found


def read(data: Path) -> Texts:
    """All texts under the folder `data`. The last 5 % of the stories are held out, the 2.5 % before are validation."""
    documents = stories(_text(data, STORIES))
    held_out = round(len(documents) * HELD_OUT_SHARE)
    validation = round(len(documents) * VALIDATION_SHARE)
    n_train = len(documents) - held_out - validation
    return Texts(
        documents[:n_train],
        documents[n_train : n_train + validation],
        documents[n_train + validation :],
        {corpus.file: passages(_text(data, corpus)) for corpus in BOOKS},
    )


def provenance(data: Path) -> list[dict[str, Any]]:
    """What the manifest says of each file read."""
    return [
        {
            "file": corpus.file,
            "title": corpus.title,
            "licence": corpus.licence,
            "sha256": hashlib.sha256((data / corpus.file).read_bytes()).hexdigest(),
        }
        for corpus in (STORIES, *BOOKS)
    ]


def _text(data: Path, corpus: Corpus) -> str:
    return (data / corpus.file).read_text(encoding="utf-8", errors="ignore")
