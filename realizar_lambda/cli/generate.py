"""`realizar-lambda generate MODEL [PROMPT]`: text as it comes, tokens per second at the end."""

from __future__ import annotations

import argparse
import json
import sys

from realizar_lambda.cli.terminal import escaped
from realizar_lambda.cli.text_input import open_language_model, read_text
from realizar_lambda.errors import RequestError
from realizar_lambda.generation import Request, Stream
from realizar_lambda.sampling import SamplingSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.generation import Generation
    from realizar_lambda.language_model import LanguageModel

SAMPLING = (
    ("temperature", float, "T", "0 takes the most probable token (default 0.8)"),
    ("top_k", int, "K", "keep the K most probable tokens"),
    ("top_p", float, "P", "keep the fewest most probable tokens that have this probability together"),
    ("min_p", float, "P", "keep tokens at least this many times as probable as the most probable"),
    ("typical_p", float, "P", "locally typical sampling"),
    ("repetition_penalty", float, "R", "divide the logits of tokens that are there already"),
    ("presence_penalty", float, "X", "subtract from the logits of tokens that were generated"),
    ("frequency_penalty", float, "X", "subtract as often as they were generated"),
    ("penalty_window", int, "N", "penalties look at the last N tokens (default: all)"),
    ("min_tokens", int, "N", "do not stop before so many tokens"),
    ("seed", int, "N", "the same seed gives the same text"),
    ("logprobs", int, "N", "with --json: log-probabilities of the token and the best N"),
)
"""Options that are fields of SamplingSettings: name, type, metavariable, what it does."""

DEFAULTS = {"temperature": 0.8}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a model file, or the name of one in the models folder")
    parser.add_argument("prompt", nargs="?", help="the text to go on from; without it, what is on stdin")
    parser.add_argument("--file", metavar="PATH", help="read the prompt from a file (- is stdin)")
    parser.add_argument("--chat", action="store_true", help="the prompt is a message; without one, a conversation")
    parser.add_argument("--system", metavar="TEXT", help="with --chat: a system message that comes first")
    parser.add_argument("--max-tokens", type=int, default=256, metavar="N", help="at most so many (default 256)")
    parser.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; may be repeated")
    parser.add_argument("--stop-token-id", action="append", type=int, metavar="ID", help="end at this token")
    parser.add_argument("--ignore-eos", action="store_true", help="go on after the model's own end")
    for name, kind, metavar, summary in SAMPLING:
        parser.add_argument("--" + name.replace("_", "-"), type=kind, metavar=metavar, help=summary)
    parser.add_argument("--logit-bias", action="append", metavar="ID=X", help="add X to a token's logit")
    parser.add_argument("--ban", action="append", type=int, metavar="ID", help="never draw this token")
    parser.add_argument("--prompt-lookup", action="store_true", help="the same text, faster where it repeats itself")
    parser.add_argument("--no-special", action="store_true", help="do not put the model's BOS before the prompt")
    parser.add_argument("--parse-special", action="store_true", help="take special tokens in the prompt for such")
    parser.add_argument("--huge-pages", action="store_true", help="read the weights into huge pages, once")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, nothing before it")


def run(arguments: argparse.Namespace) -> int:
    if arguments.prompt is not None and arguments.file is not None:
        print("error: give the prompt as an argument or with --file, and not both", file=sys.stderr)
        return 2
    if arguments.system is not None and not arguments.chat:
        print("error: --system needs --chat", file=sys.stderr)
        return 2
    model = open_language_model(arguments.model, huge_pages=arguments.huge_pages)
    is_conversation = arguments.prompt is None and arguments.file is None and arguments.chat and sys.stdin.isatty()
    if is_conversation:
        return _converse(model, arguments)
    prompt = arguments.prompt if arguments.prompt is not None else read_text(arguments.file or "-")
    if arguments.chat:
        _answer(model, arguments, [*_opening(arguments), {"role": "user", "content": prompt}])
    else:
        request = _request(
            arguments, prompt, add_special=not arguments.no_special, parse_special=arguments.parse_special
        )
        _write(model, request, arguments, before=prompt)
    return 0


