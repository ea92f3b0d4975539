package hold

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestWhatTheAPIServerRefusesIsReleasedByLess(t *testing.T) {
	const reason, label, gate, suspend = v1alpha1.ReasonAnnotation, v1alpha1.StateReleased, "schedulingGates", "suspend"
	suspended := func() *batchv1.Job {
		return heldItself(jobIn(v1alpha1.StateHeld, "j", v1alpha1.ReasonAnnotation, "waits"), v1alpha1.HoldBySuspend)
	}
	for name, tt := range map[string]struct {
		job     *batchv1.Job // a pod without
		refused []string     // what a patch may not contain
		minimal bool
		noted   bool
		fails   bool
		label   string
		reason  string
	}{
		"a pod, with its reason":                         {noted: true, label: v1alpha1.StateReleased, reason: "clean"},
		"a pod, by two patches":                          {minimal: true, noted: true, label: v1alpha1.StateReleased, reason: "clean"},
		"a pod too large for a reason, with a label":     {refused: []string{`"` + reason + `":"`}, noted: true, label: v1alpha1.StateReleased, reason: ""},
		"a pod whose annotations are fixed":              {refused: []string{reason}, noted: true, label: v1alpha1.StateReleased, reason: "waits"},
		"a pod whose metadata is fixed, without a note":  {refused: []string{label}, label: v1alpha1.StateHeld, reason: "waits"},
		"not a pod whose gates are fixed":                {refused: []string{gate}, fails: true, label: v1alpha1.StateHeld, reason: "waits"},
		"a suspended Job, with its reason":               {job: suspended(), noted: true, label: v1alpha1.StateReleased, reason: "clean"},
		"a suspended Job whose annotations are fixed":    {job: suspended(), refused: []string{"gridlatch.dev~1reason", reason}, noted: true, label: v1alpha1.StateReleased, reason: "waits"},
		"not a Job whose suspend is fixed":               {job: suspended(), refused: []string{suspend}, fails: true, label: v1alpha1.StateHeld, reason: "waits"},
		"a Job with gated pods, with its reason":         {job: jobIn(v1alpha1.StateHeld, "j", reason, "waits"), noted: true, label: v1alpha1.StateReleased, reason: "clean"},
		"a Job with gated pods whose reason cannot grow": {job: jobIn(v1alpha1.StateHeld, "j", reason, "waits"), refused: []string{`"` + reason + `":"`}, noted: true, label: v1alpha1.StateReleased, reason: ""},
	} {
		t.Run(name, func(t *testing.T) {
			refuse := func(o client.Object, patch string) error {
				for _, part := range tt.refused {
					if strings.Contains(patch, part) {
						return apierrors.NewForbidden(corev1.Resource("pods"), o.GetName(), errors.New("no "+part))
					}
				}
				return nil
			}
			pod := gatedPod("p")
			pod.Annotations = map[string]string{reason: "waits"}
			var o client.Object = pod
			note := ReleaseNote{Reason: "clean", At: t0}
			kind, patches := PodKind(), note.PodPatches(pod)
			if tt.job != nil {
				o, kind, patches = tt.job, JobKind(), note.OwnerPatches(tt.job, JobKind().GroupKind())
			}
			c := server(refuse, o)
			noted, err := patches.Apply(tt.minimal, func(patch client.Patch) error { return c.Patch(t.Context(), PatchTarget(kind, o), patch) })
			if noted != tt.noted || (err != nil) != tt.fails {
				t.Errorf("noted: %t, %v", noted, err)
			}
			got := read(t, c, o)
			isHeld := false
			switch o := got.(type) {
			case *corev1.Pod:
				isHeld = HasGate(o.Spec.SchedulingGates)
			case *batchv1.Job:
				isHeld = ptr.Deref(o.Spec.Suspend, false)
			}
			if isHeld != tt.fails || got.GetLabels()[v1alpha1.StateLabel] != tt.label || got.GetAnnotations()[reason] != tt.reason {
				t.Errorf("held: %t, %v %v", isHeld, got.GetLabels(), got.GetAnnotations())
			}
		})
	}
}

func TestNothingLessIsTriedWhereTheRequestIsNotRefused(t *testing.T) {
	tries := 0
	_, err := ReleaseNote{}.PodPatches(gatedPod("p")).Apply(false, func(client.Patch) error { tries++; return errors.New("no answer") })
	if err == nil || tries != 1 {
		t.Errorf("%d tries, %v", tries, err)
	}
	patches := ReleasePatches{Full: labelPatch(gatedPod("p"))}
	refusal := apierrors.NewForbidden(corev1.Resource("pods"), "p", nil)
	if _, err := patches.Apply(false, func(client.Patch) error { return refusal }); !errors.Is(err, refusal) {
		t.Errorf("without a minimal patch: %v", err)
	}
}

