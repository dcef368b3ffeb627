#!/usr/bin/env bash
# Makes FOLDER/python, a CPython for arm64 that qemu-user runs on this machine, with what the tests import. Debian's
# packages are unpacked into FOLDER and nothing is installed on the system; both downloads go to FOLDER as well.
#   tools/arm64_python.sh FOLDER [PIP]
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: $0 FOLDER [PIP]" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
pip=${2:-python3 -m pip}
for needed in qemu-aarch64 apt-get dpkg-deb; do
    command -v "$needed" >/dev/null || { echo "error: no $needed; on Debian: apt-get install qemu-user" >&2; exit 1; }
done

# apt with lists, cache and status of its own, so that the system's packages and architecture do not matter
mkdir -p "$folder"/apt/lists/partial "$folder"/apt/cache/archives/partial "$folder"/root
: > "$folder/apt/status"
apt="apt-get -qq -o Dir::State=$folder/apt -o Dir::State::lists=$folder/apt/lists -o Dir::State::status=$folder/apt/status
    -o Dir::Cache=$folder/apt/cache -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=
    -o Dir::Cache::archives=$folder/apt/cache/archives -o Debug::NoLocking=1"
echo "fetching an arm64 Python and its libraries ..."
$apt update
$apt -y --no-install-recommends -d install python3 libstdc++6 >/dev/null
for package in "$folder"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$folder/root"
done
version=$(basename "$(readlink "$folder/root/usr/bin/python3")" | tr -d a-z)
platforms=$(for tag in 2014 _2_17 _2_28 _2_34; do echo "--platform manylinux${tag}_aarch64"; done)
$pip install --quiet --disable-pip-version-check --no-compile --only-binary=:all: --upgrade --target "$folder/site" \
    --python-version "$version" $platforms numpy numba llvmlite pytest hypothesis gguf tokenizers safetensors sentencepiece jinja2

cat > "$folder/python" <<EOF
#!/bin/sh
export PYTHONPATH="$folder/site\${PYTHONPATH:+:\$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1 REALIZAR_TEST_EMULATED="$folder/python"
exec $(command -v qemu-aarch64) -cpu "\${QEMU_ARM64_CPU:-neoverse-n1}" -L "$folder/root" "$folder/root/usr/bin/python3" "\$@"
EOF
chmod +x "$folder/python"
# what a test starts as sys.executable goes through the emulator too
echo 'import os, sys; sys.executable = os.environ.get("REALIZAR_TEST_EMULATED", sys.executable)' > "$folder/site/sitecustomize.py"
"$folder/python" -c 'import os, sys; print("python", sys.version.split()[0], os.uname().machine, "at", sys.executable)'
