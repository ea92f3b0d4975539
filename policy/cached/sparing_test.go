package cached

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// countingReader counts the questions, and whether each has a deadline.
type countingReader struct {
	client.Reader
	asked, withDeadline int
}

func (r *countingReader) Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	r.asked++
	if at, ok := ctx.Deadline(); ok && time.Until(at) <= liveTimeout {
		r.withDeadline++
	}
	return r.Reader.Get(ctx, key, into, options...)
}

type fixedClock time.Time

func (c fixedClock) Now() time.Time { return time.Time(c) }

func TestAPolicyThatNoCacheHasYetIsFound(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	fresh := v1alpha1.Default()
	fresh.Name = "fresh"
	stale := fake.NewClientBuilder().WithScheme(scheme).Build()
	live := &countingReader{Reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(fresh).Build()}
	plain := policy.Policies{Reader: stale, Clock: fixedClock(metav1.Now().Time), Namespace: "x"}.WithoutSites()
	policies := plain.AskingAlso(Sparing(live))
	if p, err := policies.Get(t.Context(), "fresh"); err != nil || p.Name != "fresh" || !p.Exists {
		t.Errorf("got %v and the error %v, want the policy", p, err)
	}
	if _, err := plain.Get(t.Context(), "fresh"); !apierrors.IsNotFound(err) {
		t.Errorf("policies that do not ask the API server: got the error %v, want NotFound", err)
	}
	for range 1000 { // somebody names what does not exist
		if _, err := policies.Get(t.Context(), "gone"); !apierrors.IsNotFound(err) {
			t.Fatalf("got the error %v, want NotFound", err)
		}
	}
	if live.asked > 2*liveBurst || live.asked != live.withDeadline {
		t.Errorf("the API server was asked %d times, %d of them with a deadline", live.asked, live.withDeadline)
	}
}
