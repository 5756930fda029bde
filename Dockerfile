# Two images from one file: `serve` runs pipelines and is what a plain `docker build` gives; `train` learns and publishes
# models, and alone carries scikit-learn.

ARG PYTHON=3.13-slim-trixie

# ---- what both have: a locale, a user, a place to work
FROM python:${PYTHON} AS base
# Models with a text vectorizer name this locale, and refuse to load without it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends locales \
    && sed -i 's/^# *en_US.UTF-8/en_US.UTF-8/' /etc/locale.gen \
    && locale-gen \
    && rm -rf /var/lib/apt/lists/*
ENV LANG=en_US.UTF-8 \
    LC_ALL=en_US.UTF-8 \
    PATH=/opt/penstock/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# /models is the registry, a volume in practice; a new volume takes its owner from here.
RUN useradd --uid 10001 --create-home --home-dir /app penstock \
    && install -d -o penstock -g penstock /models
WORKDIR /app

# ---- third-party packages first: they change seldom, so the layers stay
FROM base AS packages
RUN python -m venv /opt/penstock
WORKDIR /src
COPY pyproject.toml constraints.txt deploy/requirements.py ./
RUN python requirements.py kafka confluent mqtt http redis onnx > serve.txt \
    && pip install --no-cache-dir -c constraints.txt -r serve.txt uvloop

FROM packages AS build
COPY . .
RUN pip install --no-cache-dir --no-deps . && python -m compileall -q /opt/penstock/lib

FROM packages AS build-train
RUN python requirements.py train > train.txt && pip install --no-cache-dir -c constraints.txt -r train.txt
COPY . .
RUN pip install --no-cache-dir --no-deps . && python -m compileall -q /opt/penstock/lib

# ---- trains a model and ends
FROM base AS train
COPY --from=build-train /opt/penstock /opt/penstock
COPY examples /app/examples
ENV PENSTOCK_MODELS=/models
USER penstock
CMD ["python", "-m", "examples.card_fraud.train"]

# ---- serves
FROM base AS serve
COPY --from=build /opt/penstock /opt/penstock
COPY examples /app/examples
ENV PENSTOCK_MODELS=/models \
    PENSTOCK_HTTP_LISTEN=0.0.0.0:8080 \
    PENSTOCK_ADMIN_LISTEN=0.0.0.0:9090
USER penstock
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-S", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9090/healthz', timeout=4)"]
ENTRYPOINT ["penstock"]
CMD ["run", "examples/card_fraud/app.py"]
