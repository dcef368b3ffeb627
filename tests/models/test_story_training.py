"""Training the story model: batches hold every story once, and stopping and going on changes nothing."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the `train` extra)")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
try:
    from models.train import llama, story_trainer
finally:
    sys.path.remove(str(ROOT))

SHAPE = llama.Shape(n_vocab=40, n_embd=16, n_layers=1, n_heads=2, n_kv_heads=1, n_ff=32, context=24)
RECIPE = story_trainer.StoryRecipe(
    shape=SHAPE, n_steps=6, decay_from=3, warmup_steps=2, tokens_per_batch=48, book_steps=4, validate_every=3
)
STORIES = [[0, *((number * 7 + position) % 39 + 1 for position in range(number % 12 + 3)), 0] for number in range(40)]
BOOKS = [[0, *range(1, 20)], [0, *range(20, 39), 0]]


def trained(checkpoint: Path, **options: float) -> dict:
    return story_trainer.train(
        RECIPE, STORIES, STORIES[:4], BOOKS, checkpoint=checkpoint, report=lambda line: None, **options
    )


def test_an_epoch_has_every_story_once_in_batches_of_bounded_size() -> None:
    batches = list(islice(story_trainer.epochs(STORIES, RECIPE, 1), 40))
    epoch: list[int] = []
    while len(epoch) < len(STORIES):
        batch = batches.pop(0)
        assert len(batch) == 1 or len(batch) * max(len(STORIES[row]) for row in batch) <= RECIPE.tokens_per_batch
        epoch += batch
    assert sorted(epoch) == list(range(len(STORIES)))


def test_the_rate_warms_up_holds_and_falls() -> None:
    rates = [story_trainer.rate(RECIPE, step) / RECIPE.learning_rate for step in range(RECIPE.n_steps)]
    assert rates[:4] == [0.5, 1.0, 1.0, 1.0]
    assert rates[3] > rates[4] > rates[5] > 0


def test_books_are_read_among_the_first_steps_only() -> None:
    recipe = story_trainer.StoryRecipe(n_steps=300, book_steps=100, book_share=0.5)
    reads_books = [reads for reads, _ in story_trainer.plan(STORIES, BOOKS, recipe)]
    assert any(reads_books[:100])
    assert not any(reads_books[100:])


def test_going_on_from_a_checkpoint_equals_never_having_stopped(tmp_path: Path) -> None:
    straight = trained(tmp_path / "straight.pt")
    for done in range(1, RECIPE.n_steps + 1):
        stopped = trained(tmp_path / "stopped.pt", minutes=0.0)
        assert stopped["step"] == done
    assert stopped["n_tokens"] == straight["n_tokens"]
    first, second = (torch.load(tmp_path / f"{name}.pt")["model"] for name in ("straight", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_position_does_not_see_what_follows_it() -> None:
    torch.manual_seed(3)
    model = llama.Llama(SHAPE).eval()
    with torch.no_grad():
        short, long = model(torch.tensor([[0, 5, 9]])), model(torch.tensor([[0, 5, 9, 30, 2]]))
    assert torch.allclose(short, long[:, :3], atol=1e-6)
    assert not torch.allclose(long[0, 1], model(torch.tensor([[0, 7, 9]]))[0, 1])
