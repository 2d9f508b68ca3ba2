#!/usr/bin/env bash
# The whole recipe in one command: text -> parts -> tokenizer -> training -> exports.
#   training/build.sh TEXT VALID_DIR WORK_DIR [SEED]
# TEXT is the collection (see README.md), VALID_DIR holds valid_*.txt.  Stopped or not, run it again with
# the same arguments to go on: finished steps are kept, training resumes from its last checkpoint.
set -euo pipefail

if [ $# -lt 3 ] || [ $# -gt 4 ]; then
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
fi
text=$1 valid=$2 work=$3 seed=${4:-1}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

[ -f "$text" ] || { echo "no text at $text" >&2; exit 1; }
compgen -G "$valid/valid_*.txt" > /dev/null || { echo "no valid_*.txt in $valid" >&2; exit 1; }
mkdir -p "$work"

if [ ! -f "$work/data/tokenizer.json" ]; then
  "$python" "$here/storygen.py" --seed "$seed" --stories 60000 --out "$work/made.txt" --valid "$work/valid_made.txt"
  "$python" "$here/prepare.py" --seed "$seed" --text "$text" --part made="$work/made.txt" --out "$work/parts"
  rm -rf "$work/data.new"
  "$python" "$here/tokenizer.py" "$work"/parts/*.txt "$valid"/valid_*.txt "$work/valid_made.txt" --out "$work/data.new"
  rm -rf "$work/data"
  mv "$work/data.new" "$work/data"
fi

resume=()
[ -f "$work/run/last.pt" ] && resume=(--resume)
"$python" "$here/train.py" --data "$work/data" --run "$work/run" --seed "$seed" "${resume[@]}"
"$python" "$here/export.py" --checkpoint "$work/run/last.pt" --tokenizer "$work/data/tokenizer.json" --out "$work/export"
echo "exported to $work/export: packed/ and bf16/"
