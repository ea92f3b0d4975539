package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

const wouldWait = "audit: would have waited until "

// auditedNamespace makes a namespace with the label by which its work is audited. It does not wait until
// anybody knows of the namespace.
func auditedNamespace(t *testing.T, name, label string) string {
	t.Helper()
	create(t, cluster, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.AuditLabel: label}}})
	return name
}

// whole is a Job that is held by its suspend.
func whole(ns, name string, annotations map[string]string) *batchv1.Job {
	j := job(ns, name, annotations, 1)
	j.Annotations[v1alpha1.HoldAnnotation] = v1alpha1.HoldBySuspend
	return j
}

// templated is a Job whose pod template asks to wait, so that its pods come to the webhook, too.
func templated(ns, name string, annotations map[string]string) *batchv1.Job {
	j := job(ns, name, nil, 2)
	j.Spec.Template.Annotations = maps.Clone(annotations)
	return j
}

// expectAudited expects objects that were not held and whose spec nobody has changed, and that say what
// would have happened.
func expectAudited(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]
		planned, err := time.Parse(time.RFC3339, o.GetAnnotations()[v1alpha1.PlannedStartAnnotation])
		if o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateAudited || !strings.HasPrefix(reason, wouldWait) || err != nil || !planned.After(time.Now()) {
			t.Errorf("%T %s: labels %v, annotations %v", o, o.GetName(), o.GetLabels(), o.GetAnnotations())
		}
		switch o := o.(type) {
		case *corev1.Pod:
			if hold.HasGate(o.Spec.SchedulingGates) || o.Spec.Affinity != nil {
				t.Errorf("pod %s: gates %v, affinity %v", o.Name, o.Spec.SchedulingGates, o.Spec.Affinity)
			}
		case *batchv1.Job:
			if isSuspended(*o) || o.Spec.Template.Labels[v1alpha1.StateLabel] != "" || o.Spec.Template.Annotations[v1alpha1.LatestStartAnnotation] != "" {
				t.Errorf("Job %s: suspended %v, template %v", o.Name, isSuspended(*o), o.Spec.Template.ObjectMeta)
			}
		}
	}
}

// setMode changes the mode of a policy, and waits until the webhook knows.
func setMode(t *testing.T, name string, mode v1alpha1.Mode) {
	t.Helper()
	p := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	change(t, cluster, p, func(p *v1alpha1.CarbonPolicy) { p.Spec.Mode = mode })
	env.Eventually(t, patience, func(ctx context.Context) error {
		probe := pod("default", "probe", tolerant(v1alpha1.PolicyAnnotation, name))
		if err := cluster.Client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if isAudited := probe.Labels[v1alpha1.StateLabel] == v1alpha1.StateAudited; isAudited != (mode == v1alpha1.ModeAudit) {
			return fmt.Errorf("mode %s: state %q", mode, probe.Labels[v1alpha1.StateLabel])
		}
		return nil
	})
}

func TestAPolicyThatAuditsHoldsNothing(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	annotations := ownPolicy(t, "auditing")
	setMode(t, "auditing", v1alpha1.ModeAudit)
	ns := namespace(t, cluster)
	bare, gated := pod(ns, "bare", annotations), templated(ns, "templated", annotations)
	suspended := whole(ns, "whole", annotations)
	create(t, cluster, bare, suspended, gated)
	expectAudited(t, bare, suspended, gated)
	for _, p := range awaitScheduled(t, cluster, ns, 4, patience) {
		if p.Labels["job-name"] != suspended.Name && p.Labels[v1alpha1.StateLabel] != v1alpha1.StateAudited {
			t.Errorf("pod %s: labels %v", p.Name, p.Labels)
		}
		if took := bound(t, p).Sub(p.CreationTimestamp.Time); took > 30*time.Second {
			t.Errorf("pod %s was scheduled %s after its creation", p.Name, took)
		}
	}
	awaitEvent(t, cluster, bare, v1alpha1.EventAudited)
	awaitPolicy(t, "auditing", func(p *v1alpha1.CarbonPolicy) error {
		if p.Status.Audited == nil || p.Status.Audited.Groups < 1 || p.Status.Held.Groups != 0 {
			return fmt.Errorf("audited %+v, held %+v", p.Status.Audited, p.Status.Held)
		}
		return nil
	})
	bad := pod(ns, "bad", tolerant(v1alpha1.PolicyAnnotation, "auditing", v1alpha1.ThresholdAnnotation, "low"))
	if told := createWarned(t, cluster, bad); !strings.Contains(told, "the work is audited, and would be refused otherwise: metadata.annotations[gridlatch.dev/threshold]") {
		t.Errorf("told %q", told)
	}
}

