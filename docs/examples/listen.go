//go:build ignore

// Listens to a warren gateway with Server-Sent Events: go run listen.go URL [COUNT]
//
// Prints messages and gaps, one JSON frame per line, and on standard error what happens to the stream. Ends after COUNT
// messages, or when the gateway refuses for good. Standard library only; [C-n] is a rule of docs/protocol.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

// silence is how long a stream may say nothing: three heartbeats [C-9].
const silence = 45 * time.Second

var (
	errDone  = errors.New("all messages have come")
	errFinal = errors.New("refused for good")
)

// frame has what every client looks at; unknown fields and types are ignored [C-1].
type frame struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	Code      int    `json:"code"`
	Reason    string `json:"reason"`
	Reconnect bool   `json:"reconnect"`
	Resumed   bool   `json:"resumed"`
}

type listener struct {
	url      string
	left     int // messages to come; negative: no end
	lastID   string
	retry    time.Duration
	failures int
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: go run listen.go URL [COUNT]")
	}
	l := &listener{url: os.Args[1], left: -1, retry: time.Second}
	if len(os.Args) > 2 {
		l.left, _ = strconv.Atoi(os.Args[2])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for {
		err := l.stream(ctx)
		switch {
		case errors.Is(err, errDone) || ctx.Err() != nil:
			return
		case errors.Is(err, errFinal):
			log.Fatal(err)
		}
		log.Println("the stream ended:", err)
		// Never at once, and slower with each failure [C-8].
		wait := l.retry + rand.N(time.Second<<min(l.failures, 5))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// stream reads one stream to its end.
func (l *listener) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dead := time.AfterFunc(silence, cancel)
	defer dead.Stop()
	l.failures++
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errFinal, err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if l.lastID != "" {
		req.Header.Set("Last-Event-ID", l.lastID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		problem, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			l.retry = time.Duration(seconds) * time.Second
		}
		if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 { // these can pass [C-15]
			return fmt.Errorf("%s: %s", resp.Status, problem)
		}
		return fmt.Errorf("%w: %s: %s", errFinal, resp.Status, problem)
	}
	lines := bufio.NewReader(resp.Body)
	for {
		// The gateway ends lines with LF, and puts each frame on one [P-79]; it has its id inside.
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		dead.Reset(silence)
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				l.retry = time.Duration(ms) * time.Millisecond
			}
		case "data":
			if err := l.frame(value); err != nil {
				return err
			}
		}
	}
}

// frame deals with one frame, and keeps its id when that is done [C-2].
func (l *listener) frame(data string) error {
	var f frame
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		return err
	}
	switch f.Type {
	case "ready":
		l.failures = 0
		log.Println("live; resumed:", f.Resumed)
	case "message":
		fmt.Println(data)
		l.left--
	case "gap": // told like a message [C-4]
		fmt.Println(data)
	case "bye": // [C-6]
		if !f.Reconnect {
			return fmt.Errorf("%w: bye %d %s", errFinal, f.Code, f.Reason)
		}
		return fmt.Errorf("bye %d %s", f.Code, f.Reason)
	}
	if f.ID != "" {
		l.lastID = f.ID
	}
	if l.left == 0 {
		return errDone
	}
	return nil
}
