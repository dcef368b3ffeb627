"""From decorated Python functions to one shared library: the only file that knows how that is done.

    @kernel(result, *arguments)     a function other kernels may call; with is_apart=True never inlined into them
    @op                             a kernel that runs one operation of `ops.OPS`; its parameters are the fields
                                    of the record, then n_tokens, position, thread, n_threads
    @export                         a kernel with a C name out of `ops.EXPORTS`

Numba is the front end: it types a function and writes LLVM IR, unoptimised, for no machine in particular. The
modules are linked, everything but the exports is made internal, and LLVM optimises and emits the whole for the
target's fixed CPU. Nothing is ever run or compiled for the building machine.
"""

from __future__ import annotations

import inspect

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import compiler, compiler_machinery, registry, typed_passes, untyped_passes
from numba.core.cgutils import normalize_ir_text
from numba.core.codegen import AOTCodeLibrary, AOTCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu_options import FastMathOptions
from numba.core.typing.templates import ConcreteTemplate, builtin_registry, signature
from numba.extending import intrinsic, lower_builtin

from realizar_lambda import ops
from realizar_lambda.errors import BuildError
from realizar_lambda.kernels.memory import f32p, f64p, i8p, i32p, i64p, u8p, u16p
from realizar_lambda.kernels.vectors import TARGET

KINDS = {"p": u8p, "i": types.int64, "f": types.float64, "v": types.void}
SPAN = (types.int64,) * 4
POINTERS = (u8p, i8p, u16p, i32p, i64p, f32p, f64p)

_ops: dict[str, object] = {}
_exports: dict[str, object] = {}
_done: dict[tuple[object, ...], compiler.CompileResult] = {}
_apart: set[str] = set()
"""Symbols of functions that stay functions of their own."""


class _Pipeline(compiler.CompilerBase):
    """Numba's passes, less those that look for what no kernel holds: inner functions, `with`, arrays, exceptions."""

    def define_pipelines(self):
        passes = compiler_machinery.PassManager("kernel")
        for one in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.RewriteSemanticConstants,
            untyped_passes.DeadBranchPrune,
            untyped_passes.GenericRewrites,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.IRLegalization,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):
            passes.add_pass(one, one.__name__)
        passes.finalize()
        return [passes]


def _front_end(context, function, types_of):
    """A function's LLVM IR, in a library of its own."""
    arguments, result = types_of.args, types_of.return_type
    return compiler.compile_extra(
        context.typing_context, context, function, arguments, result, _flags(), locals={}, pipeline_class=_Pipeline
    )


def _flags():
    flags = compiler.Flags()
    flags.nrt = False
    flags.boundscheck = False
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.fastmath = FastMathOptions(False)
    return flags


def kernel(result, *arguments, is_apart=False):
    """Declare a function that kernels may call, with numba types for its result and arguments.

    Apart from its callers where these are many and its work is long: the library holds its code once.
    """

    def register(function):
        if len(inspect.signature(function).parameters) != len(arguments):
            raise BuildError(f"kernel {function.__name__}: {len(arguments)} types for its parameters")

        class Template(ConcreteTemplate):
            key = function
            cases = (signature(result, *arguments),)

        builtin_registry.register_global(function, types.Function(Template))

        @lower_builtin(function, *arguments)
        def lower(context, builder, sig, args):
            compiled = _compiled(context, function)
            if is_apart:
                _apart.add(compiled.fndesc.llvm_func_name)
            return context.call_internal(builder, compiled.fndesc, sig, args)

        function.signature = signature(result, *arguments)
        return function

    return register


def _compiled(context, function):
    """What the front end makes of a kernel, for the function that is being compiled to call.

    Once, also where a factory made the same kernel twice: of the same code over the same values.
    """
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    key = function.__code__, cells, function.signature
    found = _done.get(key)
    if found is None:
        found = _done[key] = _front_end(context, function, function.signature)
    context.active_code_library.add_linking_library(found.library)
    return found


def op(*pointers):
    """Declare the kernel of an operation; `pointers` are the types of its "p" fields, in order."""

    def register(function):
        name = function.__name__
        declared = ops.OPS.get(name)
        if declared is None:
            raise BuildError(f"op {name}: not in ops.OPS")
        wanted = [field for field, _ in declared.fields] + ["n_tokens", "position", "thread", "n_threads"]
        found = list(inspect.signature(function).parameters)
        if found != wanted:
            raise BuildError(f"op {name}: parameters {found}, the table has {wanted}")
        remaining = list(pointers)
        arguments = [remaining.pop(0) if kind == "p" else KINDS[kind] for _, kind in declared.fields]
        if remaining:
            raise BuildError(f"op {name}: {len(pointers)} pointer types for fewer pointer fields")
        _ops[name] = kernel(types.void, *arguments, *SPAN)(function)
        return function

    return register


def export(function):
    """Declare a kernel that the library exports under its own name, with the types `ops.EXPORTS` gives."""
    result, arguments = ops.EXPORTS[function.__name__]
    _exports[function.__name__] = (function, KINDS[result], tuple(KINDS[kind] for kind in arguments))
    return function


