"""Installed packages when they are first needed: what `site` does at every start, for an interpreter started with -S.

A function's own modules lie in its folder, first on the path. Only where a module is in none of the folders does the
last finder here run `site`, 2 ms, and look again: so boto3, a sitecustomize and .pth files work, a little later.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class LateSite:
    """The last finder: asked when every other has found nothing, and once."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Run `site`, then ask the other finders again; submodules are where their package is, and nowhere else."""
        if path is not None or name in ("sitecustomize", "usercustomize"):
            return None
        import site

        if self in sys.meta_path:  # not yet by another thread
            sys.meta_path.remove(self)
            site.main()
        for finder in sys.meta_path:
            spec = finder.find_spec(name, None, target)
            if spec is not None:
                return spec
        return None


def install() -> None:
    """Put the finder behind the others."""
    sys.meta_path.append(LateSite())
