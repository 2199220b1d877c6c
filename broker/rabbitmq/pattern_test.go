package rabbitmq

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// Grants are decided by broker.Pattern, and what is delivered by RabbitMQ: where the two differ, a grant means something else
// than its issuer thinks.
func TestPatternsMatchWhatRabbitMQDelivers(t *testing.T) {
	patterns := unique([]string{
		"", ".", "*", "#", "*.*", "#.", ".#", "*.#", "#.*", "a", "a.", ".a", "a.#", "#.a", "a.*", "*.a", "#.a.#", "a.#.a", "#.#", "#.*.#", "#..#",
		"a..b", "a*", "*.#.", "#.a.*.b.#", "..", "#.b",
	}, 80, 6, []string{"a", "b", "", "*", "#"})
	keys := unique([]string{
		"", ".", "*", "#", "a", "a.", ".a", "a.a", "a.b", "b.a", "..", "a..b", "a.b.a", "a.a.b.b", "a*", "ab", "*.a", "#.a", "a.#", "a.*.b", "a.a.x.b", "x",
	}, 60, 7, []string{"a", "b", "", "z", "*", "#"})
	pub := newPublisher(t, rabbittest.VHost(t))
	pub.declare("t", "topic")
	refused := map[string]bool{}
	// One queue for each pattern, bounded in memory only by what is published.
	for i, pattern := range patterns {
		if _, err := pub.ch.QueueDeclare("q"+strconv.Itoa(i), false, false, true, false, nil); err != nil {
			t.Fatal(err)
		}
		if !pub.binds("q"+strconv.Itoa(i), pattern, "t") {
			refused[pattern] = true
		}
	}
	for _, key := range keys {
		pub.text("t", key, key)
	}
	for i, text := range patterns {
		if refused[text] {
			continue
		}
		pattern, err := broker.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		delivered := drain(t, pub.ch, "q"+strconv.Itoa(i))
		for _, key := range keys {
			if n := delivered[key]; n > 1 || (n == 1) != pattern.Match(key) {
				t.Errorf("pattern %q, key %q: delivered %d times, Match answers %v", text, key, n, pattern.Match(key))
			}
		}
	}
}

// drain takes all messages and counts them by their body.
func drain(t *testing.T, ch *amqp.Channel, queue string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for {
		m, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return counts
		}
		counts[string(m.Body)]++
	}
}

// unique adds as many random keys of up to so many words, and takes out what is there twice.
func unique(texts []string, more, words int, of []string) []string {
	r := rand.New(rand.NewPCG(1, 2)) // the same in each run
	for range more {
		text := make([]string, 1+r.IntN(words))
		for i := range text {
			text[i] = of[r.IntN(len(of))]
		}
		texts = append(texts, strings.Join(text, "."))
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// The bound is there because each further "#" multiplies what the broker does for one message by some hundreds.
func TestPatternThatIsAllowedDoesNotStallTheBroker(t *testing.T) {
	pub := newPublisher(t, rabbittest.VHost(t))
	pub.declare("t", "topic")
	q, err := pub.ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	pattern := strings.Repeat("#.a.", broker.MaxHashes) + "b"
	if _, err := broker.NewBinding("t", pattern, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.NewBinding("t", "#."+pattern, nil); broker.CodeOf(err) != broker.CodeInvalidRequest {
		t.Errorf("one # more: %v", err)
	}
	if !pub.binds(q.Name, pattern, "t") {
		return
	}
	begin := time.Now()
	pub.text("t", strings.Repeat("a.", 29)+"a", "")
	t.Logf("a key of 30 words took %v", time.Since(begin))
	if took := time.Since(begin); took > patience/3 {
		t.Errorf("one message took %v", took)
	}
}

// binds reports whether the broker takes a pattern. RabbitMQ does from 4.3 on if it has no more than two words "#".
func (p *publisher) binds(queue, pattern, exchange string) bool {
	p.t.Helper()
	err := p.ch.QueueBind(queue, pattern, exchange, false, nil)
	if replyCode(err) == amqp.PreconditionFailed && strings.Count(pattern, "#") > 2 {
		p.open()
		return false
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return true
}
