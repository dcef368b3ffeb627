"""The table of operations a program is made of: number, name and record fields. Neither kernels nor checks here.

A program is a contiguous table of records of `RECORD_WORDS` 8-byte words: word 0 is the operation's number, the
next words its fields in the order below, the last word is 1 where the team of threads must meet after the
operation. The same table serves the builder, which writes records, and the kernels, whose parameters are named
like the fields.

Field kinds: "p" an address, "i" an int64, "f" a float64.
Shapes in the comments are row-major; every buffer of activations is (n_tokens, width) f32.
"""

from __future__ import annotations

from collections import namedtuple

RECORD_WORDS = 16
RECORD_BYTES = RECORD_WORDS * 8


class Op(namedtuple("Op", "name number fields")):
    """An operation. `fields` is a tuple of (name, kind)."""

    __slots__ = ()


MATMUL_BLOCKS = (
    "F32", "F16", "BF16",
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
    "IQ4_NL", "IQ4_XS",
)  # fmt: skip
"""Block types a matmul weight and an embedding table may have."""

DENSE_BLOCKS = frozenset(("F32", "F16", "BF16"))
"""Block types multiplied with f32 activations; the others multiply with activations quantised to int8."""

_DECLARED = (
    # out (n_tokens, n) = x * multiplier[c] + shift[c], c = i // channel_size; x holds u8 or f32; the first value of a
    # token is NaN where one of its inputs is not finite. Where q's address is not 0 and there are tokens for a tile,
    # q takes out's place, as `interleave` would make it
    ("normalise_u8", "out:p x:p multiplier:p shift:p n:i channel_size:i out_stride:i"),
    ("normalise_f32", "out:p q:p x:p multiplier:p shift:p n:i channel_size:i out_stride:i"),
    # out (n_tokens, width) = f(x)
    ("relu", "out:p x:p width:i"),
    ("sigmoid", "out:p x:p width:i"),
    ("tanh", "out:p x:p width:i"),
    ("gelu", "out:p x:p width:i"),
    # each row of out (n_tokens, width) is positive and sums to 1
    ("softmax", "out:p x:p width:i"),
    # q: int8 codes, scales and sums of x (n_tokens, width), laid out as kernels/activations.py draws
    ("quantize", "q:p x:p width:i"),
    # x transposed for the dense tile: groups of LANES tokens, (width, LANES) f32 each
    ("interleave", "q:p x:p width:i"),
    # out (n_tokens, n_rows) = x (n_tokens, n_columns) . weight (n_rows, n_columns) + bias (n_rows,) + residual, the
    # last two where their address is not 0; q is x quantised or interleaved
    *(
        (
            f"matmul_{block}",
            "out:p x:p q:p weight:p bias:p residual:p n_rows:i n_columns:i out_stride:i scratch:p scratch_bytes:i",
        )
        for block in MATMUL_BLOCKS
    ),
    # the same, at less cost where x is 0 for every token: there even a weight that is not finite adds nothing
    *(
        (
            f"sparse_matmul_{block}",
            "out:p x:p q:p weight:p bias:p residual:p n_rows:i n_columns:i out_stride:i scratch:p scratch_bytes:i",
        )
        for block in ("F32", "F16", "BF16")
    ),
    # out: the rows of an F32 weight as `interleave` would lay tokens out, padded to whole vectors, column i times
    # multiplier[i // channel_size]
    ("columns", "out:p weight:p multiplier:p n_rows:i n_columns:i channel_size:i"),
    # out (n_tokens, n_rows) = x . weight + bias (n_rows,) from the weight's columns, at no cost where x is 0; negative
    # answers become 0 where relu is not 0; all of a token's become NaN where one of its values is not finite
    (
        "add_columns",
        "out:p x:p columns:p bias:p n_rows:i n_columns:i relu:i scratch:p scratch_bytes:i",
    ),
    # out (n_tokens, width) = row ids[token] of weight, times scale
    *((f"embed_{block}", "out:p ids:p weight:p width:i scale:f") for block in MATMUL_BLOCKS),
    # out (n_tokens, width) += row (position + token) of weight (n_positions, width)
    ("add_positions", "out:p weight:p width:i"),
    # out (n_tokens, n_groups, width) = x / rms(x) * weight (width,), each group alone
    ("rms_norm", "out:p x:p weight:p width:i n_groups:i epsilon:f"),
    # out (n_tokens, width) = (x - mean) / std * weight + bias
    ("layer_norm", "out:p x:p weight:p bias:p width:i epsilon:f"),
    # angles (n_tokens, n, 2) = magnitude * (cos, sin) of (position + token) * frequencies (n,) f64
    ("rope_angles", "angles:p frequencies:p n:i magnitude:f"),
    # the first 2n values of each head of x (n_tokens, n_heads, head_width) turned by angles (n_tokens, n, 2), as
    # neighbours, or as value i with value i + n
    ("rope_pairs", "x:p angles:p n:i n_heads:i head_width:i"),
    ("rope_halves", "x:p angles:p n:i n_heads:i head_width:i"),
    # cache (n_kv_heads, capacity, head_width) at position + token = x (n_tokens, n_kv_heads, head_width)
    ("store_f16", "cache:p x:p n_heads:i head_width:i capacity:i"),
    ("store_f32", "cache:p x:p n_heads:i head_width:i capacity:i"),
    # out (n_tokens, n_heads, head_width) = softmax(scale * q . keys + slope * distance) . values, causal; only the
    # last `window` positions where that is not 0; scores s become cap * tanh(s / cap) where cap is not 0
    *(
        (
            f"attention_{element}",
            "out:p q:p keys:p values:p slopes:p n_heads:i n_kv_heads:i head_width:i capacity:i window:i scale:f cap:f "
            "scratch:p scratch_bytes:i",
        )
        for element in ("f16", "f32")
    ),
    # out (n_tokens, width) = f(gate) * up
    ("silu_times", "out:p gate:p up:p width:i"),
    ("gelu_times", "out:p gate:p up:p width:i"),
    ("gelu_erf", "out:p x:p width:i"),
    ("add", "out:p x:p y:p width:i"),
    # out (n_tokens, width) = cap * tanh(x / cap)
    ("soft_cap", "out:p x:p width:i cap:f"),
    ("multiply", "out:p x:p width:i factor:f"),
    # out (n_tokens, width) = x, at least -limit and at most limit
    ("clamp", "out:p x:p width:i limit:f"),
    # out (1, width) = the last row of x (n_tokens, width)
    ("last_row", "out:p x:p width:i"),
    # out (n_tokens,) i32 = the index of the first largest value of x (n_tokens, width); -1 where one is NaN
    ("argmax", "out:p x:p width:i"),
)


