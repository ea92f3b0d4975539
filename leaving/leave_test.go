package leaving

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	testingclock "k8s.io/utils/clock/testing"
)

// atHighSpeed lets a clock run, a second each millisecond, until the test ends.
func atHighSpeed(t *testing.T, clock *testingclock.FakeClock) {
	t.Helper()
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	go func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
				clock.Step(time.Second)
			}
		}
	}()
}

func TestWorkIsReleasedAgainOnceNothingIsHeldAnyMore(t *testing.T) {
	clock := testingclock.NewFakeClock(t0)
	i := site(installed())
	i.Clock = clock
	var at []time.Duration
	release := func(context.Context, string) (Released, error) {
		at = append(at, clock.Now().Sub(t0))
		return Released{}, nil
	}
	done := make(chan error, 1)
	go func() {
		_, err := i.releaseUntilNone(t.Context(), "r", t0, release)
		done <- err
	}()
	atHighSpeed(t, clock)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(at) != 2 || at[1] < settleTime {
		t.Errorf("released after %v, want once at the begin and once after %v", at, settleTime)
	}
}

func TestWhatIsRefusedIsLeftBeforeTheProcessOrItsAccountEnds(t *testing.T) {
	start := time.Now() // the deadline of a context goes by it
	for _, tt := range []struct {
		name      string
		timeLeft  time.Duration // of the process; zero if it goes on
		deletedAt time.Time     // the account; zero if it was not
		least     time.Duration
		most      time.Duration
	}{
		{name: "after a while", least: patience, most: patience + time.Minute},
		{name: "so that a process that ends can remove the finalizers", timeLeft: 95 * time.Second, least: 75 * time.Second, most: 95*time.Second - unprotectTime + 3*time.Second},
		{name: "so that the token is good for the removal", deletedAt: start, least: tokenTime - unprotectTime - time.Second, most: tokenTime - unprotectTime + 3*time.Second},
		{name: "after one attempt at least", deletedAt: start.Add(-time.Hour), least: unprotectTime, most: unprotectTime + 3*time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := installed()
			if !tt.deletedAt.IsZero() {
				all["ServiceAccount"].SetDeletionTimestamp(&metav1.Time{Time: tt.deletedAt})
			}
			clock, i, ctx := testingclock.NewFakeClock(start), site(all), t.Context()
			i.Clock = clock
			if tt.timeLeft > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, start.Add(tt.timeLeft))
				defer cancel()
			}
			atHighSpeed(t, clock)
			attempts := 0
			left, err := i.releaseUntilNone(ctx, "r", start, func(context.Context, string) (Released, error) {
				attempts++
				return Released{}, errors.New("refused")
			})
			if err != nil || left == nil || !strings.Contains(left.Error(), "refused") || attempts == 0 {
				t.Errorf("after %d attempts left %v, %v", attempts, left, err)
			}
			if took := clock.Now().Sub(start); took < tt.least || took > tt.most {
				t.Errorf("given up after %v, want %v to %v", took, tt.least, tt.most)
			}
		})
	}
}

func TestAReleaseThatIsBrokenOffKeepsTheAnchors(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	i := site(installed())
	_, err := i.releaseUntilNone(ctx, "r", t0, func(context.Context, string) (Released, error) {
		cancel()
		return Released{}, errors.New("one pod is left")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestNothingHidesTheBaseWhileAComponentIsLeft fails, by waiting for ever, if a look does not end while the
// work of a component cannot be released.
func TestNothingHidesTheBaseWhileAComponentIsLeft(t *testing.T) {
	all := installed()
	deleted(all["ClusterRole gridlatch-keda"])
	i, clock, patches := site(all), testingclock.NewFakeClock(t0), new(atomic.Int32)
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { patches.Add(1) }))
	t.Cleanup(server.Close)
	i.Config = &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	i.Clock = clock
	attempts, refused := 0, errors.New("refused")
	i.Overrides = []Override{{Component: "keda", Restore: func(context.Context, client.Client, time.Time) (int, error) {
		attempts++
		return 0, refused
	}}}
	k := newKeeper(i, nil)
	elected := make(chan struct{})
	close(elected)
	k.elected = elected
	look := func(after time.Duration, wantPatches int32) {
		t.Helper()
		before := attempts
		clock.SetTime(t0.Add(after))
		k.look(t.Context())
		if attempts != before+1 || patches.Load() != wantPatches {
			t.Errorf("after %v: %d attempts, %d patches that remove the finalizer, want 1 and %d", after, attempts-before, patches.Load(), wantPatches)
		}
	}
	look(0, 0)
	look(settleTime, 0)
	look(patience-time.Second, 0)
	look(patience, 2) // the role and its binding

	refused, k.removals["keda"] = nil, removal{since: clock.Now()}
	look(patience+settleTime-time.Second, 2)
	look(patience+settleTime, 4)
	if why := k.WhyNotHeld(""); why != "" {
		t.Errorf("pods are not held because %q", why)
	}
	deleted(all["ServiceAccount"])
	k.installation.Client = site(all).Client
	if s, err := k.readOnce(t.Context()); !s.isRemoved() || err != nil {
		t.Errorf("the base is not seen to be removed: %v", err)
	}
}
