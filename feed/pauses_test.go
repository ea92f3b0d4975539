package feed

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/gridlatch/gridlatch/forecast"
)

// TestWhatFailsIsTriedEverLessOften counts the attempts of an hour.
func TestWhatFailsIsTriedEverLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		var r retryPauses
		attempts := 0
		for ctx.Err() == nil {
			if r.attempt(ctx, func() error { attempts++; return errors.New("forbidden") }) == nil {
				t.Fatal("want an error")
			}
		}
		if attempts < 15 || attempts > 25 { // 9 in the first minutes, then one each 5 to 6 minutes
			t.Errorf("got %d attempts in an hour", attempts)
		}
	})
}

func TestWhatSucceedsIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r retryPauses
		start := time.Now()
		for _, err := range []error{errors.New("a"), nil, nil, errors.New("b"), nil} {
			if got := r.attempt(t.Context(), func() error { return err }); !errors.Is(got, err) {
				t.Errorf("got %v, want %v", got, err)
			}
		}
		if took := time.Since(start); took < 2*firstPause || took > 3*firstPause {
			t.Errorf("two failures have cost %s", took)
		}
	})
}

func TestAFailureIsToldOfOnce(t *testing.T) {
	store, changed := &forecast.Store{}, make(chan event.TypedGenericEvent[forecast.Source], 10)
	w := &follower{
		feed:   &Feed{Store: store, Clock: clocktesting.NewFakePassiveClock(t0), Changed: []chan<- event.TypedGenericEvent[forecast.Source]{changed}},
		source: forecast.Source{Namespace: "shop", Name: "grid", Key: "data"},
	}
	for i, why := range []string{"", "", "", "another"} {
		w.fail(fmt.Errorf("forbidden %s", why))
		if want := 1 + i/3; len(changed) != want {
			t.Errorf("after %d failures: told %d times, want %d", i+1, len(changed), want)
		}
	}
}
