"""Chat templates in a Jinja sandbox that counts: no attributes but a few methods, no loop without end. It knows Jinja
and what Hugging Face's templates expect of it, and no model.
"""

from __future__ import annotations

import json
from functools import lru_cache

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, _PassArg, pass_context
from jinja2.visitor import NodeTransformer

from realizar_lambda.chat.growth import MAX_INDENT, OPERATORS, check_filter, check_text_method
from realizar_lambda.chat.metering import Meter
from realizar_lambda.errors import RealizarError, RequestError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jinja2.parser import Parser

MAX_TEMPLATE_CHARACTERS = 1 << 16
MAX_RANGE = 10_000
MAX_DATE_FORMAT = 100
METER = "\0meter"
"""The variable that holds a rendering's meter: no template can write its name."""

JINJA = "Jinja templates as Hugging Face's `apply_chat_template` renders them"

METHODS: dict[type, frozenset[str]] = {
    str: frozenset((
        "capitalize", "count", "endswith", "find", "index", "isalpha", "isdigit", "isspace", "join", "lower", "lstrip",
        "partition", "removeprefix", "removesuffix", "replace", "rfind", "rpartition", "rsplit", "rstrip", "split",
        "splitlines", "startswith", "strip", "title", "upper",
    )),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    LoopContext: frozenset((
        "changed", "cycle", "depth", "depth0", "first", "index", "index0", "last", "length", "nextitem", "previtem",
        "revindex", "revindex0",
    )),
    Macro: frozenset(("name",)),
}  # fmt: skip
"""The attributes that a template may reach, by type; a namespace's are its own."""

FILTER_NAMES = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "indent", "int", "items",
    "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse",
    "round", "safe", "select", "selectattr", "sort", "string", "sum", "title", "trim", "unique", "upper",
)  # fmt: skip
CONCAT, COUNT, STEP, WEIGH, WRITE = " concat", " count", " step", " weigh", " write"
"""Filters that only the metering of a template's tree uses: no template can write their names."""


def _meter_of(context: Context) -> Meter:
    meter: Meter = context[METER]
    return meter


