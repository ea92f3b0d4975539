package rows

import (
	"context"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
)

const (
	firstPause = 10 * time.Second
	maxPause   = 5 * time.Minute
)

// Follower brings a table up to date in the background. Who offers groups never waits for the
// database.
type Follower struct {
	sync    func(context.Context, []ledger.Counted) (int, error)
	done    func(written int, err error)
	offered chan []ledger.Counted
	pause   time.Duration // after the first failure
}

// NewFollower returns a follower. It calls done after each attempt to bring the table up to date,
// from Run: for the log and for metrics. No error contains a password.
func NewFollower(table *Table, done func(written int, err error)) *Follower {
	return &Follower{sync: table.Sync, done: done, offered: make(chan []ledger.Counted, 1), pause: firstPause}
}

// Offer says what the table should have at least. It never waits. What has been offered before and
// is not written yet is forgotten. So offer each time all groups that the pages still keep one by
// one. Do not change the groups afterwards. Call Offer from one goroutine only.
func (f *Follower) Offer(groups []ledger.Counted) {
	select {
	case <-f.offered:
	default:
	}
	f.offered <- groups // has room: nobody else offers
}

// Run writes what is offered, until the context ends. After a failure it tries again, later each
// time, with what is offered by then.
func (f *Follower) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case groups := <-f.offered:
			f.follow(ctx, groups)
		}
	}
}

// follow writes groups, or what is offered instead while it waits to try again.
func (f *Follower) follow(ctx context.Context, groups []ledger.Counted) {
	for pause := f.pause; ; pause = min(2*pause, maxPause) {
		written, err := f.sync(ctx, groups)
		if ctx.Err() != nil {
			return
		}
		f.done(written, err)
		if err == nil {
			return
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		select {
		case groups = <-f.offered:
		default:
		}
	}
}