@intrinsic
def execute(typingctx, record, n_tokens, position, thread, n_threads):
    """Run the operation of one record: a switch over every declared operation."""

    def codegen(context, builder, sig, args):
        record, *span = args
        number = builder.load(record)
        after = builder.append_basic_block("after")
        switch = builder.switch(number, after)
        for name, function in _ops.items():
            declared = ops.OPS[name]
            block = builder.append_basic_block(name)
            switch.add_case(ir.Constant(number.type, declared.number), block)
            builder.position_at_end(block)
            values = [
                _field(context, builder, record, word, function.signature.args[word - 1])
                for word in range(1, len(declared.fields) + 1)
            ]
            _call(context, builder, function, values + span)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(i64p, *SPAN), codegen


def _field(context, builder, record, word, kind):
    value = builder.load(builder.gep(record, [ir.Constant(ir.IntType(64), word)]))
    if isinstance(kind, types.CPointer):
        return builder.inttoptr(value, context.get_value_type(kind))
    return builder.bitcast(value, ir.DoubleType()) if kind is types.float64 else value


def _call(context, builder, function, values):
    """Call a kernel, ignoring its status: kernels raise nothing."""
    compiled = _compiled(context, function)
    _apart.add(compiled.fndesc.llvm_func_name)
    context.call_internal_no_propagate(builder, compiled.fndesc, function.signature, values)


class _FrontEndLibrary(AOTCodeLibrary):
    """One function's LLVM IR as text, and the libraries it calls into: nothing is parsed, linked or optimised here."""

    def __init__(self, codegen, name):
        super().__init__(codegen, name)
        self.text = ""

    def add_ir_module(self, ir_module):
        self.text = normalize_ir_text(str(ir_module))

    def finalize(self):
        self._finalized = True


class _FrontEnd(AOTCPUCodegen):
    _library_class = _FrontEndLibrary


@global_compiler_lock
def emit() -> bytes:
    """Compile every declared export for the active target; the bytes of a relocatable ELF object."""
    undefined = [name for name in ops.OPS if name not in _ops]
    if undefined:
        raise BuildError(f"operations without a kernel: {', '.join(undefined)}")
    missing = [name for name in ops.EXPORTS if name not in _exports]
    if missing:
        raise BuildError(f"exports without a kernel: {', '.join(missing)}")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = registry.cpu_target
    context = target.target_context.subtarget(_internal_codegen=_FrontEnd("realizar"), aot_mode=True)
    library = context.codegen().create_library("realizar")
    target.typing_context.refresh()
    context.refresh()
    shells = library.create_ir_module("shells")
    for name, (function, result, arguments) in _exports.items():
        compiled = _front_end(context, function, signature(result, *arguments))
        library.add_linking_library(compiled.library)
        _shell(context, shells, name, compiled.fndesc)
    library.add_ir_module(shells)
    return _optimised(library)


def _shell(context, module, name: str, fndesc) -> None:
    """A function with C's calling convention around one with numba's."""
    inner_type = context.call_conv.get_function_type(fndesc.restype, fndesc.argtypes)
    inner = ir.Function(module, inner_type, fndesc.llvm_func_name)
    result = context.get_value_type(fndesc.restype)
    is_void = fndesc.restype == types.void
    outer_type = ir.FunctionType(ir.VoidType() if is_void else result, inner_type.args[2:])
    builder = ir.IRBuilder(ir.Function(module, outer_type, name).append_basic_block())
    slot = builder.alloca(inner_type.args[0].pointee)
    error = builder.alloca(inner_type.args[1].pointee)
    builder.call(inner, [slot, error, *builder.function.args])
    builder.ret_void() if is_void else builder.ret(builder.load(slot))


def _linked(library):
    """The module of all that a library calls into, each function once; its text says nothing of a target."""
    module, found, waiting = llvm.parse_assembly(""), {library}, [library]
    while waiting:
        next_one = waiting.pop()
        lines = [
            line for line in next_one.text.splitlines() if not line.startswith(("target triple", "target datalayout"))
        ]
        module.link_in(llvm.parse_assembly("\n".join(lines)))
        for called in next_one._linking_libraries:
            if called not in found:
                found.add(called)
                waiting.append(called)
    return module


def _optimised(library) -> bytes:
    machine = llvm.Target.from_triple(TARGET.triple).create_target_machine(
        cpu=TARGET.cpu, features=TARGET.features, opt=3, reloc="pic", codemodel="default"
    )
    module = _linked(library)
    module.name = f"realizar-{TARGET.name}"
    module.triple = TARGET.triple
    module.data_layout = str(machine.target_data)
    for function in module.functions:
        if not function.is_declaration:
            function.linkage = "external" if function.name in _exports else "internal"
            if function.name in _apart:  # of operations too: one huge function would share its registers among them
                function.add_function_attribute("noinline")
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = True
    tuning.slp_vectorization = True
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)
