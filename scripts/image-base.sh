#!/usr/bin/env bash
# Makes a base image like `python:3.12-slim` where no registry can be reached: a minimal Debian of this
# machine's release, with the CPython of this machine copied in. For scripts/build-image.sh; a real build
# names an official image, best by digest.
#
#   scripts/image-base.sh [TAG]          as root; needs buildah and mmdebstrap
#   PYTHON=python3.12  STORE=out/images  are what it takes by default
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${1:-localhost/base:3.12-slim}
python=${PYTHON:-python3.12}
store=$(mkdir -p "${STORE:-out/images}" && cd "${STORE:-out/images}" && pwd)
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
libraries=libssl3,libffi8,zlib1g,libbz2-1.0,liblzma5,libsqlite3-0,libreadline8,libncursesw6,libuuid1,libexpat1
images() { buildah --root "$store/root" --runroot "$store/run" --storage-driver overlay "$@"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mmdebstrap --quiet --variant=minbase --include="ca-certificates,netbase,tzdata,$libraries" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --aptopt='Acquire::Retries "3"' \
    "$release" "$work/debian.tar"

prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
mkdir -p "$work/python/bin" "$work/python/lib"
cp -a "$prefix/bin/python$version" "$work/python/bin/"
ln -s "python$version" "$work/python/bin/python3"
ln -s "python$version" "$work/python/bin/python"
cp -a "$prefix"/lib/libpython3*.so* "$work/python/lib/" 2>/dev/null || true
tar -C "$prefix/lib" -c --exclude=__pycache__ --exclude='config-*' --exclude=site-packages --exclude=test \
    --exclude=idlelib --exclude=tkinter --exclude=lib2to3 --exclude='_tkinter*' "python$version" |
    tar -C "$work/python/lib" -x
mkdir "$work/python/lib/python$version/site-packages"
"$python" -m pip install --quiet --no-compile --target "$work/python/lib/python$version/site-packages" pip

container=$(images from scratch)
images add "$container" "$work/debian.tar" /
images add "$container" "$work/python" /usr/local
images run --isolation=chroot "$container" -- ldconfig
images run --isolation=chroot "$container" -- python -c 'import ssl, sqlite3, ctypes, lzma, bz2, zlib, pip'
images config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin --env LANG=C.UTF-8 \
    --cmd '["python3"]' "$container"
images commit --quiet --rm "$container" "$tag" >/dev/null
echo "$tag"
