package memory

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/warren-gateway/warren/broker"
)

// The exchanges of the demo.
const (
	// DemoBuilds is a topic exchange; keys are <os>.<arch>.<project>.<state>.
	DemoBuilds = "builds"
	// DemoDeploys is a fanout exchange; keys are <environment>.<project>.
	DemoDeploys = "deploys"
)

// DemoOptions says what traffic Demo makes.
type DemoOptions struct {
	// Seed decides everything but the times: the same seed publishes the same
	// events in the same order. 0 is a seed like any other.
	Seed uint64
	// Rate is how many events are published per second on average; default 4.
	Rate float64
}

// Demo declares the exchanges builds and deploys and publishes the life of a
// small company's software to them until ctx is done; then it returns nil. It
// runs in the caller's goroutine and starts none. An error is the broker's: an
// exchange is there with another type, or the broker was closed. An exchange
// that is deleted meanwhile is declared again.
func Demo(ctx context.Context, b *Broker, opts DemoOptions) error {
	if opts.Rate <= 0 {
		opts.Rate = 4
	}
	d := newDemo(opts.Seed)
	if err := declareDemo(b); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := d.publish(b); err != nil {
			return err
		}
		// Between a half and one and a half of the mean: alive, but never silent.
		timer.Reset(time.Duration((0.5 + d.rng.Float64()) / opts.Rate * float64(time.Second)))
	}
}

func declareDemo(b *Broker) error {
	if err := b.Declare(DemoBuilds, typeTopic); err != nil {
		return fmt.Errorf("declare the exchange %s: %w", DemoBuilds, err)
	}
	if err := b.Declare(DemoDeploys, typeFanout); err != nil {
		return fmt.Errorf("declare the exchange %s: %w", DemoDeploys, err)
	}
	return nil
}

// demoEvent is one message of the demo.
type demoEvent struct {
	exchange, key string
	properties    broker.Properties
	payload       any
}

func (d *demo) publish(b *Broker) error {
	e := d.next()
	body, err := json.Marshal(e.payload)
	if err != nil {
		return fmt.Errorf("encode a demo event: %w", err)
	}
	e.properties.ContentType = "application/json"
	e.properties.DeliveryMode = 2
	e.properties.MessageID = d.uuid()
	e.properties.Timestamp = uint64(time.Now().Unix())
	e.properties.HasTimestamp = true
	_, err = b.Publish(e.exchange, e.key, e.properties, body)
	if broker.CodeOf(err) == broker.CodeExchangeNotFound {
		if err := declareDemo(b); err != nil {
			return err
		}
		_, err = b.Publish(e.exchange, e.key, e.properties, body)
	}
	if err != nil {
		return fmt.Errorf("publish a demo event: %w", err)
	}
	return nil
}

// demo is the company: what is being built and deployed now.
type demo struct {
	rng     *rand.Rand
	builds  []*demoBuild
	deploys []*demoDeploy
	numbers map[string]int // of the last build, by project
	deploy  int
}

// atOnce is how many builds run at the same time at most.
const atOnce = 5

type demoBuild struct {
	Build      int        `json:"build"`
	Project    string     `json:"project"`
	Branch     string     `json:"branch"`
	Commit     string     `json:"commit"`
	Author     string     `json:"author"`
	OS         string     `json:"os"`
	Arch       string     `json:"arch"`
	State      string     `json:"state"`
	DurationMS int        `json:"duration_ms,omitempty"`
	Tests      *demoTests `json:"tests,omitempty"`
	URL        string     `json:"url"`

	attempt int64
}

type demoTests struct {
	Run     int      `json:"run"`
	Failed  int      `json:"failed"`
	Skipped int      `json:"skipped"`
	Broken  []string `json:"broken,omitempty"`
}

type demoDeploy struct {
	Deploy      int    `json:"deploy"`
	Project     string `json:"project"`
	Version     string `json:"version"`
	Commit      string `json:"commit"`
	Environment string `json:"environment"`
	Region      string `json:"region"`
	State       string `json:"state"`
	By          string `json:"by"`
	Instances   int    `json:"instances"`
	Reason      string `json:"reason,omitempty"`
}

var (
	demoProjects     = []string{"warren", "burrow", "clover", "thicket", "meadow"}
	demoPlatforms    = []string{"linux.amd64", "linux.amd64", "linux.arm64", "darwin.arm64", "windows.amd64"}
	demoBranches     = []string{"main", "main", "main", "fix/reconnect", "feature/last-event-id", "deps/weekly"}
	demoPeople       = []string{"ada", "grace", "linus", "margaret", "ken", "barbara"}
	demoTestNames    = []string{"TestReconnect", "TestSlowReader", "TestTopicPattern", "TestExpiry", "TestShutdown"}
	demoEnvironments = []string{"staging", "staging", "production"}
	demoRegions      = []string{"eu-west", "eu-north", "us-east", "ap-south"}
	demoReasons      = []string{"error rate above 1%", "health check failed", "latency above budget"}
)

