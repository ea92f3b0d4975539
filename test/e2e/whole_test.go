package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestWorkOfEveryEngineIsHeldWhole runs the controllers of all engines, on the examples of docs/engines.md. Each step
// is for all kinds at once. Gridlatch is there first, and the engines come while it runs. Of Spark, the program
// that submits a driver is a stand-in, and nothing runs in any pod.
func TestWorkOfEveryEngineIsHeldWhole(t *testing.T) {
	t.Parallel()
	s := &wholeSite{c: env.Start(t, env.Nodes(2))}
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.c.Install(t.Context(), port, engineComponents()...); err != nil {
		t.Fatal(err)
	}
	giveBack := s.takeRight(t, "gridlatch-spark")
	s.g = s.c.Controller(t, port)
	s.startEngines(t)
	if err := s.c.AwaitWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.twoCleanTimes(t, 2*aWhile)
	awaitIntensity(t, s.c, 430)

	s.each(t, "is prepared", func(t *testing.T, w *wholeWork) { w.prepare(t) })
	s.each(t, "is not held without the means", notHeldWithoutTheMeans)
	giveBack()
	s.each(t, "is held once the means are there", awaitMeans)
	s.each(t, "is held and explained", isHeldAndExplained)
	s.each(t, "is not held by mistake", notHeldByMistake)
	s.each(t, "is audited and not held", auditedAndNotHeld)
	s.awaitHeldGroups(t, 4*len(wholeKinds())+1) // work, gone, left and hand, and a Workflow that is bounded
	s.each(t, "is deleted while it is held", deletedWhileHeld)
	s.awaitHeldGroups(t, 3*len(wholeKinds())+1)
	s.each(t, "is released by hand", releasedByHand)

	s.each(t, "is released in time for the limit of its template", releasedForItsTemplate)

	if err := s.g.Kill(); err != nil {
		t.Fatal(err)
	}
	clean := s.twoCleanTimes(t, 20*time.Second)
	next := s.c.Controller(t, port)
	s.each(t, "is released once, by the next controller", func(t *testing.T, w *wholeWork) { releasedOnce(t, w, clean) })
	s.each(t, "has late members that never wait", lateMembersNeverWait)

	expectNoErrors(t, s.g.Log(), next.Log())
	if _, err := s.c.Kubectl(t.Context(), "delete", "mutatingwebhookconfiguration", "gridlatch"); err != nil {
		t.Fatal(err)
	}
	releaseAll(t, s.c)
	s.each(t, "is released when Gridlatch leaves", releasedAtTheEnd)
	s.awaitNoneHeld(t)
}

