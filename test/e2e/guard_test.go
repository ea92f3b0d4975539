package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	merge     = types.MergePatchType
	strategic = types.StrategicMergePatchType
	jsonPatch = types.JSONPatchType
)

// TestGridlatchIsConfinedToWhatItHasToWrite tries, with its own service account and
// where the control plane runs, what somebody would who has taken it over.
func TestGridlatchIsConfinedToWhatItHasToWrite(t *testing.T) {
	const ns = "kube-system"
	awaitPolicies(t)
	self, _ := clientOf(t, env.Namespace, "gridlatch")
	ordinary := pod(ns, "guard-ordinary", map[string]string{"theirs": "x"})
	ordinary.Labels = map[string]string{"theirs": "x"}
	gated := pod(ns, "guard-gated", nil)
	gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/other"}, {Name: v1alpha1.Gate}}
	weight := func(n int32) corev1.PreferredSchedulingTerm {
		return corev1.PreferredSchedulingTerm{Weight: n, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "a", Operator: corev1.NodeSelectorOpExists}}}}
	}
	gated.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{weight(1)}}}
	theirs := job(ns, "guard-theirs", nil, 1)
	theirs.Spec.Suspend = ptr(true)
	ours := job(ns, "guard-ours", map[string]string{v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend, hold.KueueGatesAnnotation: "example.com/other," + v1alpha1.Gate}, 1)
	ours.Spec.Suspend = ptr(true)
	for _, o := range []client.Object{ordinary, gated, theirs, ours} {
		create(t, cluster, o)
		t.Cleanup(func() { _ = cluster.Client.Delete(context.WithoutCancel(t.Context()), o) }) // the cluster goes anyhow
	}
	const (
		preferred = `{"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[%s]}}%s}`
		one       = `{"weight":1,"preference":{"matchExpressions":[{"key":"a","operator":"Exists"}]}}`
		two       = `{"weight":2,"preference":{"matchExpressions":[{"key":"b","operator":"Exists"}]}}`
		ungate    = `,"schedulingGates":[{"$patch":"delete","name":"gridlatch.dev/carbon"}]`
	)
	prefer := func(terms, more string) string { return `{"spec":` + fmt.Sprintf(preferred, terms, more) + `}` }
	for name, tt := range map[string]struct {
		o     client.Object
		kind  types.PatchType
		patch string
		want  string // that is refused; empty if it is allowed
	}{
		"an image":                         {ordinary, strategic, `{"spec":{"containers":[{"name":"work","image":"evil"}]}}`, "no images"},
		"a toleration":                     {ordinary, jsonPatch, `[{"op":"add","path":"/spec/tolerations/-","value":{"operator":"Exists"}}]`, "tolerations"},
		"a deadline of a pod":              {ordinary, merge, `{"spec":{"activeDeadlineSeconds":1}}`, "of spec"},
		"a foreign label":                  {ordinary, merge, `{"metadata":{"labels":{"app":"x"}}}`, "of metadata.labels"},
		"a foreign label's value":          {ordinary, merge, `{"metadata":{"labels":{"theirs":"y"}}}`, "of metadata.labels"},
		"a foreign label's removal":        {ordinary, merge, `{"metadata":{"labels":{"theirs":null}}}`, "of metadata.labels"},
		"a foreign annotation":             {ordinary, merge, `{"metadata":{"annotations":{"theirs":null}}}`, "of metadata.annotations"},
		"a gate of Kueue":                  {ordinary, merge, `{"metadata":{"annotations":{"kueue.x-k8s.io/admission-gated-by":"x"}}}`, "of metadata.annotations"},
		"a finalizer":                      {ordinary, merge, `{"metadata":{"finalizers":["example.com/x"]}}`, "finalizers"},
		"an owner":                         {ordinary, merge, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"1"}]}}`, "ownerReferences"},
		"another's gate":                   {gated, strategic, `{"spec":{"schedulingGates":[{"$patch":"delete","name":"example.com/other"}]}}`, "spec.schedulingGates"},
		"all gates":                        {gated, merge, `{"spec":{"schedulingGates":null}}`, "spec.schedulingGates"},
		"a node selector":                  {gated, merge, `{"spec":{"nodeSelector":{"a":"b"}}}`, "of spec"},
		"a required affinity":              {gated, strategic, `{"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"Exists"}]}]}}}` + ungate + `}}`, "spec.affinity"},
		"a preference of a gated pod":      {gated, strategic, prefer(one+","+two, ""), "spec.affinity"},
		"two preferences":                  {gated, strategic, prefer(one+","+two+","+two, ungate), "spec.affinity"},
		"another preference":               {gated, strategic, prefer(two, ungate), "spec.affinity"},
		"a preference before the pod's":    {gated, strategic, prefer(two+","+one, ungate), "spec.affinity"},
		"its gate":                         {gated, strategic, `{"spec":{"schedulingGates":[{"$patch":"delete","name":"gridlatch.dev/carbon"}]}}`, ""},
		"its gate, with a preference":      {gated, strategic, prefer(one+","+two, ungate), ""},
		"its own label and annotation":     {ordinary, merge, `{"metadata":{"labels":{"gridlatch.dev/state":"held"},"annotations":{"gridlatch.dev/reason":"x"}}}`, ""},
		"what else a Job does":             {theirs, merge, `{"spec":{"parallelism":9}}`, "spec.parallelism"},
		"how long a Job is kept":           {theirs, merge, `{"spec":{"ttlSecondsAfterFinished":9}}`, "of spec"},
		"what somebody else has suspended": {theirs, merge, `{"spec":{"suspend":false}}`, "spec.suspend"},
		"what somebody else has suspended, without its mark": {ours, merge, `{"metadata":{"annotations":{"gridlatch.dev/held-by":null}}}`, ""},
		"what it has suspended":                              {ours, merge, `{"metadata":{"annotations":{"gridlatch.dev/held-by":null}},"spec":{"suspend":false}}`, ""},
		"a toleration of a Job's pods":                       {ours, merge, `{"spec":{"template":{"spec":{"tolerations":[{"operator":"Exists"}]}}}}`, "of spec.template"},
		"a node selector of a Job's pods":                    {ours, merge, `{"spec":{"template":{"spec":{"nodeSelector":{"a":"b"}}}}}`, "of spec.template"},
		"a label of a Job's pods":                            {ours, merge, `{"spec":{"template":{"metadata":{"labels":{"gridlatch.dev/x":"y"}}}}}`, "of spec.template"},
		"a foreign annotation of a Job's pods":               {ours, merge, `{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}`, "spec.template.metadata.annotations"},
		"its own annotation of a Job's pods":                 {ours, merge, `{"spec":{"template":{"metadata":{"annotations":{"gridlatch.dev/planned-location":"b"}}}}}`, ""},
		"its place in a queue":                               {ours, merge, `{"metadata":{"annotations":{"kueue.x-k8s.io/admission-gated-by":"example.com/other"}}}`, ""},
		"another's place in a queue":                         {ours, merge, `{"metadata":{"annotations":{"kueue.x-k8s.io/admission-gated-by":"gridlatch.dev/carbon"}}}`, "admission-gated-by"},
		"all places in a queue":                              {ours, merge, `{"metadata":{"annotations":{"kueue.x-k8s.io/admission-gated-by":null}}}`, "admission-gated-by"},
	} {
		t.Run(name, func(t *testing.T) {
			err := try(t, self, tt.o, tt.kind, tt.patch)
			switch {
			case tt.want != "":
				expectRefused(t, err, "gridlatch-confined", tt.want)
			case err != nil:
				t.Errorf("it has to be allowed: %v", err)
			}
		})
	}
	expectNoOtherRights(t, self, ordinary)
}

