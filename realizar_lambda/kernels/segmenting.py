"""Text cut into whole tokens without merging: the likeliest unigrams, or the longest pieces of words.

Both try every length of token at a place in one pass over the bytes, the hash growing with them.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import export, kernel
from realizar_lambda.kernels.lexicon import MAX_BYTES, SEED, find_hashed, hash_on
from realizar_lambda.kernels.memory import at, cast, f64p, i32p, i64p, larger, smaller, u8p
from realizar_lambda.kernels.merging import FLAGS, UNKNOWN, fall_back
from realizar_lambda.kernels.splitting import N_STAGES, length_at, split

I64 = types.int64
I32 = types.int32
F64 = types.float64

WEIGHTS, LENGTHS = (ops.LEXICON[name] for name in ("weights", "lengths"))
SINGLE_PRECISION = ops.LEXICON_FLAGS["single_precision"]
NOTHING = -1.7976931348623157e308  # below any sum of weights
LARGE = 100000.0  # where sums in single precision begin again from 0, as sentencepiece lets them


@kernel(F64, i64p, F64)
def rounded(lexicon, sum):
    """A sum of weights in the precision that the model's own library adds in."""
    return F64(types.float32(sum)) if lexicon[FLAGS] & SINGLE_PRECISION else sum


@kernel(types.void, f64p, i32p, i32p, I64, I64, I64, F64)
def offer(best, befores, tokens, start, end, token, sum):
    """Let a token end at `end` if that beats what ended there."""
    if sum > best[end]:
        best[end] = sum
        befores[end] = I32(start)
        tokens[end] = I32(token)


@kernel(types.void, i64p, u8p, I64, F64, f64p, i32p, i32p)
def find_best(lexicon, text, n, unknown_weight, best, befores, tokens):
    """For each place of `n` bytes, the token that ends there on the best way, and where it begins."""
    weights = cast(f64p, lexicon[WEIGHTS])
    lengths = cast(i64p, lexicon[LENGTHS])
    for i in range(n + 1):
        best[i] = NOTHING
    best[0] = 0.0
    furthest = I64(0)
    place = I64(0)
    while place < n:
        if lexicon[FLAGS] & SINGLE_PRECISION and abs(best[place]) > LARGE:
            offset = best[place]
            for i in range(place, furthest + 1):
                if best[i] > NOTHING:
                    best[i] = rounded(lexicon, best[i] - offset)
        character = smaller(length_at(text, place), n - place)
        is_token = False
        h = lexicon[SEED]
        possible = lengths[I64(text[place])]
        for length in range(1, smaller(n - place, lexicon[MAX_BYTES]) + 1):
            h = hash_on(h, text, place + length - 1, 1)
            if not (possible >> smaller(length, 62)) & 1:
                continue
            token = find_hashed(lexicon, at(text, place), length, h)
            if token >= 0 and weights[token] > NOTHING:
                is_token = is_token or length == character
                sum = rounded(lexicon, best[place] + weights[token])
                offer(best, befores, tokens, place, place + length, token, sum)
                furthest = larger(furthest, place + length)
            if length < 62 and possible >> (length + 1) == 0:
                break
        if not is_token:
            offer(best, befores, tokens, place, place + character, -1, rounded(lexicon, best[place] + unknown_weight))
            furthest = larger(furthest, place + character)
        place += character


@kernel(I64, i64p, u8p, I64, i32p, i32p, i32p, I64)
def write_path(lexicon, text, n, befores, tokens, out, n_out):
    """Append the tokens on the way that ends at `n`, in order; how many there are. Reverses `befores` as it goes."""
    end = n
    following = n
    while end > 0:
        before = I64(befores[end])
        befores[end] = I32(following)
        following = end
        end = before
    start = I64(0)
    is_first = True
    end = following
    while start < n:
        if tokens[end] >= 0:
            out[n_out] = tokens[end]
            n_out += 1
            is_first = True
        else:
            n_out = fall_back(lexicon, text, start, end, out, n_out, is_first)
            is_first = False
        start = end
        end = I64(befores[end])
    return n_out


@export
def realizar_encode_unigram(lexicon, text, n, unknown_weight, out, scratch):
    """The tokens of the greatest sum of weights for each piece of valid UTF-8, `out` (n,) i32; how many.

    `scratch` has room for `ops.encode_scratch_bytes(n)`.
    """
    lexicon = cast(i64p, lexicon)
    out = cast(i32p, out)
    room = n + 2
    best = cast(f64p, scratch)
    befores = cast(i32p, at(scratch, 8 * room))
    tokens = at(befores, 4 * room)
    first = at(tokens, 4 * room)
    second = at(first, 8 * room)
    n_pieces = split(lexicon, text, n, cast(u8p, at(second, 8 * room)), first, second)
    pieces = second if lexicon[N_STAGES] % 2 else first
    n_out = I64(0)
    for i in range(n_pieces):
        piece = at(text, I64(pieces[2 * i]))
        length = I64(pieces[2 * i + 1]) - I64(pieces[2 * i])
        find_best(lexicon, piece, length, unknown_weight, best, befores, tokens)
        n_out = write_path(lexicon, piece, length, befores, tokens, out, n_out)
    return n_out


@kernel(I64, i64p, u8p, I64, I64)
def longest(lexicon, text, start, end):
    """`token * 2**32 + length` of the longest token that begins at `start`, or -1."""
    found = I64(-1)
    h = lexicon[SEED]
    for length in range(1, smaller(end - start, lexicon[MAX_BYTES]) + 1):
        h = hash_on(h, text, start + length - 1, 1)
        token = find_hashed(lexicon, at(text, start), length, h)
        if token >= 0:
            found = token * 4294967296 + length
    return found


@export
def realizar_encode_words(lexicon, text, n, max_characters, out):
    """The pieces of words, the longest first at each place; `out` (n,) i32; how many.

    Words are parted by single spaces. A word with a place where no token begins, or of more than
    `max_characters` characters, is the unknown token.
    """
    lexicon = cast(i64p, lexicon)
    out = cast(i32p, out)
    n_out = I64(0)
    start = I64(0)
    while start < n:
        end = start
        n_characters = I64(0)
        while end < n and text[end] != 0x20:
            n_characters += 1
            end += length_at(text, end)
        n_before = n_out
        place = start if n_characters <= max_characters else end
        while place < end:
            found = longest(lexicon, text, place, end)
            if found < 0:
                n_out = n_before
                break
            out[n_out] = I32(found >> 32)
            n_out += 1
            place += found & 0xFFFFFFFF
        if n_out == n_before and lexicon[UNKNOWN] >= 0 and end > start:
            out[n_out] = I32(lexicon[UNKNOWN])
            n_out += 1
        start = end + 1
    return n_out
