package gating

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientsetfake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// What the watch tells of a release, it may tell before the API server has answered.
func TestOnlyReleasesOfOthersAskForASweep(t *testing.T) {
	rules, refused := builtin(), errors.New("refused")
	for name, tt := range map[string]struct {
		kind, heldBy string
		err          error
		asks         bool
	}{
		"a pod":                                {kind: "Pod"},
		"a Job with gates in its template":     {kind: "Job"},
		"a Job that is suspended":              {kind: "Job", heldBy: v1alpha1.HoldBySuspend},
		"a pod that others let go":             {kind: "Pod", err: refused, asks: true},
		"a suspended Job that others let go":   {kind: "Job", heldBy: v1alpha1.HoldBySuspend, err: refused, asks: true},
		"a Job with gates that others relabel": {kind: "Job", err: refused, asks: true},
	} {
		t.Run(name, func(t *testing.T) {
			before := released(tt.kind, "x", 0, map[string]string{v1alpha1.HeldByAnnotation: tt.heldBy})
			before.Labels[v1alpha1.StateLabel], before.Generation = v1alpha1.StateHeld, 3
			before.isGated, before.isSuspended = tt.kind == "Pod", tt.heldBy != ""
			after := released(tt.kind, "x", 0, nil)
			if after.Generation = 3; tt.heldBy != "" {
				after.Generation++ // its spec has changed
			}
			l := &Loop{Clock: clocktesting.NewFakePassiveClock(t0), Events: NewAnnouncer(nil), Metrics: NewMetrics(prometheus.NewRegistry()), Sweeper: &Sweeper{}}
			queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer queue.ShutDown()
			tell := func() {
				l.onRecord().Update(t.Context(), event.TypedUpdateEvent[*record]{ObjectOld: before, ObjectNew: after}, queue)
			}
			l.Client = fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
				Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
					if tt.err == nil {
						tell()
					}
					return tt.err
				},
			}).Build()
			l.APIReader = l.Client
			l.inFlight.beginPass(rules.Name)
			g, p := &group{decision: plan.Decision{Decided: t0, Start: t0}}, &pass{policy: rules, now: t0}
			var err error
			if tt.kind == "Pod" {
				g.pods = append(g.pods, before)
				err = l.releasePod(t.Context(), p, g, before, false)
			} else {
				g.owner = before
				err = l.recordRelease(t.Context(), p, g, false)
			}
			if !errors.Is(err, tt.err) {
				t.Fatal(err)
			}
			if tt.err != nil {
				tell()
			}
			if l.Sweeper.isRequested.Load() != tt.asks {
				t.Errorf("asks for a sweep: %t, want %t", !tt.asks, tt.asks)
			}
		})
	}
}

// requests are the requests in a queue, in the order of their names, once none has been added for a while.
func requests(t *testing.T, add func(queue)) (names []string) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer q.ShutDown()
		add(q)
		time.Sleep(2 * maxGatherTime)
		synctest.Wait()
		for q.Len() > 0 {
			r, _ := q.Get()
			names = append(names, r.Name)
		}
	})
	slices.Sort(names)
	return names
}

