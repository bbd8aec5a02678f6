FROM rust:1-bookworm AS build
WORKDIR /build
COPY . .
# The caches keep compiled dependencies from one build to the next. They are no part of the image,
# so the binary is copied out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --bin pointsman \
    && install -D target/release/pointsman /out/pointsman

FROM debian:bookworm-slim
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Pointsman" \
      org.opencontainers.image.description="A reverse proxy for one host whose configuration changes while the trains run" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="${VERSION}"
# Owned by root: the process that faces the network can change none of it.
COPY --from=build /out/pointsman /usr/local/bin/pointsman
COPY config /etc/pointsman
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/pointsman/
# A container's loopback reaches nobody, so traffic is taken on every address. The admin side stays
# on loopback, because whoever reaches it can reload: opening it is the operator's decision.
ENV POINTSMAN_LISTEN=0.0.0.0:8080
EXPOSE 8080 9900
# A number, so that `runAsNonRoot` can be verified without reading the image's passwd.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["pointsman", "status", "--ready"]
ENTRYPOINT ["pointsman"]
CMD ["run", "--config", "/etc/pointsman/pointsman.toml"]
