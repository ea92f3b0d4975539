package gating

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

// suspendedByUs is a Job that we hold by its suspend.
func suspendedByUs() *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "j", UID: "u", CreationTimestamp: metav1.NewTime(t0),
			Labels:      map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld},
			Annotations: map[string]string{v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend, v1alpha1.DelayTolerantAnnotation: "true"},
		},
		Spec: batchv1.JobSpec{Suspend: ptr.To(true), Parallelism: ptr.To(int32(2))},
	}
}

// jobServer has a Job, and refuses the patches for which refuse returns an error. Where the test of
// a JSON patch fails, it answers as a real API server.
func jobServer(job *batchv1.Job, refuse func(patch string) error) client.Client {
	return fake.NewClientBuilder().WithObjects(job).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			data, err := patch.Data(o)
			if err != nil {
				return err
			}
			if err := refuse(string(data)); err != nil {
				return err
			}
			err = c.Patch(ctx, o, patch, options...)
			if status := apierrors.APIStatus(nil); err != nil && patch.Type() == types.JSONPatchType && !errors.As(err, &status) {
				return apierrors.NewInvalid(hold.JobKind().GroupKind(), o.GetName(), nil)
			}
			return err
		},
	}).Build()
}

func loopWith(c client.Client) *Loop {
	l := &Loop{
		Client: c, APIReader: c, Clock: clocktesting.NewFakePassiveClock(t0), Events: NewAnnouncer(nil),
		Metrics: NewMetrics(prometheus.NewRegistry()), Workers: 1,
	}
	l.inFlight.beginPass("default")
	return l
}

// dueGroup is the group of a Job as the cache has it, which is due.
func dueGroup(t *testing.T, cached *batchv1.Job) *group {
	t.Helper()
	g := &group{owner: stripped(t, newRecordMaker(), cached), task: plan.Task{LatestStart: t0.Add(time.Hour)}}
	g.decision = plan.Decision{Decided: t0, Start: t0, Cause: plan.CauseCleanestNow, Expected: 100, ExpectedAtOnce: 100}
	g.setReason()
	return g
}

func TestAJobThatWeSuspendIsReleasedAsItIsNow(t *testing.T) {
	allow := func(string) error { return nil }
	for name, tt := range map[string]struct {
		change    func(*batchv1.Job) // since the cache has seen the Job
		cached    func(*batchv1.Job)
		refuse    func(string) error
		fails     bool
		suspended bool
		outcome   string
		reason    string
		released  float64
	}{
		"as the cache has it": {reason: "started", released: 2},
		"with annotations that have changed": {
			change: func(j *batchv1.Job) { j.Annotations["example.com/a"] = "b" }, reason: "started", released: 2,
		},
		"not if somebody else has resumed it": {
			change: func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(false) }, reason: hold.ReasonTaken, outcome: v1alpha1.OutcomeTaken,
		},
		"not if somebody has taken our mark off": {
			change: func(j *batchv1.Job) { delete(j.Annotations, v1alpha1.HeldByAnnotation) }, suspended: true, reason: hold.ReasonTaken, outcome: v1alpha1.OutcomeTaken,
		},
		"not if the cache knows that somebody has resumed it": {
			change: func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(false) }, cached: func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(false) },
			reason: hold.ReasonTaken, outcome: v1alpha1.OutcomeTaken,
		},
		"by the minimal patch, where the reason is refused": {
			refuse: func(patch string) error {
				if strings.Contains(patch, "reason") {
					return apierrors.NewForbidden(batchv1.Resource("jobs"), "j", errors.New("no reasons"))
				}
				return nil
			}, released: 2,
		},
		"not where the API server refuses that, too": {
			refuse: func(string) error { return apierrors.NewInvalid(hold.JobKind().GroupKind(), "j", nil) }, fails: true, suspended: true,
		},
		"not where nobody answers": {refuse: func(string) error { return errors.New("no answer") }, fails: true, suspended: true},
	} {
		t.Run(name, func(t *testing.T) {
			stored, cached := suspendedByUs(), suspendedByUs()
			if tt.change != nil {
				tt.change(stored)
			}
			if tt.cached != nil {
				tt.cached(cached)
			}
			if tt.refuse == nil {
				tt.refuse = allow
			}
			c := jobServer(stored, tt.refuse)
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
				t.Fatal(err)
			}
			if cached.ResourceVersion = "1"; tt.change == nil {
				cached.ResourceVersion = stored.ResourceVersion
			}
			l, g := loopWith(c), dueGroup(t, cached)
			err := l.recordRelease(t.Context(), &pass{policy: builtin(), now: t0}, g, false)
			if (err != nil) != tt.fails || g.isRecorded == tt.fails {
				t.Errorf("%v, recorded: %t", err, g.isRecorded)
			}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
				t.Fatal(err)
			}
			if got := stored.Annotations; *stored.Spec.Suspend != tt.suspended || got[v1alpha1.OutcomeAnnotation] != tt.outcome || !strings.HasPrefix(got[v1alpha1.ReasonAnnotation], tt.reason) {
				t.Errorf("suspended: %t, %v", *stored.Spec.Suspend, got)
			}
			if isReleased := stored.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased; isReleased == tt.fails {
				t.Errorf("released: %t", isReleased)
			}
			if n := testutil.ToFloat64(l.Metrics.released.WithLabelValues("default", string(plan.CauseCleanestNow))); tt.outcome == "" && n != tt.released {
				t.Errorf("%v pods count as released, want %v", n, tt.released)
			}
			if isInFlight := l.inFlight.has(releaseID(g.owner)); isInFlight == tt.fails {
				t.Errorf("the release is in flight: %t", isInFlight)
			}
		})
	}
}

