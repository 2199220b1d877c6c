package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// ask makes one request from the i-th address of the attacker.
func (h *hostile) ask(i int, line, body string, header ...string) string {
	h.t.Helper()
	conn, err := h.tryDial(i)
	if err != nil {
		return "cannot connect"
	}
	defer func() { _ = conn.Close() }()
	h.write(conn, h.fill(requestText(line, body, header...)))
	return answerOf(conn)
}

// flood makes n requests, 32 at the same time, and returns all answers.
func (h *hostile) flood(n int, f func(i int) string) *answers {
	h.t.Helper()
	got := &answers{}
	atOnce(n, 32, func(i int) { got.add(f(i)) })
	return got
}

func floodCases() []hostileCase {
	const short = `{"linger_seconds":1}`
	return []hostileCase{
		{name: "flood: creates of one caller", want: "201, 429 limit_reached, 429 rate_limited", attack: func(h *hostile) string {
			got := h.flood(300, func(int) string { return h.ask(0, "POST /v1/subscriptions", `{"linger_seconds":10}`) })
			if n := got.count("201"); n > 100 {
				h.t.Errorf("%d subscriptions were made", n)
			}
			return got.String()
		}},
		{name: "flood: creates of many callers", want: "201, 503 over_capacity", attack: func(h *hostile) string {
			begin := time.Now()
			got := h.flood(1500, func(i int) string { return h.ask(i, "POST /v1/subscriptions", short) })
			if n, most := got.count("201"), 100+int(100*time.Since(begin).Seconds())+1; n > most {
				h.t.Errorf("%d subscriptions were made, at most %d could be", n, most)
			}
			return got.String()
		}},
		{name: "flood: streams that differ in their key", want: "bye over_capacity, ready", attack: func(h *hostile) string {
			return h.flood(3000, func(i int) string { // of which 100, and 100 a second, may be made
				return h.ask(i%40, fmt.Sprintf("GET /v1/sse?exchange=orders&routing_key=k%d", i), "", "Accept: text/event-stream")
			}).String()
		}},
		{name: "flood: attaches of one caller", want: "429 rate_limited, ready", attack: func(h *hostile) string {
			return h.flood(600, func(int) string { return h.ask(0, "GET /v1/sse?exchange=good", "") }).String()
		}},
		{name: "flood: attaches to one subscription", want: "429 limit_reached, ready", attack: attachFlood},
		{name: "flood: requests that claim to come from everywhere", want: "200, 429 rate_limited", attack: func(h *hostile) string {
			return h.flood(600, func(i int) string {
				return h.ask(0, "GET /v1/exchanges", "", fmt.Sprintf("X-Forwarded-For: 10.0.%d.%d", i/256, i%256), "X-Real-IP: 10.1.1.1", "Forwarded: for=10.2.2.2")
			}).String()
		}},
		{name: "flood: ids that are guessed", want: "404 subscription_not_found, 429 rate_limited", attack: func(h *hostile) string {
			return h.flood(600, func(i int) string { return h.ask(0, fmt.Sprintf("GET /v1/subscriptions/%022d", i), "") }).String()
		}},
	}
}

// moreFloods are of what is cheap to ask for.
func moreFloods() []hostileCase {
	return []hostileCase{
		{name: "flood: tokens that are bad", tokens: true, want: "401 unauthorized, 429 rate_limited", attack: func(h *hostile) string {
			_, claims := object{"alg": "ES256"}, claimsOf("mallory", nil)
			return h.flood(600, func(i int) string {
				claims := claimsOf(fmt.Sprint("mallory", i), object{"iat": claims["exp"]})
				return h.ask(0, "GET /v1/exchanges", "", "Authorization: Bearer "+h.world.keys.ecToken(object{"alg": "ES256"}, claims))
			}).String()
		}},
		{name: "flood: static files", want: "200, 429 rate_limited", attack: func(h *hostile) string {
			return h.flood(600, func(int) string { return h.ask(0, "GET /warren.js", "") }).String()
		}},
		{name: "flood: streams of a page that is reloaded", want: "429 rate_limited, ready", attack: func(h *hostile) string {
			return h.flood(200, func(int) string { // of which 50, and 10 a second, may be made
				return h.ask(0, "GET /v1/sse?exchange=orders&share=false", "")
			}).String()
		}},
		{name: "flood: connections that are reset", want: "reset", attack: func(h *hostile) string {
			atOnce(1000, 16, func(i int) {
				conn, err := h.tryDial(i)
				if err != nil {
					return
				}
				h.write(conn, []string{"", "GET ", h.fill(requestText("GET /v1/sse?exchange=good", ""))}[i%3])
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			})
			return "reset"
		}},
		{name: "flood: WebSockets that are reset", want: "reset", attack: func(h *hostile) string {
			atOnce(300, 16, func(i int) {
				conn, _ := h.socket(i, "/v1/ws?exchange=good")
				h.write(conn, wsHeader(wsFinal|wsText, 5000)+"{")
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			})
			return "reset"
		}},
		{name: "flood: connections of one address", want: "200, 503 over_capacity", attack: connectionFlood},
		{name: "flood: requests in one go, whose answers nobody reads", want: "held", attack: func(h *hostile) string {
			text := h.fill(requestText("GET /openapi.yaml", ""))
			atOnce(20, 20, func(i int) { h.write(h.dial(i), strings.Repeat(text, 300)) })
			h.world.neighbours.settleAfter(h.t, time.Second) // they stay while others are served
			return "held"
		}},
	}
}

