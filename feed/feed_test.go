package feed

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

// TestFeedFollowsWhatItIsToldOf: beside the sources of the policies, for as long
// as it is told so, and without a memory.
func TestFeedFollowsWhatItIsToldOf(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	clock, store := clocktesting.NewFakePassiveClock(t0), &forecast.Store{}
	feed := &Feed{
		Clientset: fake.NewClientset(), Store: store, Clock: clock, Memory: &Memory{Clientset: fake.NewClientset(), Store: store},
		Policies: policy.Policies{Reader: ctrlfake.NewClientBuilder().WithScheme(scheme).Build(), Clock: clock, Namespace: "gridlatch-system"},
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	builtin, more := forecast.ParseSource("kube-system/carbon-intensity/data"), forecast.ParseSource("shop/grid/data")
	steps := []struct {
		also []forecast.Source
		want map[forecast.Source]bool // and whether with memory
	}{
		{nil, map[forecast.Source]bool{builtin: true}},
		{[]forecast.Source{more, builtin}, map[forecast.Source]bool{builtin: true, more: false}},
		{[]forecast.Source{}, map[forecast.Source]bool{builtin: true}},
	}
	for _, step := range steps {
		if err := feed.FollowAlso(ctx, step.also); err != nil {
			t.Fatal(err)
		}
		feed.mu.Lock()
		for source, w := range feed.followed {
			if memory, ok := step.want[source]; !ok || memory != w.learns {
				t.Errorf("told of %q: it follows %s, with memory: %v", step.also, source, w.learns)
			}
		}
		if len(feed.followed) != len(step.want) {
			t.Errorf("told of %q: it follows %d sources", step.also, len(feed.followed))
		}
		feed.mu.Unlock()
	}
	stop()
	if err := feed.Start(ctx); err != nil { // which stops what it follows
		t.Fatal(err)
	}
}

// startFeed starts a feed that follows the default source.
func startFeed(t *testing.T, api kubernetes.Interface, changed chan event.TypedGenericEvent[forecast.Source]) *Feed {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	clock, store := clocktesting.NewFakePassiveClock(t0), &forecast.Store{}
	feed := &Feed{
		Clientset: api, Store: store, Clock: clock,
		Memory:   &Memory{Clientset: api, Namespace: "gridlatch-system", Store: store, Clock: clock},
		Policies: policy.Policies{Reader: ctrlfake.NewClientBuilder().WithScheme(scheme).Build(), Clock: clock, Namespace: "gridlatch-system"},
		Changed:  []chan<- event.TypedGenericEvent[forecast.Source]{changed, make(chan event.TypedGenericEvent[forecast.Source])},
	}
	if err := feed.Ready(); err == nil {
		t.Error("the feed is ready before it has looked for a forecast")
	}
	ended := make(chan error, 1)
	go func() { ended <- feed.Start(t.Context()) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return feed
}

func forecastMap(values string) *corev1.ConfigMap {
	elements := fmt.Sprintf(`[{"location":"X","timestamp":%q,"duration":60,"value":%s}]`, t0.Format(time.RFC3339), values)
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: origin.Namespace, Name: origin.Name, CreationTimestamp: metav1.NewTime(t0)},
		Data:       map[string]string{origin.Key: elements},
	}
}

func TestAForecastIsFollowedFromItsConfigMapToTheStore(t *testing.T) {
	api := fake.NewClientset()
	changed := make(chan event.TypedGenericEvent[forecast.Source], 10)
	feed := startFeed(t, api, changed)
	configMaps := api.CoreV1().ConfigMaps(origin.Namespace)
	intensity := func() (float64, bool) {
		f, _ := feed.Store.Snapshot(origin).Forecast("X")
		return f.Series.At(t0)
	}
	write := func(t *testing.T, write func() error) {
		t.Helper()
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		name    string
		change  func() error
		problem string
		want    float64
		known   bool
	}{
		{"there is none", func() error { return nil }, "ConfigMap kube-system/carbon-intensity does not exist", 0, false},
		{"the first", func() error {
			_, err := configMaps.Create(t.Context(), forecastMap("430"), metav1.CreateOptions{})
			return err
		}, "", 430, true},
		{"another", func() error {
			_, err := configMaps.Update(t.Context(), forecastMap("200"), metav1.UpdateOptions{})
			return err
		}, "", 200, true},
		{"a broken one leaves the last good one in use", func() error {
			_, err := configMaps.Update(t.Context(), forecastMap(`430},`), metav1.UpdateOptions{})
			return err
		}, "ConfigMap kube-system/carbon-intensity: ", 200, true},
		{"so does its deletion", func() error { return configMaps.Delete(t.Context(), origin.Name, metav1.DeleteOptions{}) }, "ConfigMap kube-system/carbon-intensity has been deleted", 200, true},
	}
	for _, step := range steps {
		write(t, step.change)
		deadline := time.Now().Add(20 * time.Second)
		for {
			snapshot := feed.Store.Snapshot(origin)
			got, known := intensity()
			if strings.HasPrefix(snapshot.Problem(), step.problem) && (step.problem == "") == (snapshot.Problem() == "") && got == step.want && known == step.known && snapshot.IsKnown() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %q, %v (%t); want %q, %v (%t)", step.name, snapshot.Problem(), got, known, step.problem, step.want, step.known)
			}
			time.Sleep(10 * time.Millisecond)
		}
		select {
		case e := <-changed:
			if e.Object != origin {
				t.Errorf("%s: told of %s", step.name, e.Object)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: nobody is told", step.name)
		}
	}
	if err := feed.Ready(); err != nil {
		t.Errorf("every forecast has been looked at: %v", err)
	}
}

func TestWhatHasLearnedIsSavedWhenTheProgramEnds(t *testing.T) {
	api := fake.NewClientset()
	memory := &Memory{Clientset: api, Namespace: "gridlatch-system", Store: learned(t, 3), Clock: fixed{}}
	memory.Recall(t.Context(), origin, t0)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := memory.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CoreV1().ConfigMaps("gridlatch-system").Get(t.Context(), history.ConfigMapName(origin, "X"), metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}