// expectNoOtherRights tries what is not a patch of a pod or a Job.
func expectNoOtherRights(t *testing.T, self client.Client, o *corev1.Pod) {
	t.Helper()
	evil := client.RawPatch(merge, []byte(`{"metadata":{"annotations":{"a":"b"}}}`))
	for _, subresource := range []string{"status", "ephemeralcontainers", "resize"} {
		expectForbidden(t, subresource, self.SubResource(subresource).Patch(t.Context(), o.DeepCopy(), evil))
	}
	expectForbidden(t, "eviction", self.SubResource("eviction").Create(t.Context(), o.DeepCopy(), &policyv1.Eviction{}))
	expectForbidden(t, "binding", self.SubResource("binding").Create(t.Context(), o.DeepCopy(), &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "node-0"}}))
	expectForbidden(t, "a deletion", self.Delete(t.Context(), o.DeepCopy()))
	expectForbidden(t, "a creation", self.Create(t.Context(), pod(o.Namespace, "guard-new", nil)))
	expectForbidden(t, "its webhook", try(t, self, &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "gridlatch"}}, jsonPatch,
		`[{"op":"add","path":"/webhooks/0/rules/-","value":{"apiGroups":["*"],"apiVersions":["*"],"operations":["*"],"resources":["*/*"]}}]`))
	ca := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "gridlatch-ca"}}
	expectForbidden(t, "its CA", try(t, self, ca, merge, `{"data":null}`))
	if err := self.Get(t.Context(), client.ObjectKeyFromObject(ca), ca); err != nil {
		t.Errorf("it has to read its CA: %v", err)
	}
	keeper, _ := clientOf(t, env.Namespace, "gridlatch-certs")
	expectForbidden(t, "pods, by the part that keeps certificates", keeper.List(t.Context(), &corev1.PodList{}))
	expectForbidden(t, "other Secrets, by that part", keeper.List(t.Context(), &corev1.SecretList{}, client.InNamespace(env.Namespace)))
}

