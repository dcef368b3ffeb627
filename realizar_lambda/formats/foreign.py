"""Model files that we recognise and do not read: what each is and what to do with it. It parses nothing."""

from __future__ import annotations

from realizar_lambda.errors import FormatError, UnsupportedError

_SUPPORTED = "GGUF v2 and v3, safetensors, .apr v1 (APRN) and v2"

_CONVERT_APR = ".apr v2 (APR\\0) and v1 (APRN): convert it with the aprender of its time, `apr convert`"

_KNOWN = (
    #  offset  bytes  what it is  what to do
    (0, b"APR1", "an .apr file of the JSON-indexed APR1 variant", _CONVERT_APR),
    (0, b"APR2", "an .apr file of the APR2 draft", _CONVERT_APR),
    (
        0,
        b"APR\x02",
        "an .apr file of the documentation's fixture layout, which no writer produces",
        _CONVERT_APR,
    ),
    (0, b"FUGG", "a byte-swapped GGUF file", "little-endian ones: `gguf-convert-endian FILE little`"),
    (0, b"GGJT", "a GGJT file, GGUF's predecessor", "GGUF: convert the original model with llama.cpp"),
    (0, b"tjgg", "a GGJT file, GGUF's predecessor", "GGUF: convert the original model with llama.cpp"),
    (0, b"lmgg", "a GGML file, GGUF's predecessor", "GGUF: convert the original model with llama.cpp"),
    (0, b"fmgg", "a GGMF file, GGUF's predecessor", "GGUF: convert the original model with llama.cpp"),
    (
        0,
        b"PK\x03\x04",
        "a zip archive, perhaps a PyTorch checkpoint",
        "safetensors: save the state dict with it",
    ),
    (
        0,
        b"\x80\x02",
        "a Python pickle, perhaps a PyTorch checkpoint",
        "safetensors: save the state dict with it",
    ),
    (
        0,
        b"\x80\x04",
        "a Python pickle, perhaps a scikit-learn model",
        ".apr and safetensors: export its weights",
    ),
    (
        0,
        b"\x80\x05",
        "a Python pickle, perhaps a scikit-learn model",
        ".apr and safetensors: export its weights",
    ),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, perhaps a Keras model", "safetensors: export its weights"),
    (0, b"\x93NUMPY", "a NumPy array", "safetensors: save it with `safetensors.numpy.save_file`"),
    (4, b"TFL3", "a TensorFlow Lite model", "safetensors: export its weights"),
    (0, b"\x1f\x8b", "a gzip file", f"{_SUPPORTED}: decompress it first"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", f"{_SUPPORTED}: decompress it first"),
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer, not the model itself",
        "the real file: run `git lfs pull`",
    ),
    (0, b"<!DOCTYPE", "an HTML page, perhaps a failed download", _SUPPORTED),
    (0, b"<html", "an HTML page, perhaps a failed download", _SUPPORTED),
)


def refuse(path: str, data: memoryview) -> UnsupportedError | FormatError:
    """The error for `data`, the bytes of a file whose first bytes belong to no format we read."""
    for offset, magic, what, supported in _KNOWN:
        if data[offset : offset + len(magic)] == magic:
            return UnsupportedError(f"{path}: {what},", supported)
    found = " ".join(f"{byte:02x}" for byte in data[:8])
    return FormatError(path, 0, f"the first bytes are {found}: not a model file; supported: {_SUPPORTED}")
