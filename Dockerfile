# The images of the project, one target each:
#
#   docker build --target control --tag claude-code-control .
#   docker build --target proxy --tag claude-code-proxy .
#
# `secrets` and `simulator` are for compose.yaml. For both architectures:
# `docker buildx build --platform linux/amd64,linux/arm64 …`; the programs are
# cross-compiled, nothing that takes long is emulated.
#
# What the programs are made of is fixed by Cargo.lock and package-lock.json. The
# base images are fixed by their tags only; who needs the same bytes every time
# gives them by digest: `--build-arg RUST=docker.io/library/rust@sha256:…`.
ARG NODE=docker.io/library/node:20.20.2-bookworm-slim
ARG RUST=docker.io/library/rust:1.95.0-bookworm
ARG DEBIAN=docker.io/library/debian:bookworm-slim
# glibc, libgcc and certificates, of the same Debian as the compiler's image; no
# shell, no package manager.
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM --platform=$BUILDPLATFORM ${NODE} AS console
WORKDIR /src/console
COPY console/package.json console/package-lock.json console/.npmrc ./
RUN npm ci --ignore-scripts
COPY scripts/status-line /src/scripts/
COPY console ./
RUN npm run build

FROM --platform=$BUILDPLATFORM ${RUST} AS programs
ARG BUILDARCH
ARG TARGETARCH
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The compiler and linker of the other architecture, where that is asked for. Its
# packages are of the release that the base image names.
# hadolint ignore=DL3008
RUN case "${TARGETARCH}" in \
        amd64) cpu=x86_64 ;; \
        arm64) cpu=aarch64 ;; \
        *) echo "no image for ${TARGETARCH}" >&2; exit 1 ;; \
    esac; \
    echo "${cpu}-unknown-linux-gnu" > /target; \
    if [[ "${BUILDARCH}" != "${TARGETARCH}" ]]; then \
        apt-get update; \
        apt-get install --yes --no-install-recommends \
            "gcc-${cpu/_/-}-linux-gnu" "libc6-dev-${TARGETARCH}-cross"; \
        rm -rf /var/lib/apt/lists/*; \
        rustup target add "${cpu}-unknown-linux-gnu"; \
    fi
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
WORKDIR /src
COPY . .
COPY --from=console /src/console/dist console/dist
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-${TARGETARCH},sharing=locked \
    cargo build --locked --release --target "$(cat /target)" \
        --bin claude-code-proxy --bin claude-code-control; \
    install -D --target-directory=/programs \
        "target/$(cat /target)/release/claude-code-proxy" \
        "target/$(cat /target)/release/claude-code-control"

# Apart, so that what tests need is not compiled into what ships.
FROM programs AS simulators
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-${TARGETARCH},sharing=locked \
    cargo build --locked --release --target "$(cat /target)" --bin simulator; \
    install -D --target-directory=/programs "target/$(cat /target)/release/simulator"

# Makes up the secrets of compose.yaml; the only image with a shell.
FROM ${DEBIAN} AS secrets
COPY --from=programs /programs/claude-code-control /usr/local/bin/
COPY compose/generate-secrets /usr/local/bin/
# An empty volume takes its owner from here.
RUN install --directory --owner=65532 --group=65532 \
        /secrets/shared /secrets/control /secrets/postgres
USER 65532:65532
ENTRYPOINT ["generate-secrets", "/secrets"]

FROM ${RUNTIME} AS simulator
COPY --from=simulators /programs/simulator /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/simulator"]

FROM ${RUNTIME} AS control
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="claude-code-control" \
      org.opencontainers.image.description="Control plane of Claude Code Proxy: users, keys, usage; admin API and console" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=programs /programs/claude-code-control /usr/local/bin/
USER 65532:65532
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/claude-code-control", "health"]
ENTRYPOINT ["/usr/local/bin/claude-code-control"]
CMD ["serve"]

# The last target is what `docker build .` makes.
FROM ${RUNTIME} AS proxy
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="claude-code-proxy" \
      org.opencontainers.image.description="Data plane of Claude Code Proxy: answers Claude Code from the Anthropic API or Amazon Bedrock" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=programs /programs/claude-code-proxy /usr/local/bin/
USER 65532:65532
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/claude-code-proxy", "health"]
ENTRYPOINT ["/usr/local/bin/claude-code-proxy"]
