package hold

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
)

// heldWhole is an object that we hold by its door.
func heldWhole(t *testing.T, d *door.Door, name string, labels map[string]string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(d.Kind)
	o.SetNamespace("n")
	o.SetName(name)
	o.SetUID(types.UID(name))
	o.SetLabels(labels)
	o.SetAnnotations(map[string]string{v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend})
	if err := unstructured.SetNestedField(o.Object, d.Closed, d.Field...); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestExitReleasesEveryKindThatIsHeldWhole runs over the table of kinds. One object of each kind has lost
// its label, and one is suspended by its user.
func TestExitReleasesEveryKindThatIsHeldWhole(t *testing.T) {
	for _, d := range door.All() {
		t.Run(d.Kind.Kind, func(t *testing.T) {
			labelled, unlabelled := heldWhole(t, &d, "labelled", map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}), heldWhole(t, &d, "unlabelled", nil)
			others := heldWhole(t, &d, "others", nil)
			others.SetAnnotations(nil)
			c := server(nil, labelled, unlabelled, others)
			if pods, err := (&Exit{Client: c, Reason: "the end", Now: t0}).ReleaseAll(t.Context()); err != nil || pods < 2 {
				t.Errorf("released %d pods, %v", pods, err)
			}
			for o, closed := range map[*unstructured.Unstructured]bool{labelled: false, unlabelled: false, others: true} {
				now, err := ReadOwner(t.Context(), c, d.Kind, client.ObjectKeyFromObject(o))
				if err != nil || now.IsSuspended != closed || now.HoldsItself() {
					t.Errorf("%s: closed %t, %v, %v", o.GetName(), now.IsSuspended, now.GetAnnotations(), err)
				}
			}
		})
	}
}

func TestExitSaysOnceWhatMayNotBeListedAndSkipsWhatIsNotDefined(t *testing.T) {
	forbidden := func(answer error) client.Client {
		return interceptor.NewClient(server(nil).(client.WithWatch), interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				if strings.HasPrefix(list.GetObjectKind().GroupVersionKind().Kind, "JobSet") {
					return answer
				}
				return c.List(ctx, list, options...)
			},
		})
	}
	resource := schema.GroupResource{Group: "jobset.x-k8s.io", Resource: "jobsets"}
	_, err := (&Exit{Client: forbidden(apierrors.NewForbidden(resource, "", errors.New("no right"))), Now: t0}).ReleaseAll(t.Context())
	resources, rest := SplitForbidden(err)
	if rest != nil || !slices.Equal(resources, []string{"jobsets"}) || !strings.Contains(err.Error(), "you may not list jobsets") {
		t.Errorf("without the right: %v", err)
	}
	for _, answer := range []error{apierrors.NewNotFound(resource, ""), &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "JobSet"}}} {
		if _, err := (&Exit{Client: forbidden(answer), Now: t0}).ReleaseAll(t.Context()); err != nil {
			t.Errorf("not defined: %v", err)
		}
	}
}

func TestPatchesOfADoorChangeNothingElse(t *testing.T) {
	want := map[string]string{
		"JobSet":  `{"op":"test","path":"/spec/suspend","value":true},{"op":"replace","path":"/spec/suspend","value":false}`,
		"MPIJob":  `{"op":"test","path":"/spec/runPolicy/suspend","value":true},{"op":"replace","path":"/spec/runPolicy/suspend","value":false}`,
		"TaskRun": `{"op":"test","path":"/spec/status","value":"TaskRunPending"},{"op":"remove","path":"/spec/status"}`,
	}
	for _, d := range door.All() {
		o := heldWhole(t, &d, "w", nil)
		patches := ReleaseNote{Reason: "r", At: t0, Location: "north", MarksTemplate: true}.OwnerPatches(o, d.Kind.GroupKind())
		for _, patch := range []client.Patch{patches.Full, patches.Minimal} {
			data, err := patch.Data(o)
			if err != nil || !strings.Contains(string(data), want[d.Kind.Kind]) || strings.Contains(string(data), "/spec/template") {
				t.Errorf("%s: %s, %v", d.Kind.Kind, data, err)
			}
		}
	}
}