class Metering(NodeTransformer):  # type: ignore[misc]
    """Puts the meter into a template's tree: around loops, comparisons, output and whatever makes a larger value."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise UnsupportedError(f"a recursive loop in a chat template (line {node.lineno})", "loops that are not")
        self.generic_visit(node)
        node.iter = _filtered(node.iter, COUNT)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [
            _filtered(nodes.Const(child.data, lineno=node.lineno) if isinstance(child, nodes.TemplateData) else child,
                      WRITE) for child in node.nodes
        ]  # fmt: skip
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), CONCAT)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, STEP)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, WEIGH)

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return node if node.ctx != "load" else _filtered(node, WEIGH)


def _filtered(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class Generation(Extension):  # type: ignore[misc]
    """`{% generation %}` marks what an assistant wrote, for training; here it is what it encloses."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class Environment(ImmutableSandboxedEnvironment):  # type: ignore[misc]
    """A sandbox in which every attribute is refused but those in METHODS, and every operation is counted."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, autoescape=False, extensions=[Generation, "jinja2.ext.loopcontrols"]
        )
        self.filters = {name: _counted_filter(name) for name in FILTER_NAMES}
        self.filters |= {
            "tojson": pass_context(_tojson),
            CONCAT: pass_context(lambda context, values: _meter_of(context).concatenated(values)),
            COUNT: pass_context(lambda context, items: _meter_of(context).counted(items)),
            STEP: pass_context(_stepped),
            WEIGH: pass_context(lambda context, value: _meter_of(context).weighed(value)),
            WRITE: pass_context(lambda context, value: _meter_of(context).written(value)),
        }
        self.globals = {"namespace": Namespace, "range": _range, "dict": dict}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        return any(attr in names for kind, names in METHODS.items() if isinstance(obj, kind))

    def is_safe_callable(self, obj: Any) -> bool:
        return True  # whatever a template can name was let through above, or is one of its own macros

    def call(self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        meter = _meter_of(__context)
        meter.step()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            args = tuple(list(arg) if _is_iterator(arg) else arg for arg in args)
            check_text_method(owner, __obj.__name__, args)
        return meter.weighed(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _meter_of(context).step()
        OPERATORS[operator](left, right)
        return super().call_binop(context, operator, left, right)


def _counted_filter(name: str) -> Callable[..., Any]:
    """A filter of Jinja's whose value is weighed, and its arguments where it repeats them."""
    function = FILTERS[name]
    wants = _PassArg.from_obj(function)

    def counted(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        meter = _meter_of(context)
        if _is_iterator(value):
            value = list(meter.counted(value))
        check_filter(name, meter.weighed(value), args, kwargs)
        first = {
            _PassArg.context: (context,),
            _PassArg.eval_context: (context.eval_ctx,),
            _PassArg.environment: (context.environment,),
        }.get(wants, ())
        return meter.weighed(function(*first, value, *args, **kwargs))

    wrapped: Callable[..., Any] = pass_context(counted)
    return wrapped


def _is_iterator(value: Any) -> bool:
    """Whether a value can be gone through only once."""
    return hasattr(value, "__next__")


def _tojson(
    context: Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Hugging Face's environment writes it: not escaped for HTML, keys in their order."""
    meter = _meter_of(context)
    if indent is not None and not (isinstance(indent, int) and 0 <= indent <= MAX_INDENT):
        raise UnsupportedError(f"tojson(indent={indent!r:.20}) in a chat template", f"0 to {MAX_INDENT}")
    text = json.dumps(
        meter.weighed(value), ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return str(meter.weighed(text))


def _stepped(context: Context, value: Any) -> Any:
    _meter_of(context).step()
    return value


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > MAX_RANGE:
        raise UnsupportedError(f"a range of {len(made)} in a chat template", f"at most {MAX_RANGE}")
    return made


@lru_cache(maxsize=8)
def compiled(source: str) -> Template:
    """The template of this source, metered. Raises UnsupportedError for what is no template or reaches too far."""
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise UnsupportedError(
            f"a chat template of {len(source)} characters", f"at most {MAX_TEMPLATE_CHARACTERS} characters"
        )
    environment = Environment()
    try:
        tree = Metering().visit(environment.parse(source))
        tree.set_environment(environment)
        return Template.from_code(environment, environment.compile(tree), dict(environment.globals))
    except TemplateSyntaxError as error:
        raise UnsupportedError(f"the chat template (line {error.lineno}: {error.message})", JINJA) from error
    except RealizarError:
        raise
    except (TemplateError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UnsupportedError(f"the chat template ({type(error).__name__}: {error!s:.200})", JINJA) from error


def rendered(source: str, variables: Mapping[str, Any], *, clock: Callable[[], float], now: Callable[[], Any]) -> str:
    """What a template writes. `now` gives the time that `strftime_now` formats.

    Raises RequestError for what the template itself refuses with `raise_exception`, or cannot do with these
    messages, and UnsupportedError where it goes beyond the sandbox.
    """
    template = compiled(source)

    def strftime_now(format: str) -> str:
        if len(format) > MAX_DATE_FORMAT:
            raise UnsupportedError(f"a date format of {len(format)} characters", f"at most {MAX_DATE_FORMAT}")
        return str(now().strftime(format))

    values = {**variables, "raise_exception": _refuse, "strftime_now": strftime_now, METER: Meter(clock)}
    try:
        return "".join(template.root_render_func(template.new_context(values)))
    except RealizarError:
        raise
    except SecurityError as error:
        raise UnsupportedError(
            f"the chat template ({error!s:.200})", "values, their items and a few methods"
        ) from error
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        message = f"the chat template cannot use these messages: {error!s:.300}"
        raise RequestError(400, message, "messages") from error
    except (RecursionError, MemoryError) as error:
        raise UnsupportedError("a chat template that calls itself without end", JINJA) from error


def _refuse(message: object) -> Undefined:
    raise RequestError(400, f"the chat template refuses these messages: {message!s:.300}", "messages")
