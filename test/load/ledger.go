package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger/pages"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	bookedGroups  = 10000
	bookingRounds = 3
	// settlePause is how long after its end a pod is surely booked by the next pass.
	settlePause = 65 * time.Second
	// quietNode is a node on which nobody runs anything: the pods there change when the load changes them.
	quietNode = "quiet"
)

// measureBooking lets the keeper book 10,000 pods that have ended in its first pass, and returns how long the pass takes
// in milliseconds, in the median of some rounds.
func measureBooking(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	r.flags = []string{"--ledger=false"} // until all of them have ended
	if err := r.installStarting(ctx); err != nil {
		return nil, err
	}
	if err := r.createStarted(ctx, "pod", bookedGroups); err != nil {
		return nil, err
	}
	now := time.Now()
	if err := r.setPods(ctx, "pod", bookedGroups, endedStatus(now.Add(-2*time.Hour), now.Add(-time.Hour))); err != nil {
		return nil, err
	}
	if err := pause(ctx, settlePause); err != nil {
		return nil, err
	}
	var took []float64
	r.flags = []string{"--ledger-interval=1h"}
	for range bookingRounds {
		one, err := r.bookOnce(ctx)
		if err != nil {
			return nil, err
		}
		log.Printf("the pass took %.0f ms", one)
		took = append(took, one)
	}
	slices.Sort(took)
	return []float64{took[len(took)/2]}, nil
}

// bookOnce starts a keeper that has booked nothing, and returns how long its first pass takes in milliseconds.
func (r *rig) bookOnce(ctx context.Context) (float64, error) {
	if err := r.stop(); err != nil {
		return 0, err
	}
	store := r.clientset.CoreV1().ConfigMaps(env.Namespace)
	if err := store.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: pages.Label}); err != nil {
		return 0, fmt.Errorf("delete the ledger: %w", err)
	}
	if err := r.restart(ctx); err != nil {
		return 0, err
	}
	if err := r.awaitPasses(ctx, 1); err != nil {
		return 0, err
	}
	seconds, err := r.controller.Metric(ctx, "gridlatch_ledger_pass_seconds_sum")
	if err != nil {
		return 0, err
	}
	return 1000 * seconds, r.expectBooked(ctx, bookedGroups)
}

// awaitPasses waits until the keeper has made so many passes.
func (r *rig) awaitPasses(ctx context.Context, want float64) error {
	return poll(ctx, 2*patience, func(ctx context.Context) error {
		got, err := r.controller.Metric(ctx, "gridlatch_ledger_pass_seconds_count")
		if err == nil && got < want {
			err = fmt.Errorf("the keeper has made %.0f passes, want %.0f", got, want)
		}
		return err
	})
}

// expectBooked returns an error unless so many groups are booked, with their emissions.
func (r *rig) expectBooked(ctx context.Context, want int) error {
	store := pages.Store{Reader: r.cluster.Client, Namespace: env.Namespace}
	all, err := pages.Read(ctx, store, time.Now().AddDate(0, 0, -2), time.Now().AddDate(0, 0, 2))
	if err != nil {
		return err
	}
	groups := 0
	for _, p := range all {
		for _, sum := range p.Sums(nil) {
			groups += sum.Groups
		}
	}
	grams, err := r.controller.Metric(ctx, "gridlatch_emissions_grams_total")
	switch {
	case err != nil:
		return err
	case groups != want:
		return fmt.Errorf("%d groups are booked, want %d", groups, want)
	case !(grams > 0):
		return fmt.Errorf("the groups have emitted %v g", grams)
	}
	return nil
}

// installStarting installs Gridlatch with a forecast by which all work starts at once, and a node on which nobody runs
// anything.
func (r *rig) installStarting(ctx context.Context) error {
	if err := r.install(ctx); err != nil {
		return err
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: quietNode}}
	if _, err := r.clientset.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create a node: %w", err)
	}
	if err := r.offerActuals(ctx); err != nil {
		return err
	}
	return poll(ctx, patience, func(ctx context.Context) error { return r.probe(ctx, false) })
}

