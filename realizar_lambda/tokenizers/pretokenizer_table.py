"""The pre-tokenizers that GGUF files name in `tokenizer.ggml.pre`; it does not know how a pattern is matched.

The patterns do what llama.cpp does for the same name, which for a few families (gpt-4o, tekken) is simpler than
the expression in the model's own tokenizer.json. White space beyond ASCII is white space and nothing else there,
which is why some ranges end in `&&\\S`.
"""

from __future__ import annotations

from realizar_lambda.record import namedtuple
from realizar_lambda.tokenizers.pretokenizer import Stage


class Family(namedtuple("Family", "stages ignores_merges adds_bos is_by_character", defaults=(False, False, False))):
    """`ignores_merges`: a piece that is a token is that token, whatever merges say. `adds_bos`: the default.

    `is_by_character`: merges are over characters with U+2581 for spaces, not over bytes.
    """

    __slots__ = ()


CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
ANY_CASE_CONTRACTIONS = "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
SPACES = r"\s+(?!\S)|\s+"
LINES = r"\s*[\r\n]+"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SYMBOLS = r" ?[^\s\p{L}\p{N}]+"

GPT2 = rf"{CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+|{SYMBOLS}|{SPACES}"
LLAMA3 = rf"{ANY_CASE_CONTRACTIONS}|{WORD}|\p{{N}}{{1,3}}|{SYMBOLS}[\r\n]*|{LINES}|{SPACES}"
QWEN2 = rf"{ANY_CASE_CONTRACTIONS}|{WORD}|\p{{N}}|{SYMBOLS}[\r\n]*|{LINES}|{SPACES}"
QWEN35 = (
    rf"{ANY_CASE_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{LINES}|{SPACES}"
)


def _cased(upper: str, lower: str, contractions: str, number: str) -> str:
    """Words that change from upper to lower case at most once, then numbers, symbols and white space."""
    start = r"[^\r\n\p{L}\p{N}]?"
    suffix = f"(?:{contractions})?" if contractions else ""
    return (
        rf"{start}{upper}*{lower}+{suffix}|{start}{upper}+{lower}*{suffix}"
        rf"|{number}|{SYMBOLS}[\r\n/]*|{LINES}|{SPACES}"
    )


NOT_LOWER, NOT_UPPER = r"[\p{L}&&[^a-z]]", r"[\p{L}&&[^A-Z]]"
NOT_LOWER_MARK, NOT_UPPER_MARK = r"[[\p{L}\p{M}]&&[^a-z]]", r"[[\p{L}\p{M}]&&[^A-Z]]"
GPT4O = _cased(NOT_LOWER, NOT_UPPER, ANY_CASE_CONTRACTIONS, r"\p{N}{1,3}")
TEKKEN = _cased(NOT_LOWER, NOT_UPPER, "", r"\p{N}")
GRANITE = _cased(NOT_LOWER_MARK, NOT_UPPER_MARK, ANY_CASE_CONTRACTIONS, r"\p{N}{1,3}")
MARKED_LETTERS = _cased(r"[\p{L}\p{M}]", r"[\p{L}\p{M}]", ANY_CASE_CONTRACTIONS, r"\p{N}{1,3}")

ASCII_PUNCTUATION = r"[!-/:-@\[-`{-~]"
PUNCTUATED = (
    rf"{ASCII_PUNCTUATION}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{LINES}|{SPACES}"
)
CASED_SPANS = (
    "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A "
    "38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF "
    "1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D "
    "1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 "
    "1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F "
    "2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F "
    "A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 "
    "104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"
)
CASED_LETTERS = "".join("-".join(chr(int(end, 16)) for end in span.split("-")) for span in CASED_SPANS.split())
"""Letters of the scripts that have case, as the authors of deepseek-llm listed them."""

CHINESE_TO_KOREAN = r"[[一-龥ࠀ-一가-퟿]&&\S]+"
DIGITS, DIGIT, THREE_DIGITS = Stage(r"\p{N}+"), Stage(r"\p{N}"), Stage("[0-9][0-9][0-9]")
PUNCTUATION = r"\p{P}\$+<=>\^~|"
CLAUSES = Stage(r" ?[^(\s|.,!?…。，、।۔،)]+")
LINE_RUNS = Stage(r"[^\n]+|[\n]+")
KANA_AND_HAN = Stage(r"[一-龥぀-ゟ゠-ヿ]+")
WORD_STAGE = Stage("▁+[^▁]*|[^▁]+")
"""Splits before each run of U+2581: sound where no token has one behind something else."""
UP_TO_THREE_DIGITS = Stage(r"\p{N}{1,3}")

