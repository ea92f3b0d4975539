package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/test/gridserver"
)

const (
	countedHours = 24
	// clockStep is how far time goes on at once, and stepPause is the real time of a step.
	clockStep, stepPause = time.Minute, 15 * time.Millisecond
)

// days are what the exporter did on two days.
type days struct{ requestsPerHour, writesPerHour float64 }

// exportedDays runs the exporter in this process against the real API server, with the rights of the shipped manifests
// and with a clock on which an hour passes in a second. On the first day the provider has new values each hour, and the
// requests are counted. On the second day the provider says again and again what it said at the end of the first, and
// the requests to the API server that change something are counted. The exporter asks in its usual rhythm on both days.
func (r *rig) exportedDays(ctx context.Context, server *gridserver.Server, now *stoppableClock) (counted days, err error) {
	passing := clocktesting.NewFakeClock(time.Now())
	now.follow(passing.Now)
	var writes atomic.Int64
	mgr, err := r.exporterManager(ctx, &writes)
	if err != nil {
		return days{}, err
	}
	e := &exporter.Exporter{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Namespace: env.Namespace, Clock: passing, IsManual: true,
		Metrics: exporter.NewMetrics(prometheus.NewRegistry()),
		Options: provider.Options{Sleep: func(ctx context.Context, d time.Duration) error {
			passing.Step(d)
			return ctx.Err()
		}},
	}
	if err := e.SetupWithManager(ctx, mgr); err != nil {
		return days{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()

	pass := func(hours int) error {
		for end := passing.Now().Add(time.Duration(hours) * time.Hour); passing.Now().Before(end); passing.Step(clockStep) {
			if err := pause(ctx, stepPause); err != nil {
				return err
			}
		}
		return pause(ctx, time.Second) // for the answers to the last questions
	}
	log.Printf("counting requests for %d hours of a quick clock", countedHours)
	if err := pass(2); err != nil { // the beginning is over
		return days{}, err
	}
	asked := len(server.Requests())
	if err := pass(countedHours); err != nil {
		return days{}, err
	}
	requests := len(server.Requests()) - asked
	now.stop()
	if err := pass(2); err != nil {
		return days{}, err
	}
	log.Printf("counting writes for %d hours of the same clock; %d until now", countedHours, writes.Load())
	written, asked := writes.Load(), len(server.Requests())
	if err := pass(countedHours); err != nil {
		return days{}, err
	}
	log.Printf("%d requests, and %d writes", len(server.Requests())-asked, writes.Load()-written)
	if len(server.Requests()) == asked {
		return days{}, fmt.Errorf("nobody asked on the second day")
	}
	return days{float64(requests) / countedHours, float64(writes.Load()-written) / countedHours}, nil
}

// exporterManager returns a manager as the exporter has, which counts the requests that change something.
func (r *rig) exporterManager(ctx context.Context, writes *atomic.Int64) (ctrl.Manager, error) {
	config, err := r.cluster.ServiceAccountConfig(ctx, env.Namespace, "gridlatch-export")
	if err != nil {
		return nil, err
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &countingTransport{next, writes} })
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Cache: cache.Options{ByObject: exporter.ByObject(env.Namespace)}, Metrics: metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return nil, fmt.Errorf("build manager: %w", err)
	}
	return mgr, nil
}

// A countingTransport counts the requests that change something.
type countingTransport struct {
	next   http.RoundTripper
	writes *atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c *countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		c.writes.Add(1)
	}
	return c.next.RoundTrip(r)
}

// A stoppableClock is the real clock until it follows another one, and stands still once it is stopped.
type stoppableClock struct {
	mu  sync.Mutex
	now func() time.Time
}

func newStoppableClock() *stoppableClock { return &stoppableClock{now: time.Now} }

// Now returns the time.
func (c *stoppableClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *stoppableClock) follow(now func() time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func (c *stoppableClock) stop() {
	at := c.Now()
	c.follow(func() time.Time { return at })
}