def _op(number: int, name: str, fields: str) -> Op:
    return Op(name, number, tuple(tuple(field.split(":")) for field in fields.split()))


OPS = {name: _op(number, name, fields) for number, (name, fields) in enumerate(_DECLARED)}

EXPORTS = {
    # name: result kind, argument kinds ("v" is none)
    "realizar_run": ("v", "piiip"),  # table, n_ops, n_tokens, position, team
    "realizar_call": ("v", "p"),  # the five arguments of realizar_run, as int64 in memory
    "realizar_worker": ("v", "pi"),  # team, thread
    "realizar_lanes": ("i", ""),
    "realizar_abi": ("i", ""),
    "realizar_sample": ("i", "p"),  # a record of SAMPLING; the token, or one of SAMPLING_FAULTS
    "realizar_score": ("i", "pppiip"),  # out, logits, targets, n_rows, n_vocab, scratch; a row, or -1
    "realizar_transpose": ("v", "ppiii"),  # out, x (n_rows, n_columns), n_rows, n_columns, bytes of an element
    "realizar_skip_strings": ("i", "piiiip"),  # data, n_bytes, start, n_strings, most bytes of one, offsets u64 or 0
    # vocabularies: kernels/lexicon.py
    "realizar_gather": ("i", "pipppp"),  # data, n_strings, byte_of, tokens, starts, is_plain
    "realizar_index_tokens": ("i", "pip"),  # lexicon, n_tokens, hashes
    "realizar_index_merges": ("i", "ppipp"),  # lexicon, data, n_merges, byte_of, scratch
    "realizar_find": ("i", "ppi"),  # lexicon, text, n
    "realizar_has_inner": ("i", "pipi"),  # lexicon, n_tokens, mark, n
    # text to tokens: kernels/splitting.py, kernels/merging.py
    "realizar_split": ("i", "ppippp"),  # lexicon, text, n, classes, first, second
    "realizar_encode": ("i", "ppipp"),  # lexicon, text, n, out, scratch
    # kernels/segmenting.py
    "realizar_encode_unigram": ("i", "ppifpp"),  # lexicon, text, n, unknown_weight, out, scratch
    "realizar_encode_words": ("i", "ppiip"),  # lexicon, text, n, max_characters, out
}
"""The functions a library exports, by C name."""

# A matmul over many tokens: the rows in whose multiples threads split it, the vectors of tokens of its register tile,
# the least tokens that the tile pays for (the 110M Q4_K Llama on one thread of a Zen 4: a row at a time four tokens
# take 7.5 ms on x86_64_v4 and 9.1 on x86_64_v3, five 10.0 and 12.4; in a tile six take 15.8 and 11.5, so v4 could wait
# for more), and the widest vector of any target.
TILE_ROWS = 4
TILE_VECTORS = 2
MIN_TILE_TOKENS = 6
MAX_LANES = 16

# Few tokens' quantised activations lie in slices (kernels/slices.py): of so many columns, in so many bytes.
SLICE_COLUMNS = 256
SLICE_BYTES = 640

# The most rows of a weight that are multiplied with a tile's tokens before the next tokens are read.
BAND_ROWS = 32

