package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// world is a cache with the default policy and one namespace.
type world struct {
	empty
	policy v1alpha1.CarbonPolicy
	labels map[string]string
}

func (c world) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch into := into.(type) {
	case *v1alpha1.CarbonPolicy:
		if key.Name == c.policy.Name {
			c.policy.DeepCopyInto(into)
			return nil
		}
	case *metav1.PartialObjectMetadata:
		into.Labels = maps.Clone(c.labels)
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// inWorld is dirtyNow with a policy that chooses between locations, for nodes that the extender scores.
func inWorld(t testing.TB, mode v1alpha1.Mode, label string) *Webhook {
	t.Helper()
	w, c := dirtyNow(t), world{policy: *v1alpha1.Default()}
	c.policy.Spec.Mode = mode
	c.policy.Spec.Locations = []v1alpha1.Location{{Name: "X", NodeSelector: map[string]string{"grid": "x"}}, {Name: "Y", NodeSelector: map[string]string{"grid": "y"}}}
	if label != "" {
		c.labels = map[string]string{v1alpha1.AuditLabel: label}
	}
	w.Reader, w.Policies.Reader, w.MarkForExtender = c, c, true
	w.WhyUnable = func(string, string) string { return "" }
	return w
}

const byMode = "by the mode of the policy"

// auditors are webhooks that audit what asks to wait, by why they do.
func auditors(t testing.TB) map[string]*Webhook {
	t.Helper()
	return map[string]*Webhook{
		"by the path":                       inWorld(t, v1alpha1.ModeEnforce, "").auditing(asking),
		"by the path for all":               inWorld(t, v1alpha1.ModeEnforce, "").auditing(all),
		"by the label of the namespace":     inWorld(t, v1alpha1.ModeEnforce, v1alpha1.AuditAsking),
		"by the label all of the namespace": inWorld(t, v1alpha1.ModeEnforce, v1alpha1.AuditAll),
		byMode:                              inWorld(t, v1alpha1.ModeAudit, ""),
	}
}

// withoutOurs returns the spec of an object without what only Gridlatch writes.
func withoutOurs(object map[string]any) any {
	o := (&unstructured.Unstructured{Object: object}).DeepCopy().Object
	for _, path := range [][]string{{"spec"}, {"spec", "template", "spec"}} {
		gates, found, err := unstructured.NestedSlice(o, append(path, "schedulingGates")...)
		if !found || err != nil {
			continue
		}
		gates = slices.DeleteFunc(gates, func(g any) bool { return g.(map[string]any)["name"] == v1alpha1.Gate })
		_ = unstructured.SetNestedSlice(o, gates, append(path, "schedulingGates")...)
		if len(gates) == 0 {
			unstructured.RemoveNestedField(o, append(path, "schedulingGates")...)
		}
	}
	for _, key := range append(policy.WrittenKeys(), hold.KueueGatesAnnotation) {
		unstructured.RemoveNestedField(o, "spec", "template", "metadata", "annotations", key)
	}
	unstructured.RemoveNestedField(o, "spec", "template", "metadata", "labels", v1alpha1.StateLabel)
	return o["spec"]
}

// withoutOurNotes returns the metadata of an object without Gridlatch's labels and annotations.
func withoutOurNotes(object map[string]any) any {
	o := (&unstructured.Unstructured{Object: object}).DeepCopy()
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	ours := func(key, _ string) bool {
		return key == v1alpha1.StateLabel || key == v1alpha1.PolicyAnnotation || slices.Contains(policy.WrittenKeys(), key) || key == hold.KueueGatesAnnotation
	}
	maps.DeleteFunc(labels, ours)
	maps.DeleteFunc(annotations, ours)
	unstructured.RemoveNestedField(o.Object, "metadata", "labels")
	unstructured.RemoveNestedField(o.Object, "metadata", "annotations")
	return []any{o.Object["metadata"], labels, annotations}
}

// gatesOf returns the scheduling gates of an object, and of its pod template.
func gatesOf(object map[string]any) string {
	own, _, _ := unstructured.NestedSlice(object, "spec", "schedulingGates")
	ofTemplate, _, _ := unstructured.NestedSlice(object, "spec", "template", "spec", "schedulingGates")
	return fmt.Sprint(own, ofTemplate)
}

// checkAudit sends an object that asks to wait to a webhook that audits the object. It fails unless only
// labels and annotations of ours have changed.
func checkAudit(t *testing.T, w *Webhook, kind string, raw []byte, wantAudited bool) *unstructured.Unstructured {
	t.Helper()
	var before, after map[string]any
	if err := json.Unmarshal(raw, &before); err != nil {
		t.Fatal(err)
	}
	patched, response := admit(t, w, kind, raw)
	if !response.Allowed {
		t.Fatalf("refused: %+v\n%s", response.Result, raw)
	}
	if err := json.Unmarshal(patched, &after); err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{Object: after}
	if diff := cmp.Diff(withoutOurs(before), withoutOurs(after), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the spec has changed: %s\n%s", diff, raw)
	}
	if diff := cmp.Diff(withoutOurNotes(before), withoutOurNotes(after), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("metadata of others has changed: %s\n%s", diff, raw)
	}
	if strings.Contains(gatesOf(after), v1alpha1.Gate) {
		t.Errorf("the object has our gate\n%s", raw)
	}
	if wantAudited && o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateAudited || o.GetAnnotations()[v1alpha1.HeldByAnnotation] != "" {
		t.Errorf("labels %v, annotations %v\n%s", o.GetLabels(), o.GetAnnotations(), raw)
	}
	if _, isAtQueue := o.GetAnnotations()[hold.KueueGatesAnnotation]; isAtQueue && strings.Contains(o.GetAnnotations()[hold.KueueGatesAnnotation], v1alpha1.Gate) {
		t.Errorf("waits at its queue for us: %v\n%s", o.GetAnnotations(), raw)
	}
	return o
}

func TestAuditedWorkSaysWhatWouldHaveHappened(t *testing.T) {
	const would = "audit: would have waited until Nov 21 13:00 UTC: 100 gCO2eq/kWh in X, 75 % less than the 400 at Nov 21 12:00"
	planned := map[string]string{
		v1alpha1.ReasonAnnotation: would, v1alpha1.PolicyAnnotation: "default", v1alpha1.PlannedStartAnnotation: "2026-11-21T13:00:00Z",
		v1alpha1.LatestStartAnnotation: "2026-11-22T12:00:00Z", v1alpha1.IntensityAtCreationAnnotation: "400.0", v1alpha1.PlannedLocationAnnotation: "X",
	}
	atOnce := maps.Clone(planned)
	atOnce[v1alpha1.ReasonAnnotation] = "audit: would have started at once: its latest start has come, at 400 gCO2eq/kWh in X"
	atOnce[v1alpha1.PlannedStartAnnotation], atOnce[v1alpha1.LatestStartAnnotation] = "2026-11-21T12:00:00Z", "2026-11-21T10:58:00Z"
	said := func(reason string) map[string]string { return map[string]string{v1alpha1.ReasonAnnotation: reason} }
	bySuspend := tolerant(map[string]string{v1alpha1.HoldAnnotation: v1alpha1.HoldBySuspend})
	for name, tt := range map[string]struct {
		kind   string
		object any
		want   map[string]string
	}{
		"a pod":                         {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}}, planned},
		"a Job":                         {"Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}}, planned},
		"a Job by its template":         {"Job", batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}}}}, planned},
		"a Job that would be suspended": {"Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: bySuspend}}, planned},
		"a Job in a queue":              {"Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{hold.KueueQueueLabel: "q"}, Annotations: tolerant(nil)}, Spec: batchv1.JobSpec{Suspend: ptr.To(true)}}, planned},
		"a JobSet":                      {"JobSet", wholeOf("JobSet", `{}`, metav1.ObjectMeta{Annotations: tolerant(nil)}), planned},
		"what has no time to wait":      {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(map[string]string{v1alpha1.DeadlineAnnotation: "1m"})}}, atOnce},
		"what cannot be held":           {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}, Spec: corev1.PodSpec{NodeName: "n"}}, said("audit: not held: it names its node, and so never waits for the scheduler")},
		"what would be refused": {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(map[string]string{v1alpha1.ThresholdAnnotation: "low"})}},
			said(`audit: not held: metadata.annotations[gridlatch.dev/threshold]: Invalid value: "low": want gCO2eq/kWh as a number from 0 to 1000000, such as 200`)},
		"a Job that its user has suspended": {"Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}, Spec: batchv1.JobSpec{Suspend: ptr.To(true)}},
			map[string]string{v1alpha1.ReasonAnnotation: "audit: " + hold.ReasonAwaitsResume, v1alpha1.PolicyAnnotation: "default"}},
	} {
		for why, w := range auditors(t) {
			t.Run(name+" "+why, func(t *testing.T) {
				raw, err := json.Marshal(tt.object)
				if err != nil {
					t.Fatal(err)
				}
				o := checkAudit(t, w, tt.kind, raw, true)
				got := o.GetAnnotations()
				maps.DeleteFunc(got, func(key, _ string) bool { return !slices.Contains(auditKeys(), key) })
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
				again, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(o, checkAudit(t, w, tt.kind, again, true)); diff != "" {
					t.Errorf("a second time: %s", diff)
				}
			})
		}
	}
}

