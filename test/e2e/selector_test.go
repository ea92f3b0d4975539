package e2e

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// onClean has pods run on nodes for work that may wait only.
func onClean(spec *corev1.PodSpec) { onStatus(spec, v1alpha1.LowIntensity) }

// onStatus has pods run on nodes with a status only.
func onStatus(spec *corev1.PodSpec, status string) {
	spec.NodeSelector = map[string]string{v1alpha1.CarbonStatusKey: status}
}

// affine has pods require one of some terms, each with a status.
func affine(spec *corev1.PodSpec, statuses ...string) {
	var terms []corev1.NodeSelectorTerm
	for _, status := range statuses {
		terms = append(terms, corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: v1alpha1.CarbonStatusKey, Operator: corev1.NodeSelectorOpIn, Values: []string{status}},
		}})
	}
	spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
	}}
}

// with changes the spec of the pods of an object.
func with[T client.Object](o T, changes ...func(*corev1.PodSpec)) T {
	spec := &corev1.PodSpec{}
	switch o := client.Object(o).(type) {
	case *corev1.Pod:
		spec = &o.Spec
	case *batchv1.Job:
		spec = &o.Spec.Template.Spec
	case *batchv1.CronJob:
		spec = &o.Spec.JobTemplate.Spec.Template.Spec
	case *appsv1.Deployment:
		spec = &o.Spec.Template.Spec
	}
	for _, change := range changes {
		change(spec)
	}
	return o
}

// TestOnlyWhatSelectsCleanNodesComesToTheWebhook asks as a tenant, whom the admission policies bind.
func TestOnlyWhatSelectsCleanNodesComesToTheWebhook(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	awaitPolicies(t)
	ns := namespace(t, cluster)
	audited := auditedNamespace(t, ns+"-audited", v1alpha1.AuditAsking)
	c, _ := tenant(t, ns, audited)
	both := func(spec *corev1.PodSpec) { affine(spec, v1alpha1.LowIntensity, v1alpha1.LowIntensity) }
	wayOut := func(spec *corev1.PodSpec) { affine(spec, v1alpha1.LowIntensity, "high-intensity") }
	dirty := func(spec *corev1.PodSpec) { onStatus(spec, "high-intensity") }
	tolerating := func(spec *corev1.PodSpec) {
		spec.Tolerations = []corev1.Toleration{{Key: v1alpha1.CarbonStatusKey, Operator: corev1.TolerationOpExists}, {Operator: corev1.TolerationOpExists}}
	}
	owned := func(apiVersion, kind string) *corev1.Pod {
		p := pod(ns, "owned", tolerant(v1alpha1.DelayTolerantAnnotation, ""))
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: "o", UID: "o", Controller: ptr(true)}}
		return p
	}
	refusing := job(ns, "refusing", nil, 1)
	refusing.Spec.Template.Labels = wish("false")
	short := tolerant(v1alpha1.DelayTolerantAnnotation, "") // no wish
	none, held, auditedState := "", v1alpha1.StateHeld, v1alpha1.StateAudited
	for name, tt := range map[string]struct {
		o    client.Object
		want string // the state; without one, the webhook is not asked
	}{
		"a pod":                        {with(pod(ns, "x", short), onClean), held},
		"a pod by its affinity":        {with(pod(ns, "x", short), both), held},
		"a Job":                        {with(job(ns, "x", short, 1), onClean), held},
		"a Job by its affinity":        {with(job(ns, "x", short, 1), both), held},
		"a pod of another owner":       {with(owned("example.com/v1", "Workflow"), onClean), held},
		"a pod of another's Job":       {with(owned("batch.volcano.sh/v1alpha1", "Job"), onClean), held},
		"an audited pod":               {with(pod(audited, "x", short), onClean), auditedState},
		"an audited Job":               {with(job(audited, "x", short, 1), both), auditedState},
		"an ordinary pod":              {pod(ns, "x", short), none},
		"a pod with tolerations":       {with(pod(ns, "x", short), tolerating), none},
		"a pod for dirty nodes":        {with(pod(ns, "x", short), dirty), none},
		"a pod with a way out":         {with(pod(ns, "x", short), wayOut), none},
		"a pod that says no":           {with(pod(ns, "x", wish("false")), onClean), none},
		"a pod of a Job":               {with(owned("batch/v1", "Job"), onClean), none},
		"a pod of a DaemonSet":         {with(owned("apps/v1", "DaemonSet"), onClean), none},
		"a Job for dirty nodes":        {with(job(ns, "x", short, 1), dirty), none},
		"a Job that says no":           {with(job(ns, "x", wish("false"), 1), onClean), none},
		"a Job whose template says no": {with(refusing, onClean), none},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := controller.Metric(t.Context(), "gridlatch_webhook_decisions_total")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Create(t.Context(), tt.o, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			after, err := controller.Metric(t.Context(), "gridlatch_webhook_decisions_total")
			if err != nil {
				t.Fatal(err)
			}
			if state := tt.o.GetLabels()[v1alpha1.StateLabel]; state != tt.want || (after > before) != (tt.want != none) {
				t.Errorf("state %q, want %q; the webhook was asked %v times; annotations %v", state, tt.want, after-before, tt.o.GetAnnotations())
			}
		})
	}
}

// TestWorkThatSelectsCleanNodesIsHeldUntilItsWishIsTakenBack has the wish taken back in words, because the node selector
// of a pod that was created cannot be changed.
func TestWorkThatSelectsCleanNodesIsHeldUntilItsWishIsTakenBack(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	const declined = `{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"false"}}}`
	short := tolerant(v1alpha1.DelayTolerantAnnotation, "") // no wish
	for name, tt := range map[string]struct {
		o    client.Object
		pods int
	}{
		"a pod":        {with(pod("", "x", short), onClean), 1},
		"a Job":        {with(job("", "x", short, 2), onClean), 2},
		"a Deployment": {with(deployment("", short, nil, 2), onClean), 2},
	} {
		t.Run(name, func(t *testing.T) {
			ns := namespace(t, cluster)
			tt.o.SetNamespace(ns)
			create(t, cluster, tt.o)
			pods := awaitGated(t, cluster, ns, tt.pods)
			if _, isDeployment := tt.o.(*appsv1.Deployment); isDeployment {
				for i := range pods {
					edit(t, &pods[i], declined)
				}
			} else {
				edit(t, tt.o, declined)
			}
			awaitPods(t, cluster, ns, func(pods []corev1.Pod) error {
				for i := range pods {
					if hold.HasGate(pods[i].Spec.SchedulingGates) {
						return fmt.Errorf("pod %s is gated", pods[i].Name)
					}
					if diff := cmp.Diff(map[string]string{v1alpha1.CarbonStatusKey: v1alpha1.LowIntensity}, pods[i].Spec.NodeSelector); diff != "" {
						t.Fatal(diff)
					}
				}
				return nil
			})
		})
	}
}