# The most vectors of sums of a matmul by columns.
COLUMN_SUMS = 16

# Positions that attention takes at a time.
ATTENTION_BLOCK = 32

# Words of a team's shared memory (int64 each); 64-byte lines keep the writers apart.
TEAM_WORDS = 48

# The record of a vocabulary's tables, int64 words: addresses and counts.
LEXICON = {
    name: word
    for word, name in enumerate(
        (
            "tokens", "starts", "slots", "n_slots", "seed", "pairs", "n_pairs", "max_bytes",
            "scores", "byte_tokens", "unknown", "flags", "weights", "lengths",
            "class_index", "class_pages", "byte_classes", "n_classes", "stages", "n_stages",
        )
    )
}  # fmt: skip
LEXICON_FLAGS = {
    "ignores_merges": 1,  # a piece that is a token is that token
    "by_character": 2,  # merging starts from characters, not bytes; unknown ones become byte tokens
    "by_score": 4,  # joins are ordered by the score of the joined token
    "fuses_unknown": 8,  # a run of unknown characters is one unknown token
    "whole_lines": 16,  # a piece of line feeds that is a token is that token
    "single_precision": 32,  # weights of unigrams are added as f32
    "skips_unknown": 64,  # a byte that is no token is left out before merging, so that its neighbours can join
}
CROWDED, AMBIGUOUS = -2, -3  # what indexing may answer instead of a number
NEEDS_MERGES = -1  # what encoding answers where a piece needs merges and there are none yet
LEXICON_BATCH = 16  # tokens or merges whose places in the tables are asked for ahead
# One split of a pre-tokenizer: an automaton's address, or 0 and a mask of classes whose runs are matches where they
# end the text, or up to their last character out of the mask `newlines`; whether what lies between matches is kept;
# whether it splits bytes, each in the class of the character that writes it, and not characters.
STAGE = {"table": 0, "trailing": 1, "newlines": 2, "keeps_gaps": 3, "bytewise": 4}


def encode_scratch_bytes(n_bytes: int) -> int:
    """Working memory for encoding a text of n bytes."""
    return 57 * (n_bytes + 2)


_SAMPLING = (
    # what is sampled: logits (n_vocab,) f32; scratch of sampling_scratch_bytes(n_vocab), its counts zero
    "logits:p n_vocab:i scratch:p "
    # history (n_history,) i32, its first n_prompt ids the prompt's; a drawn token is appended
    "history:p n_prompt:i n_history:i seed:i n_drawn:i "
    # penalties over the last `window` ids (0 is all), biases (n_bias,) i32 and f32, banned (n_banned,) i32, stop ids
    # (n_stop,) i32 banned until min_tokens are drawn
    "window:i repetition_penalty:f presence_penalty:f frequency_penalty:f "
    "bias_ids:p bias_values:p n_bias:i banned:p n_banned:i stop_ids:p n_stop:i min_tokens:i "
    # truncation: each is off at 0, 1, 0 and 1
    "temperature:f top_k:i top_p:f min_p:f typical_p:f "
    # where wants_logprobs: that of the drawn token, and those of the best n_top (top_ids i32, top_logprobs f64), of
    # which there were n_listed
    "wants_logprobs:i n_top:i n_listed:i top_ids:p top_logprobs:p logprob:f "
    # where a fault lies
    "fault_at:i"
)
SAMPLING = {field.partition(":")[0]: word for word, field in enumerate(_SAMPLING.split())}
"""The words of the record that one native call samples from, by name."""
SAMPLING_FLOATS = frozenset(field.partition(":")[0] for field in _SAMPLING.split() if field.endswith(":f"))

SAMPLING_FAULTS = {-1: "not finite", -2: "all banned"}
SAMPLING_BLOCK = 64
SAMPLING_BUCKETS = 2048


def sampling_scratch_bytes(n_vocab: int) -> int:
    """Working memory of `realizar_sample`: five arrays of a value per token, two per block, and a histogram."""
    n_blocks = -(-n_vocab // SAMPLING_BLOCK)
    return n_blocks * SAMPLING_BLOCK * (8 + 4 * 4) + n_blocks * (8 + 4) + (SAMPLING_BUCKETS + 8) * 8


def abi() -> int:
    """A checksum of every table here: a library carries that of the tables it was built with."""
    from zlib import crc32

    tables = (_DECLARED, EXPORTS, LEXICON, LEXICON_FLAGS, STAGE, _SAMPLING)
    sizes = (
        TILE_ROWS, TILE_VECTORS, MIN_TILE_TOKENS, MAX_LANES, SLICE_COLUMNS, SLICE_BYTES, BAND_ROWS, COLUMN_SUMS,
        ATTENTION_BLOCK, TEAM_WORDS, LEXICON_BATCH, CROWDED, AMBIGUOUS, SAMPLING_BLOCK, SAMPLING_BUCKETS,
        encode_scratch_bytes(1),
    )  # fmt: skip
    return crc32(repr((tables, sizes)).encode())
