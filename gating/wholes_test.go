package gating

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	fakeclient "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/watching"
)

// heldWhole is an object of a kind that we hold by its door.
func heldWhole(t *testing.T, d *door.Door) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(d.Kind)
	o.SetNamespace("n")
	o.SetName("w")
	o.SetUID("u")
	o.SetCreationTimestamp(metav1.NewTime(t0))
	o.SetLabels(map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld})
	o.SetAnnotations(map[string]string{
		v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend, v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.PlannedStartAnnotation: "2026-11-21T20:00:00Z",
		v1alpha1.PolicyAnnotation: "default",
	})
	setField(t, o, d, d.Closed)
	return o
}

func setField(t *testing.T, o *unstructured.Unstructured, d *door.Door, value any) {
	t.Helper()
	if err := unstructured.SetNestedField(o.Object, value, d.Field...); err != nil {
		t.Fatal(err)
	}
}

// TestWorkOfEveryKindIsReleasedByItsDoor runs over the table of kinds.
func TestWorkOfEveryKindIsReleasedByItsDoor(t *testing.T) {
	refusing := func(words ...string) func(string) error {
		return func(patch string) error {
			for _, word := range words {
				if strings.Contains(patch, word) {
					return apierrors.NewForbidden(batchv1.Resource("any"), "w", errors.New("no "+word))
				}
			}
			return nil
		}
	}
	for _, d := range door.All() {
		for name, tt := range map[string]struct {
			change  func(*unstructured.Unstructured) // since the cache has seen the object
			refuse  func(string) error
			fails   bool
			closed  bool
			outcome string
			reason  string
		}{
			"as the cache has it": {reason: "started"},
			"not if somebody else has opened it": {
				change: func(o *unstructured.Unstructured) { unstructured.RemoveNestedField(o.Object, d.Field...) }, reason: hold.ReasonTaken, outcome: v1alpha1.OutcomeTaken,
			},
			"not if somebody has taken our mark off": {
				change: func(o *unstructured.Unstructured) {
					unstructured.RemoveNestedField(o.Object, "metadata", "annotations", v1alpha1.HeldByAnnotation)
				},
				closed: true, reason: hold.ReasonTaken, outcome: v1alpha1.OutcomeTaken,
			},
			"by the minimal patch, where the reason is refused": {refuse: refusing("reason")},
			"not where the API server refuses that, too":        {refuse: refusing("op", "metadata"), fails: true, closed: true},
		} {
			t.Run(d.Kind.Kind+": "+name, func(t *testing.T) {
				stored, cached := heldWhole(t, &d), heldWhole(t, &d)
				if tt.change != nil {
					tt.change(stored)
				}
				if tt.refuse == nil {
					tt.refuse = refusing()
				}
				c := wholeServer(stored, tt.refuse)
				l := loopWith(c)
				g := &group{owner: wholeRecord(t, cached), task: plan.Task{LatestStart: t0.Add(time.Hour)}}
				g.decision = plan.Decision{Decided: t0, Start: t0, Cause: plan.CauseCleanestNow, Expected: 100, ExpectedAtOnce: 100}
				g.setReason()
				err := l.recordRelease(t.Context(), &pass{policy: builtin(), now: t0}, g, false)
				if (err != nil) != tt.fails || g.isRecorded == tt.fails {
					t.Errorf("%v, recorded: %t", err, g.isRecorded)
				}
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
					t.Fatal(err)
				}
				if got := stored.GetAnnotations(); d.IsClosed(stored.Object) != tt.closed || got[v1alpha1.OutcomeAnnotation] != tt.outcome || !strings.HasPrefix(got[v1alpha1.ReasonAnnotation], tt.reason) {
					t.Errorf("closed: %t, %v", d.IsClosed(stored.Object), got)
				}
				if !tt.closed && d.IsSet(stored.Object) {
					t.Errorf("the door is neither open nor closed: %v", stored.Object["spec"])
				}
				if isReleased := stored.GetLabels()[v1alpha1.StateLabel] == v1alpha1.StateReleased; isReleased == tt.fails {
					t.Errorf("released: %t", isReleased)
				}
			})
		}
	}
}