func TestWhatDoesNotAskIsAuditedOnlyWhereAllIs(t *testing.T) {
	never := corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever}
	no := map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}
	for name, tt := range map[string]struct {
		kind   string
		object any
		want   bool // in a namespace that is audited as a whole
	}{
		"a pod that ends":                {"Pod", corev1.Pod{Spec: never}, true},
		"a pod that may end":             {"Pod", corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyOnFailure}}, true},
		"a pod that runs for good":       {"Pod", corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways}}, false},
		"a pod that says no":             {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: no}, Spec: never}, false},
		"a Job":                          {"Job", batchv1.Job{}, true},
		"a Job that says no":             {"Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: no}}, false},
		"a Job whose template says no":   {"Job", batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: no}}}}, false},
		"a JobSet":                       {"JobSet", wholeOf("JobSet", `{}`, metav1.ObjectMeta{}), true},
		"a JobSet that says no":          {"JobSet", wholeOf("JobSet", `{}`, metav1.ObjectMeta{Annotations: no}), false},
		"a copy of a pod that was held":  {"Pod", corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}}}, true},
		"a copy of what was audited":     {"Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateAudited}}}, true},
		"a pod of a Job that is unknown": {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{ownerJob()}}, Spec: never}, true},
	} {
		for why, w := range auditors(t) {
			t.Run(name+" "+why, func(t *testing.T) {
				raw, err := json.Marshal(tt.object)
				if err != nil {
					t.Fatal(err)
				}
				want := tt.want && w.extent == all
				o := checkAudit(t, w, tt.kind, raw, want)
				if state := o.GetLabels()[v1alpha1.StateLabel]; !want && state != "" {
					t.Errorf("state %q, want none", state)
				}
			})
		}
	}
}

