"""Fused attention with an online softmax: one pass over keys and values, never a matrix of scores.

    out = softmax(scale * q . keys + slope * distance) . values          causal, grouped queries

For each query the running maximum m, sum l and weighted sum acc of the values are kept; a block of positions with
a larger maximum rescales them (Milakov and Gimelshein, 2018; Dao and others, 2022).

Few tokens: each (token, head) alone, over blocks of `BLOCK` positions, LANES keys at once. Many tokens: a query in
each lane of V vectors, a block of keys and then of values decoded to f32 and multiplied in the register tile of
`tile.py`.

A cache is (n_kv_heads, capacity, head_width), f16 or f32. Threads split the (head, token) pairs, or take tiles in
turn; which thread takes one changes nothing in it.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.block_types import dense
from realizar_lambda.kernels.cache_rows import inner, totals, weighted
from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.elementary import exp, exp_1, tanh, tanh_1
from realizar_lambda.kernels.memory import address_of, at, cast, f32p, larger, smaller, u8p
from realizar_lambda.kernels.shares import part
from realizar_lambda.kernels.tile import Tile, outer, refill, spill, zero
from realizar_lambda.kernels.vectors import LANES, largest, load, maximum, splat, store, total, vector

I64, f32 = types.int64, types.float32
F32 = vector("f32", LANES)
BLOCK = ops.ATTENTION_BLOCK
R, V = ops.TILE_ROWS, ops.TILE_VECTORS
TILE = Tile(R, V)
POSITIONS = Tile(LANES, 1)
QUERIES = V * LANES
MINUS_INFINITY = -3.0e38
"""Stands for a masked score: exp of it less any real maximum is 0, and it is its own difference without NaN."""


@kernel(I64, I64, I64)
def first_visible(last, window):
    """The first position that the query at `last` sees."""
    return larger(I64(0), last - window + 1) if window > 0 else I64(0)


def _attention(element, kernels, n_bytes):
    decode, dot = kernels.decode, kernels.dot

    cached = vector(element, LANES)

    @kernel(types.void, f32p, f32p, u8p, I64, I64, f32)
    def score(scores, q, keys, n, head_width, scale):
        """scores (n,) = scale * keys (n, head_width) . q, LANES positions at once where the width lets them."""
        row_bytes = head_width * n_bytes
        j = I64(0)
        if head_width % LANES == 0:
            while j + LANES <= n:
                products = zero(POSITIONS)
                for i in range(0, head_width, LANES):
                    products = inner(products, cached, at(keys, j * row_bytes), row_bytes, q, i)
                store(scores, j, totals(products) * splat(F32, scale))
                j += LANES
        while j < n:
            scores[j] = dot(at(keys, j * row_bytes), q, head_width) * scale
            j += 1

    def weigh_part(n_vectors):
        """`weigh` for so many vectors of columns from column i on."""
        part = Tile(n_vectors, 1)

        @kernel(types.void, f32p, f32p, u8p, I64, I64, I64)
        def weigh(out, weights, values, n, row_bytes, i):
            acc = refill(part, at(out, i * 4))
            for j in range(n):
                acc = weighted(acc, cached, weights[j], at(values, j * row_bytes), i)
            spill(acc, at(out, i * 4))

        return weigh

    weigh_eight, weigh_four, weigh_one = weigh_part(8), weigh_part(4), weigh_part(1)

    @kernel(types.void, f32p, f32p, u8p, I64, I64, f32p)
    def weigh(out, weights, values, n, head_width, decoded):
        """out (head_width,) += the sum of weights[j] * values[j]."""
        row_bytes = head_width * n_bytes
        i = I64(0)
        while i + 8 * LANES <= head_width:
            weigh_eight(out, weights, values, n, row_bytes, i)
            i += 8 * LANES
        while i + 4 * LANES <= head_width:
            weigh_four(out, weights, values, n, row_bytes, i)
            i += 4 * LANES
        while i + LANES <= head_width:
            weigh_one(out, weights, values, n, row_bytes, i)
            i += LANES
        if i < head_width:
            for j in range(n):
                decode(decoded, at(values, j * row_bytes), head_width)
                for k in range(i, head_width):
                    out[k] += weights[j] * decoded[k]

    @kernel(types.void, f32p, f32p, u8p, u8p, f32, I64, I64, I64, f32, f32, f32p)
    def one_query(out, q, keys, values, slope, head_width, first, last, scale, cap, scratch):
        """One head of one token over positions first to last; scratch holds BLOCK scores and one decoded row."""
        row_bytes = head_width * n_bytes
        m, weight_sum = f32(MINUS_INFINITY), f32(0.0)
        for i in range(head_width):
            out[i] = 0.0
        begin = first
        while begin <= last:
            n = smaller(I64(BLOCK), last + 1 - begin)
            score(scratch, q, at(keys, begin * row_bytes), n, head_width, scale)
            if cap != 0.0:
                for j in range(n):
                    scratch[j] = cap * tanh_1(scratch[j] / cap)
            if slope != 0.0:
                for j in range(n):
                    scratch[j] -= slope * f32(last - begin - j)
            for j in range(n, (n + LANES - 1) // LANES * LANES):
                scratch[j] = MINUS_INFINITY
            biggest = splat(F32, m)
            for j in range(0, n, LANES):
                biggest = maximum(load(F32, scratch, j), biggest)  # drops NaN, whose weight below is NaN again
            if largest(biggest) > m:
                shrink = exp_1(m - largest(biggest))
                weight_sum *= shrink
                for i in range(head_width):
                    out[i] *= shrink
                m = largest(biggest)
            sums = splat(F32, 0.0)
            for j in range(0, n, LANES):
                e = exp(load(F32, scratch, j) - splat(F32, m))
                store(scratch, j, e)
                sums = sums + e
            weight_sum += total(sums)
            weigh(out, scratch, at(values, begin * row_bytes), n, head_width, at(scratch, BLOCK * 4))
            begin += n
        inverse = f32(1.0) / weight_sum
        for i in range(head_width):
            out[i] *= inverse

    @kernel(types.void, f32p, f32p, u8p, u8p, f32, I64, I64, I64, I64, I64, I64, I64, f32, f32, f32p)
    def query_tile(
        out, q, keys, values, slope, head_width, stride, token, n_tokens, position, first, window, scale, cap, scratch
    ):
        """One head of the QUERIES tokens from `token` on; scratch is laid out below."""
        row_bytes = head_width * n_bytes
        queries = scratch  # (V, head_width, LANES): a query in each lane
        acc = at(queries, head_width * QUERIES * 4)  # (head_width / R, R, V, LANES)
        rows = at(acc, head_width * QUERIES * 4)  # (BLOCK, head_width) decoded keys or values
        scores = at(rows, BLOCK * head_width * 4)  # (BLOCK / R, R, V, LANES)
        by_vector = at(scores, BLOCK * QUERIES * 4)  # (V, BLOCK, LANES): the scores as the second product reads them
        greatest = at(by_vector, BLOCK * QUERIES * 4)  # (V, LANES)
        sums = at(greatest, QUERIES * 4)
        n_queries = smaller(I64(QUERIES), n_tokens - token)
        for lane in range(QUERIES):
            source = (token + smaller(lane, n_queries - 1)) * stride
            target = lane // LANES * head_width * LANES + lane % LANES
            for i in range(head_width):
                queries[target + i * LANES] = q[source + i] * scale
        for i in range(head_width * QUERIES):
            acc[i] = 0.0
        for lane in range(QUERIES):
            greatest[lane] = MINUS_INFINITY
            sums[lane] = 0.0
        last = position + token + n_queries - 1
        begin = first
        while begin <= last:
            n = smaller(I64(BLOCK), last + 1 - begin)
            for j in range(n):
                decode(at(rows, j * head_width * 4), at(keys, (begin + j) * row_bytes), head_width)
            for j in range(0, n, R):
                result = zero(TILE)
                i = 0
                while i + 4 <= head_width:
                    result = outer(
                        result, at(rows, j * head_width * 4), i, head_width, 1, queries, head_width * LANES, 4
                    )
                    i += 4
                while i < head_width:
                    result = outer(
                        result, at(rows, j * head_width * 4), i, head_width, 1, queries, head_width * LANES, 1
                    )
                    i += 1
                spill(result, at(scores, j * QUERIES * 4))
            mask_scores(scores, slope, cap, n, begin, position + token, window)
            rescale(scores, by_vector, greatest, sums, acc, n, head_width)
            for j in range(n):
                decode(at(rows, j * head_width * 4), at(values, (begin + j) * row_bytes), head_width)
            i = 0
            while i < head_width:
                place = at(acc, i * QUERIES * 4)
                result = refill(TILE, place)
                j = I64(0)
                while j + 4 <= n:
                    result = outer(result, at(rows, i * 4), j, 1, head_width, by_vector, BLOCK * LANES, 4)
                    j += 4
                while j < n:
                    result = outer(result, at(rows, i * 4), j, 1, head_width, by_vector, BLOCK * LANES, 1)
                    j += 1
                spill(result, place)
                i += R
            begin += n
        for lane in range(n_queries):
            inverse = f32(1.0) / sums[lane]
            target = (token + lane) * stride
            for i in range(head_width):
                out[target + i] = acc[i * QUERIES + lane] * inverse

    def attention(
        out, q, keys, values, slopes, n_heads, n_kv_heads, head_width, capacity, window, scale, cap,
        scratch, scratch_bytes, n_tokens, position, thread, n_threads,
    ):  # fmt: skip
        stride, share = n_heads * head_width, n_heads // n_kv_heads
        own = cast(f32p, at(scratch, thread * scratch_bytes))
        if n_tokens < ops.MIN_TILE_TOKENS or head_width % R != 0:
            n_units = n_heads * n_tokens
            for unit in range(part(n_units, thread, n_threads), part(n_units, thread + 1, n_threads)):
                token, head = unit % n_tokens, unit // n_tokens
                cache = head // share * capacity * head_width * n_bytes
                slope = slopes[head] if address_of(slopes) != 0 else f32(0.0)
                place, last = (token * stride + head * head_width) * 4, position + token
                one_query(
                    at(out, place), at(q, place), at(keys, cache), at(values, cache), slope, head_width,
                    first_visible(last, window), last, f32(scale), f32(cap), own,
                )  # fmt: skip
            return
        n_tiles = (n_tokens + QUERIES - 1) // QUERIES
        for unit in range(thread, n_tiles * n_heads, n_threads):
            token, head = (n_tiles - 1 - unit // n_heads) * QUERIES, unit % n_heads
            cache = head // share * capacity * head_width * n_bytes
            slope = slopes[head] if address_of(slopes) != 0 else f32(0.0)
            place = head * head_width * 4
            query_tile(
                at(out, place), at(q, place), at(keys, cache), at(values, cache), slope, head_width, stride, token,
                n_tokens, position, first_visible(position + token, window), window, f32(scale), f32(cap), own,
            )  # fmt: skip

    attention.__name__ = f"attention_{element}"
    op(f32p, f32p, u8p, u8p, f32p, u8p)(attention)

    def store_rows(cache, x, n_heads, head_width, capacity, n_tokens, position, thread, n_threads):
        n_units = n_heads * n_tokens
        for unit in range(part(n_units, thread, n_threads), part(n_units, thread + 1, n_threads)):
            token, head = unit % n_tokens, unit // n_tokens
            target = at(cache, (head * capacity + position + token) * head_width * n_bytes)
            encode(target, at(x, (token * n_heads + head) * head_width * 4), head_width)

    encode = dense.ENCODE[element]
    store_rows.__name__ = f"store_{element}"
    op(u8p, f32p)(store_rows)


@kernel(types.void, f32p, f32, f32, I64, I64, I64, I64)
def mask_scores(scores, slope, cap, n, begin, position, window):
    """Cap the scores (n, QUERIES), add the slope's bias, and hide positions that a query does not see."""
    for j in range(n):
        row = at(scores, j * QUERIES * 4)
        if cap != 0.0:
            for lane in range(0, QUERIES, LANES):
                store(row, lane, splat(F32, cap) * tanh(load(F32, row, lane) * splat(F32, f32(1.0) / cap)))
        at_ = begin + j
        if slope != 0.0 or at_ > position or (window > 0 and at_ + window <= position + QUERIES - 1):
            for lane in range(QUERIES):
                own = position + lane
                row[lane] -= slope * f32(own - at_)
                if at_ > own or at_ < first_visible(own, window):
                    row[lane] = MINUS_INFINITY


@kernel(types.void, f32p, f32p, f32p, f32p, f32p, I64, I64)
def rescale(scores, by_vector, greatest, sums, acc, n, head_width):
    """Scores (n, V, LANES) to weights (V, BLOCK, LANES), with maxima, sums and acc brought to the new maxima."""
    for v in range(V):
        before = load(F32, greatest, v * LANES)
        m = before
        for j in range(n):
            m = maximum(load(F32, scores, j * QUERIES + v * LANES), m)
        shrink = exp(before - m)
        weight_sum = load(F32, sums, v * LANES) * shrink
        for j in range(n):
            e = exp(load(F32, scores, j * QUERIES + v * LANES) - m)
            weight_sum = weight_sum + e
            store(by_vector, (v * BLOCK + j) * LANES, e)
        store(greatest, v * LANES, m)
        store(sums, v * LANES, weight_sum)
        for i in range(head_width):
            place = i * QUERIES + v * LANES
            store(acc, place, load(F32, acc, place) * shrink)


_attention("f16", dense.F16, 2)
_attention("f32", dense.F32, 4)
