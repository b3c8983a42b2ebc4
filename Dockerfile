# The image for schedulers and workers alike: docker-compose.yml says which command a container runs.
# What your tasks import must be installed as well:
#
#   FROM myscheduler
#   USER root
#   RUN pip install --no-cache-dir pandas
#   USER 1000:1000

ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /opt/venv
# Dependencies in a step of their own: they change less often than the code.
COPY pyproject.toml .
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        > requirements.txt \
    && pip --python /opt/venv/bin/python install --only-binary :all: -r requirements.txt
COPY . .
RUN pip --python /opt/venv/bin/python install --no-deps .
# What never runs here: tests of the dependencies, and the parts of Bokeh that serve its own developers.
RUN cd /opt/venv/lib/python*/site-packages \
    && find . -type d \( -name tests -o -path ./bokeh/server/static/lib \) -prune -exec rm -rf {} + \
    && find bokeh/server/static/js -name '*.js' ! -name '*.min.js' -delete \
    && python -m compileall -q .

FROM ${PYTHON}
RUN groupadd --gid 1000 myscheduler \
    && useradd --uid 1000 --gid 1000 --create-home --shell /usr/sbin/nologin myscheduler
COPY --from=build /opt/venv /opt/venv
# pip stays the one of the base image, and installs to where our Python looks. Whoever runs a container may be a user
# without a home: what belongs to the user lives in a place that anybody can make.
ENV PATH=/opt/venv/bin:$PATH PIP_PYTHON=/opt/venv/bin/python PYTHONUNBUFFERED=1 MYSCHEDULER_HOME=/tmp/myscheduler
USER 1000:1000
WORKDIR /home/myscheduler
EXPOSE 8786 8787
# Of a scheduler; docker-compose.yml asks workers in another way.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-m", "myscheduler.deploy.health", "tcp://127.0.0.1:8786"]
CMD ["myscheduler", "--help"]
