package hold

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

)

// forgetful lists pods in two pages, and forgets the list before the second, so often.
type forgetful struct {
	client.Reader
	pods    []corev1.Pod
	forgets int
}

func (f *forgetful) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	page, ok := list.(*corev1.PodList)
	half := len(f.pods) / 2
	switch options := (&client.ListOptions{}).ApplyOptions(opts); {
	case !ok:
		return errors.New("want pods")
	case options.Continue == "":
		page.Items, page.Continue = f.pods[:half], "half"
	case f.forgets > 0:
		f.forgets--
		return apierrors.NewResourceExpired("the continue parameter is too old")
	default:
		page.Items = f.pods[half:]
	}
	return nil
}

func TestAWalkGoesOnWhereTheListIsForgotten(t *testing.T) {
	f := &forgetful{forgets: 3}
	for i := range 10 {
		f.pods = append(f.pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), UID: types.UID(fmt.Sprint(i))}})
	}
	seen := ""
	err := Walk(t.Context(), f, &corev1.PodList{}, client.ListOptions{}, func(o client.Object) { seen += o.GetName() })
	if err != nil || seen != "0123456789" {
		t.Errorf("seen %s, %v, want each once", seen, err)
	}
	f.forgets = 1 << 20
	if err := Walk(t.Context(), f, &corev1.PodList{}, client.ListOptions{}, func(client.Object) {}); !apierrors.IsResourceExpired(err) {
		t.Errorf("it goes on for ever: %v", err)
	}
}

func TestReleaseAllNamesWhatIsLeft(t *testing.T) {
	c := gatedPods(t, 60, func(name string) bool { return name < "pod-25" })
	calls := 0
	exit := Exit{Client: c, Reason: "r", Now: t0, Progress: func(int, int) { calls++ }}
	released, err := exit.ReleaseAll(t.Context())
	var left *Unreleased
	if !errors.As(err, &left) || released != 35 || left.Count != 25 || len(left.First) != maxNamedUnreleased || calls != 60 {
		t.Errorf("released %d, told %d times, %v", released, calls, err)
	}
	for _, part := range []string{"25 could not be released", "pod n/pod-", "not in  my house", "and 5 more"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("it does not say %q: %q", part, err)
		}
	}
}
