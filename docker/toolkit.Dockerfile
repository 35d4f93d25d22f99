# The toolkit: train, distill, calibrate, export, measure and report, on the CPU. Build it in the repository root:
#   docker build -f docker/toolkit.Dockerfile -t edge-msa .
#   docker run --rm --user "$(id -u)" -v "$PWD":/work edge-msa pipeline --output-dir demo
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS build
# PyPI's torch for x86 contains CUDA, several gigabytes. For a GPU, pass the index of its CUDA version instead.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
RUN python -m venv /opt/edge-msa
ENV PATH=/opt/edge-msa/bin:$PATH
# torch is the largest layer and changes least.
RUN pip install --no-cache-dir --disable-pip-version-check --index-url "${TORCH_INDEX}" torch==2.13.0
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY runtime runtime
COPY calibrate calibrate
COPY export export
COPY devices devices
COPY edge_msa edge_msa
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt \
    './runtime[onnxruntime,openvino,text]' '.[text,search]'

FROM ${BASE}
RUN useradd --create-home --uid 1000 edge-msa && mkdir /work && chown edge-msa /work
COPY --from=build /opt/edge-msa /opt/edge-msa
# Libraries write caches to the home folder, which any --user must be able to write.
ENV PATH=/opt/edge-msa/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
USER 1000
WORKDIR /work
ENTRYPOINT ["edge-msa"]
CMD ["--help"]
