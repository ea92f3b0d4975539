package gating

import (
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// strayLoop is a loop in whose cluster there are these objects and CarbonPolicies.
func strayLoop(t *testing.T, registry prometheus.Registerer, records *Records, objects ...client.Object) *Loop {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), metav1.AddMetaToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakePassiveClock(t0)
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.CarbonPolicy{}).Build()
	return &Loop{
		Client: c, APIReader: c, Clock: clock, Events: NewAnnouncer(nil), Metrics: NewMetrics(registry), Sweeper: &Sweeper{}, Workers: 1,
		Policies: policy.Policies{Reader: c, Clock: clock}, Records: records, Store: &forecast.Store{},
	}
}

// forged are held pods of as many policies that do not exist.
func forged(n int) []*record {
	pods := make([]*record, n)
	for i := range pods {
		pods[i] = released("Pod", fmt.Sprint("forged-", i), 0, map[string]string{v1alpha1.PolicyAnnotation: fmt.Sprint("no-such-", i)})
		pods[i].Labels[v1alpha1.StateLabel], pods[i].isGated, pods[i].hasNode = v1alpha1.StateHeld, true, false
	}
	return pods
}

func TestForgedNamesOfPoliciesAreOnePassAndLeaveNothing(t *testing.T) {
	registry := prometheus.NewRegistry()
	pods := forged(200)
	records := recordsOf(t, pods...)
	l := strayLoop(t, registry, records)
	before, err := testutil.GatherAndCount(registry)
	if err != nil {
		t.Fatal(err)
	}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	for _, pod := range pods {
		l.onRecord().Create(t.Context(), event.TypedCreateEvent[*record]{Object: pod}, queue)
	}
	request, _ := queue.Get()
	if waiting := queue.Len(); waiting > 0 || request.Name != strayWork {
		t.Errorf("%d more requests are waiting beside %v", waiting, request)
	}
	if _, err := l.Reconcile(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(l.Metrics.released.WithLabelValues(strayWork, string(plan.CauseLatestStart))); n != 200 {
		t.Errorf("%v pods are released, want all", n)
	}
	for _, pod := range pods {
		if err := records.pods.Delete(pod); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Reconcile(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	after, err := testutil.GatherAndCount(registry)
	if err != nil || after != before {
		t.Errorf("%d series, %v, want %d as before", after, err, before)
	}
	if n := len(l.inFlight.released[strayWork]) + len(l.inFlight.released) - 1; n > 0 {
		t.Errorf("the releases in flight are %v", l.inFlight.released)
	}
	for name := range l.limitedPolicies.Range {
		t.Errorf("whether %v is limited is remembered", name)
	}
}

func TestNothingIsLeftOfAPolicyThatIsDeleted(t *testing.T) {
	registry := prometheus.NewRegistry()
	policy := v1alpha1.Default()
	policy.Name = "passing"
	pod := released("Pod", "a", 0, map[string]string{v1alpha1.PolicyAnnotation: "passing"})
	pod.Labels[v1alpha1.StateLabel], pod.isGated, pod.hasNode = v1alpha1.StateHeld, true, false
	l := strayLoop(t, registry, recordsOf(t, pod), policy)
	before, err := testutil.GatherAndCount(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reconcile(t.Context(), request("passing")); err != nil { // it waits for a forecast
		t.Fatal(err)
	}
	l.inFlight.add("passing", "just-released", "")
	l.Metrics.countReleased(1, "passing", plan.CauseCleanestNow, t0, t0, t0)
	l.Metrics.releaseErrors.WithLabelValues("passing").Inc()
	if err := l.Client.Delete(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reconcile(t.Context(), request("passing")); err != nil {
		t.Fatal(err)
	}
	if after, err := testutil.GatherAndCount(registry); err != nil || after != before {
		t.Errorf("%d series, %v, want %d as before", after, err, before)
	}
	if _, left := l.inFlight.released["passing"]; left || !l.inFlight.has("just-released") {
		t.Errorf("want what was just released with the strays: %v", l.inFlight.released)
	}
	if _, err := l.Reconcile(t.Context(), request(strayWork)); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(l.Metrics.released.WithLabelValues(strayWork, string(plan.CauseLatestStart))); n != 1 {
		t.Errorf("%v pods are released, want what the policy held", n)
	}
}

func TestAPolicyThatComesTakesItsWorkFromTheStrays(t *testing.T) {
	pod := forged(1)[0]
	policy := v1alpha1.Default()
	policy.Name = pod.Annotations[v1alpha1.PolicyAnnotation]
	l := strayLoop(t, prometheus.NewRegistry(), recordsOf(t, pod), policy)
	for name, want := range map[string]int{strayWork: 0, policy.Name: 1} {
		p, err := l.pass(t.Context(), name)
		if err != nil || len(p.groups) != want {
			t.Errorf("the pass of %q has %d groups, %v, want %d", name, len(p.groups), err, want)
		}
	}
}
