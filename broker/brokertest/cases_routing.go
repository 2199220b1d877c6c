package brokertest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/warren-gateway/warren/broker"
)

func routingCases() []testCase {
	return []testCase{
		{name: "Routing/Topic", run: routeTopic},
		{name: "Routing/Direct", run: routeDirect},
		{name: "Routing/Fanout", run: routeFanout},
		{name: "Routing/Headers", run: routeHeaders},
		{name: "Routing/HeaderValues", run: routeHeaderValues},
	}
}

// sample is a message to publish.
type sample struct {
	key     string
	headers broker.Table
}

// routes checks which samples each binding of an exchange gets: a queue per
// binding, the samples' numbers in want.
func (s *suite) routes(typ string, samples []sample, bindings []route) {
	s.Helper()
	e, end := s.exchange(typ), s.exchange("fanout")
	readers := make([]*reader, len(bindings))
	for i, b := range bindings {
		readers[i] = s.open(s.bindingWith(e, b.key, b.args), s.binding(end, ""))
	}
	for i, m := range samples {
		id := strconv.Itoa(i)
		s.publishWith(e, m.key, broker.Properties{MessageID: id, Headers: m.headers}, nil)
	}
	s.publish(end, "", "end")
	for i, b := range bindings {
		got := readers[i].until("end")
		if !slices.Equal(got, numbers(b.want)) && (b.or == nil || !slices.Equal(got, numbers(b.or))) {
			s.Errorf("binding %q %v got messages %v, want %v", b.key, b.args, got, b.want)
		}
	}
}

func numbers(samples []int) (ids []string) {
	for _, n := range samples {
		ids = append(ids, strconv.Itoa(n))
	}
	return ids
}

type route struct {
	key  string
	args broker.Table
	want []int
	or   []int // what is fine, too, unless nil
}

func routeTopic(s *suite) {
	keys := []string{
		0: "", 1: "a", 2: "a.b", 3: "a.b.c", 4: "b", 5: "b.a", 6: ".", 7: "a.", 8: "a..b", 9: "a*", 10: "*", 11: "#", 12: "A", 13: "a.b.a.b",
	}
	samples := make([]sample, len(keys))
	for i, key := range keys {
		samples[i].key = key
	}
	all := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}
	s.routes("topic", samples, []route{
		{key: "#", want: all},
		{key: "#.#", want: all},
		{key: "", want: []int{0}},
		{key: "a", want: []int{1}},
		{key: "*", want: []int{1, 4, 9, 10, 11, 12}},
		{key: "*.*", want: []int{2, 5, 6, 7}},
		{key: "a.*", want: []int{2, 7}},
		{key: "a.#", want: []int{1, 2, 3, 7, 8, 13}},
		{key: "#.b", want: []int{2, 4, 8, 13}},
		{key: "a.#.b", want: []int{2, 8, 13}},
		{key: "#.b.#", want: []int{2, 3, 4, 5, 8, 13}},
		{key: "*.#", want: all[1:]},
		{key: "#.*", want: all[1:]},
		{key: "#.b.#.b", want: []int{13}}, // RabbitMQ 4.3 takes no more than two #
		{key: "a..b", want: []int{8}},
		{key: "a.*.b", want: []int{8}},
		{key: ".", want: []int{6}},
		{key: "a*", want: []int{9}},
		{key: "a.b.c.d", want: nil},
	})
}

func routeDirect(s *suite) {
	long := strings.Repeat("k", broker.MaxShortString)
	samples := []sample{0: {key: "a"}, 1: {key: "a.b"}, 2: {key: ""}, 3: {key: "#"}, 4: {key: long}, 5: {key: "ключ"}}
	s.routes("direct", samples, []route{
		{key: "a", want: []int{0}},
		{key: "a.b", want: []int{1}},
		{key: "", want: []int{2}},
		{key: "#", want: []int{3}},
		{key: "*", want: nil},
		{key: long, want: []int{4}},
		{key: "ключ", want: []int{5}},
		{key: "A", want: nil},
		{key: "a", args: broker.Table{"x-match": "any", "n": "1"}, want: []int{0}},
	})
}

