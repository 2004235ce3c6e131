#!/usr/bin/env bash
# What only a GPU can show: QLoRA through TRL, a search under a memory limit, estimates against
# measurements. Needs torch, transformers, peft, botorch, accelerate; neither Ray, MLflow nor a network.
#
#   benchmarks/gpu.sh [OUT]         # figures in OUT/gpu.json (default: ./gpu-figures), about 8 minutes
#
# WHEELS=folder     *.whl of what the machine lacks: trl, datasets, dill, multiprocess, ruamel.yaml,
#                   sqlalchemy, alembic, mako, bitsandbytes; installed beside, never into the environment
# PYTHON=python3    STAGES="qlora search memory"
# AUTOPEFT_GPU_SMOKE=1     the same on any machine with a model of two layers, in a minute
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
out="$(mkdir -p "${1:-gpu-figures}" && cd "${1:-gpu-figures}" && pwd)"
python="${PYTHON:-python3}"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
if [[ -n "${WHEELS:-}" ]]; then
  site="$out/site"
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$site" "$WHEELS"/*.whl
  export PYTHONPATH="$PYTHONPATH:$site"
fi
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
export AUTOPEFT_CACHE="$out/cache" AUTOPEFT_HOME="$out/studies" HF_HOME="${HF_HOME:-$out/hf}"
"$python" "$here/benchmarks/gpu.py" prepare --to "$out"
for stage in ${STAGES:-qlora search memory}; do
  # A stage that fails says so in the figures, and the next one runs all the same.
  "$python" "$here/benchmarks/gpu.py" "$stage" --to "$out" || echo "stage $stage failed" >&2
done
"$python" "$here/benchmarks/gpu.py" pack --to "$out"
