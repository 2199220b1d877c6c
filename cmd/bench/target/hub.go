package target

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/golang-jwt/jwt/v5"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/publish"
)

// topic is the only channel of Centrifugo, and the only topic of Mercure.
const topic = "bench"

// Hub is a peer that is one program, found in PATH, with one file of configuration: messages are posted to it.
type Hub struct {
	*daemon
	name    string
	dir     string
	paths   map[string]string // to read, by the kind of stream
	ready   string            // see load.Target
	addr    string
	publish publish.Target
}

// centrifugoConfig lets anybody connect without a token and read. Queues of clients are as long as the publisher may be ahead of them: by
// default who has 1 MiB to come is cut off.
const centrifugoConfig = `{
  "http_server": {"address": "127.0.0.1", "port": %d},
  "http_api": {"insecure": true},
  "client": {"allow_anonymous_connect_without_token": true, "queue_max_size": 67108864},
  "channel": {"without_namespace": {"allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true}},
  "uni_sse": {"enabled": true},
  "uni_websocket": {"enabled": true},
  "log": {"level": "error"},
  "usage_stats": {"disabled": true}
}
`

// StartCentrifugo starts Centrifugo with its engine in memory and no history. Readers have its unidirectional transports, which are what an
// EventSource, or a WebSocket without a library, reads.
func StartCentrifugo(ctx context.Context) (*Hub, error) {
	program, err := exec.LookPath("centrifugo")
	if err != nil {
		return nil, &MissingError{"Centrifugo", "make peers builds it for make bench; else put it into PATH"}
	}
	query := "?cf_connect=" + url.QueryEscape(`{"subs":{"`+topic+`":{}}}`)
	h := &Hub{
		name:  "Centrifugo",
		paths: map[string]string{load.SSE: "/connection/uni_sse" + query, load.WS: "/connection/uni_websocket" + query},
		ready: `"subs":{"` + topic + `"`,
	}
	return h, h.start(ctx, "config.json", centrifugoConfig, func(file string) []string { return []string{program, "--config", file} }, func(base string) publish.Target {
		return publish.Target{Kind: publish.HTTP, URL: base + "/api/publish", Before: `{"channel":"` + topic + `","data":`, After: `}`}
	})
}

// mercureKey signs the publisher's token.
const mercureKey = "a key that only this benchmark has!!"

// mercureConfig is a Caddyfile. The transport that keeps no history is the cheapest.
const mercureConfig = `{
  admin off
  auto_https off
  persist_config off
  log {
    level ERROR
  }
}
http://127.0.0.1:%d {
  mercure {
    publisher_jwt "` + mercureKey + `"
    anonymous
    transport local
  }
}
`

// StartMercure starts the Mercure hub.
func StartMercure(ctx context.Context) (*Hub, error) {
	program, err := exec.LookPath("mercure")
	if err != nil {
		return nil, &MissingError{"Mercure", "put mercure of https://github.com/dunglas/mercure/releases into PATH"}
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"mercure": map[string]any{"publish": []string{"*"}}}).SignedString([]byte(mercureKey))
	if err != nil {
		return nil, err
	}
	h := &Hub{name: "Mercure", paths: map[string]string{load.SSE: "/.well-known/mercure?topic=" + topic}}
	return h, h.start(ctx, "Caddyfile", mercureConfig, func(file string) []string { return []string{program, "run", "--config", file} }, func(base string) publish.Target {
		return publish.Target{
			Kind: publish.HTTP, URL: base + "/.well-known/mercure", Token: token,
			// The bodies have nothing that a form would have escaped.
			ContentType: "application/x-www-form-urlencoded", Before: "topic=" + topic + "&data=",
		}
	})
}

// start starts the program, whose configuration is text with a place for the port.
func (h *Hub) start(ctx context.Context, file, text string, command func(file string) []string, to func(base string) publish.Target) error {
	port, err := rabbittest.FreePort()
	if err != nil {
		return err
	}
	h.addr = fmt.Sprintf("127.0.0.1:%d", port)
	h.publish = to("http://" + h.addr)
	if h.dir, err = os.MkdirTemp("", "bench-hub-"); err != nil {
		return err
	}
	const mode = 0o600
	file = filepath.Join(h.dir, file)
	err = os.WriteFile(file, fmt.Appendf(nil, text, port), mode)
	if err == nil {
		args := command(file)
		h.daemon, err = spawn(ctx, args[0], args[1:]...)
	}
	if err == nil {
		err = h.awaitConnection(ctx, h.addr)
	}
	if err != nil {
		h.Stop()
		return fmt.Errorf("starting %s: %w", h.name, err)
	}
	return nil
}

// Name answers the product's name.
func (h *Hub) Name() string { return h.name }

// PIDs answers its process.
func (h *Hub) PIDs() []int { return []int{h.cmd.Process.Pid} }

// Stream reads the only channel.
func (h *Hub) Stream(kind string) load.Target {
	return load.Target{Kind: kind, Addr: h.addr, Path: h.paths[kind], Ready: h.ready}
}

// Publish posts to the only channel.
func (h *Hub) Publish() publish.Target { return h.publish }

// Stop ends it.
func (h *Hub) Stop() {
	if h.daemon != nil {
		h.stop()
	}
	_ = os.RemoveAll(h.dir) // a temporary directory
}