func TestATenantCannotForgeWhatGridlatchWrites(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	awaitPolicies(t)
	ns := namespace(t, cluster)
	c, _ := tenant(t, ns, "kube-system") // which the webhook leaves alone, as if it were away
	ordinary, suspended := pod(ns, "ordinary", nil), job(ns, "suspended", nil, 1)
	suspended.Spec.Suspend = ptr(true)
	held, bounded := pod(ns, "held", tolerant()), suspending(ns, "bounded")
	for _, o := range []client.Object{ordinary, suspended, held, bounded} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range written() {
		t.Run(key, func(t *testing.T) {
			field := "metadata.annotations[" + key + "]"
			for _, o := range []client.Object{ordinary, held, suspended, bounded} {
				expectRefused(t, try(t, c, o, merge, metaPatch(t, "annotations", key, value)), "gridlatch-keys", field)
			}
			template := `{"spec":{"template":` + metaPatch(t, "annotations", key, value) + `}}`
			if err := try(t, c, suspended, merge, template); key != v1alpha1.PlannedLocationAnnotation {
				expectRefused(t, err, "gridlatch-keys", "spec.template."+field)
			} else if err != nil {
				t.Errorf("Kueue could not stop a Job: %v", err)
			}
			forged := map[string]string{key: value}
			labelled := pod("kube-system", "forged", forged) // without the label, nobody reads the rest
			labelled.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}
			expectRefused(t, c.Create(t.Context(), labelled, client.DryRunAll), "gridlatch-keys", field)
			expectRefused(t, c.Create(t.Context(), job("kube-system", "forged", forged, 1), client.DryRunAll), "gridlatch-keys", field)
			expectStripped(t, c, ns, key, value)
		})
	}
	t.Run(v1alpha1.StateLabel, func(t *testing.T) {
		const field = "metadata.labels[" + v1alpha1.StateLabel + "]"
		for _, o := range []client.Object{ordinary, suspended, held, bounded} {
			expectRefused(t, try(t, c, o, merge, metaPatch(t, "labels", v1alpha1.StateLabel, "any")), "gridlatch-keys", field)
		}
		template := `{"spec":{"template":` + metaPatch(t, "labels", v1alpha1.StateLabel, v1alpha1.StateReleased) + `}}`
		expectRefused(t, try(t, c, suspended, merge, template), "gridlatch-keys", "spec.template."+field)
		forged := pod("kube-system", "forged", nil)
		forged.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}
		expectRefused(t, c.Create(t.Context(), forged, client.DryRunAll), "gridlatch-keys", field)
		forged.Namespace = ns
		if err := c.Create(t.Context(), forged, client.DryRunAll); err != nil || forged.Labels[v1alpha1.StateLabel] != "" {
			t.Errorf("%v, %v", forged.Labels, err)
		}
	})
	t.Run("what is the tenant's own", func(t *testing.T) {
		for _, o := range []client.Object{ordinary, suspended, held, bounded} {
			for _, patch := range []string{metaPatch(t, "labels", "app", "x"), metaPatch(t, "annotations", v1alpha1.DeadlineAnnotation, "9m")} {
				if err := try(t, c, o, merge, patch); err != nil {
					t.Errorf("%s: %v", patch, err)
				}
			}
		}
		if err := try(t, c, bounded, merge, `{"spec":{"suspend":false}}`); err != nil {
			t.Error(err)
		}
		for _, o := range []client.Object{held, bounded} {
			if err := c.Delete(t.Context(), o); err != nil {
				t.Error(err)
			}
		}
	})
}