def _converse(model: LanguageModel, arguments: argparse.Namespace) -> int:
    """Questions from the terminal until its end, each answered with all before it in mind."""
    messages = _opening(arguments)
    while True:
        try:
            question = input("> ")
        except EOFError:
            print()
            return 0
        if question.strip():
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": _answer(model, arguments, messages).completion})


def _opening(arguments: argparse.Namespace) -> list[dict[str, str]]:
    return [] if arguments.system is None else [{"role": "system", "content": arguments.system}]


def _answer(model: LanguageModel, arguments: argparse.Namespace, messages: list[dict[str, str]]) -> Generation:
    prompt = model.chat_prompt(messages)
    request = _request(
        arguments, prompt.text, stop=prompt.stop, add_special=prompt.add_special, parse_special=prompt.parse_special
    )
    return _write(model, request, arguments)


def _request(
    arguments: argparse.Namespace,
    prompt: str,
    *,
    stop: tuple[str, ...] = (),
    add_special: bool,
    parse_special: bool,
) -> Request:
    given = {name: getattr(arguments, name) for name, *_ in SAMPLING}
    given = DEFAULTS | {name: value for name, value in given.items() if value is not None}
    settings = SamplingSettings(
        logit_bias=dict(map(_bias, arguments.logit_bias or ())), banned_ids=arguments.ban or (), **given
    )
    return Request(
        prompt,
        settings,
        max_tokens=arguments.max_tokens,
        stop=(*(arguments.stop or ()), *stop),
        stop_token_ids=arguments.stop_token_id or (),
        ignore_eos=arguments.ignore_eos,
        prompt_lookup=arguments.prompt_lookup,
        add_special=add_special,
        parse_special=parse_special,
    )


def _bias(text: str) -> tuple[int, float]:
    token, separator, value = text.partition("=")
    try:
        if separator:
            return int(token), float(value)
    except ValueError:
        pass
    raise RequestError(400, f"--logit-bias must be ID=NUMBER, got {text!r:.60}", "logit_bias")


def _write(model: LanguageModel, request: Request, arguments: argparse.Namespace, *, before: str = "") -> Generation:
    """Write a generation as it comes, then what it took on stderr; or all of it as JSON."""
    stream = Stream(model, request)
    is_terminal = sys.stdout.isatty()
    if before and not arguments.json:
        print(shown(before, is_terminal=is_terminal), end="", flush=True)
    for piece in stream:
        if not arguments.json:
            print(shown(piece.text, is_terminal=is_terminal), end="", flush=True)
    done = stream.generation
    if arguments.json:
        answer = {
            "model": model.name, "text": done.text, "completion": done.completion, "token_ids": done.token_ids,
            "finish_reason": done.finish_reason, "seed": stream.seed, "usage": done.usage.to_json(),
            "timings": done.timings.to_json(),
        }  # fmt: skip
        if done.logprobs is not None:
            answer["logprobs"] = [item._asdict() for item in done.logprobs]
        print(json.dumps(answer, allow_nan=False))
    else:
        print(flush=True)
        usage, timings = done.usage, done.timings
        print(
            f"{usage.prompt_tokens} prompt tokens ({usage.cached_tokens} known) in {timings.prefill_seconds:.3f} s, "
            f"{usage.completion_tokens} tokens at {timings.tokens_per_second:.1f} a second, seed {stream.seed}",
            file=sys.stderr,
        )
    return done


def shown(text: str, *, is_terminal: bool) -> str:
    """Text for a terminal: what could move its cursor or change its colours is escaped, lines and tabs are not."""
    if text.isprintable() or not is_terminal:
        return text
    return "".join(c if c in "\n\t\\" or c.isprintable() else escaped(c) for c in text)