_FAMILIES = (
    ("gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en "
     "jina-v2-code roberta-bpe exaone4 mpt olmo jais trillion granite-docling",
     Family((Stage(GPT2),))),
    ("llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     Family((Stage(LLAMA3),), ignores_merges=True, adds_bos=True)),
    ("dbrx smaug-bpe chatglm-bpe", Family((Stage(LLAMA3),))),
    ("glm4 glm5", Family((Stage(LLAMA3),), ignores_merges=True)),
    ("minicpm5",
     Family((UP_TO_THREE_DIGITS, Stage(LLAMA3.replace("{1,3}", "+"))), ignores_merges=True)),
    ("qwen2 deepseek-r1-qwen kormo f2llmv2 stablelm2 hunyuan solar-open megrez grok-2",
     Family((Stage(QWEN2),))),
    ("ufakzeka", Family((Stage(QWEN2.removeprefix(f"{ANY_CASE_CONTRACTIONS}|")),))),
    ("seed-coder", Family((Stage(QWEN2.replace(f"{SYMBOLS}[\\r\\n]*", r" ?[^\s\p{L}\p{N}\r\n]+")),))),
    ("bailingmoe bailingmoe2 llada-moe",
     Family((Stage(QWEN2.replace(LINES, LINES.removesuffix("+"))),))),
    ("exaone-moe",
     Family((Stage(QWEN2.replace(WORD, r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+")
                   .replace(f"{SYMBOLS}[\\r\\n]*", f"{SYMBOLS}[\\r\\n/]?")
                   .replace(LINES, LINES.removesuffix("+"))),))),
    ("laguna", Family((LINE_RUNS, Stage(QWEN2)))),
    ("qwen35", Family((Stage(QWEN35),))),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", Family((Stage(GPT4O),))),
    ("granite-embed-multi-97m", Family((Stage(GRANITE),), ignores_merges=True)),
    ("tekken", Family((Stage(TEKKEN),), ignores_merges=True, adds_bos=True)),
    ("starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
     Family((DIGIT, Stage(GPT2)))),
    ("falcon", Family((Stage(f"[{PUNCTUATION}`]+"), Stage(GPT2), THREE_DIGITS))),
    ("default", Family((Stage(f"[{PUNCTUATION}]+"), Stage(GPT2), DIGITS, THREE_DIGITS))),
    ("deepseek-llm",
     Family((Stage(r"[\r\n]"), Stage(rf"\s?[{CASED_LETTERS}]+"),
             Stage(r"\s?[[!-/:-~！-／：-～‘-‟　-。]&&\S]+"), Stage(r"\s+$"),
             Stage(CHINESE_TO_KOREAN), DIGITS))),
    ("deepseek-coder",
     Family((Stage(r"[\r\n]"), Stage(r"\s?\p{L}+"), Stage(r"\s?\p{P}+"), Stage(CHINESE_TO_KOREAN), DIGIT))),
    ("deepseek-v3 hunyuan-dense joyai-llm hy_v4",
     Family((UP_TO_THREE_DIGITS, KANA_AND_HAN, Stage(PUNCTUATED)))),
    ("spark2_5",
     Family((UP_TO_THREE_DIGITS, KANA_AND_HAN,
             Stage(PUNCTUATED.replace(LINES, r"[\r\n]").replace(r"+[\r\n]*", "+")), DIGIT))),
    ("youtu",
     Family((Stage(r"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+"),
             Stage(MARKED_LETTERS.replace(r"\p{N}{1,3}", r"\p{N}"))), ignores_merges=True)),
    ("poro-chat bloom gpt3-finnish", Family((CLAUSES,))),
    ("viking", Family((CLAUSES, DIGIT))),
    ("gemma4 granite-embed-multi-311m sarvam-moe", Family((LINE_RUNS,), is_by_character=True)),
)  # fmt: skip

FAMILIES: dict[str, Family] = {name: family for names, family in _FAMILIES for name in names.split()}
"""Every name of a pre-tokenizer, and what it does."""
