"""The instruction sets a kernel library is built for. One row is one library; nothing here compiles."""

from __future__ import annotations

import os
from collections import namedtuple


class Target(namedtuple("Target", "name triple cpu features lanes dot linker")):
    """One library.

    `cpu` and `features` are LLVM's names and are fixed: a build never looks at the machine it runs on.
    `lanes` is how many f32 a kernel's vector holds; `dot` names how four u8 x i8 products are summed
    (`vnni`, `maddubs` or `sdot`); `linker` lists the C compilers that can link the object, best first.
    """

    __slots__ = ()


_X86 = "x86_64-unknown-linux-gnu"
_ARM = "aarch64-unknown-linux-gnu"

TARGETS = {
    target.name: target
    for target in (
        # AVX2 + FMA + F16C: what Lambda promises on x86_64.
        Target("x86_64_v3", _X86, "x86-64-v3", "", 8, "maddubs", ("cc", "gcc", "clang")),
        # AVX-512 with VNNI (Cascade Lake, Ice Lake, Zen 4 and later), where a machine happens to have it.
        Target("x86_64_v4", _X86, "x86-64-v4", "+avx512vnni,-prefer-256-bit", 16, "vnni", ("cc", "gcc", "clang")),
    )
}

VARIABLE = "REALIZAR_KERNEL_TARGET"


def active() -> Target:
    """The target this process compiles for: one process builds one library, since vector widths are types."""
    return TARGETS[os.environ.get(VARIABLE, "x86_64_v3")]
