"""What a test wants to know of a shared object, read from its bytes: symbols, dynamic tags, segments."""

from __future__ import annotations

import struct
from collections import namedtuple

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK = 1, 2, 0x6474E551
EXECUTABLE, WRITABLE = 1, 2
SHT_DYNSYM, STT_SECTION = 11, 3
DT_NEEDED, DT_RPATH, DT_INIT, DT_TEXTREL, DT_FLAGS, DT_RUNPATH, DT_INIT_ARRAY = 1, 15, 12, 22, 30, 29, 25
DF_TEXTREL = 4

Segment = namedtuple("Segment", "kind flags offset size")


class Elf:
    """A 64-bit little-endian ELF file."""

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        self.machine, _, _, program_at, sections_at = struct.unpack_from("<HIQQQ", data, 18)
        n_programs, section_size, n_sections = struct.unpack_from("<HHH", data, 56)
        self.segments = []
        for i in range(n_programs):
            kind, flags, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, program_at + 56 * i)
            self.segments.append(Segment(kind, flags, offset, size))
        sections = [struct.unpack_from("<IIQQQQIIQQ", data, sections_at + section_size * i) for i in range(n_sections)]
        (table,) = [section for section in sections if section[1] == SHT_DYNSYM]
        strings = sections[table[6]][4]
        self.defined, self.undefined = set(), set()
        for at in range(table[4] + 24, table[4] + table[5], 24):
            name_at, info, _, section = struct.unpack_from("<IBBH", data, at)
            if info & 15 == STT_SECTION:  # nameless; some linkers leave them in
                continue
            begin = strings + name_at
            (self.defined if section else self.undefined).add(data[begin : data.index(b"\0", begin)].decode())

    def tags(self, data: bytes) -> dict[int, int]:
        """The dynamic section's tags and values."""
        (dynamic,) = [segment for segment in self.segments if segment.kind == PT_DYNAMIC]
        return dict(struct.iter_unpack("<QQ", data[dynamic.offset : dynamic.offset + dynamic.size]))
