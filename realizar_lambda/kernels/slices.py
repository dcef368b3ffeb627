"""Where few tokens' quantised activations lie: in slices of 256 columns, each all that a block of weights meets.

A slice holds, at these bytes,

    0        codes i8 (256)
    FOURS    the codes once more, in fours i8 (2, 2, 4, 16): of chunks (32 columns each) 0, 2, 4 and 6 columns 0 to 15,
             then of these columns 16 to 31; then chunks 1, 3, 5 and 7 in the same way. So lie nibbles that are unpacked
             four chunks at a time
    SCALES   scales f32 (8), one for every 32 columns
    SUMS32   sums f32 (8) per 32 columns, each its scale times its codes' sum
    SUMS16   sums f32 (16) per 16 columns

and `n` tokens of `width` columns are slices (width/256, rounded up, n): a row goes through all tokens with one pointer,
and what a slice holds of each token lies at a fixed distance from it. The last slice may be of fewer columns.
"""

from __future__ import annotations

from realizar_lambda import ops

SLICE_BYTES, SLICE_COLUMNS = ops.SLICE_BYTES, ops.SLICE_COLUMNS
SLICE_GROUPS = SLICE_COLUMNS // 32
FOURS, SCALES, SUMS32, SUMS16 = 256, 512, 544, 576
