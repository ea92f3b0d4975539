package main

import (
	"context"
	"errors"
	"log"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	ordinaryRounds = 10
	ordinaryEach   = 1000
	heldRounds     = 3
	heldEach       = 2000
	createWarm     = 200 // before each, not counted
)

// sides are the rates with and without Gridlatch.
type sides struct{ with, without rate }

func (s *sides) of(installed bool) *rate {
	if installed {
		return &s.with
	}
	return &s.without
}

func (s *sides) ratio() float64 { return s.with.perSecond() / s.without.perSecond() }

// measureOrdinary creates pods that do not ask to wait, in turn with and without Gridlatch and components of it. Which comes first changes
// from round to round, so that a cluster that becomes slower favours neither.
func measureOrdinary(components ...string) func(context.Context) ([]float64, error) {
	return func(ctx context.Context) (values []float64, err error) {
		r, err := newRig(ctx)
		if err != nil {
			return nil, err
		}
		r.components = components
		defer func() { err = errors.Join(err, r.close()) }()
		ordinary, err := r.createOrdinary(ctx)
		return []float64{ordinary.ratio()}, err
	}
}

// measureHeldCreates creates pods that ask to wait, in turn with Gridlatch, with a webhook that has its answer
// beforehand, and with none.
func measureHeldCreates(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.install(ctx); err != nil {
		return nil, err
	}
	held, stub, without, err := r.createHeld(ctx)
	return []float64{held.perSecond() / stub.perSecond(), held.perSecond() / without.perSecond()}, err
}

// createOrdinary creates pods that do not ask to wait. The controller has nothing to do with them, and runs all the
// time: what comes and goes is the webhook's configuration, with its conditions that the API server checks, and the
// admission policies.
func (r *rig) createOrdinary(ctx context.Context) (s sides, err error) {
	if err := r.install(ctx); err != nil {
		return s, err
	}
	there, err := r.rules(ctx)
	if err != nil {
		return s, err
	}
	pod := func(i int) *corev1.Pod { return newPod(podName(i)) }
	for half := range 2 * ordinaryRounds {
		installed := alternate(half)
		var change *rules
		if installed {
			change = there
		}
		if err := r.configure(ctx, change); err != nil {
			return s, err
		}
		if err := r.createOnce(ctx, ordinaryEach, pod, 0, s.of(installed)); err != nil {
			return s, err
		}
		log.Printf("ordinary pods, with Gridlatch: %t; so far %.0f/s", installed, s.of(installed).perSecond())
	}
	return s, nil
}

// A side is what is there while pods are created, and how fast that is.
type side struct {
	name    string
	prepare func(context.Context) error
	holds   bool
	rate
}

// createHeld creates pods that ask to wait: with Gridlatch, with a stub of its webhook, which both hold them, and with
// neither. The controller comes and goes too: it has work left from what it holds, which must not be done at the expense
// of the other sides.
func (r *rig) createHeld(ctx context.Context) (with, stub, without rate, err error) {
	deadline := time.Now().Add(12 * time.Hour)
	pod := func(i int) *corev1.Pod { return waiting(newPod(podName(i)), deadline) }
	there, err := r.rules(ctx)
	if err != nil {
		return with, stub, without, err
	}
	server, err := r.serveStub(ctx, there.configuration, pod(0))
	if err != nil {
		return with, stub, without, err
	}
	defer server.Close()
	sides := []*side{
		{name: "Gridlatch", prepare: r.install, holds: true},
		{name: "a stub", holds: true, prepare: func(ctx context.Context) error {
			return errors.Join(r.stop(), r.configure(ctx, there))
		}},
		{name: "neither", prepare: r.remove},
	}
	all := slices.Clone(sides)
	for range heldRounds {
		for _, s := range sides {
			if err := s.prepare(ctx); err != nil {
				return with, stub, without, err
			}
			held := 0
			if s.holds {
				held = heldEach + createWarm
			}
			if err := r.createOnce(ctx, heldEach, pod, held, &s.rate); err != nil {
				return with, stub, without, err
			}
			log.Printf("pods that ask to wait, with %s; so far %.0f/s", s.name, s.perSecond())
			if err := r.configure(ctx, nil); err != nil { // or the next one's would be mixed with it
				return with, stub, without, err
			}
		}
		slices.Reverse(sides)
	}
	return all[0].rate, all[1].rate, all[2].rate, nil
}

// alternate says for each half of a round whether it is with Gridlatch: yes, no; no, yes; and so on.
func alternate(half int) bool { return half%4 == 0 || half%4 == 3 }

// createOnce adds one measurement to a rate. So many pods must be held afterwards.
func (r *rig) createOnce(ctx context.Context, n int, pod func(int) *corev1.Pod, held int, to *rate) error {
	if _, err := r.create(ctx, createWarm, func(i int) *corev1.Pod { return pod(n + i) }); err != nil {
		return err
	}
	took, err := r.create(ctx, n, pod)
	if err != nil {
		return err
	}
	to.add(n, took)
	if err := r.expectHeld(ctx, held); err != nil {
		return err
	}
	return r.clear(ctx)
}