// attachFlood is 1,100 streams of six callers on a subscription that takes 1,000.
func attachFlood(h *hostile) string {
	var s subscription
	if status := request(h.t, "POST", h.gateway.URL+"/v1/subscriptions", `{"linger_seconds":5}`, &s); status != 201 {
		h.t.Fatalf("create answers %d", status)
	}
	var group sync.WaitGroup
	got := &answers{}
	group.Go(func() {
		atOnce(1100, 32, func(i int) {
			conn := h.dial(i % 6) // stays open until the attack is over
			h.write(conn, h.fill(requestText("GET "+s.Links.SSE, "")))
			got.add(answerOf(conn))
		})
	})
	group.Wait()
	if n := got.count("ready"); n != 1000 {
		h.t.Errorf("%d are attached", n)
	}
	return got.String()
}

// connectionFlood opens more connections than an address may have.
func connectionFlood(h *hostile) string {
	const most = 2*1000 + 64
	got := &answers{}
	atOnce(most, 32, func(int) { h.dial(0) })
	for range 20 {
		got.add(answerOf(h.dial(0)))
	}
	got.add(h.ask(1, "GET /v1/exchanges", "")) // another address is served
	h.close()
	if !warrentest.Eventually(bounded(h.t, patience), func() bool { return h.ask(0, "GET /v1/exchanges", "") == "200" }) {
		h.t.Error("the places are not given back")
	}
	return got.String()
}

// hold keeps n connections that sent the text and then what goes on sends.
func hold(n int, text string, goOn func(conn net.Conn)) func(h *hostile) string {
	return func(h *hostile) string {
		got := &answers{}
		begin := time.Now()
		atOnce(n, n, func(i int) {
			conn := h.dial(i)
			h.write(conn, h.fill(text))
			var more sync.WaitGroup
			more.Go(func() { goOn(conn) })
			got.add(answerOf(conn))
			_ = conn.Close()
			more.Wait()
		})
		if took := time.Since(begin); took > 20*time.Second {
			h.t.Errorf("it took %v until all were answered", took)
		}
		return got.String()
	}
}

func silent(net.Conn) {}

// drip sends a little now and then, until the connection is closed.
func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

// slowCases take as long as the gateway lets them.
func slowCases() []hostileCase {
	// Whether net/http still says 400 before it closes depends on what was sent last.
	refused := func(attack func(*hostile) string) func(*hostile) string {
		return func(h *hostile) string {
			if got := attack(h); got != "400" && got != "closed" && got != "400, closed" {
				return got
			}
			return "refused"
		}
	}
	const post = "POST /v1/subscriptions HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
	return []hostileCase{
		{name: "slow: half-open sockets that say nothing", slow: true, want: "closed", attack: hold(500, "", silent)},
		{name: "slow: header that stops", slow: true, want: "refused", attack: refused(hold(100, "GET /v1/sse HTTP/1.1\r\nHost: HOST\r\nX-", silent))},
		{name: "slow: header that drips", slow: true, want: "refused", attack: refused(hold(100, "GET /v1/sse HTTP/1.1\r\nHost: HOST\r\nX-A: ", drip("a")))},
		{name: "slow: body that stops", slow: true, want: "400 invalid_request", attack: hold(100, post+"Content-Length: 1000\r\n\r\n{", silent)},
		{name: "slow: body that drips", slow: true, want: "400 invalid_request", attack: hold(100, post+"Content-Length: 1000\r\n\r\n{", drip(" "))},
		{name: "slow: chunks that drip", slow: true, want: "400 invalid_request", attack: hold(100, post+"Transfer-Encoding: chunked\r\n\r\n", drip("1\r\n \r\n"))},
		{name: "slow: WebSockets that never say who they are", slow: true, tokens: true, want: "4401 unauthorized", attack: hold(200,
			requestText("GET /v1/ws?exchange=good", "", upgradeHeader...), silent)},
		{name: "slow: WebSockets whose first message drips", slow: true, tokens: true, want: "4401 unauthorized", attack: hold(100,
			requestText("GET /v1/ws?exchange=good", "", upgradeHeader...)+wsHeader(wsFinal|wsText, 1000), drip(" "))},
		{name: "slow: WebSockets that answer no ping", slow: true, want: "4408 slow_reader", attack: func(h *hostile) string {
			got := &answers{}
			atOnce(50, 50, func(i int) {
				_, r := h.socket(i, "/v1/ws")
				for {
					if a := socketAnswer(r); a != "ping" {
						got.add(a)
						return
					}
				}
			})
			return got.String()
		}},
	}
}