func ownerJob() metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "u", Controller: ptr.To(true)}
}

func TestThePodsOfAJobFollowItsAudit(t *testing.T) {
	job := batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "j", UID: "u", Annotations: tolerant(nil)}}
	job.Spec.Template.Annotations = tolerant(nil)
	raw, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	audited := checkAudit(t, inWorld(t, v1alpha1.ModeAudit, ""), "Job", raw, true)
	job.Labels, job.Annotations = audited.GetLabels(), audited.GetAnnotations()
	job.Annotations[v1alpha1.LatestStartAnnotation] = "2026-11-21T23:00:00Z" // by this it is known
	pod, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil), OwnerReferences: []metav1.OwnerReference{ownerJob()}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeAudit, v1alpha1.ModeEnforce} { // also once the policy has changed
		w := inWorld(t, mode, "")
		w.Records = recordsOf(t, &job)
		o := checkAudit(t, w, "Pod", pod, true)
		for _, key := range auditKeys() {
			if got, want := o.GetAnnotations()[key], job.Annotations[key]; got != want {
				t.Errorf("%s: %s is %q, want %q", mode, key, got, want)
			}
		}
	}
}

func TestALabelThatNobodyUnderstandsHoldsNothing(t *testing.T) {
	w := inWorld(t, v1alpha1.ModeEnforce, "yes")
	want := `not held: namespace default: metadata.labels[gridlatch.dev/audit]: Unsupported value: "yes": supported values: "true", "all", "false"`
	pod, warnings := admitWarned(t, w, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}})
	job := admitJob(t, w, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}})
	for _, o := range []metav1.Object{pod, job} {
		if got := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; got != want || o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateReleased || o.GetAnnotations()[v1alpha1.OutcomeAnnotation] != v1alpha1.OutcomeNotHeld {
			t.Errorf("reason %q, want %q; labels %v", got, want, o.GetLabels())
		}
	}
	if len(warnings) != 1 || warnings[0] != want || hold.HasGate(pod.Spec.SchedulingGates) {
		t.Errorf("warnings %q, gates %v", warnings, pod.Spec.SchedulingGates)
	}
}

