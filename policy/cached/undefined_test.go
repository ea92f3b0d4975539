package cached

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// served is what an API server says of CarbonPolicies.
type served struct{ err error }

func (s *served) source() *toolscache.ListWatch {
	return &toolscache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &v1alpha1.CarbonPolicyList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []v1alpha1.CarbonPolicy{*v1alpha1.Default()}}, s.err
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			if s.err != nil {
				return nil, s.err
			}
			return watch.NewFake(), nil
		},
	}
}

func TestCarbonPoliciesThatAreNotDefinedAreNone(t *testing.T) {
	undefined := apierrors.NewNotFound(schema.GroupResource{Resource: "carbonpolicies"}, "")
	down := errors.New("connection refused")
	streamed := metav1.ListOptions{SendInitialEvents: ptr.To(true)}
	for name, tt := range map[string]struct {
		atList, atWatch error
		options         metav1.ListOptions
		items           int
		wantList        error
		wantWatch       func(error) bool // nil for a watch
	}{
		"they are defined":                      {items: 1},
		"they are not":                          {atList: undefined, atWatch: undefined},
		"they come":                             {atList: undefined, wantWatch: apierrors.IsResourceExpired},
		"they go":                               {items: 1, atWatch: undefined, wantWatch: apierrors.IsResourceExpired},
		"nobody knows":                          {atList: down, wantList: down, items: 1},
		"nobody knows later":                    {items: 1, atWatch: down, wantWatch: func(err error) bool { return errors.Is(err, down) }},
		"a list that is streamed says they are": {atList: undefined, options: streamed},
		"a list that is streamed finds none":    {atList: undefined, atWatch: undefined, options: streamed, wantWatch: apierrors.IsNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			s := &served{err: tt.atList}
			d := &optionalPolicies{ListerWatcherWithContext: toolscache.ToListerWatcherWithContext(s.source())}
			list, err := d.ListWithContext(t.Context(), metav1.ListOptions{})
			if !errors.Is(err, tt.wantList) || err == nil && len(list.(*v1alpha1.CarbonPolicyList).Items) != tt.items {
				t.Errorf("list: %v, %v", list, err)
			}
			s.err = tt.atWatch
			events, err := d.WatchWithContext(t.Context(), tt.options)
			if (err != nil) != (tt.wantWatch != nil) || err != nil && !tt.wantWatch(err) {
				t.Errorf("watch: %v", err)
			}
			if err == nil {
				events.Stop()
			}
		})
	}
}

func TestAWatchOfWhatIsNotDefinedEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	events := quietWatch(ctx)
	cancel()
	select {
	case _, open := <-events.ResultChan():
		if open {
			t.Error("it tells something")
		}
	case <-time.After(time.Minute):
		t.Error("it does not end")
	}
}

func TestCarbonPoliciesAreMappedWithoutTheAPIServer(t *testing.T) {
	mapper, err := Mapper(&rest.Config{Host: "localhost:1"}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "gridlatch.dev", Kind: "CarbonPolicy"}, "v1alpha1")
	if err != nil || mapping.Resource.Resource != "carbonpolicies" || mapping.Scope.Name() != "root" {
		t.Errorf("%+v, %v", mapping, err)
	}
}
