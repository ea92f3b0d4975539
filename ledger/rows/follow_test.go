package rows

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/ledger"
)

// follower returns a follower of a table that is down while a test says so, and what the table was
// given.
func follower(isDown *atomic.Bool) (f *Follower, tried *[]int) {
	tried = &[]int{}
	f = NewFollower(nil, func(int, error) {})
	f.sync = func(_ context.Context, groups []ledger.Counted) (int, error) {
		*tried = append(*tried, len(groups))
		if isDown.Load() {
			return 0, errors.New("down")
		}
		return len(groups), nil
	}
	return f, tried
}

func TestAFollowerWritesTheNewestOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tried := follower(&atomic.Bool{})
		f.Offer(some("a"))
		f.Offer(some("a", "b")) // nobody has taken the first one
		ctx, cancel := context.WithCancel(t.Context())
		go f.Run(ctx)
		synctest.Wait()
		f.Offer(some("a", "b", "c"))
		synctest.Wait()
		cancel()
		if diff := cmp.Diff([]int{2, 3}, *tried); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAFollowerTriesAgainUntilTheTableIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var isDown atomic.Bool
		isDown.Store(true)
		f, tried := follower(&isDown)
		var failures, written int
		f.done = func(n int, err error) {
			written += n
			if err != nil {
				failures++
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go f.Run(ctx)
		f.Offer(some("a"))
		time.Sleep(5 * time.Second)
		f.Offer(some("a", "b"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if failures < 10 || failures > 30 || written != 0 {
			t.Errorf("%d failures in an hour, %d groups written", failures, written)
		}
		isDown.Store(false)
		time.Sleep(maxPause)
		synctest.Wait()
		if last := (*tried)[len(*tried)-1]; written != 2 || last != 2 {
			t.Errorf("wrote %d groups of the last offer, which had 2; %d were tried last", written, last)
		}
	})
}

func TestAFollowerEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var isDown atomic.Bool
		isDown.Store(true)
		f, _ := follower(&isDown)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { f.Run(ctx); close(ended) }()
		f.Offer(some("a"))
		synctest.Wait()
		cancel()
		<-ended
	})
}
