package target

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/proc"
	"github.com/warren-gateway/warren/cmd/bench/publish"
)

// errNoNchan says that the machine has no nginx with Nchan.
var errNoNchan = &MissingError{"nginx with Nchan", "on Debian: apt-get install nginx-core libnginx-mod-nchan"}

const nchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so"

// nchanConfig serves one channel. The buffer is as long as publishers may be ahead of readers.
const nchanConfig = `load_module %[1]s;
daemon off;
worker_processes %[2]d;
worker_rlimit_nofile %[3]d;
pid %[4]s/nginx.pid;
lock_file %[4]s/nginx.lock;
error_log stderr error;
events { worker_connections %[3]d; }
http {
  access_log off;
  client_body_temp_path %[4]s/body;
  proxy_temp_path %[4]s/proxy;
  fastcgi_temp_path %[4]s/fastcgi;
  uwsgi_temp_path %[4]s/uwsgi;
  scgi_temp_path %[4]s/scgi;
  client_body_buffer_size 64k;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  nchan_shared_memory_size 512m;
  server {
    listen 127.0.0.1:%[5]d backlog=4096;
    location = /pub {
      nchan_publisher;
      nchan_channel_id bench;
      nchan_message_buffer_length 2500;
      nchan_message_timeout 60s;
    }
    location = /sub {
      nchan_subscriber websocket eventsource;
      nchan_channel_id bench;
      nchan_subscriber_first_message newest;
    }
  }
}
`

// noSuchPath is a path that nginx answers with 404.
const noSuchPath = "/none"

// Nchan is nginx with the Nchan module.
type Nchan struct {
	*daemon
	// NoDelay has readers make another request before they subscribe, whereupon nginx sets TCP_NODELAY. Nchan never does for its
	// streams, so that a message goes out with others while the one before is not acknowledged (Nagle's algorithm).
	NoDelay    bool
	dir        string
	port       int
	pids       []int
	ReadyAfter time.Duration // from the start of the process until it accepted a connection
}

// StartNchan starts nginx with so many workers, each of which may open so many files.
func StartNchan(ctx context.Context, workers, files int) (*Nchan, error) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		return nil, errNoNchan
	}
	if _, err := os.Stat(nchanModule); err != nil {
		return nil, errNoNchan
	}
	dir, err := os.MkdirTemp("", "bench-nginx-")
	if err != nil {
		return nil, err
	}
	n := &Nchan{dir: dir}
	if err := n.start(ctx, nginx, workers, files); err != nil {
		n.Stop()
		return nil, fmt.Errorf("starting nginx: %w", err)
	}
	return n, nil
}

func (n *Nchan) start(ctx context.Context, nginx string, workers, files int) error {
	var err error
	if n.port, err = rabbittest.FreePort(); err != nil {
		return err
	}
	if err := os.Chmod(n.dir, 0o755); err != nil { //nolint:gosec // nginx's workers are of another user and need to get in
		return err
	}
	file := filepath.Join(n.dir, "nginx.conf")
	config := fmt.Sprintf(nchanConfig, nchanModule, workers, files, n.dir, n.port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	begun := time.Now()
	if n.daemon, err = spawn(ctx, nginx, "-c", file, "-p", n.dir); err != nil {
		return err
	}
	if err = n.awaitConnection(ctx, n.addr()); err != nil {
		return err
	}
	n.ReadyAfter = time.Since(begun)
	return n.await(ctx, "workers", func() bool {
		n.pids, err = proc.Tree(n.cmd.Process.Pid)
		return err == nil && len(n.pids) == 1+workers
	})
}

func (n *Nchan) addr() string { return fmt.Sprintf("127.0.0.1:%d", n.port) }

// Name answers "Nchan", and whether without delay.
func (n *Nchan) Name() string {
	if n.NoDelay {
		return "Nchan, no delay"
	}
	return "Nchan"
}

// PIDs answers nginx's master and workers.
func (n *Nchan) PIDs() []int { return n.pids }

// Stream reads the channel.
func (n *Nchan) Stream(kind string) load.Target {
	t := load.Target{Kind: kind, Addr: n.addr(), Path: "/sub"}
	if n.NoDelay {
		t.First = noSuchPath
	}
	return t
}

// Publish posts to the channel.
func (n *Nchan) Publish() publish.Target {
	return publish.Target{Kind: publish.HTTP, URL: "http://" + n.addr() + "/pub"}
}

// Stop ends nginx.
func (n *Nchan) Stop() {
	if n.daemon != nil {
		n.stop()
	}
	_ = os.RemoveAll(n.dir) // a temporary directory
}
