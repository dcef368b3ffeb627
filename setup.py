"""The part of the build that pyproject.toml cannot say: a wheel carries its machine's compiled kernel libraries.

pip wheel . --no-deps --config-settings=--build-option=--plat-name=linux_aarch64      for another machine than this
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.errors import PlatformError

sys.path.insert(0, str(Path(__file__).resolve().parent))


class BuildKernels(build_py):
    """Put every target of the wheel's machine into the built package, which keeps none of another's that was left
    there: from the checkout where it has them of these very sources, else compiled. An editable install builds on first
    use."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        from realizar_lambda.kernels.build import DEFAULT_OUTPUT, build_all, is_current

        names = self._targets()
        folder = Path(self.build_lib) / "realizar_lambda" / "_native"
        for path in folder.glob("*.so"):
            if path.stem not in names:
                path.unlink()
        if is_current(DEFAULT_OUTPUT, names):
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                shutil.copy2(DEFAULT_OUTPUT / f"{name}.so", folder)
        else:
            build_all(names, folder)

    def _targets(self) -> list[str]:
        from realizar_lambda.kernels.build import default_targets
        from realizar_lambda.kernels.targets import TARGETS

        wheel = self.distribution.get_command_obj("bdist_wheel", create=False)
        if wheel is None:
            return default_targets()
        wheel.ensure_finalized()
        machines = sorted({target.triple.partition("-")[0] for target in TARGETS.values()})
        for machine in machines:
            if wheel.plat_name.startswith(("linux", "manylinux")) and wheel.plat_name.endswith(machine):
                return default_targets(machine)
        raise PlatformError(f"the kernels are for Linux on {' or '.join(machines)}, the wheel for {wheel.plat_name}")


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
