"""Byte-pair merging, by ranked pairs of tokens or by the scores of tokens. It does not know where pieces come from.

The best two neighbours are joined until none can be, the leftmost of equals first. A short piece is searched for
its best pair again after each join; a longer one keeps its pairs in a heap, so that a megabyte of one character
takes n log n steps. An entry of the heap is the pair's order and its left place; it is stale, and dropped, when
the pair that now begins at that place has another order.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import export, kernel
from realizar_lambda.kernels.lexicon import PAIRS, find, find_pair
from realizar_lambda.kernels.memory import at, cast, f32_to_bits, f32p, i32p, i64p, larger, smaller, u8p
from realizar_lambda.kernels.splitting import N_STAGES, length_at, split

I64 = types.int64
I32 = types.int32

SCORES, BYTE_TOKENS, UNKNOWN, FLAGS = (ops.LEXICON[name] for name in ("scores", "byte_tokens", "unknown", "flags"))
IGNORES_MERGES, BY_CHARACTER, BY_SCORE, FUSES_UNKNOWN, WHOLE_LINES, SKIPS_UNKNOWN = (
    ops.LEXICON_FLAGS[name]
    for name in ("ignores_merges", "by_character", "by_score", "fuses_unknown", "whole_lines", "skips_unknown")
)
SHORT = 48  # places up to which searching again beats a heap
NEEDS_MERGES = ops.NEEDS_MERGES
NEVER = 9223372036854775807
NO_SCORE = 0xFF800000  # the bits of -inf: a token that is never joined
LOW = 4294967295


@kernel(I64, i64p, u8p, I64, I64, I64, I64)
def join(lexicon, text, left, right, start, end):
    """`order * 2**32 + joined token` of neighbouring tokens; NEVER where they do not join.

    With BY_SCORE the join is looked up by its bytes, text[start:end], and the order is that of falling scores;
    otherwise by its two tokens, and the order is their rank.
    """
    if lexicon[FLAGS] & BY_SCORE:
        token = find(lexicon, at(text, start), end - start)
        if token < 0:
            return I64(NEVER)
        bits = I64(f32_to_bits(cast(f32p, lexicon[SCORES])[token] + types.float32(0.0)))
        if bits == NO_SCORE:
            return I64(NEVER)
        falling = bits if bits >= 0x80000000 else 0x7FFFFFFF - bits
        return (falling - 0x80000000) * 4294967296 + token
    if left < 0 or right < 0:
        return I64(NEVER)
    found = find_pair(lexicon, left, right)
    return found if found >= 0 else I64(NEVER)


@kernel(I64, i64p, u8p, i32p, i32p, i64p, I64)
def merge_short(lexicon, text, tokens, starts, orders, n):
    """Merge `n` places in order, moving what follows up by one each time; how many are left."""
    for i in range(n - 1):
        orders[i] = join(lexicon, text, I64(tokens[i]), I64(tokens[i + 1]), I64(starts[i]), I64(starts[i + 2]))
    while n > 1:
        best = I64(0)
        for i in range(1, n - 1):
            if orders[i] >> 32 < orders[best] >> 32:
                best = i
        if orders[best] == NEVER:
            break
        tokens[best] = I32(orders[best] & LOW)
        n -= 1
        for i in range(best + 1, n):
            tokens[i] = tokens[i + 1]
            starts[i] = starts[i + 1]
        starts[n] = starts[n + 1]
        for i in range(best + 1, n - 1):
            orders[i] = orders[i + 1]
        for i in range(larger(best - 1, 0), smaller(best + 1, n - 1)):
            orders[i] = join(lexicon, text, I64(tokens[i]), I64(tokens[i + 1]), I64(starts[i]), I64(starts[i + 2]))
    return n


@kernel(types.void, i64p, I64, I64)
def push(heap, n, key):
    """Add a key to a heap of `n`."""
    child = n
    while child > 0:
        parent = (child - 1) // 2
        if heap[parent] <= key:
            break
        heap[child] = heap[parent]
        child = parent
    heap[child] = key


@kernel(types.void, i64p, I64)
def pop(heap, n):
    """Drop the least key of a heap of `n`, which is heap[0]."""
    n -= 1
    key = heap[n]
    parent = I64(0)
    child = I64(1)
    while child < n:
        if child + 1 < n and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[parent] = heap[child]
        parent = child
        child = 2 * parent + 1
    heap[parent] = key


@kernel(I64, i64p, u8p, i32p, i32p, i32p, i64p, I64, I64, I64, I64)
def offer(lexicon, text, tokens, starts, afters, heap, n_heap, left, right, n):
    """Enter the pair of places `left`, `right` into the heap if both are there and they join; its new size."""
    if left < 0 or right >= n:
        return n_heap
    end = I64(starts[afters[right]])
    found = join(lexicon, text, I64(tokens[left]), I64(tokens[right]), I64(starts[left]), end)
    if found == NEVER:
        return n_heap
    push(heap, n_heap, (found & ~LOW) | left)
    return n_heap + 1


@kernel(I64, i64p, u8p, i32p, i32p, i32p, i32p, i64p, I64)
def merge_long(lexicon, text, tokens, starts, befores, afters, heap, n):
    """Merge `n` places with a heap; how many are left, moved up to the front."""
    for i in range(n):
        befores[i] = I32(i - 1)
        afters[i] = I32(i + 1)
    n_heap = I64(0)
    for i in range(n - 1):
        n_heap = offer(lexicon, text, tokens, starts, afters, heap, n_heap, i, i + 1, n)
    while n_heap > 0:
        key = heap[0]
        pop(heap, n_heap)
        n_heap -= 1
        left = key & LOW
        right = I64(afters[left])
        if right < 0 or right >= n:
            continue
        further = I64(afters[right])
        found = join(lexicon, text, I64(tokens[left]), I64(tokens[right]), I64(starts[left]), I64(starts[further]))
        if (found & ~LOW) | left != key:
            continue
        tokens[left] = I32(found & LOW)
        afters[left] = I32(further)
        afters[right] = I32(-1)
        if further < n:
            befores[further] = I32(left)
        n_heap = offer(lexicon, text, tokens, starts, afters, heap, n_heap, I64(befores[left]), left, n)
        n_heap = offer(lexicon, text, tokens, starts, afters, heap, n_heap, left, further, n)
    count = I64(0)
    i = I64(0)
    while i < n:
        following = I64(afters[i])
        tokens[count] = tokens[i]
        starts[count] = starts[i]
        count += 1
        i = following
    starts[count] = starts[n]
    return count


@kernel(I64, i64p, u8p, I64, I64, i32p, i32p)
def seed(lexicon, text, start, end, tokens, starts):
    """One place for each byte, or each character, of a piece; how many. starts[n] is the piece's end."""
    n = I64(0)
    place = start
    if lexicon[FLAGS] & BY_CHARACTER:
        while place < end:
            length = smaller(length_at(text, place), end - place)
            tokens[n] = I32(find(lexicon, at(text, place), length))
            starts[n] = I32(place)
            n += 1
            place += length
    else:
        byte_tokens = cast(i32p, lexicon[BYTE_TOKENS])
        keeps_unknown = (lexicon[FLAGS] & SKIPS_UNKNOWN) == 0
        while place < end:
            token = byte_tokens[I64(text[place])]
            if token >= 0 or keeps_unknown:
                tokens[n] = token
                starts[n] = I32(place)
                n += 1
            place += 1
    starts[n] = I32(end)
    return n


