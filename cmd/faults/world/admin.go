package world

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

// calls is held while a node evaluates: two of Erlang's tools at once take the same name, and one is refused.
var calls sync.Mutex

// VHost is a virtual host of a node, with what an operator can do to it.
type VHost struct {
	node *rabbittest.Node
	name string
	url  string
}

// NewVHost makes a virtual host. The name "/" stands for the one that a node has, which is where the event exchange is.
func NewVHost(ctx context.Context, node *rabbittest.Node, name string) (*VHost, error) {
	if name == "/" {
		return &VHost{node: node, name: name, url: node.URL()}, nil
	}
	calls.Lock()
	defer calls.Unlock()
	url, err := node.AddVHost(ctx, name)
	if err != nil {
		return nil, err
	}
	return &VHost{node: node, name: name, url: url}, nil
}

// URL returns the AMQP address.
func (v *VHost) URL() string { return v.url }

// Node returns the node.
func (v *VHost) Node() *rabbittest.Node { return v.node }

// Remove deletes the virtual host.
func (v *VHost) Remove(ctx context.Context) error {
	if v.name == "/" {
		return nil
	}
	calls.Lock()
	defer calls.Unlock()
	return v.node.DeleteVHost(ctx, v.name)
}

// consumers are, in Erlang, the channel, queue and tag of each consumer of a subscription's queue.
const consumers = `[{proplists:get_value(channel_pid, C), proplists:get_value(queue_name, C), proplists:get_value(consumer_tag, C)} ||
 C <- rabbit_amqqueue:consumers_all(<<"%[1]s">>),
 match =:= re:run(element(4, proplists:get_value(queue_name, C)), "^warren\\.%[2]s\\.[0-9A-Za-z]+\\.[0-9]+$", [{capture, none}])]`

// eval runs an Erlang expression and answers what it answers.
func (v *VHost) eval(ctx context.Context, format string, args ...any) (string, error) {
	calls.Lock()
	defer calls.Unlock()
	return v.node.Eval(ctx, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
}

// CloseConnections has the broker close the connections of a gateway, by its node name.
func (v *VHost) CloseConnections(ctx context.Context, gateway string) error {
	_, err := v.eval(ctx, `[rabbit_networking:close_connection(P, "by an operator") ||
 [{pid, P}, {vhost, V}, {client_properties, Ps}] <- rabbit_networking:connection_info_all([pid, vhost, client_properties]), V =:= <<"%s">>,
 {<<"connection_name">>, longstr, N} <- Ps, binary:match(N, <<"warren %s ">>) =/= nomatch]`, v.name, gateway)
	return err
}

// CloseChannels has the broker close the channels of a gateway's consumers, as it does when a client makes a mistake.
func (v *VHost) CloseChannels(ctx context.Context, gateway string) error {
	_, err := v.eval(ctx, `[gen_server:cast(P, {method, {'basic.ack', 1099511627776, false}, none, noflow}) || {P, _, _} <- `+consumers+`]`, v.name, gateway)
	return err
}

// KillChannels kills the processes of these channels inside of the broker, which then closes the connection.
func (v *VHost) KillChannels(ctx context.Context, gateway string) error {
	_, err := v.eval(ctx, `[exit(P, kill) || {P, _, _} <- `+consumers+`]`, v.name, gateway)
	return err
}

// CancelConsumers has the broker cancel a gateway's consumers, as it does when a queue moves.
func (v *VHost) CancelConsumers(ctx context.Context, gateway string) error {
	_, err := v.eval(ctx, `[begin gen_server:cast(P, {method, {'basic.cancel', T, true}, none, noflow}),
 rabbit_channel:send_command(P, {'basic.cancel', T, true}) end || {P, _, T} <- `+consumers+`]`, v.name, gateway)
	return err
}

// DeleteQueues deletes the queues of a gateway's subscriptions.
func (v *VHost) DeleteQueues(ctx context.Context, gateway string) error {
	_, err := v.eval(ctx, `[rabbit_amqqueue:delete(Q, false, false, <<"operator">>) ||
 {_, N, _} <- `+consumers+`, {ok, Q} <- [rabbit_amqqueue:lookup(N)]]`, v.name, gateway)
	return err
}

// KillQueues kills the processes of these queues inside of the broker, which starts them again, empty.
func (v *VHost) KillQueues(ctx context.Context, gateway string) error {
	_, err := v.eval(ctx, `[exit(amqqueue:get_pid(Q), kill) ||
 {_, N, _} <- `+consumers+`, {ok, Q} <- [rabbit_amqqueue:lookup(N)]]`, v.name, gateway)
	return err
}

// Redeliver has the broker take back what a gateway has not acknowledged yet, and deliver it again to the same consumers.
func (v *VHost) Redeliver(ctx context.Context, gateway string) error {
	_, err := v.eval(ctx, `[gen_server:cast(P, {method, {'basic.recover_async', true}, none, noflow}) || {P, _, _} <- `+consumers+`]`, v.name, gateway)
	return err
}

// Forbid takes from everybody the permission to read an exchange, which binding and unbinding need; Allow gives it back.
func (v *VHost) Forbid(ctx context.Context, exchange string) error {
	return v.permit(ctx, "^(?!"+exchange+"$).*")
}

// Allow ends Forbid.
func (v *VHost) Allow(ctx context.Context) error { return v.permit(ctx, ".*") }

func (v *VHost) permit(ctx context.Context, read string) error {
	_, err := v.eval(ctx, `rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"%s">>, <<".*">>, <<".*">>, <<"%s">>, <<"operator">>)`, v.name, read)
	return err
}

// Queues returns how many queues of subscriptions a gateway consumes from.
func (v *VHost) Queues(ctx context.Context, gateway string) (int, error) {
	out, err := v.eval(ctx, `length(`+consumers+`)`, v.name, gateway)
	if err != nil {
		return 0, err
	}
	var n int
	_, err = fmt.Sscan(out, &n)
	return n, err
}

// Alarm raises the memory alarm of the node, or ends it.
func (v *VHost) Alarm(ctx context.Context, on bool) error {
	limit := "0.4"
	if on {
		limit = "0.0000001"
	}
	_, err := v.node.Ctl(ctx, "set_vm_memory_high_watermark", limit)
	return err
}
