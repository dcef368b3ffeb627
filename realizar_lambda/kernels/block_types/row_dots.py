"""A row of quantised weights times a few tokens: it must keep up with memory. No bit layouts.

A block of 256 columns is taken in four quarters of two chunks, each chunk 32 columns: one integer dot product and
one fused multiply-add of a quarter, or two, as wide as the target has them. Types of four bits are taken in halves.
Bytes are asked for `AHEAD` of their use: the CPU's own prefetching ends at the end of a page.

What a type makes of one block and one token is an `add`; `row_of` makes a row out of it, times as many tokens as are
asked for: the compiler unpacks a block once for all of them, and each token's sums have the order that they have alone.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.block_types.codes import IS_MOVED
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import CHUNKS, F32S, I8S, F32x8, I8x32, dot, dot_signed, dot_two
from realizar_lambda.kernels.lanes import high, join, low, spread
from realizar_lambda.kernels.memory import at, cast, on_stack, prefetch_lines, smaller, u8p
from realizar_lambda.kernels.slices import FOURS, SCALES, SLICE_BYTES, SLICE_COLUMNS, SUMS16, SUMS32
from realizar_lambda.kernels.vectors import convert, fma, load, splat, store, vector

I64 = types.int64
AHEAD, SHORT_BYTES, TURN_BYTES = 1024, 1152, 576
ACC_BYTES, STATE_BYTES = 32 * CHUNKS, 64 * CHUNKS + 32
FOUR_STATES = 4 * STATE_BYTES // 4  # in f32
STATE = types.Tuple((F32S, F32S, F32x8))
"""A token's sums so far: of the products, in two parts, and of the mins."""


def product_of(is_signed):
    """The dot product for codes as `moved` leaves them."""
    return dot_signed if is_signed and not IS_MOVED else dot


def moved(chunk, is_signed):
    """A type's chunk(block, c) with its codes as the target multiplies them."""
    if not (is_signed and IS_MOVED):
        return chunk

    @kernel(I8x32, u8p, I64)
    def moved_chunk(block, c):
        return chunk(block, c) ^ splat(I8x32, -128)

    return moved_chunk


@kernel(F32x8, STATE)
def sums_of(state):
    """Eight sums, whose total is a row's product."""
    acc = state[0] + state[1]
    return (low(acc) + high(acc) if CHUNKS == 2 else acc) - state[2]


@kernel(STATE, u8p)
def read_state(place):
    """A state that `write_state` wrote."""
    return load(F32S, place, 0), load(F32S, place, ACC_BYTES), load(F32x8, place, 2 * ACC_BYTES)


@kernel(types.void, u8p, STATE)
def write_state(place, state):
    """Keep a state in STATE_BYTES of memory."""
    store(place, 0, state[0])
    store(place, ACC_BYTES, state[1])
    store(place, 2 * ACC_BYTES, state[2])


def joined(chunk):
    """chunk(block, 2k) and chunk(block, 2k + 1) in one vector, as (block, k)."""

    @kernel(vector("i8", 64), u8p, I64)
    def two_chunks(block, k):
        return join(chunk(block, 2 * k), chunk(block, 2 * k + 1))

    return two_chunks


def quarter(chunk, k, first, times, is_signed, two_chunks=None):
    """acc + the products of chunks 2k and 2k + 1, scaled by lanes first, first + 1, ... of s, for `times` sums each.

    two_chunks(block, k), where a type has it, reads both chunks for less than one after the other.
    """
    product, codes_of = product_of(is_signed), two_chunks or joined(chunk)
    c, second = 2 * k, first + 8 // times

    @kernel(F32S, u8p, u8p, F32x8, F32S)
    def add(block, x, s, acc):
        if CHUNKS == 2:
            sums = product(codes_of(block, k), load(I8S, x, c * 32))
            return fma(convert(F32S, sums), spread(F32S, s, first, 1, times), acc)
        lower = convert(F32S, product(chunk(block, c), load(I8S, x, c * 32)))
        upper = convert(F32S, product(chunk(block, c + 1), load(I8S, x, c * 32 + 32)))
        return fma(upper, spread(F32S, s, second, 1, times), fma(lower, spread(F32S, s, first, 1, times), acc))

    return add


