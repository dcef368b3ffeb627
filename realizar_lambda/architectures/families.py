"""The table of decoder families, and how a model file becomes the program of one."""

from __future__ import annotations

from realizar_lambda.architectures.config import from_gguf
from realizar_lambda.architectures.decoder import Decoder
from realizar_lambda.errors import CapacityError, UnsupportedError
from realizar_lambda.record import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from realizar_lambda.architectures.config import Config
    from realizar_lambda.formats.model_file import ModelFile
    from realizar_lambda.program import Buffer, Program


class Family(namedtuple("Family", "module layers norm_module")):
    """Where a family's functions are: `layers` of `module`, and `norm` of `norm_module`."""

    __slots__ = ()


GGUF = {
    "llama": Family("llama", "llama", "llama"),
    "mistral": Family("llama", "llama", "llama"),
    "qwen2": Family("llama", "qwen", "llama"),
    "qwen3": Family("llama", "qwen", "llama"),
    "gpt2": Family("gpt2", "gpt2", "gpt2"),
    "gemma": Family("gemma", "gemma", "llama"),
    "gemma2": Family("gemma", "gemma2", "llama"),
    "phi3": Family("phi3", "phi3", "llama"),
    "bloom": Family("alibi", "bloom", "gpt2"),
    "mpt": Family("alibi", "mpt", "gpt2"),
}
HUGGING_FACE = {
    "llama": Family("llama", "qwen", "llama"),
    "mistral": Family("llama", "qwen", "llama"),
    "qwen2": Family("llama", "qwen", "llama"),
    "qwen3": Family("llama", "qwen", "llama"),
    "gpt2": Family("gpt2", "gpt2", "gpt2"),
}


POSITIONS = ("position_embd.weight", "wpe.weight")
"""How the names of tables end that are added, not multiplied: GGUF's name and Hugging Face's."""


class Description(namedtuple("Description", "file config family rename")):
    """A language model before it has a program: `rename` maps GGUF's tensor names to the file's."""

    __slots__ = ()


def describe(file: ModelFile) -> Description:
    """Read and check what a GGUF or safetensors file declares."""
    if file.format == "safetensors":
        from realizar_lambda.architectures import hugging_face
        from realizar_lambda.architectures.hugging_face_config import from_hugging_face

        config = from_hugging_face(file)
        file = _widened(hugging_face.prepared(file, config))
        return Description(file, config, HUGGING_FACE[config.architecture], hugging_face.NAMES[config.architecture])
    architecture = file.metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in GGUF:
        raise UnsupportedError(f"architecture {architecture!r:.60}", sorted(GGUF))
    return Description(_widened(file), from_gguf(file), GGUF[architecture], None)


def _widened(file: ModelFile) -> ModelFile:
    """The file, with vectors and positions in F32 where any has another type."""
    for name, tensor in file.tensors.items():
        if tensor.block.name != "F32" and (len(tensor.shape) == 1 or name.endswith(POSITIONS)):
            from realizar_lambda.architectures.widening import with_f32_vectors

            return with_f32_vectors(file, POSITIONS)
    return file


def build(
    description: Description, *, capacity: int, chunk: int, cache_element: str, n_threads: int
) -> tuple[Program, Buffer]:
    """(program, buffer of token ids) for contexts of at most `capacity` tokens."""
    config: Config = description.config
    if not 1 <= capacity <= config.context_length:
        raise CapacityError("a context", capacity, config.context_length, "tokens")
    if chunk < 1:
        raise CapacityError("a chunk of a prompt", 1, chunk, "tokens")
    decoder = Decoder(
        description.file, config, description.rename, capacity=capacity, chunk=min(chunk, capacity),
        cache_element=cache_element, n_threads=n_threads,
    )  # fmt: skip
    package = __name__.rpartition(".")[0]
    layers: Callable[[Decoder], Buffer] = getattr(
        __import__(f"{package}.{description.family.module}", fromlist=("layers",)), description.family.layers
    )
    norm = __import__(f"{package}.{description.family.norm_module}", fromlist=("norm",)).norm
    return decoder.finish(layers(decoder), norm), decoder.ids
