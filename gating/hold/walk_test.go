package hold

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
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

func TestARequestIsTriedAgainWhereTheServerIsBusyForAMoment(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"a busy server":                 {apierrors.NewTooManyRequests("later", 0), 2},
		"a server that is away":         {apierrors.NewServiceUnavailable("starting"), 2},
		"a server that takes long":      {apierrors.NewTimeoutError("slow", 0), 2},
		"not where it would not answer": {apierrors.NewForbidden(corev1.Resource("pods"), "p", nil), 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := retryTransient(func() error {
				if tries++; tries == 1 {
					return tt.err
				}
				return nil
			})
			if tries != tt.want || (err == nil) != (tt.want == 2) {
				t.Errorf("%s: %d tries, %v", name, tries, err)
			}
		})
	}
}

func TestAWalkSaysWhatItCannotList(t *testing.T) {
	no := errors.New("no answer")
	c := interceptor.NewClient(server(nil).(client.WithWatch), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return no },
	})
	jobs := EachJob(t.Context(), c, "", v1alpha1.StateLabel, selection.Equals, func(*batchv1.Job) { t.Error("there is none") })
	pods := EachGatedPod(t.Context(), c, "", selection.Equals, func(*corev1.Pod) { t.Error("there is none") })
	if !errors.Is(jobs, no) || !errors.Is(pods, no) {
		t.Errorf("%v, %v", jobs, pods)
	}
}