func TestRefusalsAreAboutTheObject(t *testing.T) {
	pods := corev1.Resource("pods")
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"by a rule":                  {apierrors.NewForbidden(pods, "p", nil), true},
		"by validation":              {apierrors.NewInvalid(PodKind().GroupKind(), "p", nil), true},
		"wrapped":                    {fmt.Errorf("patch: %w", apierrors.NewInvalid(PodKind().GroupKind(), "p", nil)), true},
		"by a webhook that fails":    {apierrors.NewInternalError(errors.New(`failed calling webhook "x"`)), true},
		"not a fault of the server":  {apierrors.NewInternalError(errors.New("etcd")), false},
		"not an object that is gone": {apierrors.NewNotFound(pods, "p"), false},
		"not a conflict":             {apierrors.NewConflict(pods, "p", nil), false},
		"not a busy server":          {apierrors.NewTooManyRequests("later", 1), false},
		"not a time-out":             {apierrors.NewTimeoutError("slow", 1), false},
		"not a broken connection":    {errors.New("connection refused"), false},
	} {
		if got := IsRefusal(tt.err); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}

func TestAPreferenceIsAddedToThoseThatThePodHas(t *testing.T) {
	term := func(key string) corev1.PreferredSchedulingTerm {
		return corev1.PreferredSchedulingTerm{Weight: 100, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpExists}}}}
	}
	for name, tt := range map[string]struct {
		before []corev1.PreferredSchedulingTerm
		want   int
	}{
		"a pod without":                  {nil, 1},
		"a pod with another":             {[]corev1.PreferredSchedulingTerm{term("own")}, 2},
		"a pod that has it, so not once": {[]corev1.PreferredSchedulingTerm{term("grid")}, 1},
	} {
		pod := gatedPod("p")
		pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: tt.before}}
		c := server(nil, pod)
		seen := read(t, c, gatedPod("p"))
		if err := c.Patch(t.Context(), PatchTarget(PodKind(), pod), ReleaseNote{At: t0, Location: "north"}.PreferencePatch(seen, term("grid"))); err != nil {
			t.Fatal(err)
		}
		after := read(t, c, gatedPod("p"))
		if got := after.Spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution; len(got) != tt.want || HasGate(after.Spec.SchedulingGates) {
			t.Errorf("%s: %v", name, got)
		}
		if after.Annotations[v1alpha1.PlannedLocationAnnotation] != "north" {
			t.Errorf("%s: %v", name, after.Annotations)
		}
	}
}

func TestPatchesWriteNotesAndLabels(t *testing.T) {
	o := &metav1.ObjectMeta{UID: "u"}
	for want, patch := range map[string]client.Patch{
		`{"metadata":{"uid":"u","annotations":{"a":"b"}}}`:                     NotesPatch(o, map[string]string{"a": "b"}),
		`{"metadata":{"uid":"u","labels":{"gridlatch.dev/state":"held"}}}`:     AdoptPatch(o),
		`{"metadata":{"uid":"u","labels":{"gridlatch.dev/state":"released"}}}`: labelPatch(o),
		`[{"op":"test","path":"/metadata/annotations/a~1b~0c","value":"x"}]`:   jsonPatch([]change{{"test", annotationPath("a/b~c"), "x"}}),
	} {
		if data, err := patch.Data(nil); err != nil || string(data) != want {
			t.Errorf("%s, %v, want %s", data, err, want)
		}
	}
	data, err := ReleaseNote{At: t0, Location: "north", MarksTemplate: true}.OwnerPatches(heldItself(jobIn(v1alpha1.StateHeld, "j"), v1alpha1.HoldBySuspend), JobKind().GroupKind()).Full.Data(nil)
	if err != nil || !strings.Contains(string(data), `"/spec/template/metadata/annotations/gridlatch.dev~1planned-location"`) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestAnOldOutcomeGoesWhenWorkIsHeldOrReleasedAgain(t *testing.T) {
	notHeld := map[string]string{v1alpha1.OutcomeAnnotation: v1alpha1.OutcomeNotHeld, v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{UID: "u", Annotations: notHeld}}
	note := ReleaseNote{Reason: "r", At: t0}
	for name, tt := range map[string]struct {
		patch client.Patch
		want  string
	}{
		"held by hand": {suspendPatch(job, map[string]string{v1alpha1.ReasonAnnotation: "waits"}), `"gridlatch.dev/outcome":null`},
		"recorded":     {note.RecordPatch(job), `"gridlatch.dev/outcome":null`},
		"noted":        {note.briefPatch(job), `"gridlatch.dev/outcome":null`},
		"resumed":      {note.OwnerPatches(job, JobKind().GroupKind()).Full, `{"op":"remove","path":"/metadata/annotations/gridlatch.dev~1outcome"}`},
		"taken":        {ReleaseNote{Reason: "r", At: t0, Outcome: v1alpha1.OutcomeTaken}.RecordPatch(job), `"gridlatch.dev/outcome":"taken"`},
	} {
		if data, err := tt.patch.Data(job); err != nil || !strings.Contains(string(data), tt.want) {
			t.Errorf("%s: %s (%v), want %s", name, data, err, tt.want)
		}
	}
}