// expectStripped creates what carries a forged annotation, with and without the
// wish to wait.
func expectStripped(t *testing.T, c client.Client, ns, key, value string) {
	t.Helper()
	for name, wish := range map[string]map[string]string{"without the wish to wait": {}, "with it": tolerant()} {
		wish[key] = value
		p, j := pod(ns, "forged", wish), job(ns, "forged", wish, 1)
		j.Spec.Template.Annotations = maps.Clone(wish)
		for _, o := range []client.Object{p, j} {
			if err := c.Create(t.Context(), o, client.DryRunAll); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if o.GetAnnotations()[key] == value {
				t.Errorf("%s, %T: %v", name, o, o.GetAnnotations())
			}
		}
		if j.Spec.Template.Annotations[key] == value {
			t.Errorf("%s, the template: %v", name, j.Spec.Template.Annotations)
		}
	}
}

// TestWhatIsForgedInATemplateDoesNotReachItsPods has controllers of Kubernetes make
// pods of templates that are admitted without a look at them.
func TestWhatIsForgedInATemplateDoesNotReachItsPods(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	awaitPolicies(t)
	ns := namespace(t, cluster)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "forged"}, Spec: appsv1.DeploymentSpec{Replicas: ptr(int32(1))}}
	d.Spec.Selector, d.Spec.Template = service(written())
	d.Spec.Template.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
	cronJob := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "forged"}, Spec: batchv1.CronJobSpec{
		Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: written()}, Spec: job(ns, "forged", nil, 1).Spec},
	}}
	cronJob.Spec.JobTemplate.Spec.Template.Annotations = written()
	create(t, cluster, d, cronJob)
	defer remove(t, cluster, cronJob, metav1.DeletePropagationBackground) // or they go on while other tests count
	defer remove(t, cluster, d, metav1.DeletePropagationBackground)
	env.Eventually(t, time.Minute+patience, func(ctx context.Context) error {
		var jobs batchv1.JobList
		if err := cluster.Client.List(ctx, &jobs, client.InNamespace(ns)); err != nil {
			return err
		}
		pods, err := podsOf(ctx, cluster, ns)
		if err == nil && (len(jobs.Items) == 0 || len(pods) < 2) {
			err = fmt.Errorf("%d Jobs, %d pods", len(jobs.Items), len(pods))
		}
		if err != nil {
			return err
		}
		for _, p := range pods {
			expectClean(t, p.Name, p.ObjectMeta)
		}
		for _, j := range jobs.Items {
			expectClean(t, j.Name, j.ObjectMeta)
			expectClean(t, "the template of "+j.Name, j.Spec.Template.ObjectMeta)
		}
		return nil
	})
}

func expectClean(t *testing.T, name string, meta metav1.ObjectMeta) {
	t.Helper()
	for key := range written() {
		if value, ok := meta.Annotations[key]; ok {
			t.Errorf("%s has %s: %s", name, key, value)
		}
	}
	if meta.Labels[v1alpha1.StateLabel] != "" {
		t.Errorf("%s has %v", name, meta.Labels)
	}
}

func TestATenantReleasesAndHoldsByHand(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	awaitPolicies(t)
	ns := namespace(t, cluster)
	c, kubeconfig := tenant(t, ns)
	plugin := func(want string, args ...string) {
		t.Helper()
		stdout, stderr, err := pluginAs(t, kubeconfig, append(args, "-n", ns)...)
		if err != nil || !strings.Contains(stdout, want) {
			t.Fatalf("%v: %v\n%s%s\nwant %q", args, err, stdout, stderr, want)
		}
	}
	report, bounded, bare := job(ns, "report", tolerant(), 2), suspending(ns, "bounded"), pod(ns, "bare", tolerant())
	idle := job(ns, "idle", map[string]string{v1alpha1.DurationAnnotation: "2s"}, 0)
	idle.Spec.Completions = nil
	for _, o := range []client.Object{report, bounded, bare, idle} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	awaitGated(t, cluster, ns, 3)
	plugin("job/report released, 2 pods", "release", "job/report", "job/bounded", "pod/bare")
	awaitScheduled(t, cluster, ns, 6, patience)
	for range 2 { // it is not new the second time
		plugin("job/idle held: ", "hold", "job", "idle", "--deadline", "8h", "--force")
		awaitJob(t, cluster, idle, patience, wantSuspended(true, v1alpha1.StateHeld))
		plugin("released", "release", "--all")
		awaitJob(t, cluster, idle, patience, wantSuspended(false, v1alpha1.StateReleased))
	}
}
