#!/usr/bin/env bash
# Set up an aarch64 Python that runs on any Linux, with the user-mode emulation of QEMU: Python 3.11 of Debian 12 with
# NumPy, ONNX Runtime, tokenizers and kaldi-native-fbank, as on a device. Add the wheel of a bundle with PYTHONPATH.
#
#   make_root.sh FOLDER        set up the folder once: about 600 MB and two minutes
#   FOLDER/python SCRIPT ...   run a script; it cannot start other aarch64 programs
#
# onnxruntime 1.31 crashes under this emulation; 1.23.2 works.
set -euo pipefail
folder=${1:?usage: make_root.sh FOLDER}
packages=("numpy<2.4" "onnxruntime==1.23.2" "tokenizers<1" "kaldi-native-fbank<2")
python=${PYTHON:-python3}

need() {
  command -v qemu-aarch64-static && command -v debootstrap && return
  local line="apt-get install -y qemu-user-static debootstrap"
  [[ $(id -u) == 0 ]] || { echo "QEMU or debootstrap is missing: sudo $line" >&2; exit 4; }
  echo "installing: $line" >&2
  apt-get update -q && $line
}

unpack_debian() {
  [[ -x $folder/root/usr/bin/python3.11 ]] && return
  rm -rf "$folder/root"
  # Download and unpack only: configuring packages needs a kernel that runs aarch64 programs.
  debootstrap --arch=arm64 --foreign --variant=minbase --include=python3 bookworm "$folder/root"
  local package
  for package in "$folder"/root/var/cache/apt/archives/*.deb; do dpkg -x "$package" "$folder/root"; done
}

install_packages() {
  [[ $(cat "$folder/site/.complete" 2>/dev/null) == "${packages[*]}" ]] && return
  rm -rf "$folder/site"
  "$python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: --target "$folder/site" \
    --implementation cp --python-version 3.11 --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux2014_aarch64 "${packages[@]}"
  echo "${packages[*]}" > "$folder/site/.complete"
}

write_launcher() {
  # The default processor is that of a Raspberry Pi 5, which has 8-bit dot products.
  cat >"$folder/python" <<'END'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1
export QEMU_CPU="${QEMU_CPU:-cortex-a76}"
exec qemu-aarch64-static -L "$here/root" "$here/root/usr/bin/python3.11" "$@"
END
  chmod +x "$folder/python"
}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
{ need; unpack_debian; install_packages; } >"$folder/log" 2>&1 || { code=$?; tail -5 "$folder/log" >&2; exit $code; }
write_launcher
"$folder/python" -c 'import platform; print("emulated:", platform.machine(), "Python", platform.python_version())'