def add_by_32(chunk, scales_of, *, is_signed, has_min):
    """For blocks of eight scales and eight mins; `has_min` is False where all mins are 0."""
    chunk = moved(chunk, is_signed)
    first, second, third, fourth = (quarter(chunk, k, 2 * k, 8, is_signed) for k in range(4))

    @kernel(STATE, u8p, u8p, STATE)
    def add(block, x, state):
        acc0, acc1, least = state
        s, m = scales_of(block)
        if has_min:
            least = fma(m, load(F32x8, x, SUMS32), least)
        s = s * load(F32x8, x, SCALES)
        acc0 = third(block, x, s, first(block, x, s, acc0))
        acc1 = fourth(block, x, s, second(block, x, s, acc1))
        return acc0, acc1, least

    return add


def half_block(nibbles, odd):
    """acc + the products of chunks 0, 2, 4, 6 or, odd, 1, 3, 5, 7, whose scales are every second lane of s."""

    def step(part):
        x_at, first = FOURS + odd * 128 + part * 32, odd + 4 * part

        @kernel(F32S, u8p, u8p, F32x8, F32S)
        def add(block, x, s, acc):
            sums = dot_two(
                nibbles(block, odd, 0, part), load(I8S, x, x_at), nibbles(block, odd, 1, part), load(I8S, x, x_at + 64)
            )
            return fma(convert(F32S, sums), spread(F32S, s, first, 2, 4), acc)

        return add

    if CHUNKS == 2:
        return step(0)
    first, second = step(0), step(1)

    @kernel(F32S, u8p, u8p, F32x8, F32S)
    def add_both(block, x, s, acc):
        return second(block, x, s, first(block, x, s, acc))

    return add_both


def add_by_fours(nibbles, scales_of):
    """For blocks of eight scales and eight mins whose codes are read four chunks, or two, at a time.

    nibbles(block, odd, upper, part) gives columns 0 to 15 (upper: 16 to 31) of chunks 0, 2, 4, 6 (odd: 1, 3, 5, 7), as
    x has them in fours; where a step is one chunk wide, of the first two of these or (part 1) the last two.
    """
    even, odd = half_block(nibbles, 0), half_block(nibbles, 1)

    @kernel(STATE, u8p, u8p, STATE)
    def add(block, x, state):
        acc0, acc1, least = state
        s, m = scales_of(block)
        least = fma(m, load(F32x8, x, SUMS32), least)
        s = s * load(F32x8, x, SCALES)
        return even(block, x, s, acc0), odd(block, x, s, acc1), least

    return add


def add_by_16(chunk, scales_of, two_chunks):
    """For blocks of 16 scales and 16 mins, in two vectors each."""
    first, second, third, fourth = (quarter(chunk, k, 4 * k % 8, 4, False, two_chunks) for k in range(4))

    @kernel(STATE, u8p, u8p, STATE)
    def add(block, x, state):
        acc0, acc1, least = state
        s0, s1, m0, m1 = scales_of(block)
        least = fma(m1, load(F32x8, x, SUMS16 + 32), fma(m0, load(F32x8, x, SUMS16), least))
        d = load(F32x8, x, SCALES)
        s0, s1 = s0 * spread(F32x8, d, 0, 1, 2), s1 * spread(F32x8, d, 4, 1, 2)
        acc0 = third(block, x, s1, first(block, x, s0, acc0))
        acc1 = fourth(block, x, s1, second(block, x, s0, acc1))
        return acc0, acc1, least

    return add