func TestAJobThatIsGoneNeedsNoRelease(t *testing.T) {
	c := jobServer(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "another"}}, func(string) error { return nil })
	l, g := loopWith(c), dueGroup(t, suspendedByUs())
	if err := l.recordRelease(t.Context(), &pass{policy: builtin(), now: t0}, g, false); err != nil || !g.isRecorded {
		t.Errorf("%v, recorded: %t", err, g.isRecorded)
	}
}

// A user may suspend a Job once it was released, before that could be recorded.
func TestAJobThatWeResumedIsNotResumedAgainWhileThatCannotBeRecorded(t *testing.T) {
	refused := true
	stored := suspendedByUs()
	c := jobServer(stored, func(patch string) error {
		if refused && (strings.Contains(patch, "labels") || strings.Contains(patch, "annotations\":{")) {
			return apierrors.NewForbidden(batchv1.Resource("jobs"), "j", errors.New("no notes"))
		}
		return nil
	})
	l, p := loopWith(c), &pass{policy: builtin(), now: t0}
	g := dueGroup(t, suspendedByUs())
	if err := l.recordRelease(t.Context(), p, g, false); err != nil || !l.refusals.isReleased(g.owner) {
		t.Fatalf("%v, released and not recorded: %t", err, l.refusals.isReleased(g.owner))
	}
	reason := g.reason
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
		t.Fatal(err)
	}
	stored.Spec.Suspend = ptr.To(true) // by its user
	if err := c.Update(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	refused = false
	g = dueGroup(t, stored)
	if err := l.recordRelease(t.Context(), p, g, true); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
		t.Fatal(err)
	}
	if !*stored.Spec.Suspend || stored.Annotations[v1alpha1.ReasonAnnotation] != reason || stored.Annotations[v1alpha1.OutcomeAnnotation] != "" {
		t.Errorf("suspended: %t, %v, want the reason %q", *stored.Spec.Suspend, stored.Annotations, reason)
	}
	if n := testutil.ToFloat64(l.Metrics.released.WithLabelValues("default", string(plan.CauseCleanestNow))); n != 2 {
		t.Errorf("%v pods count as released, want each once", n)
	}
}

func TestAJobThatSomebodyElseResumedIsDue(t *testing.T) {
	job := suspendedByUs()
	for suspended, want := range map[bool]bool{true: false, false: true} {
		job.Spec.Suspend = ptr.To(suspended)
		g := dueGroup(t, job)
		g.decision = plan.Decision{Decided: t0, Start: t0.Add(time.Hour)}
		p := &pass{policy: builtin(), now: t0, groups: []*group{g}}
		if p.makeResumedDue(); g.isDue() != want {
			t.Errorf("suspended: %t, due: %t", suspended, g.isDue())
		}
	}
}

func TestARefusalThatTakesLongIsTriedAgainBesideThePasses(t *testing.T) {
	for took, want := range map[time.Duration]bool{0: false, 2 * slowRefusal: true} {
		clock := clocktesting.NewFakePassiveClock(t0)
		patches := 0
		c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
				patches++
				clock.SetTime(clock.Now().Add(took))
				return apierrors.NewInvalid(hold.PodKind().GroupKind(), "p", nil)
			},
		}).Build()
		l := loopWith(c)
		l.Clock = clock
		g := waiting("p", nil)
		var results podReleases
		if err := l.firstRelease(t.Context(), &pass{policy: builtin(), now: t0}, g, g.pods[0], &results); err != nil {
			t.Fatal(err)
		}
		if got := l.refusals.has(g.pods[0]); got != want || (len(results.refused) == 1) == want || patches != 1 {
			t.Errorf("after %s: tried again beside the passes: %t, in this pass: %v, %d patches", took, got, results.refused, patches)
		}
	}
}
