package e2e

import (
	"context"
	"fmt"
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

func TestAnnotatedJobWaitsForACleanGridAndRuns(t *testing.T) {
	clean := dirtyThenClean(t, cluster, 8*time.Second)
	ns, other := namespace(t, cluster), namespace(t, cluster)
	patient := job(ns, "patient", tolerant(), 2)
	completions := int32(4)
	patient.Spec.Completions = &completions
	create(t, cluster, patient, job(other, "ordinary", nil, 2))

	pods := awaitGated(t, cluster, ns, 2)
	for _, p := range awaitScheduled(t, cluster, other, 2, patience) {
		if len(p.Labels[v1alpha1.StateLabel])+len(p.Annotations[v1alpha1.ReasonAnnotation]) > 0 {
			t.Errorf("the ordinary pod was touched: %v %v", p.Labels, p.Annotations)
		}
	}
	for _, p := range pods {
		if got, want := p.Annotations[v1alpha1.PlannedStartAnnotation], clean.UTC().Format(time.RFC3339); got != want {
			t.Errorf("planned start %s, want %s", got, want)
		}
		awaitEvent(t, cluster, &p, v1alpha1.EventHeld)
	}
	describe, err := cluster.Kubectl(t.Context(), "describe", "pod", "-n", ns, pods[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"gridlatch.dev/planned-start: " + clean.UTC().Format(time.RFC3339), "gridlatch.dev/latest-start: ",
		"120 gCO2eq/kWh in CAISO_NORTH, 72 % less than the 430 at ", "PodScheduled   False", "CarbonHeld",
	} {
		if !strings.Contains(describe, want) {
			t.Errorf("kubectl describe pod does not say %q:\n%s", want, describe)
		}
	}

	awaitComplete(t, cluster, ns, "patient")
	all, err := podsOf(t.Context(), cluster, ns)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 4 {
		t.Errorf("%d pods, want 4", len(all))
	}
	for _, p := range all {
		start := bound(t, p)
		if start.Before(clean) || start.After(clean.Add(patience)) {
			t.Errorf("pod %s was scheduled at %s, planned was %s", p.Name, start, clean)
		}
		if p.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased {
			t.Errorf("pod %s: state %q", p.Name, p.Labels[v1alpha1.StateLabel])
		}
		late := p.CreationTimestamp.After(clean)
		if n, err := events(t.Context(), cluster, &p, v1alpha1.EventHeld); err != nil || late == (n > 0) {
			t.Errorf("pod %s, created after the release: %v, has %d Events CarbonHeld, %v", p.Name, late, n, err)
		}
		if !late {
			awaitEvent(t, cluster, &p, v1alpha1.EventReleased)
		}
	}
}

func TestBarePodWaitsAndIsExplained(t *testing.T) {
	clean := dirtyThenClean(t, cluster, 6*time.Second)
	ns := namespace(t, cluster)
	create(t, cluster, pod(ns, "bare", tolerant()))
	awaitGated(t, cluster, ns, 1)
	p := awaitScheduled(t, cluster, ns, 1, 2*patience)[0]
	if start := bound(t, p); start.Before(clean) {
		t.Errorf("scheduled at %s, before the planned %s", start, clean)
	}
	if reason := p.Annotations[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, "started") || !strings.Contains(reason, "72 % less than the 430 at its creation") {
		t.Errorf("reason %q", reason)
	}
}

func TestWorkStartsAtOnceWhereWaitingGainsNothing(t *testing.T) {
	if err := cluster.Forecast(t.Context(), env.Elements(location, time.Now().Add(-time.Minute), time.Hour, 200, 199.5, 300)...); err != nil {
		t.Fatal(err)
	}
	awaitIntensity(t, cluster, 200)
	ns := namespace(t, cluster)
	create(t, cluster, job(ns, "flat", tolerant(), 1))
	p := awaitScheduled(t, cluster, ns, 1, patience)[0]
	if n, err := events(t.Context(), cluster, &p, v1alpha1.EventHeld); err != nil || n > 0 {
		t.Errorf("%d Events CarbonHeld, %v", n, err)
	}
	done := awaitComplete(t, cluster, ns, "flat")
	if reason := done.Annotations[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, "200 gCO2eq/kWh in CAISO_NORTH") {
		t.Errorf("reason %q", reason)
	}
}

func TestThresholdEndsTheWaitEarly(t *testing.T) {
	start := time.Now().Truncate(time.Second)
	if err := cluster.Forecast(t.Context(), append(
		env.Elements(location, start.Add(-time.Minute), time.Minute+6*time.Second, 430),
		env.Elements(location, start.Add(6*time.Second), 10*time.Second, 190, 100, 400)...)...); err != nil {
		t.Fatal(err)
	}
	awaitIntensity(t, cluster, 430)
	ns := namespace(t, cluster)
	create(t, cluster, pod(ns, "modest", tolerant(v1alpha1.ThresholdAnnotation, "200", v1alpha1.DurationAnnotation, "1s")))
	awaitGated(t, cluster, ns, 1)
	awaitScheduled(t, cluster, ns, 1, patience)
}

func TestRetryOfAStartedJobIsNotHeldAgain(t *testing.T) {
	dirtyThenClean(t, cluster, 4*time.Second)
	ns := namespace(t, cluster)
	failing := job(ns, "failing", tolerant(), 1)
	failing.Spec.Template.Annotations = map[string]string{"kwok.gridlatch.dev/fail": "true", "kwok.gridlatch.dev/run-for": "1s"}
	retries := int32(1)
	failing.Spec.BackoffLimit = &retries
	create(t, cluster, failing)
	awaitGated(t, cluster, ns, 1)
	awaitScheduled(t, cluster, ns, 1, patience)
	// the grid is dirty again, and clean in five minutes: a new Job would wait
	dirtyThenClean(t, cluster, 5*time.Minute)
	env.Eventually(t, 3*patience, func(ctx context.Context) error {
		pods, err := podsOf(ctx, cluster, ns)
		if err == nil && len(pods) < 2 {
			err = fmt.Errorf("%d pods, want a retry", len(pods))
		}
		return err
	})
	awaitScheduled(t, cluster, ns, 2, 5*time.Second)
}

func TestForeignGateStays(t *testing.T) {
	dirtyThenClean(t, cluster, 4*time.Second)
	ns := namespace(t, cluster)
	p := pod(ns, "twice-gated", tolerant())
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/quota"}}
	create(t, cluster, p)
	awaitGated(t, cluster, ns, 1)
	env.Eventually(t, patience, func(ctx context.Context) error {
		if err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if gates := p.Spec.SchedulingGates; len(gates) != 1 || gates[0].Name != "example.com/quota" {
			return fmt.Errorf("gates %v, want the foreign one alone", gates)
		}
		return nil
	})
}

func TestWhatIsNotOursIsLeftAlone(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	manager := "example.com/other"
	node := pod("", "on-its-node", tolerant())
	node.Spec.NodeName = "node-0"
	managed := job("", "managed", tolerant(), 1)
	managed.Spec.ManagedBy = &manager
	for reason, o := range map[string]client.Object{
		"names its node": node, "managed by example.com/other": managed,
	} {
		t.Run(o.GetName(), func(t *testing.T) {
			o.SetNamespace(namespace(t, cluster))
			create(t, cluster, o)
			if got := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.Contains(got, reason) {
				t.Errorf("reason %q, want %q in it", got, reason)
			}
			if o == managed { // which nobody runs here
				awaitEvent(t, cluster, o, v1alpha1.EventNotHeld)
				return
			}
			awaitScheduled(t, cluster, o.GetNamespace(), 1, patience)
		})
	}
	for _, ns := range []string{"kube-system", env.Namespace} {
		t.Run("a pod in "+ns, func(t *testing.T) {
			p := restricted(pod(ns, "tolerant", tolerant()))
			p.Spec.AutomountServiceAccountToken = new(bool)
			if err := cluster.Client.Create(t.Context(), p, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			if hold.HasGate(p.Spec.SchedulingGates) || p.Annotations[v1alpha1.ReasonAnnotation] != "" {
				t.Errorf("it was decided on: %v", p.Annotations)
			}
		})
	}
}

// restricted makes a pod meet the restricted pod security standard.
func restricted(p *corev1.Pod) *corev1.Pod {
	yes := true
	p.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(bool), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return p
}

func TestUnannotatedWorkNeverReachesTheWebhook(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	const tries = 3 // what other tests have left may ask to wait at any time
	decided := 0.0
	for range tries {
		before, err := controller.Metric(t.Context(), "gridlatch_webhook_decisions_total")
		if err != nil {
			t.Fatal(err)
		}
		ns := namespace(t, cluster)
		declined := job(ns, "declined", map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}, 2)
		create(t, cluster, job(ns, "ordinary", nil, 2), declined)
		awaitScheduled(t, cluster, ns, 4, patience)
		after, err := controller.Metric(t.Context(), "gridlatch_webhook_decisions_total")
		if err != nil {
			t.Fatal(err)
		}
		if decided = after - before; decided == 0 {
			return
		}
	}
	t.Errorf("the webhook decided on %v objects", decided)
}

func TestDryRunHasNoSideEffects(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	p := pod(ns, "dry", tolerant())
	if err := cluster.Client.Create(t.Context(), p, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if !hold.HasGate(p.Spec.SchedulingGates) || p.Annotations[v1alpha1.ReasonAnnotation] == "" {
		t.Errorf("a dry run should show the gate and the reason: %v", p.Annotations)
	}
	if pods, err := podsOf(t.Context(), cluster, ns); err != nil || len(pods) > 0 {
		t.Errorf("%d pods, %v", len(pods), err)
	}
}

func TestCopyOfAHeldOrStartedObjectIsDecidedOnAnew(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	create(t, cluster, job(ns, "first", tolerant(), 1))
	awaitGated(t, cluster, ns, 1)
	var first batchv1.Job
	if err := cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "first"}, &first); err != nil {
		t.Fatal(err)
	}
	second := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace(t, cluster), Name: "second", Annotations: first.Annotations,
		Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
	}, Spec: batchv1.JobSpec{Template: first.Spec.Template}}
	second.Annotations[v1alpha1.LatestStartAnnotation] = "2020-01-01T00:00:00Z"
	template := &second.Spec.Template
	template.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}
	template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}
	create(t, cluster, second)
	awaitGated(t, cluster, second.Namespace, 1)
	if hold.HasGate(second.Spec.Template.Spec.SchedulingGates) {
		t.Error("the template keeps a gate that nobody would take off its later pods")
	}
}
