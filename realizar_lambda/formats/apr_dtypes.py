"""The dtype byte of `.apr` v2 tensors and what it can mean; it does not know headers or files.

Two families of writers use the same byte: aprender's own numbering, and converters that stored GGML's type id
as it was. Where both give a number a meaning, the stored size decides:

    id   aprender   GGML        bytes for n elements
     3   F64        Q4_1        8n            | n/32 * 20
     6   I8         Q5_0        n             | n/32 * 22
     7   U8         Q5_1        n             | n/32 * 24
     8   AprQ4      Q8_0        ceil(n/32)*18 | n/32 * 34
     9   AprQ8      Q8_1        4 + n         | n/32 * 36    (equal at n = 32)
"""

from __future__ import annotations

from realizar_lambda.blocks import BLOCKS, BLOCKS_BY_ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.blocks import BlockType

APR_Q8 = "AprQ8"
"""One f32 scale for the whole tensor, then an i8 per element: no block type, so no tensor we can hold."""

_MEANINGS: dict[int, tuple[str, ...]] = {
    3: ("F64", "Q4_1"),
    4: ("I32",),
    5: ("I64",),
    6: ("I8", "Q5_0"),
    7: ("U8", "Q5_1"),
    8: ("AprQ4", "Q8_0"),
    9: (APR_Q8, "Q8_1"),
    128: ("AprQ4",),
    129: (APR_Q8,),
} | {id: (block.name,) for id, block in BLOCKS_BY_ID.items() if id not in (3, 6, 7, 8, 9)}

DTYPE_OF_BLOCK = {
    "F32": 0,
    "F16": 1,
    "BF16": 30,
    "F64": 3,
    "I8": 6,
    "I32": 4,
    "I64": 5,
    "U8": 7,
    "AprQ4": 128,
    **{name: BLOCKS[name].id for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")},
    **{name: BLOCKS[name].id for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")},
}
"""The byte written for each block type that `.apr` v2 can hold without ambiguity."""

_JSON_NAMES = {name.upper(): (name,) for name in BLOCKS} | {"APRQ8": (APR_Q8,), "JSON": ("U8",)}


def meanings(dtype: int) -> tuple[str, ...]:
    """Names of the block types that the dtype byte may stand for, aprender's meaning first; () if unknown."""
    return _MEANINGS.get(dtype, ())


def meanings_of_name(name: str) -> tuple[str, ...]:
    """As `meanings`, for the dtype names of a JSON tensor index, in any case ("f32", "Q4_K", "json")."""
    return _JSON_NAMES.get(name.upper(), ())


def stored_bytes(name: str, n_elements: int) -> int:
    """Bytes that `n_elements` elements of the named type take in the file."""
    if name == APR_Q8:
        return 4 + n_elements
    block: BlockType = BLOCKS[name]
    return block.row_bytes(n_elements + -n_elements % block.n_elements)
