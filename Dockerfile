# One image for MLflow, the Ray cluster and the explorer; PostgreSQL has its own. See docs/service.md.
#
#   TORCH_INDEX: an index with another build of torch than PyPI's, which brings CUDA; PyTorch's
#     install page names the one for CPUs
ARG PYTHON=3.11.14

FROM python:${PYTHON}-slim-bookworm AS packages
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/autopeft/bin:$PATH
WORKDIR /build
RUN python3 -m venv /opt/autopeft
COPY requirements.lock pyproject.toml docker/locked.py ./
RUN python locked.py postgres s3 service trl quantized > locked.txt \
 && pip install --no-deps --requirement locked.txt
# The lock has torch by version only, and nothing of CUDA. A build with a local version (+cpu)
# counts as newer than PyPI's.
RUN sed 's/ --hash=.*//' requirements.lock > versions.txt \
 && pip install --constraint versions.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
COPY setup.py MANIFEST.in README.md ./
COPY dashboards dashboards
COPY autopeft autopeft
RUN pip install --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim-bookworm
# A named volume takes over the owner of the folder that it is mounted on.
RUN groupadd --gid 1000 autopeft \
 && useradd --uid 1000 --gid 1000 --create-home autopeft \
 && install --directory --owner=autopeft --group=autopeft --mode=0750 /var/lib/autopeft /var/lib/mlflow
COPY --from=packages /opt/autopeft /opt/autopeft
COPY --chmod=0755 docker/answers /usr/local/bin/answers
ENV PATH=/opt/autopeft/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet \
    HF_HUB_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/autopeft
CMD ["autopeft", "--help"]