func TestTheLabelFalseAuditsNothing(t *testing.T) {
	pod, _ := admitWarned(t, inWorld(t, v1alpha1.ModeEnforce, v1alpha1.AuditNone), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}})
	if !hold.HasGate(pod.Spec.SchedulingGates) {
		t.Errorf("labels %v, annotations %v", pod.Labels, pod.Annotations)
	}
}

func TestADoorThatWeHadClosedIsOpenedAtOnce(t *testing.T) {
	for kind, object := range suspendable() {
		closed := passed(t, dirtyNow(t), kind, object)
		if closed.GetAnnotations()[v1alpha1.HeldByAnnotation] != v1alpha1.HoldBySuspend {
			t.Fatalf("%s is not held: %v", kind, closed.GetAnnotations())
		}
		for why, w := range auditors(t) {
			o := passed(t, w, kind, closed.DeepCopy())
			if o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateHeld || o.GetAnnotations()[v1alpha1.LatestStartAnnotation] != t0.Format(time.RFC3339) {
				t.Errorf("%s %s: the loop does not open it: %v %v", kind, why, o.GetLabels(), o.GetAnnotations())
			}
			w.WhyUnable = func(string, string) string { return "nobody is there" }
			o = passed(t, w, kind, closed.DeepCopy())
			if suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); suspended || o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateAudited {
				t.Errorf("%s %s: nobody opens it: %v", kind, why, o.Object)
			}
		}
	}
}

func TestNotesThatDoNotFitAreLeftOut(t *testing.T) {
	annotations := tolerant(map[string]string{"example.com/large": strings.Repeat("x", 256<<10-200)})
	raw, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range auditors(t) {
		if o := checkAudit(t, w, "Pod", raw, true); o.GetAnnotations()[v1alpha1.ReasonAnnotation] != "" {
			t.Errorf("reason %q", o.GetAnnotations()[v1alpha1.ReasonAnnotation])
		}
	}
}

// randomObject returns an object of a kind that asks to wait. Whatever can be on an object that Gridlatch
// reads or writes may be there, with a good value or a bad one.
func randomObject(r *rand.Rand) (kind string, object map[string]any) {
	kinds := []string{"Pod", "Job", "JobSet", "RayJob", "Workflow", "PipelineRun", "TaskRun", "MPIJob", "SparkApplication", "TrainJob"}
	kind = kinds[r.IntN(len(kinds))]
	if r.IntN(2) == 0 {
		kind = kinds[r.IntN(2)]
	}
	object = map[string]any{"metadata": randomMeta(r, true), "spec": randomSpec(r, kind)}
	return kind, object
}

func randomMeta(r *rand.Rand, asks bool) map[string]any {
	values := []string{"", "true", "false", "1h", "8h", "low", "200", "default", "gone", "X", "Y", "suspend", "gate", "kueue", "strict", "held", "released", "audited", v1alpha1.Gate, t0.Format(time.RFC3339), "waits"}
	value := func() any { return values[r.IntN(len(values))] }
	labels, annotations := map[string]any{}, map[string]any{}
	for _, key := range append(append(policy.AskKeys(), policy.WrittenKeys()...), hold.KueueGatesAnnotation, "example.com/x", "helm.sh/hook") {
		if r.IntN(4) == 0 {
			annotations[key] = value()
		}
	}
	for _, key := range []string{v1alpha1.StateLabel, hold.KueueQueueLabel, "kueue.x-k8s.io/podset", "app", "dag_id", v1alpha1.DelayTolerantAnnotation, "runner-pod"} {
		if r.IntN(5) == 0 {
			labels[key] = value()
		}
	}
	if asks {
		annotations[v1alpha1.DelayTolerantAnnotation] = "true"
	}
	meta := map[string]any{"name": "x", "annotations": annotations}
	if len(labels) > 0 || r.IntN(2) == 0 {
		meta["labels"] = labels
	}
	if owners := []string{"Job", "CronJob", "JobSet", "PyTorchJob", "PipelineRun"}; asks && r.IntN(3) == 0 {
		group := map[string]string{"Job": "batch/v1", "CronJob": "batch/v1", "JobSet": "jobset.x-k8s.io/v1alpha2", "PyTorchJob": "kubeflow.org/v1", "PipelineRun": "tekton.dev/v1"}
		owner := owners[r.IntN(len(owners))]
		meta["ownerReferences"] = []any{map[string]any{"apiVersion": group[owner], "kind": owner, "name": "o", "uid": "o", "controller": r.IntN(3) > 0}}
	}
	return meta
}