// wholeServer has an object, and refuses the patches for which refuse returns an error.
func wholeServer(o client.Object, refuse func(patch string) error) client.Client {
	return fakeclient.NewClientBuilder().WithObjects(o).WithInterceptorFuncs(interceptor.Funcs{
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
				return apierrors.NewInvalid(schema.GroupKind{}, o.GetName(), nil)
			}
			return err
		},
	}).Build()
}

func wholeRecord(t *testing.T, o *unstructured.Unstructured) *record {
	t.Helper()
	kept, _ := newRecordMaker().transform(o)
	r, ok := kept.(*record)
	if !ok {
		t.Fatalf("kept is a %T", kept)
	}
	return r
}

func TestWhatIsHeldWholeIsAGroupOfThePolicyThatHoldsIt(t *testing.T) {
	for _, d := range door.All() {
		records, err := StaticRecords(heldWhole(t, &d))
		if err != nil {
			t.Fatal(err)
		}
		groups, _, err := records.groups("default", notDone)
		if err != nil || len(groups) != 1 || !groups[0].holdsJobItself() || groups[0].isResumed() || groups[0].heldPods() < 1 || groups[0].stillWaits() != "" {
			t.Errorf("%s: %+v, %v", d.Kind.Kind, groups, err)
		}
		if why := records.CanHold(d.Kind.GroupKind()); why != "" {
			t.Errorf("%s: %s", d.Kind.Kind, why)
		}
		if names := records.policyNamesThat(func(string) bool { return true }); len(names) != 1 || names[0] != "default" {
			t.Errorf("%s: held by %v", d.Kind.Kind, names)
		}
	}
	if why := (&Records{}).CanHold(schema.GroupKind{Kind: "Sloth"}); !strings.Contains(why, "does not know how to hold a Sloth") {
		t.Error(why)
	}
}

func TestAWorkflowIsReleasedInTimeForItsTemplate(t *testing.T) {
	d, promised := door.Of(schema.GroupKind{Group: "argoproj.io", Kind: "Workflow"}), plan.LatestStart(t0.Add(24*time.Hour), 2*time.Hour)
	for name, tt := range map[string]struct {
		stored map[string]any
		latest time.Time
		reason string
	}{
		"without a limit":  {map[string]any{}, promised, ""},
		"with a long one":  {map[string]any{"activeDeadlineSeconds": int64(48 * 3600)}, promised, ""},
		"with a short one": {map[string]any{"activeDeadlineSeconds": int64(5 * 3600)}, plan.LatestStart(t0.Add(5*time.Hour-10*time.Minute), 2*time.Hour), ""},
		"with no time":     {map[string]any{"activeDeadlineSeconds": int64(0)}, plan.LatestStart(t0, 2*time.Hour), ""},
		"with locks":       {map[string]any{"synchronization": map[string]any{"mutexes": []any{}}}, t0, reasonKeepsLocks},
	} {
		t.Run(name, func(t *testing.T) {
			o := heldWhole(t, d)
			o.SetAnnotations(map[string]string{
				v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend, v1alpha1.DeadlineAnnotation: "24h", v1alpha1.DurationAnnotation: "2h",
				v1alpha1.LatestStartAnnotation: promised.Format(time.RFC3339),
			})
			o.Object["status"] = map[string]any{"storedWorkflowTemplateSpec": tt.stored}
			g := &group{owner: wholeRecord(t, o)}
			setTasks(builtin(), []*group{g})
			if !g.task.LatestStart.Equal(tt.latest) {
				t.Errorf("latest start %s, want %s", g.task.LatestStart, tt.latest)
			}
			g.decision = plan.Decision{Decided: t0, Start: t0}
			isNoted := g.notes(g.owner)[v1alpha1.LatestStartAnnotation] != ""
			if isEarlier := g.owner.timeLimit > 0 && tt.latest.Before(promised); isNoted != isEarlier {
				t.Errorf("noted: %t", isNoted)
			}
			if g.setReason(); tt.reason != "" && g.reason != tt.reason {
				t.Error(g.reason)
			}
		})
	}
}

// engines is an API server of kinds that others define.
type engines struct {
	objects     *dynamicfake.FakeDynamicClient
	definitions *metadatafake.FakeMetadataClient
	clientset   *fake.Clientset
	mayPatch    atomic.Bool
}

