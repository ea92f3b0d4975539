package keep

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
)

const (
	// maxQueued bounds the groups that wait for rows. A database that is away for longer is given
	// the groups that are not settled once it is back.
	maxQueued = 20_000
	// rowsTimeout bounds a write of rows: a database that hangs holds up no pass for longer.
	rowsTimeout = time.Minute
	// rowsInterval is how often all groups that are not settled are written again, since providers
	// revise their intensities.
	rowsInterval = time.Hour
)

// rowQueue has the groups that wait for rows, by UID.
type rowQueue struct {
	groups  map[string]ledger.Group
	counted map[string]ledger.Account // the final accounts of some
	again   time.Time                 // when all were queued last
}

func (q *rowQueue) add(g ledger.Group) {
	if q.groups == nil {
		q.groups, q.counted = map[string]ledger.Group{}, map[string]ledger.Account{}
	}
	if len(q.groups) < maxQueued {
		q.groups[g.UID] = g
	}
}

func (q *rowQueue) put(counted []ledger.Counted) {
	for _, c := range counted {
		q.add(c.Group)
		q.counted[c.Group.UID] = c.Account
	}
}

// writeRows writes the groups that wait for rows. They stay in the queue if that fails.
func (k *Keeper) writeRows(ctx context.Context, now time.Time) error {
	q := &k.queue
	if k.Rows == nil {
		clear(q.groups)
		clear(q.counted)
		return nil
	}
	if now.Sub(q.again) >= rowsInterval {
		q.again = now
		for _, e := range k.shelf.entries {
			q.put(e.Page.Accounts(k.actuals))
		}
	}
	if len(q.groups) == 0 {
		return nil
	}
	rows := make([]ledger.Counted, 0, len(q.groups))
	for _, uid := range slices.Sorted(maps.Keys(q.groups)) {
		g := q.groups[uid]
		account, isCounted := q.counted[uid]
		if !isCounted {
			account = g.Account(k.actuals)
		}
		rows = append(rows, ledger.Counted{Group: g, Account: account})
	}
	ctx, cancel := context.WithTimeout(ctx, rowsTimeout)
	defer cancel()
	if err := k.Rows.Write(ctx, rows); err != nil {
		return err
	}
	clear(q.groups)
	clear(q.counted)
	return nil
}
