package rabbittest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// control is all that a process needs to administer a node, whether it started the node or not.
type control struct {
	Install  install `json:"install"`
	Name     string  `json:"name"`      // Erlang node name
	Home     string  `json:"home"`      // directory with the cookie
	Cookie   string  `json:"cookie"`    // Erlang cookie
	EpmdPort int     `json:"epmd_port"` // TCP port of the node's own epmd
}

// loopback binds Erlang's distribution, of server and tools alike, to 127.0.0.1.
const loopback = "-kernel inet_dist_use_interface {127,0,0,1}"

// env answers the environment for the node and its tools: the caller's, without what would aim them at another node.
func (c control) env(extra ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "RABBITMQ_"), strings.HasPrefix(name, "ERL_"):
		case name == "HOME", name == "NOTIFY_SOCKET":
		default:
			env = append(env, kv)
		}
	}
	env = append(
		env,
		"HOME="+c.Home,
		"ERL_EPMD_PORT="+strconv.Itoa(c.EpmdPort),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME="+c.Name,
		"RABBITMQ_CTL_ERL_ARGS="+loopback,
	)
	return append(env, extra...)
}

// ctl runs rabbitmqctl against the node and answers its standard output. It takes about 0.3 s.
func (c control) ctl(ctx context.Context, args ...string) (string, error) {
	out, err := c.run(ctx, nil, c.Install.Ctl, args...)
	if err != nil {
		return "", fmt.Errorf("rabbitmqctl %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// eval has the node evaluate an Erlang expression and answers its value as Erlang prints it.
func (c control) eval(ctx context.Context, expr string) (string, error) {
	if c.Install.ErlCall == "" {
		return c.slowEval(ctx, expr)
	}
	out, err := c.run(ctx, []byte(expr+".\n"), c.Install.ErlCall, "-c", c.Cookie, "-n", c.Name, "-e")
	if err != nil && strings.Contains(err.Error(), "failed to connect") {
		// erl_call tries once, and on a machine that is busy with a few thousand connections that is now and then not
		// enough, though the node is well.
		return c.slowEval(ctx, expr)
	}
	if err != nil {
		return "", fmt.Errorf("evaluating %s: %w", expr, err)
	}
	value, ok := strings.CutPrefix(out, "{ok, ")
	if !ok {
		return "", fmt.Errorf("evaluating %s: %s", expr, out)
	}
	return strings.TrimSuffix(value, "}"), nil
}

// slowEval is eval by rabbitmqctl, which is slower and more patient than erl_call.
func (c control) slowEval(ctx context.Context, expr string) (string, error) {
	out, err := c.ctl(ctx, "eval", expr+".")
	return strings.TrimSpace(out), err
}

func (c control) run(ctx context.Context, input []byte, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = c.env()
	cmd.Dir = c.Home
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s%s", err, bytes.TrimSpace(stderr.Bytes()), bytes.TrimSpace(out))
	}
	return string(out), nil
}

// addVHost creates a virtual host in which guest may do everything.
func (c control) addVHost(ctx context.Context, name string) error {
	expr := fmt.Sprintf(`ok = rabbit_vhost:add(<<"%[1]s">>, <<"rabbittest">>), `+
		`ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"%[1]s">>, <<".*">>, <<".*">>, <<".*">>, <<"rabbittest">>)`, name)
	if _, err := c.eval(ctx, expr); err != nil {
		return fmt.Errorf("adding virtual host %s: %w", name, err)
	}
	return nil
}

// deleteVHost removes a virtual host with all that is in it, and closes its connections.
func (c control) deleteVHost(ctx context.Context, name string) error {
	if _, err := c.eval(ctx, fmt.Sprintf(`rabbit_vhost:delete(<<"%s">>, <<"rabbittest">>)`, name)); err != nil {
		return fmt.Errorf("deleting virtual host %s: %w", name, err)
	}
	return nil
}

// encode makes the value of WARREN_TEST_RABBITMQ_CTL.
func (c control) encode() (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encoding %s: %w", ctlEnv, err)
	}
	return string(b), nil
}

func decodeControl(s string) (control, error) {
	var c control
	if err := json.Unmarshal([]byte(s), &c); err != nil {
		return control{}, fmt.Errorf("decoding %s: %w", ctlEnv, err)
	}
	return c, nil
}
