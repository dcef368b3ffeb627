"""Text split at the matches of a pre-tokenizer's automata; it does not know tokens.

Every byte of the text gets the class of the character that begins there, or INSIDE. A span is (start, end), two
i32; each stage reads the spans of the stage before it and writes its own.

A stage is STAGE_WORDS int64 words, see `ops.STAGE`. Those that split bytes come last.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import export, kernel
from realizar_lambda.kernels.memory import at, cast, i32p, i64p, larger, u8p, u16p

I64 = types.int64
I32 = types.int32

CLASS_INDEX, CLASS_PAGES, BYTE_CLASSES, N_CLASSES, STAGES, N_STAGES = (
    ops.LEXICON[name] for name in ("class_index", "class_pages", "byte_classes", "n_classes", "stages", "n_stages")
)
TABLE, TRAILING, NEWLINES, KEEPS_GAPS, BYTEWISE = (
    ops.STAGE[name] for name in ("table", "trailing", "newlines", "keeps_gaps", "bytewise")
)
STAGE_WORDS = len(ops.STAGE)
INSIDE = 255
START = 1


@kernel(I64, u8p, I64)
def length_at(text, i):
    """How many bytes the character of valid UTF-8 that begins at `i` has."""
    first = I64(text[i])
    if first < 0x80:
        return I64(1)
    if first < 0xE0:
        return I64(2)
    return I64(3) if first < 0xF0 else I64(4)


@kernel(I64, u8p, I64, I64)
def point_at(text, i, n):
    """The code point whose `n` bytes begin at `i`."""
    if n == 1:
        return I64(text[i])
    point = I64(text[i]) & (0xFF >> (n + 1))
    for j in range(i + 1, i + n):
        point = point << 6 | I64(text[j]) & 0x3F
    return point


@kernel(types.void, i64p, u8p, I64, u8p)
def classify(lexicon, text, n, classes):
    """Write the class of each character of `text`, INSIDE for the bytes after its first."""
    index = cast(u16p, lexicon[CLASS_INDEX])
    pages = cast(u8p, lexicon[CLASS_PAGES])
    i = I64(0)
    while i < n:
        first = I64(text[i])
        if first < 0x80:
            classes[i] = pages[I64(index[0]) * 256 + first]
            i += 1
            continue
        length = length_at(text, i)
        point = point_at(text, i, length)
        classes[i] = pages[I64(index[point >> 8]) * 256 + (point & 255)]
        for j in range(i + 1, i + length):
            classes[j] = types.uint8(INSIDE)
        i += length


@kernel(I64, u8p, I64, I64)
def after(classes, i, end):
    """Where the character after the one at `i` begins."""
    i += 1
    while i < end and classes[i] == INSIDE:
        i += 1
    return i


@kernel(I64, u16p, I64, u8p, I64, I64)
def match_end(table, n_classes, classes, start, end):
    """Where the match that begins at `start` ends; `start` where there is none."""
    state = I64(START)
    place = start
    last = start
    while state != 0:
        symbol = I64(classes[place]) if place < end else n_classes
        entry = I64(table[state * (n_classes + 1) + symbol])
        if entry & 1:
            last = place
        if place >= end:
            break
        state = entry >> 1
        place = after(classes, place, end)
    return last


@kernel(I64, i32p, I64, I64, I64)
def put(spans, n, start, end):
    """Append a span unless it is empty; the new number of spans."""
    if start == end:
        return n
    spans[2 * n] = I32(start)
    spans[2 * n + 1] = I32(end)
    return n + 1


@kernel(I64, i64p, u8p, I64, I64)
def run_stop(stage, classes, start, end):
    """Where the run of the stage's set that begins at `start` stops; `start` where there is none."""
    place = start
    while place < end and (stage[TRAILING] >> I64(classes[place])) & 1:
        place = after(classes, place, end)
    return place


@kernel(I64, i64p, u8p, I64, I64, I64)
def run_match(stage, classes, start, stop, end):
    """Where the run start..stop ends as a match: with the text, or before its last line feed; `start` for nowhere."""
    if stop == end:
        return stop
    last = start
    for place in range(start + 1, stop):
        if classes[place] != INSIDE and (stage[NEWLINES] >> I64(classes[place])) & 1:
            last = I64(place)
    return last


@kernel(I64, i64p, I64, u8p, i32p, I64, i32p)
def run_stage(stage, n_classes, classes, spans, n_spans, out):
    """Split every span at the matches of one stage; the number of spans in `out`."""
    n = I64(0)
    keeps_gaps = stage[KEEPS_GAPS] != 0
    for i in range(n_spans):
        place = I64(spans[2 * i])
        end = I64(spans[2 * i + 1])
        done = place
        while place < end:
            following = after(classes, place, end)
            if stage[TABLE] != 0:
                last = match_end(cast(u16p, stage[TABLE]), n_classes, classes, place, end)
            else:
                stop = run_stop(stage, classes, place, end)
                last = run_match(stage, classes, place, stop, end)
                following = larger(following, stop)
            if last > place:
                if keeps_gaps:
                    n = put(out, n, done, place)
                n = put(out, n, place, last)
                done = last
                following = last
            place = following
        if keeps_gaps:
            n = put(out, n, done, end)
    return n


@kernel(I64, i64p, u8p, I64, u8p, i32p, i32p)
def split(lexicon, text, n, classes, first, second):
    """Split `text`; the number of pieces, whose spans are in `first` (even number of stages) or `second`."""
    n_spans = put(first, 0, 0, n)
    n_stages = lexicon[N_STAGES]
    if n_stages != 0:
        classify(lexicon, text, n, classes)
    is_bytewise = False
    for i in range(n_stages):
        stage = at(cast(i64p, lexicon[STAGES]), i * STAGE_WORDS * 8)
        if stage[BYTEWISE] != 0 and not is_bytewise:
            is_bytewise = True
            for j in range(n):
                classes[j] = cast(u8p, lexicon[BYTE_CLASSES])[I64(text[j])]
        if i % 2 == 0:
            n_spans = run_stage(stage, lexicon[N_CLASSES], classes, first, n_spans, second)
        else:
            n_spans = run_stage(stage, lexicon[N_CLASSES], classes, second, n_spans, first)
    return n_spans


@export
def realizar_split(lexicon, text, n, classes, first, second):
    """`split` for Python: `classes` (n,) u8, `first` and `second` (n, 2) i32."""
    return split(cast(i64p, lexicon), text, n, classes, cast(i32p, first), cast(i32p, second))
