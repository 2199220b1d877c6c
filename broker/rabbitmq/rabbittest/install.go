package rabbittest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNoServer says that no RabbitMQ server is installed where this package looks for one.
var ErrNoServer = errors.New("no RabbitMQ server found: install one (Debian: apt-get install rabbitmq-server; " +
	"make deps does it) or set WARREN_TEST_RABBITMQ_BIN to the directory of its scripts")

// binEnv overrides where the server's scripts are looked for.
const binEnv = "WARREN_TEST_RABBITMQ_BIN"

// binDirs are the directories in which packages keep the server's own scripts. Debian's /usr/sbin/rabbitmq-server
// is not among them: it switches to the user rabbitmq and to that user's data directory.
var binDirs = []string{
	"/usr/lib/rabbitmq/bin",           // Debian, Ubuntu, Fedora
	"/opt/rabbitmq/sbin",              // the official container image
	"/opt/homebrew/opt/rabbitmq/sbin", // Homebrew on arm64
	"/usr/local/opt/rabbitmq/sbin",    // Homebrew on amd64
}

// install is where the programs of a RabbitMQ server are. Its fields travel in the environment, see control.
type install struct {
	Server  string `json:"server"`   // rabbitmq-server
	Ctl     string `json:"ctl"`      // rabbitmqctl
	Epmd    string `json:"epmd"`     // Erlang's port mapper
	ErlCall string `json:"erl_call"` // answers in 10 ms where rabbitmqctl takes 300; empty when there is none
}

// findInstall looks for an installed server.
func findInstall() (install, error) {
	dirs := binDirs
	if dir := os.Getenv(binEnv); dir != "" {
		dirs = []string{dir}
	}
	for _, dir := range dirs {
		in := install{Server: filepath.Join(dir, "rabbitmq-server"), Ctl: filepath.Join(dir, "rabbitmqctl")}
		if _, err := os.Stat(in.Server); err != nil {
			continue
		}
		epmd, err := exec.LookPath("epmd")
		if err != nil {
			return install{}, fmt.Errorf("RabbitMQ is in %s, but Erlang is not in PATH: %w", dir, err)
		}
		in.Epmd = epmd
		if call, err := exec.LookPath("erl_call"); err == nil {
			in.ErlCall = call
		}
		return in, nil
	}
	return install{}, ErrNoServer
}
