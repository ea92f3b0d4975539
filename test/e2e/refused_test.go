package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	// wantsTeam is what an administrator asks of every pod and Job, from one day on.
	wantsTeam = "has(object.metadata.labels) && 'team' in object.metadata.labels"
	// noNotes lets nobody write annotations.
	noNotes = "object.metadata.?annotations.orValue({}) == oldObject.metadata.?annotations.orValue({})"
)

// refuse has the API server refuse the updates of the pods and Jobs of a namespace that
// are not as wanted, and returns how to end that.
func refuse(t *testing.T, ns, wanted string) (allow func()) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "refuse-" + ns}
	rule := func(group, resource string) admissionv1.NamedRuleWithOperations {
		return admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Update},
			Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: []string{resource}},
		}}
	}
	fail := admissionv1.Fail
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		FailurePolicy:    &fail,
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{rule("", "pods"), rule("batch", "jobs")}},
		MatchConditions:  []admissionv1.MatchCondition{{Name: "here", Expression: fmt.Sprintf("request.namespace == %q && !request.userInfo.username.startsWith('system:kube')", ns)}},
		Validations:      []admissionv1.Validation{{Expression: wanted, Message: "the rules of the house\u001b[31m are not kept"}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: meta.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	create(t, cluster, policy, binding)
	allow = func() {
		for _, o := range []client.Object{binding, policy} {
			if err := client.IgnoreNotFound(cluster.Client.Delete(context.WithoutCancel(t.Context()), o)); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(allow)
	probe := pod(ns, "probe", nil)
	probe.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/probe"}}
	create(t, cluster, probe)
	env.Eventually(t, patience, func(ctx context.Context) error {
		err := cluster.Client.Patch(ctx, probe.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"stuck":"x"},"annotations":{"a":"b"}}}`)), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "rules of the house") {
			return fmt.Errorf("it is not refused yet: %w", err)
		}
		return nil
	})
	remove(t, cluster, probe, metav1.DeletePropagationBackground)
	awaitGone(t, cluster, probe)
	return allow
}

// awaitRefusal waits for the Event that says why an object could not be released, and
// returns it.
func awaitRefusal(t *testing.T, o client.Object) corev1.Event {
	t.Helper()
	var found corev1.Event
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		var list corev1.EventList
		if err := cluster.Client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == v1alpha1.EventRefused && e.InvolvedObject.UID == o.GetUID() {
				found = e
				return nil
			}
		}
		return fmt.Errorf("there is no Event %s on %s", v1alpha1.EventRefused, o.GetName())
	})
	return found
}

func TestWhatAPolicyRefusesIsSeenAndGoesOnceItMay(t *testing.T) {
	annotations := ownPolicy(t, "refused")
	annotations[v1alpha1.DeadlineAnnotation] = "40s"
	dirtyThenClean(t, cluster, 20*time.Second)
	ns, other := namespace(t, cluster), namespace(t, cluster)
	bare, whole := pod(ns, "bare", annotations), job(ns, "whole", annotations, 2)
	whole.Annotations[v1alpha1.HoldAnnotation] = v1alpha1.HoldBySuspend
	gated, free := job(ns, "gated", annotations, 2), job(other, "free", annotations, 2)
	create(t, cluster, bare, whole, gated, free)
	awaitGated(t, cluster, ns, 3)
	allow := refuse(t, ns, wantsTeam)
	awaitComplete(t, cluster, other, "free")
	for _, o := range []client.Object{bare, whole} {
		e := awaitRefusal(t, o)
		if e.Type != corev1.EventTypeWarning || !strings.Contains(e.Message, "the rules of the house") || strings.Contains(e.Message, "\x1b") {
			t.Errorf("%s: Event %s %q", o.GetName(), e.Type, e.Message)
		}
	}
	env.Eventually(t, 3*time.Minute, func(ctx context.Context) error {
		overdue, err := controller.Metric(ctx, "gridlatch_overdue_pods", `policy="refused"`)
		if err == nil && overdue != 5 {
			err = fmt.Errorf("%v pods are overdue, want 5", overdue)
		}
		return err
	})
	awaitPolicy(t, "refused", wantCondition(v1alpha1.ConditionReleasesFailing, v1alpha1.ReasonNoneReleased, "the rules of the house"))
	wantPrinted(t, []string{"overdue since", "the rules of the house"}, "explain", "pod", "bare", "-n", ns)
	wantPrinted(t, []string{"overdue since", "the rules of the house"}, "explain", "job", "gated", "-n", ns)
	wantPrinted(t, []string{"3 groups with 5 pods have been overdue since", "the rules of the house"}, "status", "-n", ns)
	allow()
	removed := time.Now()
	env.Eventually(t, 3*time.Minute, func(ctx context.Context) error {
		pods, err := podsOf(ctx, cluster, ns)
		if err == nil {
			err = wantGated(0, 5)(pods)
		}
		return err
	})
	t.Logf("all is released %s after the policy is gone", time.Since(removed).Round(time.Second))
	awaitPolicy(t, "refused", func(*v1alpha1.CarbonPolicy) error {
		overdue, err := controller.Metric(t.Context(), "gridlatch_overdue_pods", `policy="refused"`)
		if err == nil && overdue != 0 {
			err = fmt.Errorf("%v pods are overdue", overdue)
		}
		return err
	})
}

func TestAPolicyThatRefusesOurNotesHoldsNothing(t *testing.T) {
	annotations := ownPolicy(t, "noteless")
	clean := dirtyThenClean(t, cluster, 20*time.Second)
	ns := namespace(t, cluster)
	bare, whole, gated := pod(ns, "bare", annotations), job(ns, "whole", annotations, 2), job(ns, "gated", annotations, 2)
	whole.Annotations[v1alpha1.HoldAnnotation] = v1alpha1.HoldBySuspend
	create(t, cluster, bare, whole, gated)
	awaitGated(t, cluster, ns, 3)
	refuse(t, ns, noNotes)
	awaitScheduled(t, cluster, ns, 5, time.Until(clean)+2*patience)
	awaitHeld(t, "noteless", 0, 0)
	if released, err := controller.Metric(t.Context(), "gridlatch_released_pods_total", `policy="noteless"`); err != nil || released != 5 {
		t.Errorf("%v pods are counted as released, %v, want 5", released, err)
	}
	awaitJob(t, cluster, whole, patience, func(j *batchv1.Job) error {
		if j.Spec.Suspend == nil || *j.Spec.Suspend {
			return fmt.Errorf("it is suspended")
		}
		return nil
	})
	wantPrinted(t, []string{"0 pods are held in 0 groups"}, "status", "-n", ns)
}

func TestWhatMayNotBePatchedKeepsNobodyElsesPodFromBeingFound(t *testing.T) {
	annotations := ownPolicy(t, "swept")
	dirtyThenClean(t, cluster, aWhile)
	ns, other := namespace(t, cluster), namespace(t, cluster)
	if ns > other {
		ns, other = other, ns // which is listed first
	}
	stuck, lost := pod(ns, "stuck", annotations), pod(other, "lost", annotations)
	create(t, cluster, stuck, lost)
	awaitHeld(t, "swept", 2, 2)
	refuse(t, ns, "object.metadata.name != 'probe' && request.userInfo.username != 'system:serviceaccount:gridlatch-system:gridlatch'")
	for _, o := range []*corev1.Pod{stuck, lost} {
		change(t, cluster, o, func(p *corev1.Pod) { delete(p.Labels, v1alpha1.StateLabel) })
	}
	awaitHeldAgain(t, lost)
}

// awaitHeldAgain waits until the label of a pod is back.
func awaitHeldAgain(t *testing.T, p *corev1.Pod) {
	t.Helper()
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		if err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if p.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld {
			return fmt.Errorf("nobody has found pod %s: %v", p.Name, p.Labels)
		}
		return nil
	})
}

func TestReleaseAllGetsAllThatCanBeGotAndNamesTheRest(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	ns := namespace(t, cluster)
	for i := range 20 {
		p := pod(ns, fmt.Sprintf("pod-%02d", i), tolerant())
		if i < 2 {
			p.Labels = map[string]string{"stuck": "yes"}
		}
		create(t, cluster, p)
	}
	create(t, cluster, suspending(ns, "whole"))
	awaitGated(t, cluster, ns, 20)
	refuse(t, ns, "!(has(object.metadata.labels) && 'stuck' in object.metadata.labels)")
	stdout, stderr, err := plugin(t, "release", "--all", "-n", ns)
	if err == nil || !strings.Contains(stdout, "released 21 pods") {
		t.Errorf("%v, %s", err, stdout)
	}
	for _, part := range []string{"2 could not be released", "pod " + ns + "/pod-00: ", "pod " + ns + "/pod-01: ", "the rules of the house"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("it does not say %q: %s", part, stderr)
		}
	}
	awaitPods(t, cluster, ns, wantGated(2, 21))
}

// full are annotations of which somebody's own leave 144 bytes.
func full(annotations map[string]string) map[string]string {
	annotations["example.com/x"] = strings.Repeat("x", 262_000-len("example.com/x"))
	return annotations
}

func TestWorkThatOurNotesDoNotFitOnStartsWithAWarning(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	ns := namespace(t, cluster)
	ofTemplate := job(ns, "template", nil, 1)
	ofTemplate.Spec.Template.Annotations = full(tolerant())
	for _, o := range []client.Object{pod(ns, "bare", full(tolerant())), job(ns, "job", full(tolerant()), 1), ofTemplate} {
		if told := createWarned(t, cluster, o); !strings.Contains(told, "with the notes of Gridlatch, its annotations would be larger than") {
			t.Errorf("%s: warned of %q", o.GetName(), told)
		}
	}
	awaitScheduled(t, cluster, ns, 3, patience)
}

func TestAReleaseThatDoesNotFitDropsItsNotes(t *testing.T) {
	annotations := ownPolicy(t, "crammed")
	clean := dirtyThenClean(t, cluster, 12*time.Second)
	ns := namespace(t, cluster)
	bare, whole := pod(ns, "bare", annotations), suspending(ns, "whole")
	whole.Annotations[v1alpha1.PolicyAnnotation] = "crammed"
	create(t, cluster, bare, whole)
	for _, o := range []client.Object{bare, whole} {
		change(t, cluster, o, func(o client.Object) {
			all := o.GetAnnotations()
			all[v1alpha1.ReasonAnnotation] = ""
			room := 256 << 10
			for key, value := range all {
				room -= len(key) + len(value)
			}
			all["example.com/x"] = strings.Repeat("x", room-len("example.com/x"))
			o.SetAnnotations(all)
		})
	}
	awaitScheduled(t, cluster, ns, 4, time.Until(clean)+2*patience)
	awaitHeld(t, "crammed", 0, 0)
	awaitJob(t, cluster, whole, patience, wantSuspended(false, v1alpha1.StateReleased))
}

func TestGridlatchMayDeleteItsHistoriesAndNothingElse(t *testing.T) {
	self, _ := clientOf(t, env.Namespace, "gridlatch")
	history := history.ConfigMap(forecast.ParseSource("a/b/c"), location, forecast.Origin{}, nil)
	history.Namespace = env.Namespace
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "somebodys"}}
	create(t, cluster, history, other)
	env.Eventually(t, patience, func(ctx context.Context) error {
		err := self.Delete(ctx, other.DeepCopy(), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "gridlatch-histories") {
			return fmt.Errorf("it may delete another's: %w", err)
		}
		return nil
	})
	if err := self.Delete(t.Context(), history); err != nil {
		t.Error(err)
	}
	err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(history), history)
	if !apierrors.IsNotFound(err) {
		t.Errorf("it is there still: %v", err)
	}
}
