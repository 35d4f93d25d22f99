# The runtime: run bundles with NumPy and one backend, without torch. Build it in the repository root:
#   docker build -f docker/runtime.Dockerfile -t edge-msa-run .
#   docker run --rm -v "$PWD/bundle":/bundle:ro edge-msa-run predict /bundle --text "i love it"
# An image with TensorRT, for docker run --gpus all: --build-arg EXTRAS=tensorrt,text
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS build
ARG EXTRAS=onnxruntime,text
WORKDIR /src
RUN python -m venv /opt/edge-msa
ENV PATH=/opt/edge-msa/bin:$PATH
COPY constraints.txt ./
COPY runtime runtime
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt "./runtime[${EXTRAS}]" \
    && pip uninstall --yes pip

FROM ${BASE}
RUN useradd --create-home --uid 1000 edge-msa && mkdir /cache && chown edge-msa /cache
COPY --from=build /opt/edge-msa /opt/edge-msa
# TensorRT plans and compiled graphs: mount a volume at /cache to keep them.
ENV PATH=/opt/edge-msa/bin:$PATH EDGE_MSA_CACHE=/cache ORT_DISABLE_TELEMETRY=1 PYTHONUNBUFFERED=1
USER 1000
WORKDIR /home/edge-msa
ENTRYPOINT ["edge-msa-run"]
CMD ["--help"]
