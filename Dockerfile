# The program and nothing else: no shell, no packages, no files to patch. `make image` builds the program first.
FROM scratch
LABEL org.opencontainers.image.title="gridlatch" \
      org.opencontainers.image.description="Holds delay-tolerant pods and Jobs until the electricity grid is clean" \
      org.opencontainers.image.source="https://github.com/gridlatch/gridlatch" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY bin/gridlatch /gridlatch
# Numeric, so that runAsNonRoot can be verified. There is no /etc/passwd.
USER 65532:65532
ENTRYPOINT ["/gridlatch"]