// takeRight takes a binding of a ClusterRole away, and returns what gives the binding back.
func (s *wholeSite) takeRight(t *testing.T, name string) (giveBack func()) {
	t.Helper()
	binding := &rbacv1.ClusterRoleBinding{}
	if err := s.c.Client.Get(t.Context(), client.ObjectKey{Name: name}, binding); err != nil {
		t.Fatal(err)
	}
	if err := s.c.Client.Delete(t.Context(), binding.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	return func() {
		binding.ResourceVersion, binding.UID = "", ""
		create(t, s.c, binding)
	}
}

// notHeldWithoutTheMeans creates work of kinds that cannot be released.
func notHeldWithoutTheMeans(t *testing.T, w *wholeWork) {
	_, others := w.namespaces()
	why := map[string]string{
		"SparkApplication": "Gridlatch has no right to release SparkApplications: is manifests/components/spark installed?",
		"TaskRun":          "the version of Tekton is not known",
	}[w.door.Kind.Kind]
	if why == "" {
		return // nothing is missing
	}
	env.Eventually(t, time.Minute, func(ctx context.Context) error { // until the kind is known
		o := w.named(t, others, "early", muchLater)
		if err := w.c.Client.Create(ctx, o, client.DryRunAll); err != nil {
			return err
		}
		if got := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.Contains(got, why) {
			return fmt.Errorf("it is told %q, want %q", got, why)
		}
		return nil
	})
	w.expectNotHeld(t, w.named(t, others, "early", muchLater), why, client.DryRunAll)
	if w.door.ReleaseLabel != "" { // the sources of Tekton do not say their version
		patch := client.RawPatch(types.MergePatchType, []byte(patchedLabel(w.door.ReleaseLabel, "v1.15.0")))
		if err := w.c.Client.Patch(t.Context(), definitionOf(w.door), patch); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitMeans waits until Gridlatch holds the kind. Its definition came after Gridlatch had started.
func awaitMeans(t *testing.T, w *wholeWork) {
	_, others := w.namespaces()
	env.Eventually(t, 90*time.Second, func(ctx context.Context) error {
		o := w.named(t, others, "probe", muchLater)
		if err := w.c.Client.Create(ctx, o, client.DryRunAll); err != nil {
			return err
		}
		return w.checkDoor(o, true, v1alpha1.StateHeld)
	})
}

// isHeldAndExplained creates work that is held, and waits until its engine has seen the work.
func isHeldAndExplained(t *testing.T, w *wholeWork) {
	ns, others := w.namespaces()
	work := w.named(t, ns, "work", soonEnough, w.members)
	create(t, w.c, work, w.named(t, others, "gone", muchLater), w.named(t, others, "left", muchLater), w.named(t, others, "hand", muchLater))
	if err := w.checkDoor(work, true, v1alpha1.StateHeld); err != nil {
		t.Fatal(err)
	}
	notes := work.GetAnnotations()
	if notes[v1alpha1.HeldByAnnotation] != v1alpha1.HoldBySuspend || notes[v1alpha1.PlannedStartAnnotation] == "" || notes[v1alpha1.LatestStartAnnotation] == "" || !strings.HasPrefix(notes[v1alpha1.ReasonAnnotation], "waits until") {
		t.Errorf("it does not say how long it waits, and why: %v", notes)
	}
	awaitEvent(t, w.c, work, v1alpha1.EventHeld)
	text := w.plugin(t, "explain", ns, "work")
	for _, want := range []string{strings.ToLower(w.door.Kind.Kind) + "/work in namespace " + ns + " waits until", "120 gCO2eq/kWh in CAISO_NORTH, 72 % less than the 430", "planned", "█ run"} {
		if !strings.Contains(text, want) {
			t.Errorf("it is not explained with %q:\n%s", want, text)
		}
	}
	for _, name := range []string{"gone", "left", "hand"} {
		o, err := w.read(t.Context(), others, name)
		if err != nil {
			t.Fatal(err)
		}
		awaitSeen(t, w.c, o, w.heldReason, w.heldAt...)
	}
	awaitSeen(t, w.c, work, w.heldReason, w.heldAt...)
	expectNoPods(t, w.c, ns)
	expectNoPods(t, w.c, others)
}

// notHeldByMistake creates work that asks to wait and must not be held.
func notHeldByMistake(t *testing.T, w *wholeWork) {
	_, others := w.namespaces()
	theirs := w.named(t, others, "theirs", muchLater)
	if err := unstructured.SetNestedField(theirs.Object, w.door.Closed, w.door.Field...); err != nil {
		t.Fatal(err)
	}
	w.expectNotHeld(t, theirs, "was closed by its user, who must also open it")
	if w.door.Manager != nil {
		managed := w.named(t, others, "managed", muchLater)
		if err := unstructured.SetNestedField(managed.Object, "kueue.x-k8s.io/multikueue", w.door.Manager...); err != nil {
			t.Fatal(err)
		}
		w.expectNotHeld(t, managed, "it is managed by kueue.x-k8s.io/multikueue")
	}
	switch w.door.Kind.Kind {
	case "RayJob":
		w.expectNotHeld(t, w.named(t, others, "keeps", muchLater, `spec: {shutdownAfterJobFinishes: false}`), "KubeRay suspends only a RayJob with spec.shutdownAfterJobFinishes: true")
	case "Workflow":
		w.expectNotHeld(t, w.named(t, others, "locks", muchLater, `spec: {synchronization: {mutexes: [{name: m}]}}`), "it would keep the locks of its spec.synchronization")
		w.expectNotHeld(t, w.named(t, others, "hurried", muchLater, `spec: {activeDeadlineSeconds: 1}`), "its spec.activeDeadlineSeconds of 1 s leaves it no time to wait")
		bounded := w.named(t, others, "bounded", muchLater, `spec: {activeDeadlineSeconds: 3600}`)
		create(t, w.c, bounded)
		if err := w.checkDoor(bounded, true, v1alpha1.StateHeld); err != nil {
			t.Error(err)
		}
		latest, err := time.Parse(time.RFC3339, bounded.GetAnnotations()[v1alpha1.LatestStartAnnotation])
		if limit := bounded.GetCreationTimestamp().Add(time.Hour); err != nil || latest.After(limit) {
			t.Errorf("its latest start is %s, want less than its limit, %s: %v", latest, limit, err)
		}
	}
}

// deletedWhileHeld deletes work that is held.
func deletedWhileHeld(t *testing.T, w *wholeWork) {
	_, others := w.namespaces()
	remove(t, w.c, w.named(t, others, "gone", muchLater), metav1.DeletePropagationForeground)
	w.awaitNothingOf(t, others, "gone")
}

// releasedByHand releases work before its time.
func releasedByHand(t *testing.T, w *wholeWork) {
	_, others := w.namespaces()
	w.plugin(t, "release", others, "hand")
	o := w.awaitDoor(t, others, "hand", false, v1alpha1.StateReleased)
	if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(reason, "released by hand at ") {
		t.Errorf("it was released because %q", reason)
	}
}

// releasedForItsTemplate holds a Workflow whose template limits its time, which Argo tells after the Workflow was held.
func releasedForItsTemplate(t *testing.T, w *wholeWork) {
	if w.door.Limit == nil {
		return
	}
	_, others := w.namespaces()
	template := w.named(t, others, "brief", muchLater, `spec: {activeDeadlineSeconds: 30}`)
	template.SetKind("WorkflowTemplate")
	template.SetAnnotations(nil)
	brief := w.named(t, others, "brief", muchLater)
	brief.Object["spec"] = map[string]any{"workflowTemplateRef": map[string]any{"name": "brief"}}
	create(t, w.c, template, brief)
	if err := w.checkDoor(brief, true, v1alpha1.StateHeld); err != nil {
		t.Fatal(err)
	}
	w.awaitDoor(t, others, "brief", false, v1alpha1.StateReleased)
}

// releasedOnce waits until the work is released at its planned start, and its engine goes on. What waits for
// longer is still held.
func releasedOnce(t *testing.T, w *wholeWork, clean time.Time) {
	ns, others := w.namespaces()
	work := w.awaitDoor(t, ns, "work", false, v1alpha1.StateReleased)
	if now := time.Now(); now.Before(clean) {
		t.Errorf("it was released before %s", clean)
	}
	if reason := work.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(reason, "started ") {
		t.Errorf("it was released because %q", reason)
	}
	w.awaitGoesOn(t, ns)
	awaitEvent(t, w.c, work, v1alpha1.EventReleased)
	awaitEvent(t, w.c, work, v1alpha1.EventHeld)
	for _, name := range []string{"left", "theirs"} { // by Gridlatch, and by its user
		o, err := w.read(t.Context(), others, name)
		if err != nil {
			t.Fatal(err)
		}
		if !w.door.IsClosed(o.Object) {
			t.Errorf("%s was released, too: %v", name, o.GetAnnotations())
		}
	}
}

// lateMembersNeverWait wants all that the engine has made to have started at once, though it asks to wait.
func lateMembersNeverWait(t *testing.T, w *wholeWork) {
	ns, _ := w.namespaces()
	if w.late != nil {
		w.late(t, w.wholeSite, ns)
	}
	w.expectNoneWaits(t, ns)
	work, err := w.read(t.Context(), ns, "work")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.checkDoor(work, false, v1alpha1.StateReleased); err != nil {
		t.Error(err)
	}
	if n, err := events(t.Context(), w.c, work, v1alpha1.EventReleased); err != nil || n != 1 {
		t.Errorf("%d Events of its release, want 1: %v", n, err)
	}
}

// releasedAtTheEnd wants all that Gridlatch held to have started, and what others hold to be as it was.
func releasedAtTheEnd(t *testing.T, w *wholeWork) {
	_, others := w.namespaces()
	left := w.awaitDoor(t, others, "left", false, v1alpha1.StateReleased)
	if reason := left.GetAnnotations()[v1alpha1.ReasonAnnotation]; reason != "released by hand: gridlatch release --all" {
		t.Errorf("it was released because %q", reason)
	}
	theirs, err := w.read(t.Context(), others, "theirs")
	if err != nil {
		t.Fatal(err)
	}
	if !w.door.IsClosed(theirs.Object) {
		t.Error("what its user had suspended was released, too")
	}
}
