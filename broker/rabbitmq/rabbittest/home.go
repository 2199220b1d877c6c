package rabbittest

import (
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
)

// ports of one node.
type ports struct{ amqp, distribution, epmd, management int }

// The range ports are taken from. It ends where Linux begins to take local ports for outgoing connections (32768), so
// that none of a test's thousands of connections can sit on a node's port while the node restarts.
const firstPort, lastPort = 15000, 32000

// reserved holds a UDP socket on each port that [FreePort] gave out, for as long as this process lives. Whoever else uses FreePort
// cannot bind it and takes another port. The tests of several packages run side by side, and of hundreds of ports that are drawn
// from 17,000, two were the same now and then.
var reserved struct {
	sync.Mutex
	sockets []net.PacketConn
}

// FreePort answers a TCP port of 127.0.0.1 on which nothing listens, which the system gives to no outgoing connection, and
// which no other call answers, in this process or another, until this process ends. Each port costs a descriptor.
func FreePort() (int, error) {
	var err error
	for range 100 {
		port := firstPort + mrand.IntN(lastPort-firstPort) //nolint:gosec // a port is no secret
		if err = reserve(port); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free TCP port found: %w", err)
}

// reserve fails if the port is reserved, or somebody listens on it.
func reserve(port int) error {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	socket, err := net.ListenPacket("udp", address) //nolint:noctx // binding a loopback port does not block
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address) //nolint:noctx // the same
	if err != nil {
		_ = socket.Close()
		return err
	}
	reserved.Lock()
	defer reserved.Unlock()
	reserved.sockets = append(reserved.sockets, socket)
	return listener.Close()
}

// newNode lays out the node's directory.
func newNode(in install, dir string, options Options) (*Node, error) {
	n := &Node{dir: dir, options: options}
	var errs [4]error
	n.ports.amqp, errs[0] = FreePort()
	n.ports.distribution, errs[1] = FreePort()
	n.ports.epmd, errs[2] = FreePort()
	n.ports.management, errs[3] = FreePort()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	n.control = control{
		Install:  in,
		Name:     fmt.Sprintf("warren%d@localhost", n.ports.amqp),
		Home:     dir,
		Cookie:   rand.Text(),
		EpmdPort: n.ports.epmd,
	}
	for name, text := range map[string]string{
		".erlang.cookie":  n.Cookie,
		"rabbitmq.conf":   n.config(),
		"env.conf":        "", // in the place of the system's, which would be read otherwise
		"enabled_plugins": "[" + strings.Join(options.Plugins, ",") + "].\n",
	} {
		// Erlang refuses a cookie that others can read.
		if err := os.WriteFile(n.path(name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("writing RabbitMQ's files: %w", err)
		}
	}
	return n, nil
}

func (n *Node) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "listeners.tcp.1 = 127.0.0.1:%d\n", n.ports.amqp)
	// A nearly full disk is no reason for a test to be blocked by an alarm.
	b.WriteString("disk_free_limit.absolute = 1MB\n")
	for _, plugin := range n.options.Plugins {
		if plugin == "rabbitmq_management" {
			fmt.Fprintf(&b, "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %d\n", n.ports.management)
		}
	}
	b.WriteString(n.options.Config)
	b.WriteString("\n")
	return b.String()
}

func (n *Node) serverEnv() []string {
	schedulers := n.options.Schedulers
	if schedulers <= 0 {
		schedulers = 2
	}
	return n.env(
		"RABBITMQ_CONF_ENV_FILE="+n.path("env.conf"),
		"RABBITMQ_CONFIG_FILE="+n.path("rabbitmq.conf"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+n.path("advanced.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+n.path("enabled_plugins"),
		"RABBITMQ_MNESIA_BASE="+n.path("mnesia"),
		"RABBITMQ_LOG_BASE="+n.dir,
		"RABBITMQ_LOGS="+n.path("rabbit.log"),
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", n.ports.distribution),
		fmt.Sprintf("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S %[1]d:%[1]d +SDcpu 1:1 %[2]s", schedulers, loopback),
		// Bound schedulers of several nodes would all sit on the same cores.
		"RABBITMQ_SCHEDULER_BIND_TYPE=u",
		// Makes the script become the server instead of waiting for it, so that the process id is the server's.
		"RUNNING_UNDER_SYSTEMD=true",
	)
}
