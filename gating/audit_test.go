package gating

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// auditedRecord is one of an object that would have started so long after t0.
func auditedRecord(kind, name string, wait time.Duration) *record {
	o := released(kind, name, 0, map[string]string{v1alpha1.PlannedStartAnnotation: policy.FormatTime(t0.Add(wait))})
	delete(o.Annotations, v1alpha1.StartedAnnotation)
	o.Labels[v1alpha1.StateLabel] = v1alpha1.StateAudited
	return o
}

func TestAuditModeReleasesWhatIsHeld(t *testing.T) {
	const reason = "started Nov 21 12:00 UTC: audit mode holds no work, at 400 gCO2eq/kWh in here"
	for name, tt := range map[string]struct {
		mode  v1alpha1.Mode
		label string
		want  bool
	}{
		"of a policy":                         {v1alpha1.ModeAudit, "", true},
		"of a namespace":                      {v1alpha1.ModeEnforce, v1alpha1.AuditAsking, true},
		"of a namespace as a whole":           {v1alpha1.ModeEnforce, v1alpha1.AuditAll, true},
		"nowhere else":                        {v1alpha1.ModeEnforce, "", false},
		"not by the label false":              {v1alpha1.ModeEnforce, v1alpha1.AuditNone, false},
		"not by a label that nobody can read": {v1alpha1.ModeEnforce, "yes", false},
	} {
		t.Run(name, func(t *testing.T) {
			object := v1alpha1.Default()
			object.Spec.Mode = tt.mode
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{v1alpha1.AuditLabel: tt.label}}}
			if tt.label == "" {
				ns.Labels = nil
			}
			l := &Loop{Policies: policy.Policies{Reader: fake.NewClientBuilder().WithObjects(ns).Build()}, Clock: clocktesting.NewFakePassiveClock(t0)}
			wish := map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}
			later := plan.Decision{Decided: t0, Start: t0.Add(time.Hour), Cause: plan.CauseCleanerLater, Expected: 100, ExpectedAtOnce: 400, LocationAtOnce: "here", Location: "there"}
			g := &group{owner: waitingRecord("Job", "j", wish), decision: later, location: "there"}
			forUser := &group{owner: waitingRecord("Job", "k", wish), decision: later, waitsForUser: true}
			p := &pass{policy: policy.New(t.Context(), object, "gridlatch-system", nil, t0), now: t0, groups: []*group{g, forUser}}
			l.makeAuditedDue(t.Context(), p)
			if g.isDue() != tt.want || forUser.isDue() != tt.want {
				t.Fatalf("due: %v and %v, want %v", g.isDue(), forUser.isDue(), tt.want)
			}
			if got := g.releaseReason(""); tt.want && (got != reason || g.location != "here" || g.decision.Cause != plan.CauseAudit) {
				t.Errorf("reason %q, location %s, cause %s", got, g.location, g.decision.Cause)
			}
		})
	}
}

func TestWhatAuditModeFindsDueKeepsItsCause(t *testing.T) {
	object := v1alpha1.Default()
	object.Spec.Mode = v1alpha1.ModeAudit
	l := &Loop{Policies: policy.Policies{Reader: fake.NewClientBuilder().Build()}}
	g := &group{owner: waitingRecord("Job", "j", nil), decision: plan.Decision{Decided: t0, Start: t0, Cause: plan.CauseLatestStart}}
	l.makeAuditedDue(t.Context(), &pass{policy: policy.New(t.Context(), object, "gridlatch-system", nil, t0), now: t0, groups: []*group{g}})
	if g.decision.Cause != plan.CauseLatestStart {
		t.Errorf("cause %s", g.decision.Cause)
	}
}

