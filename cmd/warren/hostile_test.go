package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/warren/warrentest"
)

// hostileBound is by how much an attack may make a well-behaved client wait
// longer for a message, or for an answer, than it does without any: on two cores
// that the attackers, the broker and everybody else on the machine share.
const hostileBound = 3 * time.Second

// hostileCase is one attack.
type hostileCase struct {
	name string
	// tokens says that it is against the gateway that wants tokens.
	tokens bool
	// attack does its worst and returns what it was answered, in the words of
	// answerOf: each distinct answer once, sorted.
	attack func(h *hostile) string
	want   string
	// slow says that the gateway takes its time to answer, by design: such
	// attacks run all at once.
	slow bool
}

// hostile is an attacker, with an address of its own: all of 127.0.0.0/8 is this machine.
type hostile struct {
	t       *testing.T
	world   *hostileWorld
	number  int
	gateway *warrentest.Gateway

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// hostileWorld is what is attacked: two gateways on one RabbitMQ, and the
// well-behaved clients on both.
type hostileWorld struct {
	anonymous, tokens *warrentest.Gateway
	keys              *tokenKeys
	neighbours        *neighbours
	url               string // of the broker
}

func newHostileWorld(t *testing.T) *hostileWorld {
	t.Helper()
	url := rabbittest.VHost(t)
	w := &hostileWorld{keys: newTokenKeys(t), url: url}
	pub := newRabbitPublisher(t, url)
	for name, typ := range map[string]string{
		"good": "topic", "orders": "topic", "orders.eu": "topic", "secret": "topic", "news": "fanout", "plain": "direct", "rules": "headers",
	} {
		if err := pub.ch.ExchangeDeclare(name, typ, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	// A reader that takes nothing is given up sooner than by default, so that
	// the suite need not last so long. All other bounds are the defaults.
	common := []string{
		"--broker", url, "--write-timeout", "4s", "--heartbeat", "2s", "--deny-exchange", "secret*", "--deny-exchange", "amq.rabbitmq.*",
		"--allow-origin", "https://app.example.org", "--allow-origin", "https://*.pages.example.org", "--log-level", "debug",
	}
	w.anonymous = warrentest.Start(t, common...)
	w.tokens = warrentest.Start(t, append(slices.Clone(common), "--jwt-key", w.keys.public, "--jwt-audience", "warren", "--jwt-issuer", "https://id.example.org",
		"--exchange", "orders=topic", "--exchange", "good=topic", "--exchange", "news=fanout", "--exchange", "rules=headers")...)
	w.neighbours = newNeighbours(t, w, pub)
	return w
}

func TestHostileClientsGetTheirAnswersAndHurtNobody(t *testing.T) { //nolint:tparallel // each attack is judged alone
	t.Parallel() // it mostly waits
	w := newHostileWorld(t)
	w.neighbours.settle(t)
	w.neighbours.beginAnew()
	calm := w.neighbours.settleAfter(t, 2*time.Second)
	t.Logf("without an attack the slowest message took %v, the slowest answer %v", calm.message, calm.answer)
	cases := slices.Concat(
		tokenCases(w.keys), grantCases(w.keys), identityCases(w.keys), originCases(), hostCases(), smugglingCases(), oversizedCases(), foreignCases(),
		webSocketCases(), floodCases(), moreFloods(), slowCases(), neverReadCases(),
	)
	names := map[string]bool{}
	for i := range cases {
		if names[cases[i].name] {
			t.Fatalf("two cases are named %q", cases[i].name)
		}
		names[cases[i].name] = true
	}
	worst := map[string]delays{}
	judge := func(t *testing.T, name string) {
		t.Helper()
		d := w.neighbours.settle(t)
		w.neighbours.beginAnew()
		worst[name] = d
		if d.message > calm.message+hostileBound || d.answer > calm.answer+hostileBound {
			t.Errorf("a well-behaved client waited %v for a message and %v for an answer; without an attack %v and %v", d.message, d.answer, calm.message, calm.answer)
		}
	}
	for i, c := range cases {
		if !c.slow {
			t.Run(c.name, func(t *testing.T) {
				c.run(t, w, i)
				judge(t, c.name)
			})
		}
	}
	t.Run("slow", func(t *testing.T) {
		var group sync.WaitGroup // rather than t.Parallel, which is of as many as there are cores
		for i, c := range cases {
			if c.slow {
				group.Go(func() {
					t.Run(c.name, func(t *testing.T) { c.run(t, w, i) })
				})
			}
		}
		group.Wait()
		judge(t, "slow")
	})
	t.Logf("%d cases", len(cases))
	slowest := slices.SortedFunc(maps.Keys(worst), func(a, b string) int { return int(worst[b].message - worst[a].message) })
	for _, name := range slowest[:min(8, len(slowest))] {
		t.Logf("slowest message %8v, slowest answer %8v: %s", worst[name].message, worst[name].answer, name)
	}
	w.judgeTheRemains(t)
}

// flood publishes large messages, on a connection of its own.
func (w *hostileWorld) flood(exchange string, messages, size int) error {
	conn, err := amqp.Dial(w.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	body := make([]byte, size)
	for range messages {
		if err := ch.PublishWithContext(context.Background(), exchange, "n", false, false, amqp.Publishing{Body: body}); err != nil {
			return err
		}
	}
	return ch.Close()
}

// run attacks and compares the answers.
func (c hostileCase) run(t *testing.T, w *hostileWorld, number int) {
	t.Helper()
	h := &hostile{t: t, world: w, number: number, gateway: w.anonymous}
	if c.tokens {
		h.gateway = w.tokens
	}
	got := c.attack(h)
	h.close()
	if got != c.want {
		t.Errorf("got %q, want %q", got, c.want)
	}
}

// judgeTheRemains checks what is left when all attackers are gone: no stream, no
// memory, no panic and no secret in the log.
func (w *hostileWorld) judgeTheRemains(t *testing.T) {
	t.Helper()
	for name, g := range map[string]*warrentest.Gateway{"anonymous": w.anonymous, "tokens": w.tokens} {
		left := func() int {
			return metric(t, g, `warren_streams{transport="sse"}`) + metric(t, g, `warren_streams{transport="ws"}`)
		}
		if !warrentest.Eventually(bounded(t, patience), func() bool { return left() == 2 }) {
			t.Errorf("%s: %d streams are left, of which the neighbours have 2", name, left())
		}
		rss, err := g.RSS()
		if err != nil || rss > 700<<20 {
			t.Errorf("%s: %d MiB of memory (%v)", name, rss>>20, err)
		}
		logs := g.Logs()
		for _, bad := range []string{"panic", "eyJ", `"level":"ERROR"`} {
			if i := strings.Index(logs, bad); i >= 0 {
				t.Errorf("%s: the log has %q: %.600s", name, bad, logs[max(0, i-300):])
			}
		}
		t.Logf("%s: %d MiB resident, %d goroutines", name, rss>>20, metric(t, g, "go_goroutines"))
	}
}

// address is one of the attacker's addresses; those of one case are no other's.
func (h *hostile) address(i int) string {
	return fmt.Sprintf("127.%d.%d.%d", 1+h.number/200, 1+h.number%200, 1+i%250)
}

// target is the gateway's host:port.
func (h *hostile) target() string { return strings.TrimPrefix(h.gateway.URL, "http://") }

// dial connects from the i-th address of the attacker.
func (h *hostile) dial(i int) net.Conn {
	h.t.Helper()
	conn, err := h.tryDial(i)
	if err != nil {
		h.t.Error(err) // not Fatal: this may be any goroutine
		dead, _ := net.Pipe()
		_ = dead.Close()
		return dead
	}
	return conn
}

func (h *hostile) tryDial(i int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(h.address(i))}, Timeout: patience}
	conn, err := d.DialContext(h.t.Context(), "tcp", h.target())
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, conn)
	return conn, nil
}

// close gives back what the attack has not closed itself.
func (h *hostile) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, conn := range h.conns {
		_ = conn.Close()
	}
	h.conns = nil
}

// answers collects what was answered.
type answers struct {
	mu     sync.Mutex // guards counts
	counts map[string]int
}

func (a *answers) add(answer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counts == nil {
		a.counts = map[string]int{}
	}
	a.counts[answer]++
}

func (a *answers) count(answer string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[answer]
}

// String lists each distinct answer once.
func (a *answers) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(a.counts)), ", ")
}

// atOnce runs f for 0 to n-1, some at the same time.
func atOnce(n, workers int, f func(i int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range min(n, workers) {
		group.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}
