package gating

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

func TestASweepLetsGoWhatItCannotTakeOver(t *testing.T) {
	notes := func(patch string) bool { return strings.Contains(patch, v1alpha1.StateLabel) }
	var c client.Client
	c = gatedPods(t, 2, func(string) bool { return false })
	for i := range 2 {
		pod := &corev1.Pod{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: fmt.Sprintf("pod-%02d", i)}, pod); err != nil {
			t.Fatal(err)
		}
		pod.Labels = nil
		if err := c.Update(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	watched, ok := c.(client.WithWatch)
	if !ok {
		t.Fatal("want a client that can be intercepted")
	}
	c = interceptor.NewClient(watched, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if data, _ := patch.Data(o); o.GetName() == "pod-00" && notes(string(data)) {
				return apierrors.NewForbidden(corev1.Resource("pods"), o.GetName(), errors.New("no labels here"))
			}
			return c.Patch(ctx, o, patch, options...)
		},
	})
	s := &Sweeper{Reader: c, Writer: c, Clock: clocktesting.NewFakePassiveClock(t0)}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"pod-00": "let go", "pod-01": "held"} {
		pod := &corev1.Pod{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: name}, pod); err != nil {
			t.Fatal(err)
		}
		got := "let go"
		if hold.HasGate(pod.Spec.SchedulingGates) {
			got = pod.Labels[v1alpha1.StateLabel]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// gatedPods are an API server with held pods, of which some may not be changed.
func gatedPods(t *testing.T, n int, refused func(name string) bool) client.Client {
	t.Helper()
	b := fake.NewClientBuilder()
	for i := range n {
		b.WithObjects(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("pod-%02d", i), UID: types.UID(fmt.Sprint("u", i)), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}},
			Spec:       corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}},
			Status:     corev1.PodStatus{Phase: corev1.PodPending},
		})
	}
	return b.
		WithIndex(&corev1.Pod{}, "status.phase", func(o client.Object) []string { return []string{string(o.(*corev1.Pod).Status.Phase)} }).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
				if refused(o.GetName()) {
					return apierrors.NewForbidden(corev1.Resource("pods"), o.GetName(), errors.New("not in\x1b my house"))
				}
				return c.Patch(ctx, o, patch, options...)
			},
		}).Build()
}

func TestASweeperSweepsAtOnceAndWhenItIsAskedAndEveryTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lists atomic.Int64
		var down atomic.Bool
		watched, _ := gatedPods(t, 0, func(string) bool { return false }).(client.WithWatch)
		c := interceptor.NewClient(watched, interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				if down.Load() {
					return errors.New("no answer")
				}
				lists.Add(1)
				return c.List(ctx, list, options...)
			},
		})
		s := &Sweeper{Reader: c, Writer: c, Clock: clock.RealClock{}}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Start(ctx) }()
		const ofASweep = 2 // lists: Jobs and pods
		for _, step := range []struct {
			what   string
			before func()
			after  time.Duration
			want   int64
		}{
			{"at once", func() {}, time.Second, 1},
			{"and no more", func() {}, 9 * time.Minute, 0},
			{"after ten minutes", func() {}, 2 * time.Minute, 1},
			{"when it is asked to", s.Request, 11 * time.Second, 1},
			{"not while nobody answers", func() { down.Store(true); s.Request() }, time.Minute, 0},
			{"and then once", func() { down.Store(false) }, time.Minute, 1},
		} {
			step.before()
			time.Sleep(step.after)
			synctest.Wait()
			if got := lists.Swap(0); got != step.want*ofASweep {
				t.Errorf("%s: %d lists, want %d", step.what, got, step.want*ofASweep)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
