package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/ledger/pages"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	passesPerHour = 6 // with the interval that ships
	passInterval  = 10 * time.Second
	olderDays     = 20 // whose pages have something to say, too
	endingPods    = 20 // between two passes

	runningPods  = 5000
	memoryRounds = 3
)

// measureLedgerWrites counts the writes to the ledger in as many passes as there are in an hour. Before each pass, pods
// end, and the pages of many days are to be settled.
func measureLedgerWrites(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	r.flags = []string{"--ledger=false"}
	if err := r.installStarting(ctx); err != nil {
		return nil, err
	}
	if err := r.bookOlderDays(ctx); err != nil {
		return nil, err
	}
	writes, stop, err := r.countPageWrites(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	r.flags = []string{"--ledger-interval=" + passInterval.String()}
	if err := r.restart(ctx); err != nil {
		return nil, err
	}
	for pass := range passesPerHour {
		if err := r.awaitPasses(ctx, float64(pass+1)); err != nil {
			return nil, err
		}
		log.Printf("%d writes by pass %d", writes.Load(), pass+1)
		prefix := fmt.Sprintf("pass-%d", pass)
		if err := r.createStarted(ctx, prefix, endingPods); err != nil {
			return nil, err
		}
		now := time.Now()
		if err := r.setPods(ctx, prefix, endingPods, endedStatus(now.Add(-time.Second), now)); err != nil {
			return nil, err
		}
	}
	return []float64{float64(writes.Load())}, nil
}

// bookOlderDays writes a page for each of some days, each with a group that is not settled.
func (r *rig) bookOlderDays(ctx context.Context) error {
	store := pages.Store{Reader: r.cluster.Client, Writer: r.cluster.Client, Namespace: env.Namespace}
	for day := range olderDays {
		end := time.Now().UTC().AddDate(0, 0, -day-1)
		start := end.Add(-time.Hour)
		e := pages.NewEntry(ledger.DayOf(end))
		e.Page.Book(ledger.Group{
			UID: ledger.DayOf(end), Kind: "Pod", Namespace: namespace, Name: "older", Owner: "Pod/older", Policy: "default", Mode: ledger.Enforce,
			Location: "CAISO_NORTH", OtherLocation: "CAISO_NORTH", Arrived: start, Released: start, Ended: end, SeenEnd: true,
			Steps: []ledger.Step{{Start: start, End: end, Watts: 100}}, Energy: energy.Modelled, Units: 1,
		})
		if _, err := store.Write(ctx, e, nil); err != nil {
			return err
		}
	}
	return nil
}

// countPageWrites counts how often a page of the ledger is written, until it is stopped.
func (r *rig) countPageWrites(ctx context.Context) (n *atomic.Int64, stop func(), err error) {
	store := r.clientset.CoreV1().ConfigMaps(env.Namespace)
	list, err := store.List(ctx, metav1.ListOptions{LabelSelector: pages.Label})
	if err != nil {
		return nil, nil, fmt.Errorf("list the ledger: %w", err)
	}
	if len(list.Items) != olderDays {
		return nil, nil, fmt.Errorf("the ledger has %d pages, want %d", len(list.Items), olderDays)
	}
	watcher, err := store.Watch(ctx, metav1.ListOptions{LabelSelector: pages.Label, ResourceVersion: list.ResourceVersion})
	if err != nil {
		return nil, nil, fmt.Errorf("watch the ledger: %w", err)
	}
	n = &atomic.Int64{}
	go func() { // until the watch ends
		for event := range watcher.ResultChan() {
			if event.Type == watch.Added || event.Type == watch.Modified {
				n.Add(1)
			}
		}
	}()
	return n, watcher.Stop, nil
}

// measureLedgerMemory compares the memory of a leader with and without the ledger, in turn, with the same pods: 10,000
// that are held, and half as many that run.
func measureLedgerMemory(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.holdAndRun(ctx); err != nil {
		return nil, err
	}
	var with, without float64
	for half := range 2 * memoryRounds {
		flags, to := []string{"--ledger=false"}, &without
		if alternate(half) {
			flags, to = nil, &with
		}
		if err := r.restart(ctx, flags...); err != nil {
			return nil, err
		}
		if err := r.awaitHeld(ctx, heldPods); err != nil {
			return nil, err
		}
		mib, err := settledMemory(ctx, r.controller.Program)
		if err != nil {
			return nil, err
		}
		*to += mib / memoryRounds
		if err := r.logHeap(ctx); err != nil {
			return nil, err
		}
	}
	log.Printf("with the ledger %.1f MiB, without %.1f MiB", with, without)
	return []float64{with / without}, nil
}

// logHeap tells what the controller's heap takes, and whether the keeper has the pods that run.
func (r *rig) logHeap(ctx context.Context) error {
	heap, err := r.controller.Metric(ctx, "go_memstats_heap_alloc_bytes")
	if err != nil {
		return err
	}
	unbooked, err := r.controller.Metric(ctx, "gridlatch_ledger_unbooked_groups")
	log.Printf("%.1f MiB are allocated, %.0f groups are not booked", heap/(1<<20), unbooked)
	return err
}

// holdAndRun installs Gridlatch, and makes pods that run and pods that are held.
func (r *rig) holdAndRun(ctx context.Context) error {
	if err := r.installStarting(ctx); err != nil {
		return err
	}
	if err := r.createStarted(ctx, "running", runningPods); err != nil {
		return err
	}
	if err := r.setPods(ctx, "running", runningPods, runningStatus(time.Now())); err != nil {
		return err
	}
	if err := r.cluster.Forecast(ctx, falling(time.Now())...); err != nil {
		return err
	}
	if err := poll(ctx, patience, func(ctx context.Context) error { return r.probe(ctx, true) }); err != nil {
		return err
	}
	log.Printf("creating %d pods that are held", heldPods)
	deadline := time.Now().Add(12 * time.Hour)
	_, err := r.create(ctx, heldPods, func(i int) *corev1.Pod {
		return waiting(newPod(podName(i)), deadline.Add(time.Duration(i)*time.Second))
	})
	if err != nil {
		return err
	}
	return r.expectHeld(ctx, heldPods)
}

// measureLedger lets Gridlatch with and without the ledger release as many pods, in turn. It returns the rate of the first
// over that of the second, and how many more requests Gridlatch has made per pod.
func (s storm) measureLedger(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	var rates sides
	requests := map[bool]float64{}
	for half := range 2 * s.rounds {
		isOn := alternate(half)
		r.flags = []string{fmt.Sprintf("--ledger=%t", isOn)}
		took, err := r.releaseOurs(ctx, s.pods)
		if err != nil {
			return nil, err
		}
		made, err := r.controller.Metric(ctx, "rest_client_requests_total")
		if err != nil {
			return nil, err
		}
		requests[isOn] += made / float64(s.rounds*s.pods)
		rates.of(isOn).add(s.pods-1, took)
		log.Printf("took %.2fs and %.0f requests; so far with the ledger %.0f/s, without %.0f/s", took.Seconds(), made, rates.with.perSecond(), rates.without.perSecond())
		if err := r.clear(ctx); err != nil {
			return nil, err
		}
	}
	return []float64{rates.ratio(), requests[true] - requests[false]}, nil
}
