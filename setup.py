"""The part of the build that pyproject.toml cannot say: a wheel carries the compiled kernel libraries."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent))


class BuildKernels(build_py):
    """Compile every target of this architecture into the built package; an editable install builds on first use."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            from realizar_lambda.kernels.build import build_all, default_targets

            build_all(default_targets(), Path(self.build_lib) / "realizar_lambda" / "_native")


class PlatformWheel(bdist_wheel):
    """Tagged for any Python 3 and one platform: the libraries use no Python symbol."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class BinaryDistribution(Distribution):
    """A distribution that is not pure Python."""

    def has_ext_modules(self) -> bool:
        return True


setup(cmdclass={"build_py": BuildKernels, "bdist_wheel": PlatformWheel}, distclass=BinaryDistribution)
