package nodepool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridlatch/gridlatch/nodepool/rank"
	"github.com/gridlatch/gridlatch/override"
)

// order is the place of each pool that is ranked, the cleanest first.
type order struct {
	places map[string]int // by the name of the pool
	// isPending says that it is too early to rank the pools.
	isPending bool
	// until is when the order may change by itself, zero if it does not.
	until time.Time
}

// orders keeps the order of all ranked pools for as long as nothing changes the order. Otherwise each pool would
// look at all others, and a thousand pools would take half a minute after each forecast. The zero orders
// keeps none.
type orders struct {
	changes atomic.Uint64 // how often something has changed that an order is made of

	mu    sync.Mutex
	known *order // nil at first
	at    uint64 // the changes that known is made of
	since time.Time
}

// forget notes that something has changed that an order is made of.
func (o *orders) forget() { o.changes.Add(1) }

// get returns the order of now, made by a function if there is none yet.
func (o *orders) get(now time.Time, rank func() (*order, error)) (*order, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	changes := o.changes.Load()
	if o.known != nil && o.at == changes && !now.Before(o.since) && (o.known.until.IsZero() || now.Before(o.known.until)) {
		return o.known, nil
	}
	ranked, err := rank()
	if err != nil {
		return nil, err
	}
	o.known, o.at, o.since = ranked, changes, now
	return ranked, nil
}

// rank ranks all pools that ask for a weight by rank. A pool whose intensity does not count has no place.
func (c *Controller) rank(ctx context.Context, now time.Time) (*order, error) {
	ranked := &order{places: map[string]int{}}
	var all []rank.Entrant
	for _, p := range c.all() {
		if !p.isAuto {
			continue
		}
		if until := p.offUntil(now); !until.IsZero() {
			ranked.until = override.Soonest(ranked.until, until)
			continue
		}
		s, err := c.seatOf(ctx, p, now)
		if err != nil {
			return nil, err
		}
		ranked.isPending, ranked.until = ranked.isPending || s.isPending, override.Soonest(ranked.until, s.level.ValidUntil)
		if why, _ := whyNot(nil, s, now); why.Reason != "" {
			continue // it keeps its own weight
		}
		e := rank.Entrant{Name: p.Name, Emissions: s.level.Intensity * p.power}
		if loan := p.weightLoan(); loan != nil {
			e.Weight = weightOf(loan.Applied)
		}
		all = append(all, e)
	}
	if ranked.isPending {
		ranked.until = override.Soonest(ranked.until, c.pendingUntil(now))
	}
	for place, e := range rank.Settle(all, c.Options.Hysteresis) {
		ranked.places[e.Name] = place
	}
	return ranked, nil
}
