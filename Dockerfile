# The image for schedulers and workers alike: docker-compose.yml says which command a container runs.
# What your tasks import must be installed as well: FROM this image, then RUN pip install ...

FROM python:3.11-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl \
    && useradd --uid 1000 --create-home --shell /usr/sbin/nologin myscheduler
USER 1000:1000
WORKDIR /home/myscheduler
# Whoever runs it may be another user without a home: what belongs to the user lives in a place that anybody can make.
ENV PYTHONUNBUFFERED=1 MYSCHEDULER_HOME=/tmp/myscheduler
EXPOSE 8786 8787
CMD ["myscheduler", "--help"]
