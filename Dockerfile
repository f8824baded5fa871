# The shell in a container, for machines without a screen; PyTorch for CPUs, versions as tested.
#
#   docker build --tag napari-staligner .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" napari-staligner \
#       integrate A.h5ad B.h5ad -o OUT.h5ad --preset visium --domains 7
#
# view and demo need a window: install the package where the screen is.
FROM python:3.11-slim

# Where libraries write that want a home: the user of the container may have none.
ENV HOME=/tmp NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib PIP_NO_CACHE_DIR=1

WORKDIR /build
# The large layers first: they stay as they are while only the package changes.
COPY constraints.txt ./
RUN pip install --constraint constraints.txt torch --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE napari.yaml ./
COPY src src
RUN pip install --constraint constraints.txt .

WORKDIR /data
ENTRYPOINT ["napari-staligner"]
CMD ["--help"]