func randomSpec(r *rand.Rand, kind string) map[string]any {
	spec := map[string]any{}
	if kind == "Job" {
		spec["template"] = map[string]any{"metadata": randomMeta(r, false), "spec": randomPodSpec(r)}
	}
	if kind != "Pod" {
		for key, value := range map[string]any{"suspend": r.IntN(2) == 0, "activeDeadlineSeconds": int64(600), "parallelism": int64(r.IntN(3)), "managedBy": "example.com/x", "shutdownAfterJobFinishes": true, "status": "PipelineRunPending"} {
			if r.IntN(4) == 0 {
				spec[key] = value
			}
		}
		return spec
	}
	return randomPodSpec(r)
}

func randomPodSpec(r *rand.Rand) map[string]any {
	spec := map[string]any{"containers": []any{map[string]any{"name": "c", "resources": map[string]any{"requests": map[string]any{"cpu": "1"}}}}}
	var gates []any
	for _, gate := range []string{v1alpha1.Gate, "example.com/gate", "kueue.x-k8s.io/admission"} {
		if r.IntN(3) == 0 {
			gates = append(gates, map[string]any{"name": gate})
		}
	}
	if gates != nil {
		spec["schedulingGates"] = gates
	}
	if r.IntN(3) == 0 {
		spec["affinity"] = map[string]any{"nodeAffinity": map[string]any{}}
	}
	if r.IntN(5) == 0 {
		spec["nodeName"] = "n"
	}
	if r.IntN(2) == 0 {
		spec["restartPolicy"] = []string{"Always", "Never", "OnFailure"}[r.IntN(3)]
	}
	return spec
}

// isMarkedClosed reports whether a random object says that Gridlatch has closed its door, which the loop
// then opens.
func isMarkedClosed(kind string, object map[string]any) bool {
	_, isMarked, _ := unstructured.NestedString(object, "metadata", "annotations", v1alpha1.HeldByAnnotation)
	return kind != "Pod" && isMarked
}

// asksForPolicy reports whether a random object names a policy.
func asksForPolicy(object map[string]any) bool {
	_, own, _ := unstructured.NestedString(object, "metadata", "annotations", v1alpha1.PolicyAnnotation)
	_, ofTemplate, _ := unstructured.NestedString(object, "spec", "template", "metadata", "annotations", v1alpha1.PolicyAnnotation)
	return own || ofTemplate
}

// FuzzAudit tries to have audited work held, changed or refused.
func FuzzAudit(f *testing.F) {
	for seed := range uint64(300) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		kind, object := randomObject(r)
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if isMarkedClosed(kind, object) {
			return // see TestADoorThatWeHadClosedIsOpenedAtOnce
		}
		for why, w := range auditors(t) {
			if why == byMode && asksForPolicy(object) {
				continue // another policy, or none that exists, may hold or refuse the work
			}
			checkAudit(t, w, kind, raw, true)
		}
	})
}

func TestOnlyAuditHoldsNothing(t *testing.T) {
	// the same objects are held without audit, so that FuzzAudit can fail
	held := map[string]int{}
	for seed := range uint64(500) {
		kind, object := randomObject(rand.New(rand.NewPCG(seed, 1)))
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		w := inWorld(t, v1alpha1.ModeEnforce, "")
		response := w.Handle(t.Context(), request(kind, raw))
		if response.PatchType != nil && *response.PatchType == admissionv1.PatchTypeJSONPatch && strings.Contains(string(response.Patch), `"/spec`) {
			if kind != "Pod" && kind != "Job" {
				kind = "others"
			}
			held[kind]++
		}
	}
	for _, kind := range []string{"Pod", "Job", "others"} {
		if held[kind] < 2 {
			t.Errorf("the spec of %d objects of kind %s is changed without audit, want more", held[kind], kind)
		}
	}
}
