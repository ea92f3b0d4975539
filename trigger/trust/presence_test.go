package trust

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestPresenceTellsWhetherBothObjectsAreThere(t *testing.T) {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(authenticationKind(), &unstructured.Unstructured{})
	live := fake.NewClientBuilder().WithScheme(scheme).Build()
	clock := testclock.NewFakeClock(time.Now())
	p := &Presence{Live: live, Namespace: "keda", Clock: clock}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Start(ctx) }()
	look := func() {
		for !clock.HasWaiters() {
			time.Sleep(time.Millisecond)
		}
		clock.Step(lookInterval)
		for !clock.HasWaiters() {
			time.Sleep(time.Millisecond)
		}
	}
	for _, o := range []*unstructured.Unstructured{emptyConfigMap("keda"), emptyAuthentication()} {
		look()
		if p.IsThere() {
			t.Error("there too early")
		}
		if err := live.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	look()
	if p.IsThere() {
		t.Error("there at the first look, when KEDA's caches may not have it")
	}
	look()
	if !p.IsThere() {
		t.Error("not there")
	}
	if err := live.Delete(ctx, emptyAuthentication()); err != nil {
		t.Fatal(err)
	}
	look()
	if p.IsThere() {
		t.Error("there after it was deleted")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