@kernel(I64, i64p, u8p, I64, I64, i32p, I64, types.boolean)
def fall_back(lexicon, text, start, end, out, n_out, is_first):
    """Write what stands for bytes that are no token: their byte tokens, or the unknown token, or nothing."""
    byte_tokens = cast(i32p, lexicon[BYTE_TOKENS])
    has_all = (lexicon[FLAGS] & BY_CHARACTER) != 0
    for i in range(start, end):
        has_all = has_all and byte_tokens[I64(text[i])] >= 0
    if has_all:
        for i in range(start, end):
            out[n_out] = byte_tokens[I64(text[i])]
            n_out += 1
    elif lexicon[UNKNOWN] >= 0 and (is_first or not lexicon[FLAGS] & FUSES_UNKNOWN):
        out[n_out] = I32(lexicon[UNKNOWN])
        n_out += 1
    return n_out


@kernel(I64, i64p, u8p, I64, I64)
def whole(lexicon, text, start, end):
    """The token that a whole piece is before any merge, or -1."""
    if not lexicon[FLAGS] & (IGNORES_MERGES | WHOLE_LINES):
        return I64(-1)
    if not lexicon[FLAGS] & IGNORES_MERGES:
        for i in range(start, end):
            if text[i] != 10:
                return I64(-1)
    return find(lexicon, at(text, start), end - start)


@export
def realizar_encode(lexicon, text, n, out, scratch):
    """The tokens of `n` bytes of valid UTF-8, `out` (n,) i32; how many, or NEEDS_MERGES.

    `scratch` has room for `ops.encode_scratch_bytes(n)`.
    """
    lexicon = cast(i64p, lexicon)
    out = cast(i32p, out)
    room = n + 2
    heap = cast(i64p, scratch)
    first = cast(i32p, at(scratch, 24 * room))
    second = at(first, 8 * room)
    tokens = at(second, 8 * room)
    starts = at(tokens, 4 * room)
    befores = at(starts, 4 * room)
    afters = at(befores, 4 * room)
    classes = cast(u8p, at(afters, 4 * room))
    n_pieces = split(lexicon, text, n, classes, first, second)
    pieces = second if lexicon[N_STAGES] % 2 else first
    needs_pairs = lexicon[PAIRS] == 0 and not lexicon[FLAGS] & BY_SCORE
    n_out = I64(0)
    for i in range(n_pieces):
        start = I64(pieces[2 * i])
        end = I64(pieces[2 * i + 1])
        token = whole(lexicon, text, start, end)
        if token >= 0:
            out[n_out] = I32(token)
            n_out += 1
            continue
        n_places = seed(lexicon, text, start, end, tokens, starts)
        if n_places > 1 and needs_pairs:
            return I64(NEEDS_MERGES)
        if n_places <= SHORT:
            n_places = merge_short(lexicon, text, tokens, starts, heap, n_places)
        else:
            n_places = merge_long(lexicon, text, tokens, starts, befores, afters, heap, n_places)
        for j in range(n_places):
            if tokens[j] >= 0:
                out[n_out] = tokens[j]
                n_out += 1
            else:
                is_first = j == 0 or tokens[j - 1] >= 0
                n_out = fall_back(lexicon, text, I64(starts[j]), I64(starts[j + 1]), out, n_out, is_first)
    return n_out