// offerActuals writes a forecast that rises, with the intensities of the last two days.
func (r *rig) offerActuals(ctx context.Context) error {
	now := time.Now()
	const location = "CAISO_NORTH"
	var known, expected []forecast.Slot
	for hour := -48; hour < 24; hour++ {
		start := now.Truncate(time.Hour).Add(time.Duration(hour) * time.Hour)
		slot := forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: 200 + 10*float64(hour+48)}
		if hour < 0 {
			known = append(known, slot)
		} else {
			expected = append(expected, slot)
		}
	}
	document := forecast.Document{
		Issued:  now,
		Series:  map[string]*forecast.Series{location: forecast.NewSeries(expected)},
		Actuals: map[string]*forecast.Series{location: forecast.NewSeries(known)},
		Details: map[string]forecast.Details{location: {Issued: now, Origin: forecast.Origin{Provider: "Load", Signal: forecast.Signal{Kind: forecast.Average}}}},
	}
	binaryData, data, err := document.ConfigMap(now)
	if err != nil {
		return err
	}
	if err := r.cluster.DeleteForecast(ctx); err != nil {
		return err
	}
	written := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "carbon-intensity"}, BinaryData: binaryData, Data: data}
	if err := r.cluster.Client.Create(ctx, written); err != nil {
		return fmt.Errorf("write forecast: %w", err)
	}
	return nil
}

// createStarted creates pods that ask to wait, start at once by decision, and are bound to the quiet node.
func (r *rig) createStarted(ctx context.Context, prefix string, n int) error {
	log.Printf("creating %d pods that start at once", n)
	deadline := time.Now().Add(12 * time.Hour)
	pods := r.clientset.CoreV1().Pods(namespace)
	err := parallel(ctx, n, func(ctx context.Context, i int) error {
		pod := waiting(newPod(fmt.Sprintf("%s-%05d", prefix, i)), deadline)
		pod.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} // nobody heartbeats for the node
		created, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if state := created.Labels[v1alpha1.StateLabel]; state != v1alpha1.StateReleased {
			return fmt.Errorf("the state of the pod is %q, want %q", state, v1alpha1.StateReleased)
		}
		binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: quietNode}}
		return pods.Bind(ctx, binding, metav1.CreateOptions{})
	})
	if err != nil {
		return fmt.Errorf("create pods that start: %w", err)
	}
	return nil
}

// setPods changes the status of so many pods.
func (r *rig) setPods(ctx context.Context, prefix string, n int, status string) error {
	pods := r.metadata.Resource(podResource()).Namespace(namespace)
	err := parallel(ctx, n, func(ctx context.Context, i int) error {
		name := fmt.Sprintf("%s-%05d", prefix, i)
		_, err := pods.Patch(ctx, name, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
		return err
	})
	if err != nil {
		return fmt.Errorf("change the status of pods: %w", err)
	}
	return nil
}

// runningStatus is the status of a pod of newPod that runs.
func runningStatus(start time.Time) string {
	return statusOf(corev1.PodRunning, start, fmt.Sprintf(`{"running":{"startedAt":%q}}`, start.UTC().Format(time.RFC3339)))
}

// endedStatus is the status of a pod of newPod that is done.
func endedStatus(start, end time.Time) string {
	state := fmt.Sprintf(`{"terminated":{"exitCode":0,"reason":"Completed","startedAt":%q,"finishedAt":%q}}`,
		start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
	return statusOf(corev1.PodSucceeded, start, state)
}

func statusOf(phase corev1.PodPhase, start time.Time, state string) string {
	return fmt.Sprintf(`{"status":{"phase":%q,"startTime":%q,"containerStatuses":[`+
		`{"name":"main","image":"i","imageID":"i","state":%s},{"name":"sidecar","image":"i","imageID":"i","state":%s}]}}`,
		phase, start.UTC().Format(time.RFC3339), state, state)
}
