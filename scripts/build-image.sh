#!/usr/bin/env bash
# Builds the adapter's image from its asset without a Docker engine, and shows that it keeps its promises:
# credentials of a private index are in no layer, and it runs as uid 10001 without capabilities on a
# read-only root, as queue worker and as HTTP entrypoint. Heavy: an engineer runs it, not CI.
#
#   scripts/build-image.sh [ENVIRONMENT]     as root; needs buildah, podman, runc
#   BASE_IMAGE=localhost/base:3.12-slim      default: what scripts/image-base.sh makes
#   STORE=out/images  PYTHON=.venv/bin/python
set -euo pipefail
cd "$(dirname "$0")/.."

environment=${1:-sop}
base=${BASE_IMAGE:-localhost/base:3.12-slim}
python=${PYTHON:-.venv/bin/python}
store=$(mkdir -p "${STORE:-out/images}" && cd "${STORE:-out/images}" && pwd)
image=localhost/mtrl-adapter:$environment
storage=(--root "$store/root" --runroot "$store/run" --storage-driver overlay)
work=$(mktemp -d)
index=
containers=()

cleanup() {
    [ -z "$index" ] || kill "$index" 2>/dev/null || true
    for each in "${containers[@]}"; do
        podman "${storage[@]}" rm --force --volumes --time 0 "$each" >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
say() { printf '%-46s %s\n' "$1" "$2"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

context=$("$python" -m infra.packaging.stage container "$environment" --out "$work")

# A private index on this machine. Its password is new, so that nothing older can be mistaken for it.
password=$("$python" -c 'import secrets; print(secrets.token_hex(16))')
machine=$(uname -m)
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --implementation cp --python-version 3.12 --platform "manylinux2014_$machine" \
    --platform "manylinux_2_28_$machine" --dest "$work/wheels" -r "$context/requirements.txt"
"$python" scripts/private_index.py "$work/wheels" builder "$password" "$work/port" 2>"$work/index.log" &
index=$!
for _ in $(seq 100); do [ -s "$work/port" ] || sleep 0.1; done
printf '[global]\nindex-url = http://builder:%s@127.0.0.1:%s/simple/\n' "$password" "$(cat "$work/port")" \
    >"$work/pip.conf"

started=$SECONDS
# --layers keeps those of the build stage too, so that they are searched; --no-cache, so that pip runs.
env -u PIP_INDEX_URL buildah "${storage[@]}" build --quiet --layers --no-cache --isolation=chroot \
    --network=host --pull-never --build-arg "BASE_IMAGE=$base" --secret "id=pip_conf,src=$work/pip.conf" \
    --tag "$image" "$context" >/dev/null
say "built $image" "$((SECONDS - started)) s"
grep -q '"GET /wheels/.* 200' "$work/index.log" || fail "the private index was not used"
for size in "$base" "$image"; do
    say "size of $size" "$(buildah "${storage[@]}" inspect --type image --format '{{.FromImageID}}' "$size" |
        xargs -I{} podman "${storage[@]}" image inspect --format '{{.Size}}' {} | awk '{printf "%.0f MB", $1 / 1e6}')"
done

# Every layer, image configuration and history in the store. The control shows that the search finds things.
grep -rqF "adapters.entrypoints.queue" "$store/root" || fail "the search does not find what is there"
if grep -rlF "$password" "$store/root" "$context"; then fail "the credential is in a layer"; fi
say "credential in layers, configuration, context" "none"

run() { # NAME, then podman's arguments
    containers+=("$1")
    podman "${storage[@]}" --runtime runc run --name "$@"
}
locked=(--network=host --read-only --read-only-tmpfs=false --cap-drop=all --security-opt=no-new-privileges
    --memory=512m --ulimit nofile=1024:1024 --ulimit nproc=4096:4096)
variables=(-e "MTRL_ENVIRONMENT=$environment" -e AWS_REGION=us-west-2 -e AWS_ACCESS_KEY_ID=AKIDEXAMPLE
    -e AWS_SECRET_ACCESS_KEY=none -e HOST=127.0.0.1)
logged() { # NAME, EVENT
    for _ in $(seq 300); do
        if podman "${storage[@]}" logs "$1" 2>&1 | grep -q "\"event\":\"$2\""; then return; fi
        sleep 0.1
    done
    podman "${storage[@]}" logs "$1" >&2
    fail "$1 did not log $2"
}
stopped() { # NAME: SIGTERM, and the exit code of the drain
    podman "${storage[@]}" stop --time 30 "$1" >/dev/null
    logged "$1" stopped
    code=$(podman "${storage[@]}" inspect --format '{{.State.ExitCode}}' "$1")
    [ "$code" = 0 ] || fail "$1 ended with $code"
}

code=0
run "mtrl-bare-$$" "${locked[@]}" "$image" >"$work/bare" 2>&1 || code=$?
[ "$code" = 2 ] || fail "without settings it ended with $code"
grep -q '^adapter: MTRL_QUEUE_URL is not set' "$work/bare" || fail "the missing variables are not named"
say "without settings" "exit 2, and the missing variables by name"

queue=http://127.0.0.1:9/000000000000/rollouts # nothing listens: the worker stays up and says so
run "mtrl-queue-$$" --detach "${locked[@]}" --tmpfs /tmp:size=64m,mode=1777 "${variables[@]}" \
    -e MTRL_QUEUE_URL=$queue -e MTRL_DEAD_LETTER_URL=$queue -e MTRL_LEDGER_TABLE=ledger \
    -e AWS_ENDPOINT_URL=http://127.0.0.1:9 -e MTRL_HEALTH_FILE=/tmp/alive "$image" >/dev/null
logged "mtrl-queue-$$" started
podman "${storage[@]}" exec "mtrl-queue-$$" python /app/healthy.py || fail "the queue worker is not healthy"
user=$(podman "${storage[@]}" exec "mtrl-queue-$$" python -c 'import os; print(os.getuid(), os.getgid())')
[ "$user" = "10001 10001" ] || fail "runs as $user"
podman "${storage[@]}" exec "mtrl-queue-$$" grep -q '^CapEff:.*0000000000000000$' /proc/1/status ||
    fail "has capabilities"
if podman "${storage[@]}" exec "mtrl-queue-$$" touch /app/x 2>/dev/null; then fail "the root is writable"; fi
stopped "mtrl-queue-$$"
say "queue worker, uid 10001, read-only, no caps" "started, healthy, drained on SIGTERM"

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
started=$(date +%s%3N)
run "mtrl-http-$$" --detach "${locked[@]}" "${variables[@]}" -e "PORT=$port" "$image" \
    python -m adapters.entrypoints.http >/dev/null
logged "mtrl-http-$$" started
say "HTTP entrypoint" "started after $(($(date +%s%3N) - started)) ms"
"$python" -c 'import sys, urllib.request; print("GET /ping", urllib.request.urlopen(sys.argv[1]).read().decode())' \
    "http://127.0.0.1:$port/ping"
podman "${storage[@]}" exec "mtrl-http-$$" python /app/healthy.py || fail "the HTTP entrypoint is not healthy"
stopped "mtrl-http-$$"
say "HTTP entrypoint, same restrictions" "answered, healthy, drained on SIGTERM"
