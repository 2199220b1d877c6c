package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// maxFrame is longer than every frame of the contract.
const maxFrame = 64 << 20

// eventSource reads one response as the WHATWG standard says, and goes on by Last-Event-ID.
func (c *Client) eventSource(ctx context.Context, take func([]byte)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.target("sse"), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if c.position != "" {
		req.Header.Set("Last-Event-ID", c.position)
	}
	resp, err := c.transport().RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if c.byID() && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone) {
			return errGone
		}
		return fmt.Errorf("refused: %s %s", resp.Status, text)
	}
	if want := strings.HasPrefix(c.opts.URL, "https:"); want != (resp.ProtoMajor == 2) {
		c.record.Violate("an event stream over %s", resp.Proto)
	}
	c.record.Connect(c.position)
	return c.events(resp.Body, take)
}

// events takes events apart. What an event says beside its data must agree with the data.
func (c *Client) events(body io.Reader, take func([]byte)) error {
	lines := bufio.NewReaderSize(body, 16<<10)
	var data []byte
	var id, event string
	for {
		line, err := readLine(lines)
		if err != nil {
			return err
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(name) {
		case "data":
			data = append(data, value...)
		case "id":
			id = string(value)
		case "event":
			event = string(value)
		case "":
			if len(line) > 0 || data == nil { // a comment, or an event without data
				continue
			}
			before := c.bye
			take(data)
			c.compare(data, id, event)
			data, id, event = nil, "", ""
			if c.bye != before {
				return errors.New("bye")
			}
		}
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		part, more, err := r.ReadLine()
		if err != nil {
			return nil, err
		}
		if long == nil && !more {
			return part, nil
		}
		if long = append(long, part...); !more {
			return long, nil
		}
		if len(long) > maxFrame {
			return nil, errors.New("a line without an end")
		}
	}
}

// compare holds the event's fields against its data: a browser goes by the fields.
func (c *Client) compare(data []byte, id, event string) {
	if event == "" {
		event = "message"
	}
	if !bytes.Contains(data[:min(len(data), 64)], []byte(`"type":"`+event+`"`)) {
		c.record.Violate("an event %q with the data %.200s", event, data)
	}
	if id != "" && id != c.position {
		c.record.Violate("an event with the id %q and the data %.200s", id, data)
	}
	if id == "" && bytes.Contains(data[:min(len(data), 200)], []byte(`,"id":"`)) && (event == "message" || event == "gap") {
		c.record.Violate("an event without its id: %.200s", data)
	}
}

// webSocket reads one WebSocket, and goes on by after=.
func (c *Client) webSocket(ctx context.Context, take func([]byte)) error {
	target := c.target("ws")
	if c.position != "" {
		sep := "?"
		if strings.Contains(target, "?") {
			sep = "&"
		}
		target += sep + "after=" + c.position
	}
	transport := c.transport()
	transport.ForceAttemptHTTP2 = false
	transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	conn, _, err := websocket.Dial(ctx, target, &websocket.DialOptions{ //nolint:bodyclose // the library closes it
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"warren.v1"},
	})
	if err != nil {
		return err
	}
	defer conn.CloseNow() //nolint:errcheck // over either way
	conn.SetReadLimit(maxFrame)
	c.record.Connect(c.position)
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			var closed websocket.CloseError
			if errors.As(err, &closed) && (closed.Code == 4404 || closed.Code == 4410) && c.byID() {
				return errGone
			}
			return err
		}
		take(data)
	}
}
