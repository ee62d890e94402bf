# The image that launch/kubernetes/job.yaml runs. EXTRAS: [cuda12], [cuda13], [tpu], or empty for CPUs.
#   docker build --build-arg EXTRAS=[cuda12] -t mammojax:latest .
FROM python:3.11-slim
ARG EXTRAS=""
WORKDIR /mammojax
COPY . .
RUN python -m pip install --no-cache-dir -c constraints.txt -e ".${EXTRAS}"
# the process is number 1 of its container: without a shell before it, SIGTERM reaches it
CMD ["python", "-m", "launch.crossval", "--help"]
