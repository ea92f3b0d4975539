package watching

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// syncing is a source that says when it starts and when its cache is waited for.
type syncing struct {
	said *[]string
	err  error
}

func (s syncing) Start(context.Context, workqueue.TypedRateLimitingInterface[string]) error {
	*s.said = append(*s.said, "start")
	return nil
}

func (s syncing) WaitForSync(context.Context) error {
	*s.said = append(*s.said, "sync")
	return s.err
}

func TestSourcesStartInTheirOrder(t *testing.T) {
	var said []string
	missing := errors.New("no cache")
	slow := source.TypedFunc[string](func(context.Context, workqueue.TypedRateLimitingInterface[string]) error {
		time.Sleep(20 * time.Millisecond)
		said = append(said, "slow")
		return nil
	})
	sources := inOrder[string]{slow, syncing{said: &said, err: missing}}
	if err := sources.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := sources.WaitForSync(t.Context()); !errors.Is(err, missing) {
		t.Errorf("got the error %v, want %v", err, missing)
	}
	if diff := cmp.Diff([]string{"slow", "start", "sync"}, said); diff != "" {
		t.Error(diff)
	}
}

func TestNoSourceStartsAfterOneThatCannot(t *testing.T) {
	var said []string
	broken := errors.New("cannot watch")
	sources := inOrder[string]{
		source.TypedFunc[string](func(context.Context, workqueue.TypedRateLimitingInterface[string]) error { return broken }),
		syncing{said: &said},
	}
	if err := sources.Start(t.Context(), nil); !errors.Is(err, broken) || len(said) > 0 {
		t.Errorf("got the error %v and %v, want %v and no start", err, said, broken)
	}
}
