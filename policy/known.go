package policy

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// maxKnownLevels bounds how many levels are remembered: anybody may write any location on an object.
const maxKnownLevels = 1000

// KnownLevels remembers the levels of policies for as long as they cannot have changed. So a thousand
// objects of one policy are planned once. A level of which nothing is known takes no time to find out,
// and is not remembered. So nobody drives others out with places that do not exist. Of is required.
type KnownLevels struct {
	// Of returns the level at a location of a policy, and the source of the policy's forecast, as
	// [Levels.Level] does.
	Of func(ctx context.Context, policy, location string, now time.Time) (plan.Level, forecast.Source, error)

	mu      sync.Mutex
	changes uint64 // how often something has changed that a level is made of
	known   map[levelKey]knownLevel
}

type levelKey struct{ policy, location string }

type knownLevel struct {
	level  plan.Level
	source forecast.Source
	since  time.Time
}

// isCurrent reports whether the level is still that of now.
func (k knownLevel) isCurrent(now time.Time) bool {
	return !now.Before(k.since) && (k.level.ValidUntil.IsZero() || now.Before(k.level.ValidUntil))
}

// Level returns what Of returns, or has returned.
func (k *KnownLevels) Level(ctx context.Context, policy, location string, now time.Time) (plan.Level, forecast.Source, error) {
	key := levelKey{policy, location}
	k.mu.Lock()
	known, ok := k.known[key]
	changes := k.changes
	k.mu.Unlock()
	if ok && known.isCurrent(now) {
		return known.level, known.source, nil
	}
	level, source, err := k.Of(ctx, policy, location, now)
	if err != nil || !level.IsKnown && level.Expected.IsEmpty() {
		return level, source, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changes == changes { // otherwise this level may be older than the change
		if k.known == nil || len(k.known) == maxKnownLevels {
			k.known = map[levelKey]knownLevel{}
		}
		k.known[key] = knownLevel{level, source, now}
	}
	return level, source, nil
}

// Forget forgets the levels that have changed, and no others.
func (k *KnownLevels) Forget(hasChanged func(policy string, source forecast.Source) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes++
	maps.DeleteFunc(k.known, func(key levelKey, known knownLevel) bool { return hasChanged(key.policy, known.source) })
}