def row_of(n_bytes, add, n):
    """The kernel that multiplies a row's whole blocks with n tokens: (row, x, next_slice, n_columns).

    It gives eight sums for each token, whose total is the product: whoever has four of them adds them up together.
    x is the first token's first slice, the other tokens' lie behind it; its next one is `next_slice` bytes further.
    """
    add_all, start, all_sums = _adds(add, n), _zeros(n), _row_sums(n)

    @kernel(types.UniTuple(F32x8, n), u8p, u8p, I64, I64)
    def dot_row(row, x, next_slice, n_columns):
        states = start()
        for b in range(n_columns // SLICE_COLUMNS):
            block = at(row, b * n_bytes)
            prefetch_lines(block, AHEAD, n_bytes)
            states = add_all(block, at(x, b * next_slice), states)
        return all_sums(states)

    return dot_row


def four_rows_of(n_bytes, add):
    """The kernel of one token and four rows, `next_row` bytes apart: (row, next_row, x, n_columns).

    Of rows longer than `SHORT_BYTES` it takes `TURN_BYTES` in turn, so that none is left alone for long.
    """
    dot_row, turn_blocks = row_of(n_bytes, add, 1), max(1, TURN_BYTES // n_bytes)

    @kernel(types.UniTuple(F32x8, 4), u8p, I64, u8p, u8p, I64)
    def dot_in_turns(row, next_row, states, x, n_blocks):
        nothing = splat(F32S, 0.0), splat(F32S, 0.0), splat(F32x8, 0.0)
        for r in range(4):
            write_state(at(states, r * STATE_BYTES), nothing)
        for begin in range(0, n_blocks, turn_blocks):
            end = smaller(n_blocks, begin + turn_blocks)
            for r in range(4):
                place, source = at(states, r * STATE_BYTES), at(row, r * next_row)
                state = read_state(place)
                for b in range(begin, end):
                    block = at(source, b * n_bytes)
                    prefetch_lines(block, AHEAD, n_bytes)
                    state = add(block, at(x, b * SLICE_BYTES), state)
                write_state(place, state)
        a, b = sums_of(read_state(states)), sums_of(read_state(at(states, STATE_BYTES)))
        c, d = read_state(at(states, 2 * STATE_BYTES)), read_state(at(states, 3 * STATE_BYTES))
        return a, b, sums_of(c), sums_of(d)

    @kernel(types.UniTuple(F32x8, 4), u8p, I64, u8p, I64)
    def dot_rows(row, next_row, x, n_columns):
        n_blocks = n_columns // SLICE_COLUMNS
        if n_blocks * n_bytes > SHORT_BYTES:
            return dot_in_turns(row, next_row, cast(u8p, on_stack(FOUR_STATES)), x, n_blocks)
        a = dot_row(row, x, SLICE_BYTES, n_columns)[0]
        b = dot_row(at(row, next_row), x, SLICE_BYTES, n_columns)[0]
        c = dot_row(at(row, 2 * next_row), x, SLICE_BYTES, n_columns)[0]
        return a, b, c, dot_row(at(row, 3 * next_row), x, SLICE_BYTES, n_columns)[0]

    return dot_rows


def _adds(add, n):
    """`add` for n tokens."""
    others = _adds(add, n - 1) if n > 1 else None

    @kernel(types.UniTuple(STATE, n), u8p, u8p, types.UniTuple(STATE, n))
    def add_all(block, x, states):
        first = (add(block, x, states[0]),)
        if n > 1:
            return first + others(block, at(x, SLICE_BYTES), states[1:])
        return first

    return add_all


def _zeros(n):
    """A kernel that gives n states of nothing added."""
    others = _zeros(n - 1) if n > 1 else None

    @kernel(types.UniTuple(STATE, n))
    def zeros():
        zero = ((splat(F32S, 0.0), splat(F32S, 0.0), splat(F32x8, 0.0)),)
        if n > 1:
            return zero + others()
        return zero

    return zeros


def _row_sums(n):
    """A kernel that gives the eight sums of each of n states."""
    others = _row_sums(n - 1) if n > 1 else None

    @kernel(types.UniTuple(F32x8, n), types.UniTuple(STATE, n))
    def all_sums(states):
        first = (sums_of(states[0]),)
        if n > 1:
            return first + others(states[1:])
        return first

    return all_sums
