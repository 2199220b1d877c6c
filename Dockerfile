# A static binary in an empty image:
#   docker build -t warren . && docker run --rm -p 8080:8080 warren serve --demo --anonymous
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH
# Of the commit; .git is not part of the build context.
ARG VERSION=dev COMMIT=unknown DATE=unknown
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT -X main.date=$DATE" \
    -o /warren ./cmd/warren

FROM scratch
# For amqps:// and the issuer's keys over https.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /warren /warren
# No name would be known without /etc/passwd.
USER 65532:65532
# Outside of a container the default is 127.0.0.1.
ENV WARREN_LISTEN=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["/warren"]
CMD ["serve"]
