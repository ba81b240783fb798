# The README's steps in a container; `make demo` and `make test` do the same on a bare machine.
#   docker build -t 4d-crystal .        docker run --rm -v "$PWD/results:/4d-crystal/results" 4d-crystal
#   apptainer build 4d-crystal.sif docker-daemon://4d-crystal:latest
# Torch from pypi.org comes with CUDA, gigabytes; for the CPU build:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu -t 4d-crystal .
FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends git make python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /4d-crystal
COPY . .
ARG PIP_EXTRA_INDEX_URL=
RUN make .venv/.demo
ENV PATH="/4d-crystal/.venv/bin:$PATH"
CMD ["make", "demo"]
