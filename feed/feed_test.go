package feed

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
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
		Policies: policy.Policies{Reader: ctrlfake.NewClientBuilder().WithScheme(scheme).Build(), Clock: clock},
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
		if err := feed.Also(ctx, step.also); err != nil {
			t.Fatal(err)
		}
		feed.mu.Lock()
		for source, w := range feed.watched {
			if memory, ok := step.want[source]; !ok || memory != w.memory {
				t.Errorf("told of %q: it follows %s, with memory: %v", step.also, source, w.memory)
			}
		}
		if len(feed.watched) != len(step.want) {
			t.Errorf("told of %q: it follows %d sources", step.also, len(feed.watched))
		}
		feed.mu.Unlock()
	}
	stop()
	if err := feed.Start(ctx); err != nil { // which stops what it follows
		t.Fatal(err)
	}
}
