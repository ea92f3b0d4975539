package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	scheduleNodes  = 1000
	markedRounds   = 3
	unmarkedRounds = 6 // the difference is small
	scheduleEach   = 1000
	// scoredNodes is about how many of a thousand nodes kube-scheduler has scored: those on which a pod fits, up to
	// 42 % of all.
	scoredNodes = 420
)

// An entrant is a scheduler by its configuration, and how fast it is.
type entrant struct {
	name, config string
	asks         bool // Gridlatch, about marked pods
	rate
}

// measureSchedule has the real kube-scheduler put pods on nodes, in turn with Gridlatch as its extender, with one that
// knows its answer beforehand, and with none. The pods are there before the scheduler is, so that it is never short of
// work.
func measureSchedule(ctx context.Context) (values []float64, err error) {
	r, x, err := extendedRig(ctx, scheduleNodes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	bare, config, err := r.bareExtender(ctx, x)
	if err != nil {
		return nil, err
	}
	defer bare.Close()
	deadline := time.Now().Add(12 * time.Hour)
	extended, hop, plain := entrant{name: "extended", config: x.Config, asks: true}, entrant{name: "hop", config: config}, entrant{name: "plain"}
	mayWait := func(name string) *corev1.Pod { return waiting(newPod(name), deadline) }
	if err := r.race(ctx, markedRounds, true, mayWait, &extended, &hop, &plain); err != nil {
		return nil, err
	}
	values = append(values, extended.perSecond()/plain.perSecond(), hop.perSecond()/plain.perSecond())
	extended.rate, plain.rate = rate{}, rate{}
	if err := r.race(ctx, unmarkedRounds, false, newPod, &extended, &plain); err != nil {
		return nil, err
	}
	return append(values, extended.perSecond()/plain.perSecond()), nil
}

// bareExtender serves an answer as long as Gridlatch's, without a look at what is asked. It returns the configuration
// of a scheduler that asks it.
func (r *rig) bareExtender(ctx context.Context, x *env.Extender) (bare *http.Server, config string, err error) {
	names := make([]string, scoredNodes)
	for i := range names {
		names[i] = fmt.Sprint("node-", i)
	}
	c, err := newCaller(x)
	if err != nil {
		return nil, "", err
	}
	if err := poll(ctx, patience, func(ctx context.Context) error { return c.knows(ctx, names) }); err != nil {
		return nil, "", err
	}
	if bare, err = serveBare(x, slices.Clone(c.answer.Bytes())); err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(x.Config)
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("read the scheduler's configuration: %w", err), bare.Close())
	}
	config = filepath.Join(r.dir, "hop.yaml")
	text = bytes.ReplaceAll(text, fmt.Append(nil, "127.0.0.1:", x.Port), []byte(bare.Addr))
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, "", errors.Join(fmt.Errorf("write the scheduler's configuration: %w", err), bare.Close())
	}
	return bare, config, nil
}

// race has each scheduler place as many pods in every round. Which is first changes from round to round.
func (r *rig) race(ctx context.Context, rounds int, marked bool, pod func(string) *corev1.Pod, entrants ...*entrant) error {
	for range rounds {
		for _, e := range entrants {
			took, err := r.schedule(ctx, e, marked, pod)
			if err != nil {
				return err
			}
			e.add(scheduleEach-1, took) // the first starts the clock
			if err := r.logAnswers(ctx); err != nil {
				return err
			}
			log.Printf("pods that may wait: %t, scheduler %s; so far %.0f/s", marked, e.name, e.perSecond())
		}
		slices.Reverse(entrants)
	}
	return nil
}

// schedule creates pods, and returns how long a scheduler takes from the first to the last.
func (r *rig) schedule(ctx context.Context, e *entrant, marked bool, pod func(string) *corev1.Pod) (took time.Duration, err error) {
	_, err = r.create(ctx, scheduleEach, func(i int) *corev1.Pod {
		p := pod(podName(i))
		p.Spec.SchedulerName = e.name
		return p
	})
	if err != nil {
		return 0, err
	}
	if err := r.expectMarked(ctx, marked); err != nil {
		return 0, err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return 0, err
	}
	before, err := r.answered(ctx)
	if err != nil {
		return 0, err
	}
	if took, err = r.bind(ctx, e.name, e.config); err != nil {
		return 0, err
	}
	after, err := r.answered(ctx)
	if err != nil {
		return 0, err
	}
	want := 0.0
	if e.asks && marked {
		want = scheduleEach // to prioritize
	}
	if after-before != want {
		return 0, fmt.Errorf("the extender answered %.0f requests, want %.0f", after-before, want)
	}
	return took, r.clear(ctx)
}

// answered returns how many requests of schedulers have been answered.
func (r *rig) answered(ctx context.Context) (float64, error) {
	return r.controller.Metric(ctx, "gridlatch_extender_requests_total", `outcome="answered"`)
}

// logAnswers tells how long the extender has taken to answer.
func (r *rig) logAnswers(ctx context.Context) error {
	n, err := r.answered(ctx)
	if err != nil || n == 0 {
		return err
	}
	seconds, err := r.controller.Metric(ctx, "gridlatch_extender_request_seconds_sum")
	log.Printf("the extender has taken %.2f ms for an answer, in the mean", 1000*seconds/n)
	return err
}

// bind runs a scheduler until all pods have a node, and returns how long it took from the first to the last.
func (r *rig) bind(ctx context.Context, name, config string) (took time.Duration, err error) {
	pods := r.clientset.CoreV1().Pods(namespace) // whole: metadata does not say where they are
	list, err := pods.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("list pods: %w", err)
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &toolscache.ListWatch{WatchFuncWithContext: pods.Watch})
	if err != nil {
		return 0, fmt.Errorf("watch pods: %w", err)
	}
	bound := func(object metav1.Object) bool {
		p, ok := object.(*corev1.Pod)
		return ok && p.Spec.NodeName != ""
	}
	var scheduler *env.Scheduler
	took, err = during(ctx, watcher, scheduleEach, bound, func(context.Context) (err error) {
		scheduler, err = r.cluster.RunScheduler(name, r.cluster.Kubeconfig, config, filepath.Join(r.dir, name+".log"))
		return err
	})
	if scheduler != nil {
		err = errors.Join(err, scheduler.Stop())
	}
	return took, err
}

// expectMarked returns an error unless pods are marked for the extender, or not, and none is held.
func (r *rig) expectMarked(ctx context.Context, want bool) error {
	p, err := r.clientset.CoreV1().Pods(namespace).Get(ctx, podName(0), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get a pod: %w", err)
	}
	if _, marked := p.Spec.Containers[0].Resources.Limits[v1alpha1.PlacementResource]; marked != want {
		return fmt.Errorf("a pod is marked for the extender: %t, want %t; it says %v", marked, want, p.Annotations)
	}
	return r.expectHeld(ctx, 0)
}
