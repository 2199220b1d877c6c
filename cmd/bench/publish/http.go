package publish

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/warren-gateway/warren/cmd/bench/load"
)

// httpSender posts on one connection. It writes the same request with another time again and again, since net/http costs
// more than the servers under test.
type httpSender struct {
	conn    net.Conn
	answers *bufio.Reader
	request []byte
	stampAt int
	stop    func() bool
}

func newHTTP(ctx context.Context, job Job) (*httpSender, error) {
	u, err := url.Parse(job.Target.URL)
	if err != nil {
		return nil, err
	}
	body, _ := load.Body(job.Size)
	switch job.Target.Kind {
	case HTTP:
		body = slices.Concat([]byte(job.Target.Before), body, []byte(job.Target.After))
	case Warren:
		body = fmt.Appendf(nil, `{"routing_key":%q,"payload":%q,"payload_encoding":"string","properties":{"content_type":"application/json"}}`, RoutingKey, body)
	}
	header := "Content-Type: " + cmp.Or(job.Target.ContentType, "application/json") + "\r\n"
	if job.Target.Token != "" {
		header += "Authorization: Bearer " + job.Target.Token + "\r\n"
	}
	request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n%s", u.RequestURI(), u.Host, header, len(body), body)
	at := bytes.Index(request, []byte(load.Marker))
	if at < 0 {
		return nil, errors.New("the request has no marker")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	s := &httpSender{conn: conn, answers: bufio.NewReader(conn), request: request, stampAt: at + len(load.Marker)}
	s.stop = context.AfterFunc(ctx, func() { conn.Close() })
	return s, nil
}

// send posts a message and waits for the answer.
func (s *httpSender) send(_ context.Context, nanoseconds int64) error {
	load.Stamp(s.request, s.stampAt, nanoseconds)
	if _, err := s.conn.Write(s.request); err != nil {
		return err
	}
	line, err := s.answers.ReadString('\n')
	if err != nil {
		return err
	}
	if _, status, _ := strings.Cut(line, " "); !strings.HasPrefix(status, "2") {
		return fmt.Errorf("refused: %s", strings.TrimSpace(line))
	}
	size, err := s.restOfHead()
	if err != nil {
		return err
	}
	_, err = s.answers.Discard(size)
	return err
}

// restOfHead reads the head's other lines and answers the length of the body.
func (s *httpSender) restOfHead() (size int, err error) {
	for {
		line, err := s.answers.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return 0, io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		line = strings.TrimSpace(line)
		if line == "" {
			return size, nil
		}
		name, value, _ := strings.Cut(line, ":")
		if http.CanonicalHeaderKey(name) == "Content-Length" {
			if _, err := fmt.Sscan(value, &size); err != nil {
				return 0, fmt.Errorf("content length: %w", err)
			}
		}
	}
}

func (s *httpSender) close() {
	s.stop()
	s.conn.Close()
}