func routeFanout(s *suite) {
	samples := []sample{0: {key: "a"}, 1: {key: ""}, 2: {key: "b", headers: broker.Table{"n": int64(1)}}}
	s.routes("fanout", samples, []route{
		{key: "", want: []int{0, 1, 2}},
		{key: "a", want: []int{0, 1, 2}},
		{key: "#", args: broker.Table{"n": int64(2)}, want: []int{0, 1, 2}},
	})
}

func routeHeaders(s *suite) {
	samples := []sample{
		0: {},
		1: {headers: broker.Table{"a": "1"}},
		2: {headers: broker.Table{"a": "1", "b": "2"}},
		3: {headers: broker.Table{"a": "1", "b": "3", "c": "4"}},
		4: {headers: broker.Table{"b": "2"}},
		5: {headers: broker.Table{"a": "1", "x-a": "1"}},
		6: {headers: broker.Table{"x-a": "1"}},
		7: {key: "a", headers: broker.Table{"A": "1"}},
	}
	all := []int{0, 1, 2, 3, 4, 5, 6, 7}
	s.routes("headers", samples, []route{
		{args: nil, want: all},
		{key: "a", want: all},
		{args: broker.Table{"x-match": "any"}, want: nil},
		{args: broker.Table{"a": "1"}, want: []int{1, 2, 3, 5}},
		{args: broker.Table{"x-match": "all", "a": "1", "b": "2"}, want: []int{2}},
		{args: broker.Table{"x-match": "any", "a": "1", "b": "2"}, want: []int{1, 2, 3, 4, 5}},
		{args: broker.Table{"b": nil}, want: []int{2, 3, 4}},
		{args: broker.Table{"x-match": "any", "b": nil, "c": "5"}, want: []int{2, 3, 4}},
		{args: broker.Table{"x-match": "all", "x-a": "2", "a": "1"}, want: []int{1, 2, 3, 5}},
		{args: broker.Table{"x-match": "any", "x-a": "1", "b": "2"}, want: []int{2, 4}},
		{args: broker.Table{"x-match": "all", "x-a": "1"}, want: all},
		{args: broker.Table{"x-match": "all-with-x", "x-a": "1"}, want: []int{5, 6}},
		{args: broker.Table{"x-match": "all-with-x", "x-a": "1", "a": "1"}, want: []int{5}},
		{args: broker.Table{"x-match": "any-with-x", "x-a": "1", "b": "2"}, want: []int{2, 4, 5, 6}},
	})
}

// routeHeaderValues compares values across types. RabbitMQ compares by value: a
// text is the same bytes, and before version 4 the number 1 is 1.0, and a time.
func routeHeaderValues(s *suite) {
	values := []any{
		0: int64(1), 1: "1", 2: float64(1), 3: true, 4: int64(-1), 5: nil, 6: []byte("1"), 7: float64(1.5),
		8: broker.Timestamp(1), 9: []any{int64(1), "a"}, 10: broker.Table{"n": "a"}, 11: broker.Decimal{Scale: 1, Value: 10}, 12: false, 13: "",
	}
	samples := make([]sample, len(values))
	for i, v := range values {
		samples[i].headers = broker.Table{"v": v}
	}
	want := func(v any, numbers ...int) route {
		return route{key: fmt.Sprintf("%T", v), args: broker.Table{"v": v}, want: numbers}
	}
	number := func(v any, same int) route {
		r := want(v, 0, 2, 8)
		r.or = []int{same}
		return r
	}
	s.routes("headers", samples, []route{
		number(int64(1), 0),
		number(float64(1), 2),
		want("1", 1, 6),
		want(true, 3),
		want(false, 12),
		want(int64(-1), 4),
		want(float64(1.5), 7),
		want([]any{int64(1), "a"}, 9),
		want([]any{"a", int64(1)}),
		want([]any{int64(1)}),
		want(broker.Decimal{Scale: 1, Value: 10}, 11),
		want(nil, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13),
		want("", 13),
		want(int64(2)),
	})
}
