#!/usr/bin/env bash
# Renders docs/pictures/*.dot to SVG beside them. Positions are written in the sources, so that every picture has
# the same places for the same things; a change of text may ask for a change of width. Needs graphviz.
#
#   scripts/pictures.sh [FOLDER]     FOLDER: where the SVGs go, if not beside their sources
set -euo pipefail
cd "$(dirname "$0")/.."

command -v neato >/dev/null || { echo "graphviz is missing: apt-get install graphviz" >&2; exit 1; }
out=${1:-docs/pictures}
mkdir -p "$out"
for source in docs/pictures/*.dot; do
    said=$(neato -n2 -Tsvg "$source" -o "$out/$(basename "${source%.dot}").svg" 2>&1)
    # What graphviz only warns of is a text that does not fit its box.
    if [ -n "$said" ]; then echo "$source: $said" >&2; exit 1; fi
done