func newDemo(seed uint64) *demo {
	d := &demo{rng: rand.New(rand.NewPCG(seed, 0)), numbers: make(map[string]int)} //nolint:gosec // Nothing here is secret, and it has to be repeatable.
	for _, p := range demoProjects {
		d.numbers[p] = 100 + d.rng.IntN(900)
	}
	d.deploy = 50 + d.rng.IntN(100)
	return d
}

// next moves something on and says what.
func (d *demo) next() demoEvent {
	switch n := d.rng.IntN(10); {
	case len(d.deploys) > 0 && n < 3:
		return d.advanceDeploy()
	case len(d.builds) == 0 || len(d.builds) < atOnce && n < 6:
		return d.startBuild()
	}
	return d.advanceBuild()
}

func (d *demo) startBuild() demoEvent {
	project := pick(d, demoProjects)
	d.numbers[project]++
	os, arch, _ := strings.Cut(pick(d, demoPlatforms), ".")
	b := &demoBuild{
		Build: d.numbers[project], Project: project, Branch: pick(d, demoBranches), Commit: d.hex(4)[:7], Author: pick(d, demoPeople),
		OS: os, Arch: arch, State: "queued", URL: fmt.Sprintf("https://ci.example.org/%s/builds/%d", project, d.numbers[project]),
		attempt: 1,
	}
	d.builds = append(d.builds, b)
	return b.event()
}

// advanceBuild takes a build from queued to started and from there to its end;
// some that fail are tried once more.
func (d *demo) advanceBuild() demoEvent {
	i := d.rng.IntN(len(d.builds))
	b := d.builds[i]
	if b.State != "started" {
		b.State, b.DurationMS, b.Tests = "started", 0, nil
		return b.event()
	}
	d.finish(b)
	if b.State == "failed" && b.attempt == 1 && d.rng.IntN(2) == 0 {
		e := b.event()
		b.attempt++
		return e
	}
	d.builds = append(d.builds[:i], d.builds[i+1:]...)
	if b.State == "passed" && b.Branch == "main" {
		d.startDeploy(b)
	}
	return b.event()
}

func (d *demo) finish(b *demoBuild) {
	b.DurationMS = 20_000 + d.rng.IntN(400_000)
	switch n := d.rng.IntN(20); {
	case n == 0:
		b.State = "canceled"
		return
	case n < 5:
		b.State = "failed"
	default:
		b.State = "passed"
	}
	b.Tests = &demoTests{Run: 200 + d.rng.IntN(800), Skipped: d.rng.IntN(6)}
	if b.State == "failed" {
		b.Tests.Broken = []string{pick(d, demoTestNames)}
		b.Tests.Failed = 1
	}
}

func (b *demoBuild) event() demoEvent {
	now := *b // The message keeps what the build was then.
	return demoEvent{
		exchange: DemoBuilds,
		key:      strings.Join([]string{b.OS, b.Arch, b.Project, b.State}, "."),
		payload:  now,
		properties: broker.Properties{
			Type: "build." + b.State, AppID: "ci", CorrelationID: fmt.Sprintf("%s-%d", b.Project, b.Build),
			Headers: broker.Table{"branch": b.Branch, "attempt": b.attempt, "required": b.Branch == "main"},
		},
	}
}

func (d *demo) startDeploy(b *demoBuild) {
	d.deploy++
	d.deploys = append(d.deploys, &demoDeploy{
		Deploy: d.deploy, Project: b.Project, Version: fmt.Sprintf("1.%d.%d", b.Build/100, b.Build%100), Commit: b.Commit,
		Environment: pick(d, demoEnvironments), Region: pick(d, demoRegions), By: pick(d, demoPeople), Instances: 2 + 2*d.rng.IntN(8),
	})
}

// advanceDeploy starts the oldest deploy, or ends it.
func (d *demo) advanceDeploy() demoEvent {
	x := d.deploys[0]
	switch {
	case x.State == "":
		x.State = "started"
	case d.rng.IntN(8) == 0:
		x.State, x.Reason = "rolled_back", pick(d, demoReasons)
	default:
		x.State = "succeeded"
	}
	if x.State != "started" {
		d.deploys = d.deploys[1:]
	}
	return demoEvent{
		exchange: DemoDeploys,
		key:      x.Environment + "." + x.Project,
		payload:  *x,
		properties: broker.Properties{
			Type: "deploy." + x.State, AppID: "deployer", CorrelationID: fmt.Sprintf("deploy-%d", x.Deploy),
			Headers: broker.Table{"environment": x.Environment, "region": x.Region, "canary": x.Instances > 10},
		},
	}
}

func pick(d *demo, from []string) string { return from[d.rng.IntN(len(from))] }

// hex returns n random bytes in hexadecimal digits.
func (d *demo) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.rng.Uint32())
	}
	return hex.EncodeToString(b)
}

// uuid returns a random UUID of version 4.
func (d *demo) uuid() string {
	h := []byte(d.hex(16))
	h[12] = '4'
	h[16] = "89ab"[d.rng.IntN(4)]
	return string(h[:8]) + "-" + string(h[8:12]) + "-" + string(h[12:16]) + "-" + string(h[16:20]) + "-" + string(h[20:])
}
