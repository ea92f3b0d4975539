package meter

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
)

// startPrometheus runs a Prometheus that scrapes exporters every quarter of a second, and returns its address. Some
// exporters are of a second job, which scrapes them all the same.
func startPrometheus(t *testing.T, exporters []string, alsoBy []string) string {
	t.Helper()
	binary, err := filepath.Abs("../../bin/prometheus/prometheus")
	if err == nil {
		_, err = os.Stat(binary)
	}
	switch {
	case err == nil:
	case os.Getenv("CI") != "" || os.Getenv("GRIDLATCH_PROMETHEUS") == "required":
		t.Fatalf("Prometheus is missing: make bin/prometheus/prometheus: %v", err)
	default:
		t.Skip("Prometheus is missing: make bin/prometheus/prometheus")
	}
	job := func(name string, targets []string) any {
		return map[string]any{"job_name": name, "static_configs": []any{map[string]any{"targets": targets}}}
	}
	config, err := json.Marshal(map[string]any{ // JSON is YAML, too
		"global":         map[string]any{"scrape_interval": "250ms", "scrape_timeout": "250ms"},
		"scrape_configs": []any{job("kepler", exporters), job("again", alsoBy)},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	log := &strings.Builder{}
	run := exec.Command(binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	run.Stdout, run.Stderr, run.SysProcAttr = log, log, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	return "http://" + address
}

// workload is a pod that draws constant power, as Kepler would export it.
type workload struct {
	pod      ledger.PodRun
	watts    map[string]float64 // by zone, or by mode of an earlier Kepler
	gpuWatts float64
	// terminated is for how long the pod is exported after its end.
	terminated time.Duration
	// resetsAfter is when the counters start anew, after the start of the pod.
	resetsAfter time.Duration
	truth       float64 // in joules; 0 if the pod is not to be measured
}

// exporter serves the counters of one Kepler. It is empty between until and from.
type exporter struct {
	*httptest.Server
	mu          sync.Mutex
	isOld       bool
	node        string
	workloads   []workload
	from, until time.Time // when this Kepler runs; zero: always
	scrapes     int
}

func newExporter(t *testing.T, node string, isOld bool) *exporter {
	t.Helper()
	e := &exporter{node: node, isOld: isOld}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.scrapes++
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, e.text(time.Now()))
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *exporter) target() string { return strings.TrimPrefix(e.URL, "http://") }

// set changes the exporter.
func (e *exporter) set(change func(*exporter)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

func (e *exporter) scraped() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.scrapes
}

// text returns the counters as they are now.
func (e *exporter) text(now time.Time) string {
	b := &strings.Builder{}
	if !e.from.IsZero() && now.Before(e.from) || !e.until.IsZero() && now.After(e.until) {
		return ""
	}
	for _, w := range e.workloads {
		if now.Before(w.pod.Start) || now.After(w.pod.End.Add(w.terminated)) {
			continue
		}
		began, state := w.pod.Start, "running"
		if e.from.After(began) {
			began = e.from
		}
		if again := w.pod.Start.Add(w.resetsAfter); w.resetsAfter > 0 && now.After(again) {
			began = again
		}
		until := now
		if now.After(w.pod.End) {
			until, state = w.pod.End, "terminated"
		}
		e.write(b, w, state, until.Sub(began).Seconds())
	}
	return b.String()
}

func (e *exporter) write(b *strings.Builder, w workload, state string, seconds float64) {
	if e.isOld {
		for mode, watts := range w.watts {
			fmt.Fprintf(b, "kepler_container_joules_total{container_id=\"c-%s\",container_name=\"main\",container_namespace=%q,pod_name=%q,mode=%q} %g\n",
				w.pod.UID, w.pod.Namespace, w.pod.Name, mode, watts*seconds)
		}
		return
	}
	labels := fmt.Sprintf("pod_id=%q,pod_name=%q,pod_namespace=%q,state=%q,node_name=%q", w.pod.UID, w.pod.Name, w.pod.Namespace, state, e.node)
	for zone, watts := range w.watts {
		fmt.Fprintf(b, "kepler_pod_cpu_joules_total{%s,zone=%q} %g\n", labels, zone, watts*seconds)
		fmt.Fprintf(b, "kepler_pod_cpu_watts{%s,zone=%q} %g\n", labels, zone, watts)
	}
	if w.gpuWatts > 0 {
		fmt.Fprintf(b, "kepler_pod_gpu_joules_total{%s} %g\n", labels, w.gpuWatts*seconds)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !isSo(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not so after 30 s: %s", what)
		}
	}
}

func TestARealPrometheusAnswersWithWhatKeplerMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 20 seconds")
	}
	const run = 12 * time.Second
	whole, part := newExporter(t, "whole", false), newExporter(t, "part", false)
	first, second := newExporter(t, "replaced", false), newExporter(t, "replaced", false)
	old := newExporter(t, "old", true)
	all := []*exporter{whole, part, first, second, old}
	var targets []string
	for _, e := range all {
		targets = append(targets, e.target())
	}
	m, err := New(startPrometheus(t, targets, []string{part.target()}))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "each exporter is scraped", func() bool {
		return whole.scraped() > 1 && part.scraped() > 2 && first.scraped() > 1 && second.scraped() > 1 && old.scraped() > 1
	})

	start := time.Now().Add(300 * time.Millisecond)
	pod := func(name string, run time.Duration) ledger.PodRun {
		return ledger.PodRun{UID: "8c7e-" + name, Namespace: "batch", Name: name + "-x7k2p", Start: start, End: start.Add(run)}
	}
	withGPUs := pod("gpus-unseen", run)
	withGPUs.HasGPUs = true
	rapl := map[string]float64{"package": 10, "core": 7, "uncore": 1, "dram": 3}
	seconds := run.Seconds()
	whole.set(func(e *exporter) {
		e.workloads = []workload{
			{pod: pod("psys", run), watts: map[string]float64{"psys": 20, "package": 10, "core": 7, "dram": 3}, terminated: 2 * time.Second, truth: 20 * seconds},
			{pod: pod("gpus", run), watts: map[string]float64{"psys": 20, "package": 10}, gpuWatts: 250, terminated: time.Second, truth: 270 * seconds},
			{pod: withGPUs, watts: map[string]float64{"psys": 20, "package": 10}},
		}
	})
	part.set(func(e *exporter) {
		e.workloads = []workload{
			{pod: pod("vanishes", run), watts: rapl, truth: 13 * seconds},
			{pod: pod("is-terminated", run/2), watts: rapl, terminated: time.Second, truth: 13 * seconds / 2},
			{pod: pod("starts-anew", run), watts: rapl, resetsAfter: run / 2},
			{pod: pod("short", 120*time.Millisecond), watts: rapl}, // each job scrapes it at most once
			{pod: pod("no-meter", run), watts: map[string]float64{"package": 0, "dram": 0}},
		}
	})
	replaced := []workload{{pod: pod("replaced", run), watts: rapl, terminated: time.Second, truth: 13 * seconds}}
	first.set(func(e *exporter) { e.workloads, e.until = replaced, start.Add(run/2) })
	second.set(func(e *exporter) { e.workloads, e.from = replaced, start.Add(run/2) })
	old.set(func(e *exporter) {
		e.workloads = []workload{{pod: pod("old", run), watts: map[string]float64{"dynamic": 15, "idle": 2}, terminated: time.Second, truth: 17 * seconds}}
	})
	time.Sleep(time.Until(start.Add(run + 2*time.Second)))

	asked := []ledger.PodRun{pod("unknown", run)}
	truth := map[string]float64{}
	for _, e := range []*exporter{whole, part, first, old} {
		for _, w := range e.workloads {
			asked, truth[w.pod.UID] = append(asked, w.pod), w.truth
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := m.Joules(ctx, asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range asked {
		joules, isMeasured := got[p.UID]
		want := truth[p.UID]
		if isMeasured != (want > 0) || math.Abs(joules-want) > 0.05*want {
			t.Errorf("%s: got %.1f J, want %.1f", p.Name, joules, want)
		}
	}
}
