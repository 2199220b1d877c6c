package scenario

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/publish"
	"github.com/warren-gateway/warren/cmd/bench/report"
	"github.com/warren-gateway/warren/cmd/bench/role"
	"github.com/warren-gateway/warren/cmd/bench/target"
)

// Scenario is something to measure.
type Scenario struct {
	report.Scenario
	Run func(ctx context.Context, e *Env, rec *report.Recorder) error
}

// All answers the scenarios in their order.
func All() []Scenario {
	return []Scenario{
		flatOut(), paced(), idle(), owned(), latency(), churn(), growth(), stalled(), startup(), sharing(),
	}
}

// Env is what scenarios share.
type Env struct {
	Binary string // of the gateway
	Dir    string // for temporary files
	Quick  bool   // small and short, to try the benchmark itself
	Files  int    // how many files a process may open
	Cores  int
	Out    io.Writer // for progress
	Report *report.Report
	// Profiles is a directory for CPU profiles of the gateway, one for each measurement; empty: none are taken. Taking them costs a
	// little of what is measured.
	Profiles string

	begun  time.Time
	rabbit *target.Rabbit
	frames map[string][]byte
	flat   map[int]float64 // messages per second of (d), by subscriptions
	serial int
}

// Start prepares the environment.
func (e *Env) Start() {
	e.begun = time.Now()
	e.frames, e.flat = map[string][]byte{}, map[int]float64{}
}

// Close ends what scenarios share.
func (e *Env) Close() error {
	if e.rabbit == nil {
		return nil
	}
	return e.rabbit.Close()
}

// say tells the progress.
func (e *Env) say(format string, args ...any) {
	fmt.Fprintf(e.Out, "%6.1fs  %s\n", time.Since(e.begun).Seconds(), fmt.Sprintf(format, args...))
}

// broker answers the RabbitMQ node that scenarios share.
func (e *Env) broker(ctx context.Context) (*target.Rabbit, error) {
	if e.rabbit == nil {
		e.say("starting RabbitMQ")
		var err error
		if e.rabbit, err = target.StartRabbit(ctx); err != nil {
			return nil, err
		}
	}
	return e.rabbit, nil
}

// name makes a name that this run has not used.
func (e *Env) name(what string) string {
	e.serial++
	return fmt.Sprintf("bench.%s.%d", what, e.serial)
}

// progressFile makes the name of a file for the progress of readers.
func (e *Env) progressFile() string { return filepath.Join(e.Dir, e.name("progress")) }

// pick answers the one or, in a quick run, the other.
func pick[T any](e *Env, full, quick T) T {
	if e.Quick {
		return quick
	}
	return full
}

// sizes are those of message bodies in bytes.
func (e *Env) sizes() []int { return pick(e, []int{256, 4096}, []int{256}) }

func sizeName(size int) string {
	if size%1024 == 0 {
		return fmt.Sprintf("%d KiB", size/1024)
	}
	return fmt.Sprintf("%d B", size)
}

func kindName(kind string) string {
	if kind == load.SSE {
		return "SSE"
	}
	return "WebSocket"
}

// count names a number of things.
func count(n int, what string) string {
	text := fmt.Sprint(n)
	if n >= 1000 {
		text = fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	if n != 1 {
		what += "s"
	}
	return text + " " + what
}

// frame answers a message of the size as the gateway writes it to a stream of the kind.
func (e *Env) frame(ctx context.Context, kind string, size int) ([]byte, error) {
	name := fmt.Sprint(kind, size)
	if f := e.frames[name]; f != nil {
		return f, nil
	}
	g, err := target.StartGateway(ctx, target.GatewayOptions{Binary: e.Binary})
	if err != nil {
		return nil, err
	}
	defer g.Stop()
	readers, err := role.Start(ctx, load.Role)
	if err != nil {
		return nil, err
	}
	defer readers.Stop()
	publisher, err := role.Start(ctx, publish.Role)
	if err != nil {
		return nil, err
	}
	defer publisher.Stop()
	const often = 100
	if err := publisher.Call(ctx, "start", publish.Job{Target: g.Publish(), Size: size, Rate: often}, nil); err != nil {
		return nil, err
	}
	var f []byte
	if err := readers.Call(ctx, "capture", g.Stream(kind), &f); err != nil {
		return nil, err
	}
	e.frames[name] = f
	return f, nil
}

// BinarySize answers the size of the gateway's binary in bytes.
func (e *Env) BinarySize() (int64, error) {
	info, err := os.Stat(e.Binary)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