func TestTheLabelOfANamespaceAuditsItsWork(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	asking := auditedNamespace(t, "audit-asking", v1alpha1.AuditAsking)
	first := pod(asking, "first", tolerant()) // nobody has seen the namespace yet
	env.Eventually(t, patience, func(ctx context.Context) error { return cluster.Client.Create(ctx, first) })
	ordinary := job(asking, "ordinary", nil, 1)
	create(t, cluster, ordinary)
	expectAudited(t, first)
	if state := ordinary.Labels[v1alpha1.StateLabel]; state != "" {
		t.Errorf("work that does not ask has the state %q", state)
	}
	awaitScheduled(t, cluster, asking, 2, patience)

	all := auditedNamespace(t, "audit-all", v1alpha1.AuditAll)
	env.Eventually(t, patience, func(ctx context.Context) error {
		return cluster.Client.Get(ctx, client.ObjectKey{Namespace: all, Name: "default"}, &corev1.ServiceAccount{})
	})
	once := pod(all, "once", nil)
	once.Spec.RestartPolicy = corev1.RestartPolicyNever
	plain, asks, declines := job(all, "plain", nil, 2), job(all, "asks", tolerant(), 1), job(all, "declines", wish("false"), 1)
	create(t, cluster, once, plain, asks, declines, deployment(all, nil, nil, 2), pod(all, "serves", nil))
	expectAudited(t, asks)
	for o, want := range map[client.Object]string{once: v1alpha1.StateAudited, plain: v1alpha1.StateAudited, declines: ""} {
		if got := o.GetLabels()[v1alpha1.StateLabel]; got != want || want != "" && o.GetAnnotations()[v1alpha1.LatestStartAnnotation] == "" {
			t.Errorf("%s has the state %q, want %q; %v", o.GetName(), got, want, o.GetAnnotations())
		}
	}
	for _, p := range awaitScheduled(t, cluster, all, 8, patience) {
		if got := p.Labels[v1alpha1.StateLabel]; (got != "") != (p.Name == once.Name) { // a Job speaks for its pods
			t.Errorf("pod %s has the state %q; %v", p.Name, got, p.Annotations)
		}
	}
}

func TestAWrongAuditLabelIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		labels, annotations map[string]string
		want                string
	}{
		"a value that there is not": {map[string]string{v1alpha1.AuditLabel: "yes"}, nil, `metadata.labels[gridlatch.dev/audit]: "yes": want "true"`},
		"an annotation":             {nil, map[string]string{v1alpha1.AuditLabel: "true"}, "write it as a label"},
		"all":                       {map[string]string{v1alpha1.AuditLabel: "all"}, nil, ""},
		"true":                      {map[string]string{v1alpha1.AuditLabel: "true"}, nil, ""},
		"false":                     {map[string]string{v1alpha1.AuditLabel: "false"}, nil, ""},
		"nothing":                   {nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "audit-wrong", Labels: tt.labels, Annotations: tt.annotations}}
			env.Eventually(t, patience, func(ctx context.Context) error { // policies are read every second
				err := cluster.Client.Create(ctx, ns.DeepCopy(), client.DryRunAll)
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					return fmt.Errorf("got %w, want %q", err, tt.want)
				}
				return nil
			})
		})
	}
	stray := job(namespace(t, cluster), "stray", map[string]string{v1alpha1.AuditLabel: "true"}, 1)
	env.Eventually(t, patience, func(context.Context) error {
		const want = "gridlatch.dev/audit has no effect on a Job: write it on the namespace, as a label"
		if told := createWarned(t, cluster, stray.DeepCopy(), client.DryRunAll); !strings.Contains(told, want) {
			return fmt.Errorf("told %q, want %q", told, want)
		}
		return nil
	})
}

