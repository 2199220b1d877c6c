package rabbitmq

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/warren-gateway/warren/broker/brokertest"
	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// vhostOf returns the virtual host of an AMQP address.
func vhostOf(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if name := strings.TrimPrefix(u.Path, "/"); name != "" {
		return name
	}
	return "/"
}

// queueNames lists the queues of a virtual host whose name begins with a prefix.
func queueNames(t testing.TB, address, prefix string) []string {
	t.Helper()
	out := rabbittest.Eval(t, fmt.Sprintf(
		`binary_to_list(iolist_to_binary([[element(4, amqqueue:get_name(Q)), 10] || Q <- rabbit_amqqueue:list(<<"%s">>)]))`,
		vhostOf(t, address)))
	var names []string
	for line := range strings.SplitSeq(strings.Trim(out, `"[]`), `\n`) {
		if strings.HasPrefix(line, prefix) && line != "" {
			names = append(names, line)
		}
	}
	return names
}

// subscriptionQueues lists those of subscriptions.
func subscriptionQueues(t testing.TB, address string) []string {
	t.Helper()
	return slices.DeleteFunc(queueNames(t, address, "warren."), func(name string) bool {
		return strings.Contains(name, ".dead.") || strings.Contains(name, ".canary.") || strings.Contains(name, ".events.")
	})
}

// closeConnections has the broker close the connections of a virtual host.
func closeConnections(t testing.TB, address string) {
	t.Helper()
	rabbittest.Eval(t, fmt.Sprintf(
		`[rabbit_networking:close_connection(P, "by a test") || [{pid, P}, {vhost, V}] <- rabbit_networking:connection_info_all([pid, vhost]), V =:= <<"%s">>]`,
		vhostOf(t, address)))
}

func deleteQueue(t testing.TB, address, name string) {
	t.Helper()
	rabbittest.Eval(t, fmt.Sprintf(
		`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>)), {ok, _} = rabbit_amqqueue:delete(Q, false, false, <<"test">>)`,
		vhostOf(t, address), name))
}

// killQueue kills the process of a queue, which the broker starts again, empty.
func killQueue(t testing.TB, address, name string) {
	t.Helper()
	rabbittest.Eval(t, fmt.Sprintf(
		`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>)), exit(amqqueue:get_pid(Q), kill)`,
		vhostOf(t, address), name))
}

// connectionNames lists the names that clients gave to their connections in a virtual host.
func connectionNames(t testing.TB, address string) string {
	t.Helper()
	return rabbittest.Eval(t, fmt.Sprintf(
		`binary_to_list(iolist_to_binary([[N, 10] || [{client_properties, P}, {vhost, V}] <- rabbit_networking:connection_info_all([client_properties, vhost]), V =:= <<"%s">>, {<<"connection_name">>, longstr, N} <- P]))`,
		vhostOf(t, address)))
}

// internals returns the queue's current incarnation.
func internals(t testing.TB, q *brokertest.Inbox) *incarnation {
	t.Helper()
	inc, err := q.Queue.(*queue).current()
	if err != nil {
		t.Fatal(err)
	}
	return inc
}

func contextOf(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
