package cached

import (
	"errors"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// informers is a cache with the kinds of Kubernetes and of Gridlatch.
func informers(t *testing.T) *informertest.FakeInformers {
	t.Helper()
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme, metav1.AddMetaToScheme} {
		if err := add(kinds); err != nil {
			t.Fatal(err)
		}
	}
	return &informertest.FakeInformers{Scheme: kinds}
}

func TestEachKindThatIsReadHasAnInformer(t *testing.T) {
	c := informers(t)
	if err := Prepare(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []schema.GroupVersionKind{
		v1alpha1.GroupVersion().WithKind("CarbonPolicy"), batchv1.SchemeGroupVersion.WithKind("CronJob"),
		metav1.SchemeGroupVersion.WithKind("PartialObjectMetadata"),
	} {
		if _, ok := c.InformersByGVK[kind]; !ok {
			t.Errorf("%s has no informer", kind)
		}
	}
	c.Error = errors.New("the cache is broken")
	if err := Prepare(t.Context(), c); !errors.Is(err, c.Error) {
		t.Errorf("%v, want %v", err, c.Error)
	}
}

func TestAHandlerIsToldOfEachChange(t *testing.T) {
	c := informers(t)
	var told []string
	note := func(object any) { told = append(told, object.(client.Object).GetName()) }
	handler := toolscache.ResourceEventHandlerFuncs{AddFunc: note, DeleteFunc: note}
	if err := Watch(t.Context(), c, policy.NewMetadata(policy.NodeKind()), handler); err != nil {
		t.Fatal(err)
	}
	informer, err := c.FakeInformerFor(t.Context(), policy.NewMetadata(policy.NodeKind()))
	if err != nil {
		t.Fatal(err)
	}
	node := policy.NewMetadata(policy.NodeKind())
	node.Name = "node-1"
	informer.Add(node)
	informer.Delete(node)
	if len(told) != 2 || told[0] != "node-1" {
		t.Errorf("told of %q", told)
	}
	c.Error = errors.New("the cache is broken")
	if err := Watch(t.Context(), c, policy.NewMetadata(policy.NodeKind()), handler); !errors.Is(err, c.Error) {
		t.Errorf("%v, want %v", err, c.Error)
	}
}

func TestWhatIsOfAnotherKindIsKeptAsItIs(t *testing.T) {
	for _, object := range []any{&metav1.Status{}, "", toolscache.DeletedFinalStateUnknown{Key: "node-1"}} {
		for _, strip := range []toolscache.TransformFunc{stripNamespace, stripNode, stripCronJob} {
			if got, err := strip(object); err != nil || got != object {
				t.Errorf("%v becomes %v, %v", object, got, err)
			}
		}
	}
}