func TestWhatAPassIsRunFor(t *testing.T) {
	policyOf := func(name string, change func(*v1alpha1.CarbonPolicySpec)) *v1alpha1.CarbonPolicy {
		object := v1alpha1.Default()
		object.Name = name
		change(&object.Spec)
		return object
	}
	movable := policyOf("movable", func(s *v1alpha1.CarbonPolicySpec) {
		s.Locations = []v1alpha1.Location{{Name: "X", NodeSelector: map[string]string{"at": "x"}}, {Name: "Y", NodeSelector: map[string]string{"at": "y"}}}
	})
	limited := policyOf("limited", func(s *v1alpha1.CarbonPolicySpec) { s.Buckets = []v1alpha1.Bucket{{Ceiling: 1}} })
	elsewhere := policyOf("elsewhere", func(s *v1alpha1.CarbonPolicySpec) { s.Forecast.ConfigMap.Name = "another" })
	node := func(at string) *metav1.PartialObjectMetadata {
		n := policy.NewMetadata(policy.NodeKind())
		n.Labels = map[string]string{"at": at}
		return n
	}
	held := func(of string) *record {
		return waitingRecord("Pod", "p", map[string]string{v1alpha1.PolicyAnnotation: of})
	}
	over := released("Pod", "p", 0, map[string]string{v1alpha1.PolicyAnnotation: "limited"})
	for name, tt := range map[string]struct {
		add  func(*Loop, queue)
		want []string
	}{
		"a new node, which a policy may send work to": {func(l *Loop, q queue) {
			l.onNode().Create(t.Context(), event.TypedCreateEvent[*metav1.PartialObjectMetadata]{Object: node("x")}, q)
		}, []string{"movable"}},
		"not a node that was there at the start": {func(l *Loop, q queue) {
			l.onNode().Create(t.Context(), event.TypedCreateEvent[*metav1.PartialObjectMetadata]{Object: node("x"), IsInInitialList: true}, q)
		}, nil},
		"a node that moves": {func(l *Loop, q queue) {
			l.onNode().Update(t.Context(), event.TypedUpdateEvent[*metav1.PartialObjectMetadata]{ObjectOld: node("x"), ObjectNew: node("y")}, q)
		}, []string{"movable"}},
		"not a node that stays": {func(l *Loop, q queue) {
			l.onNode().Update(t.Context(), event.TypedUpdateEvent[*metav1.PartialObjectMetadata]{ObjectOld: node("x"), ObjectNew: node("x")}, q)
		}, nil},
		"a node that goes": {func(l *Loop, q queue) {
			l.onNode().Delete(t.Context(), event.TypedDeleteEvent[*metav1.PartialObjectMetadata]{Object: node("x")}, q)
		}, []string{"movable"}},
		"a forecast, for the policies that read it": {func(l *Loop, q queue) {
			l.onForecast().Generic(t.Context(), event.TypedGenericEvent[forecast.Source]{Object: builtin().Source}, q)
		}, []string{"default", "limited", "movable"}},
		"a policy that is deleted, for what it held": {func(l *Loop, q queue) {
			l.onDeleted().Delete(t.Context(), event.DeleteEvent{Object: movable}, q)
		}, []string{strayWork}},
		"work that is held": {func(l *Loop, q queue) {
			l.onRecord().Create(t.Context(), event.TypedCreateEvent[*record]{Object: held("limited")}, q)
		}, []string{"limited"}},
		"work that moves to another policy": {func(l *Loop, q queue) {
			l.onRecord().Update(t.Context(), event.TypedUpdateEvent[*record]{ObjectOld: held("limited"), ObjectNew: held("no such")}, q)
		}, []string{strayWork, "limited"}},
		"held work that is deleted": {func(l *Loop, q queue) {
			l.onRecord().Delete(t.Context(), event.TypedDeleteEvent[*record]{Object: held("movable")}, q)
		}, []string{"movable"}},
		"released work that is over, if it leaves room": {func(l *Loop, q queue) {
			l.limitedPolicies.Store("limited", true)
			l.onRecord().Delete(t.Context(), event.TypedDeleteEvent[*record]{Object: over}, q)
		}, []string{"limited"}},
		"not released work that is over, without ceilings": {func(l *Loop, q queue) {
			l.limitedPolicies.Store("limited", false)
			l.onRecord().Delete(t.Context(), event.TypedDeleteEvent[*record]{Object: over}, q)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := strayLoop(t, prometheus.NewRegistry(), recordsOf(t), movable.DeepCopy(), limited.DeepCopy(), elsewhere.DeepCopy())
			if diff := cmp.Diff(tt.want, requests(t, func(q queue) { tt.add(l, q) })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPassWaitsForMoreByWhatPlanningTakes(t *testing.T) {
	l := &Loop{}
	for took, want := range map[time.Duration]time.Duration{
		0: minGatherTime, time.Millisecond: minGatherTime, 50 * time.Millisecond: time.Second, time.Minute: maxGatherTime,
	} {
		l.planningTime.Store(int64(took))
		if got := l.gatherTime(); got != want {
			t.Errorf("after a pass of %s it waits for %s, want %s", took, got, want)
		}
	}
}

func TestWhatLosesItsLabelIsSweptUp(t *testing.T) {
	unlabelled := waitingRecord("Pod", "p", nil)
	unlabelled.Labels[v1alpha1.StateLabel] = ""
	for name, tt := range map[string]struct {
		tell func(*Loop, queue)
		want bool
	}{
		"a gated pod whose label is changed": {func(l *Loop, q queue) {
			l.onRecord().Update(t.Context(), event.TypedUpdateEvent[*record]{ObjectOld: waitingRecord("Pod", "p", nil), ObjectNew: unlabelled}, q)
		}, true},
		"a held Job that vanishes from the watch": {func(l *Loop, q queue) {
			l.onRecord().Delete(t.Context(), event.TypedDeleteEvent[*record]{Object: waitingRecord("Job", "j", nil)}, q)
		}, true},
		"not one that we have just released": {func(l *Loop, q queue) {
			job := waitingRecord("Job", "j", nil)
			l.inFlight.add("default", releaseID(job), "")
			l.onRecord().Delete(t.Context(), event.TypedDeleteEvent[*record]{Object: job}, q)
		}, false},
	} {
		l := strayLoop(t, prometheus.NewRegistry(), recordsOf(t))
		l.inFlight.beginPass("default")
		requests(t, func(q queue) { tt.tell(l, q) })
		if got := l.Sweeper.isRequested.Load(); got != tt.want {
			t.Errorf("%s: a sweep is requested: %t, want %t", name, got, tt.want)
		}
	}
}

func TestTheLoopIsOneControllerOfAManager(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), metav1.AddMetaToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(&rest.Config{Host: "http://127.0.0.1:1"}, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (apimeta.RESTMapper, error) {
			return apimeta.NewDefaultRESTMapper(nil), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := strayLoop(t, prometheus.NewRegistry(), nil)
	if l.Records, err = newRecords(clientsetfake.NewClientset(), l.Clock); err != nil {
		t.Fatal(err)
	}
	if err := l.SetupWithManager(mgr, make(chan event.TypedGenericEvent[forecast.Source])); err != nil {
		t.Fatal(err)
	}
	if !l.unexplained.isMinor || l.refusals.isMinor {
		t.Error("explanations are tried again as often as releases")
	}
	if err := l.SetupWithManager(mgr, nil); err == nil {
		t.Error("there are two loops that release the same")
	}
}
