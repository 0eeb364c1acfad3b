# docker build -t detattack .
# docker build -t detattack --build-arg BASE=nvidia/cuda:12.6.3-runtime-ubuntu24.04 --build-arg INDEX=https://download.pytorch.org/whl/cu126 .
# docker run --rm -v "$PWD":/work detattack untargeted photo.jpg --suppress car
# docker run --rm --gpus all -v "$PWD":/work detattack untargeted photo.jpg --suppress car
ARG BASE=ubuntu:24.04
FROM ${BASE}

# Where torch comes from: its wheels for CPUs, or those for the CUDA of the base.
ARG INDEX=https://download.pytorch.org/whl/cpu
# Extras, for example [hf] or [all].
ARG EXTRAS=

# The last two are for opencv-python, which some extras bring beside the headless one.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv libgl1 libglib2.0-0t64 \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/detattack
ENV PATH=/opt/detattack/bin:$PATH

RUN pip install --no-cache-dir --index-url "$INDEX" torch torchvision
COPY . /src
RUN pip install --no-cache-dir "/src$EXTRAS" && rm -rf /src

WORKDIR /work
ENTRYPOINT ["detattack"]
