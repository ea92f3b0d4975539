package feed

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
)

// fixed is a clock that stands still.
type fixed struct{}

func (fixed) Now() time.Time { return t0 }

func TestNobodyWaitsForWhatIsBeingSaved(t *testing.T) {
	api := fake.NewClientset()
	memory := &Memory{Clientset: api, Namespace: "gridlatch-system", Store: learned(t, 3), Clock: fixed{}}
	memory.Recall(t.Context(), origin, t0)
	begun, end := make(chan struct{}), make(chan struct{})
	api.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		close(begun)
		<-end
		return false, nil, nil
	})
	saved := make(chan struct{})
	go func() { memory.save(context.WithoutCancel(t.Context())); close(saved) }()
	<-begun
	done := make(chan struct{})
	go func() { memory.Forget(forecast.Source{Name: "another"}); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("what the API server keeps waiting keeps others waiting")
	}
	close(end)
	<-saved
}

func TestHistoriesThatNobodyUsesAreDeleted(t *testing.T) {
	old, young := metav1.NewTime(t0.Add(-historyLifetime-time.Hour)), metav1.NewTime(t0.Add(-historyLifetime+time.Hour))
	historyOf := func(source forecast.Source, location string, written metav1.Time) *corev1.ConfigMap {
		c := history.ConfigMap(source, location, forecast.Origin{}, []byte("x"))
		c.Namespace, c.CreationTimestamp = "gridlatch-system", written
		return c
	}
	somebodys := historyOf(forecast.ParseSource("a/b/c"), "else", old)
	somebodys.Name = "somebodys"
	renewed := historyOf(forecast.ParseSource("a/b/c"), "renewed", old)
	renewed.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "gridlatch", Time: &young}}
	api := fake.NewClientset(
		historyOf(origin, "X", old), historyOf(origin, "gone", old), historyOf(forecast.ParseSource("a/b/c"), "X", old), historyOf(forecast.ParseSource("a/b/c"), "young", young), renewed, somebodys)
	memory := &Memory{Clientset: api, Namespace: "gridlatch-system", Store: learned(t, 3), Clock: fixed{}}
	memory.recalled = map[forecast.Source]map[string]bool{origin: {}}
	if err := memory.discard(t.Context(), t0); err != nil {
		t.Fatal(err)
	}
	deleted := map[string]bool{}
	for _, action := range api.Actions() {
		if d, ok := action.(clienttesting.DeleteAction); ok {
			deleted[d.GetName()] = true
		}
	}
	if want := []string{history.ConfigMapName(origin, "gone"), history.ConfigMapName(forecast.ParseSource("a/b/c"), "X")}; len(deleted) != 2 || !deleted[want[0]] || !deleted[want[1]] {
		t.Errorf("deleted %v, want %v", deleted, want)
	}
}
