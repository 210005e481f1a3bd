# SAE Workbench for several people, on the CPU. docs/sharing-a-server.md says how it is set up.
#
# With a GPU: build with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 (any index of
# https://pytorch.org/get-started/locally that fits the driver), and start with --gpus all (compose.yaml: `deploy`).
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# Compiled kernels are kept where the app's user may write; the model hub's cache stands with the workspace.
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    NUMBA_CACHE_DIR=/workspace/.numba \
    HF_HOME=/workspace/.huggingface \
    SAE_WORKSPACE=/workspace \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_ALLOWED_HOSTS=*

WORKDIR /app
COPY requirements.txt requirements-server.txt constraints.txt ./
# torch first and alone, from its own index: the default one brings CUDA, which is several GB.
RUN pip install "$(grep '^torch==' constraints.txt)" --index-url "$TORCH_INDEX" \
    && pip install -r requirements.txt -r requirements-server.txt -c constraints.txt

COPY app.py LICENSE ./
COPY .streamlit/config.toml .streamlit/config.toml
COPY pages pages
COPY sae sae
COPY data data

RUN useradd --create-home --uid 1000 sae && mkdir -p /workspace && chown sae /workspace
USER sae
VOLUME /workspace
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
# It listens on all interfaces of the container, and Caddy decides about host names. Without SAE_SERVER such a server shows
# the workspace and changes nothing.
CMD ["python", "-m", "streamlit", "run", "app.py"]