func newEngines(t *testing.T) *engines {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{}
	for _, d := range door.All() {
		lists[d.GroupVersionResource()] = d.Kind.Kind + "List"
	}
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	e := &engines{
		objects:     dynamicfake.NewSimpleDynamicClientWithCustomListKinds(apiruntime.NewScheme(), lists),
		definitions: metadatafake.NewSimpleMetadataClient(scheme), clientset: fake.NewClientset(),
	}
	e.clientset.PrependReactor("create", "selfsubjectaccessreviews", func(clienttesting.Action) (bool, apiruntime.Object, error) {
		return true, &authorizationv1.SelfSubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: e.mayPatch.Load()}}, nil
	})
	return e
}

// define makes the definition of a kind be, or go.
func (e *engines) define(t *testing.T, d *door.Door, exists bool) {
	t.Helper()
	definition := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"}}
	definition.Name, definition.Labels = d.GroupVersionResource().GroupResource().String(), map[string]string{"pipeline.tekton.dev/release": "v99.0.0"}
	err := e.definitions.Tracker().Delete(watching.DefinitionResource(), "", definition.Name)
	if exists {
		err = e.definitions.Tracker().Create(watching.DefinitionResource(), definition, "")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAKindIsHeldOnlyWhileItCanBeReleased(t *testing.T) {
	e, d := newEngines(t), door.Of(schema.GroupKind{Group: "jobset.x-k8s.io", Kind: "JobSet"})
	if _, err := e.objects.Resource(d.GroupVersionResource()).Namespace("n").Create(t.Context(), heldWhole(t, d), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	start := func() *Records {
		records, err := StaticRecords()
		if err != nil {
			t.Fatal(err)
		}
		records.wholes = nil
		for _, w := range newWholes(e.objects, e.definitions) {
			if w.door.Kind == d.Kind {
				records.wholes = append(records.wholes, w)
				w.AddHandler(records.pieces.handler(records))
			}
		}
		for _, w := range records.wholes {
			go w.run(t.Context(), e.clientset)
		}
		return records
	}
	canHold := func(r *Records) string { return r.CanHold(d.Kind.GroupKind()) }
	noRight := start()
	eventually(t, "the right is known to be missing", func() bool {
		return canHold(noRight) == "Gridlatch has no right to release JobSets: is manifests/components/jobset installed?"
	})
	if noRight.mayHold(d.Kind.GroupKind()) {
		t.Error("it may be held without the right")
	}

	e.mayPatch.Store(true)
	records, changes := start(), make(chan string, 100)
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	source := records.wholes[0].source(handler.TypedFuncs[*record, reconcile.Request]{
		CreateFunc: func(_ context.Context, c event.TypedCreateEvent[*record], _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			changes <- "created " + c.Object.Name
		},
		UpdateFunc: func(_ context.Context, c event.TypedUpdateEvent[*record], _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			changes <- "updated " + c.ObjectNew.Name
		},
		DeleteFunc: func(_ context.Context, c event.TypedDeleteEvent[*record], _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			changes <- "deleted " + c.Object.Name
		},
	})
	if err := source.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the kind is known to be undefined", func() bool { return records.wholes[0].IsAbsent() })
	if why := canHold(records); !strings.Contains(why, "has not read the JobSets of the cluster yet") {
		t.Error(why)
	}
	for range 2 { // the engine comes, goes, and comes again
		e.define(t, d, true)
		eventually(t, "JobSets can be held", func() bool { return canHold(records) == "" })
		if change := <-changes; change != "created w" {
			t.Error(change)
		}
		groups, _, err := records.groups("default", notDone)
		if err != nil || len(groups) != 1 {
			t.Errorf("%v, %v", groups, err)
		}
		e.define(t, d, false)
		if change := <-changes; change != "deleted w" {
			t.Error(change)
		}
		if canHold(records) == "" {
			t.Error("JobSets can be held after their definition has gone")
		}
	}
}

func TestWhatTheEngineWouldStartIsNotHeld(t *testing.T) {
	e, d := newEngines(t), door.Of(schema.GroupKind{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"})
	records, err := StaticRecords()
	if err != nil {
		t.Fatal(err)
	}
	w := records.wholesOf(d.Kind.GroupKind())
	w.Objects = e.objects
	definitions := e.objects.Resource(watching.DefinitionResource())
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"spec": map[string]any{"versions": []any{map[string]any{"name": d.Kind.Version, "schema": map[string]any{"openAPIV3Schema": map[string]any{}}}}},
	}}
	definition.SetName(d.GroupVersionResource().GroupResource().String())
	canHold := func() string {
		w.Defined(t.Context())
		return records.CanHold(d.Kind.GroupKind())
	}
	if why := canHold(); why != "" {
		t.Errorf("although the definition cannot be read: %s", why)
	}
	if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if why := canHold(); why != "the installed version of Spark Operator does not know the field spec.suspend of SparkApplications" {
		t.Error(why)
	}
	if err := definitions.Delete(t.Context(), definition.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if why := canHold(); why != "" {
		t.Errorf("after the definition has gone: %s", why)
	}
}

func TestASweepLeavesOutWhatMayNotBeRead(t *testing.T) {
	e, d := newEngines(t), door.Of(schema.GroupKind{Group: "jobset.x-k8s.io", Kind: "JobSet"})
	e.mayPatch.Store(true)
	e.define(t, d, true)
	e.objects.PrependReactor("list", d.Resource, func(clienttesting.Action) (bool, apiruntime.Object, error) {
		return true, nil, apierrors.NewForbidden(d.GroupVersionResource().GroupResource(), "", errors.New("no list"))
	})
	records := &Records{}
	for _, w := range newWholes(e.objects, e.definitions) {
		if w.door.Kind == d.Kind {
			records.wholes = append(records.wholes, w)
			go w.run(t.Context(), e.clientset)
		}
	}
	eventually(t, "the list is known to be forbidden", func() bool { return records.wholes[0].IsForbidden() })
	if records.mayHold(d.Kind.GroupKind()) {
		t.Error("it is swept although it may not be listed")
	}
}

// FuzzWholeRecord reads what anybody may write into an object of a kind that is held whole.
func FuzzWholeRecord(f *testing.F) {
	for _, d := range door.All() {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"suspend": "yes", "replicatedJobs": []any{1, map[string]any{"replicas": -1.5}}}}}
		o.SetGroupVersionKind(d.Kind)
		data, err := o.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"apiVersion":"jobset.x-k8s.io/v1alpha2","kind":"JobSet","metadata":{"labels":{"gridlatch.dev/state":"held"},"annotations":{"gridlatch.dev/held-by":"suspend","gridlatch.dev/latest-start":"9999-01-01T00:00:00Z"},"ownerReferences":[{"uid":7}]},"spec":{"suspend":true,"replicatedJobs":[{"replicas":1e300,"template":[]}]},"status":{"conditions":7}}`))
	f.Add([]byte(`{"apiVersion":"tekton.dev/v1","kind":"TaskRun","spec":{"status":{"TaskRunPending":true}},"status":[]}`))
	f.Add([]byte(`{"apiVersion":"kubeflow.org/v2beta1","kind":"MPIJob","spec":{"runPolicy":[],"mpiReplicaSpecs":{"a":1,"b":{"replicas":99999999999}}}}`))
	maker := newRecordMaker()
	f.Fuzz(func(t *testing.T, data []byte) {
		var content map[string]any
		if json.Unmarshal(data, &content) != nil {
			return
		}
		kept, err := maker.transform(&unstructured.Unstructured{Object: content})
		r, ok := kept.(*record)
		if err != nil || !ok {
			return // of another kind
		}
		if r.podsToRun < 0 || r.Size() > 64<<10 {
			t.Errorf("%d pods, %d bytes", r.podsToRun, r.Size())
		}
		d := door.Of(r.GroupVersionKind().GroupKind())
		_, _, _ = d.IsSet(content), d.ManagedBy(content), d.CheckTypes(content)
		g := &group{owner: r}
		g.task = builtin().TaskOf(r)
		// beyond this, nothing is held: the creation, and the longest delay of the policy
		if latest := r.CreationTimestamp.Add(365 * 24 * time.Hour); g.task.LatestStart.After(latest) {
			t.Errorf("created %s, latest start %s", r.CreationTimestamp, g.task.LatestStart)
		}
		_, _ = g.heldPods(), g.stillWaits()
		if _, err := hold.ReleaseNote.OwnerPatches(hold.ReleaseNote{}, r, d.Kind.GroupKind()).Full.Data(nil); err != nil {
			t.Error(err)
		}
	})
}
