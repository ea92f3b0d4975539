package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
		"a pod that ends":               {"Pod", corev1.Pod{Spec: never}, true},
		"a pod that may end":            {"Pod", corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyOnFailure}}, true},
		"a pod that runs for good":      {"Pod", corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways}}, false},
		"a pod that says no":            {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: no}, Spec: never}, false},
		"a Job":                         {"Job", batchv1.Job{}, true},
		"a Job that says no":            {"Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: no}}, false},
		"a Job whose template says no":  {"Job", batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: no}}}}, false},
		"a JobSet":                      {"JobSet", wholeOf("JobSet", `{}`, metav1.ObjectMeta{}), true},
		"a JobSet that says no":         {"JobSet", wholeOf("JobSet", `{}`, metav1.ObjectMeta{Annotations: no}), false},
		"a copy of a pod that was held": {"Pod", corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}}}, true},
		"a copy of what was audited":    {"Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateAudited}}}, true},
		"a pod of a Job":                {"Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{ownerJob()}}, Spec: never}, false},
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

func TestARunIsAuditedAsItsCronJobAsks(t *testing.T) {
	c := everyTwoHours(batchv1.ReplaceConcurrent, nil)
	c.Annotations = tolerant(map[string]string{v1alpha1.DurationAnnotation: "20m"})
	raw, err := json.Marshal(scheduledBy(c))
	if err != nil {
		t.Fatal(err)
	}
	for extent, w := range map[string]*Webhook{"what asks": cronJobs(t, c).auditing(asking), "all": cronJobs(t, c).auditing(all)} {
		o := checkAudit(t, w, "Job", raw, true)
		if next := o.GetAnnotations()[v1alpha1.NextRunAnnotation]; next != "2026-11-21T14:00:00Z" || o.GetAnnotations()[v1alpha1.PlannedStartAnnotation] == "" {
			t.Errorf("%s: the next run is at %q: %v", extent, next, o.GetAnnotations())
		}
	}
	c.Annotations = map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}
	if o := checkAudit(t, cronJobs(t, c).auditing(all), "Job", raw, false); o.GetLabels()[v1alpha1.StateLabel] != "" {
		t.Errorf("a run of a CronJob that says no has the state %q", o.GetLabels()[v1alpha1.StateLabel])
	}
}

func TestNobodyIsWarnedOfWaitsThatAuditDoesNotMake(t *testing.T) {
	raw, err := json.Marshal(everyTwoHours(batchv1.ReplaceConcurrent, tolerant(map[string]string{v1alpha1.DurationAnnotation: "20m"})))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		webhook *Webhook
		want    int
	}{
		"by the policy":    {inWorld(t, v1alpha1.ModeAudit, ""), 0},
		"by the namespace": {inWorld(t, v1alpha1.ModeEnforce, v1alpha1.AuditAsking), 0},
		"but without":      {inWorld(t, v1alpha1.ModeEnforce, ""), 1},
	} {
		if response := tt.webhook.Handle(t.Context(), request("CronJob", raw)); len(response.Warnings) != tt.want {
			t.Errorf("%s: warned of %q", name, response.Warnings)
		}
	}
}
