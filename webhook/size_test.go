package webhook

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/serving"
)

// crowded are annotations of which ours are some, and somebody's own have so many bytes.
func crowded(bytes int, text string) map[string]string {
	return tolerant(map[string]string{"x": strings.Repeat(text, bytes/len(text))})
}

func TestWorkThatOurNotesDoNotFitOnStartsAsItCame(t *testing.T) {
	for name, tt := range map[string]struct {
		bytes int
		text  string
		held  bool
	}{
		"plenty of room": {200_000, "x", true},
		"plenty of room, all of it to be escaped": {200_000, `"`, true},
		"letters that JSON spells out":            {200_000, "<é€😀", true},
		"no room":                                 {262_000, "x", false},
		"no room, all of it to be escaped":        {262_000, `\`, false},
		"no room for what is noted later":         {260_500, "x", false},
		"none but for what is there":              {262_000 - 2, "é", false},
	} {
		t.Run(name, func(t *testing.T) {
			annotations := crowded(tt.bytes, tt.text)
			suspending := crowded(tt.bytes, tt.text)
			suspending[v1alpha1.HoldAnnotation] = v1alpha1.HoldBySuspend
			ofTemplate := batchv1.Job{}
			ofTemplate.Spec.Template.Annotations = annotations
			for kind, object := range map[string]any{
				"Pod": corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}},
				"Job": batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}},
				"Job, suspended": batchv1.Job{
					ObjectMeta: metav1.ObjectMeta{Annotations: suspending}, Spec: batchv1.JobSpec{Suspend: ptr.To(false)},
				},
				"Job, in its template": ofTemplate,
			} {
				raw, err := json.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				kind, _, _ := strings.Cut(kind, ",")
				patched, response := admit(t, dirtyNow(t), kind, raw)
				var got batchv1.Job // what both have, or neither
				if err := json.Unmarshal(patched, &got); err != nil {
					t.Fatal(err)
				}
				for _, o := range []metav1.ObjectMeta{got.ObjectMeta, got.Spec.Template.ObjectMeta} {
					if errs := validation.ValidateAnnotations(o.Annotations, field.NewPath("metadata", "annotations")); len(errs) > 0 {
						t.Errorf("%s: the API server would refuse it: %v", kind, errs)
					}
				}
				warned := len(response.Warnings) > 0 && strings.Contains(response.Warnings[len(response.Warnings)-1], "with the notes of Gridlatch, its annotations would be larger than")
				if (got.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld) != tt.held || warned == tt.held || !tt.held && ptr.Deref(got.Spec.Suspend, false) {
					t.Errorf("%s: state %q, suspended %v, warned %v", kind, got.Labels[v1alpha1.StateLabel], got.Spec.Suspend, response.Warnings)
				}
			}
		})
	}
}

func TestTheSizeOfAStringIsThatOfWhatItSpells(t *testing.T) {
	for _, text := range []string{"", "plain", `"quoted"`, `back\slash`, "<html>&", "é€😀", "\u2028\t\n\x00", strings.Repeat("é", 1000)} {
		raw, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		o := &object{Reader: serving.NewReader(raw)}
		size, err := o.textSize()
		if diff := cmp.Diff(len(text), size); err != nil || diff != "" {
			t.Errorf("%s: %v %s", raw, err, diff)
		}
	}
	o := &object{Reader: serving.NewReader([]byte(`"\ud83d\ude00\u00e9\u20ac\u003c"`))}
	if size, err := o.textSize(); err != nil || size != len("😀é€<") {
		t.Errorf("%d, %v", size, err)
	}
}
