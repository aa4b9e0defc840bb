# A service for one model on CPUs: docker build -t anyjepa-serve . (docs/production.md)
FROM python:3.11-slim AS build
ARG TORCH_INDEX=
ARG EXTRAS=ecg,serve
WORKDIR /source
RUN python -m venv /opt/anyjepa
COPY constraints.txt ./
RUN PIP_INDEX_URL=$TORCH_INDEX /opt/anyjepa/bin/pip install --no-cache-dir --no-deps --constraint constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m pip wheel --no-deps --wheel-dir /wheels . \
 && /opt/anyjepa/bin/pip install --no-cache-dir --constraint constraints.txt "$(ls /wheels/anyjepa-*.whl)[$EXTRAS]"

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin anyjepa
COPY --from=build /opt/anyjepa /opt/anyjepa
ENV PATH=/opt/anyjepa/bin:$PATH HOME=/tmp HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=10s --timeout=3s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT ["anyjepa", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["ecg-sim-xs"]
