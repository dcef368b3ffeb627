"""Finding the route of a method and a path: found, wrong method, or none. It knows no route's meaning."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.http import Request, Response

    Answer = Callable[[Request, Application], Response]

_ROUTES_PACKAGE = "realizar_lambda.serving.routes."


class Route:
    """One route: method, path, the `action` that names it in a direct invocation, where its function is, and the
    `kind` of model that answers it by default ("classify", "generate", or "" where none does).

    `target` is `module:function` in the routes package: the module is imported when the route is first asked,
    so a cold start pays for the routes it answers and for no other.
    """

    __slots__ = ("_answer", "action", "kind", "method", "path", "target")

    def __init__(self, method: str, path: str, action: str, target: str, kind: str = "") -> None:
        self.method = method
        self.path = path
        self.action = action
        self.target = target
        self.kind = kind
        self._answer: Answer | None = None

    @property
    def answer(self) -> Answer:
        """The function that answers: `(request, application) -> response`."""
        if self._answer is None:
            module, _, name = self.target.partition(":")
            imported = __import__(_ROUTES_PACKAGE + module, fromlist=(name,))
            self._answer = getattr(imported, name)
        return self._answer


class Router:
    """The routes of an application by path and method, and by action."""

    __slots__ = ("_by_path", "by_action")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_path: dict[str, dict[str, Route]] = {}
        self.by_action: dict[str, Route] = {}
        for route in routes:
            methods = self._by_path.setdefault(route.path, {})
            methods[route.method] = route
            if route.method == "GET":
                methods["HEAD"] = route
            self.by_action[route.action] = route

    @property
    def paths(self) -> list[str]:
        return list(self._by_path)

    def match(self, method: str, path: str) -> tuple[Route | None, tuple[str, ...]]:
        """`(route, methods of the path)`: (None, methods) is a wrong method, (None, ()) an unknown path.

        A trailing slash is the same route; HEAD is answered by the route of GET.
        """
        methods = self._by_path.get(path.rstrip("/") or "/")
        if methods is None:
            return None, ()
        return methods.get(method.upper()), tuple(methods)
