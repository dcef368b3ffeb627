"""A vocabulary as tables: tokens by their bytes, merges by their two tokens. It does not know how text is split.

The tables are made at load from string arrays as GGUF stores them (u64 length, bytes, and so on) and are read
through one record of int64 words, `ops.LEXICON`:

    tokens, starts       every token's bytes end to end; token i is tokens[starts[i] : starts[i + 1]], u32
    slots, n_slots       open addressing: (token + 1, high half of its hash), two i32 each; 0 is free
    pairs, n_pairs       open addressing: (left * 2**32 + right + 1, rank * 2**32 + whole), two i64 each

Numbers of slots are powers of two and a third of them free. Where two tokens that share a stretch of slots also
share the half of the hash that is kept there, the index is made again with another seed: so the hash alone tells
the tokens of a merge. A vocabulary made to collide is refused after MAX_PROBES steps rather than searched for hours.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import export, kernel
from realizar_lambda.kernels.memory import (
    address_of,
    at,
    cast,
    i16p,
    i32p,
    i64p,
    larger,
    prefetch,
    read_u64,
    smaller,
    u8p,
    u32p,
)

I64 = types.int64
I32 = types.int32

TOKENS, STARTS, SLOTS, N_SLOTS, PAIRS, N_PAIRS, MAX_BYTES, SEED = (
    ops.LEXICON[name] for name in ("tokens", "starts", "slots", "n_slots", "pairs", "n_pairs", "max_bytes", "seed")
)
PRIME = 1099511628211
SPREAD = -7046029254386353131  # 2**64 / golden ratio, odd, as int64
MAX_PROBES = 1024
BATCH = ops.LEXICON_BATCH
N_CHARACTERS = 324  # U+0000 to U+0143: beyond it no character stands for a byte
CROWDED, AMBIGUOUS = ops.CROWDED, ops.AMBIGUOUS
MALFORMED = -1
PLAIN_MARK = 0xFF  # begins no UTF-8


@kernel(I64, I64, u8p, I64, I64)
def hash_on(h, data, start, n):
    """The hash of what `h` is the hash of, followed by data[start : start + n]."""
    for i in range(start, start + n):
        h = (h ^ I64(data[i])) * PRIME
    return h


@kernel(I64, I64, I64)
def slot_of(h, n_slots):
    """Where the search for a hash begins."""
    h = (h ^ h >> 32) * SPREAD
    return (h ^ h >> 32) & (n_slots - 1)


@kernel(types.boolean, u8p, u8p, I64)
def is_equal(x, y, n):
    """Whether two runs of bytes are equal."""
    i = I64(0)
    while i < n and x[i] == y[i]:
        i += 1
    return i == n


@kernel(I64, i64p, u8p, I64, I64)
def find_hashed(lexicon, text, n, h):
    """The token with the `n` bytes of `text`, whose hash is `h`, or -1."""
    n_slots = lexicon[N_SLOTS]
    slots = cast(i32p, lexicon[SLOTS])
    starts = cast(u32p, lexicon[STARTS])
    tokens = cast(u8p, lexicon[TOKENS])
    slot = slot_of(h, n_slots)
    tag = I32(h >> 32)
    while slots[2 * slot] != 0:
        if slots[2 * slot + 1] == tag:
            token = I64(slots[2 * slot]) - 1
            start = I64(starts[token])
            if I64(starts[token + 1]) - start == n and is_equal(at(tokens, start), text, n):
                return token
        slot = (slot + 1) & (n_slots - 1)
    return I64(-1)


@kernel(I64, i64p, u8p, I64)
def find(lexicon, text, n):
    """The token with the `n` bytes of `text`, or -1."""
    if n > lexicon[MAX_BYTES]:
        return I64(-1)
    return find_hashed(lexicon, text, n, hash_on(lexicon[SEED], text, 0, n))


@kernel(I64, i64p, I64, I64)
def find_pair(lexicon, left, right):
    """`rank * 2**32 + whole` of two tokens that merge, or -1."""
    n_pairs = lexicon[N_PAIRS]
    pairs = cast(i64p, lexicon[PAIRS])
    key = left * 4294967296 + right + 1
    slot = slot_of(key, n_pairs)
    while pairs[2 * slot] != 0:
        if pairs[2 * slot] == key:
            return pairs[2 * slot + 1]
        slot = (slot + 1) & (n_pairs - 1)
    return I64(-1)


@kernel(I64, u8p, I64, I64, i16p)
def byte_at(text, i, n, byte_of):
    """The byte that the character at `i` of `n` bytes stands for, or -1. It has two bytes from 0x80 on."""
    point = I64(text[i])
    if point >= 0x80:
        if point < 0xC2 or point > 0xC5 or i + 1 >= n:
            return I64(-1)
        point = (point & 0x1F) << 6 | I64(text[i + 1]) & 0x3F
    return I64(byte_of[point]) if point < N_CHARACTERS else I64(-1)


@kernel(I64, u8p, I64, i16p, u8p)
def raw_bytes(text, n, byte_of, out):
    """Write the bytes that the characters of `text` stand for; how many, or -1 where one stands for none."""
    length = I64(0)
    i = I64(0)
    while i < n:
        byte = byte_at(text, i, n, byte_of)
        if byte < 0:
            return I64(-1)
        out[length] = types.uint8(byte)
        length += 1
        i += 2 if text[i] >= 0x80 else 1
    return length


@kernel(types.void, u8p, u8p, I64)
def copy(out, data, n):
    """Copy n bytes."""
    for i in range(n):
        out[i] = data[i]


@export
def realizar_gather(data, n_strings, byte_of, tokens, starts, is_plain):
    """Lay the strings of a checked array end to end; the length of the longest.

    Where `byte_of` is not null, a string whose characters all stand for bytes becomes those bytes; the others are
    copied behind a PLAIN_MARK with `is_plain` 1. `tokens` has room for all strings with their lengths, `starts` is
    (n_strings + 1,).
    """
    starts = cast(u32p, starts)
    position, end, longest = I64(0), I64(0), I64(0)
    for i in range(n_strings):
        length = read_u64(data, position)
        text = at(data, position + 8)
        position += 8 + length
        starts[i] = types.uint32(end)
        n = I64(-1)
        if address_of(byte_of) != 0:
            n = raw_bytes(text, length, cast(i16p, byte_of), at(tokens, end))
            if n < 0:
                is_plain[i] = 1
                tokens[end] = types.uint8(PLAIN_MARK)
                end += 1
        if n < 0:
            copy(at(tokens, end), text, length)
            n = length
        end += n
        longest = larger(longest, end - I64(starts[i]))
    starts[n_strings] = types.uint32(end)
    return longest


@export
def realizar_index_tokens(lexicon, n_tokens, hashes):
    """Enter every token that is not empty into the slots: -1, CROWDED, AMBIGUOUS, or a token equal to an earlier one.

    `hashes` has room for BATCH int64. Slots lie at random places of a large table, so a batch of hashes is made
    and their cache lines asked for before the first is entered.
    """
    lexicon = cast(i64p, lexicon)
    hashes = cast(i64p, hashes)
    n_slots = lexicon[N_SLOTS]
    slots = cast(i32p, lexicon[SLOTS])
    starts = cast(u32p, lexicon[STARTS])
    tokens = cast(u8p, lexicon[TOKENS])
    for first in range(0, n_tokens, BATCH):
        last = smaller(first + BATCH, n_tokens)
        for token in range(first, last):
            start = I64(starts[token])
            h = hash_on(lexicon[SEED], tokens, start, I64(starts[token + 1]) - start)
            hashes[token - first] = h
            prefetch(slots, 8 * slot_of(h, n_slots))
        for token in range(first, last):
            start = I64(starts[token])
            n = I64(starts[token + 1]) - start
            if n == 0:
                continue
            h = hashes[token - first]
            slot = slot_of(h, n_slots)
            tag = I32(h >> 32)
            probes = 0
            while slots[2 * slot] != 0:
                if slots[2 * slot + 1] == tag:
                    other = I64(slots[2 * slot]) - 1
                    at_other = I64(starts[other])
                    if I64(starts[other + 1]) - at_other == n and is_equal(at(tokens, at_other), at(tokens, start), n):
                        return I64(token)
                    return I64(AMBIGUOUS)
                slot = (slot + 1) & (n_slots - 1)
                probes += 1
                if probes > MAX_PROBES:
                    return I64(CROWDED)
            slots[2 * slot] = I32(token + 1)
            slots[2 * slot + 1] = tag
    return I64(-1)


@export
def realizar_has_inner(lexicon, n_tokens, mark, n):
    """The first token that has the `n` bytes of `mark` behind something that is not `mark`, or -1."""
    lexicon = cast(i64p, lexicon)
    starts = cast(u32p, lexicon[STARTS])
    tokens = cast(u8p, lexicon[TOKENS])
    for token in range(n_tokens):
        is_behind = False
        i = I64(starts[token])
        while i + n <= I64(starts[token + 1]):
            if not is_equal(at(tokens, i), mark, n):
                is_behind = True
                i += 1
            elif is_behind:
                return I64(token)
            else:
                i += n
    return I64(-1)


@export
def realizar_find(lexicon, text, n):
    """The token with the `n` bytes of `text`, or -1."""
    return find(cast(i64p, lexicon), text, n)


@kernel(I64, i64p, u8p, I64, i16p, i64p)
def hash_merge(lexicon, text, length, byte_of, hashes):
    """The hashes of the left part of a merge, of its right part and of the whole to `hashes`: 0, or MALFORMED.

    The first space but one that begins the string parts the two; spaces further on belong to the right part.
    """
    left = lexicon[SEED]
    i = I64(0)
    while i < length and (text[i] != 0x20 or i == 0):
        byte = I64(text[i])
        if address_of(byte_of) != 0:
            byte = byte_at(text, i, length, byte_of)
            if byte < 0:
                return I64(MALFORMED)
            i += text[i] >= 0x80
        left = (left ^ byte) * PRIME
        i += 1
    i += 1
    if i >= length:
        return I64(MALFORMED)
    right = lexicon[SEED]
    joined = left
    while i < length:
        byte = I64(text[i])
        if address_of(byte_of) != 0:
            byte = byte_at(text, i, length, byte_of)
            if byte < 0:
                return I64(MALFORMED)
            i += text[i] >= 0x80
        right = (right ^ byte) * PRIME
        joined = (joined ^ byte) * PRIME
        i += 1
    hashes[0] = left
    hashes[1] = right
    hashes[2] = joined
    return I64(0)


@kernel(I64, i64p, I64)
def token_of_hash(lexicon, h):
    """The token with this hash, or -1; right for bytes that are a token, since the index is not ambiguous."""
    n_slots = lexicon[N_SLOTS]
    slots = cast(i32p, lexicon[SLOTS])
    slot = slot_of(h, n_slots)
    tag = I32(h >> 32)
    while slots[2 * slot] != 0:
        if slots[2 * slot + 1] == tag:
            return I64(slots[2 * slot]) - 1
        slot = (slot + 1) & (n_slots - 1)
    return I64(-1)


@kernel(I64, i64p, I64, I64)
def enter_pair(lexicon, key, value):
    """Enter a merge unless its pair is there: 0, or CROWDED."""
    n_pairs = lexicon[N_PAIRS]
    pairs = cast(i64p, lexicon[PAIRS])
    slot = slot_of(key, n_pairs)
    probes = 0
    while pairs[2 * slot] != 0:
        if pairs[2 * slot] == key:
            return I64(0)
        slot = (slot + 1) & (n_pairs - 1)
        probes += 1
        if probes > MAX_PROBES:
            return I64(CROWDED)
    pairs[2 * slot] = key
    pairs[2 * slot + 1] = value
    return I64(0)


@export
def realizar_index_merges(lexicon, data, n_merges, byte_of, scratch):
    """Enter merges, "left right" each, into the pairs: -1, CROWDED, or the number of a merge that is none.

    Both parts and their join must be tokens. A merge that occurs again keeps its first rank. `scratch` has room
    for 3 * BATCH int64. As with tokens, a batch is hashed before it is looked up, and looked up before it is
    entered: the tables are larger than the cache.
    """
    lexicon = cast(i64p, lexicon)
    scratch = cast(i64p, scratch)
    slots = cast(i32p, lexicon[SLOTS])
    pairs = cast(i64p, lexicon[PAIRS])
    n_slots, n_pairs = lexicon[N_SLOTS], lexicon[N_PAIRS]
    position = I64(0)
    for first in range(0, n_merges, BATCH):
        n_batch = smaller(n_merges - first, I64(BATCH))
        for i in range(n_batch):
            hashes = at(scratch, 24 * i)
            length = read_u64(data, position)
            if hash_merge(lexicon, at(data, position + 8), length, cast(i16p, byte_of), hashes) != 0:
                return first + i
            position += 8 + length
            for j in range(3):
                prefetch(slots, 8 * slot_of(hashes[j], n_slots))
        for i in range(n_batch):
            hashes = at(scratch, 24 * i)
            left = token_of_hash(lexicon, hashes[0])
            right = token_of_hash(lexicon, hashes[1])
            whole = token_of_hash(lexicon, hashes[2])
            if left < 0 or right < 0 or whole < 0:
                return first + i
            hashes[0] = left * 4294967296 + right + 1
            hashes[1] = (first + i) * 4294967296 + whole
            prefetch(pairs, 16 * slot_of(hashes[0], n_pairs))
        for i in range(n_batch):
            hashes = at(scratch, 24 * i)
            if enter_pair(lexicon, hashes[0], hashes[1]) != 0:
                return I64(CROWDED)
    return I64(-1)
