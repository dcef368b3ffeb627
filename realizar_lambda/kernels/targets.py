"""The instruction sets a kernel library is built for. One row is one library; nothing here compiles."""

from __future__ import annotations

import os
from collections import namedtuple


class Target(namedtuple("Target", "name triple cpu features lanes dot linker package")):
    """One library.

    `cpu` and `features` are LLVM's names and are fixed: a build never looks at the machine it runs on.
    `lanes` is how many f32 a kernel's vector holds; `dot` names how four u8 x i8 products are summed
    (`vnni`, `maddubs` or `sdot`); `linker` is the C compiler that links the object on another kind of machine,
    `package` what Debian calls it there.
    """

    __slots__ = ()

    @property
    def is_native(self) -> bool:
        """Whether it is for a machine of this one's kind, if not for this very one."""
        return self.triple.startswith(f"{os.uname().machine}-")


_X86 = "x86_64-unknown-linux-gnu"
_ARM = "aarch64-unknown-linux-gnu"
_X86_LINKER = "x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"
_ARM_LINKER = "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"

TARGETS = {
    target.name: target
    for target in (
        # AVX2 + FMA + F16C: what Lambda promises on x86_64.
        Target("x86_64_v3", _X86, "x86-64-v3", "", 8, "maddubs", *_X86_LINKER),
        # AVX-512 with VNNI (Cascade Lake, Ice Lake, Zen 4 and later), where a machine happens to have it.
        Target("x86_64_v4", _X86, "x86-64-v4", "+avx512vnni,-prefer-256-bit", 16, "vnni", *_X86_LINKER),
        # Neoverse N1: Graviton2, which is what Lambda's arm64 runs on. Dot products, no i8mm and no SVE.
        Target("aarch64", _ARM, "neoverse-n1", "+dotprod,+fullfp16", 4, "sdot", *_ARM_LINKER),
    )
}

VARIABLE = "REALIZAR_KERNEL_TARGET"


def active() -> Target:
    """The target this process compiles for: one process builds one library, since vector widths are types."""
    return TARGETS[os.environ.get(VARIABLE, "x86_64_v3")]
