# Rigfit's image: the gateway in front of engines by default, or any other command of Rigfit's.
#
#   docker build -t rigfit .
#   docker run --rm -p 127.0.0.1:8000:8000 -e RIGFIT_API_KEYS rigfit gateway --host 0.0.0.0 --upstream NAME=http://HOST:PORT
#
# Tags: github.com/docker-library/official-images, library/python.
FROM python:3.13-slim-trixie AS build
WORKDIR /src
RUN python -m venv /opt/rigfit
COPY requirements-build.lock requirements.lock ./
RUN /opt/rigfit/bin/pip install --no-cache-dir --require-hashes --no-build-isolation -r requirements-build.lock \
    && /opt/rigfit/bin/pip install --no-cache-dir --require-hashes --no-build-isolation -r requirements.lock
COPY . .
RUN /opt/rigfit/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/rigfit/bin/pip uninstall --yes hatchling editables setuptools wheel \
    && /opt/rigfit/bin/python -m compileall -q /opt/rigfit/lib

FROM python:3.13-slim-trixie
RUN useradd --system --uid 10001 --user-group --no-log-init --home-dir /data rigfit \
    && install --directory --owner=rigfit --group=rigfit /data
COPY --from=build /opt/rigfit /opt/rigfit
ENV PATH=/opt/rigfit/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RIGFIT_DATA_DIR=/data
VOLUME /data
EXPOSE 8000
USER 10001:10001
ENTRYPOINT ["rigfit"]
CMD ["gateway"]
