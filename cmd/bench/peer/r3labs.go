package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	sse "github.com/r3labs/sse/v2"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/role"
)

// R3labsRole is the name of the process that serves with r3labs/sse: streams at /events?stream=bench, POST /publish.
const R3labsRole = "r3labs"

// Topic is the name of the peers' only stream.
const Topic = "bench"

const headTimeout = 10 * time.Second

// R3labsHandlers answers the operation of the role: listen, which answers the address.
func R3labsHandlers() map[string]role.Handler {
	return map[string]role.Handler{
		"listen": role.Op(func(ctx context.Context, _ load.None) (string, error) {
			events := sse.New()
			events.AutoReplay = false
			events.CreateStream(Topic)
			mux := http.NewServeMux()
			mux.Handle("GET /events", events)
			mux.HandleFunc("POST /publish", func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err == nil {
					events.Publish(Topic, &sse.Event{Data: body})
				}
			})
			return listen(ctx, &http.Server{Handler: mux, ReadHeaderTimeout: headTimeout})
		}),
	}
}

func listen(ctx context.Context, server *http.Server) (addr string, err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		// Ends with the process.
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	return l.Addr().String(), nil
}