func TestTheStatusOfAPolicyCountsWhatWouldBeHeld(t *testing.T) {
	owner := controlledBy("batch/v1", "Job", "job")
	ofJob := of(owner, auditedRecord("Pod", "of-job", time.Hour))
	over := auditedRecord("Job", "over", time.Hour)
	over.podsToRun = 0
	elsewhere := auditedRecord("Pod", "elsewhere", time.Hour)
	elsewhere.Annotations[v1alpha1.PolicyAnnotation] = "other"
	joined := auditedRecord("Pod", "joined", time.Hour)
	delete(joined.Annotations, v1alpha1.PlannedStartAnnotation)
	l := statusLoop(t, v1alpha1.Default(), "400 400 100 400",
		auditedRecord("Job", "job", 2*time.Hour), ofJob, auditedRecord("Pod", "bare", time.Hour), auditedRecord("Pod", "started", 0), over, elsewhere, joined)
	l.Client = interceptor.NewClient(l.Client.(client.WithWatch), interceptor.Funcs{
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			t.Error("audited work is patched")
			return nil
		},
	})
	result, err := l.Reconcile(t.Context(), request("default"))
	if err != nil || result.RequeueAfter > maxIdlePause {
		t.Fatalf("%v, %v", result, err)
	}
	var got v1alpha1.CarbonPolicy
	if err := l.Client.Get(t.Context(), client.ObjectKey{Name: "default"}, &got); err != nil {
		t.Fatal(err)
	}
	if a := got.Status.Audited; a == nil || *a != (v1alpha1.HeldStatus{Pods: 4, Groups: 2}) || got.Status.Held.Groups != 0 {
		t.Errorf("audited %+v, held %+v", a, got.Status.Held)
	}
	if pods := testutil.ToFloat64(l.Metrics.auditedPods.WithLabelValues("default")); pods != 4 {
		t.Errorf("%v pods by the metric, want 4", pods)
	}
	_, next, err := l.Records.audited("default", t0)
	if err != nil || !next.Equal(t0.Add(time.Hour)) {
		t.Errorf("the status changes at %v, %v", next, err)
	}
}

func TestAuditedWorkCountsAsStarted(t *testing.T) {
	owner := controlledBy("batch/v1", "Job", "job")
	records := recordsOf(t, auditedRecord("Job", "job", time.Hour))
	pod := newPod(nil, owner)
	if notes, ok := records.IsJobAudited("default", pod); !ok || notes[v1alpha1.PlannedStartAnnotation] == "" {
		t.Errorf("its Job is audited: %v, %v", ok, notes)
	}
	if _, ok := records.IsJobAudited("elsewhere", pod); ok {
		t.Error("a Job of another namespace counts")
	}
	if records.IsJobHeld("default", pod) || records.IsJobReleased("default", pod) {
		t.Error("an audited Job counts as held or released")
	}
	g := newGroup(auditedRecord("Job", "job", time.Hour), notDone)
	if g.decision = (plan.Decision{Decided: t0, Start: t0.Add(time.Hour)}); !g.isDue() {
		t.Error("a pod with a gate that somebody has written by hand waits, although its Job is audited")
	}
	set := auditedRecord("Job", "set", time.Hour)
	set.Kind, set.APIVersion = "JobSet", "jobset.x-k8s.io/v1alpha2"
	if s := standingOf(set); !s.runs {
		t.Error("an audited JobSet does not run")
	}
}

func TestALabelOfANamespaceCausesPasses(t *testing.T) {
	namespace := func(label string) *metav1.PartialObjectMetadata {
		o := policy.NewMetadata(policy.NamespaceKind())
		o.Labels = map[string]string{v1alpha1.AuditLabel: label}
		return o
	}
	for name, tt := range map[string]struct {
		before, after string
		want          int
	}{
		"that is new":       {"", v1alpha1.AuditAll, 2}, // of the default policy, and of strayWork
		"that goes":         {v1alpha1.AuditAll, "", 2},
		"that is as it was": {v1alpha1.AuditAll, v1alpha1.AuditAll, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := strayLoop(t, prometheus.NewRegistry(), recordsOf(t))
			queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer queue.ShutDown()
			l.onNamespace().Update(t.Context(), event.TypedUpdateEvent[*metav1.PartialObjectMetadata]{ObjectOld: namespace(tt.before), ObjectNew: namespace(tt.after)}, queue)
			deadline := time.Now().Add(time.Minute)
			for queue.Len() < tt.want && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
			}
			if tt.want == 0 {
				time.Sleep(2 * minGatherTime)
			}
			if queue.Len() != tt.want {
				t.Errorf("%d passes, want %d", queue.Len(), tt.want)
			}
		})
	}
}

func TestAnEventTellsOfAuditedWork(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*record)
		want   bool
	}{
		"that would wait":                   {func(*record) {}, true},
		"not of work that starts as it was": {func(o *record) { o.Annotations[v1alpha1.PlannedStartAnnotation] = policy.FormatTime(t0) }, false},
		"not of work without a plan":        {func(o *record) { delete(o.Annotations, v1alpha1.PlannedStartAnnotation) }, false},
		"not of the pods of a Job":          {func(o *record) { of(controlledBy("batch/v1", "Job", "j"), o) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := auditedRecord("Pod", "p", time.Hour)
			o.CreationTimestamp = metav1.NewTime(t0)
			tt.change(o)
			a := NewAnnouncer(nil)
			a.CreatedWork(&o.PartialObjectMetadata)
			if got, found := a.queue.next(); found != tt.want || found && got.reason != v1alpha1.EventAudited {
				t.Errorf("announced %v: %+v", found, got)
			}
		})
	}
}