func TestAChangeOfTheModeReleasesWhatIsHeldAndHoldsOnlyNewWork(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	annotations := ownPolicy(t, "switched")
	ns := namespace(t, cluster)
	held := whole(ns, "held-whole", annotations)
	create(t, cluster, templated(ns, "held", annotations), held)
	awaitHeld(t, "switched", 2, 3)
	setMode(t, "switched", v1alpha1.ModeAudit)
	awaitScheduled(t, cluster, ns, 3, patience)
	if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(held), held); err != nil {
		t.Fatal(err)
	}
	if reason := held.Annotations[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, "audit mode holds no work, at 430 gCO2eq/kWh") || held.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased {
		t.Errorf("reason %q, labels %v", reason, held.Labels)
	}
	retried := failing(templated(ns, "retried", annotations))
	create(t, cluster, retried)
	expectAudited(t, retried)

	setMode(t, "switched", v1alpha1.ModeEnforce)
	env.Eventually(t, patience, func(ctx context.Context) error { // whose pods have failed since
		pods, err := podsOf(ctx, cluster, ns)
		if err != nil {
			return err
		}
		later := 0
		for _, p := range pods {
			if hold.HasGate(p.Spec.SchedulingGates) {
				t.Fatalf("pod %s of an audited Job is held: %v", p.Name, p.Annotations)
			}
			if p.Labels["job-name"] == retried.Name {
				later++
			}
		}
		if later < 3 {
			return fmt.Errorf("%d pods of the Job that fails, want more", later)
		}
		return nil
	})
	fresh := namespace(t, cluster)
	create(t, cluster, pod(fresh, "new", annotations))
	awaitGated(t, cluster, fresh, 1)

	change(t, cluster, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fresh}}, func(ns *corev1.Namespace) {
		ns.Labels[v1alpha1.AuditLabel] = v1alpha1.AuditAsking
	})
	for _, p := range awaitScheduled(t, cluster, fresh, 1, patience) {
		if p.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased {
			t.Errorf("labels %v, annotations %v", p.Labels, p.Annotations)
		}
	}
}

// auditedAndNotHeld creates work in namespaces that are audited, with the wish to wait and, where all work is
// audited, without. Nothing stays: the engine would start the work.
func auditedAndNotHeld(t *testing.T, w *wholeWork) {
	for _, label := range []string{v1alpha1.AuditAsking, v1alpha1.AuditAll} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "audit-", Labels: map[string]string{v1alpha1.AuditLabel: label}}}
		create(t, w.c, ns)
		o := w.named(t, ns.Name, "audited", muchLater)
		before := o.DeepCopy()
		if label == v1alpha1.AuditAll {
			o.SetAnnotations(nil)
		}
		env.Eventually(t, patience, func(ctx context.Context) error {
			o := o.DeepCopy()
			if err := w.c.Client.Create(ctx, o, client.DryRunAll); err != nil {
				return err
			}
			if w.door.IsClosed(o.Object) != w.door.IsClosed(before.Object) || o.GetAnnotations()[v1alpha1.HeldByAnnotation] != "" {
				t.Fatalf("the door is closed: %v", o.Object)
			}
			if o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateAudited || o.GetAnnotations()[v1alpha1.LatestStartAnnotation] == "" {
				return fmt.Errorf("labels %v, annotations %v", o.GetLabels(), o.GetAnnotations())
			}
			return nil
		})
	}
}
